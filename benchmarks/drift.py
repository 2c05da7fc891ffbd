"""Drift: how often the verdict fires in a year without drift, and in a year whose features have shifted.

Each year has a training period of its own, so that the error of the frozen edges, counts and design effects is part
of the answer. The same simulated years are judged with and without a shift.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from benchmarks.measure import aim
from benchmarks.simulation import Market
from countersign.features import FEATURES, LOOKBACK, compute_features
from countersign.model.reference import reference_bins
from countersign.monitoring.drift import DriftReference, measure_drift

QUESTION: Final = "How often is drift found in a year without any, and in one with a shift of one standard deviation?"
_YEARS: Final = 300
_WINDOW: Final = 63
_YEAR: Final = 252
_MARKETS: Final = (
    ("5 symbols, 1,000 sessions of training", Market(), 1_000),
    ("5 symbols, 2,000 sessions", Market(), 2_000),
    ("5 symbols, 1,000 sessions, slower variance", Market(shock=0.06, decay=0.932), 1_000),
    ("30 symbols, 1,000 sessions", Market(symbols=30), 1_000),
)
"""The first is what the aims are about."""


def run() -> None:
    """Simulate the years, and print how many have an alarm."""
    print(f"\n  {'share of ' + str(_YEARS) + ' years':<44}  PSI > 0.2  verdict  verdict, all features +1σ")
    for number, (name, market, training) in enumerate(_MARKETS):
        years = [Year(market, training, seed) for seed in range(_YEARS)]
        calm, shifted = [year.judged(0) for year in years], [year.judged(1) for year in years]
        large, alarms = (float(np.mean([fired.any() for fired in part])) for part in zip(*calm, strict=True))
        first_alarms = [int(np.argmax(drifted.any(axis=0))) + 1 for _, drifted in shifted if drifted.any()]
        found = len(first_alarms) / _YEARS
        delay = f"median delay {np.median(first_alarms):.0f} sessions" if first_alarms else ""
        print(f"  {name:<44} {large:>9.1%} {alarms:>8.1%} {found:>8.1%}  {delay}", flush=True)
        if not number:
            aim("share of years without drift that have an alarm", alarms, 0.10)
            aim("share of years with a shift that have none", 1 - found, 0.10)
            _print_features(years, calm)


def _print_features(years: list[Year], calm: list[tuple[np.ndarray, np.ndarray]]) -> None:
    print("    of these, by feature; +1σ and +2σ are of it alone                         +1σ      +2σ   effect d")
    for row, name in enumerate(FEATURES):
        large, alarms = (float(np.mean([fired[row].any() for fired in part])) for part in zip(*calm, strict=True))
        one, two = (float(np.mean([year.judged(by, row)[1][row].any() for year in years])) for by in (1, 2))
        effect = float(np.median([year.reference.design_effect[row] for year in years]))
        print(f"    {name:<42} {large:>9.0%} {alarms:>8.1%} {one:>8.0%} {two:>8.0%} {effect:>10.1f}", flush=True)


class Year:
    """A simulated training period, and the quarter and the year that follow it."""

    def __init__(self, market: Market, training: int, seed: int) -> None:
        panel = market.panel(LOOKBACK + training + _WINDOW + _YEAR, np.random.default_rng(seed))
        values = compute_features(panel).values[:, LOOKBACK:]
        learned = values[:, :training].reshape(len(values), -1)
        self.spread = learned.std(axis=1)
        self.values = values[:, training:]
        session = np.repeat(np.arange(training), market.symbols)
        bins = {name: reference_bins(found, session) for name, found in zip(FEATURES, learned, strict=True)}
        self.reference = DriftReference.from_dict({"features": bins, "scores": {}, "targets": {}})
        self.calm = np.stack([self._counts(row, 0) for row in range(len(values))])

    def judged(self, shift: float, only: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Where the index is over 0.2, and the verdict, (features, sessions of the year) each.

        The features (``only`` one of them) move by ``shift`` σ as the year begins.
        """
        counts = self.calm.copy()
        for row in range(len(counts)) if only is None else [only]:
            counts[row] = self._counts(row, shift)
        drift = measure_drift(
            counts, self.reference, psi=0.2, significance=0.001, sessions_in_a_row=3, window_sessions=_WINDOW
        )
        return (drift.index > drift.psi)[:, _WINDOW:], drift.drifted[:, _WINDOW:]

    def _counts(self, row: int, shift: float) -> np.ndarray:
        values = self.values[row].copy()
        values[_WINDOW:] += shift * self.spread[row]
        session = np.repeat(np.arange(len(values)), values.shape[1])
        return self.reference.count(self.reference.subjects[row], values.ravel(), session, len(values))
