"""Contest: three forecasters on the same rows, and how sure the difference between two of them is."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from countersign.config import ModelConfig
from countersign.model import measures
from countersign.model.comparison import conclude
from countersign.model.contest import DIRECTION, Contest, Stretch, measure_stretches, measure_symbols
from countersign.model.evaluation import Forecasts
from countersign.model.scoring import Scores
from countersign.model.targets import HORIZON
from countersign.prices.panel import Panel

CONFIG = ModelConfig(bootstrap_replications=100)
CUTOFF = 0.2
FIRST = np.datetime64("2000-01-01")
"""The first session of ``Panel.from_arrays``; each day is one."""


def day(number: int) -> str:
    return str(FIRST + number)


def contest_of(
    bad: np.ndarray,
    variance: np.ndarray,
    probabilities: tuple[np.ndarray, np.ndarray, np.ndarray],
    variances: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> Contest:
    """Matrices (sessions, symbols) as a contest; candidate, champion and baseline in this order."""
    sessions, symbols = bad.shape
    flat = np.full((sessions + HORIZON, symbols), 0.01)
    panel = Panel.from_arrays(flat, variance=flat, volume=flat)
    session, symbol = np.divmod(np.arange(bad.size), symbols)
    p, v = [x.ravel() for x in probabilities], [x.ravel() for x in variances]
    every = np.ones(bad.size, dtype=bool)
    forecasts = Forecasts(
        session=session,
        symbol=symbol,
        probability=p[0],
        baseline_probability=p[2],
        naive_probability=p[2],
        bad_week=bad.ravel(),
        model_variance=v[0],
        baseline_variance=v[2],
        naive_variance=v[2],
        variance=variance.ravel(),
        approved=p[0] < CUTOFF,
        by_model=every,
        folds=1,
        first=0,
        last=sessions - 1,
    )
    champion = Scores(v[1], v[2], p[1], p[2], p[1] < CUTOFF, every, np.full(bad.size, ""))
    return Contest.of(forecasts, champion, panel, CUTOFF)


def moving_noise(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A shock a session, the same for all symbols: the mean of those of the horizon, so that neighbours overlap."""
    shocks = rng.normal(size=shape[0] + HORIZON - 1)
    return np.repeat(np.convolve(shocks, np.full(HORIZON, 1 / HORIZON), "valid")[:, None], shape[1], axis=1)


