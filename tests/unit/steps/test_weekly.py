"""The weekly review of a project folder: what is in it, what it refuses, and that it is as of its own week."""

from __future__ import annotations

import shutil
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from countersign.checks import CheckResult
from countersign.errors import ArtifactError, SessionError
from countersign.monitoring.latency import no_runs
from countersign.pages.weekly import THEIR_WORDS
from countersign.project import Project, open_project
from countersign.steps.alerts import note_checks
from countersign.steps.made import Made
from countersign.steps.metrics import MEASURES, metric_sessions
from countersign.steps.monitoring import drift_sessions, outcome_sessions
from countersign.steps.prices import clean_sessions, ingest_sessions
from countersign.steps.reports import report_sessions
from countersign.steps.scoring import feature_sessions, score_sessions
from countersign.steps.weekly import due_week, review_complete, review_weeks, week_sessions
from tests.desk import NOON, Desk
from tests.steps import run_sessions

TODAY = date(2013, 3, 4)
NEW_YORK = ZoneInfo("America/New_York")
FIRST, SECOND = "2008-09-01", "2008-09-08"
"""The Mondays of the first two weeks: four sessions (Labor Day), and five."""

FAILED = CheckResult("auc", "fail", "AUC is low", numbers={"value": 0.5, "threshold": 0.55}, layer="model")
PASSED = CheckResult("auc", "pass", "AUC is fine", layer="model")


@pytest.fixture(scope="module")
def two_weeks(bootstrapped_home: Path, tmp_path_factory: pytest.TempPathFactory, now: datetime) -> Path:
    """A project folder with the first two weeks, and an alert that lasts from the first into the second."""
    home = Path(shutil.copytree(bootstrapped_home, tmp_path_factory.mktemp("two_weeks") / "home"))
    project = open_project(home, TODAY)
    sessions = project.daily_sessions(now)[:9]
    list(ingest_sessions(project, sessions, now))
    list(clean_sessions(project, sessions))
    list(feature_sessions(project, sessions))
    list(score_sessions(project, sessions, now))
    list(outcome_sessions(project, sessions))
    list(drift_sessions(project, sessions))
    list(metric_sessions(project, sessions, no_runs, now))
    list(report_sessions(project, sessions))
    note_checks(project, "metrics", [("2008-09-04", FAILED)], now)
    # Thresholds are replayed from here on: of eight years it would take several times as long.
    configured(home, "start: 2000-03-01", "start: 2005-01-03")
    return home


@pytest.fixture(scope="module")
def first(two_weeks: Path, now: datetime) -> Made:
    """The review of the first week."""
    (made,) = review_weeks(open_project(two_weeks, TODAY), [FIRST], now)
    return made


@pytest.fixture
def project(two_weeks: Path, first: Made, tmp_path: Path) -> Project:
    """The project with the first week's review, which the test may change."""
    del first
    return open_project(Path(shutil.copytree(two_weeks, tmp_path / "home")), TODAY)


def configured(home: Path, old: str, new: str) -> Project:
    path = home / "config" / "pipeline.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return open_project(home, TODAY)


def test_a_review_lies_by_its_iso_week_as_a_page_and_a_text_and_names_what_it_is_made_from(
    first: Made, two_weeks: Path
) -> None:
    store = open_project(two_weeks, TODAY).store
    folder = two_weeks / "artifacts" / "reviews" / "2008-W36"
    assert {path.name for path in folder.iterdir()} == {"weekly_review.html", "weekly_review.txt"}
    html, stored = store.read_text("weekly_review", "2008-W36", "html")
    text, of_text = store.read_text("weekly_review", "2008-W36")
    assert stored.sha256 == first.stored.sha256
    assert stored.inputs["text"] == of_text.sha256[:16]
    assert {"metrics", "drift", "scores", "outcomes", "alerts", "replay", "thresholds", "model"} <= {*of_text.inputs}
    assert text.startswith("WEEKLY REVIEW 2008-W36\n")
    assert html.startswith("<!DOCTYPE html>")
    assert html.endswith("</html>")
    assert first.session == FIRST
    assert {check.name: check.status for check in first.checks} == {
        "sessions_reviewed": "pass",
        "review_complete": "pass",
    }
    for made in (html, text):
        assert str(two_weeks) not in made
        assert "2 September 2008 to 5 September 2008, XNYS: 4 of 4 sessions" in " ".join(made.split())


