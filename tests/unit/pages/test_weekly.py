"""The weekly review: what it shows of given facts, what it suggests, and that missing evidence is never green."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from countersign.monitoring.alerts import Alert
from countersign.monitoring.replay import Alarms, Delay, MeasureReplay, Replay, Varied
from countersign.pages.page import Figures, Page, Section, Table, Words, in_one_column, page_html, page_text
from countersign.pages.quarter import QUARTER, wilson_interval
from countersign.pages.weekly import Standing, WeekFacts, suggestions, weekly_page
from countersign.steps.metrics import MEASURES
from countersign.tables import OUTCOMES, PRICES_REJECTED, conform
from countersign.thresholds import Thresholds, load_thresholds

NAN = float("nan")
MONDAY = date(2008, 9, 15)
WEEK = tuple((MONDAY + timedelta(days=day)).isoformat() for day in range(5))


def weekdays(count: int) -> tuple[str, ...]:
    """So many days, Monday to Friday, up to the week's last."""
    days = (date(2008, 9, 19) - timedelta(days=back) for back in range(2 * count, -1, -1))
    return tuple(day.isoformat() for day in days if day.weekday() < 5)[-count:]


def readings(sessions: Sequence[str], **status: str) -> pd.DataFrame:
    """Three measures in each session: 1, 2, 3 … against 4; ``status`` is pass where none is given."""
    rows = [
        {
            "date": np.datetime64(session, "s"),
            "layer": layer,
            "measure": measure,
            "status": (found := status.get(measure, "pass")),
            "value": NAN if found == "insufficient" else number + 1.0,
            "threshold": 4.0,
            "reference": NAN,
            "observations": 4,
            "sentence": f"{measure} in {session}",
        }
        for number, session in enumerate(sessions)
        for layer, measure in (("data", "rows"), ("model", "auc"), ("business", "bad_rate_vs_quarter"))
    ]
    return pd.DataFrame(rows)


def drifts(sessions: Sequence[str], psi: float = 0.1, status: str = "pass") -> pd.DataFrame:
    return pd.DataFrame(
        {
            "date": np.array(sessions, dtype="datetime64[s]"),
            "subject": "return_1",
            "status": status,
            "psi": psi,
            "p_value": 0.5,
            "sentence": "as in training",
        }
    )


