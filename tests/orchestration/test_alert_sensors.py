"""The alert sensors on a real instance: what is wrong with checks, runs and sensors, and the signs of a good run."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from countersign.monitoring.alerts import Alert, Verdict, alerts
from countersign.project import open_project
from resources import AlertResource, Clock, ProjectFolder
from sensors.alerts import alert_sensor, daily_run_sensor, instigator_verdicts, run_verdicts
from tests.conftest import Receiver
from tests.orchestration.conftest import Pipeline, make_pipeline

SESSION = "2008-09-02"
DAILY = {"prices_raw", "prices_clean", "features", "scores", "outcomes", "drift", "metrics", "report"}
JOBS = {"daily_job": DAILY, "bootstrap_job": {"price_history", "model"}}


@pytest.fixture
def pipeline(home: Path, now: datetime, tmp_path: Path) -> Iterator[Pipeline]:
    """A bootstrapped project folder on an instance that keeps sensors' ticks, too."""
    (tmp_path / "instance").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "instance")) as instance:
        yield make_pipeline(home, now, instance)


def open_alerts(home: Path) -> dict[str, Alert]:
    lines = open_project(home, datetime.now(UTC).date()).alerts.read()
    return {alert.id: alert for alert in alerts(lines) if alert.ended_at is None}


def evaluate(
    sensor: dg.SensorDefinition,
    pipeline: Pipeline,
    now: datetime,
    channels: AlertResource,
    cursor: list[str] | None = None,
) -> str:
    """Evaluate ``sensor`` once; what it says. The last of ``cursor`` is its own, and the next one is put behind it."""
    with dg.build_sensor_context(
        cursor=cursor[-1] if cursor else None,
        instance=pipeline.instance,
        repository_def=pipeline.definitions.get_repository_def(),
        resources={
            "project": ProjectFolder(pipeline.home),
            "clock": Clock(now),
            "alert_channels": channels,
        },
    ) as context:
        result = sensor(context)
        if cursor is not None and context.cursor:
            cursor.append(context.cursor)
    assert isinstance(result, dg.SkipReason)
    return str(result.skip_message)


def tick(pipeline: Pipeline, now: datetime, channels: str = "") -> str:
    return evaluate(alert_sensor, pipeline, now, AlertResource(urls=channels))


def runs(pipeline: Pipeline) -> list[Verdict]:
    now = datetime.now(UTC)
    return run_verdicts(pipeline.instance, JOBS, open_project(pipeline.home, now.date()).calendar, now)


def break_source(home: Path, session: str) -> None:
    """Two highs of ``session`` below their lows: half the rows break a rule, and the session is refused."""
    path = home / "data" / "sample" / "prices.csv.gz"
    prices = pd.read_csv(path, dtype=str)
    prices.loc[prices["symbol"].isin(["IBM", "MSFT"]) & (prices["date"] == session), "high"] = "0.01"
    prices.to_csv(path, index=False)


def test_a_check_that_fails_is_an_alert_whoever_ran_it_and_its_failed_run_another(pipeline: Pipeline) -> None:
    now = datetime.now(UTC)
    source = pipeline.home / "data" / "sample" / "prices.csv.gz"
    good = source.read_bytes()
    break_source(pipeline.home, SESSION)
    assert not pipeline.run(SESSION).success
    checks = {f"prices_clean:{name}@{SESSION}" for name in ("rejected_share", "range")}
    assert set(open_alerts(pipeline.home)) == checks, "before any sensor"
    assert tick(pipeline, now).startswith("3 alerts are open")
    today = datetime.now(UTC).date()
    failed = open_alerts(pipeline.home)[f"run:daily_job of {SESSION}@{today}"]
    assert failed.severity == "error"
    assert "failed at prices_clean: prices_clean of 2008-09-02 is refused" in failed.sentence

    source.write_bytes(good)
    assert pipeline.run(SESSION).success
    tick(pipeline, now)
    assert list(open_alerts(pipeline.home)) == [f"metrics:run_failures@{SESSION}"], "one of one run had failed"


def test_a_failed_run_is_over_once_a_range_that_covers_it_succeeds(pipeline: Pipeline) -> None:
    break_source(pipeline.home, "2008-09-03")
    assert pipeline.run(SESSION).success
    pipeline.run("2008-09-03")
    assert [(v.measure, v.status) for v in runs(pipeline)] == [("daily_job of 2008-09-03", "fail")]
    shutil.copy("data/sample/prices.csv.gz", pipeline.home / "data" / "sample" / "prices.csv.gz")
    assert pipeline.run(SESSION, "2008-09-03").success
    assert [v.status for v in runs(pipeline)] == ["pass"]


