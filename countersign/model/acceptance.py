"""Acceptance: what a candidate must pass before a person is asked to sign.

Belongs here: the automatic checks. Does not belong here: the evidence that a person judges (``comparison``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from countersign.checks import CheckResult, Status
from countersign.errors import ModelError
from countersign.features import FEATURES
from countersign.model.comparison import HEAD_NAMES, HEADS, Comparison
from countersign.model.contest import MIN_SESSIONS, verdict_of
from countersign.model.evaluation import Evaluation, Forecasts
from countersign.model.scoring import FittedModel
from countersign.monitoring.calibration import calibration_readings, rolling_calibration

if TYPE_CHECKING:
    from countersign.thresholds import ModelThresholds

YEAR: Final = 252
"""Sessions that calibration is judged on: the latest, yet so many that the stretch which asked for the retrain, hard as
it may be for every model, does not decide alone."""

_LEADS: Final = {"volatility": "qlike", "bad_week": "brier_skill"}
"""The line of the evaluation that has each head's lead over the baseline."""


def automatic_checks(
    comparison: Comparison,
    evaluation: Evaluation,
    forecasts: Forecasts,
    limits: ModelThresholds,
    *,
    candidate: FittedModel,
    champion: FittedModel,
    digest: str,
    retrained_digest: str,
) -> tuple[CheckResult, ...]:
    """Six verdicts on ``candidate``: each failure refuses the request outright.

    ``evaluation`` and ``forecasts`` are of its whole walk-forward; ``digest`` is that of its document, and
    ``retrained_digest`` of the one that a second training on the same rows made. Those on the baseline and calibration
    may be "insufficient", where few outcomes are known: that does not refuse, since it would keep an aged champion in
    service, but whoever signs is shown it. The other three are known at once: they pass or fail.
    """
    return (
        *(_not_worse_than_baseline(head, comparison, evaluation) for head in HEADS),
        _calibrated(forecasts, limits),
        _finite(comparison, candidate),
        _same_features(candidate, champion),
        _deterministic(digest, retrained_digest),
    )


def _not_worse_than_baseline(head: str, comparison: Comparison, evaluation: Evaluation) -> CheckResult:
    """Neither on the days of the comparison nor over the whole walk-forward does the interval lie on the worse side."""
    whole, overall = evaluation.measure(_LEADS[head]), comparison.stretch("overall")
    recent = overall.measures[HEADS[head]].over_baseline if overall else None
    verdicts = {
        f"in the walk-forward {evaluation.first} … {evaluation.last}": verdict_of(whole.lead_low, whole.lead_high, 1),
        f"after {comparison.champion_last_session}": (recent and recent.verdict) or "insufficient evidence",
    }
    status: Status = "pass"
    if "worse" in verdicts.values():
        status = "fail"
    elif set(verdicts.values()) == {"insufficient evidence"}:
        status = "insufficient"
    numbers = {"value": whole.lead, "threshold": 0.0, "low": whole.lead_low, "high": whole.lead_high}
    if recent:
        numbers |= {"recent_difference": recent.value, "recent_low": recent.low, "recent_high": recent.high}
    return CheckResult(
        f"{head}_not_worse_than_baseline",
        status,
        f"{HEAD_NAMES[head]} beside the baseline: "
        + ", ".join(f"{verdict} {where}" for where, verdict in verdicts.items()),
        blocking=True,
        numbers=numbers,
        layer="model",
    )


def _calibrated(forecasts: Forecasts, limits: ModelThresholds) -> CheckResult:
    """The candidate's walk-forward probabilities of the last year are as right as chance allows."""
    f = forecasts
    number, session = np.unique(f.session, return_inverse=True)
    bad, probability = (np.full((len(number), int(f.symbol.max()) + 1), np.nan) for _ in range(2))
    bad[session, f.symbol], probability[session, f.symbol] = f.bad_week, f.probability
    rolled = rolling_calibration(
        bad[-YEAR:],
        probability[-YEAR:],
        window=min(YEAR, len(number)),
        level=limits.calibration_level,
        symbol_correlation=limits.symbol_correlation,
    )
    reading = calibration_readings(rolled, min_each=limits.min_each)[0]
    few = len(number) < MIN_SESSIONS
    return CheckResult(
        "calibrated",
        "insufficient" if few else reading.status,
        f"{len(number)} sessions are too few to judge calibration, {MIN_SESSIONS} are needed"
        if few
        else reading.sentence,
        blocking=True,
        numbers={"value": reading.value, "threshold": reading.threshold, "rows": reading.observations},
        layer="model",
    )


def _finite(comparison: Comparison, candidate: FittedModel) -> CheckResult:
    found = []
    try:
        candidate.require_finite()
    except ModelError as error:
        found.append(str(error))
    if comparison.scores_not_finite:
        found.append(f"{comparison.scores_not_finite} scores of the candidate are not finite, or no variance")
    return CheckResult(
        "finite",
        "fail" if found else "pass",
        "; ".join(found) or "every coefficient and every score of the candidate is finite",
        blocking=True,
        numbers={"scores_not_finite": comparison.scores_not_finite},
        layer="model",
    )


def _same_features(candidate: FittedModel, champion: FittedModel) -> CheckResult:
    """The same features in the same order as the champion's and the pipeline's."""
    wrong = [
        f"{whose} differ in {', '.join(sorted(set(names) ^ set(candidate.features))) or 'their order'}"
        for whose, names in (("the champion's", champion.features), ("the pipeline's", tuple(FEATURES)))
        if names != candidate.features
    ]
    return CheckResult(
        "same_features",
        "fail" if wrong else "pass",
        f"expected the candidate's features to be the champion's and the pipeline's; {', '.join(wrong)}: train again"
        if wrong
        else f"the candidate's {len(FEATURES)} features are the champion's and the pipeline's",
        blocking=True,
        layer="model",
    )


def _deterministic(digest: str, retrained_digest: str) -> CheckResult:
    same = bool(digest) and digest == retrained_digest
    return CheckResult(
        "deterministic_retrain",
        "pass" if same else "fail",
        f"a second training on the same rows made the same bytes, {digest[:12]}"
        if same
        else f"expected the same bytes from a second training on the same rows, {digest[:12] or 'no digest'}; found "
        f"{retrained_digest[:12] or 'no digest'}: what was trained cannot be made again",
        blocking=True,
        layer="model",
    )