def scored(rows: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """Rows of scores: the session, and what was decided."""
    return pd.DataFrame(
        {"date": np.array([d for d, _ in rows], dtype="datetime64[s]"), "decision": [w for _, w in rows]}
    )


def outcomes(rows: Sequence[tuple[str, str, float, float]]) -> pd.DataFrame:
    """Rows of outcomes: the session that was scored, the decision, the probability, and whether it was bad."""
    found: dict[str, Any] = {c.name: [None if c.kind == "string" else NAN] * len(rows) for c in OUTCOMES}
    found |= {
        "date": ["2008-09-19"] * len(rows),
        "scored": [row[0] for row in rows],
        "symbol": ["MSFT"] * len(rows),
        "decision": [row[1] for row in rows],
        "bad_week_probability": [row[2] for row in rows],
        "bad_week": [row[3] for row in rows],
    }
    return conform(found, OUTCOMES)


def rejected(*sessions: str) -> pd.DataFrame:
    table = pd.DataFrame(
        [{"row": 3, "date": s, "symbol": "MSFT", "rule": "high_low", "reason": "high < low"} for s in sessions],
        columns=[c.name for c in PRICES_REJECTED],
    )
    return table.assign(session=pd.Series(list(sessions), dtype="str"))


def alert(measure: str, first: str, last: str, ended: str | None = None) -> Alert:
    return Alert(
        id=f"metrics:{measure}@{first}",
        layer="model",
        measure=measure,
        severity="warning",
        sentence=f"{measure} is too high",
        value=1.5,
        threshold=1.2,
        first_session=first,
        last_session=last,
        opened_at=f"{first}T22:00:00+00:00",
        ended_session=ended,
        ended_at=ended and f"{ended}T22:00:00+00:00",
    )


def replayed(measure: str = "qlike", **by_year: int | None) -> MeasureReplay:
    count = sum(n or 0 for n in by_year.values())
    some = Alarms(3 * count, tuple(("2006-03-01", "2006-03-03") for _ in range(count)), {"2008-09-15": 9})
    return MeasureReplay(
        measure=measure,
        judged=500,
        alarms=some,
        longest=some.stretches[0] if count else None,
        by_year={year.removeprefix("y"): n for year, n in by_year.items()},
        thresholds=(Varied("model.loss_rise", 1.0, some, Alarms(0, (), {"2008-09-15": "none"})),),
    )


@pytest.fixture(scope="module")
def thresholds(root: Path) -> Thresholds:
    return load_thresholds(root)[0]


@pytest.fixture
def facts(thresholds: Thresholds) -> WeekFacts:
    """A quiet week, the third of the project."""
    quarter = weekdays(14)
    table = {
        name: {"model": 0.7, "baseline": 0.6, "naive": 0.5, "lead": 0.1, "lead_low": -0.1, "lead_high": 0.3}
        for name in ("auc", "qlike")
    }
    return WeekFacts(
        week="2008-W38",
        calendar="XNYS",
        sessions=WEEK,
        missing=(),
        quarter=quarter,
        metrics=readings(quarter),
        drift=drifts(quarter),
        scores=scored([("2008-09-15", "approve")]),
        outcomes=outcomes([]),
        rejected=rejected(),
        judged_by=dict.fromkeys(quarter, "d" * 64),
        standing=Standing(
            session=WEEK[-1],
            sha256="c" * 64,
            decision="bootstrap",
            why="",
            since="2008-09-01 12:00 UTC",
            training={"first_session": "2000-03-01", "last_session": "2008-08-29", "rows": 7170, "symbols": ["MSFT"]},
            evaluation={
                "first": "2003-03-07",
                "last": "2008-08-22",
                "approval_rate": 0.6,
                "bad_rate_approved": 0.1,
                "bad_rate_held": None,
                "table": table,
            },
            revoked=(),
        ),
        alerts=[],
        needs=[],
        reviews_due=[],
        thresholds=thresholds,
        thresholds_sha256="d" * 64,
        replay=Replay(
            "2000-03-01", "2008-09-19", 2000, "d" * 64, {"2008-09-15": "a bank failed"}, (replayed(y2005=0, y2006=1),)
        ),
        commentary=None,
    )


def section(page: Page, title: str) -> Section:
    (found,) = [s for s in page.sections if s.title.startswith(title)]
    return found


def shown(page: Page, title: str) -> str:
    """The section ``title`` of the text form, as one line."""
    return " ".join(page_text(replace(page, sections=[section(page, title)], lights=[])).split())


def test_the_same_facts_make_the_same_page_and_text(facts: WeekFacts) -> None:
    again = replace(facts, metrics=facts.metrics.copy())
    assert page_html(weekly_page(facts)) == page_html(weekly_page(again))
    assert page_text(weekly_page(facts)) == page_text(weekly_page(again))


def test_every_measure_with_a_value_is_a_figure_with_its_threshold_and_the_others_are_named_with_the_reason(
    facts: WeekFacts,
) -> None:
    page = weekly_page(replace(facts, metrics=readings(facts.quarter, auc="insufficient")))
    titles: dict[str, str] = {}
    for layer in ("data", "model", "business"):
        for block in section(page, f"Measures: {layer}").blocks:
            if isinstance(block, Figures):
                titles |= {figure.title: figure.svg for figure in block.figures}
    assert set(titles) == {"rows", "bad_rate_vs_quarter"}
    assert all("stroke-dasharray" in svg and "var(--vermillion)" in svg for svg in titles.values())
    assert "auc: auc in 2008-09-19." in shown(page, "Measures: model")


@pytest.mark.parametrize(
    ("status", "light"),
    [
        ({}, "ok"),
        ({"auc": "fail"}, "FAIL"),
        ({"auc": "insufficient"}, "unknown"),
    ],
)
def test_a_layers_light_is_never_green_without_evidence(status: dict[str, str], light: str, facts: WeekFacts) -> None:
    page = weekly_page(replace(facts, metrics=readings(facts.quarter, **status)))
    assert {name: found.word for name, found, _ in page.lights}["model"] == light


def test_a_layer_whose_week_is_not_in_the_store_has_no_green_light(facts: WeekFacts) -> None:
    before = facts.quarter[:-5]
    page = weekly_page(
        replace(
            facts, missing=WEEK, metrics=readings(before), drift=drifts(before), judged_by=dict.fromkeys(before, "")
        )
    )
    assert {found.word for _, found, _ in page.lights} == {"unknown"}


def test_a_failure_in_midweek_is_told_though_the_week_ended_well(facts: WeekFacts) -> None:
    table = facts.metrics.copy()
    table.loc[(table["measure"] == "auc") & (table["date"] == np.datetime64(WEEK[1])), "status"] = "fail"
    lights = {name: (found.word, said) for name, found, said in weekly_page(replace(facts, metrics=table)).lights}
    assert lights["model"][0] == "ok"
    assert "Something failed in 1 of 5 sessions" in lights["model"][1]


def test_the_first_session_alone_makes_a_review_that_says_what_it_lacks(facts: WeekFacts) -> None:
    only = ("2008-09-15",)
    measures = dict.fromkeys(("rows", "auc", "bad_rate_vs_quarter"), "insufficient")
    page = weekly_page(
        replace(
            facts,
            sessions=only,
            quarter=only,
            metrics=readings(only, **measures),
            drift=drifts(only, NAN, "insufficient"),
            scores=scored([]),
            judged_by={only[0]: "d" * 64},
        )
    )
    assert "Insufficient evidence: 0 outcomes matured in the quarter, 30 are needed." in shown(page, "Calibration")
    assert {found.word for _, found, _ in page.lights} == {"unknown"}
    assert page_html(page).count("<svg") == 4  # the heat map in both widths, and two of rates


def test_alerts_say_what_became_of_them_and_open_ones_come_first(facts: WeekFacts) -> None:
    found = [
        alert("ece", "2008-09-02", "2008-09-03", "2008-09-08"),
        alert("qlike", "2008-09-16", "2008-09-19"),
        alert("long_ago", "2008-01-02", "2008-01-03", "2008-01-04"),
    ]
    page = weekly_page(replace(facts, alerts=found))
    (table,) = [b for b in section(page, "Alerts").blocks if isinstance(b, Table)]
    assert [[str(cell) for cell in row[:3]] for row in table.rows] == [
        ["2008-09-16", "qlike", "open"],
        ["2008-09-02", "ece", "ended 2008-09-08"],
    ]
    assert "2 in all: 1 open at the end of the week, 1 ended by then." in shown(page, "Alerts")
    assert "Alert since 2008-09-16 (model, warning): qlike is too high." in shown(page, "Needs")
    assert "ece is too high" not in shown(page, "Needs")


def test_an_open_alert_that_the_report_tells_of_is_not_told_twice(facts: WeekFacts) -> None:
    page = weekly_page(
        replace(facts, alerts=[alert("qlike", "2008-09-16", "2008-09-19")], needs=["Qlike is too high."])
    )
    assert shown(page, "Needs").count("is too high") == 1


def test_a_missing_session_waits_for_a_person_with_the_command_that_makes_it(facts: WeekFacts) -> None:
    page = weekly_page(replace(facts, missing=(WEEK[3],)))
    assert f"{WEEK[3]} is not in the store, or not whole: make run SESSION={WEEK[3]}." in shown(page, "Needs")
    assert "4 of 5 sessions" in page.subtitle


def test_each_cell_of_the_heat_map_has_its_step_and_drift_its_dot(facts: WeekFacts) -> None:
    """PSI 0.05 and 0.15 lie below the threshold 0.2; 0.3, 0.9 and 2 are up to 2, up to 5, and over 5 times it."""
    days = facts.quarter[-5:]
    table = pd.concat([drifts([day], psi) for day, psi in zip(days, [0.05, 0.15, 0.3, 0.9, 2.0], strict=True)])
    table.loc[table["psi"] == 2.0, "status"] = "fail"
    page = weekly_page(replace(facts, quarter=days, metrics=readings(days), drift=table))
    (figures,) = [b for b in section(page, "PSI").blocks if isinstance(b, Figures)]
    cells = re.findall(r'<rect x="([\d.]+)" [^>]*style="fill: var\(--(h\d)\)', figures.figures[0].svg)
    assert [step for _, step in sorted(cells, key=lambda cell: float(cell[0]))] == ["h0", "h1", "h2", "h3", "h4"]
    assert len(re.findall(r"<circle [^>]*fill: var\(--mark\)", figures.figures[0].svg)) == 1


def test_rates_are_those_of_the_week_in_which_symbols_were_scored(facts: WeekFacts) -> None:
    page = weekly_page(
        replace(
            facts,
            scores=scored([("2008-09-15", "approve"), ("2008-09-19", "hold"), ("2008-09-12", "approve")]),
            outcomes=outcomes(
                [
                    ("2008-09-05", "approve", 0.1, 1.0),
                    ("2008-09-05", "approve", 0.1, 0.0),
                    ("2008-09-04", "hold", 0.5, 1.0),
                    ("2008-09-08", "hold", 0.5, NAN),
                ]
            ),
        )
    )
    (table,) = [b for b in in_one_column(section(page, "Approved").blocks) if isinstance(b, Table)]
    assert list(table.rows) == [
        ["2008-09-01", "–", "–", "1 of 2", "1 of 1"],
        ["2008-09-08", "1", "100%", "–", "–"],
        ["2008-09-15", "2", "50%", "–", "–"],
    ]


def test_calibration_compares_what_was_said_with_what_came_and_allows_for_scores_that_move_together(
    facts: WeekFacts,
) -> None:
    """100 outcomes in five bins of 20, of which all, none … were bad; 20 scores count as 2."""
    rows = [
        ("2008-09-05", "hold", 0.1 + 0.2 * bin_ + 0.001 * row, float(bin_ == 4))
        for bin_ in range(5)
        for row in range(20)
    ]
    page = weekly_page(replace(facts, outcomes=outcomes(rows)))
    (table,) = [b for b in section(page, "Calibration").blocks if isinstance(b, Table)]
    # Wilson for 0 of n has its upper end at z²/(n + z²): 3.8415/(2 + 3.8415) = 66 %.
    first, *_, last = table.rows
    assert first == ["11.0%", "0.0%", "0% to 66%", "20", "0"]
    assert last == ["91.0%", "100.0%", "34% to 100%", "20", "20"]


def test_the_interval_of_a_rate_is_wilsons() -> None:
    """Newcombe, Two-sided confidence intervals for the single proportion, Statistics in Medicine 17 (1998), table I."""
    share, count = np.array([81 / 263, 15 / 148, 0 / 20, 1 / 29]), np.array([263.0, 148.0, 20.0, 29.0])
    low, high = wilson_interval(share, count)
    np.testing.assert_allclose(low, [0.2553, 0.0624, 0.0000, 0.0061], atol=5e-5)
    np.testing.assert_allclose(high, [0.3662, 0.1605, 0.1611, 0.1718], atol=5e-5)


def test_rejected_rows_of_the_week_are_shown_and_those_of_the_quarter_counted(facts: WeekFacts) -> None:
    page = weekly_page(replace(facts, rejected=rejected("2008-09-03", WEEK[2])))
    words = shown(page, "Rejected")
    assert "1 in the week, 2 in the quarter (high_low: 2)." in words
    assert f"{WEEK[2]} 3 MSFT high_low high < low" in words
    assert "2008-09-03" not in words


def test_a_commentary_is_shown_word_for_word_and_can_do_nothing(facts: WeekFacts) -> None:
    words = "Lehman failed.\n<script>alert(1)</script>\n"
    page = weekly_page(replace(facts, commentary=words))
    html = page_html(page)
    assert "<script" not in html
    assert "Lehman failed.\n&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert words in page_text(page)
    assert "commentary/2008-W38.md" in shown(weekly_page(facts), "Commentary")


def test_a_threshold_that_alarmed_twice_in_a_calm_year_is_suggested_and_one_that_did_in_a_wild_year_is_not(
    facts: WeekFacts,
) -> None:
    calm, wild = replayed("qlike", y2006=2, y2008=1), replayed("auc", y2006=1, y2008=9, y2005=None)
    (found,) = suggestions(replace(facts, replay=replace(facts.replay, measures=(calm, wild))))
    assert found.startswith("Rule 1: look at what qlike is judged by. It alarmed 2 times in 2006.")
    assert "model.loss_rise is 1, with 3 alarms in all; doubled it would have had 0, halved 3" in found


def test_a_break_too_near_to_judge_is_a_sentence_and_no_table(facts: WeekFacts) -> None:
    def said(delay: Delay) -> tuple[str, list[Sequence[str]]]:
        (found,) = facts.replay.measures
        alarms = replace(found.alarms, delays={"2008-09-15": delay})
        replay = replace(facts.replay, measures=(replace(found, alarms=alarms),))
        parts = section(weekly_page(replace(facts, replay=replay)), "False alarms").blocks
        words = " ".join(item for part in parts if isinstance(part, Words) for item in part.items)
        return words, [part.head for part in parts if isinstance(part, Table)]

    words, heads = said("too early")
    assert "Too early to say how soon after 2008-09-15 (a bank failed) an alarm came of: qlike." in words
    assert ("measure", "2008-09-15") not in heads
    words, heads = said(9)
    assert "Too early" not in words
    assert ("measure", "2008-09-15") in heads


def test_a_review_of_thresholds_that_is_due_is_suggested(facts: WeekFacts) -> None:
    assert suggestions(replace(facts, reviews_due=["drift: reviewed 91 days ago"])) == [
        "Rule 2: drift: reviewed 91 days ago."
    ]


def test_a_measure_without_evidence_is_suggested_after_a_whole_quarter_not_before(facts: WeekFacts) -> None:
    for count, expected in ((QUARTER - 1, 0), (QUARTER, 1)):
        days = weekdays(count)
        lacking = replace(
            facts,
            quarter=days,
            metrics=readings(days, auc="insufficient"),
            judged_by=dict.fromkeys(days, "d" * 64),
        )
        assert [text.split(" can be")[0] for text in suggestions(lacking)] == ["Rule 3: decide whether auc"] * expected


def test_suggestions_are_marked_as_such_with_the_rules_that_they_follow_from(facts: WeekFacts) -> None:
    quiet = shown(weekly_page(facts), "Suggestions")
    assert "Nothing has been changed, and no code acts upon them" in quiet
    assert "None of the rules applies this week." in quiet
    due = shown(weekly_page(replace(facts, reviews_due=["drift: reviewed 91 days ago"])), "Suggestions")
    assert "- Suggestion. Rule 2: drift: reviewed 91 days ago." in due


def test_sessions_judged_by_other_thresholds_than_those_of_now_are_counted(facts: WeekFacts) -> None:
    assert "were judged by others" not in " ".join(weekly_page(facts).foot)
    before = {**facts.judged_by, facts.quarter[0]: "e" * 64, facts.quarter[1]: "f" * 64}
    assert "2 of the quarter's sessions were judged by others" in weekly_page(replace(facts, judged_by=before)).foot[0]


@pytest.mark.parametrize("measure", [max(MEASURES, key=len)])
def test_the_text_keeps_to_80_columns_with_the_longest_name_of_a_measure(measure: str, facts: WeekFacts) -> None:
    table = readings(facts.quarter)
    table = table.assign(measure=table["measure"].replace("auc", measure), value=-1.23456e-5)
    busy = replace(
        facts,
        metrics=table,
        alerts=[alert(measure, "2008-09-15", "2008-09-16", "2008-09-17"), alert(measure, "2008-09-18", "2008-09-19")],
        rejected=rejected(*WEEK),
    )
    assert max(map(len, page_text(weekly_page(busy)).splitlines())) <= 80


def test_the_course_in_the_text_has_a_block_for_every_part_of_the_quarter_so_that_no_dip_is_left_out(
    facts: WeekFacts,
) -> None:
    """24 sessions are twelve pairs: 4 and 4 each, but for one with 0, whose mean is half as high."""
    days = weekdays(24)
    table = readings(days).assign(value=4.0)
    table.loc[(table["measure"] == "rows") & (table["date"] == np.datetime64(days[7])), "value"] = 0.0
    words = shown(weekly_page(replace(facts, quarter=days, metrics=table, drift=drifts(days))), "Measures: data")
    assert "rows pass 4 4 ███▅████████" in words
