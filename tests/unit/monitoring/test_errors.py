"""Errors: what a person is told when forecasts of volatility err more than they did in validation."""

from __future__ import annotations

import numpy as np
import pytest

from countersign.model.measures import qlike_losses, volatility_errors
from countersign.monitoring.errors import (
    RollingLosses,
    SessionLosses,
    breaches,
    cause,
    error_readings,
    rolling_losses,
    session_losses,
)
from countersign.monitoring.reading import Reading

VALIDATION = {"validation_model": 0.3, "validation_baseline": 0.4}


def losses(model: list[float], baseline: list[float], rows: int = 5) -> SessionLosses:
    """Mean losses of sessions with ``rows`` rows each."""
    return SessionLosses(np.array(model) * rows, np.array(baseline) * rows, np.full(len(model), rows))


def rolled(found: SessionLosses, window: int = 3) -> RollingLosses:
    return rolling_losses(found, window=window, **VALIDATION)


def read(found: RollingLosses) -> tuple[Reading, Reading]:
    return error_readings("qlike", found, max_rise=0.2, max_loss_rise=1.0, in_a_row=3)


def test_model_and_baseline_are_summed_over_the_very_same_rows() -> None:
    """|2 - 1| and |2 - 4| in the first session; the second has no outcome; one symbol of the third was not scored."""
    variance = np.array([[4.0, 9.0], [np.nan, np.nan], [4.0, 1.0]])
    model = np.array([[1.0, 9.0], [1.0, 1.0], [9.0, np.nan]])
    baseline = np.array([[16.0, 16.0], [1.0, 1.0], [4.0, np.nan]])
    found = session_losses(variance, model, baseline, volatility_errors)
    assert found.model.tolist() == [1.0, 0.0, 1.0]
    assert found.baseline.tolist() == [3.0, 0.0, 0.0]
    assert found.rows.tolist() == [2, 0, 1]


def test_rolling_losses_are_those_of_all_rows_of_the_window_pooled() -> None:
    rng = np.random.default_rng(3)
    variance, model, baseline = rng.lognormal(-8, 1, (3, 40, 7))
    variance[rng.random((40, 7)) < 0.3] = np.nan
    found = rolling_losses(session_losses(variance, model, baseline, qlike_losses), window=15, **VALIDATION)
    for last in range(14, 40):
        outcome = variance[last - 14 : last + 1]
        expected = []
        for forecast in (model, baseline):
            ratio = outcome / forecast[last - 14 : last + 1]
            expected.append(np.nanmean(ratio - np.log(ratio) - 1))
        assert (found.model[last], found.baseline[last]) == pytest.approx(expected)
        assert found.rise[last] == pytest.approx(expected[0] / expected[1] / 0.75)


def test_the_daily_value_is_that_of_the_replay_to_the_last_bit_whatever_came_before_and_beside() -> None:
    rng = np.random.default_rng(4)
    variance, model, baseline = rng.lognormal(-8, 2, (3, 300, 9))
    variance[:240] *= 1e9
    # A tenth symbol that had gone before the window began.
    gone = np.where(np.arange(300)[:, None] < 230, 1.0, np.nan)
    outcome, first, second = (np.hstack([gone, m]) for m in (variance, model, baseline))
    replay = rolling_losses(session_losses(outcome, first, second, qlike_losses), window=60, **VALIDATION)
    daily = rolling_losses(
        session_losses(variance[-60:], model[-60:], baseline[-60:], qlike_losses), window=60, **VALIDATION
    )
    assert daily.model[-1] == replay.model[-1]
    assert daily.rise[-1] == replay.rise[-1]


def test_an_error_rise_over_its_limit_is_a_breach_only_in_the_third_session_in_a_row() -> None:
    rise = np.array([1.0, 1.3, 1.3, 1.0, 1.3, 1.3, 1.3, 1.3, 1.2, np.nan])
    found = breaches(rolled(losses([0.3] * 10, [0.4] * 10), window=1), rise, max_rise=0.2, in_a_row=3)
    assert found.tolist()[:-1] == [0, 0, 0, 0, 0, 0, 1, 1, 0]
    assert np.isnan(found[-1])


def test_a_rise_whose_sessions_before_are_unknown_is_neither_breach_nor_pass() -> None:
    found = rolled(losses([0.6] * 4, [0.4] * 4))
    assert np.isnan(breaches(found, found.rise, max_rise=0.2, in_a_row=3)).all()
    relative, _ = read(found)
    assert relative.status == "insufficient"
    assert "the 2 sessions before are not known" in relative.sentence


