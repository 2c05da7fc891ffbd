"""Rules, quarantine, releases and restatements on a project folder with the bundled prices."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from countersign.checks import CheckResult
from countersign.cli import main
from countersign.errors import ConfigError, LookAheadError, QualityError, SourceError
from countersign.monitoring.alerts import open_ids
from countersign.monitoring.latency import no_runs
from countersign.prices.sources import PriceSource
from countersign.project import Project, open_project
from countersign.quality import load_quality
from countersign.status import project_status, status_text
from countersign.steps.alerts import note, note_checks, restatements_over
from countersign.steps.amendment import Changes, accept
from countersign.steps.complete import outdated_sessions, session_is_done
from countersign.steps.gate import verify_project
from countersign.steps.metrics import metric_sessions
from countersign.steps.monitoring import drift_sessions, outcome_sessions
from countersign.steps.prices import HISTORY, HISTORY_RESTATEMENTS, clean_sessions, ingest_sessions, load_history
from countersign.steps.quarantine import quarantined, release
from countersign.steps.reports import report_sessions
from countersign.steps.retrain import make_candidate
from countersign.steps.scoring import feature_sessions, score_sessions
from countersign.steps.service import in_service
from countersign.storage.artifacts import ArtifactStore, Stored
from countersign.tables import FEATURE_TABLE, PRICES_RAW, PRICES_REJECTED, RESTATEMENTS, SCORES
from tests.desk import ASKER, HOUR, NOON, Desk

FIRST, SECOND, THIRD, FOURTH, FIFTH = "2008-09-02", "2008-09-03", "2008-09-04", "2008-09-05", "2008-09-08"
HIGH, LOW, CLOSE = 3, 4, 5
"""Cells of a line of the source: date, symbol, open, high, low, close, adj_close, volume."""


def source_rows(home: Path) -> list[list[str]]:
    text = gzip.decompress((home / "data/sample/prices.csv.gz").read_bytes()).decode()
    return [line.split(",") for line in text.splitlines()]


def deliver(home: Path, rows: list[list[str]]) -> None:
    text = "\n".join(",".join(row) for row in rows)
    (home / "data/sample/prices.csv.gz").write_bytes(gzip.compress(text.encode(), 1))


def say(home: Path, session: str, symbol: str, change: Callable[[list[str]], list[str]]) -> None:
    """Have the source say something else of one bar."""
    deliver(home, [change(row) if row[:2] == [session, symbol] else row for row in source_rows(home)])


def times(cell: int, factor: float) -> Callable[[list[str]], list[str]]:
    return lambda row: [str(float(c) * factor) if place == cell else c for place, c in enumerate(row)]


def configure(home: Path, old: str, new: str) -> None:
    path = home / "config" / "quality.yaml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def bars_only(project: Project, sessions: list[str], now: datetime) -> None:
    list(ingest_sessions(project, sessions, now))
    list(clean_sessions(project, sessions))


def whole(project: Project, sessions: list[str], now: datetime) -> None:
    bars_only(project, sessions, now)
    list(feature_sessions(project, sessions))
    list(score_sessions(project, sessions, now))
    list(outcome_sessions(project, sessions))
    list(drift_sessions(project, sessions))
    list(metric_sessions(project, sessions, no_runs, now))
    list(report_sessions(project, sessions))


def artifacts(home: Path) -> dict[str, bytes]:
    return {str(p.relative_to(home)): p.read_bytes() for p in (home / "artifacts").rglob("*") if p.is_file()}


def report(project: Project, session: str) -> str:
    return " ".join(project.store.read_text("report", session)[0].split())


def countersign(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--home", str(home), *arguments])


# --- who came


def test_a_symbol_in_quarantine_on_two_days_is_neither_new_nor_missing_and_is_missed_once_it_stays_away(
    project: Project, now: datetime
) -> None:
    """IBM's high is wrong on two days, and on the third nothing of it comes: of four symbols more than a fifth."""
    configure(project.home, "max_share: 0.2 ", "max_share: 0.5 ")
    for session in (FIRST, SECOND):
        say(project.home, session, "IBM", times(HIGH, 2))
    deliver(project.home, [row for row in source_rows(project.home) if row[:2] != [THIRD, "IBM"]])
    list(ingest_sessions(project, [FIRST, SECOND, THIRD], now))
    said = []
    # A day on its own reads the one before from the store, a range has it in hand.
    for sessions in ([FIRST], [SECOND, THIRD], [THIRD]):
        for made in clean_sessions(project, sessions):
            (verdict,) = [check for check in made.checks if check.name == "symbols_complete"]
            said.append(verdict.sentence)
    unchanged = "4 symbols, 0 fewer and 0 more than the session before"
    gone = "missing since the session before: IBM (25%; limit 50%)"
    assert said == [unchanged, unchanged, gone, gone]


