"""Alerts: a breach that lasts is one alert, which opens, is updated and ends; a channel hears each of it once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countersign.checks import CheckResult, Status
from countersign.monitoring.alerts import (
    CHANNEL,
    SHOWN,
    Severity,
    Verdict,
    alert_events,
    alerts,
    gone,
    message,
    next_attempt,
    open_ids,
    untold,
    verdict_of,
)

NOW = datetime(2008, 10, 1, 21, 0, tzinfo=UTC)
Lines = list[dict[str, Any]]


def verdict(
    status: Status,
    session: str = "2008-10-01",
    *,
    measure: str = "auc",
    value: float = 0.5,
    severity: Severity = "warning",
    subject: str = "metrics",
) -> Verdict:
    return Verdict(subject, measure, "model", status, severity, session, f"AUC {value}", value, 0.55)


def logged(*batches: Sequence[Verdict]) -> Lines:
    """The lines of a log to which each batch was added an hour after the one before."""
    lines: Lines = []
    for hour, batch in enumerate(batches):
        at = (NOW + timedelta(hours=hour)).isoformat()
        lines += [
            {"event": event, "at": at, "sha256": f"{hour}-{number}", **fields}
            for number, (event, fields) in enumerate(alert_events(lines, batch))
        ]
    return lines


def sent(lines: Lines, event: str, channel: str, through: int = -1) -> Lines:
    """``lines`` and one on a channel, which was told of those up to number ``through``."""
    still = sorted(open_ids(lines[-1]))
    line = {"event": event, "at": NOW.isoformat(), "channel": channel, "open": still, "sha256": f"s{len(lines)}"}
    return [*lines, {**line, "through": lines[through]["sha256"]}]


def more(lines: Lines, *verdicts: Verdict) -> Lines:
    """``lines`` and what ``verdicts`` add."""
    return [
        *lines,
        *(
            {"event": event, "at": NOW.isoformat(), "sha256": f"m{len(lines)}-{number}", **fields}
            for number, (event, fields) in enumerate(alert_events(lines, verdicts))
        ),
    ]


def told(lines: Lines, channel: str) -> list[tuple[str, str]]:
    return [(line["event"], line["measure"]) for line in untold(lines, channel)]


# --- what opens, updates and ends an alert


def test_a_breach_that_lasts_is_one_alert_that_is_updated_and_its_end_is_recorded() -> None:
    days = ["2008-10-01", "2008-10-02", "2008-10-03", "2008-10-06"]
    lines = logged(
        [verdict("fail", days[0], value=0.5)],
        [verdict("fail", days[1], value=0.45)],
        [verdict("fail", days[2], value=0.48)],
        [verdict("pass", days[3], value=0.7)],
    )
    assert [line["event"] for line in lines] == ["opened", "updated", "updated", "ended"]
    assert {line["alert"] for line in lines} == {"metrics:auc@2008-10-01"}
    (alert,) = alerts(lines)
    assert (alert.first_session, alert.last_session, alert.ended_session) == ("2008-10-01", "2008-10-03", "2008-10-06")
    assert (alert.value, alert.threshold, alert.layer, alert.severity) == (0.48, 0.55, "model", "warning")
    assert (alert.opened_at, alert.ended_at) == (NOW.isoformat(), (NOW + timedelta(hours=3)).isoformat())
    assert open_ids(lines[-1]) == set()


def test_an_alert_that_ends_since_its_threshold_was_loosened_says_so() -> None:
    lines = logged(
        [verdict("fail", "2008-10-01", value=0.5)],
        [replace(verdict("pass", "2008-10-02", value=0.5), threshold=0.45)],
    )
    assert lines[-1]["event"] == "ended"
    assert lines[-1]["sentence"].endswith(" (threshold 0.45 now, 0.55 when it failed)")


def test_the_same_verdict_again_adds_no_line() -> None:
    assert len(logged([verdict("fail")], [verdict("fail")], [verdict("fail")])) == 1


def test_insufficient_evidence_neither_opens_an_alert_nor_ends_one() -> None:
    assert logged([verdict("insufficient")]) == []
    lines = logged([verdict("fail", "2008-10-01")], [verdict("insufficient", "2008-10-02", value=math.nan)])
    assert [line["event"] for line in lines] == ["opened"]


def test_a_pass_without_an_alert_adds_no_line() -> None:
    assert logged([verdict("pass")]) == []


@pytest.mark.parametrize("status", ["pass", "fail"])
def test_an_older_session_that_is_run_again_changes_no_alert(status: Status) -> None:
    before = logged([verdict("fail", "2008-10-02")])
    assert alert_events(before, [verdict(status, "2008-10-01", value=0.1)]) == []
    ended = logged([verdict("fail", "2008-10-02")], [verdict("pass", "2008-10-03")])
    assert alert_events(ended, [verdict(status, "2008-10-01", value=0.1)]) == []


def test_a_session_that_passes_when_it_is_run_again_ends_its_alert() -> None:
    lines = logged([verdict("fail", "2008-10-01")], [verdict("pass", "2008-10-01")])
    assert [line["event"] for line in lines] == ["opened", "ended"]


def test_a_breach_after_the_end_of_another_is_a_new_alert() -> None:
    lines = logged([verdict("fail", "2008-10-01")], [verdict("pass", "2008-10-02")], [verdict("fail", "2008-10-03")])
    assert [alert.id for alert in alerts(lines)] == ["metrics:auc@2008-10-01", "metrics:auc@2008-10-03"]
    assert open_ids(lines[-1]) == {"metrics:auc@2008-10-03"}


def test_the_sessions_of_a_range_are_taken_in_their_order() -> None:
    lines = logged([verdict("pass", "2008-10-03"), verdict("fail", "2008-10-02"), verdict("fail", "2008-10-01")])
    assert [(line["event"], line["session"]) for line in lines] == [
        ("opened", "2008-10-01"),
        ("updated", "2008-10-02"),
        ("ended", "2008-10-03"),
    ]


def test_a_value_that_could_not_be_taken_is_null_in_the_log_and_nan_in_the_alert() -> None:
    lines = logged([verdict("fail", value=math.inf)])
    assert lines[0]["value"] is None
    assert math.isnan(alerts(lines)[0].value)


def test_a_check_is_an_error_only_where_it_refuses() -> None:
    check = CheckResult("auc", "fail", "AUC low", numbers={"value": 0.5, "threshold": 0.55}, layer="model")
    found = verdict_of("metrics", check, "2008-10-01")
    assert (found.severity, found.value, found.threshold, found.layer) == ("warning", 0.5, 0.55, "model")
    blocking = CheckResult("auc", "fail", "AUC low", blocking=True)
    assert verdict_of("metrics", blocking, "2008-10-01").severity == "error"


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["auc", "brier", "rows"]),
            st.sampled_from(["pass", "fail", "insufficient"]),
            st.integers(1, 28),
        ),
        max_size=30,
    )
)
def test_each_line_says_which_alerts_are_open_and_an_alert_opens_before_it_ends(
    found: list[tuple[str, Status, int]],
) -> None:
    lines = logged(*([verdict(status, f"2008-10-{day:02}", measure=name)] for name, status, day in found))
    for number in range(len(lines)):
        still = {alert.id for alert in alerts(lines[: number + 1]) if alert.ended_at is None}
        assert open_ids(lines[number]) == still
    for alert in alerts(lines):
        assert alert.first_session <= alert.last_session <= (alert.ended_session or "9999")
    # Of each measure at most one is open.
    assert len({a.measure for a in alerts(lines) if a.ended_at is None}) == len(open_ids(lines[-1] if lines else None))


def test_an_alert_on_what_is_no_longer_there_ends() -> None:
    lines = logged([verdict("fail", subject="sensor", measure="old"), verdict("fail", subject="metrics")])
    ended = gone(lines[-1], ("sensor", "run"), ["sensor:new"], "2008-10-02")
    assert [(v.key, v.status) for v in ended] == [("sensor:old", "pass")], "checks do not go away"
    assert gone(lines[-1], ("sensor", "run"), ["sensor:old"], "2008-10-02") == []
    assert gone(None, ("sensor", "run"), [], "2008-10-02") == []


# --- what a channel is told


def test_a_channel_is_told_of_what_opened_and_ended_since_its_last_message_and_not_of_updates() -> None:
    first = logged([verdict("fail", measure="auc"), verdict("fail", measure="brier")])
    lines = sent(first, "delivered", "1")
    assert told(lines, "1") == []
    lines = more(
        lines,
        verdict("fail", "2008-10-02", measure="auc"),
        verdict("pass", "2008-10-02", measure="brier"),
        verdict("fail", "2008-10-02", measure="rows"),
    )
    assert told(lines, "1") == [("ended", "brier"), ("opened", "rows")]


def test_an_alert_that_opened_while_a_message_was_on_its_way_is_in_the_next_one() -> None:
    lines = more(logged([verdict("fail", measure="auc")]), verdict("fail", measure="brier"))
    assert told(sent(lines, "delivered", "1", through=0), "1") == [("opened", "brier")]


def test_an_alert_ends_with_the_severity_that_it_had() -> None:
    lines = logged([verdict("fail", severity="error")], [verdict("pass", "2008-10-02")])
    assert [line["severity"] for line in lines] == ["error", "error"]


def test_a_message_is_as_urgent_as_the_worst_that_began() -> None:
    ended = logged([verdict("fail")], [verdict("pass", "2008-10-02")])[1:]
    assert message(ended, "book")[2] == "success"
    assert message(logged([verdict("fail")]), "book")[2] == "warning"
    assert message(logged([verdict("fail"), verdict("fail", measure="x", severity="error")]), "book")[2] == "failure"


def test_half_a_character_in_a_sentence_can_be_written() -> None:
    broken = Verdict("metrics", "auc", "model", "fail", "warning", "2008-10-01", "symbol \ud83d is odd")
    assert logged([broken])[0]["sentence"].encode() == b"symbol ? is odd"


def test_a_channel_that_was_never_told_hears_of_what_is_open_and_not_of_the_past() -> None:
    lines = logged(
        [verdict("fail", measure="auc"), verdict("fail", measure="brier")],
        [verdict("pass", "2008-10-02", measure="brier")],
    )
    assert told(sent(lines, "delivered", "1"), "2") == [("opened", "auc")]


def test_a_warning_that_becomes_an_error_is_told_again() -> None:
    lines = sent(logged([verdict("fail")]), "delivered", "1")
    lines = more(lines, verdict("fail", "2008-10-02", severity="error"))
    assert told(lines, "1") == [("updated", "auc")]


def test_the_failure_of_a_channel_is_told_to_the_others_only() -> None:
    lines = logged([verdict("fail", subject=CHANNEL, measure="1 (Slack)")])
    assert told(lines, "1 (Slack)") == []
    assert told(lines, "2 (JSON)") == [("opened", "1 (Slack)")]


def test_a_channel_that_fails_is_tried_again_after_one_two_four_minutes_and_each_hour_at_the_latest() -> None:
    lines = logged([verdict("fail")])
    assert next_attempt(lines, "1") is None
    waits = []
    for _ in range(9):
        lines = sent(lines, "undelivered", "1")
        due = next_attempt(lines, "1")
        assert due is not None
        waits.append(round((due - NOW) / timedelta(minutes=1)))
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert next_attempt(lines, "2") is None
    assert next_attempt(sent(lines, "delivered", "1"), "1") is None


def test_a_message_names_errors_first_then_warnings_then_what_ended_and_counts_the_rest() -> None:
    lines = logged(
        [verdict("fail", measure="auc"), verdict("fail", measure="brier")],
        [verdict("pass", "2008-10-02", measure="auc"), verdict("fail", "2008-10-02", measure="rows", severity="error")],
    )
    title, text, _ = message(lines, "book")
    assert title == "Countersign book: alerts, 3 new, 1 ended"
    heads = [part.splitlines()[0].split(" · ")[0] for part in text.split("\n\n")]
    assert heads == ["NEW error", "NEW warning", "NEW warning", "ENDED warning"]
    assert "metrics:rows · 2008-10-02\nAUC 0.5." in text
    many = logged([verdict("fail", measure=f"m{n}") for n in range(SHOWN + 7)])
    assert message(many, "book")[1].endswith("and 7 more: countersign status")
