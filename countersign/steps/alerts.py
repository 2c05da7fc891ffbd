"""Steps beside the daily run: the log of alerts, telling people of them, and the metrics for those who watch."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from countersign.checks import CheckResult
from countersign.delivery import DEADLINE_SECONDS, Channel, Gauge, push, within, write_textfile
from countersign.errors import ArtifactError
from countersign.monitoring.alerts import (
    CHANNEL,
    Verdict,
    alert_events,
    alerts,
    day_of,
    failures,
    message,
    next_attempt,
    open_ids,
    open_keys,
    untold,
    verdict_of,
)
from countersign.project import Project
from countersign.steps.complete import outdated, session_is_done
from countersign.steps.prices import made_from
from countersign.steps.service import learned_by_all
from countersign.storage.journal import Event
from countersign.tables import DRIFT, METRICS
from countersign.thresholds import load_thresholds
from countersign.words import spanned

_LOOKED_BACK: Final = 5
"""Newest sessions of which it is asked whether they were scored in time: a week."""

_RESTATED: Final = "restated"
"""The check of ``prices_raw`` and the history whose failure concerns other sessions than its own."""

_UNSCORED: Final = "unscored"
"""The measure of ``session`` that is one alert, however many sessions have no scores."""

_LAST: Final = "report"
"""The asset whose verdicts are the last ones of a session that is run."""

_STATUS: Final = {"pass": 0, "insufficient": 1, "fail": 2}


def note_checks(project: Project, asset: str, results: Iterable[tuple[str | None, CheckResult]], now: datetime) -> None:
    """Put verdicts on ``asset``, each with its session, on record in ``alerts.jsonl``.

    A restatement is an alert of its own for each session (of the history: its last), and no later verdict of the check
    ends it: see ``restatements_over``. What a run has made good of other sessions is over with its last asset. Raises
    ``JournalError`` where the log is broken.
    """
    today = day_of(now)
    found: list[Verdict] = []
    for session, result in results:
        verdict = verdict_of(asset, result, session or today)
        if result.name == _RESTATED:
            if result.status == "pass":
                continue
            of = session or project.calendar.at(project.first_session, -1)
            verdict = replace(verdict, measure=f"{_RESTATED} {of}")
        found.append(verdict)
    if asset == _LAST and open_keys(project.alerts.last()):
        found += restatements_over(project, now)
        found += (verdict for verdict in scored_in_time(project, now) if verdict.status == "pass")
    note(project, found, now)


def note(project: Project, verdicts: Sequence[Verdict], now: datetime) -> None:
    """Put ``verdicts`` on record. Where none failed and no alert is open on them, only the log's end is read."""
    still = open_keys(project.alerts.last())
    # One from the future, by a clock that was wrong, would silence all that come before it.
    tomorrow = day_of(now + timedelta(days=1))
    verdicts = [verdict for verdict in verdicts if verdict.session <= tomorrow]
    if any(verdict.status == "fail" or verdict.key in still for verdict in verdicts):
        project.alerts.extend(lambda lines: alert_events(lines, verdicts), now)


def scored_in_time(project: Project, now: datetime) -> list[Verdict]:
    """Whether the sessions of a live source were scored in time, as one verdict: a gap is one alert.

    Looked at are the newest sessions, as of now and of when an alert on them opened, and those without scores before.
    Raises ``ConfigError`` where there are no thresholds.
    """
    if not project.config.source.live:
        return []
    limit = load_thresholds(project.home)[0].system.max_unscored_hours
    due = project.daily_sessions(now - timedelta(hours=limit))
    if not due:
        return []
    since = [alert.rpartition("@")[2] for alert in open_ids(project.alerts.last()) if f":{_UNSCORED}@" in alert]
    start = max(bisect_right(due, min([due[-1], *since])) - _LOOKED_BACK, 0)
    while start and not _whole(project, due[start]):
        start -= 1
    missing = [session for session in due[start:] if not _whole(project, session)]
    sentence = f"every session up to {due[-1]} is scored"
    if missing:
        sentence = (
            f"{spanned(missing)} closed more than {limit:g} hours ago and {'have' if missing[1:] else 'has'} no "
            f"scores: countersign run --from {missing[0]}"
        )
    hours = (now - project.calendar.close(missing[0])) / timedelta(hours=1) if missing else math.nan
    return [
        Verdict(
            subject="session",
            measure=_UNSCORED,
            layer="system",
            status="fail" if missing else "pass",
            severity="error",
            session=due[-1],
            sentence=sentence,
            value=math.floor(hours) if missing else math.nan,
            threshold=limit,
        )
    ]


def restatements_over(project: Project, now: datetime) -> list[Verdict]:
    """A pass for each alert on a restated session of which nothing that was made from the old version is left.

    What no model in force may score stays as it was said: nobody could ever end an alert on it.
    """
    keys = (key.split(":", 1) for key in sorted(open_keys(project.alerts.last())))
    still = [(subject, measure) for subject, measure in keys if measure.partition(" ")[0] == _RESTATED]
    # The journal is read only where there is something to end: where it is broken, others say so.
    learned = learned_by_all(project) if still else ""
    found = []
    for subject, measure in still:
        # One without its session is of before alerts had it, and of nobody's concern.
        session = measure.partition(" ")[2]
        users = made_from(project, session) if session else []
        if outdated(project, [one for one in users if one > learned]):
            continue
        sentence = f"every session that was made from what was said of {session} before was run again"
        sentence += ", but for those that no model in force may score" if users and users[0] <= learned else ""
        # As of the session, as it opened: restated once more, it is news again.
        of = session if subject == "prices_raw" and session else day_of(now)
        found.append(Verdict(subject, measure, "data", "pass", "warning", of, sentence))
    return found


