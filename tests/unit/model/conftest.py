"""Fixtures of the model's tests: the bundled prices as a panel, and a model trained on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from countersign.config import ModelConfig
from countersign.model.scoring import FittedModel
from countersign.model.training import TrainingRows, fit, training_rows
from countersign.prices.clean import clean_bars
from countersign.prices.ingest import with_previous
from countersign.prices.panel import Panel
from countersign.prices.sources.files import FileSource
from tests.shipped import QUALITY


@pytest.fixture(scope="session")
def bundled(root: Path) -> Panel:
    """All 13 years of the bundled prices."""
    reply = FileSource("data/sample/prices.csv.gz", root).read("2000-03-01", "2013-03-01")
    days = np.unique(reply["date"].to_numpy().astype("datetime64[D]"))
    return Panel.from_bars(clean_bars(with_previous(reply, days), days, QUALITY).bars, days)


@pytest.fixture(scope="session")
def bundled_rows(bundled: Panel) -> TrainingRows:
    return training_rows(bundled)


@pytest.fixture(scope="session")
def fitted(bundled_rows: TrainingRows) -> FittedModel:
    """A model of all bundled prices, with the settings that are shipped."""
    return fit(bundled_rows, ModelConfig())