# --- a person lets a row through


def test_a_row_that_a_person_lets_through_is_a_bar_once_the_session_is_run_again(
    project: Project, now: datetime
) -> None:
    """IBM's high is twice as high as it was: a wick of log 2 = 0.69."""
    home = project.home
    say(home, FIRST, "IBM", times(HIGH, 2))
    whole(project, [FIRST], now)
    said = report(project, FIRST)
    assert f"1 row in quarantine, of IBM: countersign quarantine list {FIRST}." in said
    assert "No bar of IBM" not in said, "it came"

    listed = countersign(home, "quarantine", "list", FIRST)
    assert f"{FIRST}  row 2     IBM        wick" in listed.stdout
    assert "1 row in quarantine." in listed.stdout
    (row,) = json.loads(countersign(home, "quarantine", "list", "--json").stdout)
    assert (row["session"], row["row"], row["symbol"], row["rule"], row["releasable"]) == (
        FIRST,
        2,
        "IBM",
        "wick",
        True,
    )

    given = ("--by", "ann@example.com", "--reason", "it traded there")
    released = countersign(home, "quarantine", "release", FIRST, "--symbol", "ibm", *given)
    assert released.exit_code == 0
    assert f"--select 'key:prices_clean+ and tag:daily' --partition {FIRST}" in released.stdout
    (line,) = [one for one in project.journal.read() if one["event"] == "quarantine_released"]
    assert (line["by"], line["reason"], line["bar"]) == ("ann@example.com", "it traded there", row["sha256"])
    assert verify_project(project)[1:] == ([], [])
    assert "ann@example.com  IBM (wick): it traded there" in countersign(home, "history").stdout
    again = countersign(home, "quarantine", "release", FIRST, "2", *given)
    assert (again.exit_code, len(project.journal.read())) == (2, 2), "in quarantine no longer: nothing is added"

    whole(project, [FIRST], now)
    assert project.store.read_table("prices_rejected", FIRST, PRICES_REJECTED).frame.empty
    assert "1 row released from quarantine: IBM (wick) by ann@example.com: it traded there." in report(project, FIRST)
    assert countersign(home, "quarantine", "list").stdout == "Nothing is in quarantine.\n"
    before = artifacts(home)
    whole(project, [FIRST], now)
    assert artifacts(home) == before


def test_a_session_with_two_bad_rows_of_four_is_refused(project: Project, now: datetime) -> None:
    for symbol in ("IBM", "MSFT"):
        say(project.home, FIRST, symbol, times(HIGH, 2))
    list(ingest_sessions(project, [FIRST], now))
    with pytest.raises(QualityError, match=r"2 of 4 rows rejected .* 2 broke the rule 'wick' \(such as IBM"):
        list(clean_sessions(project, [FIRST]))


def test_a_release_makes_a_stored_session_unfinished_and_holds_for_no_other_values(
    project: Project, now: datetime
) -> None:
    home = project.home
    say(home, FIRST, "IBM", times(HIGH, 2))
    whole(project, [FIRST], now)
    assert session_is_done(project, FIRST)
    assert "3 bars" in report(project, FIRST)
    release(project, FIRST, "ann", "it traded there", now, symbol="IBM")
    assert not session_is_done(project, FIRST)
    whole(project, [FIRST], now)
    assert "4 bars" in report(project, FIRST)
    say(home, FIRST, "IBM", times(HIGH, 1.01))
    whole(project, [FIRST], now)
    assert "3 bars" in report(project, FIRST)
    assert "released" not in report(project, FIRST)


def test_a_price_that_was_let_through_and_is_a_jump_needs_a_person_in_the_words_of_the_check(
    project: Project, now: datetime
) -> None:
    def hundredfold(row: list[str]) -> list[str]:
        return [*row[:2], *(str(100 * float(price)) for price in row[2:7]), row[7]]

    say(project.home, FIRST, "IBM", hundredfold)
    whole(project, [FIRST], now)
    assert "In quarantine, and so without a bar: IBM." in report(project, FIRST)
    assert "jump" not in report(project, FIRST)
    release(project, FIRST, "ann", "it looked fine", now, symbol="IBM")
    whole(project, [FIRST], now)
    (made,) = clean_sessions(project, [FIRST])
    (jump,) = (check for check in made.checks if check.name == "jump")
    assert jump.status == "fail"
    needs = report(project, FIRST).partition("NEEDS A PERSON")[2].partition("DATA")[0]
    assert f"{' '.join(jump.sentence.split())}. Where a price is wrong, correct the source" in needs


