"""Requests: what ``POST /predict`` takes, read strictly from its bytes.

Belongs here: fields, types and bounds. Does not belong here: whether a symbol or a session is known (``predictor``).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, Final, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    create_model,
    model_validator,
)

from countersign.features import FEATURES, LOOKBACK
from countersign.prices.rules import PRICE_LIMITS, SYMBOL_LENGTH
from countersign.serving.problems import of_validation, unprocessable

MAX_ROWS: Final = 10_000
"""Most items, rows of features, or bars in one request."""
MAX_FEATURE: Final = 1e6
"""Largest size of a feature: all are logarithms, ratios or multiples of a volatility."""
MAX_VARIANCE: Final = 1e4
"""Largest variance a day: beyond that of any two prices."""
MAX_VOLUME: Final = 1e18

Symbol = Annotated[
    str, Field(min_length=1, max_length=SYMBOL_LENGTH, description="In its one form: in capitals, BRK.B")
]
Day = Annotated[
    str,
    Field(
        pattern=r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$",
        description="A session: a trading day's date at the exchange",
    ),
]
Price = Annotated[float, Field(ge=PRICE_LIMITS[0], le=PRICE_LIMITS[1])]
Variance = Annotated[float, Field(ge=0, le=MAX_VARIANCE)]


class Strict(BaseModel):
    """No unknown field, no other type, no NaN and no infinity."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, hide_input_in_errors=True, defer_build=False
    )


class Item(Strict):
    """A symbol whose features are in the artifacts."""

    symbol: Symbol
    session: Day = Field(default="", description="Default: the newest session that has features")


def _whole(value: object) -> object:
    """JSON has one kind of number: 63.0 is the integer 63, and tables of floats are sent like that."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


class _Row(Strict):
    """Raw features of one row, as ``features.json`` has them beside its ``date``."""

    symbol: Symbol = Field(default="", description="Comes back with the answer; nothing is looked up by it")
    history_sessions: Annotated[
        int,
        Field(ge=0, le=LOOKBACK, description=f"Sessions with a return among the last {LOOKBACK}"),
        BeforeValidator(_whole),
    ]
    ewma_variance: Annotated[Variance | None, Field(description="The baseline's variance a day; null: the market's")]
    market_variance: Annotated[Variance, Field(description="EWMA variance averaged over symbols")]


_FEATURE_FIELDS: Final[dict[str, Any]] = {
    name: (
        Annotated[float, Field(ge=-MAX_FEATURE, le=MAX_FEATURE)] | None,
        Field(description=f"{meaning}; null where it cannot be computed"),
    )
    for name, meaning in FEATURES.items()
}
Row = create_model("Row", __base__=_Row, __doc__=_Row.__doc__, **_FEATURE_FIELDS)


class Bar(Strict):
    """One session of one symbol, as quoted that day. Open, high and low may be left out together, of all bars."""

    date: Day
    close: Price
    open: Price | None = None
    high: Price | None = None
    low: Price | None = None
    adj_close: Price | None = None
    volume: Annotated[float, Field(ge=0, le=MAX_VOLUME)] | None = None


_FEATURES: Final = {
    "history_sessions": 63,
    "ewma_variance": 0.00271,
    "market_variance": 0.00147,
    "log_ewma_variance": -5.91,
    "log_variance_1": 0.0868,
    "log_variance_5": 0.521,
    "log_variance_21": 0.0788,
    "log_variance_63": -0.574,
    "log_market_variance": -0.611,
    "return_1": 1.47,
    "return_5": -0.942,
    "return_21": -1.67,
    "downside_share_21": 0.843,
    "drawdown_63": -8.78,
    "log_volume_ratio": 0.685,
    "ema_cross_12_26": -1.71,
    "skew_63": -1.91,
}
"""Of AAPL on 2008-09-30 of the bundled prices, to three digits."""


def examples(symbols: Sequence[str], session: str) -> dict[str, Any]:
    """Requests that the description shows, by what they ask about: some of ``symbols``, which ``session`` has."""
    return {
        "a session": {"items": [{"symbol": symbols[0], "session": session}]},
        "the newest session": {"items": [{"symbol": symbol} for symbol in symbols[:2]]},
        "features": {"features": [{"symbol": symbols[0], **_FEATURES}]},
    }


class Predict(Strict):
    """Exactly one of ``items``, ``features`` and ``bars``."""

    model_config = ConfigDict(
        title="Predict",
        json_schema_extra={"oneOf": [{"required": [name]} for name in ("items", "features", "bars")]},
    )

    items: Annotated[list[Item], Field(min_length=1, max_length=MAX_ROWS)] = Field(default_factory=list)
    features: Annotated[list[Row], Field(min_length=1, max_length=MAX_ROWS)] = Field(  # type: ignore[valid-type]
        default_factory=list
    )
    bars: Annotated[
        dict[Symbol, Annotated[list[Bar], Field(min_length=1, max_length=MAX_ROWS)]], Field(min_length=1)
    ] = Field(
        default_factory=dict,
        description=f"By symbol. The newest session is scored; {LOOKBACK + 1} sessions are all that is looked at. "
        f"At most {MAX_ROWS:,} bars in all. The market's variance is that of the symbols that are sent",
    )

    @model_validator(mode="after")
    def _one_of_three(self) -> Self:
        given = [name for name in ("items", "features", "bars") if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(f"expected exactly one of items, features and bars, found {' and '.join(given) or 'none'}")
        if sum(map(len, self.bars.values())) > MAX_ROWS:
            raise ValueError(f"bars: expected at most {MAX_ROWS:,} bars in all, found more")
        return self


_PREDICT: Final = TypeAdapter(Predict)


def parse(body: bytes) -> Predict:
    """The request in ``body``. Raises ``Problem`` that names each field that cannot be used."""
    try:
        asked = _PREDICT.validate_json(body)
    except ValidationError as error:
        raise of_validation(error) from None
    # A name that comes twice is not seen by pydantic, which takes the last one; it leaves a colon too many.
    if body.count(b":") != _count_names(asked):
        _require_names_once(body)
    return asked


def _count_names(asked: Predict) -> int:
    rows = asked.items or asked.features or [bar for bars in asked.bars.values() for bar in bars]
    return 1 + len(asked.bars) + sum([len(row.model_fields_set) for row in rows])


def _require_names_once(body: bytes) -> None:
    """Raise ``Problem`` where an object has a name twice. A symbol may have a colon, too."""

    def require_once(pairs: list[tuple[str, Any]]) -> None:
        names = set[str]()
        for name, _ in pairs:
            if name in names:
                raise unprocessable(name, "expected once, found twice in one object")
            names.add(name)

    # Numbers stay text: what is overwritten later was not looked at, and may be any.
    json.loads(body, object_pairs_hook=require_once, parse_int=str, parse_float=str)