def test_runs_of_other_projects_on_the_instance_are_none_of_ours(pipeline: Pipeline) -> None:
    @dg.job
    def anothers() -> None:
        @dg.op
        def fails() -> None:
            raise ValueError

        fails()

    anothers.execute_in_process(instance=pipeline.instance, raise_on_error=False)
    assert runs(pipeline) == []


def test_the_alert_of_a_run_whose_record_was_deleted_ends(pipeline: Pipeline) -> None:
    now = datetime.now(UTC)
    break_source(pipeline.home, SESSION)
    run = pipeline.run(SESSION)
    tick(pipeline, now)
    pipeline.instance.delete_run(run.run_id)
    tick(pipeline, now)
    assert [alert for alert in open_alerts(pipeline.home) if alert.startswith("run:")] == []


def test_people_are_told_once_and_a_channel_that_fails_fails_no_tick(
    pipeline: Pipeline, receiver: Receiver, unused_port: int
) -> None:
    now = datetime.now(UTC)
    break_source(pipeline.home, SESSION)
    pipeline.run(SESSION)
    urls = f"json://127.0.0.1:{receiver.port}/?retry=0 json://127.0.0.1:{unused_port}/?retry=0"
    said = tick(pipeline, now, urls)
    assert re.search(r"1 \(JSON, \w+\) was told of 3 changes", said)
    assert re.search(r"number 2 \(JSON, \w+\) of COUNTERSIGN_ALERT_URLS did not take the message", said)
    tick(pipeline, now, urls)
    tick(pipeline, now, urls)
    assert [json.loads(body)["title"] for body in receiver.bodies] == [
        f"Countersign {pipeline.home.name}: alerts, 3 new",
        f"Countersign {pipeline.home.name}: alerts, 1 new",
    ], "the second message is on the channel that failed"
    assert [json.loads(body)["type"] for body in receiver.bodies] == ["failure", "failure"]


def test_a_broken_alert_log_fails_the_sensor_and_no_session(pipeline: Pipeline, now: datetime) -> None:
    (pipeline.home / "artifacts" / "alerts.jsonl").write_text("not a line\n")
    assert pipeline.run(SESSION).success
    with pytest.raises(Exception, match=r"alerts\.jsonl, line 1: expected a line that carries its own hash"):
        tick(pipeline, now)


# --- the signs of a good run


def heartbeat(pipeline: Pipeline, now: datetime, receiver: Receiver | None, cursor: list[str] | None = None) -> str:
    """What the sensor says. ``cursor`` holds what it left from one tick to the next."""
    url = f"http://127.0.0.1:{receiver.port}/ping" if receiver else ""
    return evaluate(daily_run_sensor, pipeline, now, AlertResource(heartbeat=url), cursor)


def live(pipeline: Pipeline) -> None:
    path = pipeline.home / "config" / "pipeline.yaml"
    path.write_text(path.read_text().replace("live: false", "live: true").replace("last_session: 2013-03-01", ""))


def test_a_whole_session_sends_the_heartbeat_and_the_metrics(
    pipeline: Pipeline, now: datetime, receiver: Receiver
) -> None:
    path = pipeline.home / "config" / "pipeline.yaml"
    path.write_text(path.read_text().replace('textfile: ""', "textfile: out.prom"))
    assert pipeline.run(SESSION).success
    said = heartbeat(pipeline, now, receiver)
    assert said == f"{SESSION} is whole; metrics of {SESSION} went to push.textfile; heartbeat sent"
    assert [(method, path) for method, path, _ in receiver.requests] == [("GET", "/ping")]
    assert "countersign_psi" in (pipeline.home / "out.prom").read_text()


def test_an_older_session_of_a_live_source_sends_no_heartbeat_and_takes_none_from_the_newest(
    pipeline: Pipeline, receiver: Receiver
) -> None:
    live(pipeline)
    evening, next_evening = (datetime(2008, 9, day, 22, 0, tzinfo=UTC) for day in (2, 3))
    assert "no heartbeat" in heartbeat(pipeline, evening, receiver)
    assert pipeline.run(SESSION).success
    assert "no heartbeat" in heartbeat(pipeline, next_evening, receiver), "a day late"
    assert pipeline.run("2008-09-03").success
    assert pipeline.run(SESSION).success, "run again, after the newest"
    assert heartbeat(pipeline, next_evening, receiver) == "2008-09-03 is whole; heartbeat sent"


def test_a_damaged_session_or_a_broken_log_of_alerts_sends_no_heartbeat(
    pipeline: Pipeline, now: datetime, receiver: Receiver
) -> None:
    assert pipeline.run(SESSION).success
    log = pipeline.home / "artifacts" / "alerts.jsonl"
    log.write_text("nonsense\n")
    with pytest.raises(Exception, match=r"alerts\.jsonl, line 1"):
        heartbeat(pipeline, now, receiver)
    log.unlink()
    scores = pipeline.home / "artifacts" / "sessions" / SESSION / "scores.json"
    scores.write_bytes(scores.read_bytes()[:-10])
    assert "no heartbeat" in heartbeat(pipeline, now, receiver)
    assert receiver.requests == []