def test_rows_set_aside_are_told_of_in_status_for_a_week_of_sessions_until_a_person_lets_them_through(
    project: Project, now: datetime
) -> None:
    def row() -> str:
        head = status_text(project_status(project, now)).partition("\n\n")[0]
        return " ".join(head.partition("\nQuarantine ")[2].partition("\nChecks ")[0].split())

    sessions = [FIRST, SECOND, THIRD, FOURTH, FIFTH]
    for session in (FIRST, THIRD):
        say(project.home, session, "IBM", times(HIGH, 2))
    rows = source_rows(project.home)
    deliver(project.home, rows + [row for row in rows if row[:2] == [SECOND, "IBM"]])
    whole(project, sessions, now)
    assert [one.rule for one in quarantined(project, SECOND)] == ["duplicate"]
    assert "in quarantine" not in report(project, FIFTH)
    assert row() == f"2 rows of 2 sessions ({FIRST}, {THIRD}), of the newest 5: countersign quarantine list"
    release(project, THIRD, "ann", "it traded there", now, symbol="IBM")
    assert row() == f"1 row of 1 session ({FIRST}), of the newest 5: countersign quarantine list"
    whole(project, [THIRD, FOURTH, FIFTH, "2008-09-09"], now)
    assert row() == ""


@pytest.mark.parametrize(
    ("cell", "factor", "chosen", "by", "reason", "said"),
    [
        pytest.param(LOW, -1, {"row": 2}, "ann", "fine", "expected a row of which a bar can be made", id="no price"),
        pytest.param(
            HIGH, 2, {"row": 0}, "ann", "fine", r"expected row 0 .* found row 2 \(IBM: wick\)", id="another row"
        ),
        pytest.param(HIGH, 2, {"symbol": "X"}, "ann", "fine", "expected symbol X", id="another symbol"),
        pytest.param(HIGH, 2, {"row": 2}, "ann", " ", "expected a reason", id="no reason"),
        pytest.param(HIGH, 2, {"row": 2}, "\x1b[2J", "fine", "a name", id="no name"),
    ],
)
def test_a_release_that_cannot_be_is_refused_and_changes_nothing(
    project: Project,
    now: datetime,
    cell: int,
    factor: float,
    chosen: dict[str, int | str],
    by: str,
    reason: str,
    said: str,
) -> None:
    say(project.home, FIRST, "IBM", times(cell, factor))
    list(ingest_sessions(project, [FIRST], now))
    before = artifacts(project.home)
    with pytest.raises(QualityError, match=said):
        release(project, FIRST, by, reason, now, **chosen)  # type: ignore[arg-type]
    assert artifacts(project.home) == before


def test_a_rule_on_rows_may_refuse_the_session(project: Project, now: datetime) -> None:
    configure(project.home, "wick:\n  severity: quarantine", "wick:\n  severity: refuse")
    say(project.home, FIRST, "IBM", times(HIGH, 2))
    list(ingest_sessions(project, [FIRST], now))
    before = artifacts(project.home)
    with pytest.raises(QualityError, match=r"refused: 1 of 4 rows broke the rule 'wick'"):
        list(clean_sessions(project, [FIRST]))
    assert artifacts(project.home) == before


# --- the bars before


def test_a_daily_session_is_judged_by_the_bars_that_are_stored_of_those_before_it(
    project: Project, now: datetime
) -> None:
    """IBM's bar of the last session of the history comes again on the four after it: the fourth is the fifth alike."""
    home = project.home
    sessions = [FIRST, SECOND, THIRD, FOURTH, FIFTH]
    (bar,) = (row for row in source_rows(home) if row[:2] == ["2008-08-29", "IBM"])
    for session in sessions[:4]:
        say(home, session, "IBM", lambda row: [*row[:2], *bar[2:]])
    one_by_one = []
    for session in sessions:
        list(ingest_sessions(project, [session], now))
        (made,) = clean_sessions(project, [session])
        one_by_one.append({check.name: check.status for check in made.checks}["stale"])
    assert one_by_one == ["pass", "pass", "pass", "fail", "pass"]
    before = artifacts(home)
    bars_only(project, sessions, now)
    assert artifacts(home) == before, "the same in a range"


