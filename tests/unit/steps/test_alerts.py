"""Alerts of a project: put on record, delivered to real local servers, and what a live source owes."""

from __future__ import annotations

import gzip
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from countersign.checks import CheckResult
from countersign.delivery import channels
from countersign.errors import ConfigError
from countersign.monitoring.alerts import Verdict, alerts, open_ids
from countersign.monitoring.latency import no_runs
from countersign.project import Project, open_project
from countersign.status import project_status
from countersign.steps.alerts import deliver, note, note_checks, push_metrics, scored_in_time
from countersign.steps.metrics import MEASURES, metric_sessions
from countersign.steps.monitoring import drift_sessions, outcome_sessions
from countersign.steps.prices import clean_sessions, ingest_sessions
from countersign.steps.scoring import feature_sessions, score_sessions
from countersign.tables import SCORES
from tests.conftest import Receiver

NOW = datetime(2008, 9, 3, 22, 0, tzinfo=UTC)
FAILED = CheckResult("auc", "fail", "AUC is low", numbers={"value": 0.5, "threshold": 0.55}, layer="model")
PASSED = CheckResult("auc", "pass", "AUC is fine", numbers={"value": 0.7, "threshold": 0.55}, layer="model")


def configured(home: Path, old: str, new: str) -> Project:
    path = home / "config" / "pipeline.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return open_project(home, NOW.date())


def live(home: Path) -> Project:
    """With a source that has nothing yet of later days than the month, as one that lives has."""
    prices = home / "data" / "sample" / "prices.csv.gz"
    lines = gzip.decompress(prices.read_bytes()).decode().splitlines()
    prices.write_bytes(gzip.compress("\n".join([lines[0], *(x for x in lines[1:] if x <= "2008-09-03")]).encode(), 1))
    configured(home, "symbols: [AAPL, FB, ", "symbols: [AAPL, ")
    configured(home, "last_session: 2013-03-01", "")
    return configured(home, "live: false", "live: true")


def titles(receiver: Receiver) -> list[str]:
    return [json.loads(body)["title"] for body in receiver.bodies]


def url(receiver: Receiver) -> str:
    return f"json://127.0.0.1:{receiver.port}/?retry=0"


# --- on record


def test_a_failed_check_is_on_record_with_its_session_and_a_later_pass_ends_it(project: Project) -> None:
    note_checks(project, "metrics", [("2008-09-02", FAILED), ("2008-09-03", FAILED)], NOW)
    note_checks(project, "metrics", [("2008-09-04", PASSED)], NOW + timedelta(days=1))
    (alert,) = alerts(project.alerts.read())
    assert (alert.first_session, alert.last_session, alert.ended_session) == ("2008-09-02", "2008-09-03", "2008-09-04")


def test_a_check_of_an_asset_without_sessions_is_on_record_by_its_day(project: Project) -> None:
    note_checks(project, "model", [(None, FAILED)], NOW)
    assert [alert.id for alert in alerts(project.alerts.read())] == ["model:auc@2008-09-03"]


def test_passes_alone_leave_no_log(project: Project) -> None:
    note_checks(project, "metrics", [("2008-09-02", PASSED)], NOW)
    assert not project.alerts.path.exists()


# --- delivered


def test_each_channel_is_told_once_of_what_opened_and_of_what_ended(project: Project, receiver: Receiver) -> None:
    to = channels(url(receiver))
    note_checks(project, "metrics", [("2008-09-02", FAILED)], NOW)
    assert deliver(project, to, NOW) == [f"{to[0].name} was told of 1 change"]
    assert deliver(project, to, NOW + timedelta(minutes=1)) == []
    note_checks(project, "metrics", [("2008-09-03", PASSED)], NOW)
    deliver(project, to, NOW + timedelta(minutes=2))
    assert [title.split("alerts, ")[1] for title in titles(receiver)] == ["1 new", "1 ended"]


