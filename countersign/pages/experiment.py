"""Experiment: the page on variants of the model's settings, for the person who chooses.

Belongs here: a run's record in words, table and figures. Does not belong here: the numbers (``experiments``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from countersign.experiments.choice import NAMES, SELECTION
from countersign.experiments.record import (
    HEADS,
    RATES,
    changes_text,
    conditions,
    loss_cells,
    rate_cells,
)
from countersign.pages.page import (
    Beside,
    Block,
    Cell,
    Figure,
    Figures,
    Light,
    LightStatus,
    Page,
    Section,
    Table,
    Verbatim,
    Words,
)
from countersign.pages.plots import interval_plot

_LIGHTS: Final[dict[str, LightStatus]] = {
    "better": "ok",
    "not distinguishable": "partly",
    "keep what is configured": "unknown",
}
_SAYS: Final[dict[str, LightStatus]] = {
    "better": "ok",
    "holds 0": "partly",
    "worse": "fail",
    "unknown": "unknown",
    "same": "unknown",
}
_ENDS: Final = ("value", "low", "high")
_KEY: Final = (("dot", "the interval does not hold 0"), ("ring", "the interval holds 0"), ("range", "95 % interval"))


def experiment_page(found: Mapping[str, Any], diffs: Mapping[str, str]) -> Page:
    """The page on a run: ``found`` as ``experiment.json`` has it, ``diffs`` by experiment."""
    choices = found["choices"]
    return Page(
        title="Experiment: " + ", ".join(choice["experiment"] for choice in choices),
        subtitle=f"{conditions(found)}. Nothing is promoted by this: a person changes pipeline.yaml, and the next "
        "model waits for a signature like any other.",
        lights=[
            (
                choice["experiment"],
                Light(_LIGHTS[choice["verdict"]], choice["verdict"]),
                f"{choice['question']} {choice['sentences'][0]}.",
            )
            for choice in choices
        ],
        sections=[
            *(Section(f"Found: {choice['experiment']}", _verdict(choice)) for choice in choices),
            Section("Beside what is configured", _beside(found), half=True),
            Section("Beside the baseline", _skills(found), half=True),
            Section("All variants", _table(found)),
            Section(
                "What pipeline.yaml would change",
                [Verbatim(diffs[choice["experiment"]], code=True) for choice in choices],
            ),
        ],
        foot=[
            "Every variant scores the same rows in the same folds, each fold by a model of what came before it, purged "
            f"by {found['purge_sessions']} sessions, the longest horizon of the run. Intervals are 95 %, by block "
            "bootstrap over dates; differences are paired.",
            SELECTION,
            f"Code {found['code_version']}.",
        ],
    )


def _verdict(choice: Mapping[str, Any]) -> list[Block]:
    return [
        Words([f"{choice['question']} Decided by {NAMES[choice['decide_by']]}."]),
        Words([f"{sentence}." for sentence in choice["sentences"]], bullets=True),
    ]


def _beside(found: Mapping[str, Any]) -> list[Block]:
    """The difference of each loss from the configured, in percent of it."""
    variants = [variant for variant in found["variants"][1:] if variant["comparable"]]
    if not variants:
        return [Words(["No variant forecasts what is configured: see the skill of each below."])]
    figures = []
    for head, loss in HEADS.items():
        measures = [variant["measures"][loss] for variant in variants]
        value, low, high = (
            np.array([100 * _number(m["minus_configured"][end]) / _number(m["configured"]) for m in measures])
            for end in _ENDS
        )
        svg = interval_plot(
            f"{NAMES[loss]} of each variant minus the configured, with intervals",
            [variant["name"] for variant in variants],
            value,
            low,
            high,
            f"{NAMES[loss]} minus the configured (%)",
        )
        figures.append(Figure(svg, f"{head.capitalize()}: left of 0 is better"))
    return [Figures(figures, key=_KEY)]


def _skills(found: Mapping[str, Any]) -> list[Block]:
    """Skill over the baseline of the variant's own horizon: the one measure that all variants share."""
    variants = found["variants"]
    figures = []
    for head, loss in HEADS.items():
        value, low, high = (
            np.array([100 * _number(variant["measures"][loss]["skill"][end]) for variant in variants]) for end in _ENDS
        )
        svg = interval_plot(
            f"Skill of each variant over the baseline of its horizon, {head}",
            [variant["name"] for variant in variants],
            value,
            low,
            high,
            f"{NAMES[loss]} less than the baseline's (%)",
        )
        figures.append(Figure(svg, f"{head.capitalize()}: right of 0 is better"))
    others = ", ".join(f"{variant['name']!r}" for variant in variants if not variant["comparable"])
    words = f"{others}: another horizon is another target, so that losses are not comparable. Skill is."
    return [*([Words([words])] if others else []), Figures(figures, key=_KEY)]


def _table(found: Mapping[str, Any]) -> list[Block]:
    return [
        Words(["Skill: how much less than the baseline is lost. Differences in percent of the configured loss."]),
        Beside([_losses(found, "volatility")], [_losses(found, "bad weeks")]),
        Table(
            ["variant", "approved", "minus configured [95 %]", "bad of these", "minus configured [95 %]"],
            [
                [variant["name"], *(cell for rate in RATES for cell in rate_cells(variant, rate))]
                for variant in found["variants"]
            ],
            "lrrrr",
            caption="Decisions: what the cutoff moves. Differences in percentage points.",
        ),
        Table(
            ["variant", "scored by the model", "what it varies"],
            [
                [variant["name"], f"{100 * variant['model_share']:.1f}%", changes_text(variant) or "nothing"]
                for variant in found["variants"]
            ],
            "lrl",
        ),
    ]


def _losses(found: Mapping[str, Any], head: str) -> Table:
    loss = HEADS[head]
    rows: list[list[Cell]] = []
    for variant in found["variants"]:
        value = variant["measures"][loss]["variant"]
        skill, difference, says = loss_cells(variant, loss)
        said: Cell = Light(_SAYS[says], says) if says else ""
        rows.append([variant["name"], "unknown" if value is None else f"{value:.4f}", skill, difference, said])
    columns = ("variant", NAMES[loss], "skill", "minus configured [95 %]", "in a word")
    return Table(columns, rows, "lrrrl", caption=f"{head.capitalize()}.")


def _number(value: float | None) -> float:
    return np.nan if value is None else value