def test_what_comes_after_a_week_changes_no_byte_of_its_review(first: Made, project: Project, now: datetime) -> None:
    """The alert ends in the week after, another one opens, the review's own check fails, and the model leaves and comes
    back by a signature: none is of that week."""
    late = CheckResult("sessions_reviewed", "fail", "too late")
    note_checks(project, "metrics", [("2008-09-09", PASSED), ("2008-09-10", FAILED)], now)
    note_checks(project, "weekly_review", [(FIRST, late)], now)
    model = project.store.digest("model", None)
    again_in_service = {"model": model, "decision": "d" * 64, "request": None, "replaces": "e" * 64}
    project.journal.append("deployed", now, why="alice@example.com rolled back: it was right", **again_in_service)
    (again,) = review_weeks(project, [FIRST], now.replace(year=2014))
    assert again.stored.sha256 == first.stored.sha256
    assert again.numbers["open_alerts"] == 1
    assert "2008-09-04  auc      open" in project.store.read_text("weekly_review", "2008-W36")[0]


def test_what_was_decided_on_the_models_since_the_week_is_told_as_it_is_now(desk: Desk) -> None:
    first = desk.scoring()
    run_sessions(desk.project, ["2008-09-02"], NOON)
    unsigned = "without a signature: nobody has reviewed it"
    assert unsigned in " ".join(desk.project.store.read_text("report", "2008-09-02")[0].split())
    desk.decide("revoke", "bob", NOON, reason="trained on wrong bars")
    desk.ask(1)
    desk.decide("approve", "alice", NOON)
    desk.deploy(NOON)
    waiting = desk.ask(2)
    list(review_weeks(desk.project, [FIRST], NOON))
    text = " ".join(desk.project.store.read_text("weekly_review", "2008-W36")[0].split())
    assert unsigned not in text
    assert text.count(f"signatures: countersign review {waiting.id}") == 1
    said = f"{first[:12]}, which made scores of the week, was revoked by bob@example.com: trained on wrong bars."
    assert said in text


def test_a_session_that_is_not_whole_is_named_with_its_command_and_the_rest_is_reviewed(
    project: Project, now: datetime
) -> None:
    (project.home / "artifacts" / "sessions" / "2008-09-10" / "report.txt").unlink()
    words = "Ada: <b>all</b> thresholds stay.\n"
    project.commentary("2008-W37").parent.mkdir(exist_ok=True)
    project.commentary("2008-W37").write_text(words)
    (made,) = review_weeks(project, [SECOND], now)
    reviewed = {check.name: check for check in made.checks}["sessions_reviewed"]
    assert (reviewed.status, reviewed.blocking) == ("fail", False)
    assert reviewed.sentence == (
        "4 of 5 sessions of the week are in it; not 2008-09-10: make run FROM=2008-09-10 TO=2008-09-10"
    )
    assert (made.numbers["sessions"], made.numbers["quarter_sessions"]) == (4, 8)
    text, html = (project.store.read_text("weekly_review", "2008-W37", form)[0] for form in ("txt", "html"))
    assert "2008-09-10 is not in the store, or not whole: make run SESSION=2008-09-10." in " ".join(text.split())
    assert words in text
    assert "Ada: &lt;b&gt;all&lt;/b&gt; thresholds stay." in html


@pytest.mark.parametrize(
    ("monday", "moment", "error", "says"),
    [
        (SECOND, datetime(2008, 9, 12, 19, 59, tzinfo=UTC), SessionError, "2008-09-12, closes at 2008-09-12 20:00 UTC"),
        (
            "2008-08-25",
            datetime(2008, 9, 12, tzinfo=UTC),
            SessionError,
            "in the week of 2008-08-25 (2008-W35), found none",
        ),
        (
            "2008-09-15",
            datetime(2008, 9, 20, tzinfo=UTC),
            ArtifactError,
            "at least one session of 2008-09-15 (2008-W38) in the store",
        ),
    ],
)
def test_a_week_that_cannot_be_reviewed_is_refused_with_what_to_do_and_nothing_is_written(
    monday: str, moment: datetime, error: type[Exception], says: str, project: Project
) -> None:
    before = sorted(path for path in (project.home / "artifacts").rglob("*"))
    with pytest.raises(error) as refusal:
        list(review_weeks(project, [monday], moment))
    assert says in str(refusal.value)
    assert sorted(path for path in (project.home / "artifacts").rglob("*")) == before


