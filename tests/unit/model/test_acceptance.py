"""Acceptance: what refuses a candidate before a person is asked, and what is only shown."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from countersign.checks import CheckResult
from countersign.config import ModelConfig
from countersign.model.acceptance import automatic_checks
from countersign.model.comparison import compare
from countersign.model.evaluation import Evaluation, Forecasts, evaluate, walk_forward
from countersign.model.training import fit, training_rows
from countersign.prices.panel import Panel
from countersign.thresholds import load_thresholds

CONFIG = ModelConfig(bootstrap_replications=100)
TRAINED = "2007-12-31"
NAMES = (
    "volatility_not_worse_than_baseline",
    "bad_week_not_worse_than_baseline",
    "calibrated",
    "finite",
    "same_features",
    "deterministic_retrain",
)

Checks = Callable[..., dict[str, CheckResult]]


@pytest.fixture(scope="module")
def checked(bundled: Panel, root: Path) -> Checks:
    """The verdicts on a candidate of August 2008, some of whose evidence is changed by name."""
    panel = bundled.rows(slice(0, int(np.searchsorted(bundled.sessions, np.datetime64("2008-08-30")))))
    rows = training_rows(panel)
    start = int(np.searchsorted(panel.sessions, np.datetime64("2008-01-01")))
    champion, candidate = fit(training_rows(panel.rows(slice(0, start))), CONFIG), fit(rows, CONFIG)
    forecasts = walk_forward(rows, CONFIG)
    usual: dict[str, Any] = {
        "comparison": compare(panel, CONFIG, candidate=candidate, champion=champion, champion_last_session=TRAINED),
        "evaluation": evaluate(forecasts, panel.sessions, CONFIG),
        "forecasts": forecasts,
        "limits": load_thresholds(root)[0].model,
        "candidate": candidate,
        "champion": champion,
        "digest": "a" * 64,
        "retrained_digest": "a" * 64,
    }

    def check(**changes: Callable[[Any], Any]) -> dict[str, CheckResult]:
        evidence = usual | {name: change(usual[name]) for name, change in changes.items()}
        if "candidate" in changes:
            evidence["comparison"] = compare(
                panel, CONFIG, candidate=evidence["candidate"], champion=champion, champion_last_session=TRAINED
            )
        return {result.name: result for result in automatic_checks(**evidence)}

    return check


def refused(found: dict[str, CheckResult]) -> list[str]:
    return [name for name, result in found.items() if result.refuses]


def with_leads(low: float, high: float) -> Callable[[Evaluation], Evaluation]:
    return lambda e: replace(e, table=tuple(replace(m, lead_low=low, lead_high=high) for m in e.table))


def without_stretches(comparison: Any) -> Any:
    return replace(comparison, stretches=())


def recently(low: float, high: float) -> Callable[[Any], Any]:
    """A comparison whose losses lie so much above the baseline's."""

    def changed(comparison: Any) -> Any:
        overall = comparison.stretch("overall")
        verdict = "worse" if low > 0 else "not distinguishable"
        measures = {
            name: replace(m, over_baseline=replace(m.over_baseline, low=low, high=high, verdict=verdict))
            for name, m in overall.measures.items()
        }
        return replace(comparison, stretches=(replace(overall, measures=measures),))

    return changed


def test_a_candidate_of_real_prices_passes_and_every_failure_would_refuse_it(checked: Checks) -> None:
    found = checked()
    assert tuple(found) == NAMES
    assert [result.status for result in found.values()] == ["pass"] * 6
    assert all(result.blocking and result.layer == "model" for result in found.values())


@pytest.mark.parametrize("name", ["volatility_coefficients", "bad_week_coefficients"])
@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_a_coefficient_that_is_no_number_refuses_the_candidate(checked: Checks, name: str, wrong: float) -> None:
    def broken(model: Any) -> Any:
        coefficients = getattr(model, name).copy()
        coefficients[2] = wrong
        return replace(model, **{name: coefficients})

    found = checked(candidate=broken)
    assert refused(found) == ["finite"]
    assert "found NaN or infinity" in found["finite"].sentence


