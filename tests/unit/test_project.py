"""Opening a project folder: what it holds, and what is said of one that cannot be used."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from countersign.errors import ConfigError
from countersign.project import open_project

TODAY = date(2008, 9, 30)


def configure(home: Path, old: str, new: str) -> None:
    path = home / "config" / "pipeline.yaml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_an_opened_project_knows_its_places_and_the_sessions_around_its_history(empty_home: Path) -> None:
    project = open_project(empty_home, TODAY)
    assert project.first_session == "2008-09-02"
    assert project.store.root == str(empty_home / "artifacts")
    assert project.journal.path == empty_home / "artifacts" / "journal.jsonl"
    assert project.commentary("2008-09-15") == empty_home / "commentary" / "2008-09-15.md"
    # The session before the history's first one, and the last one of next year.
    assert project.calendar.at("2000-03-01", -1) == "2000-02-29"
    assert str(project.calendar.dates[-1]) == "2009-12-31"
    assert not (empty_home / "artifacts").exists()


@pytest.mark.parametrize("root", ["file://{elsewhere}", "{elsewhere}", "{elsewhere}/"])
def test_artifacts_may_lie_in_another_folder_with_the_journal_beside_them(
    empty_home: Path, tmp_path: Path, root: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    configure(empty_home, "root: artifacts ", f"root: {root.format(elsewhere=elsewhere)} ")
    project = open_project(empty_home, TODAY)
    stored = project.store.write_text("report", "2008-09-02", "words\n", {})
    assert stored.location == str(elsewhere / "sessions" / "2008-09-02" / "report.txt")
    assert Path(stored.location).exists()
    assert project.journal.path == elsewhere / "journal.jsonl"


def test_the_journal_stays_on_a_local_disk_where_artifacts_do_not(empty_home: Path) -> None:
    configure(empty_home, "root: artifacts ", "root: memory://bucket ")
    project = open_project(empty_home, TODAY)
    assert project.store.root == "memory://bucket"
    assert project.journal.path == empty_home / "artifacts" / "journal.jsonl"


def test_a_first_session_on_a_closed_day_is_refused_with_the_sessions_around_it(empty_home: Path) -> None:
    configure(empty_home, "first_session: 2008-09-02", "first_session: 2008-09-01")
    with pytest.raises(
        ConfigError,
        match=r"^first_session: 2008-09-01 is no session of XNYS .* nearest are 2008-08-29 and 2008-09-02\. "
        r"Write one of them in config/pipeline\.yaml$",
    ):
        open_project(empty_home, TODAY)


def test_an_unknown_exchange_is_refused(empty_home: Path) -> None:
    configure(empty_home, "calendar: XNYS", "calendar: XNYZ")
    with pytest.raises(ConfigError, match=r"calendar: 'XNYZ' is not an exchange .* config/pipeline\.yaml"):
        open_project(empty_home, TODAY)
