"""Alerts: breaches that last, from one verdict after another.

Belongs here: what opens, updates and ends an alert, which of it a channel has yet to be told, and the words. Does not
belong here: the log's file (``storage.journal``), sending (``delivery``), where verdicts come from.

Everything is a function of the lines of ``alerts.jsonl``. A line has an ``event``: ``opened``, ``updated`` or ``ended``
(an alert), ``delivered`` or ``undelivered`` (a channel), and ``open``, the alerts that are open after it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from countersign.checks import CheckResult, Layer, Status
from countersign.storage.journal import Event

Line = Mapping[str, Any]
Severity = Literal["warning", "error"]
Urgency = Literal["failure", "warning", "success"]
"""What services colour or route a message by; the last one where alerts only ended."""

SHOWN: Final = 20
"""Alerts that one message names; more are counted."""

WAITING: Final = "sign_off"
"""The subject of verdicts on what waits for a person's signature: each update of one is a reminder."""

CHANNEL: Final = "channel"
"""The subject of verdicts on channels."""

ALERT_EVENTS: Final = ("opened", "updated", "ended")
_LONGEST_WAIT: Final = timedelta(hours=1)


@dataclass(frozen=True)
class Verdict:
    """What was found of ``measure`` of ``subject`` in ``session``.

    A check is a measure of its asset; a run, sensor, channel or unscored session one of its kind. ``session`` is a
    ``YYYY-MM-DD``: the session, or the day in UTC where there is none.
    """

    subject: str
    measure: str
    layer: Layer
    status: Status
    severity: Severity
    session: str
    sentence: str
    value: float = math.nan
    threshold: float = math.nan

    @property
    def key(self) -> str:
        """What makes two verdicts speak of the same thing."""
        return f"{self.subject}:{self.measure}"


@dataclass(frozen=True)
class Alert:
    """One breach from its first session to its last; ``ended_session`` and ``ended_at`` are None while it lasts.

    ``id`` is ``subject:measure@first_session``. Times are UTC in ISO 8601. ``value``, ``threshold``, ``severity`` and
    ``sentence`` are those of the last session that failed.
    """

    id: str
    layer: str
    measure: str
    severity: str
    sentence: str
    value: float
    threshold: float
    first_session: str
    last_session: str
    opened_at: str
    ended_session: str | None
    ended_at: str | None


def verdict_of(subject: str, result: CheckResult, session: str) -> Verdict:
    """The verdict of a check of the asset ``subject``."""
    return Verdict(
        subject,
        result.name,
        result.layer,
        result.status,
        "error" if result.refuses else "warning",
        session,
        result.sentence,
        float(result.numbers.get("value", math.nan)),
        float(result.numbers.get("threshold", math.nan)),
    )


def alert_events(lines: Sequence[Line], verdicts: Iterable[Verdict]) -> list[Event]:
    """What ``verdicts`` add to the log: a breach opens an alert or updates it, a pass ends it.

    Insufficient evidence neither opens nor ends one. A session older than the last one on record of the same measure
    changes nothing: what is wrong now is told by the newest.
    """
    latest = {line["key"]: line for line in lines if line["event"] in ALERT_EVENTS}
    still = open_ids(lines[-1] if lines else None)
    events: list[Event] = []
    for verdict in sorted(verdicts, key=lambda v: v.session):
        last = latest.get(verdict.key)
        lasts = last is not None and last["event"] != "ended"
        if verdict.status == "insufficient" or (last is not None and verdict.session < last["session"]):
            continue
        # Half a character, which a source may bring, cannot be written.
        sentence = verdict.sentence.encode("utf-8", "replace").decode()
        threshold = _finite(verdict.threshold)
        before = last["threshold"] if last is not None and lasts else None
        if verdict.status == "pass" and threshold is not None and before not in (None, threshold):
            # A loosened threshold must not pass for a recovery.
            sentence += f" (threshold {threshold:.4g} now, {before:.4g} when it failed)"
        said = {
            "key": verdict.key,
            "layer": verdict.layer,
            "measure": verdict.measure,
            "severity": last["severity"] if last is not None and verdict.status == "pass" else verdict.severity,
            "session": verdict.session,
            "value": _finite(verdict.value),
            "threshold": threshold,
            "sentence": sentence,
        }
        if verdict.status == "pass":
            if not lasts:
                continue
            event = "ended"
        elif last is None or not lasts:
            event = "opened"
        elif all(last[name] == value for name, value in said.items()):
            continue
        else:
            event = "updated"
        first = last["first_session"] if last is not None and lasts else verdict.session
        alert = f"{verdict.key}@{first}"
        still = still - {alert} if event == "ended" else still | {alert}
        line = {"alert": alert, "first_session": first, **said, "open": sorted(still)}
        latest[verdict.key] = {"event": event, **line}
        events.append((event, line))
    return events


