"""Projects: the project folders that benchmarks work on, made in a temporary folder.

Belongs here: the bundled prices, made-up prices of any size, and running sessions. Does not belong here: timing.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import yaml

from benchmarks.measure import ROOT, run_process, tool
from countersign.features import FEATURES, FeatureMatrix
from countersign.model.scoring import FittedModel
from countersign.monitoring.latency import no_runs
from countersign.prices.clean import clean_bars
from countersign.prices.ingest import with_previous
from countersign.prices.panel import Panel
from countersign.project import Project, open_project
from countersign.quality import load_quality
from countersign.steps import metrics, model, monitoring, prices, reports, scoring
from countersign.steps.made import Made

if TYPE_CHECKING:
    import pandas as pd

NOW: Final = datetime(2013, 3, 4, 12, tzinfo=UTC)
"""A moment after every session that benchmarks run."""

BUNDLED_FIRST: Final = "2000-03-01"
BUNDLED_LAST: Final = "2013-03-01"
"""First and last session of the bundled prices."""


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder for one benchmark, gone when it ends."""
    with TemporaryDirectory(prefix="countersign-bench-") as folder:
        yield Path(folder)


def bundled_project(folder: Path, settings: Mapping[str, Any] | None = None) -> Project:
    """The bundled prices: history loaded, first model in service. ``settings`` replace those that are shipped."""
    for name in ("config", "data"):
        shutil.copytree(ROOT / name, folder / name)
    path = folder / "config" / "pipeline.yaml"
    shipped = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump(shipped | dict(settings or {})), encoding="utf-8")
    project = open_project(folder, NOW.date())
    prices.load_history(project, NOW)
    model.train_first_model(project, NOW)
    return project


def dagster_home(folder: Path) -> Path:
    """An empty Dagster instance with the shipped settings."""
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "config" / "dagster.yaml", folder / "dagster.yaml")
    return folder


def materialize(home: Path, dagster: Path, *options: str, module: str = "definitions", folder: Path = ROOT) -> None:
    """Run the daily assets of the project in ``home`` from a shell, with ``options`` that name the partitions.

    ``dagster`` is the instance's folder; ``module``, found from ``folder``, holds the definitions.
    """
    run_process(
        [tool("dagster"), "asset", "materialize", "-m", module, "--select", "key:prices_raw+ and tag:daily", *options],
        folder,
        DAGSTER_HOME=str(dagster),
        COUNTERSIGN_HOME=str(home),
    )


def make_sessions(project: Project, sessions: Sequence[str]) -> None:
    """The artifacts of ``sessions``, by the steps alone, without Dagster."""
    finish(
        prices.ingest_sessions(project, sessions, NOW),
        prices.clean_sessions(project, sessions),
        scoring.feature_sessions(project, sessions),
        scoring.score_sessions(project, sessions, NOW),
        monitoring.outcome_sessions(project, sessions),
        monitoring.drift_sessions(project, sessions),
        metrics.metric_sessions(project, sessions, no_runs, NOW),
        reports.report_sessions(project, sessions),
    )


def finish(*steps: Iterable[Made]) -> None:
    """Run each step to its end, one after another."""
    for step in steps:
        for _ in step:
            pass


def clean_tables(bars: pd.DataFrame, sessions: np.ndarray) -> dict[str, pd.DataFrame]:
    """``prices_clean`` of each session in ``bars`` (as a source gives them); ``sessions`` are datetime64[D]."""
    table = clean_bars(with_previous(bars, sessions), sessions, load_quality(ROOT)).bars
    days = table["date"].to_numpy().astype("datetime64[D]")
    return {str(day): table[days == day] for day in np.unique(days)}


def random_bars(sessions: np.ndarray, symbols: int) -> pd.DataFrame:
    """Random walks as a source gives bars, by session and symbol."""
    import pandas as pd

    rng = np.random.default_rng(0)
    shape = (len(sessions), symbols)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, shape), axis=0))
    opened = close * np.exp(rng.normal(0, 0.005, shape))
    names = np.array([f"S{i:04d}" for i in range(symbols)])
    return pd.DataFrame(
        {
            "date": np.repeat(sessions.astype("datetime64[s]"), symbols),
            "symbol": np.tile(names, len(sessions)),
            "open": opened.ravel(),
            "high": (np.maximum(opened, close) * np.exp(rng.exponential(0.004, shape))).ravel(),
            "low": (np.minimum(opened, close) * np.exp(-rng.exponential(0.004, shape))).ravel(),
            "close": close.ravel(),
            "volume": rng.lognormal(13, 0.5, shape).round().ravel(),
            "adj_close": np.nan,
            "unreadable": None,
        }
    )


def random_panel(sessions: int, symbols: int) -> Panel:
    """Random walks as a panel, every number known."""
    rng = np.random.default_rng(0)
    shape = (sessions, symbols)
    log_return = rng.normal(0, 0.01, shape)
    variance = log_return**2 + rng.exponential(1e-4, shape)
    return Panel.from_arrays(log_return, variance=variance, volume=rng.lognormal(13, 0.5, shape))


def made_up_model(matrix: FeatureMatrix) -> FittedModel:
    """A model with small coefficients whose training range leaves out the outermost thousandths of ``matrix``."""
    values = matrix.values.reshape(len(FEATURES), -1)
    low, high = np.nanquantile(values, [0.001, 0.999], axis=1)
    coefficients = np.linspace(-0.1, 0.1, len(FEATURES))
    return FittedModel(
        features=tuple(FEATURES),
        volatility_coefficients=coefficients,
        volatility_intercept=0.0,
        clip=(-3.0, 3.0),
        bad_week_coefficients=coefficients,
        bad_week_intercept=-2.0,
        baseline_coefficient=1.0,
        baseline_intercept=7.0,
        low=low,
        high=high,
        cutoff=0.2,
    )
