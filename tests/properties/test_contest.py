"""Contest: what no order of rows, symbols or forecasters can change."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from countersign.config import ModelConfig
from countersign.model.contest import Contest, Difference, Forecaster, Stretch, measure_stretches, measure_symbols
from countersign.model.measures import brier_losses, qlike_losses, volatility_errors

CONFIG = ModelConfig(bootstrap_replications=100)
MIRRORED = {"better": "worse", "worse": "better"}
TRIGGER = ("2008-01-20", "2008-02-10")


def some_contest(seed: int, sessions: int, symbols: int) -> Contest:
    """Forecasters of random skill, with scores that tie and symbols that are missing here and there."""
    rng = np.random.default_rng(seed)
    session, symbol = np.divmod(np.flatnonzero(rng.uniform(size=sessions * symbols) < 0.9), symbols)
    place, session = np.unique(session, return_inverse=True)
    bad = rng.integers(0, 2, len(session)).astype(float)
    variance = rng.uniform(0.5, 2, len(session)) * 1e-4

    def forecaster() -> Forecaster:
        skill = rng.uniform(0, 0.5)
        probability = (rng.uniform(0.05, 0.95, len(bad)) * (1 - skill) + bad * skill).round(1)
        forecast = variance * np.exp(rng.normal(0, rng.uniform(0.1, 1), len(bad)))
        losses = {
            "brier_loss": brier_losses(bad, probability),
            "qlike": qlike_losses(variance, forecast),
            "volatility_mae": volatility_errors(variance, forecast),
        }
        return Forecaster(probability, probability < 0.3, losses, np.ones(len(bad), dtype=bool))

    days = np.datetime64("2008-01-01") + place
    names = tuple(f"S{number}" for number in range(symbols))
    rivals = {who: forecaster() for who in ("candidate", "champion", "baseline")}
    return Contest(days, days + 5, names, session, symbol, bad, rivals)


def reordered(contest: Contest, rows: np.ndarray, symbols: np.ndarray) -> Contest:
    """The same contest with its rows, and the columns that symbols have, in another order."""
    column = np.argsort(symbols)
    return replace(
        contest,
        symbols=tuple(contest.symbols[number] for number in symbols),
        session=contest.session[rows],
        symbol=column[contest.symbol[rows]],
        bad_week=contest.bad_week[rows],
        forecasters={
            who: Forecaster(
                f.probability[rows],
                f.approved[rows],
                {name: losses[rows] for name, losses in f.losses.items()},
                f.possible[rows],
            )
            for who, f in contest.forecasters.items()
        },
    )


def numbers_of(stretches: tuple[Stretch, ...]) -> dict[tuple[str, ...], float]:
    found: dict[tuple[str, ...], float] = {}
    for stretch in stretches:
        for name, m in stretch.measures.items():
            key = (stretch.name, stretch.first, stretch.last, name)
            found |= {(*key, who): getattr(m, who) for who in ("candidate", "champion", "baseline")}
            for rival, d in (("champion", m.over_champion), ("baseline", m.over_baseline)):
                found |= {(*key, rival, end): getattr(d, end) for end in ("value", "low", "high")}
    return found


seeds, lengths, widths = st.integers(0, 2**32 - 1), st.integers(1, 90), st.integers(1, 6)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(seed=seeds, sessions=lengths, symbols=widths)
def test_the_order_of_rows_and_symbols_changes_nothing(seed: int, sessions: int, symbols: int) -> None:
    contest = some_contest(seed, sessions, symbols)
    assume(len(contest.sessions))
    rng = np.random.default_rng(seed)
    other = reordered(contest, rng.permutation(len(contest.session)), rng.permutation(symbols))
    for measured in (lambda c: measure_stretches(c, CONFIG, TRIGGER), measure_symbols):
        assert numbers_of(measured(other)) == pytest.approx(
            numbers_of(measured(contest)), rel=1e-9, abs=1e-12, nan_ok=True
        )


@settings(deadline=None, max_examples=60, derandomize=True)
@given(seed=seeds, sessions=lengths, symbols=widths)
def test_seen_from_the_champion_every_difference_and_verdict_is_the_other_way_round(
    seed: int, sessions: int, symbols: int
) -> None:
    contest = some_contest(seed, sessions, symbols)
    assume(len(contest.sessions))
    candidate, champion = contest.forecasters["candidate"], contest.forecasters["champion"]
    swapped = replace(contest, forecasters={**contest.forecasters, "candidate": champion, "champion": candidate})
    theirs = {stretch.name: stretch for stretch in measure_stretches(swapped, CONFIG, TRIGGER)}
    for stretch in measure_stretches(contest, CONFIG, TRIGGER):
        if stretch.name == "worst_month":
            continue
        for name, m in stretch.measures.items():
            ours, other = m.over_champion, theirs[stretch.name].measures[name].over_champion
            assert (-ours.value, -ours.high, -ours.low) == pytest.approx(
                (other.value, other.low, other.high), rel=1e-9, abs=1e-12, nan_ok=True
            )
            assert other.verdict == MIRRORED.get(str(ours.verdict), ours.verdict)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(seed=seeds, sessions=lengths, symbols=widths)
def test_nothing_is_called_better_or_worse_without_an_interval_that_says_so(
    seed: int, sessions: int, symbols: int
) -> None:
    contest = some_contest(seed, sessions, symbols)
    assume(len(contest.sessions))

    def judged(difference: Difference) -> None:
        if difference.verdict in MIRRORED:
            assert math.isfinite(difference.low)
            assert math.isfinite(difference.high)
            assert difference.low * difference.high > 0
        elif difference.verdict == "not distinguishable":
            assert difference.low <= 0 <= difference.high
        else:
            assert difference.verdict is None or math.isnan(difference.low)

    for stretch in (*measure_stretches(contest, CONFIG, TRIGGER), *measure_symbols(contest)):
        for measured in stretch.measures.values():
            judged(measured.over_champion)
            judged(measured.over_baseline)