def test_a_channel_that_fails_is_tried_again_and_reported_to_the_others(
    project: Project, receiver: Receiver, unused_port: int
) -> None:
    # Nothing listens on the first one's port.
    to = channels(f"json://127.0.0.1:{unused_port}/?retry=0, {url(receiver)}")
    note_checks(project, "metrics", [("2008-09-02", FAILED)], NOW)
    dead, well = (channel.name for channel in to)
    first = deliver(project, to, NOW)
    assert first[0].startswith(f"number {dead} of COUNTERSIGN_ALERT_URLS did not take the message")
    assert first[1] == f"{well} was told of 1 change"
    assert open_ids(project.alerts.last()) == {"metrics:auc@2008-09-02", f"channel:{dead}@2008-09-03"}
    soon = deliver(project, to, NOW + timedelta(seconds=30))
    assert soon == [f"{dead} failed, and is tried again at 22:01:00 UTC", f"{well} was told of 1 change"]
    assert f"number {dead} of COUNTERSIGN_ALERT_URLS did not take" in receiver.bodies[1]
    assert len(deliver(project, to, NOW + timedelta(minutes=1))) == 1
    (alert,) = [a for a in alerts(project.alerts.read()) if a.measure == dead]
    assert alert.value == 2, "attempts"


def test_a_channel_that_is_back_gets_what_it_missed_and_its_alert_ends(project: Project, receiver: Receiver) -> None:
    receiver.status = 500
    note_checks(project, "metrics", [("2008-09-02", FAILED)], NOW)
    to = channels(url(receiver))
    deliver(project, to, NOW)
    receiver.status = 200
    assert deliver(project, to, NOW + timedelta(minutes=2)) == [f"{to[0].name} was told of 1 change"]
    assert open_ids(project.alerts.last()) == {"metrics:auc@2008-09-02"}
    assert "AUC is low" in receiver.bodies[-1]


# --- scored in time


def test_a_session_without_scores_26_hours_after_its_close_is_an_error_until_it_is_scored(home: Path) -> None:
    project = live(home)
    close = project.calendar.close("2008-09-02")
    assert scored_in_time(project, close + timedelta(hours=25, minutes=59)) == []
    (late,) = scored_in_time(project, close + timedelta(hours=26))
    assert (late.status, late.severity, late.value, late.threshold) == ("fail", "error", 26, 26)
    assert late.sentence.endswith("has no scores: countersign run --from 2008-09-02")
    note(project, [late], close + timedelta(hours=26))
    assert open_ids(project.alerts.last()) == {"session:unscored@2008-09-02"}
    run(project, "2008-09-02")
    note_checks(project, "report", [("2008-09-02", PASSED)], close + timedelta(hours=27))
    assert open_ids(project.alerts.last()) == set(), "with the run itself, before any sensor"


def test_a_gap_of_a_live_source_is_one_alert_that_names_all_of_it(home: Path) -> None:
    """Seven sessions from 3 to 11 September, more than the week that is looked at."""
    project = live(home)
    run(project, "2008-09-02")
    (gap,) = scored_in_time(project, project.calendar.close("2008-09-11") + timedelta(hours=26))
    assert gap.sentence == (
        "7 sessions (2008-09-03 … 2008-09-11) closed more than 26 hours ago and have no scores: "
        "countersign run --from 2008-09-03"
    )
    needs = project_status(project, project.calendar.close("2008-09-11"))["needs_a_person"]
    assert (
        "There is no report of 8 sessions (2008-09-02 … 2008-09-11), which closed. "
        "Run: countersign run --from 2008-09-02"
    ) in needs


def test_an_unscored_session_stays_an_alert_however_many_are_scored_after_it(home: Path) -> None:
    project = live(home)
    run(project, "2008-09-02")
    scores = home / "artifacts" / "sessions" / "2008-09-02" / "scores.json"
    good = scores.read_bytes()
    table = project.store.read_table("scores", "2008-09-02", SCORES)
    scores.write_bytes(good[:100])
    note(project, scored_in_time(project, project.calendar.close("2008-09-02") + timedelta(hours=26)), NOW)
    for later in ("2008-09-03", "2008-09-04", "2008-09-05", "2008-09-08", "2008-09-09", "2008-09-10"):
        # All that is asked of them is whether they are whole.
        project.store.write_table("scores", later, table.frame, SCORES, table.stored.inputs)
    week_later = project.calendar.close("2008-09-10") + timedelta(hours=26)
    (found,) = scored_in_time(project, week_later)
    assert (found.status, found.sentence[:18]) == ("fail", "session 2008-09-02")
    scores.write_bytes(good)
    assert [v.status for v in scored_in_time(project, week_later)] == ["pass"]