def test_a_damaged_session_is_refused_by_name_rather_than_left_out(project: Project, now: datetime) -> None:
    path = project.home / "artifacts" / "sessions" / "2008-09-09" / "metrics.json"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ArtifactError, match=r"metrics of 2008-09-09 at .* cannot be used"):
        list(review_weeks(project, [SECOND], now))
    assert not project.store.has("weekly_review", "2008-W37", "html")


def test_a_missing_review_is_told_of_with_the_command_that_makes_it(project: Project) -> None:
    with pytest.raises(ArtifactError, match="--select weekly_review --partition 2008-12-29"):
        project.store.read_text("weekly_review", "2009-W01", "html")


@pytest.mark.parametrize(
    ("tick", "monday"),
    [
        (datetime(2008, 9, 6, 9, tzinfo=NEW_YORK), FIRST),
        (datetime(2008, 9, 13, 9, tzinfo=NEW_YORK), SECOND),
        (datetime(2008, 9, 12, 15, 59, tzinfo=NEW_YORK), FIRST),
        (datetime(2008, 9, 12, 16, 0, tzinfo=NEW_YORK), SECOND),
        (datetime(2008, 9, 15, 9, tzinfo=NEW_YORK), SECOND),
        # Good Friday: the week's last session was Thursday's.
        (datetime(2009, 4, 9, 16, 0, tzinfo=NEW_YORK), "2009-04-06"),
        (datetime(2008, 8, 30, 9, tzinfo=NEW_YORK), None),
        (datetime(2013, 3, 9, 9, tzinfo=NEW_YORK), None),
    ],
)
def test_the_week_that_is_due_is_the_newest_whose_sessions_have_closed(
    tick: datetime, monday: str | None, project: Project
) -> None:
    assert due_week(project, tick) == monday


def test_a_market_that_never_closes_has_its_week_due_when_sunday_is_over(empty_home: Path) -> None:
    project = configured(empty_home, "calendar: XNYS", "calendar: 24/7")
    assert due_week(project, datetime(2008, 9, 13, 9, tzinfo=UTC)) == FIRST
    assert due_week(project, datetime(2008, 9, 15, 0, 0, tzinfo=UTC)) == SECOND


def test_a_week_whose_every_session_was_never_delivered_is_none_that_is_due_or_reviewed(
    empty_home: Path, now: datetime
) -> None:
    gone = ", ".join(f"2008-09-{day:02}" for day in range(8, 13))
    project = configured(empty_home, "missing_sessions: []", f"missing_sessions: [{gone}]")
    assert week_sessions(project, SECOND) == []
    assert due_week(project, datetime(2008, 9, 13, 9, tzinfo=NEW_YORK)) is None
    with pytest.raises(SessionError, match="there is nothing to review"):
        list(review_weeks(project, [SECOND], now))


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("{all}\n", "pass"),
        ("{all}\n" + "x" * 81, "fail"),
        ("rows\n", "fail"),
        ("", "fail"),
    ],
)
def test_a_text_that_lacks_a_measure_or_is_too_wide_fails(text: str, status: str) -> None:
    assert review_complete(text.format(all="\n".join(MEASURES)), None).status == status


def test_a_persons_words_are_no_part_of_what_is_checked() -> None:
    own = "\n".join(MEASURES)
    short = f"{own}\n  {THEIR_WORDS}\n\ne\n\nend\n"
    assert review_complete(short, "e\n").status == "pass", "an e is in every measure's name"
    wide = f"{own}\n  {THEIR_WORDS}\n\n{'x' * 200}\n\nend\n"
    assert review_complete(wide, "x" * 200 + "\n\n\n\n").status == "pass"
    assert review_complete(wide, None).status == "fail"
