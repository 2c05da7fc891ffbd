"""``import countersign``: what a notebook reads is what runs wrote, and it changes nothing."""

from __future__ import annotations

import doctest
import json
import shutil
from datetime import date, datetime
from pathlib import Path

import pandas as pd
import pytest

import countersign
import countersign.api
from countersign.api import ProjectReader
from countersign.errors import ArtifactError, ConfigError, ModelError, QualityError, SessionError
from countersign.project import open_project
from tests.steps import run_sessions

SESSIONS = ["2008-09-02", "2008-09-03", "2008-09-04", "2008-09-05", "2008-09-08", "2008-09-09", "2008-09-10"]


@pytest.fixture(scope="module")
def run_home(bootstrapped_home: Path, tmp_path_factory: pytest.TempPathFactory, now: datetime) -> Path:
    """A project of which ``SESSIONS`` were run. Read only."""
    home = Path(shutil.copytree(bootstrapped_home, tmp_path_factory.mktemp("api") / "home"))
    project = open_project(home, date(2013, 3, 4))
    run_sessions(project, SESSIONS, now)
    return home


@pytest.fixture
def project(run_home: Path) -> ProjectReader:
    return countersign.open_project(run_home)


def written(home: Path, name: str, session: str) -> list[dict[str, object]]:
    """The rows of an artifact, read without Countersign."""
    rows: list[dict[str, object]] = json.loads((home / f"artifacts/sessions/{session}/{name}.json").read_bytes())[
        "data"
    ]
    return rows


def test_the_examples_in_the_docstrings_and_on_the_page_are_what_python_prints_and_nothing_is_written(
    project: ProjectReader, run_home: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {p: p.read_bytes() for p in run_home.rglob("*") if p.is_file() and ".cache" not in p.parts}
    page = root / "docs" / "python.md"
    monkeypatch.chdir(run_home)
    docstrings = doctest.testmod(countersign.api, globs={"project": project})
    examples = doctest.testfile(str(page), module_relative=False)
    assert (docstrings.failed, examples.failed) == (0, 0)
    assert docstrings.attempted >= 10
    assert examples.attempted >= 10
    assert {p: p.read_bytes() for p in run_home.rglob("*") if p.is_file() and ".cache" not in p.parts} == files


@pytest.mark.parametrize("name", ["scores", "metrics", "prices_clean", "features", "drift"])
def test_a_range_has_the_rows_of_each_session_in_order_as_they_were_written(
    name: countersign.api.TableName, project: ProjectReader, run_home: Path
) -> None:
    found = project.table(name, "2008-09-06", date(2008, 9, 9))
    expected = [row for session in ("2008-09-08", "2008-09-09") for row in written(run_home, name, session)]
    assert list(found.columns) == list(expected[0])
    shown = json.loads(found.assign(date=found["date"].astype(str)).to_json(orient="records", double_precision=15))
    assert len(shown) == len(expected)
    for row, wanted in zip(shown, expected, strict=True):
        assert row == {key: pytest.approx(v, rel=1e-12) if isinstance(v, float) else v for key, v in wanted.items()}


def test_prices_go_on_from_the_history_into_the_daily_sessions_without_a_gap_or_a_repetition(
    project: ProjectReader,
) -> None:
    found = project.prices("2008-08-27", "2008-09-03")
    days = ["2008-08-27", "2008-08-28", "2008-08-29", "2008-09-02", "2008-09-03"]
    assert found.groupby("symbol")["date"].apply(lambda column: column.astype(str).tolist()).tolist() == [days] * 4


def test_a_session_before_the_first_daily_one_is_of_the_history_alone(run_home: Path, tmp_path: Path) -> None:
    home = Path(shutil.copytree(run_home, tmp_path / "home"))
    config = home / "config" / "pipeline.yaml"
    config.write_text(config.read_text().replace("first_session: 2008-09-02", "first_session: 2008-09-04"))
    found = countersign.open_project(home).prices("2008-08-29", "2008-09-04")
    assert sorted(set(found["date"].astype(str))) == ["2008-08-29", "2008-09-04"]


@pytest.mark.parametrize(
    ("first", "last", "error", "says"),
    [
        ("2009-01-02", None, ArtifactError, "2009-01-02"),
        ("2008-09-03", "2008-09-02", SessionError, "first before last"),
        ("soon", None, SessionError, "'soon'"),
    ],
)
def test_a_range_without_a_session_that_was_run_is_an_error_and_no_empty_table(
    first: str, last: str | None, error: type[Exception], says: str, project: ProjectReader
) -> None:
    for read in (project.scores, project.metrics, project.prices):
        with pytest.raises(error, match=says):
            read(first, last)


def test_bars_that_cannot_be_scored_are_refused(project: ProjectReader) -> None:
    bars = project.prices("2008-05-01", "2008-09-10")
    with pytest.raises(SessionError, match="expected bars of 2008-09-11"):
        project.score(bars, "2008-09-11")
    with pytest.raises(ModelError, match="it would look ahead"):
        project.score(bars, "2008-08-28")
    with pytest.raises(QualityError, match="one bar a session and symbol, found 4 more"):
        project.score(pd.concat([bars, bars[bars["date"] == "2008-09-10"]]))
    with pytest.raises(ArtifactError, match="missing daily_variance"):
        project.score(bars.drop(columns="daily_variance"))
    with pytest.raises(ArtifactError, match="without rows"):
        project.score(bars.head(0))


def test_a_damaged_artifact_is_refused_and_an_unknown_table_is_named(run_home: Path, tmp_path: Path) -> None:
    home = Path(shutil.copytree(run_home, tmp_path / "home"))
    path = home / "artifacts" / "sessions" / "2008-09-03" / "scores.json"
    path.write_bytes(path.read_bytes().replace(b'"hold"', b'"sold"', 1))
    project = countersign.open_project(home)
    assert len(project.scores("2008-09-02")) == 4
    with pytest.raises(ArtifactError, match="truncated or altered"):
        project.scores("2008-09-02", "2008-09-04")
    with pytest.raises(ArtifactError, match="expected one of prices_raw"):
        project.table("score", "2008-09-02")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="found none at"):
        countersign.open_project(tmp_path)
