"""Drift and metrics of a session: what they are made from, and that they say so when there is too little."""

from __future__ import annotations

import math
import shutil
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from countersign.checks import CheckResult
from countersign.features import FEATURES
from countersign.monitoring.latency import Runs, no_runs
from countersign.monitoring.psi import stability_index
from countersign.project import Project, open_project
from countersign.serving.log import RequestLog
from countersign.steps.metrics import GATE_MEASURES, MEASURES, metric_sessions
from countersign.steps.monitoring import drift_sessions, outcome_sessions
from countersign.steps.prices import clean_sessions, ingest_sessions
from countersign.steps.scoring import feature_sessions, score_sessions
from countersign.steps.service import in_service
from countersign.tables import DRIFT, FEATURE_TABLE, METRICS

TODAY = date(2013, 3, 4)
MINUTE = timedelta(minutes=1)


@pytest.fixture(scope="module")
def quarter(bootstrapped_home: Path, tmp_path_factory: pytest.TempPathFactory, now: datetime) -> Project:
    """Ninety sessions from the first on, scored and with outcomes. Read only but for drift and metrics."""
    home = Path(shutil.copytree(bootstrapped_home, tmp_path_factory.mktemp("quarter") / "home"))
    project = open_project(home, TODAY)
    sessions = project.daily_sessions(now)[:90]
    list(ingest_sessions(project, sessions, now))
    list(clean_sessions(project, sessions))
    list(feature_sessions(project, sessions))
    list(score_sessions(project, sessions, now))
    list(outcome_sessions(project, sessions))
    return project


def last(project: Project, now: datetime) -> str:
    return project.daily_sessions(now)[89]


def test_drift_compares_the_last_quarter_of_features_with_the_training_data(quarter: Project, now: datetime) -> None:
    session = last(quarter, now)
    list(drift_sessions(quarter, [session]))
    found: Any = quarter.store.read_table("drift", session, DRIFT).frame.set_index("subject")
    window = quarter.calendar.lookback(session, 63)
    features = pd.concat([quarter.store.read_table("features", day, FEATURE_TABLE).frame for day in window])
    reference = in_service(quarter).document["reference"]["features"]
    for name in FEATURES:
        edges = reference[name]["edges"]
        counts = np.bincount(np.searchsorted(edges, features[name], side="left"), minlength=len(edges) + 1)
        expected = stability_index(np.array(reference[name]["counts"]), counts)
        assert found.loc[name, "psi"] == pytest.approx(float(expected), rel=1e-12)
        assert found.loc[name, "observations"] == len(features)


def test_the_drift_table_shows_the_course_of_each_index_over_the_month_that_is_stored(
    quarter: Project, now: datetime, tmp_path: Path
) -> None:
    copy = open_project(Path(shutil.copytree(quarter.home, tmp_path / "home")), TODAY)
    *_, before, session = copy.daily_sessions(now)[:90]
    list(drift_sessions(copy, [before]))
    (made,) = drift_sessions(copy, [session])
    head, _, *rows = made.preview.splitlines()
    assert "last 2 sessions" in head
    course = {row.split("|")[1].strip(): (float(row.split("|")[2]), row.split("|")[4].strip()) for row in rows}
    assert {name for name, (_, blocks) in course.items() if len(blocks) == 2} == set(course)
    for psi, blocks in course.values():
        assert (psi > 0.2) == (blocks[-1] in "▅▆▇█"), "the upper four blocks are over the threshold"


def test_the_first_session_is_compared_by_the_features_of_the_history_before_it(
    project: Project, now: datetime
) -> None:
    first = project.first_session
    list(ingest_sessions(project, [first], now))
    list(clean_sessions(project, [first]))
    list(feature_sessions(project, [first]))
    list(score_sessions(project, [first], now))
    list(outcome_sessions(project, [first]))
    list(drift_sessions(project, [first]))
    found = project.store.read_table("drift", first, DRIFT).frame.set_index("subject")
    # Four symbols in each of 63 sessions; on the first one nothing matures that was scored.
    assert found["observations"].drop(["volatility", "bad_week"]).unique().tolist() == [252]
    assert found["observations"][["volatility", "bad_week"]].tolist() == [248, 248]


def test_metrics_judge_the_model_beside_the_baseline_on_the_sessions_that_have_matured(
    quarter: Project, now: datetime
) -> None:
    session = last(quarter, now)
    (made,) = metric_sessions(quarter, [session], no_runs, now)
    found: Any = quarter.store.read_table("metrics", session, METRICS).frame.set_index("measure")
    assert found.index.tolist() == list(MEASURES)
    assert {check.name for check in made.checks} == {*MEASURES, *GATE_MEASURES}
    # 85 of 90 sessions have matured; the last 60 of them, four symbols each.
    assert found.loc["qlike", "observations"] == 240
    assert found.loc["qlike", "reference"] > 0
    assert found.loc[["schema", "rows", "symbols"], "status"].tolist() == ["pass"] * 3
    # Autumn 2008 has been harder than validation, which the report may not take for a worse model.
    assert "the market got harder" in found.loc["volatility_mae", "sentence"]


def test_where_little_has_matured_nothing_is_green_that_rests_on_outcomes(quarter: Project, now: datetime) -> None:
    early = quarter.daily_sessions(now)[20]
    (made,) = metric_sessions(quarter, [early], no_runs, now)
    status = {check.name: check.status for check in made.checks}
    resting = [name for name in MEASURES if name.startswith(("qlike", "volatility", "auc", "calib", "ece", "brier"))]
    assert {status[name] for name in resting} == {"insufficient"}


