"""Comparison: the retrained procedure and the frozen champion on days that neither had seen."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import orjson
import pytest

from countersign.config import ModelConfig
from countersign.errors import ModelError
from countersign.features import FEATURES
from countersign.model.comparison import Comparison, compare
from countersign.model.scoring import FittedModel
from countersign.model.targets import HORIZON
from countersign.model.training import fit, training_rows
from countersign.prices.panel import Panel
from countersign.storage.codec import json_bytes

CONFIG = ModelConfig(bootstrap_replications=100)
TRAINED = "2008-08-29"
"""The champion's last training session: the last before autumn 2008."""


def until(panel: Panel, last: str) -> Panel:
    return panel.rows(slice(0, int(np.searchsorted(panel.sessions, np.datetime64(last), side="right"))))


@pytest.fixture(scope="module")
def champion(bundled: Panel) -> FittedModel:
    return fit(training_rows(until(bundled, TRAINED)), CONFIG)


@pytest.fixture(scope="module")
def autumn(bundled: Panel) -> Panel:
    return until(bundled, "2008-11-28")


@pytest.fixture(scope="module")
def candidate(autumn: Panel) -> FittedModel:
    return fit(training_rows(autumn), CONFIG)


@pytest.fixture(scope="module")
def comparison(autumn: Panel, candidate: FittedModel, champion: FittedModel) -> Comparison:
    return compare(
        autumn,
        CONFIG,
        candidate=candidate,
        champion=champion,
        champion_last_session=TRAINED,
        trigger=("2008-10-01", "2008-11-28"),
    )


def test_every_matured_row_after_the_champions_training_is_compared_and_no_other(
    comparison: Comparison, autumn: Panel
) -> None:
    rows = training_rows(autumn)
    after = rows.matured & (autumn.sessions[rows.session] > np.datetime64(TRAINED))
    overall = comparison.stretch("overall")
    assert overall is not None
    # The five sessions before the last one have no outcome yet.
    assert (overall.first, overall.last) == ("2008-09-02", str(autumn.sessions[-1 - HORIZON]))
    assert overall.rows == after.sum() == sum(symbol.rows for symbol in comparison.symbols)
    assert comparison.series["session"] == autumn.sessions[np.unique(rows.session[after])].astype(str).tolist()


def test_until_its_first_refit_the_candidates_procedure_is_the_champion(comparison: Comparison) -> None:
    """Both know the same then, to the last outcome: neither a session more nor a session less is purged."""
    for losses in (comparison.series["qlike"], comparison.series["brier_loss"]):
        assert losses["candidate"][:HORIZON] == losses["champion"][:HORIZON]
        assert losses["candidate"][HORIZON:] != losses["champion"][HORIZON:]


@pytest.mark.parametrize("cut", ["2008-10-03", "2008-11-07"])
def test_no_bar_after_a_session_has_reached_what_is_compared_of_outcomes_known_by_then(
    comparison: Comparison, autumn: Panel, candidate: FittedModel, champion: FittedModel, cut: str
) -> None:
    later = (autumn.sessions > np.datetime64(cut))[:, None]
    moves = np.random.default_rng(1).normal(0, 0.08, autumn.log_return.shape)
    other = replace(
        autumn,
        log_return=np.where(later & autumn.present, moves, autumn.log_return),
        variance=np.where(later & autumn.present, moves**2 + 1e-6, autumn.variance),
    )
    found = compare(other, CONFIG, candidate=candidate, champion=champion, champion_last_session=TRAINED)
    known = int(np.searchsorted(autumn.sessions[:-HORIZON], np.datetime64(cut), side="right")) - HORIZON
    known -= int(np.searchsorted(autumn.sessions, np.datetime64(TRAINED), side="right"))
    assert known > 10
    for loss in ("qlike", "brier_loss"):
        for who in ("candidate", "champion", "baseline"):
            assert found.series[loss][who][:known] == comparison.series[loss][who][:known], (loss, who)
        assert found.series[loss]["candidate"][known:] != comparison.series[loss]["candidate"][known:]


@pytest.mark.parametrize(
    ("last", "sessions", "fold", "refits"),
    [("2008-11-28", 58, 5, 12), ("2009-08-28", 246, 5, 50), ("2013-03-01", 1127, 23, 49)],
)
def test_the_candidate_is_refitted_every_horizon_and_at_most_fifty_times(
    bundled: Panel, candidate: FittedModel, champion: FittedModel, last: str, sessions: int, fold: int, refits: int
) -> None:
    panel = until(bundled, last)
    found = compare(panel, CONFIG, candidate=candidate, champion=champion, champion_last_session=TRAINED)
    assert len(found.series["session"]) == sessions
    assert (found.fold_sessions, found.refits) == (fold, refits)


def test_a_procedure_that_has_lost_its_skill_is_found_worse_and_a_champion_without_any_is_found_out(
    bundled: Panel, candidate: FittedModel, champion: FittedModel
) -> None:
    """Penalties so high that nothing is learned but the mean; a champion whose coefficients have the wrong sign."""
    year = until(bundled, "2009-08-31")
    dull = CONFIG.model_copy(update={"ridge_penalty": 1e9, "logistic_penalty": 1e9})
    backwards = replace(
        champion,
        volatility_coefficients=-champion.volatility_coefficients,
        bad_week_coefficients=-champion.bad_week_coefficients,
    )
    worse = compare(year, dull, candidate=candidate, champion=champion, champion_last_session=TRAINED)
    better = compare(year, CONFIG, candidate=candidate, champion=backwards, champion_last_session=TRAINED)
    assert worse.verdict == "worse"
    assert better.verdict == "better"
    assert better.wins_only_in_trigger is False


