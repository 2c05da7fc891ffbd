"""The gate under Dagster: whatever is launched, reported, wiped or killed there, only a signature deploys, and once."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner
from dagster._core.storage.dagster_run import DagsterRun
from dagster._core.test_utils import create_run_for_test

from countersign.cli_gate import approve
from countersign.cli_terminal import Terminal
from countersign.monitoring.alerts import alerts
from countersign.steps.gate import verify_project
from countersign.steps.retrain import ask_as_person, make_candidate
from definitions import build_definitions
from resources import AlertResource, Clock, ProjectFolder
from sensors.alerts import alert_sensor
from sensors.gate import TAG, drift_sensor, sign_off_sensor
from tests.conftest import Receiver
from tests.desk import ASKER, DAY, HOUR, NOON, Desk
from tests.orchestration.conftest import Pipeline, failed_steps, make_pipeline

LATER = NOON + HOUR


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance on files of its own."""
    (tmp_path / "instance").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "instance")) as made:
        yield made


def dagster_at(desk: Desk, instance: dg.DagsterInstance, now: datetime) -> Pipeline:
    return make_pipeline(desk.home, now, instance)


def run(desk: Desk, instance: dg.DagsterInstance, job: str, now: datetime, **config: str) -> dg.ExecuteInProcessResult:
    """Run a job of the gate; ``config`` is that of its first step."""
    step = {"sign_off_job": "sign_off", "retrain_job": "candidate"}.get(job)
    definition = dagster_at(desk, instance, now).definitions.resolve_job_def(job)
    run_config = {"ops": {step: {"config": config}}} if config else {}
    return definition.execute_in_process(instance=instance, run_config=run_config, raise_on_error=False)


def tick(
    sensor: dg.SensorDefinition, desk: Desk, instance: dg.DagsterInstance, now: datetime, channels: str = ""
) -> dg.RunRequest | str:
    """Evaluate a sensor as the daemon does: the run that it asks for, or why it asks for none."""
    repository = dagster_at(desk, instance, now).definitions.get_repository_def()
    with dg.build_sensor_context(
        instance=instance,
        repository_def=repository,
        resources={
            "project": ProjectFolder(desk.home),
            "clock": Clock(now),
            **({"alert_channels": AlertResource(urls=channels)} if sensor is alert_sensor else {}),
        },
    ) as context:
        result = sensor(context)
    if isinstance(result, dg.SensorResult):
        for event in result.asset_events:
            instance.report_runless_asset_event(event)
        result = next(iter(result.run_requests or []), None) or result.skip_reason
    return result if isinstance(result, dg.RunRequest) else str(result.skip_message)  # type: ignore[union-attr]


def asked_for(result: dg.RunRequest | str) -> dict[str, str]:
    """The tags of the run that a sensor asks for."""
    assert isinstance(result, dg.RunRequest), result
    return dict(result.tags)


def record_run(instance: dg.DagsterInstance, job: str, status: dg.DagsterRunStatus, tags: dict[str, str]) -> DagsterRun:
    return create_run_for_test(instance, job_name=job, status=status, tags=tags)


# --- launching is no approval


def test_launching_the_deployment_without_a_decision_refuses_and_says_what_is_missing(
    desk: Desk, instance: dg.DagsterInstance
) -> None:
    first = desk.scoring()
    desk.ask(1)
    pipeline = dagster_at(desk, instance, LATER)
    by_job = run(desk, instance, "deploy_job", LATER)
    by_asset = pipeline.definitions.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance,
        asset_selection=[dg.AssetKey("model")],
        raise_on_error=False,
        tags={TAG: desk.state.heads[-1], "countersign/request": "r1", "countersign/approved": "true"},
    )
    for result in (by_job, by_asset):
        assert (
            "r1 waits for a decision: 0 of 1 signatures are there. Launching the deployment is none"
            in failed_steps(result)["model"]
        )
    assert desk.scoring() == first
    assert desk.events.count("deployed") == 1
    assert desk.refusals()[-1].startswith("r1 waits for a decision")


