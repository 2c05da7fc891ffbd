"""Evaluation: how the model would have done, day by day, on sessions that it had not seen.

Belongs here: purged walk-forward forecasts, and the table of measures beside the baseline's and the naive forecast's.
Does not belong here: the measures themselves (``measures``), fitting (``training``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from countersign.errors import ModelError
from countersign.model import measures
from countersign.model.scoring import score
from countersign.model.targets import HORIZON
from countersign.model.training import TrainingRows, fit

if TYPE_CHECKING:
    from countersign.config import ModelConfig


_CALIBRATION_REPLICATIONS: Final = 100
"""The calibration error is resampled less often: each time it sorts all rows anew."""

_RELATIVE: Final = ("qlike", "volatility_mae")
"""Measures whose lead is a share of the baseline's loss."""


@dataclass(frozen=True)
class Forecasts:
    """Out-of-sample forecasts and their outcomes, each array of shape (n,); ``session`` counts from the first one."""

    session: np.ndarray
    symbol: np.ndarray
    probability: np.ndarray
    baseline_probability: np.ndarray
    naive_probability: np.ndarray
    bad_week: np.ndarray
    model_variance: np.ndarray
    baseline_variance: np.ndarray
    naive_variance: np.ndarray
    variance: np.ndarray
    approved: np.ndarray
    by_model: np.ndarray
    folds: int
    first: int
    last: int


@dataclass(frozen=True)
class Measure:
    """One line of the evaluation: the model's value, its rivals', and a 95 % interval of its lead over the baseline.

    ``lead`` is positive where the model is better, whichever direction the measure has; for ``qlike`` and
    ``volatility_mae`` it is a share of the baseline's loss.
    """

    name: str
    model: float
    baseline: float
    naive: float
    lead: float
    lead_low: float
    lead_high: float


@dataclass(frozen=True)
class Evaluation:
    """The whole table, and what it was measured on. Sessions are ``YYYY-MM-DD``."""

    first: str
    last: str
    folds: int
    sessions: int
    rows: int
    model_share: float
    approval_rate: float
    bad_rate_approved: float
    bad_rate_held: float
    bad_rate: float
    table: tuple[Measure, ...]

    def as_dict(self) -> dict[str, Any]:
        """The ``evaluation`` section of ``model.json``."""
        from dataclasses import asdict

        return asdict(self) | {
            "table": {m.name: {k: v for k, v in asdict(m).items() if k != "name"} for m in self.table}
        }

    def measure(self, name: str) -> Measure:
        return next(m for m in self.table if m.name == name)


def measure_of(evaluation: Mapping[str, Any], name: str) -> Measure:
    """One line of the table from the ``evaluation`` section of ``model.json``, where NaN is null."""
    return Measure(name, **{key: np.nan if v is None else v for key, v in evaluation["table"][name].items()})


def walk_forward(
    rows: TrainingRows, config: ModelConfig, progress: Callable[[int, int], None] | None = None
) -> Forecasts:
    """``walk_forward_from`` the end of the first training window on, in folds of ``config.fold_sessions``.

    Raises ``ModelError`` where there is no session to test on.
    """
    first, end = config.min_training_sessions, int(rows.session[rows.matured].max(initial=-1)) + 1
    if end <= first:
        raise ModelError(
            f"expected more than {first} sessions of history to evaluate on, found {end}. "
            "Load a longer history (history.start) or lower model.min_training_sessions"
        )
    return walk_forward_from(rows, config, first=first, fold_sessions=config.fold_sessions, progress=progress)


