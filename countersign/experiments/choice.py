"""Choice: which variant did best, and whether it did so by more than the luck of the best of many.

Belongs here: the winner of each experiment, what counts against it. Does not belong here: trying (``trial``), the diff
of ``pipeline.yaml`` (``proposal``), the decision, which is a person's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from countersign.config import ModelConfig
from countersign.experiments.plan import DecidedBy, Experiment
from countersign.experiments.trial import LOSSES, Trial, Trials
from countersign.model.contest import resampling

LEVEL: Final = 0.05
"""Adjusted p-value below which the best of many variants is called better."""

NAMES: Final = {"qlike": "QLIKE", "brier_loss": "Brier loss"}

SELECTION: Final = (
    "The p-value counts every variant of the run that moves its deciding loss: how often the largest of their "
    "differences, each in its standard errors, would be as large if none were better (White, A Reality Check for Data "
    "Snooping, Econometrica 68, 2000; studentised as by Romano and Wolf, Econometrica 73, 2005). It does not know of "
    "earlier runs on the same prices."
)


@dataclass(frozen=True)
class Choice:
    """The best variant of one experiment; ``winner`` is None where none has a smaller loss than what is configured.

    ``p`` is adjusted for the ``counted`` variants of the run, NaN without a winner. ``years_won`` of ``years`` calendar
    years had a smaller loss with the winner.
    """

    experiment: str
    question: str
    decide_by: DecidedBy
    winner: Trial | None
    verdict: Literal["better", "not distinguishable", "keep what is configured"]
    p: float
    counted: int
    years_won: int
    years: int
    sentences: tuple[str, ...]


def choose(trials: Trials, experiments: Mapping[str, Experiment], config: ModelConfig) -> tuple[Choice, ...]:
    """The winner of each experiment: the smallest deciding loss, among those not shown to be worse by the other loss.

    A variant of another horizon answers another question, so none can win.
    """
    decide_by = {name: experiment.decide_by for name, experiment in experiments.items()}
    family = [
        trial
        for trial in trials.tried[1:]
        if trial.comparable and 0 < np.abs(trial.gains[decide_by[trial.experiment]]).max() < math.inf
    ]
    gains = np.array([trial.gains[decide_by[trial.experiment]] for trial in family])
    p_values = adjusted_p(gains, trials.rows, config) if family else np.empty(0)
    return tuple(
        _choice(name, experiment, trials, dict(zip((t.label for t in family), p_values.tolist(), strict=True)))
        for name, experiment in experiments.items()
    )


def adjusted_p(gains: np.ndarray, rows: np.ndarray, config: ModelConfig) -> np.ndarray:
    """One-sided p-values, adjusted for how many there are, that each mean gain is above 0.

    ``gains`` (variants, sessions) are sums over the session's ``rows`` (sessions,). Sessions are resampled in blocks,
    the same for all variants, so that what they have in common counts once.
    """
    counts, widening = resampling(len(rows), config)
    mean = gains.sum(axis=1) / rows.sum()
    deviations = widening * ((counts @ gains.T) / (counts @ rows)[:, None] - mean)
    error = deviations.std(axis=0)
    largest = (deviations / error).max(axis=1)
    return np.array([(1 + np.sum(largest >= found)) / (1 + len(largest)) for found in mean / error])


def _choice(name: str, experiment: Experiment, trials: Trials, p_values: Mapping[str, float]) -> Choice:
    loss = experiment.decide_by
    other = next(found for found in LOSSES if found != loss)
    tried = [trial for trial in trials.tried[1:] if trial.experiment == name]
    rivals = [trial for trial in tried if trial.label in p_values]
    better = [
        trial
        for trial in rivals
        if trial.measures[loss].over_champion.value < 0 and trial.measures[other].over_champion.verdict != "worse"
    ]
    apart = _apart([trial for trial in tried if trial not in rivals])
    if not better:
        sentence = (
            f"Keep what is configured: none of {len(rivals)} variants has a smaller {NAMES[loss]} without a "
            f"larger {NAMES[other]} beyond doubt"
        )
        return Choice(
            name,
            experiment.question,
            loss,
            None,
            "keep what is configured",
            math.nan,
            len(p_values),
            0,
            0,
            (sentence, *apart),
        )
    winner = min(better, key=lambda trial: trial.measures[loss].candidate)
    p, over = p_values[winner.label], winner.measures[loss].over_champion
    won, years = _years(trials.sessions, winner.gains[loss])
    clear = over.verdict == "better"
    verdict: Literal["better", "not distinguishable"] = "better" if clear and p < LEVEL else "not distinguishable"
    scale = 100 / winner.measures[loss].champion
    said = "and is better than what is configured"
    if verdict != "better":
        counted = f"but as the best of {len(p_values)} it" if clear else "and"
        said = f"{counted} is not distinguishable from what is configured"
    return Choice(
        name,
        experiment.question,
        loss,
        winner,
        verdict,
        p,
        len(p_values),
        won,
        years,
        (
            f"{winner.name!r} did best, {said}",
            f"{NAMES[loss]} {scale * over.value:+z.2f} % (95 % interval {scale * over.low:+z.2f} … "
            f"{scale * over.high:+z.2f} %, which {'holds' if over.low <= 0 <= over.high else 'does not hold'} 0), "
            f"smaller in {won} of {years} calendar years",
            f"It is the best of {len(p_values)} that were tried: were none better than what is configured, the best "
            f"would look as good in {100 * p:.0f} % of runs (adjusted p {p:.3f})",
            *apart,
        ),
    )


def _apart(trials: list[Trial]) -> list[str]:
    """What is said of variants that cannot win."""
    still = ", ".join(repr(trial.name) for trial in trials if trial.comparable)
    elsewhere = ", ".join(repr(trial.name) for trial in trials if not trial.comparable)
    return [
        *([f"{still} does not move the loss that decides: weigh approvals against their bad rate"] if still else []),
        *([f"Of another target, and to be held against its own baseline alone: {elsewhere}"] if elsewhere else []),
    ]


def _years(sessions: np.ndarray, gains: np.ndarray) -> tuple[int, int]:
    number = np.unique(sessions.astype("datetime64[Y]"), return_inverse=True)[1]
    totals = np.bincount(number, gains)
    return int((totals > 0).sum()), len(totals)