def test_without_its_url_there_is_no_heartbeat_and_none_is_said_to_have_been_sent(
    pipeline: Pipeline, now: datetime, receiver: Receiver
) -> None:
    assert pipeline.run(SESSION).success
    cursor: list[str] = []
    assert heartbeat(pipeline, now, None, cursor) == f"{SESSION} is whole; no heartbeat: its URL is not set"
    said = f"{SESSION} is whole, and no heartbeat is sent: its URL is not set"
    assert heartbeat(pipeline, now, None, cursor) == said
    assert heartbeat(pipeline, now, receiver, cursor) == f"{SESSION} is whole; heartbeat sent", "once it is set"
    assert heartbeat(pipeline, now, receiver, cursor) == f"{SESSION} is whole, and its heartbeat was sent"
    assert len(receiver.requests) == 1


def test_what_cannot_be_looked_at_is_an_alert_and_silences_no_other(pipeline: Pipeline, receiver: Receiver) -> None:
    now = datetime.now(UTC)
    break_source(pipeline.home, SESSION)
    pipeline.run(SESSION)
    journal = pipeline.home / "artifacts" / "journal.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b"bootstrap", b"bootstrep"))
    tick(pipeline, now, f"json://127.0.0.1:{receiver.port}/?retry=0")
    (body,) = receiver.bodies
    assert "nothing can be said of sign-offs" in body
    assert "rejected_share" in body


def test_alerts_on_what_is_no_longer_expected_end(pipeline: Pipeline, unused_port: int) -> None:
    live(pipeline)
    path = pipeline.home / "config" / "pipeline.yaml"
    late = datetime(2008, 9, 4, 23, 0, tzinfo=UTC)
    tick(pipeline, late)
    assert "session:unscored@2008-09-03" in open_alerts(pipeline.home)
    path.write_text(path.read_text().replace("live: true", "live: false"))
    tick(pipeline, late)
    assert "session:unscored@2008-09-03" not in open_alerts(pipeline.home)


# --- with a real daemon


@contextmanager
def running_daemon(dagster_home: Path, home: Path, root: Path, port: int) -> Iterator[None]:
    """A daemon with its code server that tells the server at ``port`` of alerts; stopped at the end."""
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(dagster_home),
        "COUNTERSIGN_HOME": str(home),
        "COUNTERSIGN_ALERT_URLS": f"json://127.0.0.1:{port}/?retry=0",
        "COUNTERSIGN_HEARTBEAT_URL": f"http://127.0.0.1:{port}/ping",
    }
    command = [sys.executable, "-m", "dagster._daemon", "run", "-w", str(root / "workspace.yaml")]
    with (dagster_home / "daemon.log").open("w") as log:
        process = subprocess.Popen(
            command, env=environment, cwd=root, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def wait_for(what: str, condition: Callable[[], bool], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"no {what} within {seconds} s"
        time.sleep(0.2)


def test_a_real_daemon_tells_people_of_a_failed_run_and_sends_the_heartbeat_after_a_good_one(
    home: Path, now: datetime, receiver: Receiver, tmp_path: Path, root: Path
) -> None:
    dagster_home = tmp_path / "dagster"
    dagster_home.mkdir()
    shutil.copy(root / "config" / "dagster.yaml", dagster_home)
    with dg.DagsterInstance.from_config(str(dagster_home)) as instance:
        pipeline = make_pipeline(home, now, instance)
        assert pipeline.run(SESSION).success
        break_source(home, "2008-09-03")
        assert not pipeline.run("2008-09-03").success
        with running_daemon(dagster_home, home, root, receiver.port):
            wait_for("message", lambda: any("2008-09-03 is refused" in body for body in receiver.bodies))
            wait_for("heartbeat", lambda: ("GET", "/ping", b"") in receiver.requests)

            def working() -> dict[str, str]:
                found = instigator_verdicts(instance, {"daily_run_sensor": 60}, datetime.now(UTC), awake_since=None)
                return {verdict.measure: verdict.status for verdict in found}

            wait_for("end of the tick", lambda: working().get("daily_run_sensor") == "pass")
        # The same records an hour on, as a daemon that has run all the time would find them.
        later = datetime.now(UTC) + timedelta(hours=1)
        found = instigator_verdicts(instance, {"daily_run_sensor": 60}, later, awake_since=0.0)
        silent = {verdict.measure: verdict for verdict in found}["daily_run_sensor"]
        assert silent.status == "fail"
        assert "sensor daily_run_sensor is on and was not evaluated for" in silent.sentence