# --- the source changes its mind


def test_what_a_source_restates_is_kept_as_it_was_and_told_of_number_by_number(project: Project, now: datetime) -> None:
    home, store = project.home, project.store
    whole(project, [FIRST, SECOND], now)
    raw = home / "artifacts" / "sessions" / FIRST / "prices_raw.json"
    said, version = raw.read_bytes(), store.digest("prices_raw", FIRST)
    (old,) = (row for row in source_rows(home) if row[:2] == [FIRST, "IBM"])
    say(home, FIRST, "IBM", times(CLOSE, 1.01))
    (made,) = ingest_sessions(project, [FIRST], now)

    (check,) = (check for check in made.checks if check.name == "restated")
    assert (check.status, check.blocking) == ("fail", False)
    assert "closes by up to 1.0%" in check.sentence
    # The restated session itself is being run: the command is the one that status will give.
    assert f"Made from it: {SECOND}. countersign status names those that are to be run again" in check.sentence
    assert raw.with_name(f"prices_raw.{version[:12]}.json").read_bytes() == said
    log = store.read_table("restatements", FIRST, RESTATEMENTS).frame
    assert log[["symbol", "field", "version"]].to_numpy().tolist() == [["IBM", "close", version]]
    assert log["old"].item() == float(old[CLOSE])
    assert log["new"].item() == pytest.approx(float(old[CLOSE]) * 1.01)

    whole(project, [FIRST, SECOND], now)
    assert "Restated by the source: 1 value of IBM, closes by up to 1.0%" in report(project, FIRST)
    before = artifacts(home)
    (made,) = ingest_sessions(project, [FIRST], now)
    assert artifacts(home) == before, "the same again is no restatement"
    assert [check.status for check in made.checks if check.name == "restated"] == ["pass"]
    assert session_is_done(project, FIRST)


def test_a_restatement_is_an_alert_until_all_that_was_made_from_the_old_version_was_run_again(
    project: Project, now: datetime
) -> None:
    def open_alerts() -> frozenset[str]:
        # As each run does at its end.
        note_checks(project, "report", [], now)
        return open_ids(project.alerts.last())

    def ingest(session: str) -> None:
        (made,) = ingest_sessions(project, [session], now)
        note_checks(project, "prices_raw", [(session, check) for check in made.checks], now)

    whole(project, [FIRST, SECOND], now)
    ingest(SECOND)
    assert open_alerts() == frozenset()
    say(project.home, FIRST, "IBM", times(CLOSE, 1.01))
    ingest(FIRST)
    alert = f"prices_raw:restated {FIRST}@{FIRST}"
    assert open_alerts() == {alert}, "though a later session has passed"
    ingest(FIRST)
    assert open_alerts() == {alert}, "though the source says the same again"
    assert outdated_sessions(project) == [FIRST, SECOND]
    words = " ".join(countersign(project.home, "status").stdout.split())
    assert f"2 sessions ({FIRST}, {SECOND}) made from prices, rules or releases that have changed since" in words
    assert f"countersign run --from {FIRST} --to {SECOND}" in words

    whole(project, [FIRST], now)
    assert f"closes by up to 1.0%. Sessions from {FIRST} to 2008-11-28 read it" in report(project, FIRST)
    assert open_alerts() == {alert}, "one session is left"
    whole(project, [SECOND], now)
    assert (open_alerts(), outdated_sessions(project)) == (frozenset(), [])
    say(project.home, FIRST, "IBM", times(CLOSE, 1.01))
    ingest(FIRST)
    assert open_alerts() == {alert}, "restated once more"


