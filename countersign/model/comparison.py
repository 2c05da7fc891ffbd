"""Comparison: should the retrained candidate replace the champion? The evidence that a person signs on.

Belongs here: the candidate's procedure against the champion and the baseline, what is concluded, what changed in the
model. Does not belong here: measuring (``contest``), checks that refuse a candidate (``acceptance``), asking and
deciding.

The candidate has learned from every outcome that is known, so no day is left on which its own numbers could be
tried. What can be tried is its procedure: its settings and features, refitted walk-forward (``evaluation``) on the
days after the champion's last training session. There the champion, frozen, is out of sample as well: the last row that
it learned from lies ``HORIZON`` sessions before its last training session, by the same purge as the walk-forward's.
So all three forecast the same rows, and none has seen an outcome of them.

Refits: every ``HORIZON`` sessions, or as many more as make no more than ``MAX_REFITS``. In a stretch of a quarter, one
fold of a quarter would be the champion itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from countersign.errors import ModelError
from countersign.features import FEATURES
from countersign.model.contest import (
    MIN_SESSIONS,
    Contest,
    Stretch,
    Verdict,
    measure_stretches,
    measure_symbols,
    possible_forecasts,
)
from countersign.model.evaluation import walk_forward_from
from countersign.model.scoring import FittedModel, Scores, score
from countersign.model.targets import HORIZON
from countersign.model.training import TrainingRows, training_rows
from countersign.prices.panel import Panel

if TYPE_CHECKING:
    from countersign.config import ModelConfig

MAX_REFITS: Final = 50
"""Refits of a comparison: more would cost time and change little."""

HEADS: Final = {"volatility": "qlike", "bad_week": "brier_loss"}
"""What each head is judged by: a loss that the true variance, or probability, makes smallest. Brier rather than the log
loss, because it is bounded, so that no single surprise decides. AUC is shown, but is blind to the level."""

HEAD_NAMES: Final = {"volatility": "Volatility", "bad_week": "Bad weeks"}


@dataclass(frozen=True)
class Change:
    """One coefficient of a head, for one standard deviation of the feature; NaN where a model has none."""

    head: str
    feature: str
    champion: float
    candidate: float


@dataclass(frozen=True)
class RangeChange:
    """The range of one feature in training, outside which the model is not used."""

    feature: str
    champion_low: float
    champion_high: float
    candidate_low: float
    candidate_high: float


@dataclass(frozen=True)
class Comparison:
    """The evidence. ``sentences`` begin with the verdict; the others say by which measures, and where it holds.

    ``stretches`` are those of ``measure_stretches``, ``symbols`` stretches named by their symbol. ``series`` are mean
    losses by session: {"session": [...], "qlike": {"candidate": [...], ...}, ...}. ``coefficients`` and
    ``training_ranges`` have the most changed first. ``scores_not_finite`` counts the scores by the candidate's own
    numbers, on the rows compared, that are none.
    """

    verdict: Verdict
    wins_only_in_trigger: bool
    sentences: tuple[str, ...]
    champion_last_session: str
    candidate_last_session: str
    trigger: tuple[str, str] | None
    refits: int
    fold_sessions: int
    candidate_model_share: float
    champion_model_share: float
    stretches: tuple[Stretch, ...]
    symbols: tuple[Stretch, ...]
    series: Mapping[str, Any]
    coefficients: tuple[Change, ...]
    training_ranges: tuple[RangeChange, ...]
    scores_not_finite: int

    def as_dict(self) -> dict[str, Any]:
        """For the evidence on file: plain values, None for a number that is not known."""
        return _plain(asdict(self))

    def stretch(self, name: str) -> Stretch | None:
        return next((stretch for stretch in self.stretches if stretch.name == name), None)


def compare(
    panel: Panel,
    config: ModelConfig,
    *,
    candidate: FittedModel,
    champion: FittedModel,
    champion_last_session: str,
    trigger: tuple[str, str] | None = None,
) -> Comparison:
    """Compare on the sessions of ``panel`` after ``champion_last_session``, the last that the champion was trained on.

    ``panel`` is all that the candidate was trained on, with ``config``. ``trigger`` are the first and last session of
    the stretch whose drift or errors asked for the retrain, None where a person did.

    Raises ``ModelError`` where the champion cannot score today's features, or there is too little to train on.
    """
    if champion.features != tuple(FEATURES):
        raise ModelError(
            f"expected a champion of the features {', '.join(FEATURES)}; found one of {', '.join(champion.features)}. "
            "It cannot score what this version of Countersign computes: use the version that trained it"
        )
    rows = training_rows(panel)
    first = int(np.searchsorted(panel.sessions, np.datetime64(champion_last_session), side="right"))
    test = rows.take(rows.matured & (rows.session >= first))
    sessions = len(np.unique(test.session))
    fold_sessions = max(HORIZON, -(-sessions // MAX_REFITS))
    stretches: tuple[Stretch, ...] = ()
    symbols: tuple[Stretch, ...] = ()
    series: dict[str, Any] = {}
    refits, candidate_share, champion_share = 0, math.nan, math.nan
    with np.errstate(all="ignore"):
        # What is not finite here is counted, and refuses the candidate.
        own = _scored(candidate, test)
    if sessions:
        forecasts = walk_forward_from(rows, config, first=first, fold_sessions=fold_sessions)
        served = _scored(champion, test)
        contest = Contest.of(forecasts, served, panel, config.cutoff)
        stretches, symbols = measure_stretches(contest, config, trigger), measure_symbols(contest)
        series = {
            "session": contest.sessions.astype(str).tolist(),
            **{
                loss: {who: contest.means(who, loss).tolist() for who in contest.forecasters} for loss in HEADS.values()
            },
        }
        refits, candidate_share = forecasts.folds, float(forecasts.by_model.mean())
        champion_share = float(served.by_model.mean())
    verdict, wins_only_in_trigger, sentences = conclude(stretches, champion_last_session, trigger)
    return Comparison(
        verdict=verdict,
        wins_only_in_trigger=wins_only_in_trigger,
        sentences=sentences,
        champion_last_session=champion_last_session,
        candidate_last_session=str(panel.sessions[-1]),
        trigger=trigger,
        refits=refits,
        fold_sessions=fold_sessions,
        candidate_model_share=candidate_share,
        champion_model_share=champion_share,
        stretches=stretches,
        symbols=symbols,
        series=series,
        coefficients=_coefficients(candidate, champion, rows),
        training_ranges=_training_ranges(candidate, champion, rows),
        scores_not_finite=int((~possible_forecasts(own.probability, own.variance)).sum()),
    )


def conclude(
    stretches: tuple[Stretch, ...], champion_last_session: str, trigger: tuple[str, str] | None
) -> tuple[Verdict, bool, tuple[str, ...]]:
    """The verdict, whether the candidate wins only in the trigger's stretch, and sentences for a person.

    One head that is worse makes the candidate worse; one that is better, with none worse, makes it better. It wins
    only in the trigger's stretch where a head is better overall or inside it, and is not shown to be better outside.
    """
    of = {stretch.name: stretch for stretch in stretches}
    overall = of.get("overall")
    if overall is None or overall.sessions < MIN_SESSIONS:
        sentence = (
            f"Insufficient evidence: {overall.sessions if overall else 0} sessions after {champion_last_session}, the "
            f"last that the champion was trained on, have a known outcome, and {MIN_SESSIONS} are needed. Compare "
            "again when more have matured"
        )
        return "insufficient evidence", False, (sentence,)
    verdict = _combined([head_verdict(overall, head) for head in HEADS])
    sentences = [
        f"{_HEADLINES[verdict]} on {overall.sessions} sessions, {overall.first} … {overall.last}",
        *(_head_text(overall, head) for head in HEADS),
    ]
    quarter = of["last_quarter"]
    if quarter.sessions < overall.sessions:
        judged = ", ".join(f"{HEAD_NAMES[head].lower()} {head_verdict(quarter, head)}" for head in HEADS)
        sentences.append(f"In the last quarter, {quarter.first} … {quarter.last}: {judged}")
    if "worst_month" in of:
        worst = of["worst_month"]
        qlike = worst.measures["qlike"]
        sentences.append(
            f"In its worst month beside the champion, {worst.first} … {worst.last}: QLIKE {qlike.candidate:.4f} "
            f"against {qlike.champion:.4f}"
        )
    only = False
    if trigger:
        inside, outside = of.get("inside_trigger"), of.get("outside_trigger")
        beyond = {head: head_verdict(outside, head) for head in HEADS}
        doubtful = [
            head
            for head in HEADS
            if "better" in (head_verdict(overall, head), head_verdict(inside, head)) and beyond[head] != "better"
        ]
        only = bool(doubtful)
        where = "Wins only in the stretch that triggered it" if only else "Without the stretch that triggered it"
        judged = ", ".join(f"{HEAD_NAMES[head].lower()} {beyond[head]}" for head in doubtful or HEADS)
        count = outside.sessions if outside else 0
        sentences.append(f"{where}, {trigger[0]} … {trigger[1]}: on the {count} sessions outside, {judged}")
    return verdict, only, tuple(sentences)


def head_verdict(stretch: Stretch | None, head: str) -> Verdict:
    """Of the candidate against the champion, by the head's own loss; a stretch that is not there says nothing."""
    found = stretch.measures[HEADS[head]].over_champion.verdict if stretch else None
    return found or "insufficient evidence"


