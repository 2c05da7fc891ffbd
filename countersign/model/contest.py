"""Contest: candidate, champion and baseline on the very same rows, measured on stretches of sessions.

Belongs here: measures of the three side by side, intervals of their differences, verdicts on one measure. Does not
belong here: whose forecasts these are and what is concluded (``comparison``), the measures (``measures``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from countersign.model import measures
from countersign.model.evaluation import Forecasts
from countersign.model.scoring import Scores
from countersign.model.targets import HORIZON
from countersign.prices.panel import Panel

if TYPE_CHECKING:
    from countersign.config import ModelConfig

Verdict = Literal["better", "not distinguishable", "worse", "insufficient evidence"]

MIN_SESSIONS: Final = 20
"""Sessions with a known outcome below which nothing is concluded: four horizons. A verdict on 20 sessions is by chance
in one case of six, on 60 in one of thirteen, where 95 % intervals would promise one of twenty (simulated: losses whose
difference is moved by the days of the horizon alone)."""

QUARTER: Final = 63
MONTH: Final = 21
"""Sessions of the worst month, which are consecutive: a calendar month may have only begun."""

DIRECTION: Final = {
    "auc": 1,
    "brier_loss": -1,
    "calibration_error": -1,
    "qlike": -1,
    "volatility_mae": -1,
    "approval_rate": 0,
    "bad_rate_approved": -1,
}
"""Every measure, and whether more of it is better (1), worse (-1) or neither (0)."""

_MAX_UNKNOWN: Final = 0.05
"""Share of replications in which a difference may be unknown, as AUC is where no bad week was drawn."""


@dataclass(frozen=True)
class Difference:
    """Candidate minus a rival, with a 95 % interval, in the measure's own unit; NaN where it is not known.

    ``verdict`` is None where none is meant: of a rate that has no better direction, of a stretch that is only shown.
    """

    value: float
    low: float
    high: float
    verdict: Verdict | None


@dataclass(frozen=True)
class Measured:
    """One measure of the three on the same rows; NaN where it cannot be taken."""

    candidate: float
    champion: float
    baseline: float
    over_champion: Difference
    over_baseline: Difference


@dataclass(frozen=True)
class Stretch:
    """The sessions (``YYYY-MM-DD``) and rows that ``measures``, by name, were taken on."""

    name: str
    first: str
    last: str
    sessions: int
    rows: int
    measures: Mapping[str, Measured]


@dataclass(frozen=True)
class Forecaster:
    """What one of the three said of each row, shape (n,), and each loss; ``possible`` where it is a forecast at all."""

    probability: np.ndarray
    approved: np.ndarray
    losses: Mapping[str, np.ndarray]
    possible: np.ndarray


@dataclass(frozen=True)
class Contest:
    """The same rows forecast by "candidate", "champion" and "baseline".

    ``sessions`` (datetime64[D]) are those that have rows, ``ends`` the last session of each one's horizon. ``session``
    (n,) numbers the row's place in ``sessions``, ``symbol`` (n,) in ``symbols``.
    """

    sessions: np.ndarray
    ends: np.ndarray
    symbols: tuple[str, ...]
    session: np.ndarray
    symbol: np.ndarray
    bad_week: np.ndarray
    forecasters: Mapping[str, Forecaster]

    @classmethod
    def of(cls, forecasts: Forecasts, champion: Scores, panel: Panel, cutoff: float) -> Contest:
        """``champion`` scored the very rows of ``forecasts``, of ``panel``; the baseline approves below ``cutoff``."""
        f = forecasts
        number, session = np.unique(f.first + f.session, return_inverse=True)

        def forecaster(probability: np.ndarray, variance: np.ndarray, approved: np.ndarray) -> Forecaster:
            with np.errstate(all="ignore"):
                losses = {
                    "brier_loss": measures.brier_losses(f.bad_week, probability),
                    "qlike": measures.qlike_losses(f.variance, variance),
                    "volatility_mae": measures.volatility_errors(f.variance, variance),
                }
            return Forecaster(probability, approved, losses, possible_forecasts(probability, variance))

        return cls(
            sessions=panel.sessions[number],
            ends=panel.sessions[np.minimum(number + HORIZON, len(panel.sessions) - 1)],
            symbols=panel.symbols,
            session=session,
            symbol=f.symbol,
            bad_week=f.bad_week,
            forecasters={
                "candidate": forecaster(f.probability, f.model_variance, f.approved),
                "champion": forecaster(champion.probability, champion.variance, champion.approved),
                "baseline": forecaster(f.baseline_probability, f.baseline_variance, f.baseline_probability < cutoff),
            },
        )

    def means(self, who: str, loss: str) -> np.ndarray:
        """Mean loss of each session, shape (sessions,)."""
        count = len(self.sessions)
        rows = np.bincount(self.session, minlength=count)
        return np.bincount(self.session, self.forecasters[who].losses[loss], minlength=count) / rows


def possible_forecasts(probability: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Where both forecasts are finite, and the variance is one."""
    return np.isfinite(probability) & np.isfinite(variance) & (variance > 0)


