"""Daily page: what people read of a session in the morning, with the course of the quarter up to it.

Belongs here: words, tables and figures of one session, as a pure function of facts. Does not belong here: reading
(``steps.reports``), measures, the form of a page (``page``), the same as plain text (``countersign.report``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Final

import numpy as np

from countersign.pages.page import (
    Beside,
    Block,
    Cell,
    Figure,
    Figures,
    Light,
    Page,
    Section,
    Table,
    Verbatim,
    Words,
)
from countersign.pages.plots import Lane, lanes_plot, lanes_top, psi_plot
from countersign.pages.quarter import (
    COURSE_KEY,
    LAYERS,
    calibration_blocks,
    layer_light,
    measure_course,
    measure_figure,
    number_text,
    rates_blocks,
    status_light,
    validation_table,
)
from countersign.report import ReportFacts, cutoff_words, data_words, model_words, person_needs
from countersign.words import counted

if TYPE_CHECKING:
    import pandas as pd

    from countersign.thresholds import Thresholds

_ROWS: Final = 40
"""Rows of a table before the rest is counted."""

_LANES: Final = 16
"""Symbols whose course is drawn, the riskiest first: so many fill a screen."""

_FIRST: Final = 6
"""Of these, so many in the key figure: it becomes part of each of Dagster's records."""

_DRAWN: Final[Mapping[str, tuple[str, ...]]] = {
    "data": ("rejected_share", "null_share", "symbols"),
    "model": ("qlike_rise", "volatility_mae_rise"),
    "system": (),
    "business": (),
}
"""Measures whose course is always drawn, by layer; one that fails is drawn as well."""


_ERROR: Final = (
    "How far volatility forecasts were from what came. QLIKE and the mean error (volatility_mae) are losses; QLIKE is "
    "hard on forecasts that were too low. A rise of 1 is as in validation, beside the baseline on the same days."
)


@dataclass(frozen=True)
class DayFacts:
    """All that the page is made from: what the text says, and the quarter.

    ``quarter`` has the sessions up to this one, ``YYYY-MM-DD``. ``metrics``, ``drift``, ``scores``, ``outcomes`` and
    ``rejected`` are the tables of those that are in the store, one below the other; ``rejected`` has the ``session``.
    """

    report: ReportFacts
    quarter: tuple[str, ...]
    metrics: pd.DataFrame
    drift: pd.DataFrame
    scores: pd.DataFrame
    outcomes: pd.DataFrame
    rejected: pd.DataFrame
    thresholds: Thresholds
    thresholds_sha256: str


def daily_page(facts: DayFacts) -> Page:
    """The whole page. The same facts make the same page: no clock, no path of the machine."""
    report = facts.report
    needs, held = person_needs(report), int((report.scores["decision"] == "hold").sum())
    day, until = date.fromisoformat(report.session), f", to {report.horizon_end}" if report.horizon_end else ""
    return Page(
        title=f"Session {report.session}",
        subtitle=f"{day:%A}, {day.day} {day:%B} {day.year}, {report.calendar}: {len(report.scores) - held} of "
        f"{len(report.scores)} symbols approved, {held} held",
        lights=[(layer, *_light(facts, layer)) for layer in LAYERS],
        sections=[
            Section("Needs a person", [Words(needs, bullets=True) if needs else Words(["Nothing today."])]),
            Section(f"Risk over the next 5 sessions{until}", _scores(facts)),
            Section("What came of earlier scores", _matured(facts)),
            Section(
                "Calibration of the quarter",
                calibration_blocks(facts.outcomes, facts.thresholds.business),
                half=True,
            ),
            Section("Drift", _drift(facts), half=True),
            Section("Error of the model", [Words([_ERROR]), *_courses(facts, "model")]),
            Section("Data", _data(facts)),
            Section("Model in service", [Words(model_words(report)), validation_table(report.evaluation)], half=True),
            Section("Commentary", _commentary(report), half=True),
            Section("Every measure", _measures(facts), folded=True),
        ],
        foot=_foot(facts),
    )


