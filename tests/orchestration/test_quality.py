"""Rules on prices in Dagster: each a check with what it found, and restatements that a run is told of."""

from __future__ import annotations

from collections.abc import Callable

import dagster as dg
import pandas as pd

from countersign.quality import ON_BARS
from tests.orchestration.conftest import Pipeline

FIRST, SECOND = "2008-09-02", "2008-09-03"


def rewrite(pipeline: Pipeline, session: str, change: Callable[[float], float], column: str) -> None:
    """Have the source say something else of IBM's bar of ``session``."""
    path = pipeline.home / "data" / "sample" / "prices.csv.gz"
    prices = pd.read_csv(path, dtype=str)
    bar = (prices["symbol"] == "IBM") & (prices["date"] == session)
    prices.loc[bar, column] = str(change(float(prices.loc[bar, column].item())))
    prices.to_csv(path, index=False)


def verdicts(run: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {e.check_name: e for e in run.get_asset_check_evaluations()}


def test_a_bad_bar_is_shown_by_the_check_of_its_rule_with_the_row_and_why_the_rule_is_there(
    pipeline: Pipeline,
) -> None:
    rewrite(pipeline, FIRST, lambda high: 2 * high, "high")
    run = pipeline.run(FIRST, assets=["prices_raw", "prices_clean"])
    assert run.success
    found = verdicts(run)
    wick = found["wick"]
    assert (wick.passed, wick.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert wick.metadata["value"].value == 1
    assert "bad ticks ran from 0.68" in str(wick.metadata["reason"].value)
    examples = wick.metadata["examples"]
    assert isinstance(examples, dg.TableMetadataValue)
    assert [(row.data["symbol"], row.data["date"]) for row in examples.records] == [("IBM", FIRST)]
    assert {name for name in ON_BARS if not found[name].passed} == {"wick"}


def test_a_restated_close_is_a_warning_that_names_the_sessions_made_from_the_old_one(pipeline: Pipeline) -> None:
    assert pipeline.run(FIRST, SECOND).success
    rewrite(pipeline, FIRST, lambda close: 0.99 * close, "close")
    found = verdicts(pipeline.run(FIRST, assets=["prices_raw"]))["restated"]
    assert (found.passed, found.severity, found.blocking) == (False, dg.AssetCheckSeverity.WARN, False)
    assert f"Made from it: {SECOND}. " in str(found.description)
    assert found.metadata["sessions"].value == 1