def test_a_signed_decision_is_deployed_by_whoever_launches_it_once_and_the_wait_is_seen_before(
    desk: Desk, instance: dg.DagsterInstance
) -> None:
    desk.ask(1)
    statement, signature = desk.signed("approve", "alice", LATER)
    pipeline = dagster_at(desk, instance, LATER)
    signed = run(desk, instance, "sign_off_job", LATER, statement=statement, signature=signature)
    assert signed.success
    check = next(one for one in signed.get_asset_check_evaluations() if one.check_name == "signed_off")
    assert not check.passed
    assert "r1 is approved by alice@example.com and waits for deploy_job" in str(check.description)
    assert desk.scoring() != desk.candidate(1), "a decision deploys nothing by itself"
    assert run(desk, instance, "deploy_job", LATER).success
    assert desk.scoring() == desk.candidate(1)
    assert not run(desk, instance, "deploy_job", LATER).success
    assert desk.events.count("deployed") == 2
    last = pipeline.last("model")
    assert last.metadata["decision"].value == desk.state.deployments[-1].decision


def test_what_is_pasted_into_the_launchpad_without_a_good_signature_is_refused(
    desk: Desk, instance: dg.DagsterInstance
) -> None:
    desk.ask(1)
    statement, signature = desk.signed("approve", "alice", LATER)
    forged = statement.replace("alice@example.com", "bob@example.com")
    for text, signed, words in (
        (forged, signature, "expected the signature of bob@example.com"),
        (statement, "", "expected a signature as ssh-keygen writes it"),
        ("approve r1, please", signature, "expected a signed statement as JSON"),
    ):
        result = run(desk, instance, "sign_off_job", LATER, statement=text, signature=signed)
        assert words in failed_steps(result)["sign_off"]
    assert desk.state.requests[0].approvals == ()
    assert len(desk.refusals()) == 3


