"""No look-ahead: whatever happens to bars after a session, nothing that was said as of that session changes."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countersign.config import ModelConfig
from countersign.features import FeatureMatrix, compute_features
from countersign.model.evaluation import Forecasts, walk_forward
from countersign.model.scoring import FittedModel, Scores, score
from countersign.model.targets import HORIZON
from countersign.model.training import fit, training_rows
from countersign.prices.clean import clean_bars
from countersign.prices.ingest import with_previous
from countersign.prices.panel import Panel
from countersign.prices.sources.files import FileSource
from tests.shipped import QUALITY

CONFIG = ModelConfig(min_training_sessions=504, fold_sessions=126)
SYMBOLS = ("AAPL", "FB", "GOOG", "IBM", "MSFT", "NEW")
NUMBERS = ("open", "high", "low", "close", "adj_close", "volume")


@pytest.fixture(scope="module")
def reply(root: Path) -> pd.DataFrame:
    """Every bundled bar, as the source gives it."""
    return FileSource("data/sample/prices.csv.gz", root).read("2000-03-01", "2013-03-01")


@pytest.fixture(scope="module")
def sessions(reply: pd.DataFrame) -> np.ndarray:
    """The sessions of the bundled prices, and ten more on which bars may still arrive."""
    known = np.unique(reply["date"].to_numpy().astype("datetime64[D]"))
    return np.concatenate([known, np.busday_offset(known[-1], np.arange(1, 11))])


@pytest.fixture(scope="module")
def panel(reply: pd.DataFrame, sessions: np.ndarray) -> Panel:
    return panel_of(reply, sessions)


@pytest.fixture(scope="module")
def features(panel: Panel) -> FeatureMatrix:
    return compute_features(panel)


@pytest.fixture(scope="module")
def model(panel: Panel) -> FittedModel:
    return fit(training_rows(panel.rows(slice(0, 1500))), CONFIG)


def panel_of(reply: pd.DataFrame, sessions: np.ndarray) -> Panel:
    return Panel.from_bars(clean_bars(with_previous(reply, sessions), sessions, QUALITY).bars, sessions)


def scores_of(model: FittedModel, panel: Panel, matrix: FeatureMatrix, row: int) -> dict[str, tuple[object, ...]]:
    """Everything that is said of each symbol as of one session."""
    there = np.flatnonzero(panel.present[row])
    market = np.full(len(there), matrix.market_variance[row])
    found = score(
        model, matrix.values[:, row, there], matrix.ewma_variance[row, there], market, matrix.history[row, there]
    )
    return {
        panel.symbols[column]: tuple(getattr(found, field.name)[place] for field in fields(Scores))
        for place, column in enumerate(there)
    }


factors = st.one_of(st.just(0.0), st.floats(0.01, 100))
tamperings = st.lists(
    st.one_of(
        st.tuples(st.just("change"), st.integers(0, 10**6), st.sampled_from(NUMBERS), factors),
        st.tuples(st.just("remove"), st.integers(0, 10**6), st.integers(1, 400)),
        st.tuples(st.just("delist"), st.sampled_from(SYMBOLS)),
        st.tuples(st.just("truncate"), st.integers(0, 400)),
        st.tuples(st.just("add"), st.integers(0, 10**6), st.sampled_from(SYMBOLS), st.floats(0.01, 1000)),
    ),
    min_size=1,
    max_size=6,
)


def tampered(reply: pd.DataFrame, sessions: np.ndarray, place: int, changes: list[tuple[object, ...]]) -> pd.DataFrame:
    """``reply`` after ``changes``, all of them to bars later than session number ``place``."""
    day = reply["date"].to_numpy().astype("datetime64[D]")
    past, later = reply[day <= sessions[place]], reply[day > sessions[place]]
    for change in changes:
        match change:
            case ("change", int(bar), str(name), float(factor)) if len(later):
                row = later.index[bar % len(later)]
                later = later.assign(**{name: later[name].where(later.index != row, later[name] * factor)})
            case ("remove", int(bar), int(count)) if len(later):
                first = bar % len(later)
                later = later.drop(later.index[first : first + count])
            case ("delist", str(symbol)):
                later = later[later["symbol"] != symbol]
            case ("truncate", int(kept)):
                later = later.head(kept)
            case ("add", int(number), str(symbol), float(price)):
                date = str(sessions[place + 1 + number % (len(sessions) - place - 1)])
                bar_of = past.tail(1).assign(date=date, symbol=symbol, **dict.fromkeys(NUMBERS, price))
                later = pd.concat([later, bar_of], ignore_index=True)
    return pd.concat([past, later], ignore_index=True)


@settings(deadline=None, max_examples=50, derandomize=True)
@given(place=st.integers(1, 3269), changes=tamperings)
def test_features_and_scores_of_a_session_are_the_same_to_the_last_bit_whatever_happens_to_later_bars(
    reply: pd.DataFrame,
    sessions: np.ndarray,
    panel: Panel,
    features: FeatureMatrix,
    model: FittedModel,
    place: int,
    changes: list[tuple[object, ...]],
) -> None:
    other = panel_of(tampered(reply, sessions, place, changes), sessions)
    found = compute_features(other)
    until = slice(0, place + 1)
    known = [symbol for symbol in panel.symbols if symbol in other.symbols]
    # A symbol that is gone altogether had no bar by then; one that is new has none yet.
    assert other.present[until].sum() == panel.present[until].sum()
    ours, theirs = ([p.symbols.index(symbol) for symbol in known] for p in (panel, other))
    np.testing.assert_array_equal(found.values[:, until][:, :, theirs], features.values[:, until][:, :, ours])
    np.testing.assert_array_equal(found.ewma_variance[until][:, theirs], features.ewma_variance[until][:, ours])
    np.testing.assert_array_equal(found.market_variance[until], features.market_variance[until])
    np.testing.assert_array_equal(found.history[until][:, theirs], features.history[until][:, ours])
    assert scores_of(model, other, found, place) == scores_of(model, panel, features, place)


@pytest.mark.parametrize("name", ["close", "volume"])
def test_a_change_to_the_sessions_own_bar_does_change_its_features(
    reply: pd.DataFrame, sessions: np.ndarray, features: FeatureMatrix, name: str
) -> None:
    """What the test above could not tell apart if features did not read the bars at all."""
    place = 2000
    own = (reply["date"] == str(sessions[place])) & (reply["symbol"] == "IBM")
    raised = reply.assign(**{name: reply[name].where(~own, reply[name] * 1.001)})
    found = compute_features(panel_of(raised, sessions))
    assert (found.values[:, place] != features.values[:, place]).any()


def forecasts_until(found: Forecasts, last: int) -> dict[tuple[int, int], tuple[float, ...]]:
    """Forecasts by (session, symbol) of the sessions up to ``last``."""
    session = found.session + found.first
    names = ("probability", "baseline_probability", "naive_probability", "model_variance", "naive_variance", "approved")
    return {
        (int(session[row]), int(found.symbol[row])): tuple(float(getattr(found, name)[row]) for name in names)
        for row in np.flatnonzero(session <= last)
    }


@settings(deadline=None, max_examples=15, derandomize=True)
@given(cut=st.integers(505, 1290), seed=st.integers(0, 2**32 - 1), what=st.sampled_from(["removed", "changed"]))
def test_no_bar_after_a_session_has_reached_its_walk_forward_forecast(
    panel: Panel, cut: int, seed: int, what: Literal["removed", "changed"]
) -> None:
    """Features, outcomes and the models of all folds are made anew from other bars after ``cut``."""
    whole = panel.rows(slice(0, 1300))
    if what == "removed":
        # Five bars more: a forecast is listed once its outcome has matured.
        other = whole.rows(slice(0, cut + 1 + HORIZON))
    else:
        later = np.arange(len(whole.sessions))[:, None] > cut
        moves = np.random.default_rng(seed).normal(0, 0.08, whole.log_return.shape)
        other = replace(
            whole,
            log_return=np.where(later, moves, whole.log_return),
            variance=np.where(later, moves**2 + 1e-6, whole.variance),
            volume=np.where(later, 1.0, whole.volume),
        )
    honest = forecasts_until(walk_forward(training_rows(whole), CONFIG), cut)
    found = forecasts_until(walk_forward(training_rows(other), CONFIG), cut)
    assert len(honest) > 0
    assert found == honest