def test_what_no_model_in_force_may_score_again_after_a_restatement_is_told_as_such_and_keeps_no_alert_open(
    desk: Desk,
) -> None:
    later, first = NOON + HOUR, desk.scoring()
    whole(desk.project, [FIRST, SECOND], NOON)
    desk.decide("revoke", "bob", NOON, reason="trained on wrong bars")
    make_candidate(desk.project, "the first was revoked", ASKER, later)
    desk.decide("approve", "alice", later)
    desk.deploy(later)
    assert in_service(desk.project).document["training"]["last_session"] == SECOND
    whole(desk.project, [THIRD], later)
    say(desk.home, FIRST, "IBM", times(CLOSE, 1.01))
    (raw,) = ingest_sessions(desk.project, [FIRST], later)
    note_checks(desk.project, "prices_raw", [(FIRST, check) for check in raw.checks], later)
    list(clean_sessions(desk.project, [FIRST]))
    list(feature_sessions(desk.project, [FIRST]))
    with pytest.raises(LookAheadError, match=rf"Revoked, and so not used: {first[:12]} \(by bob@example.com\)"):
        list(score_sessions(desk.project, [FIRST], later))

    found = project_status(desk.project, later)
    assert (found["kept_sessions"], found["outdated_sessions"]) == ([FIRST, SECOND], [THIRD])
    words = " ".join(status_text(found).split())
    assert f"Kept 2 sessions ({FIRST}, {SECOND}) scored by a model that was revoked" in words
    assert f"countersign run --from {THIRD} --to {THIRD}" in words
    assert f"countersign run --from {FIRST}" not in words
    assert f"countersign run --from {SECOND}" not in words

    note_checks(desk.project, "report", [], later)
    assert open_ids(desk.project.alerts.last()) == {f"prices_raw:restated {FIRST}@{FIRST}"}
    whole(desk.project, [THIRD], later)
    note_checks(desk.project, "report", [], later)
    assert open_ids(desk.project.alerts.last()) == frozenset()
    assert project_status(desk.project, later)["kept_sessions"] == [FIRST, SECOND]


def history_restated(project: Project, now: datetime) -> CheckResult:
    made = load_history(project, now)
    note_checks(project, "price_history", [(None, check) for check in made.checks], now)
    (check,) = (check for check in made.checks if check.name == "restated")
    assert not check.blocking
    return check


def test_a_history_that_says_otherwise_when_it_is_loaded_again_is_kept_and_concerns_the_sessions_that_read_it(
    project: Project, now: datetime
) -> None:
    home, store, last = project.home, project.store, "2008-08-29"
    whole(project, [FIRST, SECOND], now)
    bars = home / "artifacts/history/prices.parquet"
    said, version = bars.read_bytes(), store.digest(HISTORY, None, "parquet")
    assert (history_restated(project, now).status, bars.read_bytes()) == ("pass", said)
    (old,) = (row for row in source_rows(home) if row[:2] == [last, "IBM"])
    say(home, last, "IBM", times(CLOSE, 1.01))
    check = history_restated(project, now)

    assert check.status == "fail"
    assert "1 value of 1 symbol, closes by up to 1.0%" in check.sentence
    assert f"Made from it: {FIRST}, {SECOND}. countersign status names" in check.sentence
    assert bars.with_name(f"prices.{version[:12]}.parquet").read_bytes() == said
    log = store.read_table(HISTORY_RESTATEMENTS, None, RESTATEMENTS, form="parquet").frame
    assert log[["symbol", "field", "version"]].to_numpy().tolist() == [["IBM", "close", version]]
    assert [str(day)[:10] for day in log["date"]] == [last]
    assert (log["old"].item(), log["new"].item()) == (float(old[CLOSE]), float(old[CLOSE]) * 1.01)

    assert outdated_sessions(project) == [FIRST, SECOND]
    assert open_ids(project.alerts.last()) == {f"price_history:restated {last}@{now:%Y-%m-%d}"}
    note(project, restatements_over(project, now), now)
    assert open_ids(project.alerts.last()), "not one session was run again"
    whole(project, [FIRST, SECOND], now)
    note(project, restatements_over(project, now), now)
    assert (open_ids(project.alerts.last()), outdated_sessions(project)) == (frozenset(), [])
    before = artifacts(home)
    assert history_restated(project, now).status == "pass"
    assert artifacts(home) == before, "the same again changes no byte"


def test_a_price_of_years_ago_that_is_restated_leaves_the_sessions_as_they_are(project: Project, now: datetime) -> None:
    whole(project, [FIRST], now)
    say(project.home, "2003-05-05", "IBM", times(CLOSE, 1.01))
    check = history_restated(project, now)
    assert (check.status, check.numbers["sessions"]) == ("fail", 0)
    assert "No later session in the store was made from it" in check.sentence
    assert outdated_sessions(project) == []