def test_a_session_in_which_nothing_matured_does_not_end_a_streak() -> None:
    found = losses([0.6] * 8, [0.4] * 8)
    found.rows[6], found.model[6], found.baseline[6] = 0, 0.0, 0.0
    assert [r.status for r in read(rolled(found))] == ["fail", "pass"]
    assert read(rolled(losses([0.6] * 7, [0.4] * 7)))[0].status == "fail"


@pytest.mark.parametrize(
    ("model", "baseline", "relative", "absolute", "words"),
    [
        (0.3, 0.4, "pass", "pass", "neither the model got worse nor the market harder"),
        (0.45, 0.4, "fail", "pass", "the model got worse"),
        (0.45, 0.6, "pass", "pass", "the market got harder"),
        (0.75, 1.0, "pass", "fail", "the market got harder"),
        (0.75, 0.5, "fail", "fail", "the model got worse"),
    ],
    ids=["as in validation", "worse", "harder", "far harder", "far worse"],
)
def test_the_reading_says_whether_the_model_got_worse_or_the_market_harder(
    model: float, baseline: float, relative: str, absolute: str, words: str
) -> None:
    """Validation: model 0.3, baseline 0.4. The ratio may rise by 20 %, the model's own loss to twice 0.3."""
    found = read(rolled(losses([model] * 5, [baseline] * 5)))
    assert [r.measure for r in found] == ["qlike_rise", "qlike"]
    assert [r.status for r in found] == [relative, absolute]
    assert all(r.sentence.endswith(words) for r in found)
    assert found[0].value == pytest.approx((model / baseline) / (0.3 / 0.4))
    assert (found[1].value, found[1].reference, found[1].threshold) == pytest.approx((model, baseline, 0.6))
    assert found[0].observations == 15


def test_wrong_bars_that_make_the_ratio_look_good_are_seen_in_the_absolute_loss() -> None:
    """A bar off by a factor of ten: the baseline errs even more than the model, so that the ratio halves."""
    relative, absolute = read(rolled(losses([3.0] * 5, [8.0] * 5)))
    assert relative.status == "pass"
    assert relative.value == pytest.approx(0.5)
    assert absolute.status == "fail"
    assert "10.00 times validation's (limit 2.00), the baseline's 8, 20.00 times validation's" in absolute.sentence


def test_a_rise_that_is_mostly_the_ratios_is_not_blamed_on_the_market() -> None:
    assert cause(1.19, 1.25, 1.05, max_rise=0.2) == "neither the model got worse nor the market harder"


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (losses([], []), "no outcome matured"),
        (losses([0.3] * 2, [0.4] * 2), "2 of 3 sessions have matured"),
        (losses([0.3] * 5, [0.4] * 5, rows=0), "no outcome matured"),
        (losses([0.3, 0.3, 0.3, np.nan, 0.3], [0.4] * 5), "not a possible number"),
        (losses([0.3] * 5, [0.0] * 5), "not a positive number"),
    ],
    ids=["nothing", "too few", "none matured", "no number", "a perfect baseline"],
)
def test_what_cannot_be_compared_is_insufficient_and_says_why(found: SessionLosses, why: str) -> None:
    readings = read(rolled(found))
    assert {r.status for r in readings} == {"insufficient"}
    assert all(np.isnan(r.value) and why in r.sentence for r in readings)


@pytest.mark.parametrize("validation", [(np.nan, 0.4), (0.3, 0.0), (0.0, 0.4), (0.3, np.inf)])
def test_without_a_usable_validation_no_rise_is_known(validation: tuple[float, float]) -> None:
    found = rolling_losses(
        losses([0.3] * 5, [0.4] * 5), window=3, validation_model=validation[0], validation_baseline=validation[1]
    )
    assert {r.status for r in read(found)} == {"insufficient"}


@pytest.mark.parametrize("broken", [np.nan, np.inf, 0.0, -1.0])
def test_a_broken_forecast_beside_a_good_one_is_never_left_out_in_silence(broken: float) -> None:
    variance, model, baseline = np.full((7, 2), 3e-4), np.full((7, 2), 1e-4), np.full((7, 2), 1e-4)
    model[5, 1] = broken
    found = rolling_losses(session_losses(variance, model, baseline, qlike_losses), window=3, **VALIDATION)
    assert {r.status for r in read(found)} == {"insufficient"}