def key_figure(facts: DayFacts) -> Figure:
    """The one figure to see first: the riskiest symbols, what was said of them, and which weeks were bad."""
    return _probability(facts, _riskiest(facts.report.scores)["symbol"].tolist()[:_FIRST])


def _light(facts: DayFacts, layer: str) -> tuple[Light, str]:
    """The layer as this session found it, and what failed by name."""
    table = facts.report.drift if layer == "drift" else _of(facts.report.metrics, layer)
    light, passed, failed, unsure = layer_light(table["status"])
    if table.empty:
        return light, "Nothing was measured."
    what = "distributions as in training" if layer == "drift" else "measures as they should be"
    said = f"{passed} of {len(table)} {what}{f', {unsure} without evidence' * bool(unsure)}."
    if failed:
        name = "subject" if layer == "drift" else "measure"
        said += f" {'Drifted' if layer == 'drift' else 'Failed'}: {', '.join(table[name][table['status'] == 'fail'])}."
    return light, said


def _scores(facts: DayFacts) -> list[Block]:
    report = facts.report
    table = _riskiest(report.scores)
    before = facts.scores[facts.scores["date"] < np.datetime64(report.session)]
    before = before[before["date"] == before["date"].max()].set_index("symbol")["bad_week_probability"]
    rows: list[Sequence[Cell]] = [
        [
            row["symbol"],
            row["decision"],
            f"{row['bad_week_probability']:.1%}",
            _percent(before.get(row["symbol"], math.nan), 1, "–"),
            f"{row['volatility_forecast']:.2%}",
            f"{row['baseline_volatility']:.2%}",
            row["volatility_by"],
        ]
        for row in table.head(_ROWS).to_dict(orient="records")
    ]
    head = ("symbol", "decision", "bad week", "day before", "volatility a day", "EWMA's", "by")
    scores: list[Table | Words] = [Table(head, rows, "llrrrrl")]
    if len(table) > _ROWS:
        rest = table.iloc[_ROWS:]
        held = int((rest["decision"] == "hold").sum())
        words = (
            f"And {len(rest)} more, bad week at most {rest['bad_week_probability'].iloc[0]:.1%}: {held} held, "
            f"{len(rest) - held} approved. report.txt names them all."
        )
        scores.append(Words([words]))
    said = cutoff_words(report.cutoff)
    if len(table) > _LANES:
        said += f" Drawn are the {_LANES} riskiest of {len(table)} symbols."
    return [Words([said]), Beside(scores, [_lanes(facts, table["symbol"].tolist()[:_LANES])])]


def _lanes(facts: DayFacts, symbols: list[str]) -> Figures:
    """What was said of ``symbols`` over the quarter, and what came of it, at the session that was scored."""
    forecast = 100 * _course(facts, facts.scores, "date", "volatility_forecast", symbols)
    came = 100 * _course(facts, facts.outcomes, "scored", "came_volatility", symbols)
    none = np.full(len(facts.quarter), False)
    lanes = [Lane(symbol, forecast[:, i], came[:, i], none) for i, symbol in enumerate(symbols)]
    top = float(math.ceil(max(lanes_top(lanes), 1.0)))
    off = np.nanmax([*forecast.ravel(), *came.ravel(), 0.0]) > top
    volatility = lanes_plot("Volatility by symbol", facts.quarter, lanes, top, math.nan)
    figures = [
        _probability(facts, symbols),
        Figure(
            volatility,
            "Volatility a day (%)",
            f"Each lane is 0 to {top:g} %. What came ends 5 sessions before today: later weeks are not over."
            f"{' ▲ is over the top of the scale, with its number.' * bool(off)}",
        ),
    ]
    key = [
        ("line", "what was said; the number is today's"),
        ("limit", "cutoff"),
        ("stroke", "the week that followed was bad"),
        ("came", "volatility that came"),
    ]
    return Figures(figures, key)