def test_what_people_and_rules_change_of_the_history_is_no_restatement(project: Project, now: datetime) -> None:
    """A symbol is left out and a bar set aside, then both come back and years are left out: all of it by people."""
    before = artifacts(project.home)
    say(project.home, "2008-08-27", "IBM", times(HIGH, 2))
    pipeline = project.home / "config/pipeline.yaml"
    text = pipeline.read_text()
    pipeline.write_text(text.replace(", MSFT]", "]"))
    assert (history_restated(open_project(project.home, now.date()), now).status) == "pass"
    pipeline.write_text(text.replace("start: 2000-03-01", "start: 2004-01-05"))
    say(project.home, "2008-08-27", "IBM", times(HIGH, 0.5))
    check = history_restated(open_project(project.home, now.date()), now)
    assert (check.status, check.sentence) == ("pass", "the source says what it said before")
    added = artifacts(project.home).keys() - before.keys()
    assert not [name for name in added if "restatements" in name or "prices." in name]


def test_a_damaged_history_is_loaded_again_and_nothing_is_said_of_what_it_was(project: Project, now: datetime) -> None:
    bars = project.home / "artifacts/history/prices.parquet"
    said = bars.read_bytes()
    bars.write_bytes(said[:-20])
    check = history_restated(project, now)
    assert (check.status, check.sentence) == ("insufficient", "what was stored before is damaged")
    assert bars.read_bytes() == said


def test_what_a_source_restates_needs_a_person_by_what_is_left_of_it(project: Project, now: datetime) -> None:
    """Twice by 0.3 % comes to more than the half percent of the limit; what was taken back comes to nothing."""
    shipped = source_rows(project.home)
    whole(project, [FIRST], now)
    for factor, left in ((1.003, None), (1.003**2, "1 value of IBM, closes by up to 0.6%"), (1.0, None)):
        deliver(project.home, shipped)
        say(project.home, FIRST, "IBM", times(CLOSE, factor))
        whole(project, [FIRST], now)
        needs, _, data = report(project, FIRST).partition(" DATA ")
        assert (f"Restated by the source: {left}." in needs) if left else ("Restated" not in needs)
        assert "Restated by the source:" in data
    assert "3 values of IBM, closes by up to 0.6%. The old versions are kept." in data


def test_each_restatement_is_logged_behind_the_ones_before_it(project: Project, now: datetime) -> None:
    shipped = source_rows(project.home)
    factors = [1.0, 1.001, 1.0, 1.002]
    for factor in factors:
        deliver(project.home, shipped)
        say(project.home, FIRST, "IBM", times(CLOSE, factor))
        (made,) = ingest_sessions(project, [FIRST], now)
        assert [c.status for c in made.checks if c.name == "restated"] == ["pass"], "below half a percent"
    log = project.store.read_table("restatements", FIRST, RESTATEMENTS).frame
    close = log["new"].iloc[1]
    assert (log["old"] / close).tolist() == pytest.approx([1.0, 1.001, 1.0])
    assert (log["new"] / close).tolist() == pytest.approx([1.001, 1.0, 1.002])


def test_a_bar_that_comes_late_is_a_restatement_and_a_damaged_version_is_none(project: Project, now: datetime) -> None:
    configure(project.home, "max_share: 0.2 ", "max_share: 0.3 ")
    shipped = source_rows(project.home)
    deliver(project.home, [row for row in shipped if row[:2] != [FIRST, "IBM"]])
    list(ingest_sessions(project, [FIRST], now))
    deliver(project.home, shipped)
    (made,) = ingest_sessions(project, [FIRST], now)
    (check,) = (check for check in made.checks if check.name == "restated")
    assert "with bars that came or went" in check.sentence
    raw = project.home / "artifacts" / "sessions" / FIRST / "prices_raw.json"
    raw.write_bytes(raw.read_bytes()[:-20])
    (made,) = ingest_sessions(project, [FIRST], now)
    (check,) = (check for check in made.checks if check.name == "restated")
    assert (check.status, check.sentence) == ("insufficient", "what was stored before is damaged")


def test_cells_that_are_no_numbers_are_restated_too_and_the_order_of_rows_that_contradict_is_not(
    project: Project, now: datetime
) -> None:
    shipped = source_rows(project.home)

    def ingested() -> str:
        (made,) = ingest_sessions(project, [FIRST], now)
        (check,) = (check for check in made.checks if check.name == "restated")
        return check.sentence

    twice = [row for row in shipped if row[:2] == [FIRST, "IBM"]] + [
        times(CLOSE, 1.001)(row) for row in shipped if row[:2] == [FIRST, "IBM"]
    ]
    deliver(project.home, [*shipped, twice[1]])
    ingested()
    before = artifacts(project.home)
    deliver(project.home, [shipped[0], *reversed(twice), *(row for row in shipped[1:] if row[:2] != [FIRST, "IBM"])])
    assert "restated" not in ingested()
    assert artifacts(project.home) == before

    for cell in ("pending", "n/k"):
        say(project.home, FIRST, "MSFT", lambda row, cell=cell: [*row[:7], cell])  # type: ignore[misc]
        version = project.store.digest("prices_raw", FIRST)
        assert "of 1 symbol, no close among them" in ingested()
        kept = project.home / "artifacts" / "sessions" / FIRST / f"prices_raw.{version[:12]}.json"
        assert kept.is_file()
    log = project.store.read_table("restatements", FIRST, RESTATEMENTS).frame
    assert log["field"].tolist() == ["volume", "unreadable", "unreadable"]