_HEADLINES: Final[dict[Verdict, str]] = {
    "better": "The candidate is better than the champion",
    "not distinguishable": "The candidate is not distinguishable from the champion",
    "worse": "The candidate is worse than the champion",
    "insufficient evidence": "Insufficient evidence: a measure could not be taken",
}


def _combined(verdicts: list[Verdict]) -> Verdict:
    order: tuple[Verdict, ...] = ("worse", "insufficient evidence", "better", "not distinguishable")
    return next(verdict for verdict in order if verdict in verdicts)


def _head_text(stretch: Stretch, head: str) -> str:
    loss, auc = stretch.measures[HEADS[head]], stretch.measures["auc"]
    name = {"qlike": "QLIKE", "brier_loss": "Brier loss"}[HEADS[head]]
    text = (
        f"{HEAD_NAMES[head]}: {head_verdict(stretch, head)}; {name} {loss.candidate:.4f} against {loss.champion:.4f}, "
        f"difference {loss.over_champion.value:+.4f} (95 % interval {loss.over_champion.low:+.4f} … "
        f"{loss.over_champion.high:+.4f}), baseline {loss.baseline:.4f}"
    )
    if head == "bad_week":
        text += f"; AUC {auc.candidate:.3f} against {auc.champion:.3f}, baseline {auc.baseline:.3f}"
    return text