def _probability(facts: DayFacts, symbols: list[str]) -> Figure:
    said = 100 * _course(facts, facts.scores, "date", "bad_week_probability", symbols)
    bad = _course(facts, facts.outcomes, "scored", "bad_week", symbols) == 1
    cutoff = 100 * facts.report.cutoff
    top = min(100.0, 10.0 * math.ceil(np.nanmax([*said.ravel(), 2 * cutoff]) / 10))
    nothing = np.full(len(facts.quarter), np.nan)
    lanes = [Lane(symbol, said[:, i], nothing, bad[:, i]) for i, symbol in enumerate(symbols)]
    return Figure(
        lanes_plot("Bad-week probability by symbol", facts.quarter, lanes, top, cutoff),
        "Bad-week probability (%)",
        f"Each lane is 0 to {top:g} %. Above the dashed line ({cutoff:g} %) a symbol is held; a stroke below: "
        "that week was bad.",
    )


def _course(facts: DayFacts, table: pd.DataFrame, day: str, column: str, symbols: list[str]) -> np.ndarray:
    """A column as a matrix (sessions of the quarter, symbols), NaN where there is no row."""
    found = table[table["symbol"].isin(symbols)].pivot(index=day, columns="symbol", values=column)
    days = np.array(facts.quarter, dtype="datetime64[s]")
    return found.reindex(index=days, columns=symbols).to_numpy(dtype=float)


def _matured(facts: DayFacts) -> list[Block]:
    report = facts.report
    known = facts.outcomes[facts.outcomes["bad_week"].notna()]
    blocks: list[Table | Words] = []
    if report.matured is None:
        nothing = "outcomes come 5 sessions after a scored session, and that one was not scored"
        blocks.append(Words([f"Nothing matured today: {nothing}."]))
    else:
        table = _riskiest(report.matured.table)
        rows: list[Sequence[Cell]] = [
            [
                row["symbol"],
                row["decision"],
                f"{row['bad_week_probability']:.1%}",
                {1.0: "bad", 0.0: "fine"}.get(row["bad_week"], "unknown"),
                f"{row['volatility_forecast']:.2%}",
                _percent(row["came_volatility"], 2, "unknown"),
            ]
            for row in table.head(_ROWS).to_dict(orient="records")
        ]
        head = ("symbol", "decision", "bad week", "came", "volatility a day", "came")
        blocks.append(Table(head, rows, "llrlrr", f"Scored {report.matured.scored}, matured today."))
        blocks += _more(len(table))
    if known.empty:
        return [*blocks, Words(["No outcome of the quarter is known yet."])]
    said = []
    for decision, word in (("approve", "approved"), ("hold", "held")):
        bad = known["bad_week"][known["decision"] == decision]
        rate = f"{int(bad.sum())} of {len(bad)} {word} had a bad week ({bad.mean():.1%})" if len(bad) else ""
        said.append(rate or f"none was {word}")
    blocks.append(Words([f"Of the quarter's matured scores, {' and '.join(said)}."]))
    courses = _courses(facts, "business")
    return [
        *([Beside(blocks, courses)] if courses else blocks),
        *rates_blocks(facts.scores, facts.outcomes, facts.quarter, report.evaluation),
    ]


def _drift(facts: DayFacts) -> list[Block]:
    limit, window = facts.thresholds.drift.psi, facts.thresholds.drift.window_sessions
    table = facts.report.drift.sort_values("psi", ascending=False, kind="stable")
    if not table["psi"].notna().any():
        sentences = sorted({*table["sentence"]})
        return [Words([f"Insufficient evidence: {sentence}." for sentence in sentences] or ["Nothing was measured."])]
    by_subject = facts.drift.groupby("subject")["psi"].agg(["min", "max"]).reindex(table["subject"])
    svg = psi_plot(
        table["subject"].tolist(),
        table["psi"].to_numpy(dtype=float),
        by_subject["min"].to_numpy(dtype=float),
        by_subject["max"].to_numpy(dtype=float),
        table["status"].tolist(),
        limit,
    )
    over = int((table["psi"] > limit).sum())
    words = (
        "PSI (population stability index) says how far a distribution has moved from the training data; 0 is not at "
        f"all. Over the last {window} sessions {over} of {len(table)} are over {limit:g}. That alone is no drift, slow "
        "features pass it in most quarters: effect, significance and persistence must come together."
    )
    key = [
        ("dot", "today, as in training"),
        ("ring", "today, too little evidence to judge"),
        ("cross", "today, drifted"),
        ("range", "from the least to the largest of the quarter"),
        ("limit", "threshold"),
    ]
    return [Words([words]), Figures([Figure(svg, "PSI by subject")], key)]