def test_a_restatement_that_broke_off_and_was_taken_back_never_was(
    project: Project, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = source_rows(project.home)
    list(ingest_sessions(project, [FIRST], now))
    say(project.home, FIRST, "IBM", times(CLOSE, 1.01))
    write = ArtifactStore.write_table

    def broken_off(store: ArtifactStore, name: str, *rest: Any, **more: Any) -> Stored:
        if name == "prices_raw":
            raise OSError("no space left on device")
        return write(store, name, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(ArtifactStore, "write_table", broken_off)
        with pytest.raises(OSError, match="no space"):
            list(ingest_sessions(project, [FIRST], now))
    assert len(project.store.read_table("restatements", FIRST, RESTATEMENTS).frame) == 1
    deliver(project.home, shipped)
    list(ingest_sessions(project, [FIRST], now))
    assert project.store.read_table("restatements", FIRST, RESTATEMENTS).frame.empty


# --- what arrives together


@dataclass(frozen=True)
class Reply:
    """A source that says what another one does, and then something else."""

    source: PriceSource
    change: Callable[[pd.DataFrame], pd.DataFrame]

    @property
    def uri(self) -> str:
        return "changed"

    def read(self, first: str, last: str) -> pd.DataFrame:
        return self.change(self.source.read(first, last))

    def symbols(self) -> list[str]:
        return self.source.symbols()


def dated(place: int, day: str | None) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda reply: reply.assign(date=reply["date"].mask(reply.index == reply.index[place], day))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(dated(1, None), "found 1 without a date and 0 of later days", id="no date"),
        pytest.param(dated(1, "08.09.2008"), "found 1 without a date", id="no day"),
        pytest.param(dated(1, "2013-03-04"), "0 without a date and 1 of later days .*2013-03-04", id="the future"),
        pytest.param(
            lambda reply: reply.assign(date=reply["date"].replace({FOURTH: "2008-09-06"})),
            "4 of 8 rows are dated on days that are no session .*2008-09-06",
            id="a shifted time zone",
        ),
    ],
)
def test_a_reply_with_wrong_dates_is_refused_and_changes_no_file(
    project: Project, now: datetime, change: Callable[[pd.DataFrame], pd.DataFrame], said: str
) -> None:
    """It is noon of 2013-03-04, and that session has not closed; 2008-09-06 is the Saturday before the Monday."""
    before = artifacts(project.home)
    with pytest.raises(QualityError, match=said):
        list(ingest_sessions(replace(project, source=Reply(project.source, change)), [FIFTH], now))
    assert artifacts(project.home) == before


def test_adjusted_closes_that_were_declared_and_did_not_come_refuse_the_session_and_the_history(
    project: Project, now: datetime
) -> None:
    """Without them each split would be a crash, with every check green."""
    before = artifacts(project.home)
    adjusted = source_rows(project.home)[0].index("adj_close")
    deliver(
        project.home,
        [
            [*row[:adjusted], "" if row[0] != "date" else "adj_close", *row[adjusted + 1 :]]
            for row in source_rows(project.home)
        ],
    )
    for run in (lambda: list(ingest_sessions(project, [FIRST, SECOND], now)), lambda: load_history(project, now)):
        with pytest.raises(SourceError, match=r"source\.adjustment is both.*declare raw, splits or full"):
            run()
    assert artifacts(project.home) == before


def test_a_panel_that_repeats_the_session_before_is_refused(project: Project, now: datetime) -> None:
    whole(project, [FIRST], now)
    before = artifacts(project.home)
    shipped = source_rows(project.home)
    yesterday = {row[1]: row for row in shipped if row[0] == FIRST}
    deliver(project.home, [[SECOND, *yesterday[row[1]][1:]] if row[0] == SECOND else row for row in shipped])
    list(ingest_sessions(project, [SECOND], now))
    with pytest.raises(QualityError, match=r"4 of 4 bars are those of the session before \(100%; limit 50%\)"):
        list(clean_sessions(project, [SECOND]))
    assert {name: data for name, data in artifacts(project.home).items() if SECOND not in name} == before
    assert not project.store.has("prices_clean", SECOND)