def walk_forward_from(
    rows: TrainingRows,
    config: ModelConfig,
    *,
    first: int,
    fold_sessions: int,
    purge: int = HORIZON,
    progress: Callable[[int, int], None] | None = None,
) -> Forecasts:
    """Score each fold of sessions with a model of everything before it, purged of outcomes that reach into the fold.

    Folds begin with the session numbered ``first``, of which or of a later one some outcome must be known. The window
    expands. A fold that starts at session S learns from sessions up to S - 1 - ``purge``, the horizon of ``rows`` or
    more, so that their outcomes were known at the close of S - 1. ``progress`` is called with (folds done, folds in
    all). Forecasts come in the order of ``rows``, sessions ascending.
    """
    rows = rows.take(rows.matured)
    starts = range(first, int(rows.session.max()) + 1, fold_sessions)
    parts: list[dict[str, np.ndarray]] = []
    for number, start in enumerate(starts):
        known = rows.take(rows.session < start - purge)
        model = fit(known, config)
        test = rows.take((rows.session >= start) & (rows.session < start + fold_sessions))
        scores = score(model, test.features, test.ewma_variance, test.market_variance, test.history)
        parts.append(
            {
                "session": test.session,
                "symbol": test.symbol,
                "probability": scores.probability,
                "baseline_probability": scores.baseline_probability,
                "naive_probability": np.full(len(test), known.bad_week.mean()),
                "bad_week": test.bad_week,
                "model_variance": scores.variance,
                "baseline_variance": scores.baseline_variance,
                "naive_variance": np.where(
                    np.isnan(test.naive_variance), scores.baseline_variance, test.naive_variance
                ),
                "variance": test.variance,
                "approved": scores.approved,
                "by_model": scores.by_model,
            }
        )
        if progress:
            progress(number + 1, len(starts))
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    session = joined.pop("session")
    return Forecasts(
        session=session - session.min(), **joined, folds=len(starts), first=int(session.min()), last=int(session.max())
    )


def evaluate(forecasts: Forecasts, sessions: np.ndarray, config: ModelConfig) -> Evaluation:
    """The table of measures, with a block-bootstrap interval by date of the model's lead over the baseline.

    ``sessions`` are the panel's (datetime64[D]), which ``forecasts.first`` and ``last`` number.
    """
    f = forecasts
    counts = measures.block_counts(
        int(f.session.max()) + 1,
        block=config.bootstrap_block_sessions,
        replications=config.bootstrap_replications,
        seed=config.seed,
    )
    table = (
        _auc(f, counts),
        _brier_skill(f, counts),
        _calibration(f, counts),
        _relative("qlike", f, counts, [measures.qlike_losses(f.variance, v) for v in _variances(f)]),
        _relative("volatility_mae", f, counts, [measures.volatility_errors(f.variance, v) for v in _variances(f)]),
    )
    held = ~f.approved
    return Evaluation(
        first=str(sessions[f.first]),
        last=str(sessions[f.last]),
        folds=f.folds,
        sessions=int(f.session.max()) + 1,
        rows=len(f.session),
        model_share=float(f.by_model.mean()),
        approval_rate=float(f.approved.mean()),
        bad_rate_approved=_mean(f.bad_week[f.approved]),
        bad_rate_held=_mean(f.bad_week[held]),
        bad_rate=float(f.bad_week.mean()),
        table=table,
    )