def test_the_command_and_the_launchpad_give_the_same_line_of_the_journal_but_for_times(
    desk: Desk, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    desk.know("2008-09-02")
    ask_as_person(desk.project, "autumn", ASKER, NOON)
    make_candidate(desk.project, "", "", NOON)
    typed = desk.copy(tmp_path / "typed")
    reason = "better in every stretch"
    statement, signature = desk.signed("approve", "alice", LATER, reason=reason)
    # As YAML and a mail may have changed the ends of lines.
    pasted = {"statement": f"{statement}\r\n", "signature": signature.replace("\n", "\r\n")}
    assert run(desk, instance, "sign_off_job", LATER, **pasted).success

    terminal = Terminal(typed.home, lambda: LATER, typed.keys / "alice", typed.keys)
    said = CliRunner().invoke(approve, ["r1", "--reason", reason, "--yes"], obj=terminal)
    assert said.exit_code == 0, said.output
    ours, theirs = (d.project.journal.read()[-1] for d in (desk, typed))
    assert ours == theirs, "the clock stands still here, so that not even times differ"


# --- the sensors


def test_the_sign_off_sensor_says_what_waits_and_asks_for_one_run_once_it_is_signed(
    desk: Desk, instance: dg.DagsterInstance
) -> None:
    assert tick(sign_off_sensor, desk, instance, NOON) == "nothing waits for a decision"
    desk.ask(1)
    assert tick(sign_off_sensor, desk, instance, LATER) == "r1 waits for a signature"
    line = desk.decide("approve", "alice", LATER)
    tags = asked_for(tick(sign_off_sensor, desk, instance, LATER))
    assert tags == {TAG: line["sha256"], "countersign/request": "r1"}
    record_run(instance, "deploy_job", dg.DagsterRunStatus.STARTED, tags)
    said = tick(sign_off_sensor, desk, instance, LATER)
    assert said == "a run of deploy_job is under way: alice@example.com approved r1"
    desk.deploy(LATER)
    assert tick(sign_off_sensor, desk, instance, LATER) == "nothing waits for a decision"


def test_a_daemon_that_was_down_for_a_day_deploys_on_its_return_unless_the_request_has_expired(
    desk: Desk, instance: dg.DagsterInstance
) -> None:
    desk.ask(1)
    desk.decide("approve", "alice", LATER)
    assert asked_for(tick(sign_off_sensor, desk, instance, LATER + 25 * HOUR))["countersign/request"] == "r1"
    assert tick(sign_off_sensor, desk, instance, NOON + 7 * DAY) == "r1: expired; nothing waits for a decision"
    assert not run(desk, instance, "deploy_job", NOON + 7 * DAY).success


def test_runs_that_fail_are_launched_again_after_a_while_that_grows_and_a_dead_one_is_not_waited_for(
    desk: Desk, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.ask(1)
    desk.decide("approve", "alice", LATER)
    tags = asked_for(tick(sign_off_sensor, desk, instance, LATER))
    now = datetime.now(UTC)

    class Clock(datetime):
        offset = timedelta()

        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return now + cls.offset

    monkeypatch.setattr("sensors.gate.datetime", Clock)
    for number, minutes in enumerate([1, 2, 4, 8, 16, 32, 60], start=1):
        record_run(instance, "deploy_job", dg.DagsterRunStatus.FAILURE, tags)
        Clock.offset = timedelta(minutes=minutes, seconds=-5)
        said = tick(sign_off_sensor, desk, instance, LATER)
        assert str(said).startswith(f"{number} run(s) for it came to nothing, the next one is at ")
        Clock.offset = timedelta(minutes=minutes, seconds=5)
        assert asked_for(tick(sign_off_sensor, desk, instance, LATER)) == tags
    # Its process was killed, which Dagster finds out an hour later.
    Clock.offset = timedelta()
    record_run(instance, "deploy_job", dg.DagsterRunStatus.STARTED, {})
    assert "is under way" in str(tick(sign_off_sensor, desk, instance, LATER))
    Clock.offset = timedelta(hours=2)
    assert asked_for(tick(sign_off_sensor, desk, instance, LATER)) == tags


def test_a_deployment_that_a_crash_cut_short_is_ended_by_the_sensor(desk: Desk, instance: dg.DagsterInstance) -> None:
    published = desk.home / "artifacts" / "model.json"
    desk.ask(1)
    line = desk.decide("approve", "alice", LATER)
    old = published.read_bytes()
    desk.deploy(LATER)
    whole = published.read_bytes()
    published.write_bytes(old)  # as a SIGKILL right after the journal's line leaves it
    assert asked_for(tick(sign_off_sensor, desk, instance, LATER)) == {
        TAG: line["sha256"],
        "countersign/request": "r1",
    }
    assert run(desk, instance, "deploy_job", LATER).success
    assert published.read_bytes() == whole
    assert desk.events.count("deployed") == 2
    assert tick(sign_off_sensor, desk, instance, LATER) == "nothing waits for a decision"


def test_a_retrain_is_launched_until_it_comes_to_something_and_then_no_more(
    desk: Desk, instance: dg.DagsterInstance
) -> None:
    assert tick(drift_sensor, desk, instance, LATER) == "no drift, and the error has not risen: the model stays"
    desk.know("2008-09-02")
    wish = ask_as_person(desk.project, "autumn", ASKER, LATER)
    tags = asked_for(tick(drift_sensor, desk, instance, LATER))
    assert tags == {TAG: wish.id, "countersign/cause": "person"}
    # The history is gone for a moment: it fails, and is not lost.
    history = desk.home / "artifacts" / "history" / "prices.parquet"
    history.rename(history.with_suffix(".away"))
    assert not run(desk, instance, "retrain_job", LATER).success
    assert asked_for(tick(drift_sensor, desk, instance, LATER)) == tags, "another daemon's, without our run's tag"
    history.with_suffix(".away").rename(history)
    made = run(desk, instance, "retrain_job", LATER)
    assert made.success, failed_steps(made)
    metadata = dagster_at(desk, instance, LATER).last("candidate").metadata
    assert all(isinstance(metadata[name], dg.PathMetadataValue) for name in ("page", "evidence"))
    assert desk.state.open_retrain is None
    assert desk.state.open_request is not None
    assert not isinstance(tick(drift_sensor, desk, instance, LATER), dg.RunRequest)
    # Launched once more, by a person or a second daemon, it finds nothing to do.
    assert (
        "expected someone to have asked for a retrain"
        in failed_steps(run(desk, instance, "retrain_job", LATER))["candidate"]
    )
    assert len(desk.state.requests) == 1


def test_a_person_asks_in_the_launchpad_and_the_sensor_launches_no_second_run_beside_it(
    desk: Desk, instance: dg.DagsterInstance
) -> None:
    ask_as_person(desk.project, "autumn", ASKER, LATER)
    record_run(instance, "retrain_job", dg.DagsterRunStatus.STARTED, {})
    said = tick(drift_sensor, desk, instance, LATER)
    assert said == "a run of retrain_job is under way; asked for because: autumn"


def test_a_broken_journal_is_no_reason_to_retrain(desk: Desk, instance: dg.DagsterInstance) -> None:
    (desk.home / "artifacts" / "journal.jsonl").write_text("{}\n")
    assert str(tick(drift_sensor, desk, instance, LATER)).startswith("nothing can be said of drift: ")


def test_a_broken_journal_deploys_nothing_in_one_clear_sentence_and_is_an_alert(
    desk: Desk, instance: dg.DagsterInstance
) -> None:
    desk.ask(1)
    desk.decide("approve", "alice", LATER)
    path = desk.home / "artifacts" / "journal.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"autumn", b"winter"))
    said = str(tick(sign_off_sensor, desk, instance, LATER))
    assert said.startswith("nothing is deployed: ")
    assert "journal.jsonl, line 2: expected a line that carries its own hash" in said
    assert said.endswith("See: countersign verify")
    tick(alert_sensor, desk, instance, LATER)
    (alert,) = (one for one in alerts(desk.project.alerts.read()) if one.ended_at is None)
    assert (alert.severity, alert.measure) == ("error", "sign-offs")
    assert "journal.jsonl, line 2" in alert.sentence
    path.write_bytes(whole)
    asked_for(tick(sign_off_sensor, desk, instance, LATER))
    tick(alert_sensor, desk, instance, LATER)
    assert {one.measure for one in alerts(desk.project.alerts.read()) if one.ended_at is None} == {"r1"}


# --- what the checks show


def shown(instance: dg.DagsterInstance, asset: str, check: str) -> tuple[bool, str] | None:
    """Whether the check passed when it was last evaluated, and its sentence; None where it was not."""
    key = dg.AssetCheckKey(dg.AssetKey(asset), check)
    record = instance.get_latest_asset_check_evaluation_record(key)
    if record is None or not isinstance(record.evaluation, dg.AssetCheckEvaluation):
        return None
    return record.evaluation.passed, str(record.evaluation.description)


def evaluations(instance: dg.DagsterInstance) -> int:
    """How often the gate's checks were evaluated."""
    keys = [
        dg.AssetCheckKey(dg.AssetKey(asset), check)
        for asset, check in (("candidate", "signed_off"), ("model", "ratified"))
    ]
    return sum(len(instance.event_log_storage.get_asset_check_execution_history(key, limit=99)) for key in keys)


@pytest.mark.parametrize("how", ["reject", "request-changes", "expiry"])
def test_the_check_of_a_request_that_was_closed_without_a_run_says_so_once(
    desk: Desk, instance: dg.DagsterInstance, how: Any
) -> None:
    tick(sign_off_sensor, desk, instance, NOON)
    assert shown(instance, "candidate", "signed_off") is None, "nobody was asked yet"
    assert shown(instance, "model", "ratified") == (True, "no deployment by break-glass waits for a second signer")
    desk.ask(1)
    tick(sign_off_sensor, desk, instance, LATER)
    waits = shown(instance, "candidate", "signed_off")
    assert waits is not None
    assert not waits[0]
    assert waits[1].startswith("r1 waits since")
    now = NOON + 7 * DAY if how == "expiry" else LATER
    if how != "expiry":
        desk.decide(how, "alice", LATER, reason="not yet")
    outcome = {"reject": "was rejected by alice@example.com", "expiry": "expired"}
    words = f"r1 {outcome.get(how, 'was sent back for changes by alice@example.com')}"
    for _ in range(3):
        tick(sign_off_sensor, desk, instance, now)
        assert shown(instance, "candidate", "signed_off") == (True, words)
    assert evaluations(instance) == 3, "one for each state, however often the sensor looks"


def test_checks_show_the_journals_state_after_dagsters_records_are_gone_and_whatever_is_reported_to_them(
    desk: Desk, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    desk.ask(1)
    desk.decide("approve", "alice", LATER, break_glass=True, reason="it burns")
    desk.deploy(LATER)
    desk.ask(2, LATER)
    assert run(desk, instance, "sign_off_job", LATER, statement="", signature="").success is False
    assert shown(instance, "model", "ratified") is None, "the run that failed meant to evaluate it"
    (tmp_path / "wiped").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "wiped")) as wiped:
        for each in (instance, wiped):
            forged = dg.AssetCheckEvaluation(
                asset_key=dg.AssetKey("model"), check_name="ratified", passed=True, metadata={}, description="all well"
            )
            for _ in range(2):
                tick(sign_off_sensor, desk, each, LATER)
                for asset, check, words in (("candidate", "signed_off", "r2 waits"), ("model", "ratified", "r1 was")):
                    found = shown(each, asset, check)
                    assert found is not None
                    assert not found[0]
                    assert found[1].startswith(words)
                each.report_runless_asset_event(forged)


def test_what_a_run_said_of_a_check_is_not_said_again(desk: Desk, instance: dg.DagsterInstance) -> None:
    desk.ask(1)
    desk.decide("approve", "alice", LATER)
    tick(sign_off_sensor, desk, instance, LATER)
    assert run(desk, instance, "deploy_job", LATER).success
    said, before = shown(instance, "candidate", "signed_off"), evaluations(instance)
    assert said == (True, "r1 was deployed")
    tick(sign_off_sensor, desk, instance, LATER)
    assert evaluations(instance) == before


def test_people_are_told_that_a_candidate_waits_and_reminded_once_an_interval(
    desk: Desk, instance: dg.DagsterInstance, receiver: Receiver
) -> None:
    desk.ask(1)
    channel = f"json://127.0.0.1:{receiver.port}/?retry=0"
    for hours in range(1, 61, 3):
        tick(sign_off_sensor, desk, instance, NOON + hours * HOUR)
        tick(alert_sensor, desk, instance, NOON + hours * HOUR, channel)
    told = [json.loads(body) for body in receiver.bodies]
    assert [message["title"].split(": ")[1] for message in told] == [
        "alerts, 1 new",
        "alerts, 1 still",
        "alerts, 1 still",
    ]
    assert all("r1 waits since 2013-03-04 12:00 UTC" in message["message"] for message in told)
    desk.decide("reject", "alice", NOON + 60 * HOUR, reason="no")
    tick(alert_sensor, desk, instance, NOON + 61 * HOUR, channel)
    assert json.loads(receiver.bodies[-1])["title"].endswith("1 ended")


# --- Dagster forgets


def test_without_dagsters_records_nothing_is_deployed_again_and_all_stands_as_it_did(
    desk: Desk, tmp_path: Path
) -> None:
    desk.ask(1)
    desk.decide("approve", "alice", LATER)
    for name in ("before", "after"):
        (tmp_path / name).mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "before")) as before:
        tags = asked_for(tick(sign_off_sensor, desk, before, LATER))
        assert run(desk, before, "deploy_job", LATER).success
        for record in before.get_run_records():
            before.delete_run(record.dagster_run.run_id)
        assert tick(sign_off_sensor, desk, before, LATER) == "nothing waits for a decision", "runs are deleted"
    shutil.rmtree(tmp_path / "before")
    state = desk.state
    with dg.DagsterInstance.local_temp(str(tmp_path / "after")) as after:
        # As a later version might call it.
        renamed = dg.sensor(name="another_name", job_name="deploy_job")(sign_off_sensor._raw_fn)
        for sensor in (sign_off_sensor, renamed):
            assert tick(sensor, desk, after, LATER) == "nothing waits for a decision"
        record_run(after, "deploy_job", dg.DagsterRunStatus.SUCCESS, tags)
        assert not run(desk, after, "deploy_job", LATER).success
    assert desk.state.deployments == state.deployments
    assert desk.state.requests == state.requests
    assert verify_project(desk.project)[1:] == ([], [])


