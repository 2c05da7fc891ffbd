"""Replay: features made day by day, by the steps of the daily run, are the ones that training sees."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

import numpy as np

from countersign.features import FEATURES
from countersign.model.training import training_rows
from countersign.prices.clean import clean_bars
from countersign.prices.ingest import with_previous
from countersign.prices.panel import Panel
from countersign.project import open_project
from countersign.steps.prices import clean_sessions, ingest_sessions, load_history
from countersign.steps.scoring import feature_sessions
from countersign.tables import FEATURE_TABLE
from tests.shipped import QUALITY

FIRST, LAST = "2004-08-16", "2004-11-19"
"""The listing of GOOG (2004-08-19), its first 63 sessions, and MSFT's special dividend (2004-11-15)."""


def test_features_made_session_by_session_equal_those_of_training_to_the_last_bit(
    empty_home: Path, now: datetime
) -> None:
    path = empty_home / "config" / "pipeline.yaml"
    settings = path.read_text(encoding="utf-8")
    assert "first_session: 2008-09-02" in settings
    path.write_text(settings.replace("first_session: 2008-09-02", f"first_session: {FIRST}"), encoding="utf-8")
    project = open_project(empty_home, date(2013, 3, 4))
    load_history(project, now)
    daily = project.calendar.between(FIRST, LAST)
    list(ingest_sessions(project, daily, now))
    list(clean_sessions(project, daily))

    # Training over everything that the source has, later years included.
    days = project.calendar.dates
    reply = project.source.read(project.config.history.start.isoformat(), str(days[-1]))
    panel = Panel.from_bars(clean_bars(with_previous(reply, days), days, QUALITY).bars, days)
    rows = training_rows(panel)

    compared = 0
    for session in daily[::3]:
        list(feature_sessions(project, [session]))
        table = project.store.read_table("features", session, FEATURE_TABLE).frame
        trained = rows.take(rows.session == np.searchsorted(days, np.datetime64(session)))
        assert table["symbol"].tolist() == [panel.symbols[column] for column in trained.symbol]
        np.testing.assert_array_equal(table[list(FEATURES)].to_numpy().T, trained.features, err_msg=session)
        np.testing.assert_array_equal(table["ewma_variance"].to_numpy(), trained.ewma_variance)
        np.testing.assert_array_equal(table["market_variance"].to_numpy(), trained.market_variance)
        np.testing.assert_array_equal(table["history_sessions"].to_numpy(), trained.history)
        compared += len(table)
    # GOOG comes with the second of them, on its first day.
    assert compared == 3 + 22 * 4
