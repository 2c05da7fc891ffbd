"""Tables: the columns of every table that the pipeline writes, with meaning, unit and type.

Belongs here: the schemas of tables, one source for files, Dagster's column schema and the docs. Does not belong
here: rules about values (``clean``), how a table is written (``artifacts``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from countersign.features import FEATURES

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

Kind = Literal["date", "string", "number", "integer"]


@dataclass(frozen=True)
class Column:
    """One column of a table. ``unit`` is empty where the number has none."""

    name: str
    kind: Kind
    unit: str
    description: str
    nullable: bool = False


DATE: Final = Column("date", "date", "", "The session: a trading day's date at the exchange")
SYMBOL: Final = Column("symbol", "string", "", "Ticker in its one form: in capitals, BRK.B")

SOURCE_COLUMNS: Final = (
    DATE,
    SYMBOL,
    Column("open", "number", "price", "First price of the session, as quoted that day", nullable=True),
    Column("high", "number", "price", "Highest price of the session", nullable=True),
    Column("low", "number", "price", "Lowest price of the session", nullable=True),
    Column("close", "number", "price", "Last price of the session", nullable=True),
    Column("adj_close", "number", "price", "Close adjusted for later splits and dividends", nullable=True),
    Column("volume", "number", "shares", "Units traded", nullable=True),
)
"""What a source is asked for; ``adj_close`` and ``volume`` may be missing as columns, the others may not."""

PRICES_RAW: Final = (
    *SOURCE_COLUMNS,
    Column("prev_close", "number", "price", "Close one session before, from the same reply", nullable=True),
    Column("prev_adj_close", "number", "price", "Adjusted close one session before, same reply", nullable=True),
    Column("unreadable", "string", "", "Cells that are no number, as the source spelled them", nullable=True),
)

PRICES_CLEAN: Final = (
    DATE,
    SYMBOL,
    *(Column(c.name, c.kind, c.unit, c.description, c.name != "close") for c in SOURCE_COLUMNS[2:]),
    Column("log_return", "number", "log return", "Total return since the session before, as a log", nullable=True),
    Column(
        "daily_variance",
        "number",
        "squared log return",
        "Overnight gap squared + Garman-Klass variance; the squared return where a close is all there is",
        nullable=True,
    ),
)

PRICES_REJECTED: Final = (
    Column("row", "integer", "", "Row in prices_raw, from 0"),
    Column("date", "string", "", "Date as the source gave it", nullable=True),
    Column("symbol", "string", "", "Ticker as the source gave it", nullable=True),
    Column("rule", "string", "", "The rule that set the row aside"),
    Column("reason", "string", "", "What was found, and what is allowed"),
    Column("sha256", "string", "", "Digest of all that the row says, by which it is released"),
)

RESTATEMENTS: Final = (
    DATE,
    SYMBOL,
    Column("field", "string", "", "The column of prices_raw that the source has changed"),
    Column("old", "number", "the field's", "What was stored before; null where it was no number", nullable=True),
    Column("new", "number", "the field's", "What the source says now; null where it is no number", nullable=True),
    Column("version", "string", "", "Digest of the prices_raw that said the old value, kept beside it"),
)

FEATURE_TABLE: Final = (
    DATE,
    SYMBOL,
    Column("history_sessions", "integer", "sessions", "Sessions with a return among the last 63"),
    Column("ewma_variance", "number", "squared log return", "The baseline's variance a day", nullable=True),
    Column("market_variance", "number", "squared log return", "EWMA variance averaged over symbols", nullable=True),
    *(Column(name, "number", "", meaning, nullable=True) for name, meaning in FEATURES.items()),
)

SCORES: Final = (
    DATE,
    SYMBOL,
    Column("volatility_forecast", "number", "log return a day", "Daily volatility over the next 5 sessions"),
    Column("baseline_volatility", "number", "log return a day", "The same from the EWMA alone"),
    Column("bad_week_probability", "number", "probability", "That one of the next 5 sessions closes 3 % or more down"),
    Column("baseline_probability", "number", "probability", "The same from the EWMA alone"),
    Column("decision", "string", "", "approve where bad_week_probability is below the cutoff, else hold"),
    Column("volatility_by", "string", "", "model, or baseline where the model must not be used"),
    Column("probability_by", "string", "", "model, or baseline where the model must not be used"),
    Column("fallback_reason", "string", "", "Why the baseline was used", nullable=True),
    Column("history_sessions", "integer", "sessions", "Sessions with a return among the last 63"),
)


OUTCOMES: Final = (
    DATE,
    Column("scored", "date", "", "The session whose scores these are: a horizon before"),
    SYMBOL,
    *(c for c in SCORES if c.name not in {"date", "symbol", "history_sessions"}),
    Column("came_volatility", "number", "log return a day", "Daily volatility over the horizon", nullable=True),
    Column("bad_week", "number", "", "1 where a session of the horizon closed 3 % or more down, else 0", nullable=True),
)

DRIFT: Final = (
    DATE,
    Column("subject", "string", "", "The feature, score or target"),
    Column("status", "string", "", "pass, fail where it has drifted, insufficient where that cannot be said"),
    Column("psi", "number", "", "Population stability index against the training data", nullable=True),
    Column("p_value", "number", "probability", "Chance of such an index without drift, adjusted", nullable=True),
    Column("sessions_in_a_row", "integer", "sessions", "With effect and significance, up to the threshold"),
    Column("observations", "integer", "rows", "Rows of the window"),
    Column("sentence", "string", "", "The same in words"),
)

METRICS: Final = (
    DATE,
    Column("layer", "string", "", "data, drift, model, system or business"),
    Column("measure", "string", "", "What was measured"),
    Column("status", "string", "", "pass, fail, or insufficient: too little to judge by"),
    Column("value", "number", "the measure's", "What was found", nullable=True),
    Column("threshold", "number", "the measure's", "What it was judged by", nullable=True),
    Column("reference", "number", "the measure's", "What it is compared with: baseline or validation", nullable=True),
    Column("observations", "integer", "", "Rows, runs or sessions behind it"),
    Column("sentence", "string", "", "The same in words"),
)


def empty_table(columns: tuple[Column, ...]) -> pd.DataFrame:
    """A table without rows that has the columns' types."""
    return conform({column.name: [] for column in columns}, columns)