# --- real processes


AS_JSON = {"Content-Type": "application/json"}


class Servers:
    """A daemon and a webserver, each with its own code server, on one instance and one project folder."""

    def __init__(self, desk: Desk, dagster_home: Path, root: Path, port: int) -> None:
        self._environment = {**os.environ, "DAGSTER_HOME": str(dagster_home), "COUNTERSIGN_HOME": str(desk.home)}
        self._root, self._dagster_home = root, dagster_home
        self.url = f"http://127.0.0.1:{port}"
        self._commands = {
            "webserver": ["dagster_webserver", "-h", "127.0.0.1", "-p", str(port)],
            "daemon": ["dagster._daemon", "run"],
        }
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        for name, command in self._commands.items():
            with (self._dagster_home / f"{name}.log").open("ab") as log:
                self._running[name] = subprocess.Popen(
                    [sys.executable, "-m", *command, "-w", str(self._root / "workspace.yaml")],
                    env=self._environment,
                    cwd=self._root,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )

    def kill(self) -> None:
        """SIGKILL for all of them, code servers and runs included."""
        for process in self._running.values():
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self._running.clear()

    def request(self, path: str, data: bytes | None = None, **headers: str) -> str:
        """The answer, whatever its status."""
        wanted = urllib.request.Request(self.url + path, data, headers)
        try:
            with urllib.request.urlopen(wanted, timeout=60) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            return f"{error.code} {error.read().decode()}"

    def graphql(self, query: str, **variables: Any) -> Any:
        body = json.dumps({"query": query, "variables": variables}).encode()
        found = json.loads(self.request("/graphql", body, **AS_JSON))
        assert "errors" not in found, found
        return found["data"]

    def is_up(self) -> bool:
        try:
            return "countersign" in self.request(
                "/graphql?query={repositoriesOrError{...on%20RepositoryConnection{nodes{location{name}}}}}"
            )
        except OSError:
            return False


