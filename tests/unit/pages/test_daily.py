"""The page of a session: what it shows of given facts, and that missing evidence is never green."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from countersign.pages.daily import DayFacts, daily_page, key_figure
from countersign.pages.page import Figures, Page, Table, figure_image, in_one_column, page_html, page_text
from countersign.pages.quarter import LAYERS
from countersign.report import Matured, ReportFacts, needs_a_person, report_text
from countersign.tables import DRIFT, METRICS, OUTCOMES, PRICES_REJECTED, SCORES, Column, conform, empty_table
from countersign.thresholds import Thresholds, load_thresholds

NAN = float("nan")
QUARTER = tuple(f"2008-09-{day:02}" for day in (8, 9, 10, 11, 12, 15))
TODAY, BEFORE, SCORED = QUARTER[-1], QUARTER[-2], QUARTER[0]
"""The session, the one before it, and the one whose horizon ends with it."""
EVIL = "<script>x</script>&\"'"


def table(columns: tuple[Column, ...], rows: Sequence[dict[str, Any]], **rest: Any) -> pd.DataFrame:
    """Rows as in an artifact; what is not given is ``rest``, else unknown."""
    whole = [{c.name: None for c in columns} | rest | row for row in rows]
    return conform(pd.DataFrame(whole, columns=[c.name for c in columns]), columns)


def scores(rows: Sequence[tuple[str, str, float]]) -> pd.DataFrame:
    """Session, symbol and probability; held from 20 %."""
    said = [
        {"date": d, "symbol": s, "bad_week_probability": p, "decision": "approve" if p < 0.2 else "hold"}
        for d, s, p in rows
    ]
    by_model = {"volatility_by": "model", "probability_by": "model"}
    return table(SCORES, said, volatility_forecast=0.02, baseline_volatility=0.03, history_sessions=63, **by_model)


def outcomes(rows: Sequence[tuple[str, str, str, float]], came: float = 0.025) -> pd.DataFrame:
    """The session that was scored, the symbol, the decision, and whether its week was bad."""
    found = [{"scored": d, "symbol": s, "decision": w, "bad_week": bad} for d, s, w, bad in rows]
    return table(OUTCOMES, found, date=TODAY, bad_week_probability=0.3, volatility_forecast=0.02, came_volatility=came)


def readings(sessions: Sequence[str], **status: str) -> pd.DataFrame:
    """A measure of each layer but drift and system: 1, 2, 3 … against 4; pass where no ``status`` is given."""
    rows = [
        {
            "date": session,
            "layer": layer,
            "measure": measure,
            "status": (found := status.get(measure, "pass")),
            "value": NAN if found == "insufficient" else number + 1.0,
            "threshold": 4.0,
            "sentence": f"{measure} in {session}",
        }
        for number, session in enumerate(sessions)
        for layer, measure in (("data", "null_share"), ("model", "qlike_rise"), ("business", "bad_rate_vs_quarter"))
    ]
    return table(METRICS, rows, observations=4)


def drifts(sessions: Sequence[str], psi: float = 0.1, status: str = "pass") -> pd.DataFrame:
    rows = [{"date": s, "subject": "return_1", "status": status, "psi": psi} for s in sessions]
    return table(DRIFT, rows, sessions_in_a_row=0, observations=4, sentence="as in training")


@pytest.fixture(scope="module")
def thresholds(root: Path) -> Thresholds:
    return load_thresholds(root)[0]


@pytest.fixture
def facts(thresholds: Thresholds) -> DayFacts:
    """A quiet session, the sixth of the project, whose week was fine."""
    symbols = ("AAPL", "IBM")
    said = scores([(d, s, p) for d in QUARTER for s, p in zip(symbols, (0.3, 0.1), strict=True)])
    came = outcomes([(SCORED, "AAPL", "hold", 0.0), (SCORED, "IBM", "approve", 0.0)])
    validation = {
        name: {"model": 0.7, "baseline": 0.6, "naive": 0.5, "lead": 0.1, "lead_low": -0.1, "lead_high": 0.3}
        for name in ("auc", "qlike")
    }
    metrics, drift = readings(QUARTER), drifts(QUARTER)
    report = ReportFacts(
        session=TODAY,
        calendar="XNYS",
        horizon_end="2008-09-22",
        source="data/prices.csv",
        clean=pd.DataFrame({"symbol": symbols}),
        closes_alone=False,
        rejected=empty_table(PRICES_REJECTED),
        released=(),
        restated=None,
        missing=[],
        aside=[],
        jump=None,
        scores=said[said["date"] == TODAY],
        matured=Matured(SCORED, came),
        metrics=metrics[metrics["date"] == TODAY],
        drift=drift[drift["date"] == TODAY],
        model_sha256="a" * 64,
        champion_sha256="a" * 64,
        standing="in service since 2008-09-01: alice@example.com approved r1",
        gate_needs=(),
        gate_news=(),
        training={"first_session": "2000-03-01", "last_session": "2008-08-29", "rows": 9000, "symbols": ["A", "B"]},
        evaluation={
            "first": "2003-03-07",
            "last": "2008-08-22",
            "table": validation,
            "approval_rate": 0.6,
            "bad_rate_approved": 0.083,
            "bad_rate_held": None,
        },
        min_auc=0.55,
        cutoff=0.2,
        stale=None,
        commentary=None,
    )
    return DayFacts(
        report=report,
        quarter=QUARTER,
        metrics=metrics,
        drift=drift,
        scores=said,
        outcomes=came,
        rejected=empty_table(PRICES_REJECTED).assign(session=""),
        thresholds=thresholds,
        thresholds_sha256="d" * 64,
    )


def changed(facts: DayFacts, **today: Any) -> DayFacts:
    """The facts with other ones of the session itself."""
    return replace(facts, report=replace(facts.report, **today))


def measured(facts: DayFacts, metrics: pd.DataFrame) -> DayFacts:
    return changed(replace(facts, metrics=metrics), metrics=metrics[metrics["date"] == TODAY])


def drifted(facts: DayFacts, drift: pd.DataFrame) -> DayFacts:
    return changed(replace(facts, drift=drift), drift=drift[drift["date"] == TODAY])


def many(facts: DayFacts, symbols: Sequence[str]) -> DayFacts:
    """As many symbols, the first one the riskiest."""
    risk = np.linspace(0.9, 0.01, len(symbols))
    said = scores([(d, s, p) for d in QUARTER for s, p in zip(symbols, risk, strict=True)])
    came = outcomes([(SCORED, s, "hold", 1.0) for s in symbols])
    today = said[said["date"] == TODAY]
    return changed(
        replace(facts, scores=said, outcomes=came),
        scores=today,
        clean=today[["symbol"]],
        matured=Matured(SCORED, came),
    )


def blocks(page: Page, title: str) -> Sequence[Any]:
    (found,) = [s for s in page.sections if s.title.startswith(title)]
    return in_one_column(found.blocks)


def shown(page: Page, title: str) -> str:
    """The section ``title`` without its figures, as one line."""
    (found,) = [s for s in page.sections if s.title.startswith(title)]
    return " ".join(page_text(replace(page, sections=[found], lights=[])).split())


def figures(page: Page, title: str) -> dict[str, str]:
    return {f.title: f.svg for block in blocks(page, title) if isinstance(block, Figures) for f in block.figures}


class Reader(HTMLParser):
    """The elements and the text of a page; what is opened must be closed, in order."""

    VOID = ("meta", "br", "wbr")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_same_facts_make_the_same_page(facts: DayFacts) -> None:
    again = replace(facts, metrics=facts.metrics.copy(), scores=facts.scores.copy())
    assert page_html(daily_page(facts)) == page_html(daily_page(again))


def test_what_needs_a_person_comes_first_and_is_what_the_text_says(facts: DayFacts) -> None:
    busy = changed(facts, missing=["FB"], stale="features were made from other bars than are there now.")
    page = daily_page(busy)
    assert page.sections[0].title == "Needs a person"
    (words,) = blocks(page, "Needs a person")
    assert words.items == needs_a_person(report_text(busy.report))
    assert len(words.items) == 2
    assert "Nothing today." in shown(daily_page(facts), "Needs a person")


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(
    ("found", "light"),
    [
        (("pass", "pass"), "ok"),
        (("pass", "fail", "insufficient"), "FAIL"),
        (("pass", "insufficient"), "partly"),
        (("insufficient",), "unknown"),
        ((), "unknown"),
    ],
)
def test_a_layers_light_is_never_green_without_evidence(
    layer: str, found: tuple[str, ...], light: str, facts: DayFacts
) -> None:
    if layer == "drift":
        rows = [{"subject": f"m{n}", "status": s, "psi": 0.1} for n, s in enumerate(found)]
        own = table(DRIFT, rows, date=TODAY, sessions_in_a_row=0, observations=4, sentence="said")
        judged = drifted(facts, own)
    else:
        rows = [{"measure": f"m{n}", "status": s} for n, s in enumerate(found)]
        own = table(METRICS, rows, date=TODAY, layer=layer, observations=4, value=1.0, sentence="said")
        judged = measured(facts, own)
    lights = {name: (found.word, said) for name, found, said in daily_page(judged).lights}
    assert tuple(lights) == LAYERS
    word, said = lights[layer]
    assert word == light
    assert ("m1" in said) == ("fail" in found)


def test_every_measure_is_listed_with_value_limit_and_sentence_what_failed_first(facts: DayFacts) -> None:
    judged = measured(facts, readings(QUARTER, null_share="insufficient", bad_rate_vs_quarter="fail"))
    rows = [[str(cell) for cell in row] for row in blocks(daily_page(judged), "Every measure")[-1].rows]
    assert rows == [
        ["bad_rate_vs_quarter", "fail", "6", "4", "business", "bad_rate_vs_quarter in 2008-09-15"],
        ["null_share", "insufficient", "–", "4", "data", "null_share in 2008-09-15"],
        ["qlike_rise", "pass", "6", "4", "model", "qlike_rise in 2008-09-15"],
        ["return_1", "pass", "0.1", "0.2", "drift", "as in training"],
    ]


def test_a_failing_measure_is_drawn_where_its_layer_is_told_of(facts: DayFacts) -> None:
    assert "bad_rate_vs_quarter" not in figures(daily_page(facts), "What came")
    judged = measured(facts, readings(QUARTER, bad_rate_vs_quarter="fail"))
    assert "bad_rate_vs_quarter" in figures(daily_page(judged), "What came")


def test_a_score_stands_beside_that_of_the_day_before(facts: DayFacts) -> None:
    said = facts.scores.copy()
    said.loc[(said["date"] == np.datetime64(BEFORE)) & (said["symbol"] == "IBM"), "bad_week_probability"] = 0.17
    said = said[~((said["date"] == np.datetime64(BEFORE)) & (said["symbol"] == "AAPL"))]
    words = shown(daily_page(replace(facts, scores=said)), "Risk over the next 5 sessions, to 2008-09-22")
    assert "AAPL hold 30.0% – 2.00% 3.00% model" in words
    assert "IBM approve 10.0% 17.0% 2.00% 3.00% model" in words


def test_what_came_is_drawn_at_the_session_that_was_scored(facts: DayFacts) -> None:
    came = outcomes([(SCORED, "AAPL", "hold", 1.0), (QUARTER[1], "AAPL", "hold", 0.0), (SCORED, "IBM", "approve", 0.0)])
    drawn = figures(daily_page(replace(facts, outcomes=came)), "Risk")
    probability, volatility = (ElementTree.fromstring(svg) for svg in drawn.values())
    paths = [(p.get("d", ""), p.get("style", "")) for p in probability.iter("path")]
    first = next(d for d, style in paths if "stroke: var(--blue)" in style).split()[1]
    # One week was bad, of the session at the left end, where the line of what was said begins.
    (strokes,) = [d for d, style in paths if "stroke: var(--ink)" in style]
    assert [piece.split()[0] for piece in strokes.split("M ")[1:]] == [first]
    # Two outcomes of AAPL make a line, the one of IBM a dot.
    came_lines = [e.tag for e in volatility.iter() if e.tag != "text" and "var(--ink)" in e.get("style", "")]
    assert came_lines == ["path", "circle"]


def test_how_earlier_decisions_turned_out_is_counted_over_the_quarter(facts: DayFacts) -> None:
    came = outcomes(
        [
            (SCORED, "A", "approve", 1.0),
            (SCORED, "B", "approve", 0.0),
            (SCORED, "C", "approve", 0.0),
            (SCORED, "D", "approve", NAN),
            (SCORED, "E", "hold", 1.0),
        ]
    )
    words = shown(daily_page(changed(replace(facts, outcomes=came), matured=Matured(SCORED, came))), "What came")
    assert "1 of 3 approved had a bad week (33.3%) and 1 of 1 held had a bad week (100.0%)" in words
    assert "D approve 30.0% unknown 2.00% 2.50%" in words


def test_five_hundred_symbols_make_a_short_page_that_says_what_it_leaves_out(facts: DayFacts) -> None:
    page = daily_page(many(facts, [f"S{i:03d}" for i in range(500)]))
    drawn = figures(page, "Risk")["Bad-week probability (%)"]
    assert [t.text for t in ElementTree.fromstring(drawn).iter("text") if (t.text or "").startswith("S0")] == [
        f"S{i:03d}" for i in range(16)
    ]
    words = shown(page, "Risk")
    assert "Drawn are the 16 riskiest of 500 symbols." in words
    # Probabilities fall evenly from 0.9 to 0.01: from the 393rd on they are below 0.2. The first 40 are in the table.
    assert "And 460 more, bad week at most 82.9%: 353 held, 107 approved." in words
    assert len(page_html(page).encode()) < 300_000


def test_the_first_session_makes_a_page_that_says_what_it_lacks(facts: DayFacts) -> None:
    only = (TODAY,)
    lacking = readings(only, null_share="insufficient", qlike_rise="insufficient", bad_rate_vs_quarter="insufficient")
    first = replace(
        drifted(measured(facts, lacking), drifts(only, NAN, "insufficient")),
        quarter=only,
        scores=facts.report.scores,
        outcomes=outcomes([]),
    )
    page = daily_page(changed(first, matured=None, horizon_end=None))
    assert {light.word for _, light, _ in page.lights} == {"unknown"}
    assert "Nothing matured today" in shown(page, "What came")
    assert "No outcome of the quarter is known yet." in shown(page, "What came")
    assert "Insufficient evidence: 0 outcomes matured in the quarter, 30 are needed." in shown(page, "Calibration")
    assert "Insufficient evidence: as in training." in shown(page, "Drift")
    assert "qlike_rise: qlike_rise in 2008-09-15." in shown(page, "Error")
    assert page.sections[1].title == "Risk over the next 5 sessions"
    Reader(page_html(page))


def test_a_session_of_the_quarter_that_is_not_in_the_store_is_a_gap_and_is_counted(facts: DayFacts) -> None:
    gap = np.datetime64(QUARTER[2])
    page = daily_page(
        replace(
            facts,
            metrics=facts.metrics[facts.metrics["date"] != gap],
            scores=facts.scores[facts.scores["date"] != gap],
            drift=facts.drift[facts.drift["date"] != gap],
        )
    )
    svg = figures(page, "Risk")["Bad-week probability (%)"]
    course = next(d for d in re.findall(r'<path d="([^"]+)" style="fill: none; stroke: var\(--blue\)', svg))
    assert [piece.count("L") for piece in course.split("M ")[1:]] == [1, 2]
    assert "5 of the 6 sessions up to this one" in page.foot[1]


def test_the_same_probability_for_every_symbol_is_one_bin_of_the_calibration_curve(facts: DayFacts) -> None:
    came = outcomes([(SCORED, f"S{i}", "hold", float(i < 10)) for i in range(40)])
    page = daily_page(replace(facts, outcomes=came))
    assert "40 outcomes in 1 bin of equal mass" in shown(page, "Calibration")
    assert [row[:2] for row in blocks(page, "Calibration")[-1].rows] == [["30.0%", "25.0%"]]


def test_a_quarter_that_approved_none_says_so(facts: DayFacts) -> None:
    came = outcomes([(SCORED, "A", "hold", 1.0), (SCORED, "B", "hold", 0.0)])
    words = shown(daily_page(replace(facts, outcomes=came)), "What came")
    assert "Of the quarter's matured scores, none was approved and 1 of 2 held had a bad week (50.0%)." in words


def test_psi_that_is_not_known_is_listed_and_not_called_low(facts: DayFacts) -> None:
    other = drifts(QUARTER, NAN, "insufficient").assign(subject="skew_63")
    page = daily_page(drifted(facts, pd.concat([drifts(QUARTER, 0.5, "fail"), other])))
    assert "1 of 2 are over 0.2" in shown(page, "Drift")
    svg = figures(page, "Drift")["PSI by subject"]
    assert len(re.findall(r"<circle|<rect", svg)) == 1
    assert "skew_63</text>" in svg
    assert {name: said for name, _, said in page.lights}["drift"].endswith("Drifted: return_1.")


def test_rejected_rows_of_today_are_shown_and_those_of_the_quarter_counted(facts: DayFacts) -> None:
    row = {"row": 3, "date": TODAY, "symbol": "MSFT", "rule": "high_low", "reason": "high < low"}
    today = table(PRICES_REJECTED, [row])
    quarter = pd.concat([today, today]).assign(session=[TODAY, BEFORE])
    words = shown(daily_page(changed(replace(facts, rejected=quarter), rejected=today)), "Data")
    assert "Rejected in the quarter: 2 rows (high_low: 2)." in words
    assert words.count("3 MSFT high_low high < low") == 1


def test_whatever_a_source_or_a_person_writes_is_shown_and_can_do_nothing(facts: DayFacts) -> None:
    row = {"row": 3, "date": TODAY, "symbol": EVIL, "rule": "range", "reason": EVIL}
    today = table(PRICES_REJECTED, [row])
    words = f"Lehman failed.\n{EVIL}\n\n  indented"
    hostile = changed(
        replace(many(facts, [EVIL, "$A$ -->"]), rejected=today.assign(session=TODAY)),
        rejected=today,
        commentary=words,
        missing=[EVIL],
    )
    found = Reader(page_html(daily_page(hostile)))
    tags = [tag for tag, _ in found.elements]
    assert not {"script", "link", "iframe", "img"} & {*tags}
    assert tags.count("style") == 1
    targets = [v for _, attrs in found.elements for k, v in attrs.items() if k in {"src", "href", "action"}]
    assert all(target and target.startswith("#") for target in targets)
    assert not any(name.startswith("on") for _, attrs in found.elements for name in attrs)
    assert words in found.words
    # As a name, in the lanes, in a table, and in a sentence.
    assert sum(EVIL in text for text in found.words) >= 4


def test_the_key_figure_is_an_image_that_needs_no_page(facts: DayFacts) -> None:
    crowd = many(facts, [f"S{i:03d}" for i in range(500)])
    image = figure_image(key_figure(crowd))
    assert image.startswith("![Bad-week probability (%)](data:image/svg+xml;base64,")
    assert len(image) < 30_000


def test_tables_have_as_many_cells_in_each_row_as_in_their_head(facts: DayFacts) -> None:
    page = daily_page(facts)
    found = [block for section in page.sections for block in in_one_column(section.blocks) if isinstance(block, Table)]
    assert len(found) >= 4
    assert all(len(row) == len(block.head) == len(block.align) for block in found for row in block.rows)