def _scored(model: FittedModel, rows: TrainingRows) -> Scores:
    return score(model, rows.features, rows.ewma_variance, rows.market_variance, rows.history)


def _coefficients(candidate: FittedModel, champion: FittedModel, rows: TrainingRows) -> tuple[Change, ...]:
    """Both heads' coefficients, times the standard deviation that the feature has in ``rows``."""
    spread = _spread(rows)
    found = []
    for head in HEADS:
        ours, theirs = (getattr(model, f"{head}_coefficients") * spread for model in (candidate, champion))
        found += [Change(head, *numbers) for numbers in zip(FEATURES, theirs.tolist(), ours.tolist(), strict=True)]
    return tuple(sorted(found, key=lambda change: _rank(change.candidate - change.champion)))


def _training_ranges(candidate: FittedModel, champion: FittedModel, rows: TrainingRows) -> tuple[RangeChange, ...]:
    """The ranges that changed, by how many standard deviations of the feature."""
    moved = np.maximum(np.abs(candidate.low - champion.low), np.abs(candidate.high - champion.high)) / _spread(rows)
    bounds = np.stack([champion.low, champion.high, candidate.low, candidate.high], axis=1).tolist()
    found = sorted(zip(moved.tolist(), FEATURES, bounds, strict=True), key=lambda change: _rank(change[0]))
    return tuple(RangeChange(name, *numbers) for size, name, numbers in found if size != 0)


def _spread(rows: TrainingRows) -> np.ndarray:
    """Standard deviation of each feature in what was learned from; 1 of one that never changes, as ``fit`` takes it."""
    spread = rows.features[:, rows.learnable].std(axis=1)
    return np.where(spread > 0, spread, 1.0)


def _rank(change: float) -> float:
    """Larger changes first, and NaN before all."""
    return -math.inf if math.isnan(change) else -abs(change)


def _plain(found: Any) -> Any:
    if isinstance(found, Mapping):
        return {key: _plain(value) for key, value in found.items()}
    if isinstance(found, list | tuple):
        return [_plain(value) for value in found]
    return None if isinstance(found, float) and not math.isfinite(found) else found