def _data(facts: DayFacts) -> list[Block]:
    today, counts = facts.report.rejected, facts.rejected["rule"].value_counts()
    rules = ", ".join(f"{rule}: {count}" for rule, count in zip(counts.index, counts, strict=True))
    said = f"Rejected in the quarter: {counted(len(facts.rejected), 'row')}{f' ({rules})' * bool(rules)}."
    blocks: list[Block] = [Words([*data_words(facts.report), said])]
    if len(today):
        rows = [
            [str(row["row"]), str(row["symbol"]), row["rule"], row["reason"]]
            for row in today.head(_ROWS).to_dict(orient="records")
        ]
        blocks += [Table(("row", "symbol", "rule", "reason"), rows, "rllw", "Rejected today."), *_more(len(today))]
    return [*blocks, *_courses(facts, "data")]


def _courses(facts: DayFacts, layer: str) -> list[Figures | Words]:
    """The layer's courses over the quarter: those that are always drawn, and what fails today."""
    figures, unknown = [], []
    for row in _of(facts.report.metrics, layer).to_dict(orient="records"):
        if row["measure"] not in _DRAWN[layer] and row["status"] != "fail":
            continue
        course = measure_course(facts.metrics, row["measure"], facts.quarter)
        if np.isnan(course.value).all():
            unknown.append(f"{row['measure']}: {row['sentence']}.")
        else:
            figures.append(measure_figure(course, row, ()))
    return [
        *([Figures(figures, COURSE_KEY)] if figures else []),
        *([Words(["Without a value all quarter:"]), Words(unknown, bullets=True)] if unknown else []),
    ]


def _measures(facts: DayFacts) -> list[Block]:
    """Everything that was measured today, what failed first; before it the courses of what fails without a section."""
    metrics, drift = facts.report.metrics, facts.report.drift
    rows: list[tuple[str, Sequence[Cell]]] = [
        (
            row["status"],
            [
                row["measure"],
                status_light(row["status"]),
                number_text(row["value"]),
                number_text(row["threshold"]),
                row["layer"],
                row["sentence"],
            ],
        )
        for row in metrics.to_dict(orient="records")
    ]
    limit = number_text(facts.thresholds.drift.psi)
    rows += [
        (
            row["status"],
            [row["subject"], status_light(row["status"]), number_text(row["psi"]), limit, "drift", row["sentence"]],
        )
        for row in drift.to_dict(orient="records")
    ]
    rows.sort(key=lambda found: ("fail", "insufficient", "pass").index(found[0]))
    table = Table(("measure", "status", "value", "limit", "layer", "in words"), [row for _, row in rows], "llrrlw")
    return [*_courses(facts, "system"), table]


def _commentary(report: ReportFacts) -> list[Block]:
    if report.commentary is None or not report.commentary.strip():
        words = f"To add one: write commentary/{report.session}.md, then materialize report again."
        return [Words([f"None has been written. {words}"])]
    return [Words(["A person's words, as they were written:"]), Verbatim(report.commentary)]


def _foot(facts: DayFacts) -> list[str]:
    held = facts.metrics["date"].nunique()
    return [
        f"Thresholds {facts.thresholds_sha256[:12]} (config/thresholds.yaml), model {facts.report.model_sha256[:12]}.",
        f"Shown of the quarter are {held} of the {counted(len(facts.quarter), 'session')} up to this one: those in the "
        "store. Nothing that came later is in it. The same in plain text: report.txt.",
    ]


def _of(metrics: pd.DataFrame, layer: str) -> pd.DataFrame:
    return metrics[metrics["layer"] == layer]


def _riskiest(table: pd.DataFrame) -> pd.DataFrame:
    return table.sort_values(["bad_week_probability", "symbol"], ascending=[False, True])


def _percent(value: float, digits: int, none: str) -> str:
    return none if math.isnan(value) else f"{value:.{digits}%}"


def _more(count: int) -> list[Words]:
    return [Words([f"And {count - _ROWS} more."])] if count > _ROWS else []