@contextmanager
def servers(desk: Desk, dagster_home: Path, root: Path, port: int) -> Iterator[Servers]:
    made = Servers(desk, dagster_home, root, port)
    with ExitStack() as stack:
        stack.callback(made.kill)
        made.start()
        yield made


def wait_for(what: str, condition: Callable[[], bool], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"no {what} within {seconds} s"
        time.sleep(0.2)


LAUNCH = """mutation($params: ExecutionParams!) { launchRun(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
REPORT = """mutation($params: ReportRunlessAssetEventsParams!) { reportRunlessAssetEvents(eventParams: $params) {
  __typename } }"""
BACKFILL = """mutation($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
  __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""


def launch_params(job: str, config: dict[str, Any], tags: dict[str, str]) -> dict[str, Any]:
    return {
        "selector": {
            "repositoryLocationName": "countersign",
            "repositoryName": "__repository__",
            "jobName": job,
        },
        "runConfigData": json.dumps(config),
        "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
    }


def test_forged_approvals_change_nothing_and_a_request_survives_the_death_of_every_process(
    desk: Desk, tmp_path: Path, root: Path, unused_port: int
) -> None:
    """One test for both, since real processes take long to start."""
    dagster_home = tmp_path / "dagster"
    dagster_home.mkdir()
    shutil.copy(root / "config" / "dagster.yaml", dagster_home)
    first, request = desk.scoring(), desk.ask(1, datetime.now(UTC))
    statement, signature = desk.signed("approve", "alice", datetime.now(UTC))
    forged = {"statement": statement.replace(request.candidate, first), "signature": signature}
    with (
        dg.DagsterInstance.from_config(str(dagster_home)) as instance,
        servers(desk, dagster_home, root, unused_port) as running,
    ):
        wait_for("webserver", running.is_up)
        launched = [
            running.graphql(LAUNCH, params=launch_params(job, config, {TAG: "approved", "countersign/request": "r1"}))
            for job, config in (
                ("deploy_job", {}),
                ("sign_off_job", {"ops": {"sign_off": {"config": forged}}}),
            )
        ]
        runs = [one["launchRun"]["run"]["runId"] for one in launched]
        backfill = running.graphql(
            BACKFILL, params={"assetSelection": [{"path": ["model"]}], "allPartitions": True, "tags": []}
        )["launchPartitionBackfill"]
        assert backfill["__typename"] == "LaunchBackfillSuccess", backfill
        for asset in ("sign_off", "model", "candidate"):
            found = running.graphql(
                REPORT, params={"eventType": "ASSET_MATERIALIZATION", "assetKey": {"path": [asset]}}
            )
            assert found["reportRunlessAssetEvents"]["__typename"] == "ReportRunlessAssetEventsSuccess"
            assert running.request(f"/report_asset_materialization/{asset}", b"{}", **AS_JSON) == "{}"
        passed = "/report_asset_check/candidate?check_name=signed_off&passed=true"
        assert running.request(passed, b"{}", **AS_JSON) == "{}"
        # As a foreign page can have a person's browser send them.
        params = json.dumps({"params": launch_params("deploy_job", {}, {})})
        running.request(
            f"/graphql?query={urllib.parse.quote(LAUNCH)}&variables={urllib.parse.quote(params)}",
            Origin="https://elsewhere.example",
        )
        running.request(
            "/graphql",
            urllib.parse.urlencode({"query": LAUNCH, "variables": params}).encode(),
            **{"Content-Type": "application/x-www-form-urlencoded", "Origin": "https://elsewhere.example"},
        )

        def ended() -> bool:
            records = instance.get_run_records()
            of_backfill = any("dagster/backfill" in record.dagster_run.tags for record in records)
            return of_backfill and all(record.dagster_run.is_finished for record in records)

        wait_for("end of every run", ended)
        records = instance.get_run_records()
        assert {record.dagster_run.status for record in records} == {dg.DagsterRunStatus.FAILURE}
        assert set(runs) <= {record.dagster_run.run_id for record in records}
        assert desk.scoring() == first
        assert set(desk.events[desk.events.index("sign_off_requested") + 1 :]) == {"refused"}
        assert desk.state.open_request == request

        running.kill()
        assert all(record.dagster_run.is_finished for record in instance.get_run_records())
        assert desk.state.open_request == request, "it waits in no process"
        running.start()
        desk.decide("approve", "alice", datetime.now(UTC))
        wait_for("deployment", lambda: desk.state.last_model == request.candidate)
        wait_for("end of the deployment", lambda: all(r.dagster_run.is_finished for r in instance.get_run_records()))
        assert desk.scoring() == request.candidate
        assert desk.events.count("deployed") == 2
        tagged = instance.get_run_records(dg.RunsFilter(tags={TAG: desk.state.deployments[-1].decision}))
        assert [record.dagster_run.status for record in tagged] == [dg.DagsterRunStatus.SUCCESS]
        assert verify_project(desk.project)[1:] == ([], [])


def test_no_run_can_bring_its_own_time_or_folder(desk: Desk) -> None:
    """An ended key, an expired decision or a weaker policy would be good again."""
    desk.ask(1)
    resources = {"clock": {"config": {"fixed": "2013-03-01T12:00:00+00:00"}}, "project": {"config": {"home": "/"}}}
    before = datetime.now(UTC)
    with dg.DagsterInstance.ephemeral() as instance:
        job = build_definitions(desk.home).resolve_job_def("deploy_job")
        run = job.execute_in_process(run_config={"resources": resources}, instance=instance, raise_on_error=False)
    assert not run.success
    line = desk.project.journal.read()[-1]
    assert line["event"] == "refused"
    assert datetime.fromisoformat(line["at"]) >= before.replace(microsecond=0)
