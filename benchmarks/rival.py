"""Rival: the work of another library, in an environment of its own, for ``benchmarks.psi`` and ``benchmarks.quality``.

Run there as a script, so it imports nothing of this checkout: ``python rival.py NAME FOLDER`` loads the folder's
tables, says "ready", then does the work that each line of its input names, and answers "done".
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

Work = dict[str, Callable[[], object]]


def evidently(reference: Any, current: Any) -> Work:
    """Evidently's report of PSI. It knows no frozen reference: each report bins both tables."""
    from evidently import DataDefinition, Dataset, Report  # type: ignore[import-not-found]
    from evidently.metrics import ValueDrift  # type: ignore[import-not-found]

    definition = DataDefinition(numerical_columns=list(reference))
    tables = [Dataset.from_pandas(table, data_definition=definition) for table in (current, reference)]
    return {"both": lambda: Report([ValueDrift(column=name, method="psi") for name in reference]).run(*tables)}


def nannyml(reference: Any, current: Any) -> Work:
    """NannyML's univariate drift by its default method, the current table being one chunk. It has no PSI."""
    from nannyml import UnivariateDriftCalculator  # type: ignore[import-not-found]

    def fitted() -> Any:
        calculator = UnivariateDriftCalculator(
            column_names=list(reference), continuous_methods=["jensen_shannon"], chunk_size=len(current)
        )
        return calculator.fit(reference)

    frozen = fitted()
    return {"both": lambda: fitted().calculate(current), "current": lambda: frozen.calculate(current)}


def pandera(clean: Any, dirty: Any) -> Work:
    """Pandera's lazy validation of what it can say of bars: types, signs, the order of prices, wicks, one row a key."""
    import numpy as np
    from pandera.errors import SchemaErrors  # type: ignore[import-not-found]
    from pandera.pandas import Check, Column, DataFrameSchema  # type: ignore[import-not-found]

    price = [Check.gt(0), Check.le(1e12)]
    slack, wick = 1e-6, np.exp(0.6)
    schema = DataFrameSchema(
        {
            "date": Column(str, nullable=False),
            "symbol": Column(str, Check.str_length(1, 24), nullable=False),
            **{name: Column(float, price, nullable=False) for name in ("open", "high", "low", "close")},
            "adj_close": Column(float, price, nullable=True),
            "volume": Column(float, Check.ge(0), nullable=True),
        },
        checks=[
            Check(lambda t: t["high"] >= np.maximum(t["open"], t["close"]) * (1 - slack)),
            Check(lambda t: t["low"] <= np.minimum(t["open"], t["close"]) * (1 + slack)),
            Check(lambda t: np.minimum(t["open"], t["close"]) <= wick * t["low"]),
            Check(lambda t: t["high"] <= wick * np.maximum(t["open"], t["close"])),
        ],
        unique=["date", "symbol"],
    )

    def judge(bars: Any) -> None:
        with suppress(SchemaErrors):
            schema.validate(bars, lazy=True)

    return {"clean": lambda: judge(clean), "dirty": lambda: judge(dirty)}


def main(name: str, folder: str) -> None:
    """Answer on the output that the process was started with; what the library prints goes to its errors."""
    import numpy as np
    import pandas as pd

    answers, sys.stdout = sys.stdout, sys.stderr
    warnings.simplefilter("ignore")
    os.environ |= {"ITERATIVE_DO_NOT_TRACK": "1", "NML_DISABLE_USAGE_LOGGING": "1"}
    if name == "pandera":
        work = pandera(*(pd.read_parquet(Path(folder) / f"{table}.parquet") for table in ("clean", "dirty")))
    else:
        tables = (
            pd.DataFrame({f"x{row}": values for row, values in enumerate(np.load(Path(folder) / f"{table}.npy"))})
            for table in ("reference", "current")
        )
        work = {"evidently": evidently, "nannyml": nannyml}[name](*tables)
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        work[line.strip()]()
        print("done", file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