def _variances(f: Forecasts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return f.model_variance, f.baseline_variance, f.naive_variance


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _auc(f: Forecasts, counts: np.ndarray) -> Measure:
    model, baseline, naive = (
        measures.auc_score(f.bad_week, p) for p in (f.probability, f.baseline_probability, f.naive_probability)
    )
    leads = measures.auc_scores(f.bad_week, f.probability, counts, f.session) - measures.auc_scores(
        f.bad_week, f.baseline_probability, counts, f.session
    )
    return Measure("auc", model, baseline, naive, model - baseline, *measures.interval(leads))


def _brier_skill(f: Forecasts, counts: np.ndarray) -> Measure:
    """1 - Brier / Brier of the base rate known when forecasting: the naive forecast has skill 0."""
    model, baseline, naive = (
        measures.brier_losses(f.bad_week, p) for p in (f.probability, f.baseline_probability, f.naive_probability)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        sums = [measures.resampled_sums(losses, counts, f.session) for losses in (model, baseline, naive)]
        leads = (sums[1] - sums[0]) / sums[2]
        model_skill, baseline_skill = (float(1 - loss.mean() / naive.mean()) for loss in (model, baseline))
    low, high = measures.interval(leads)
    return Measure("brier_skill", model_skill, baseline_skill, 0.0, model_skill - baseline_skill, low, high)


def _calibration(f: Forecasts, counts: np.ndarray) -> Measure:
    model, baseline, naive = (
        measures.calibration_loss(f.bad_week, p) for p in (f.probability, f.baseline_probability, f.naive_probability)
    )
    every = np.arange(len(f.session))
    leads = np.array(
        [
            measures.calibration_loss(f.bad_week[rows], f.baseline_probability[rows])
            - measures.calibration_loss(f.bad_week[rows], f.probability[rows])
            for rows in (np.repeat(every, c[f.session]) for c in counts[:_CALIBRATION_REPLICATIONS])
        ]
    )
    return Measure("calibration_error", model, baseline, naive, baseline - model, *measures.interval(leads))


def _relative(name: str, f: Forecasts, counts: np.ndarray, losses: list[np.ndarray]) -> Measure:
    model, baseline, naive = (float(loss.mean()) for loss in losses)
    with np.errstate(invalid="ignore", divide="ignore"):
        sums = [measures.resampled_sums(loss, counts, f.session) for loss in losses[:2]]
        leads = 1 - sums[0] / sums[1]
    lead = 1 - measures.scaled_error(losses[0], losses[1])
    return Measure(name, model, baseline, naive, lead, *measures.interval(leads))


def evaluation_text(found: Evaluation) -> str:
    """The table for a terminal or the README, in 80 columns."""
    lines = [
        f"Walk-forward {found.first} … {found.last}: {found.sessions} sessions, {found.rows} scores, "
        f"{found.folds} models",
        "",
        "measure              model  baseline     naive   lead over baseline [95 % CI]",
        "-" * 78,
    ]
    for m in found.table:
        model, baseline, naive, lead, low, high = _cells(m)
        lines.append(f"{m.name:<17} {model:>8}  {baseline:>8}  {naive:>8}   {lead:>8} [{low} … {high}]")
    return "\n".join([*lines, "", *_shares(found)])


def evaluation_preview(found: Evaluation) -> str:
    """The same in Markdown, for Dagster's pages."""
    lines = ["| measure | model | baseline | lead [95 % CI] |", "|---|---:|---:|---|"]
    for m in found.table:
        model, baseline, _, lead, low, high = _cells(m)
        lines.append(f"| {m.name} | {model} | {baseline} | {lead} [{low} … {high}] |")
    return "\n".join([*lines, "", f"Walk-forward {found.first} … {found.last}.", *_shares(found)])


def _cells(m: Measure) -> tuple[str, ...]:
    lead = "+.1%" if m.name in _RELATIVE else "+.4f"
    values = ((m.model, ".4g"), (m.baseline, ".4g"), (m.naive, ".4g"), (m.lead, lead), (m.lead_low, lead))
    return tuple(_cell(value, style) for value, style in (*values, (m.lead_high, lead)))


def _shares(found: Evaluation) -> list[str]:
    return [
        f"approved {_cell(found.approval_rate, '.1%')}; bad rate {_cell(found.bad_rate_approved, '.1%')} of approved, "
        f"{_cell(found.bad_rate_held, '.1%')} of held, {_cell(found.bad_rate, '.1%')} of all",
        f"scored by the model {found.model_share:.1%}, by the baseline {1 - found.model_share:.1%}",
    ]


def _cell(value: float, style: str) -> str:
    """``value`` in at most 8 characters: in powers of ten where ``style`` would take more."""
    if np.isnan(value):
        return "unknown"
    text = format(value, style)
    return text if len(text) <= 8 else f"{value:.1e}"
