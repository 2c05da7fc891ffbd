"""Compute: features and scores in memory, beside the same features as a pandas user would write them.

The pandas features are compared with ours before they are timed, so that the ratio is between like and like.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks.measure import aim, interleaved, show
from benchmarks.projects import made_up_model, random_panel
from countersign.features import EMA_FAST, EMA_SLOW, EWMA_DECAY, FEATURES, LOOKBACK, compute_features
from countersign.model.scoring import FittedModel, Scores, score
from countersign.prices.panel import Panel

if TYPE_CHECKING:
    import pandas as pd

QUESTION: Final = "How long do features and scores take in memory, and what would plain pandas take?"
ROUNDS: Final = 5
_UNIVERSE: Final = 5_000
"""Symbols scored in one session."""
_TRAINING: Final = (2_500, 500)
"""Sessions and symbols of a training set: 1.25 million rows."""


def run() -> None:
    """Time one session of many symbols, and the features of a training set."""
    daily, training = random_panel(LOOKBACK, _UNIVERSE), random_panel(*_TRAINING)
    model = made_up_model(compute_features(daily))
    for title, panel, ours, limit in (
        (f"{_UNIVERSE:,} symbols, features and scores", daily, lambda: daily_scores(daily, model), 0.25),
        (f"{np.prod(_TRAINING):,} rows, features", training, lambda: compute_features(training), 0.5),
    ):
        frame = long_frame(panel)
        require_alike(panel, pandas_features(frame))
        plain = partial(pandas_features, frame)
        timings = interleaved({"Countersign": ours, "plain pandas (features only)": plain}, ROUNDS)
        show(timings, "Countersign", title)
        aim(title, timings["Countersign"].fastest, limit, " s")


def daily_scores(panel: Panel, model: FittedModel) -> Scores:
    """What a session computes: features of the panel, scores of its last row."""
    found = compute_features(panel)
    market = np.broadcast_to(found.market_variance[-1], found.ewma_variance[-1].shape)
    return score(model, found.values[:, -1], found.ewma_variance[-1], market, found.history[-1])


def long_frame(panel: Panel) -> pd.DataFrame:
    """``panel`` as one row a bar, ordered by symbol and session: what pandas' groupby and rolling work on."""
    import pandas as pd

    sessions, symbols = panel.log_return.shape
    return pd.DataFrame(
        {
            "date": np.tile(panel.sessions, symbols),
            "symbol": np.repeat(np.array(panel.symbols), sessions),
            "log_return": panel.log_return.T.ravel(),
            "variance": panel.variance.T.ravel(),
            "volume": panel.volume.T.ravel(),
        }
    )


def pandas_features(bars: pd.DataFrame) -> pd.DataFrame:
    """The features of ``FEATURES``, in plain pandas: groupby, rolling, ewm.

    Exponential averages reach back over all history here, where ours end after ``LOOKBACK`` sessions.
    """
    import pandas as pd

    symbols = bars["symbol"]

    def rolling(values: pd.Series, window: int, statistic: str) -> pd.Series:
        windows = values.groupby(symbols, sort=False).rolling(window, min_periods=1)
        return getattr(windows, statistic)().droplevel(0)

    def smoothed(values: pd.Series, alpha: float) -> pd.Series:
        return values.groupby(symbols, sort=False).ewm(alpha=alpha).mean().droplevel(0)

    r, v = bars["log_return"], bars["variance"]
    ewma = smoothed(v, 1 - EWMA_DECAY)
    volatility = np.sqrt(ewma)
    price = r.groupby(symbols, sort=False).cumsum()
    cross = smoothed(price, 2 / (EMA_FAST + 1)) - smoothed(price, 2 / (EMA_SLOW + 1))
    market = ewma.groupby(bars["date"]).transform("mean")
    return pd.DataFrame(
        {
            "log_ewma_variance": np.log(ewma),
            "log_variance_1": np.log(v / ewma),
            "log_variance_5": np.log(rolling(v, 5, "mean") / ewma),
            "log_variance_21": np.log(rolling(v, 21, "mean") / ewma),
            "log_variance_63": np.log(rolling(v, LOOKBACK, "mean") / ewma),
            "log_market_variance": np.log(market / ewma),
            "return_1": r / volatility,
            "return_5": rolling(r, 5, "sum") / (volatility * np.sqrt(5)),
            "return_21": rolling(r, 21, "sum") / (volatility * np.sqrt(21)),
            "downside_share_21": rolling(r.clip(upper=0) ** 2, 21, "sum") / rolling(r**2, 21, "sum"),
            "drawdown_63": (price - rolling(price, LOOKBACK, "max")) / volatility,
            "log_volume_ratio": np.log(bars["volume"] / rolling(bars["volume"], LOOKBACK, "median")),
            "ema_cross_12_26": cross / volatility,
            "skew_63": rolling(r, LOOKBACK, "skew"),
        }
    )


def require_alike(panel: Panel, found: pd.DataFrame) -> None:
    """Fail unless each feature of the last session correlates 0.98 or better with ours over symbols."""
    ours = compute_features(panel).values[:, -1]
    theirs = found[list(FEATURES)].to_numpy().reshape(len(panel.symbols), -1, len(FEATURES))[:, -1].T
    for name, a, b in zip(FEATURES, ours, theirs, strict=True):
        alike = float(np.corrcoef(a, b)[0, 1])
        if not alike > 0.98:
            raise AssertionError(f"{name}: plain pandas gives another feature (correlation {alike:.3f})")
