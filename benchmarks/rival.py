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
    from evidently import DataDefinition, Dataset, Report  # type: ignore[import-not-found]  # in its own environment
    from evidently.metrics import ValueDrift  # type: ignore[import-not-found]  # in its own environment

    definition = DataDefinition(numerical_columns=list(reference))
    tables = [Dataset.from_pandas(table, data_definition=definition) for table in (current, reference)]
    return {"both": lambda: Report([ValueDrift(column=name, method="psi") for name in reference]).run(*tables)}


def nannyml(reference: Any, current: Any) -> Work:
    """NannyML's univariate drift by its default method, the current table being one chunk. It has no PSI."""
    from nannyml import UnivariateDriftCalculator  # type: ignore[import-not-found]  # in its own environment

    def fitted() -> Any:
        calculator = UnivariateDriftCalculator(
            column_names=list(reference), continuous_methods=["jensen_shannon"], chunk_size=len(current)
        )
        return calculator.fit(reference)

    frozen = fitted()
    return {"both": lambda: fitted().calculate(current), "current": lambda: frozen.calculate(current)}


def pandera(clean: Any, dirty: Any, sessions: Any) -> Work:
    """Pandera's lazy validation of each rule that looks at a row alone, which has the closes of the session before."""
    import numpy as np
    from pandera.errors import SchemaErrors  # type: ignore[import-not-found]  # in its own environment
    from pandera.pandas import Check, Column, DataFrameSchema  # type: ignore[import-not-found]  # in its own environment

    price = [Check.gt(0), Check.le(1e12)]
    slack, wick = 1e-6, np.exp(0.6)

    def one_unit(t: Any) -> Any:
        return ~(abs(abs(np.log(t["adj_close"] / t["prev_adj_close"])) - np.log(100)) <= 0.25)

    def step(t: Any) -> Any:
        return t["adj_close"] / t["close"] * (t["prev_close"] / t["prev_adj_close"])

    def no_split(t: Any) -> Any:
        jump = abs(np.log(t["open"] / t["prev_close"]))
        nearest = np.clip(np.rint(np.exp(jump)), 2, 10)
        return ~((abs(jump - np.log(nearest)) <= 0.03) & (abs(np.log(step(t))) <= 0.03))

    def usual_step(t: Any) -> Any:
        split = (abs(np.log(step(t))) > np.log(1.1)) & (
            abs(np.log(t["adj_close"] / t["prev_adj_close"])) < -np.log(0.75)
        )
        return ~((step(t) < 0.995) | (step(t) > 1 / 0.75)) | split

    schema = DataFrameSchema(
        {
            "date": Column(str, Check.isin([str(day) for day in sessions]), nullable=False),
            "symbol": Column(str, Check.str_matches(r"^[^\x00-\x1f\x7f]{1,24}$"), nullable=False),
            **{name: Column(float, price, nullable=False) for name in ("open", "high", "low", "close")},
            "adj_close": Column(float, price, nullable=True),
            "volume": Column(float, Check.ge(0), nullable=True),
        },
        checks=[
            Check(lambda t: t["unreadable"].isna()),
            Check(lambda t: t["high"] >= np.maximum(t["open"], t["close"]) * (1 - slack)),
            Check(lambda t: t["low"] <= np.minimum(t["open"], t["close"]) * (1 + slack)),
            Check(lambda t: np.minimum(t["open"], t["close"]) <= wick * t["low"]),
            Check(lambda t: t["high"] <= wick * np.maximum(t["open"], t["close"])),
            Check(one_unit),
            Check(no_split),
            Check(usual_step),
            Check(lambda t: t["volume"] != 0),
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
        clean, dirty = (pd.read_parquet(Path(folder) / f"{table}.parquet") for table in ("clean", "dirty"))
        work = pandera(clean, dirty, np.load(Path(folder) / "sessions.npy"))
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