def test_scores_that_are_none_refuse_the_candidate_even_where_its_coefficients_are_finite(checked: Checks) -> None:
    found = checked(comparison=lambda comparison: replace(comparison, scores_not_finite=3))
    assert refused(found) == ["finite"]
    assert found["finite"].sentence.startswith("3 scores of the candidate are not finite")


def test_features_in_another_order_or_fewer_of_them_refuse_the_candidate(checked: Checks) -> None:
    order = checked(champion=lambda model: replace(model, features=model.features[::-1]))
    fewer = checked(champion=lambda model: replace(model, features=model.features[:-1]))
    both = checked(
        **{who: lambda model: replace(model, features=model.features[::-1]) for who in ("candidate", "champion")}
    )
    assert refused(order) == refused(fewer) == refused(both) == ["same_features"]
    assert "; the pipeline's differ in their order: train again" in both["same_features"].sentence
    assert "the champion's differ in their order" in order["same_features"].sentence
    assert "the champion's differ in skew_63: train again" in fewer["same_features"].sentence


@pytest.mark.parametrize("other", ["b" * 64, ""])
def test_a_second_training_that_made_other_bytes_or_none_refuses_the_candidate(checked: Checks, other: str) -> None:
    found = checked(retrained_digest=lambda _: other)
    assert refused(found) == ["deterministic_retrain"]
    assert f"aaaaaaaaaaaa; found {other[:12] or 'no digest'}" in found["deterministic_retrain"].sentence
    assert refused(checked(digest=lambda _: "", retrained_digest=lambda _: "")) == ["deterministic_retrain"]


@pytest.mark.parametrize(
    ("leads", "recent", "status"),
    [
        (with_leads(-0.2, -0.1), recently(-1, 1), "fail"),
        (with_leads(0.1, 0.2), recently(0.1, 0.2), "fail"),
        (with_leads(-0.1, 0.1), recently(-1, 1), "pass"),
        (with_leads(0.1, 0.2), without_stretches, "pass"),
        (with_leads(math.nan, math.nan), without_stretches, "insufficient"),
        (with_leads(-0.2, -0.1), without_stretches, "fail"),
    ],
    ids=["worse in all", "worse of late", "level", "no recent days", "nothing known", "worse, no recent days"],
)
def test_being_worse_than_the_baseline_refuses_and_not_knowing_is_shown_but_does_not(
    checked: Checks, leads: Callable[[Any], Any], recent: Callable[[Any], Any], status: str
) -> None:
    found = checked(evaluation=leads, comparison=recent)
    assert {found[name].status for name in NAMES[:2]} == {status}
    assert refused(found) == (list(NAMES[:2]) if status == "fail" else [])


def test_probabilities_three_times_too_high_in_the_last_year_refuse_the_candidate(checked: Checks) -> None:
    def exaggerated(sessions: slice) -> Callable[[Forecasts], Forecasts]:
        def changed(f: Forecasts) -> Forecasts:
            chosen = np.isin(f.session, np.unique(f.session)[sessions])
            return replace(f, probability=np.where(chosen, np.minimum(3 * f.probability, 0.99), f.probability))

        return changed

    found = checked(forecasts=exaggerated(slice(-252, None)))
    assert refused(found) == ["calibrated"]
    assert found["calibrated"].numbers["value"] > found["calibrated"].numbers["threshold"]  # type: ignore[operator]
    # What lies further back is not what the candidate would say now.
    assert checked(forecasts=exaggerated(slice(0, -252)))["calibrated"] == checked()["calibrated"]


@pytest.mark.parametrize("sessions", [1, 19])
def test_calibration_on_a_few_sessions_is_insufficient_and_never_a_pass(checked: Checks, sessions: int) -> None:
    def few(f: Forecasts) -> Forecasts:
        rows = f.session < sessions
        return replace(
            f,
            session=f.session[rows],
            symbol=f.symbol[rows],
            bad_week=f.bad_week[rows],
            probability=f.probability[rows],
        )

    found = checked(forecasts=few)
    assert found["calibrated"].status == "insufficient"
    assert f"{sessions} sessions are too few" in found["calibrated"].sentence
    assert refused(found) == []