def conform(table: Mapping[str, Any] | pd.DataFrame, columns: tuple[Column, ...]) -> pd.DataFrame:
    """``table`` with exactly these columns, in order and typed (dates as datetime64[s], numbers as float64).

    Raises ``ValueError`` where an integer is missing.

    >>> conform({"symbol": ["A"], "date": ["2008-09-15"]}, (DATE, SYMBOL)).dtypes.astype(str).to_dict()
    {'date': 'datetime64[s]', 'symbol': 'str'}
    """
    import numpy as np
    import pandas as pd

    def typed(values: Any, kind: Kind) -> Any:
        # Several times as fast as DataFrame.astype, which is felt where 63 small tables are read.
        match kind:
            case "date":
                return np.asarray(values, dtype="datetime64[s]")
            case "number":
                return np.asarray(values, dtype="float64")
            case "integer":
                return pd.array(values, dtype="int64")
        return pd.array(values, dtype="str")

    return pd.DataFrame({c.name: typed(table[c.name], c.kind) for c in columns})


def matrices(tables: Sequence[pd.DataFrame], names: Sequence[str]) -> list[np.ndarray]:
    """Columns of one table a session as matrices (sessions, symbols), NaN where a symbol has no row."""
    import numpy as np

    symbols = sorted({symbol for table in tables for symbol in table["symbol"]})
    column = {symbol: number for number, symbol in enumerate(symbols)}
    places = [np.array([column[symbol] for symbol in table["symbol"]], dtype=int) for table in tables]
    found = []
    for name in names:
        matrix = np.full((len(tables), len(symbols)), np.nan)
        for row, (table, place) in enumerate(zip(tables, places, strict=True)):
            matrix[row, place] = table[name].to_numpy(dtype=float)
        found.append(matrix)
    return found