def gone(last: Line | None, subjects: Collection[str], there: Collection[str], session: str) -> list[Verdict]:
    """A pass for each open alert on one of ``subjects`` whose key is not among those ``there`` any more.

    What was turned off, removed or forgotten cannot pass by itself: without this its alert would never end.
    """
    found = []
    for key in sorted(open_keys(last) - set(there)):
        subject, measure = key.split(":", 1)
        if subject in subjects:
            sentence = f"{subject} {measure} is no longer there"
            found.append(Verdict(subject, measure, "system", "pass", "error", session, sentence))
    return found


def open_keys(last: Line | None) -> frozenset[str]:
    """The keys of ``open_ids``."""
    return frozenset(alert.rpartition("@")[0] for alert in open_ids(last))


def open_ids(last: Line | None) -> frozenset[str]:
    """The alerts that are open after the line ``last``, the newest of the log."""
    return frozenset(last["open"]) if last else frozenset()


def alerts(lines: Iterable[Line]) -> list[Alert]:
    """Every alert of the log, in the order in which they opened."""
    found: dict[str, Alert] = {}
    for line in lines:
        if line["event"] not in ALERT_EVENTS:
            continue
        before = found.get(line["alert"])
        if line["event"] == "ended":
            assert before is not None, line
            found[before.id] = Alert(**{**vars(before), "ended_session": line["session"], "ended_at": line["at"]})
            continue
        found[line["alert"]] = Alert(
            id=line["alert"],
            layer=line["layer"],
            measure=line["measure"],
            severity=line["severity"],
            sentence=line["sentence"],
            value=_number(line["value"]),
            threshold=_number(line["threshold"]),
            first_session=line["first_session"],
            last_session=line["session"],
            opened_at=before.opened_at if before else line["at"],
            ended_session=None,
            ended_at=None,
        )
    return list(found.values())


def untold(lines: Sequence[Line], channel: str) -> list[Line]:
    """What ``channel`` has yet to be told: alerts that opened, ended, became errors or remind since its last message.

    A channel that never got one is told of what is open, not of the past. Its own failure is not told to itself.
    """
    # What came while a message was on its way is news for the next one.
    last = next((line["through"] for line in reversed(lines) if _is(line, "delivered", channel)), None)
    told = next((n for n, line in enumerate(lines) if line["sha256"] == last), -1)
    still = open_ids(lines[-1] if lines else None)
    severity: dict[str, str] = {}
    found = []
    for number, line in enumerate(lines):
        if line["event"] not in ALERT_EVENTS or line["key"] == f"{CHANNEL}:{channel}":
            continue
        worse = line["event"] == "updated" and severity.get(line["alert"]) == "warning" and line["severity"] == "error"
        severity[line["alert"]] = line["severity"]
        reminder = line["key"].startswith(f"{WAITING}:")
        news = line["event"] != "updated" or worse or reminder
        if news and number > told and (told >= 0 or line["alert"] in still):
            found.append(line)
    return found


def next_attempt(lines: Sequence[Line], channel: str) -> datetime | None:
    """When ``channel`` is to be tried again: 1, 2, 4 … minutes after it failed, an hour at the most; None for now."""
    failed = failures(lines, channel)
    if not failed:
        return None
    wait = min(timedelta(minutes=2.0 ** min(len(failed) - 1, 16)), _LONGEST_WAIT)
    return datetime.fromisoformat(failed[-1]["at"]) + wait


def failures(lines: Sequence[Line], channel: str) -> list[Line]:
    """The attempts to reach ``channel`` that failed since it last got a message."""
    found: list[Line] = []
    for line in lines:
        if _is(line, "delivered", channel):
            found = []
        elif _is(line, "undelivered", channel):
            found.append(line)
    return found


def message(lines: Sequence[Line], project: str) -> tuple[str, str, Urgency]:
    """Title and text, for a person, of the news in ``lines``, and how urgent the worst of it is."""
    words = {"opened": "NEW", "updated": "STILL", "ended": "ENDED"}
    counts = {word: sum(line["event"] == event for line in lines) for event, word in words.items()}
    title = ", ".join(f"{count} {word.lower()}" for word, count in counts.items() if count)
    # Those that need a person first; the rest in the order in which they came.
    order = sorted(lines, key=lambda line: (line["event"] == "ended", line["severity"] != "error"))
    text = [
        f"{words[line['event']]} {line['severity']} · {line['layer']} · {line['key']} · {line['session']}\n"
        f"{line['sentence']}."
        for line in order[:SHOWN]
    ]
    if len(order) > SHOWN:
        text.append(f"and {len(order) - SHOWN} more: countersign status")
    begun = {line["severity"] for line in lines if line["event"] != "ended"}
    urgency: Urgency = "failure" if "error" in begun else "warning" if begun else "success"
    return f"Countersign {project}: alerts, {title}", "\n\n".join(text), urgency


def day_of(moment: datetime) -> str:
    """The day in UTC, which stands where there is no session."""
    return moment.astimezone(UTC).date().isoformat()


def _is(line: Line, event: str, channel: str) -> bool:
    return line["event"] == event and line["channel"] == channel


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _number(value: float | None) -> float:
    return math.nan if value is None else value
