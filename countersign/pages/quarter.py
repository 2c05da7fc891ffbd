"""Quarter: what the daily and the weekly page both show of the sessions up to theirs.

Belongs here: figures and tables of a quarter's measures, calibration and rates, and how numbers are written on pages.
Does not belong here: the order of a page, and what one page alone says (``daily``, ``weekly``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from countersign.model.measures import calibration_bins, equal_mass_edges
from countersign.pages.page import Beside, Block, Cell, Figure, Figures, Light, LightStatus, Table, Words
from countersign.pages.plots import Course, calibration_plot, course_plot, rates_plot
from countersign.words import as_sentence, counted

if TYPE_CHECKING:
    import pandas as pd

    from countersign.thresholds import BusinessThresholds

QUARTER: Final = 63
"""Sessions that a page looks back at, its own last one among them."""

LAYERS: Final = ("data", "drift", "model", "system", "business")
"""What has a light, in order."""

UNITS: Final[Mapping[str, tuple[str, float]]] = {
    "staleness_minutes": ("minutes", 1),
    "arrival_minutes": ("minutes", 1),
    "schema": ("columns that differ", 1),
    "null_share": ("% of cells", 100),
    "column_null_share": ("% of cells", 100),
    "rejected_share": ("% of rows", 100),
    "rows": ("rows", 1),
    "symbols": ("symbols", 1),
    "qlike_rise": ("times validation", 1),
    "qlike": ("QLIKE", 1),
    "volatility_mae_rise": ("times validation", 1),
    "volatility_mae": ("% a day", 100),
    "auc": ("AUC", 1),
    "calibration_error": ("% points", 100),
    "ece": ("% points", 100),
    "ece_equal_width": ("% points", 100),
    "brier": ("Brier loss", 1),
    "run_seconds_p95": ("seconds", 1),
    "run_failures": ("% of runs", 100),
    "request_ms_p95": ("milliseconds", 1),
    "request_failures": ("% of requests", 100),
    "approval_rate_vs_validation": ("% of scores", 100),
    "approval_rate_vs_quarter": ("% of scores", 100),
    "bad_rate_vs_validation": ("% of approved", 100),
    "bad_rate_vs_quarter": ("% of approved", 100),
}
"""The axis of each measure, and what its values are multiplied by."""

COURSE_KEY: Final = (
    ("line", "the measure"),
    ("limit", "its threshold"),
    ("other", "what it is compared with: baseline, validation or what is usual"),
    ("cross", "failed"),
    ("ring", "too little evidence to judge"),
)
"""What the marks of a measure's course mean."""

_BINS: Final = 5
"""Bins of the calibration curve: a quarter of few symbols fills no more."""


def measure_course(metrics: pd.DataFrame, measure: str, sessions: Sequence[str]) -> Course:
    """The course of ``measure`` over ``sessions``, of which some may not be in ``metrics``."""
    mine = metrics[metrics["measure"] == measure]
    table = mine.set_axis(mine["date"].to_numpy().astype("datetime64[D]").astype(str)).reindex(list(sessions))
    return Course(
        sessions=sessions,
        value=table["value"].to_numpy(dtype=float),
        threshold=table["threshold"].to_numpy(dtype=float),
        reference=table["reference"].to_numpy(dtype=float),
        failed=(table["status"] == "fail").to_numpy(),
        judged=table["status"].isin(["pass", "fail"]).to_numpy(),
    )


def measure_figure(course: Course, last: Mapping[Any, Any], shaded: Sequence[str]) -> Figure:
    """The figure of a measure's course; ``last`` is its newest row. The sessions ``shaded`` are set off."""
    unit, scale = UNITS.get(last["measure"], ("", 1))
    svg = course_plot(last["measure"], course, shaded, unit, scale)
    return Figure(svg, last["measure"], as_sentence(last["sentence"]), status_light(last["status"]))


def calibration_blocks(outcomes: pd.DataFrame, thresholds: BusinessThresholds) -> list[Block]:
    """What was said of the quarter's matured ``outcomes``, and how often a bad week came."""
    known = outcomes[outcomes["bad_week"].notna()]
    least, effect = thresholds.min_rows, thresholds.design_effect
    if len(known) < least:
        return [Words([f"Insufficient evidence: {len(known)} outcomes matured in the quarter, {least} are needed."])]
    said = known["bad_week_probability"].to_numpy(dtype=float)
    bins = calibration_bins(known["bad_week"].to_numpy(dtype=float), said, equal_mass_edges(said, _BINS))
    # Where many have the largest probability, that is the last edge, and the bin beyond it has no row.
    filled = bins.rows > 0
    count, bad = bins.rows[filled], bins.bad[filled]
    expected, share = bins.expected[filled] / count, bad / count
    low, high = wilson_interval(share, count / effect)
    top = min(100.0, 10 * math.ceil(10 * max(high.max(), expected.max())))
    svg = calibration_plot(100 * expected, 100 * share, 100 * low, 100 * high, top)
    rows = [
        [f"{e:.1%}", f"{s:.1%}", f"{a:.0%} to {b:.0%}", str(int(n)), str(int(k))]
        for e, s, a, b, n, k in zip(expected, share, low, high, count, bad, strict=True)
    ]
    words = (
        f"{len(known)} outcomes in {counted(len(count), 'bin')} of equal mass. The bars are 95 % intervals (Wilson) "
        f"that count {effect:g} rows as one, since symbols move together and weeks overlap (business.design_effect). "
        "A model that is right lies on the diagonal."
    )
    return [
        Words([words]),
        Figures(
            [Figure(svg, "Said and came")],
            [("line", "the bin's share of bad weeks, 95 % interval"), ("other", "a model that is right")],
        ),
        Table(("said", "came", "95 % interval", "scores", "bad"), rows, "rrlrr"),
    ]