def test_it_says_how_often_each_was_used_and_not_the_baseline_in_its_stead(
    autumn: Panel, candidate: FittedModel, champion: FittedModel
) -> None:
    narrow = replace(champion, high=champion.low)
    found = compare(autumn, CONFIG, candidate=candidate, champion=narrow, champion_last_session=TRAINED)
    assert found.champion_model_share == 0.0
    assert found.candidate_model_share > 0.9


def test_prices_without_volumes_are_compared_and_the_feature_that_never_changes_is_no_change(autumn: Panel) -> None:
    silent = replace(autumn, volume=np.full_like(autumn.volume, np.nan))
    champion, candidate = (fit(training_rows(panel), CONFIG) for panel in (until(silent, TRAINED), silent))
    found = compare(silent, CONFIG, candidate=candidate, champion=champion, champion_last_session=TRAINED)
    assert "log_volume_ratio" not in {change.feature for change in found.training_ranges}
    changes = {change.candidate - change.champion for change in found.coefficients if "volume" in change.feature}
    assert changes == {0.0}


def test_days_too_few_to_tell_are_insufficient_evidence_and_said_to_be(
    bundled: Panel, candidate: FittedModel, champion: FittedModel
) -> None:
    for last, sessions in (("2008-08-29", 0), ("2008-09-08", 0), ("2008-09-26", 14)):
        panel = until(bundled, last)
        found = compare(panel, CONFIG, candidate=candidate, champion=champion, champion_last_session=TRAINED)
        assert found.verdict == "insufficient evidence"
        assert found.sentences == (
            f"Insufficient evidence: {sessions} sessions after 2008-08-29, the last that the champion was trained on, "
            "have a known outcome, and 20 are needed. Compare again when more have matured",
        )
        assert bool(found.stretches) is (sessions > 0)


def test_a_champion_of_other_features_is_refused_before_it_scores_the_wrong_columns(
    autumn: Panel, candidate: FittedModel, champion: FittedModel
) -> None:
    swapped = replace(champion, features=(*champion.features[1:], champion.features[0]))
    with pytest.raises(ModelError, match=r"expected a champion of the features log_ewma_variance, .* found one of"):
        compare(autumn, CONFIG, candidate=candidate, champion=swapped, champion_last_session=TRAINED)


def test_a_coefficient_is_shown_for_one_standard_deviation_and_the_most_changed_first(
    autumn: Panel, champion: FittedModel
) -> None:
    rows = training_rows(autumn)
    spread = rows.take(rows.learnable).features.std(axis=1)
    shift = np.zeros(len(FEATURES))
    shift[3], shift[7] = 0.1 / spread[3], -0.2 / spread[7]
    moved = replace(
        champion,
        bad_week_coefficients=champion.bad_week_coefficients + shift,
        low=champion.low - np.eye(len(FEATURES))[4] * spread[4],
        high=champion.high + np.eye(len(FEATURES))[5] * spread[5] * 2,
    )
    found = compare(autumn, CONFIG, candidate=moved, champion=champion, champion_last_session=TRAINED)
    names = list(FEATURES)
    first, second, *others = found.coefficients
    assert (first.head, first.feature) == ("bad_week", names[7])
    assert first.champion == pytest.approx(champion.bad_week_coefficients[7] * spread[7])
    assert first.candidate - first.champion == pytest.approx(-0.2)
    assert (second.head, second.feature) == ("bad_week", names[3])
    assert all(change.candidate == change.champion for change in others)
    assert len(others) == 2 * len(FEATURES) - 2
    assert [change.feature for change in found.training_ranges] == [names[5], names[4]]
    assert found.training_ranges[1].candidate_low == moved.low[4]


def test_a_coefficient_that_is_no_number_comes_first_and_makes_the_candidates_own_scores_impossible(
    autumn: Panel, candidate: FittedModel, champion: FittedModel
) -> None:
    broken = candidate.bad_week_coefficients.copy()
    broken[6] = math.nan
    found = compare(
        autumn,
        CONFIG,
        candidate=replace(candidate, bad_week_coefficients=broken),
        champion=champion,
        champion_last_session=TRAINED,
    )
    assert (found.coefficients[0].head, found.coefficients[0].feature) == ("bad_week", list(FEATURES)[6])
    assert found.scores_not_finite > 0
    assert found.as_dict()["coefficients"][0]["candidate"] is None


def test_the_evidence_on_file_is_canonical_json_without_a_number_that_is_none(
    comparison: Comparison, autumn: Panel, candidate: FittedModel, champion: FittedModel
) -> None:
    again = compare(
        autumn,
        CONFIG,
        candidate=candidate,
        champion=champion,
        champion_last_session=TRAINED,
        trigger=("2008-10-01", "2008-11-28"),
    )
    stored = comparison.as_dict()
    assert json_bytes(again.as_dict()) == json_bytes(stored)
    assert orjson.loads(json_bytes(stored)) == json.loads(json.dumps(stored, allow_nan=False))
    names = [stretch["name"] for stretch in stored["stretches"]]
    assert names == ["overall", "last_quarter", "inside_trigger", "outside_trigger", "worst_month"]
    # Too few sessions lie outside the trigger for an interval: it is null, and so is no interval of zero width.
    outside = stored["stretches"][3]["measures"]["qlike"]["over_champion"]
    assert (outside["low"], outside["high"], outside["verdict"]) == (None, None, "insufficient evidence")
    assert isinstance(outside["value"], float)
