"""The report: what a person reads in the morning says what happened, in 80 columns."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from countersign import checks
from countersign.prices.rules import SYMBOL_LENGTH
from countersign.report import WIDTH, Matured, ReportFacts, report_text, scores_preview
from countersign.tables import PRICES_REJECTED, empty_table

NAN = float("nan")


def scored(symbols: list[str], **columns: Any) -> pd.DataFrame:
    probability = np.linspace(0.05, 0.35, len(symbols))
    table = pd.DataFrame(
        {
            "symbol": symbols,
            "volatility_forecast": 0.0215,
            "baseline_volatility": 0.0301,
            "bad_week_probability": probability,
            "decision": np.where(probability < 0.2, "approve", "hold"),
            "volatility_by": "model",
            "fallback_reason": None,
        }
    )
    return table.assign(**columns)


def readings(*found: tuple[str, str, str]) -> pd.DataFrame:
    """Rows as in ``metrics`` and ``drift``: layer, measure, status."""
    table = pd.DataFrame(found, columns=["layer", "measure", "status"])
    return table.assign(sentence=table["measure"] + " is " + table["status"])


def facts(symbols: list[str] | None = None, **changes: Any) -> ReportFacts:
    table = scored(symbols or ["AAPL", "GOOG", "IBM"])
    measures = {name: {"model": 0.7774, "baseline": 0.7710, "lead_high": 0.0195} for name in ("auc", "qlike")}
    quiet = ReportFacts(
        session="2008-09-15",
        calendar="XNYS",
        horizon_end="2008-09-22",
        source="data/prices.csv",
        clean=table[["symbol"]],
        closes_alone=False,
        rejected=empty_table(PRICES_REJECTED),
        released=(),
        restated=None,
        missing=[],
        aside=[],
        jump=None,
        scores=table,
        matured=None,
        metrics=readings(
            ("data", "rows", "pass"), ("data", "schema", "pass"), ("model", "auc", "pass"), ("business", "rate", "pass")
        ),
        drift=readings(("drift", "return_1", "pass")),
        model_sha256="a" * 64,
        champion_sha256="a" * 64,
        standing="in service since 2008-09-01: alice@example.com approved r1",
        gate_needs=(),
        gate_news=(),
        training={"first_session": "2000-03-01", "last_session": "2008-08-29", "rows": 9000, "symbols": ["A", "B"]},
        evaluation={
            "first": "2003-03-07",
            "last": "2008-08-22",
            "table": measures,
            "bad_rate_approved": 0.083,
            "bad_rate_held": None,
        },
        min_auc=0.55,
        cutoff=0.2,
        stale=None,
        commentary=None,
    )
    return replace(quiet, **changes)


def section(text: str, title: str) -> str:
    """From the line ``title`` to the next empty line, blanks as one."""
    found = re.search(rf"^{title}.*?(?=\n\n|\Z)", text, flags=re.S | re.M)
    assert found is not None, text
    return " ".join(found[0].split())


def test_a_quiet_session_says_that_nothing_needs_a_person() -> None:
    text = report_text(facts())
    assert text.startswith("COUNTERSIGN   session 2008-09-15 (Monday)   XNYS\n")
    assert "1 of 3 symbols approved, 2 held; nothing needs a person." in text
    assert section(text, "NEEDS A PERSON") == "NEEDS A PERSON Nothing today."


def test_the_riskiest_symbol_comes_first_with_what_the_model_and_the_baseline_say() -> None:
    table = section(report_text(facts()), "SCORES")
    assert "to 2008-09-22" in table
    assert table.index("IBM hold 35.0% 2.15% 3.01% model") < table.index("AAPL approve 5.0% 2.15% 3.01% model")
    assert "Held from a bad-week probability of 20%." in table


@pytest.mark.parametrize(
    "symbols",
    [
        ["AAPL"],
        [f"S{i}" for i in range(41)],
        [f"SYMBOL-{i:05d}-OF-MANY" for i in range(300)],
        ["BTC-USD", *(f"ETH-{i}" for i in range(90))],
        ["BRK B", "BF B", *(f"S {i}" for i in range(60))],
    ],
    ids=["one", "one over the table", "long names", "hyphens", "spaces"],
)
def test_every_symbol_is_named_within_80_columns_however_many_there_are(symbols: list[str]) -> None:
    symbols = [symbol[:SYMBOL_LENGTH] for symbol in symbols]
    table = scored(symbols, fallback_reason="short history: 3 of 60 sessions")
    matured = Matured("2008-09-08", table.assign(came_volatility=0.5, bad_week=1.0))
    text = report_text(facts(symbols, scores=table, matured=matured, missing=symbols))
    assert max(map(len, text.splitlines())) <= WIDTH
    assert checks.report_complete(text, symbols).status == "pass"


def test_symbols_beyond_the_table_are_named_by_decision() -> None:
    table = section(report_text(facts([f"S{i:02d}" for i in range(100)])), "SCORES")
    # From 0.05 to 0.35 evenly: S50 and what follows are held, and the table ends with S60.
    after = table.partition("and 60 more, bad week at most 22.9%: ")[2]
    assert after.startswith("10 held: S59, S58,")
    assert "S50 50 approved: S49, S48," in after


def test_the_check_of_the_report_finds_a_symbol_that_is_not_there() -> None:
    text = report_text(facts(["AAPL", "GOOG"]))
    assert checks.report_complete(text, ["AAPL", "GOO"]).status == "fail"


def test_each_layer_has_one_line_and_only_what_failed_needs_a_person() -> None:
    metrics = readings(
        ("data", "rows", "pass"),
        ("data", "schema", "pass"),
        ("model", "auc", "insufficient"),
        ("model", "brier", "fail"),
        ("business", "bad_rate", "insufficient"),
    )
    drift = readings(("drift", "return_1", "pass"), ("drift", "skew_63", "insufficient"))
    text = report_text(facts(metrics=metrics, drift=drift))
    assert section(text, "MONITORING") == (
        "MONITORING data ok 2 of 2 measures as they should be "
        "drift partly 1 of 2 distributions as in training, 1 without evidence "
        "model FAIL 0 of 2 measures as they should be, 1 failed, 1 without evidence "
        "system unknown not measured "
        "business unknown 0 of 1 measures as they should be, 1 without evidence"
    )
    assert section(text, "NEEDS A PERSON") == "NEEDS A PERSON - Brier is fail."


def test_a_missing_symbol_and_rejected_rows_need_a_person_and_stand_with_the_data() -> None:
    row = {"row": 0, "date": "2008-09-15", "symbol": "FB", "rule": "range", "reason": "high 1, low 2"}
    copied = row | {"symbol": "IBM", "rule": "duplicate", "reason": "the same as row 1"}
    text = report_text(facts(missing=["FB"], rejected=pd.DataFrame([row, row, copied])))
    assert "2 things need a person." in text
    person = section(text, "NEEDS A PERSON")
    assert "No bar of FB, which traded the session before" in person
    assert "2 rows in quarantine, of FB: countersign quarantine list" in person
    data = section(text, "DATA")
    assert "3 rejected. range: 2, duplicate: 1." in data
    assert "Missing since the session before: FB." in data


def test_a_symbol_in_quarantine_is_not_called_there() -> None:
    said = "In quarantine, and so without a bar: HSBA. No other symbol is missing since the session before."
    assert said in section(report_text(facts(aside=["HSBA"])), "DATA")
    assert "No symbol is missing since the session before." in section(report_text(facts()), "DATA")


def test_without_a_session_before_the_report_says_that_it_cannot_tell_what_is_missing() -> None:
    assert "Insufficient evidence on missing symbols" in section(report_text(facts(missing=None)), "DATA")


def test_symbols_scored_by_the_baseline_are_named_with_the_reason() -> None:
    table = scored(
        ["AAPL", "GOOG"], fallback_reason=[None, "short history: 3 of 60 sessions"], volatility_by="baseline"
    )
    person = section(report_text(facts(scores=table)), "NEEDS A PERSON")
    assert "GOOG scored by the baseline (short history)." in person
    assert "AAPL" not in person


def test_the_report_says_how_the_model_got_into_service_what_waits_and_what_was_rejected() -> None:
    text = report_text(
        facts(
            gate_needs=("A new model waits for a signature: countersign review r2",),
            gate_news=("The candidate 0123 (r1) was rejected by bob@example.com: too few sessions.",),
        )
    )
    assert "in service since 2008-09-01: alice@example.com approved r1." in section(text, "MODEL")
    assert "A new model waits for a signature: countersign review r2" in section(text, "NEEDS A PERSON")
    assert "was rejected by bob@example.com: too few sessions." in section(text, "MODEL")


def test_scores_made_from_older_bars_need_a_person() -> None:
    person = section(report_text(facts(stale="features were made from other bars.")), "NEEDS A PERSON")
    assert "features were made from other bars. Run the session again from there." in person


def test_scores_by_a_model_that_left_service_since_say_so() -> None:
    model = section(report_text(facts(model_sha256="b" * 64)), "MODEL")
    assert f"made by {'b' * 12}, in service at the time" in model


def test_the_models_standing_shows_it_beside_the_baseline_and_an_unknown_rate_as_unknown() -> None:
    model = section(report_text(facts()), "MODEL")
    assert "Trained on 2000-03-01 … 2008-08-29, 9000 rows of 2 symbols." in model
    assert "AUC 0.777 (baseline 0.771)" in model
    assert "bad rate 8.3% of approved against unknown of held" in model


def test_one_symbol_is_one_symbol() -> None:
    alone = facts(["MSFT"])
    model = section(report_text(replace(alone, training={**alone.training, "symbols": ["MSFT"]})), "MODEL")
    assert "9000 rows of 1 symbol." in model


@pytest.mark.parametrize(("lead_high", "is_told"), [(-0.009, True), (0.013, False)])
def test_a_model_that_was_worse_than_the_baseline_beyond_doubt_needs_a_person(lead_high: float, is_told: bool) -> None:
    quiet = facts()
    table = {**quiet.evaluation["table"], "auc": {"model": 0.488, "baseline": 0.542, "lead_high": lead_high}}
    person = section(report_text(replace(quiet, evaluation={**quiet.evaluation, "table": table})), "NEEDS A PERSON")
    assert ("was worse than the baseline in its evaluation: AUC 0.488 against 0.542" in person) == is_told


@pytest.mark.parametrize(("auc", "said"), [(0.455, "0.455"), (0.549, "0.549"), (0.55, None), (None, "unknown")])
def test_a_model_that_does_not_tell_bad_weeks_from_fine_ones_needs_a_person(
    auc: float | None, said: str | None
) -> None:
    quiet = facts()
    table = {**quiet.evaluation["table"], "auc": {"model": auc, "baseline": 0.5, "lead_high": 0.1}}
    person = section(report_text(replace(quiet, evaluation={**quiet.evaluation, "table": table})), "NEEDS A PERSON")
    assert (f"fine ones: AUC {said} in its evaluation, 0.55 is the least" in person) == (said is not None)
    assert ("Nothing today." in person) == (said is None)


def test_a_measure_that_could_not_be_taken_is_unknown() -> None:
    quiet = facts()
    table = {name: {"model": None, "baseline": NAN, "lead_high": None} for name in ("auc", "qlike")}
    model = section(report_text(replace(quiet, evaluation={**quiet.evaluation, "table": table})), "MODEL")
    assert "AUC unknown (baseline unknown), QLIKE unknown (baseline unknown)" in model


def test_what_matured_stands_beside_what_was_said() -> None:
    table = scored(["AAPL", "GOOG", "IBM", "FB"]).assign(
        came_volatility=[0.01, 0.02, 0.03, NAN], bad_week=[0.0, 1.0, 1.0, NAN]
    )
    matured = section(report_text(facts(matured=Matured("2008-09-08", table))), "MATURED SINCE YESTERDAY")
    assert "scored 2008-09-08" in matured
    assert "AAPL approve 5.0% fine 2.15% 1.00%" in matured
    assert "GOOG approve 15.0% bad 2.15% 2.00%" in matured
    assert "FB hold 35.0% unknown 2.15% unknown" in matured
    assert "3 of 4 outcomes known; 1 of 2 approved had a bad week." in matured


def test_a_persons_commentary_is_included_word_for_word() -> None:
    words = "Lehman filed this morning.\n\n   We *hold* everything,\twhatever the model says. " + "x" * 90
    text = report_text(facts(commentary=words))
    assert text.endswith(f"\nCOMMENTARY\n{words}\n")


def test_without_a_commentary_the_report_says_so_and_how_to_write_one() -> None:
    said = section(report_text(facts()), "COMMENTARY")
    assert "None has been written." in said
    assert "commentary/2008-09-15.md" in said


def test_the_preview_lists_the_riskiest_first_as_a_markdown_table() -> None:
    lines = scores_preview(scored(["AAPL", "GOOG", "IBM"])).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["IBM", "GOOG", "AAPL"]
    assert {line.count("|") for line in lines} == {6}