def test_a_source_with_closes_alone_is_scored_and_says_what_that_costs(project: Project, now: datetime) -> None:
    daily = [[*row[:2], "", "", "", *row[5:]] if FIRST <= row[0] < "d" else row for row in source_rows(project.home)]
    deliver(project.home, daily)
    whole(project, [FIRST, SECOND], now)
    features = project.store.read_table("features", SECOND, FEATURE_TABLE).frame
    assert features.drop(columns=["date", "symbol"]).notna().all(axis=None)
    raw = project.store.read_table("prices_raw", SECOND, PRICES_RAW).frame
    (bar,) = raw[raw["symbol"] == "IBM"].to_dict(orient="records")
    (ibm,) = features[features["symbol"] == "IBM"].to_dict(orient="records")
    variance = math.log(bar["adj_close"] / bar["prev_adj_close"]) ** 2
    assert math.exp(ibm["log_variance_1"] + ibm["log_ewma_variance"]) == pytest.approx(variance)
    assert len(project.store.read_table("scores", SECOND, SCORES).frame) == 4
    assert "Closes alone: variances are squared returns" in report(project, SECOND)


@pytest.mark.parametrize("agreed", [True, False], ids=["agreed on", "gone missing"])
def test_closes_alone_are_a_warning_unless_the_contract_has_no_more(
    agreed: bool, project: Project, now: datetime
) -> None:
    rows = source_rows(project.home)
    if agreed:
        deliver(project.home, [[*row[:2], *row[5:]] for row in rows])
        ranges = ("open", "high", "low")
        accept(project, FIRST, "ann", "closes alone", now, Changes({}, ranges, {}, {}))
    else:
        deliver(project.home, [[*row[:2], "", "", "", *row[5:]] if FIRST <= row[0] < "d" else row for row in rows])
    opened = open_project(project.home, date(2013, 3, 4))
    list(ingest_sessions(opened, [FIRST], now))
    (made,) = clean_sessions(opened, [FIRST])
    (verdict,) = [check for check in made.checks if check.name == "ranges_known"]
    assert verdict.status == ("pass" if agreed else "fail")
    assert ("the contract has closes alone" in verdict.sentence) == agreed


# --- the file


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("max_log: 0.6", "max_log: 0.6\n  longest: 1", r"wick\.longest: there is no such setting"),
        ("max_log: 0.6", "max_log: -1", r"wick\.max_log: .*greater than 0 \(value '-1'\)"),
        ("jump:\n  severity: warn", "jump:\n  severity: quarantine", r"jump\.severity: .*'warn' or 'off'"),
        (
            "conflict:         {severity: quarantine",
            "conflict:         {severity: warn",
            r"conflict\.severity: .*quarantine",
        ),
        (
            ', reason: "the same row again says nothing new: the first one is kept"',
            "",
            r"duplicate\.reason: is required",
        ),
    ],
)
def test_rules_that_cannot_be_are_refused_by_name(empty_home: Path, old: str, new: str, said: str) -> None:
    """Among them one that would set real crashes aside, and one that would let two bars of a session through."""
    configure(empty_home, old, new)
    with pytest.raises(ConfigError, match=said):
        load_quality(empty_home)


def test_a_project_without_rules_is_told_where_its_two_limits_have_gone(project: Project, now: datetime) -> None:
    (project.home / "config" / "quality.yaml").unlink()
    with pytest.raises(
        ConfigError, match=r"Copy config/quality\.yaml .* max_share of rejected_share and of symbols_complete"
    ):
        list(ingest_sessions(project, [FIRST], now))


def test_another_reason_makes_no_session_unfinished_and_another_number_does(project: Project, now: datetime) -> None:
    whole(project, [FIRST], now)
    configure(project.home, "a bar of no symbol cannot be scored", "whose bar would that be?")
    assert session_is_done(project, FIRST)
    configure(project.home, "max_log: 0.6", "max_log: 0.65")
    assert not session_is_done(project, FIRST)


def test_the_history_has_no_row_in_quarantine(project: Project) -> None:
    assert quarantined(open_project(project.home, date(2013, 3, 4))) == []