def measure_stretches(contest: Contest, config: ModelConfig, trigger: tuple[str, str] | None) -> tuple[Stretch, ...]:
    """The stretches that there are of "overall", "last_quarter" and, with a ``trigger`` (first and last session),
    "inside_trigger" and "outside_trigger", each with intervals; and "worst_month".

    A session is inside the trigger where it, or one of the ``HORIZON`` sessions that its outcome comes from, lies
    between the first and last of it: nothing outside has seen what asked for the retrain. The worst month was looked
    for, so an interval of it would say too much: it is shown and not judged.
    """
    count = len(contest.sessions)
    won = {who: _pairs_won(contest, forecaster) for who, forecaster in contest.forecasters.items()}
    every = np.arange(count)
    chosen = {"overall": every, "last_quarter": every[-QUARTER:]}
    if trigger:
        first, last = (np.datetime64(day) for day in trigger)
        inside = (contest.ends >= first) & (contest.sessions <= last)
        chosen |= {"inside_trigger": every[inside], "outside_trigger": every[~inside]}
    found = [_judged(name, contest, config, places, won) for name, places in chosen.items() if len(places)]
    worst = _worst_month(contest)
    if worst is not None:
        found.append(_stretch("worst_month", contest, np.flatnonzero(np.isin(contest.session, worst))))
    return tuple(found)


def measure_overall(contest: Contest, config: ModelConfig) -> Stretch:
    """The stretch "overall" alone, with its intervals."""
    won = {who: _pairs_won(contest, forecaster) for who, forecaster in contest.forecasters.items()}
    return _judged("overall", contest, config, np.arange(len(contest.sessions)), won)


def measure_symbols(contest: Contest) -> tuple[Stretch, ...]:
    """Each symbol that has rows, without intervals: of many symbols some would lie beyond theirs by chance."""
    order = np.argsort(contest.symbol, kind="stable")
    ends = np.searchsorted(contest.symbol[order], np.arange(len(contest.symbols) + 1))
    return tuple(
        _stretch(symbol, contest, order[ends[number] : ends[number + 1]])
        for number, symbol in enumerate(contest.symbols)
        if ends[number] < ends[number + 1]
    )


def verdict_of(low: float, high: float, direction: int) -> Verdict:
    """What an interval of a difference says; ``direction`` is 1 where more is better, -1 where less is.

    >>> verdict_of(-0.03, -0.01, -1), verdict_of(0.0, 0.0, -1), verdict_of(float("nan"), 0.2, 1)
    ('better', 'not distinguishable', 'insufficient evidence')
    """
    ends = (direction * low, direction * high)
    if math.isnan(low) or math.isnan(high):
        return "insufficient evidence"
    if min(ends) > 0:
        return "better"
    return "worse" if max(ends) < 0 else "not distinguishable"


def _pairs_won(contest: Contest, who: Forecaster) -> np.ndarray:
    """How many pairs of a bad row of one session and a good row of another are told apart, ties half: (sessions,
    sessions). The AUC of sessions that count w times each is w·pairs·w over the number of pairs, so no replication
    sorts rows.
    """
    count = len(contest.sessions)
    # Ranks sort and search faster than the scores, and order them alike.
    rank = np.unique(who.probability, return_inverse=True)[1]
    order = np.lexsort((rank, contest.session))
    rank, session, bad = rank[order], contest.session[order], contest.bad_week[order] > 0
    by_rank = np.argsort(rank[bad], kind="stable")
    bad_rank, bad_session = rank[bad][by_rank], session[bad][by_rank]
    good_rank, ends = rank[~bad], np.searchsorted(session[~bad], np.arange(count + 1))
    won = np.empty((count, count))
    for number in range(count):
        goods = good_rank[ends[number] : ends[number + 1]]
        twice = np.searchsorted(goods, bad_rank, "left") + np.searchsorted(goods, bad_rank, "right")
        won[:, number] = np.bincount(bad_session, twice, minlength=count) / 2
    return won


def _values(contest: Contest, who: Forecaster, rows: np.ndarray) -> dict[str, float]:
    """Every measure of some rows; NaN where it cannot be taken, or one forecast is none."""
    if not who.possible[rows].all():
        return dict.fromkeys(DIRECTION, math.nan)
    bad, probability, approved = contest.bad_week[rows], who.probability[rows], who.approved[rows]
    return {
        "auc": measures.auc_score(bad, probability),
        "calibration_error": measures.calibration_loss(bad, probability),
        "approval_rate": float(approved.mean()),
        "bad_rate_approved": float(bad[approved].mean()) if approved.any() else math.nan,
        **{name: float(losses[rows].mean()) for name, losses in who.losses.items()},
    }