def wilson_interval(share: np.ndarray, count: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Interval of a rate seen in ``count`` independent rows, which need be no whole number (Wilson 1927).

    >>> [round(float(end), 4) for end in wilson_interval(np.float64(0.0), np.float64(10.0))]
    [0.0, 0.2775]
    """
    z2 = NormalDist().inv_cdf((1 + level) / 2) ** 2
    middle = share + z2 / (2 * count)
    spread = np.sqrt(z2 * (share * (1 - share) / count + z2 / (4 * count**2)))
    return np.maximum((middle - spread) / (1 + z2 / count), 0.0), np.minimum((middle + spread) / (1 + z2 / count), 1.0)


def rates_blocks(
    scores: pd.DataFrame, outcomes: pd.DataFrame, sessions: Sequence[str], validation: Mapping[str, Any]
) -> list[Block]:
    """Approval rate and bad rates by the week in which symbols were scored, beside those of the model's validation."""
    outcomes = outcomes[outcomes["bad_week"].notna()]
    scored, came = _mondays(scores["date"]), _mondays(outcomes["scored"])
    weeks = sorted({*_mondays(np.array(sessions, dtype="datetime64[D]"))} | {*came})
    approval: list[float] = []
    bad: dict[str, list[float]] = {"approve": [], "hold": []}
    rows: list[list[Cell]] = []
    for week in weeks:
        decided = (scores["decision"][scored == week] == "approve").to_numpy()
        approval.append(100 * decided.mean() if len(decided) else np.nan)
        cells = []
        for decision, rates in bad.items():
            ended = outcomes["bad_week"][(came == week) & (outcomes["decision"] == decision).to_numpy()].to_numpy()
            rates.append(100 * ended.mean() if len(ended) else np.nan)
            cells += [f"{int(ended.sum())} of {len(ended)}" if len(ended) else "–"]
        rows.append([week, str(len(decided) or "–"), f"{decided.mean():.0%}" if len(decided) else "–", *cells])
    level = {name: 100 * _float(validation[name]) for name in ("approval_rate", "bad_rate_approved", "bad_rate_held")}
    labels = [f"{date.fromisoformat(week).day} {date.fromisoformat(week):%b}" for week in weeks]
    figures = [
        Figure(
            rates_plot(
                labels, [("blue", "circle", np.array(approval), level["approval_rate"])], "% of scores approved"
            ),
            "Approval rate",
        ),
        Figure(
            rates_plot(
                labels,
                [
                    ("blue", "circle", np.array(bad["approve"]), level["bad_rate_approved"]),
                    ("orange", "square", np.array(bad["hold"]), level["bad_rate_held"]),
                ],
                "% of weeks bad",
            ),
            "Bad rate of matured outcomes",
        ),
    ]
    key = [
        ("line", "approved (circles)"),
        ("held", "held (squares)"),
        ("other", "dotted, in the same colour: in the model's validation"),
    ]
    said = (
        f"In validation {level['approval_rate']:.1f}% were approved; bad weeks were {level['bad_rate_approved']:.1f}% "
        f"of the approved and {level['bad_rate_held']:.1f}% of the held. A week is that in which symbols were scored; "
        "the table has the counts, since a rate of few outcomes says little."
    )
    return [
        Words([said]),
        Beside(
            [Table(("week of", "scores", "approved", "bad of approved", "bad of held"), rows, "lrrrr")],
            [Figures(figures, key)],
        ),
    ]


def validation_table(evaluation: Mapping[str, Any]) -> Table:
    """The walk-forward validation of a model beside the baseline; of a loss, the lead is the baseline's share."""
    rows = [
        [
            name,
            *(number_text(_float(m[key])) for key in ("model", "baseline", "naive")),
            (
                "{:+z.1%} [{:+z.1%}, {:+z.1%}]"
                if name in ("qlike", "volatility_mae")
                else "{:+z.4f} [{:+z.4f}, {:+z.4f}]"
            ).format(*(_float(m[key]) for key in ("lead", "lead_low", "lead_high"))),
        ]
        for name, m in evaluation["table"].items()
    ]
    return Table(("measure", "model", "baseline", "naive", "lead [95 % interval]"), rows, "lrrrl")


def layer_light(statuses: pd.Series) -> tuple[Light, int, int, int]:
    """The light of a layer, and how many measures passed, failed and lack evidence. Without any it is not green."""
    passed, failed, unsure = (int((statuses == status).sum()) for status in ("pass", "fail", "insufficient"))
    status: LightStatus = "fail" if failed else "unknown" if not passed else "partly" if unsure else "ok"
    return Light(status, {"fail": "FAIL"}.get(status, status)), passed, failed, unsure


def status_light(status: str) -> Light:
    """The light of a measure."""
    lights: dict[str, LightStatus] = {"pass": "ok", "fail": "fail", "insufficient": "unknown"}
    return Light(lights[status], status)


def number_text(value: float) -> str:
    """Four digits; a dash for what is not known."""
    return "–" if math.isnan(value) else f"{value:.4g}"


def _mondays(days: Any) -> np.ndarray:
    """The Monday of each day's week, as text."""
    found = np.asarray(days).astype("datetime64[D]")
    # 1970-01-01 was a Thursday.
    return (found - (found.astype(int) + 3) % 7).astype(str)


def _float(value: float | None) -> float:
    return math.nan if value is None else value