def test_damaged_scores_are_none(home: Path) -> None:
    project = live(home)
    run(project, "2008-09-02")
    scores = home / "artifacts" / "sessions" / "2008-09-02" / "scores.json"
    scores.write_bytes(scores.read_bytes()[:100])
    (late,) = scored_in_time(project, project.calendar.close("2008-09-02") + timedelta(hours=30))
    assert late.status == "fail"


def test_a_verdict_from_the_future_is_not_taken(project: Project) -> None:
    note_checks(project, "metrics", [("2030-01-01", FAILED)], NOW)
    assert not project.alerts.path.exists()


def test_a_source_that_gets_no_new_sessions_owes_none(project: Project, now: datetime) -> None:
    assert scored_in_time(project, now) == []


# --- pushed


def run(project: Project, session: str) -> None:
    at = project.calendar.close(session) + timedelta(hours=1)
    list(ingest_sessions(project, [session], at))
    list(clean_sessions(project, [session]))
    list(feature_sessions(project, [session]))
    list(score_sessions(project, [session], at))
    list(outcome_sessions(project, [session]))
    list(drift_sessions(project, [session]))
    list(metric_sessions(project, [session], no_runs, at))


def test_the_newest_sessions_metrics_are_pushed_where_the_configuration_says(home: Path, receiver: Receiver) -> None:
    configured(home, 'gateway: ""', f"gateway: http://127.0.0.1:{receiver.port}")
    project = configured(home, 'textfile: ""', "textfile: countersign.prom")
    assert push_metrics(project, NOW) == [], "nothing has been measured"
    run(project, "2008-09-02")
    note_checks(project, "metrics", [("2008-09-02", FAILED)], NOW)
    assert push_metrics(project, NOW) == [
        "metrics of 2008-09-02 went to push.gateway",
        "metrics of 2008-09-02 went to push.textfile",
    ]
    text = (home / "countersign.prom").read_text()
    assert receiver.bodies == [text]
    families = {family.name: family.samples for family in text_string_to_metric_families(text)}
    assert [s.labels["measure"] for s in families["countersign_measure"]] == list(MEASURES)
    assert {s.value for s in families["countersign_measure_status"]} <= {0, 1, 2}
    assert {s.labels["severity"]: s.value for s in families["countersign_open_alerts"]} == {"warning": 1, "error": 0}
    (close,) = families["countersign_session_close_timestamp_seconds"]
    assert close.value == datetime(2008, 9, 2, 20, 0, tzinfo=UTC).timestamp()


def test_a_receiver_that_fails_is_an_alert_and_the_other_one_gets_its_metrics(home: Path, receiver: Receiver) -> None:
    configured(home, 'gateway: ""', f"gateway: http://127.0.0.1:{receiver.port}")
    project = configured(home, 'textfile: ""', "textfile: countersign.prom")
    run(project, "2008-09-02")
    receiver.status = 503
    push_metrics(project, NOW)
    assert open_ids(project.alerts.last()) == {"push:gateway@2008-09-03"}
    assert (home / "countersign.prom").exists()
    receiver.status = 200
    push_metrics(project, NOW + timedelta(hours=1))
    assert open_ids(project.alerts.last()) == set()


def test_off_by_default(project: Project, now: datetime) -> None:
    run(project, "2008-09-02")
    assert push_metrics(project, now) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('gateway: ""', "gateway: http://me:secret@127.0.0.1", r"push\.gateway: expected a URL without user"),
        ('gateway: ""', "gateway: ftp://127.0.0.1", r"push\.gateway"),
        ('textfile: ""', "textfile: metrics.txt", r"push\.textfile"),
    ],
)
def test_a_receiver_that_cannot_be_one_is_refused(empty_home: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as found:
        configured(empty_home, old, new)
    assert "secret" not in str(found.value)


def test_verdicts_of_two_processes_at_once_are_both_on_record(project: Project) -> None:
    def one(number: int) -> None:
        verdict = Verdict("metrics", f"m{number}", "model", "fail", "warning", "2008-09-02", "failed")
        note(project, [verdict], NOW)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(40)))
    assert len(open_ids(project.alerts.read()[-1])) == 40