def _resampled(
    contest: Contest, who: Forecaster, places: np.ndarray, rows: np.ndarray, won: np.ndarray, counts: np.ndarray
) -> dict[str, np.ndarray]:
    """Every measure in each replication, from sums by session. The edges of the calibration bins stay as they are."""
    session = np.searchsorted(places, contest.session[rows])
    bad, probability, approved = contest.bad_week[rows], who.probability[rows], who.approved[rows].astype(float)

    def sums(of: np.ndarray) -> np.ndarray:
        return measures.resampled_sums(of, counts, session)

    edges = measures.equal_mass_edges(probability)
    number, bins = np.searchsorted(edges, probability, side="left"), len(edges) + 1

    def binned(of: np.ndarray) -> np.ndarray:
        cells = np.bincount(session * bins + number, of, minlength=len(places) * bins)
        return counts @ cells.reshape(len(places), bins)

    every = np.ones(len(rows))
    total, bads, accepted = sums(every), sums(bad), sums(approved)
    calibration = measures.CalibrationBins(binned(every), binned(bad), binned(probability))
    # Halves of whole numbers: exact in any order, as matrix products else are not.
    pairs = ((counts.astype(float) @ won[np.ix_(places, places)]) * counts).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "auc": pairs / (bads * (total - bads)),
            "calibration_error": measures.expected_calibration_loss(calibration),
            "approval_rate": accepted / total,
            "bad_rate_approved": sums(bad * approved) / accepted,
            **{name: sums(losses[rows]) / total for name, losses in who.losses.items()},
        }


def _judged(
    name: str, contest: Contest, config: ModelConfig, places: np.ndarray, won: Mapping[str, np.ndarray]
) -> Stretch:
    """A stretch with intervals of the differences, by a block bootstrap by date; of too few sessions there are none."""
    rows = np.flatnonzero(np.isin(contest.session, places))
    count = len(places)
    possible = all(forecaster.possible[rows].all() for forecaster in contest.forecasters.values())
    if count < MIN_SESSIONS or not possible:
        return _stretch(name, contest, rows, judged=True)
    counts, widening = resampling(count, config)
    draws = {
        who: _resampled(contest, forecaster, places, rows, won[who], counts)
        for who, forecaster in contest.forecasters.items()
    }
    return _stretch(name, contest, rows, judged=True, draws=draws, widening=widening)


def resampling(count: int, config: ModelConfig) -> tuple[np.ndarray, float]:
    """How often each of ``count`` sessions counts in each replication, and how much wider intervals from them must be.

    Blocks are of ``config.bootstrap_block_sessions``, or a quarter of the sessions where that is less.
    """
    block = max(HORIZON, min(config.bootstrap_block_sessions, count // 4))
    counts = measures.block_counts(count, block=block, replications=config.bootstrap_replications, seed=config.seed)
    return counts, _widening(block / count)


def _widening(share: float) -> float:
    """How much wider an interval must be where blocks are this ``share`` of the sessions.

    Few blocks show too little of the variance, and that imprecisely; 1.96 standard errors are then too few. The
    97.5 % points are those of Kiefer and Vogelsang, Econometric Theory 21 (2005), for the Bartlett kernel: a block
    bootstrap gives its weights to autocovariances.
    """
    return (1.9600 + 2.9694 * share + 0.4160 * share**2 - 0.5324 * share**3) / 1.9600


def _stretch(
    name: str,
    contest: Contest,
    rows: np.ndarray,
    *,
    judged: bool = False,
    draws: Mapping[str, Mapping[str, np.ndarray]] | None = None,
    widening: float = 1.0,
) -> Stretch:
    values = {who: _values(contest, forecaster, rows) for who, forecaster in contest.forecasters.items()}

    def difference(measure: str, rival: str) -> Difference:
        value = values["candidate"][measure] - values[rival][measure]
        low = high = math.nan
        if draws:
            deviations = draws["candidate"][measure] - draws[rival][measure] - value
            # An interval of only those replications that happened to have both outcomes would say too much.
            if np.isnan(deviations).mean() <= _MAX_UNKNOWN:
                low, high = (value + widening * end for end in measures.interval(deviations))
        direction = DIRECTION[measure]
        return Difference(value, low, high, verdict_of(low, high, direction) if judged and direction else None)

    places = contest.session[rows]
    return Stretch(
        name=name,
        first=str(contest.sessions[places.min()]),
        last=str(contest.sessions[places.max()]),
        sessions=len(np.unique(places)),
        rows=len(rows),
        measures={
            measure: Measured(
                candidate=values["candidate"][measure],
                champion=values["champion"][measure],
                baseline=values["baseline"][measure],
                over_champion=difference(measure, "champion"),
                over_baseline=difference(measure, "baseline"),
            )
            for measure in DIRECTION
        },
    )


def _worst_month(contest: Contest) -> np.ndarray | None:
    """The places of the consecutive sessions, ``MONTH`` or all, on which the candidate's mean QLIKE lay most above the
    champion's; None where a forecast is none."""
    count = len(contest.sessions)
    candidate, champion = contest.forecasters["candidate"], contest.forecasters["champion"]
    if not (candidate.possible & champion.possible).all():
        return None
    month = min(MONTH, count)
    excess = np.bincount(contest.session, candidate.losses["qlike"] - champion.losses["qlike"], minlength=count)
    rows = np.bincount(contest.session, minlength=count).astype(float)
    means = measures.window_sums(excess, month) / measures.window_sums(rows, month)
    last = int(np.nanargmax(means))
    return np.arange(last - month + 1, last + 1)
