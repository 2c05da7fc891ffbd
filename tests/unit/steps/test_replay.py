"""Replay of the source: held against what each year would have begun with, as the daily run holds it."""

from __future__ import annotations

import gzip
from datetime import date, datetime

import numpy as np
import pandas as pd
import pytest

from countersign.features import FEATURES
from countersign.model.evaluation import walk_forward
from countersign.model.training import training_rows
from countersign.monitoring.latency import no_runs
from countersign.monitoring.replay import Validation, Verdicts
from countersign.prices.panel import PANEL_COLUMNS, Panel
from countersign.project import Project, open_project
from countersign.steps.metrics import metric_sessions
from countersign.steps.model import train_first_model
from countersign.steps.monitoring import drift_sessions, outcome_sessions
from countersign.steps.prices import HISTORY, clean_sessions, ingest_sessions, load_history
from countersign.steps.replay import source_verdicts
from countersign.steps.scoring import feature_sessions, score_sessions
from countersign.steps.service import in_service
from countersign.tables import DRIFT, METRICS, PRICES_CLEAN
from countersign.thresholds import load_thresholds
from tests.conftest import make_home

COUNT = 30
TODAY = date(2013, 3, 4)
GONE = "2009-02-10"
"""A session without volumes."""


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory, now: datetime) -> Project:
    """The first thirty sessions of 2009, with a model of everything before; volumes grow from November 2008 on."""
    home = make_home(tmp_path_factory.mktemp("year") / "home")
    path = home / "config" / "pipeline.yaml"
    text = path.read_text(encoding="utf-8")
    assert "first_session: 2008-09-02" in text
    path.write_text(text.replace("first_session: 2008-09-02", "first_session: 2009-01-02"), encoding="utf-8")
    prices = home / "data" / "sample" / "prices.csv.gz"
    bars = pd.read_csv(prices, dtype=str)
    grown = 1.05 ** np.clip((pd.to_datetime(bars["date"]) - pd.Timestamp("2008-11-03")).dt.days, 0, 150)
    bars["volume"] = (bars["volume"].astype(float) * grown).round().astype(np.int64).astype(str)
    bars.loc[bars["date"] == GONE, "volume"] = ""
    prices.write_bytes(gzip.compress(bars.to_csv(index=False).encode()))
    project = open_project(home, TODAY)
    load_history(project, now)
    train_first_model(project, now)
    sessions = project.daily_sessions(now)[:COUNT]
    list(ingest_sessions(project, sessions, now))
    list(clean_sessions(project, sessions))
    list(feature_sessions(project, sessions))
    list(score_sessions(project, sessions, now))
    list(outcome_sessions(project, sessions))
    list(drift_sessions(project, sessions))
    list(metric_sessions(project, sessions, no_runs, now))
    return project


@pytest.fixture(scope="module")
def replayed(year: Project) -> tuple[list[str], Verdicts]:
    sessions, [verdicts] = source_verdicts(year, "2009-01-02", "2009-02-20", [load_thresholds(year.home)[0]])
    return sessions.astype(str).tolist(), verdicts


def test_a_year_is_held_against_the_reference_that_a_model_trained_before_it_has(
    year: Project, replayed: tuple[list[str], Verdicts], now: datetime
) -> None:
    sessions, verdicts = replayed
    # Targets are left out: in the first week the daily run has none, for nothing was scored before it.
    subjects = [*FEATURES, "volatility_forecast", "bad_week_probability"]
    seen = set()
    for session in year.daily_sessions(now)[:COUNT]:
        daily = year.store.read_table("drift", session, DRIFT).frame.set_index("subject")["status"]
        found = {subject: str(verdicts[f"psi_{subject}"][sessions.index(session)]) for subject in subjects}
        assert found == daily[subjects].to_dict(), session
        seen |= set(found.values())
    assert seen == {"pass", "fail", "insufficient"}


def test_data_are_judged_as_in_the_daily_run(
    year: Project, replayed: tuple[list[str], Verdicts], now: datetime
) -> None:
    sessions, verdicts = replayed
    measures = ["schema", "null_share", "column_null_share", "rejected_share", "rows", "symbols"]
    # The daily run knows what is usual after a month of its own.
    for session in year.daily_sessions(now)[21:COUNT]:
        daily = year.store.read_table("metrics", session, METRICS).frame.set_index("measure")["status"]
        assert {m: str(verdicts[m][sessions.index(session)]) for m in measures} == daily[measures].to_dict(), session
    assert [sessions[i] for i in np.flatnonzero(verdicts["column_null_share"] == "fail")] == [GONE]


def test_the_validation_of_a_year_is_the_evaluation_of_a_model_trained_before_it(year: Project, now: datetime) -> None:
    history = year.store.read_table(HISTORY, None, PRICES_CLEAN, PANEL_COLUMNS, form="parquet").frame
    # Later bars, which the model had not seen, must change nothing.
    days = year.daily_sessions(now)[:COUNT]
    later = [year.store.read_table("prices_clean", day, PRICES_CLEAN, PANEL_COLUMNS).frame for day in days]
    whole = pd.concat([history, *later])
    sessions = np.unique(whole["date"].to_numpy().astype("datetime64[D]"))
    forecasts = walk_forward(training_rows(Panel.from_bars(whole, sessions)), year.config.model)
    begin = int(np.searchsorted(sessions, np.datetime64("2009-01-02")))
    found = Validation.of(forecasts, begin, min_sessions=60)
    expected = in_service(year).document["evaluation"]
    assert found is not None
    assert found.rows == expected["rows"]
    assert found.auc == pytest.approx(expected["table"]["auc"]["model"], rel=1e-12)
    assert found.approval_rate == pytest.approx(expected["approval_rate"], rel=1e-12)
    assert found.bad_rate == pytest.approx(expected["bad_rate_approved"], rel=1e-12)
    for name, losses in found.losses.items():
        table = expected["table"][name]
        assert losses == pytest.approx((table["model"], table["baseline"]), rel=1e-12)
    assert Validation.of(forecasts, begin, min_sessions=len(sessions)) is None


def test_what_comes_after_a_session_changes_none_of_its_verdicts(year: Project) -> None:
    limits = [load_thresholds(year.home)[0]]
    short_sessions, [short] = source_verdicts(year, None, "2007-06-29", limits)
    long_sessions, [long] = source_verdicts(year, None, "2008-03-31", limits)
    count = len(short_sessions)
    assert (long_sessions[:count] == short_sessions).all()
    # The approval rate is of scores whose outcome matured: that of the last five sessions is not there yet.
    for measure, verdicts in short.items():
        known = count - 5 if measure.startswith("approval") else count
        assert (long[measure][:known] == verdicts[:known]).all(), measure
    assert any((verdicts == "fail").any() for verdicts in short.values())