def _whole(project: Project, session: str) -> bool:
    try:
        project.store.digest("scores", session)
    except ArtifactError:
        return False
    return True


def deliver(project: Project, channels: Sequence[Channel], now: datetime) -> list[str]:
    """Tell each of ``channels`` what it has not been told of the alerts; a sentence on each that has news.

    A channel that fails is an alert of its own, which the others get, and is tried again later. What was sent before a
    crash could put it on record is sent once more. Raises ``JournalError`` where the log is broken.
    """
    lines, said = project.alerts.read(), []
    due: list[tuple[Channel, int]] = []
    calls = []
    for channel in channels:
        news, again = untold(lines, channel.name), next_attempt(lines, channel.name)
        if news and again and now < again:
            said.append(f"{channel.name} failed, and is tried again at {again:%H:%M:%S} UTC")
        elif news:
            due.append((channel, len(news)))
            calls.append(partial(channel.send, *message(news, project.home.name)))
    for (channel, count), error in zip(due, within(DEADLINE_SECONDS, calls), strict=True):
        failure = str(error) if error else None
        said.append(failure or f"{channel.name} was told of {count} change{'' if count == 1 else 's'}")
        attempt = len(failures(lines, channel.name)) + 1
        verdict = Verdict(
            subject=CHANNEL,
            measure=channel.name,
            layer="system",
            status="fail" if failure else "pass",
            severity="error",
            session=day_of(now),
            sentence=f"channel {channel.name}: {failure}" if failure else f"channel {channel.name} takes messages",
            value=attempt if failure else math.nan,
        )
        event = "undelivered" if failure else "delivered"
        fields = {"channel": channel.name, "through": lines[-1]["sha256"], "changes": count, "attempt": attempt}

        def decide(
            found: list[dict[str, Any]],
            event: str = event,
            fields: dict[str, Any] = fields,
            verdict: Verdict = verdict,
        ) -> list[Event]:
            still = sorted(open_ids(found[-1] if found else None))
            return [(event, {**fields, "open": still}), *alert_events(found, [verdict])]

        project.alerts.extend(decide, now)
    return said


def newest_whole(project: Project, now: datetime) -> tuple[str, str] | None:
    """The newest session there is and its report's digest, where it is whole; None where it is not.

    Of a live source the newest is the one that closed last. Raises ``JournalError`` where the log of alerts is broken:
    nobody would be told of what is wrong.
    """
    project.alerts.read()
    sessions = project.daily_sessions(now)
    if not project.config.source.live:
        sessions = [session for session in sessions if project.store.has("report", session, "txt")]
    if not sessions or not session_is_done(project, sessions[-1]):
        return None
    return sessions[-1], project.store.digest("report", sessions[-1], "txt")


def push_metrics(project: Project, now: datetime) -> list[str]:
    """Send the newest session's metrics to the receivers of the configuration; a sentence on each.

    A receiver that fails is an alert. Raises ``ArtifactError`` where the metrics are damaged, ``JournalError`` where
    the log of alerts is.
    """
    receivers = {name: where for name, where in project.config.push if where}
    session = next((s for s in reversed(project.daily_sessions(now)) if project.store.has("metrics", s)), None)
    if session is None or not receivers:
        return []
    found, said, verdicts = gauges(project, session), [], []
    for name, where in receivers.items():
        if name == "gateway":
            call = partial(push, found, where)
        else:
            call = partial(write_textfile, found, project.home / where)
        (error,) = within(DEADLINE_SECONDS, [call])
        problem = str(error) if error else ""
        said.append(problem or f"metrics of {session} went to push.{name}")
        verdicts.append(
            Verdict(
                subject="push",
                measure=name,
                layer="system",
                status="fail" if problem else "pass",
                severity="warning",
                session=day_of(now),
                sentence=problem or f"push.{name} takes the metrics",
            )
        )
    note(project, verdicts, now)
    return said


def gauges(project: Project, session: str) -> list[Gauge]:
    """What monitoring says of ``session``, and the alerts that are open, as metrics."""
    metrics = project.store.read_table("metrics", session, METRICS).frame
    drift = project.store.read_table("drift", session, DRIFT).frame
    lasting = [alert for alert in alerts(project.alerts.read()) if alert.ended_at is None]
    each = list(zip(metrics["layer"], metrics["measure"], strict=True))
    labels = ("layer", "measure")
    return [
        Gauge("countersign_measure", "Value of a measure.", labels, list(zip(each, metrics["value"], strict=True))),
        Gauge(
            "countersign_measure_threshold",
            "What the measure is judged by; NaN where it is shown without being judged.",
            labels,
            list(zip(each, metrics["threshold"], strict=True)),
        ),
        Gauge(
            "countersign_measure_status",
            "0 pass, 1 insufficient evidence, 2 fail.",
            labels,
            [(label, _STATUS[status]) for label, status in zip(each, metrics["status"], strict=True)],
        ),
        Gauge(
            "countersign_psi",
            "Population stability index against the training data.",
            ("subject",),
            [((subject,), psi) for subject, psi in zip(drift["subject"], drift["psi"], strict=True)],
        ),
        Gauge(
            "countersign_drift_status",
            "0 pass, 1 insufficient evidence, 2 drifted.",
            ("subject",),
            [((subject,), _STATUS[status]) for subject, status in zip(drift["subject"], drift["status"], strict=True)],
        ),
        Gauge(
            "countersign_open_alerts",
            "Alerts that are open.",
            ("severity",),
            [((s,), sum(alert.severity == s for alert in lasting)) for s in ("warning", "error")],
        ),
        Gauge(
            "countersign_session_close_timestamp_seconds",
            "When the newest session that was measured closed.",
            (),
            [((), project.calendar.close(session).timestamp())],
        ),
    ]