def contest_with_noise(
    candidate: np.ndarray, champion: np.ndarray, seed: int, shape: tuple[int, int] = (120, 4)
) -> Contest:
    """Forecasters whose error is the larger the larger their noise (sessions,) is, in both heads alike."""
    rng = np.random.default_rng(seed)
    chance = rng.uniform(0.1, 0.9, shape)
    bad = (rng.uniform(size=shape) < chance).astype(float)
    variance = 1e-4 * rng.chisquare(20, shape) / 20

    def forecast(noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        blurred = chance + (0.5 - chance) * np.clip(noise, 0, 1)[:, None]
        return blurred, 1e-4 * np.exp(noise[:, None] * rng.normal(1, 0.2, shape))

    ours, theirs, baseline = forecast(candidate), forecast(champion), forecast(np.full(shape[0], 0.8))
    return contest_of(bad, variance, (ours[0], theirs[0], baseline[0]), (ours[1], theirs[1], baseline[1]))


def of(stretches: tuple[Stretch, ...]) -> dict[str, Stretch]:
    return {stretch.name: stretch for stretch in stretches}


def noise(low: slice | None = None, *, sessions: int = 120) -> np.ndarray:
    """Much noise but for the sessions ``low``."""
    found = np.full(sessions, 0.8)
    if low:
        found[low] = 0.0
    return found


def test_every_measure_of_the_three_is_what_it_is_by_hand() -> None:
    """Two sessions of two symbols. Brier: scikit-learn's example, 0.0375; of halves 0.25. QLIKE of a variance e times
    the forecast e - 2, of the variance itself 0. Of the candidate's scores only 0.1 is below 0.2, and it was fine; of
    the champion's none; of the baseline's 0.15 and 0.15, of which one was bad."""
    bad = np.array([[0.0, 1.0], [1.0, 0.0]])
    variance = np.full((2, 2), 4e-4)
    candidate = np.array([[0.1, 0.9], [0.8, 0.3]])
    baseline = np.array([[0.15, 0.15], [0.9, 0.9]])
    contest = contest_of(
        bad, variance, (candidate, np.full((2, 2), 0.5), baseline), (variance, variance / math.e, variance / 4)
    )
    found = of(measure_stretches(contest, CONFIG, None))["overall"]
    assert (found.first, found.last, found.sessions, found.rows) == (day(0), day(1), 2, 4)
    values = {name: (m.candidate, m.champion, m.baseline) for name, m in found.measures.items()}
    assert values["brier_loss"] == pytest.approx((0.0375, 0.25, (0.15**2 + 0.85**2 + 0.1**2 + 0.9**2) / 4))
    assert values["qlike"] == pytest.approx((0.0, math.e - 2, 4 - math.log(4) - 1))
    assert values["volatility_mae"] == pytest.approx((0.0, 0.02 * (1 - math.exp(-0.5)), 0.01))
    assert values["auc"] == (1.0, 0.5, 0.5)
    assert values["approval_rate"] == (0.25, 0.0, 0.5)
    assert values["bad_rate_approved"] == pytest.approx((0.0, math.nan, 0.5), nan_ok=True)
    assert found.measures["brier_loss"].over_champion.value == pytest.approx(0.0375 - 0.25)


def test_intervals_are_those_of_rows_that_were_really_repeated() -> None:
    """84 sessions in blocks of 21, a quarter: widened by Kiefer and Vogelsang's 2.72003125 over 1.96."""
    rng = np.random.default_rng(3)
    shape = (84, 3)
    probabilities = [rng.uniform(0.02, 0.98, shape).round(2) for _ in range(3)]
    variances = [rng.uniform(1, 4, shape) * 1e-4 for _ in range(3)]
    bad, variance = rng.integers(0, 2, shape).astype(float), rng.uniform(1, 4, shape) * 1e-4
    p, v = probabilities, variances
    contest = contest_of(bad, variance, (p[0], p[1], p[2]), (v[0], v[1], v[2]))
    found = of(measure_stretches(contest, CONFIG, None))["overall"]

    counts = measures.block_counts(84, block=21, replications=100, seed=CONFIG.seed)
    edges = [np.unique([part.max() for part in np.array_split(np.sort(p, axis=None), 10)[:-1]]) for p in probabilities]

    def measured(who: int, sessions: np.ndarray) -> dict[str, float]:
        b, p = bad[sessions].ravel(), probabilities[who][sessions].ravel()
        v, f = variance[sessions].ravel(), variances[who][sessions].ravel()
        bins = [(p > low) & (p <= high) for low, high in zip([-1.0, *edges[who]], [*edges[who], 2.0], strict=True)]
        return {
            "auc": roc_auc_score(b, p),
            "brier_loss": np.mean((p - b) ** 2),
            "calibration_error": sum(abs(b[i].sum() - p[i].sum()) for i in bins) / len(b),
            "qlike": np.mean(v / f - np.log(v / f) - 1),
            "volatility_mae": np.mean(np.abs(np.sqrt(v) - np.sqrt(f))),
            "approval_rate": np.mean(p < CUTOFF),
            "bad_rate_approved": np.mean(b[p < CUTOFF]),
        }

    drawn = [[measured(who, np.repeat(np.arange(84), count)) for count in counts] for who in range(3)]
    for name, m in found.measures.items():
        for rival, difference in ((1, m.over_champion), (2, m.over_baseline)):
            draws = [ours[name] - theirs[name] for ours, theirs in zip(drawn[0], drawn[rival], strict=True)]
            deviations = np.quantile(draws, [0.025, 0.975]) - difference.value
            expected = difference.value + deviations * 2.72003125 / 1.96
            assert (difference.low, difference.high) == pytest.approx(tuple(expected), rel=1e-9, abs=1e-12), name


def test_a_candidate_that_forecasts_as_the_champion_does_is_exactly_equal_to_it_everywhere() -> None:
    contest = contest_with_noise(np.zeros(120), noise(), seed=1)
    twin = replace(contest, forecasters={**contest.forecasters, "champion": contest.forecasters["candidate"]})
    stretches = measure_stretches(twin, CONFIG, (day(40), day(70)))
    for stretch in stretches:
        for name, measured in stretch.measures.items():
            difference = measured.over_champion
            assert difference.value == 0, (stretch.name, name)
            if stretch.name != "worst_month":
                assert (difference.low, difference.high) == (0, 0), (stretch.name, name)
                assert difference.verdict == ("not distinguishable" if DIRECTION[name] else None)
    assert conclude(stretches, day(0), (day(40), day(70)))[:2] == ("not distinguishable", False)


@pytest.mark.parametrize(("sessions", "at_most"), [(60, 1 / 13), (20, 1 / 6)])
def test_forecasters_that_are_equally_good_are_seldom_told_apart(sessions: int, at_most: float) -> None:
    """As often as ``MIN_SESSIONS`` says, within three standard errors of 300 contests: outcomes overlap, and blocks are
    few, so that plain percentiles would find a difference in nearly a fifth of 60 sessions, and in 29 % of 20."""
    rng = np.random.default_rng(20)
    shape, told_apart = (sessions, 2), 0
    variance, half = np.full(shape, 1e-4), np.full(shape, 0.5)
    bad = rng.integers(0, 2, shape).astype(float)
    for _ in range(300):
        ours, theirs = (variance * np.exp(moving_noise(shape, rng)) for _ in range(2))
        contest = contest_of(bad, variance, (half, half, half), (ours, theirs, variance))
        verdict = of(measure_stretches(contest, CONFIG, None))["overall"].measures["qlike"].over_champion.verdict
        told_apart += verdict in ("better", "worse")
    assert told_apart / 300 < at_most + 3 * math.sqrt(at_most * (1 - at_most) / 300)


@pytest.mark.parametrize(
    ("candidate", "champion", "expected"), [(0.1, 0.8, "better"), (0.8, 0.1, "worse")], ids=["better", "worse"]
)
def test_a_planted_difference_is_found_in_both_heads_and_in_every_stretch(
    candidate: float, champion: float, expected: str
) -> None:
    contest = contest_with_noise(np.full(120, candidate), np.full(120, champion), 2, (120, 16))
    stretches = measure_stretches(contest, CONFIG, (day(30), day(60)))
    for stretch in stretches:
        if stretch.name != "worst_month":
            for measure in ("qlike", "brier_loss", "volatility_mae"):
                assert stretch.measures[measure].over_champion.verdict == expected, (stretch.name, measure)
    verdict, only, sentences = conclude(stretches, day(0), (day(30), day(60)))
    assert (verdict, only) == (expected, False)
    assert sentences[0] == f"The candidate is {expected} than the champion on 120 sessions, {day(0)} … {day(119)}"
    assert sentences[1].startswith(f"Volatility: {expected}; QLIKE ")
    assert sentences[2].startswith(f"Bad weeks: {expected}; Brier loss ")
    assert sentences[-1].endswith(f"outside, volatility {expected}, bad weeks {expected}")


def test_a_candidate_that_wins_only_in_the_stretch_that_triggered_it_is_marked_so() -> None:
    contest = contest_with_noise(noise(slice(30, 80)), noise(), seed=3)
    trigger = (day(35), day(79))
    stretches = measure_stretches(contest, CONFIG, trigger)
    assert of(stretches)["inside_trigger"].measures["qlike"].over_champion.verdict == "better"
    assert of(stretches)["outside_trigger"].measures["qlike"].over_champion.verdict == "not distinguishable"
    _, only, sentences = conclude(stretches, day(0), trigger)
    assert only
    assert (
        f"Wins only in the stretch that triggered it, {trigger[0]} … {trigger[1]}: on the 70 sessions" in sentences[-1]
    )


def test_a_win_that_cannot_be_seen_outside_the_trigger_is_marked_as_one_that_is_not_there() -> None:
    contest = contest_with_noise(np.zeros(60), noise(sessions=60), seed=4, shape=(60, 4))
    for trigger, outside in (((day(0), day(99)), 0), ((day(20), day(99)), 15)):
        verdict, only, sentences = conclude(measure_stretches(contest, CONFIG, trigger), day(0), trigger)
        assert (verdict, only) == ("better", True)
        assert f"on the {outside} sessions outside, volatility insufficient evidence" in sentences[-1]


def test_a_candidate_that_wins_nowhere_has_no_win_to_be_marked() -> None:
    contest = contest_with_noise(noise(), noise(slice(30, 80)), seed=5)
    assert conclude(measure_stretches(contest, CONFIG, (day(35), day(79))), day(0), (day(35), day(79)))[1] is False


def test_a_session_is_inside_the_trigger_as_soon_as_its_outcome_reaches_into_it() -> None:
    contest = contest_with_noise(noise(), noise(), seed=6)
    found = of(measure_stretches(contest, CONFIG, (day(30), day(59))))
    inside, outside = found["inside_trigger"], found["outside_trigger"]
    assert (inside.first, inside.last, inside.sessions) == (day(25), day(59), 35)
    assert (outside.first, outside.last, outside.sessions) == (day(0), day(119), 85)
    assert inside.rows + outside.rows == found["overall"].rows


def test_one_head_that_is_worse_is_not_made_up_for_by_the_other() -> None:
    contest = contest_with_noise(np.zeros(120), noise(), seed=7)
    ours, theirs = contest.forecasters["candidate"], contest.forecasters["champion"]
    swapped = {
        "candidate": replace(ours, losses={**ours.losses, "qlike": theirs.losses["qlike"]}),
        "champion": replace(theirs, losses={**theirs.losses, "qlike": ours.losses["qlike"]}),
    }
    stretches = measure_stretches(replace(contest, forecasters={**contest.forecasters, **swapped}), CONFIG, None)
    verdict, _, sentences = conclude(stretches, day(0), None)
    assert verdict == "worse"
    assert sentences[1].startswith("Volatility: worse")
    assert sentences[2].startswith("Bad weeks: better")


def test_the_worst_month_is_where_the_candidate_did_worst_beside_the_champion() -> None:
    hard = noise()
    hard[50:71] = 2.0
    found = of(measure_stretches(contest_with_noise(hard, noise(), seed=8), CONFIG, None))["worst_month"]
    assert (found.first, found.last, found.sessions) == (day(50), day(70), 21)
    assert {d.verdict for m in found.measures.values() for d in (m.over_champion, m.over_baseline)} == {None}


def test_the_last_quarter_is_the_last_63_sessions() -> None:
    found = of(measure_stretches(contest_with_noise(noise(), noise(), seed=9), CONFIG, None))["last_quarter"]
    assert (found.first, found.last, found.sessions, found.rows) == (day(57), day(119), 63, 63 * 4)


def test_of_19_sessions_nothing_is_concluded_and_of_20_something_may_be() -> None:
    for sessions, expected in ((19, "insufficient evidence"), (20, "better")):
        quiet, loud = np.zeros(sessions), noise(sessions=sessions)
        stretches = measure_stretches(contest_with_noise(quiet, loud, 10, (sessions, 8)), CONFIG, None)
        verdict, _, sentences = conclude(stretches, "1999-12-31", None)
        assert verdict == expected
        assert ("19 sessions after 1999-12-31" in sentences[0]) is (sessions == 19)


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
@pytest.mark.parametrize("name", ["probability", "variance"])
def test_a_forecast_that_is_none_makes_its_stretches_unknown_and_never_better(wrong: float, name: str) -> None:
    rng = np.random.default_rng(11)
    shape = (120, 2)
    bad, variance = rng.integers(0, 2, shape).astype(float), np.full(shape, 1e-4)
    broken = {"probability": 0.1 + 0.8 * bad, "variance": variance.copy()}
    broken[name][10, 0] = wrong
    half = np.full(shape, 0.5)
    contest = contest_of(
        bad, variance, (broken["probability"], half, half), (broken["variance"], 2 * variance, 2 * variance)
    )
    stretches = measure_stretches(contest, CONFIG, None)
    found = of(stretches)
    assert "worst_month" not in found
    for measured in found["overall"].measures.values():
        assert math.isnan(measured.candidate)
        assert measured.over_champion.verdict in ("insufficient evidence", None)
    # The last quarter does not have the row: there the oracle is seen to be one.
    assert found["last_quarter"].measures["brier_loss"].over_champion.verdict == "better"
    assert conclude(stretches, day(0), None)[0] == "insufficient evidence"


def test_without_a_bad_week_auc_is_unknown_and_the_rest_is_judged() -> None:
    shape = (60, 3)
    low, high, variance = np.full(shape, 0.05), np.full(shape, 0.3), np.full(shape, 1e-4)
    contest = contest_of(np.zeros(shape), variance, (low, high, high), (variance, variance, variance))
    found = of(measure_stretches(contest, CONFIG, None))["overall"].measures
    assert math.isnan(found["auc"].candidate)
    assert found["auc"].over_champion.verdict == "insufficient evidence"
    assert found["brier_loss"].over_champion.verdict == "better"
    assert found["approval_rate"].over_champion.value == 1.0


def test_an_auc_that_hangs_on_a_single_session_has_no_interval() -> None:
    """Of 60 sessions in blocks of 15, four in a replication: some three in ten have no bad week, and no AUC."""
    shape = (60, 3)
    bad, variance = np.zeros(shape), np.full(shape, 1e-4)
    bad[5] = 1.0
    half = np.full(shape, 0.5)
    contest = contest_of(bad, variance, (0.3 + 0.4 * bad, half, half), (variance, variance, variance))
    auc = of(measure_stretches(contest, CONFIG, None))["overall"].measures["auc"]
    assert (auc.candidate, auc.champion) == (1.0, 0.5)
    assert math.isnan(auc.over_champion.low)
    assert auc.over_champion.verdict == "insufficient evidence"


def test_a_candidate_that_knows_better_is_better_by_every_measure_that_has_a_better() -> None:
    rng = np.random.default_rng(13)
    shape = (100, 4)
    bad = rng.integers(0, 2, shape).astype(float)
    seen = np.where(rng.uniform(size=shape) < 0.95, bad, 1 - bad)
    variance = rng.uniform(1, 2, shape) * 1e-4
    knowing, wrong = 0.05 + 0.9 * seen, 0.95 - 0.9 * seen
    contest = contest_of(bad, variance, (knowing, wrong, wrong), (variance, 3 * variance, 3 * variance))
    found = of(measure_stretches(contest, CONFIG, None))["overall"].measures
    for name, measured in found.items():
        expected = None if name == "approval_rate" else "better"
        assert (measured.over_champion.verdict, measured.over_baseline.verdict) == (expected, expected), name


def test_each_symbol_is_measured_on_its_own_rows() -> None:
    contest = contest_with_noise(noise(), noise(), seed=12)
    found = measure_symbols(contest)
    assert [stretch.name for stretch in found] == list(contest.symbols)
    for number, stretch in enumerate(found):
        rows = contest.symbol == number
        candidate = contest.forecasters["candidate"]
        assert stretch.rows == 120
        auc = roc_auc_score(contest.bad_week[rows], candidate.probability[rows])
        assert stretch.measures["auc"].candidate == pytest.approx(auc)
        assert stretch.measures["qlike"].candidate == pytest.approx(candidate.losses["qlike"][rows].mean())
