"""Record: what an experiment found, as plain values, and as the rows of its table.

Belongs here: the one form that the file, the terminal and the page are made from. Does not belong here: finding it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from countersign.config import ModelConfig
from countersign.experiments.choice import Choice
from countersign.experiments.proposal import in_yaml
from countersign.experiments.trial import Trial, Trials
from countersign.model.contest import Difference, Measured
from countersign.model.targets import HORIZON

HEADS: Final = {"volatility": "qlike", "bad weeks": "brier_loss"}
"""The forecasts of the table, and the loss of each."""

RATES: Final = ("approval_rate", "bad_rate_approved")
"""What a cutoff moves: how many are approved, and how many of those turn out bad."""


def record(trials: Trials, choices: Sequence[Choice], configured: ModelConfig, code: str) -> dict[str, Any]:
    """All of ``experiment.json``; a number that is not known is None."""
    return {
        "code_version": code,
        "configured": configured.model_dump(mode="json"),
        "first": trials.first,
        "last": trials.last,
        "sessions": len(trials.sessions),
        "rows": int(trials.rows.sum()),
        "folds": trials.folds,
        "horizon_sessions": HORIZON,
        "purge_sessions": trials.purge,
        "variants": [_variant(trial) for trial in trials.tried],
        "choices": [
            {
                "experiment": choice.experiment,
                "question": choice.question,
                "decide_by": choice.decide_by,
                "verdict": choice.verdict,
                "winner": choice.winner.name if choice.winner else None,
                "changes": _plain(choice.winner.changes) if choice.winner else {},
                "p_adjusted": _known(choice.p),
                "variants_counted": choice.counted,
                "years_won": choice.years_won,
                "years": choice.years,
                "sentences": list(choice.sentences),
            }
            for choice in choices
        ],
    }


def _variant(trial: Trial) -> dict[str, Any]:
    return {
        "experiment": trial.experiment,
        "name": trial.name,
        "changes": _plain(trial.changes),
        "horizon_sessions": trial.horizon_sessions,
        "comparable": trial.comparable,
        "model_share": trial.model_share,
        "bad_rate": trial.bad_rate,
        "measures": {name: _measure(measured, trial) for name, measured in trial.measures.items()},
    }


def _measure(found: Measured, trial: Trial) -> dict[str, Any]:
    """Differences are variant minus rival; None against what is configured where the target is another."""
    beside = asdict(found.over_champion) if trial.comparable and trial.experiment else None
    return {
        "variant": _known(found.candidate),
        "configured": _known(found.champion) if trial.comparable else None,
        "baseline": _known(found.baseline),
        "minus_configured": beside and {key: _known(value) for key, value in beside.items()},
        "minus_baseline": {key: _known(value) for key, value in asdict(found.over_baseline).items()},
        "skill": _skill(found.over_baseline, found.baseline),
    }


def _skill(over: Difference, baseline: float) -> dict[str, float | None]:
    """How much less than the baseline is lost, as a share of what it loses; its interval takes that as given."""
    value, low, high = (_known(-end / baseline if baseline else math.nan) for end in (over.value, over.high, over.low))
    return {"value": value, "low": low, "high": high}


def _known(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _plain(changes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in changes.items()}


def changes_text(variant: Mapping[str, Any]) -> str:
    """What a variant changes, as ``pipeline.yaml`` would have it."""
    said = [f"{name}: {in_yaml(value)}" for name, value in variant["changes"].items()]
    other = variant["horizon_sessions"]
    return "; ".join([*said, *([f"horizon of {other} sessions"] if not variant["comparable"] else [])])


def loss_cells(variant: Mapping[str, Any], loss: str) -> tuple[str, str, str]:
    """Skill over the baseline; the loss minus the configured one, in percent of that, with its interval; a word."""
    measure = variant["measures"][loss]
    skill = "unknown" if measure["skill"]["value"] is None else f"{100 * measure['skill']['value']:+z.1f}%"
    beside = measure["minus_configured"]
    if not variant["experiment"]:
        return skill, "", ""
    if not variant["comparable"]:
        return skill, "another target", ""
    if beside["low"] is None:
        return skill, "unknown", "unknown"
    if beside["value"] == beside["low"] == beside["high"] == 0:
        return skill, "0", "same"
    value, low, high = (100 * beside[end] / measure["configured"] for end in ("value", "low", "high"))
    says = {"not distinguishable": "holds 0"}.get(beside["verdict"], beside["verdict"])
    return skill, f"{value:+z.2f} [{low:+z.2f}, {high:+z.2f}]", says


def rate_cells(variant: Mapping[str, Any], rate: str) -> tuple[str, str]:
    """A rate; the rate minus the configured one, in percentage points, with its interval."""
    measure = variant["measures"][rate]
    share = "unknown" if measure["variant"] is None else f"{100 * measure['variant']:.1f}%"
    beside = measure["minus_configured"]
    if not variant["experiment"]:
        return share, ""
    if not variant["comparable"]:
        return share, "another target"
    if beside["low"] is None:
        return share, "unknown"
    value, low, high = (100 * beside[end] for end in ("value", "low", "high"))
    return share, f"{value:+z.1f} [{low:+z.1f}, {high:+z.1f}]" if low or high else "0"


def conditions(found: Mapping[str, Any]) -> str:
    """On what all were tried, in a sentence."""
    return (
        f"{len(found['variants']) - 1} variants on the same {found['sessions']:,} sessions and {found['rows']:,} "
        f"scores, {found['first']} … {found['last']}, in {found['folds']} folds, purged by "
        f"{found['purge_sessions']} sessions"
    )