def test_a_session_that_was_scored_years_later_says_nothing_of_freshness(quarter: Project, now: datetime) -> None:
    (made,) = metric_sessions(quarter, [last(quarter, now)], no_runs, now)
    status = {check.name: check.status for check in made.checks}
    assert (status["staleness_minutes"], status["arrival_minutes"]) == ("insufficient", "insufficient")


@pytest.mark.parametrize(("live", "status"), [(True, "pass"), (False, "insufficient")])
def test_a_session_that_was_scored_on_its_own_evening_is_judged_by_when_where_it_was_due_then(
    project: Project, live: bool, status: str
) -> None:
    first = project.first_session
    if live:
        path = project.home / "config" / "pipeline.yaml"
        text = path.read_text(encoding="utf-8").replace("live: false", "live: true").replace("last_session:", "# was:")
        text = text.replace("symbols: [AAPL, FB, ", "symbols: [AAPL, ")
        path.write_text(text, encoding="utf-8")
        # A source that lives has nothing yet of later days.
        prices = project.home / "data" / "sample" / "prices.csv.gz"
        pd.read_csv(prices).query("date <= @first").to_csv(prices, index=False)
        project = open_project(project.home, TODAY)
    evening = project.calendar.close(first) + timedelta(minutes=95)
    list(ingest_sessions(project, [first], evening))
    list(clean_sessions(project, [first]))
    list(feature_sessions(project, [first]))
    list(score_sessions(project, [first], evening))
    list(outcome_sessions(project, [first]))
    (made,) = metric_sessions(project, [first], no_runs, evening)
    arrival = next(check for check in made.checks if check.name == "arrival_minutes")
    assert arrival.status == status
    assert arrival.numbers["value"] == pytest.approx(95 if live else math.nan, nan_ok=True)

    asked: list[datetime | None] = []

    def runs(until: datetime | None) -> Runs:
        asked.append(until)
        return Runs(np.full(59, 5.0), 0)

    folder = project.journal.path.parent
    for at, ms, failed in ((evening - timedelta(hours=25), 900.0, 9), (evening, 2.0, 0), (evening + MINUTE, 900.0, 9)):
        log = RequestLog(folder, lambda at=at: at)  # type: ignore[misc]
        for number in range(300):
            log.add("/predict", 503 if number < failed else 200, ms / 1000, 1, "ab" * 32)
            log.add("/predict", 422, 0.9, 0, "")
            log.add("/readyz", 503, 0.9, 0, "")
        log.flush()
    list(metric_sessions(project, [first], runs, evening))
    assert asked == [evening], "a live session keeps what was known on its evening, whenever it is made again"
    kept: Any = project.store.read_table("metrics", first, METRICS).frame.set_index("measure")
    system = kept[kept["layer"] == "system"]
    # Of the server's log, the day up to the scores; what a client got wrong and probes say nothing of its users' wait.
    requests = {"request_ms_p95": 2.0, "request_failures": 0.0}
    assert system["value"].to_dict() == {"run_seconds_p95": 5.0, "run_failures": 0.0, **requests}
    assert set(system["status"]) == {"pass"}
    assert system.loc[list(requests), "observations"].tolist() == [300, 300]


def test_without_enough_requests_the_server_is_not_judged(project: Project) -> None:
    first = project.first_session
    evening = project.calendar.close(first) + MINUTE
    list(ingest_sessions(project, [first], evening))
    list(clean_sessions(project, [first]))
    list(feature_sessions(project, [first]))
    list(score_sessions(project, [first], evening))
    list(outcome_sessions(project, [first]))
    for count in (0, 58):
        log = RequestLog(project.journal.path.parent, lambda: evening)
        for _ in range(count):
            log.add("/predict", 200, 0.001, 1, "ab" * 32)
        log.flush()
        (made,) = metric_sessions(project, [first], no_runs, evening)
        status = {check.name: check.status for check in made.checks}
        assert (status["request_ms_p95"], status["request_failures"]) == ("insufficient", "insufficient")


@pytest.mark.parametrize(
    ("runs", "seconds", "failures"),
    [
        (no_runs(None), "insufficient", "insufficient"),
        (Runs(np.full(59, 5.0), 0), "pass", "pass"),
        (Runs(np.full(58, 5.0), 0), "insufficient", "pass"),
        (Runs(np.full(100, 500.0), 30), "fail", "fail"),
    ],
)
def test_of_a_session_of_the_past_the_runs_so_far_are_judged_for_dagster_and_change_no_byte_of_it(
    runs: Runs, seconds: str, failures: str, quarter: Project, now: datetime
) -> None:
    session = last(quarter, now)
    (quiet,) = metric_sessions(quarter, [session], no_runs, now)
    (made,) = metric_sessions(quarter, [session], lambda until: runs, now)
    status = {check.name: check.status for check in made.checks}
    assert (status["run_seconds_p95"], status["run_failures"]) == (seconds, failures)
    assert made.stored.sha256 == quiet.stored.sha256


def test_another_threshold_is_another_verdict_and_another_digest_on_record(
    quarter: Project, now: datetime, tmp_path: Path
) -> None:
    session = last(quarter, now)
    copy = open_project(Path(shutil.copytree(quarter.home, tmp_path / "home")), TODAY)
    path = copy.home / "config" / "thresholds.yaml"
    (before,) = metric_sessions(copy, [session], no_runs, now)
    path.write_text(path.read_text(encoding="utf-8").replace("min_auc: 0.55", "min_auc: 0.999"), encoding="utf-8")
    (after,) = metric_sessions(copy, [session], no_runs, now)

    def auc(checks: tuple[CheckResult, ...]) -> CheckResult:
        return next(check for check in checks if check.name == "auc")

    assert auc(before.checks).status == "pass"
    assert auc(after.checks).status == "fail"
    assert before.stored.inputs["thresholds"] != after.stored.inputs["thresholds"]
