"""The launcher behind ``make run``, Dagster's own command, and the executor by configuration, as a person has them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from countersign.monitoring.alerts import open_ids
from countersign.project import Project, open_project
from countersign.steps.retrain import make_candidate
from sensors.launch import launch, main
from tests.desk import ASKER, NOON, Desk
from tests.orchestration.conftest import files
from tests.steps import run_sessions

DEFINITIONS = """
from datetime import UTC, datetime
from pathlib import Path
from definitions import build_definitions
from resources import Clock

defs = build_definitions(
    Path({home!r}), resource_overrides={{"clock": Clock(datetime(2013, 3, 4, 12, 0, tzinfo=UTC))}}
)
"""


@pytest.fixture
def module(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module with the definitions of ``home``; Dagster keeps what it imported, so each has its own."""
    name = f"definitions_of_{tmp_path.name}"
    (tmp_path / "importable").mkdir()
    (tmp_path / "importable" / f"{name}.py").write_text(DEFINITIONS.format(home=str(home)))
    monkeypatch.syspath_prepend(tmp_path / "importable")
    return name


@pytest.fixture
def dagster_home(tmp_path: Path, root: Path) -> Path:
    """Dagster's folder with the shipped settings, as ``make`` sets it up."""
    (tmp_path / "dagster").mkdir()
    shutil.copy(root / "config" / "dagster.yaml", tmp_path / "dagster")
    return tmp_path / "dagster"


@pytest.fixture
def sqlite(dagster_home: Path) -> Iterator[dg.DagsterInstance]:
    """An instance on SQLite."""
    with dg.DagsterInstance.from_config(str(dagster_home)) as instance:
        yield instance


def test_the_launcher_runs_what_is_missing_and_does_no_work_twice(
    project: Project, module: str, sqlite: dg.DagsterInstance, now: datetime
) -> None:
    said: list[str] = []
    assert launch(project, "2008-09-01", "2008-09-03", now, sqlite, module, said.append)
    assert [line.split("  ")[1] for line in said] == ["1/2] 2008-09-02", "2/2] 2008-09-03"]
    assert all("symbols approved" in line for line in said)
    before = files(project.home / "artifacts")

    said.clear()
    assert launch(project, "2008-09-01", "2008-09-03", now, sqlite, module, said.append)
    (line,) = said
    assert line.startswith("2 of 2 sessions (2008-09-02 … 2008-09-03) complete already: not run again.")
    assert "countersign run --again --from 2008-09-02 --to 2008-09-03" in line
    assert sqlite.get_runs_count() == 2
    assert files(project.home / "artifacts") == before

    said.clear()
    assert launch(project, "2008-09-02", "2008-09-04", now, sqlite, module, said.append)
    assert said[0].startswith("[  3/3] 2008-09-04  ")
    assert said[1].startswith("2 of 3 sessions (2008-09-02 … 2008-09-04) complete already: not run again")
    assert sqlite.get_runs_count() == 3

    said.clear()
    assert launch(project, "2008-09-03", "2008-09-03", now, sqlite, module, said.append, again=True)
    assert said[0].startswith("[  1/1] 2008-09-03  ")
    assert sqlite.get_runs_count() == 4


def test_the_alert_of_a_restatement_ends_with_the_command_that_runs_all_again_where_no_daemon_does(
    project: Project, module: str, sqlite: dg.DagsterInstance, now: datetime
) -> None:
    days = ("2008-09-02", "2008-09-03")
    assert launch(project, *days, now, sqlite, module, list[str]().append)
    prices = project.home / "data/sample/prices.csv.gz"
    table = pd.read_csv(prices, dtype=str, keep_default_na=False)
    cell = (table["date"] == days[0]) & (table["symbol"] == "IBM")
    table.loc[cell, "close"] = (table.loc[cell, "close"].astype(float) * 1.01).astype(str)
    table.to_csv(prices, index=False)
    alert = f"prices_raw:restated {days[0]}@{days[0]}"
    assert launch(project, days[0], days[0], now, sqlite, module, list[str]().append, again=True)
    assert alert in open_ids(project.alerts.last()), "the second session is made from the old close"
    assert launch(project, *days, now, sqlite, module, list[str]().append)
    assert alert not in open_ids(project.alerts.last())


def test_a_session_that_no_model_in_force_may_score_again_does_not_stop_the_launcher(desk: Desk) -> None:
    session = "2008-09-02"
    run_sessions(desk.project, [session], NOON)
    said_then = files(desk.home / "artifacts" / "sessions")
    desk.decide("revoke", "bob", NOON, reason="trained on wrong bars")
    make_candidate(desk.project, "the first was revoked", ASKER, NOON)
    desk.decide("approve", "alice", NOON)
    desk.deploy(NOON)
    # Another word on the day makes it incomplete.
    desk.project.commentary(session).parent.mkdir(exist_ok=True)
    desk.project.commentary(session).write_text("A word.")
    said: list[str] = []
    with dg.DagsterInstance.ephemeral() as instance:
        assert launch(desk.project, session, session, NOON, instance, "no_such_module", said.append)
    assert [line.partition(":")[0] for line in said] == [f"{session}  left as it was said"]
    assert files(desk.home / "artifacts" / "sessions") == said_then


def test_a_run_that_fails_stops_the_launcher_with_one_line_that_says_why(
    project: Project, module: str, ephemeral: dg.DagsterInstance, now: datetime
) -> None:
    path = project.home / "data" / "sample" / "prices.csv.gz"
    prices = pd.read_csv(path, dtype=str)
    prices[prices["date"] != "2008-09-03"].to_csv(path, index=False)
    said: list[str] = []
    assert not launch(project, "2008-09-02", "2008-09-04", now, ephemeral, module, said.append)
    assert len(said) == 2
    assert said[1].startswith(
        "daily_job of 2008-09-03 failed at prices_raw: data/sample/prices.csv.gz: expected bars of session 2008-09-03"
    )
    assert not (project.home / "artifacts" / "sessions" / "2008-09-03").exists()


def test_the_multiprocess_executor_runs_each_step_in_a_process_of_its_own(
    home: Path, module: str, sqlite: dg.DagsterInstance
) -> None:
    config = home / "config" / "pipeline.yaml"
    config.write_text(config.read_text().replace("executor: in_process", "executor: multiprocess"))
    job = dg.build_reconstructable_job(
        "sensors.launch", "load_job", reconstructable_kwargs={"module": module, "job": "daily_job"}
    )
    steps = ["prices_raw", "prices_clean"]
    selection = [dg.AssetKey(step) for step in steps]
    with dg.execute_job(
        job, instance=sqlite, tags={"dagster/partition": "2008-09-02"}, asset_selection=selection
    ) as result:
        assert result.success
        workers = [e.step_key for e in result.all_events if e.event_type == dg.DagsterEventType.STEP_WORKER_STARTED]
    assert workers == steps
    assert (home / "artifacts" / "sessions" / "2008-09-02" / "prices_clean.json").exists()


@pytest.fixture
def shell(home: Path, dagster_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The environment of a person's shell; the project folder that it names."""
    monkeypatch.setenv("COUNTERSIGN_HOME", str(home))
    monkeypatch.setenv("DAGSTER_HOME", str(dagster_home))
    monkeypatch.delitem(sys.modules, "definitions", raising=False)
    return home


def test_the_command_ends_with_the_report_and_where_it_lies(shell: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--session", "2008-09-02"]) == 0
    out, err = capfd.readouterr()
    report = shell / "artifacts" / "sessions" / "2008-09-02" / "report.txt"
    assert report.read_text().split("\n-- artifact ")[0] in out
    assert f"Report     {report}\n" in out
    assert f"Artifacts  {shell / 'artifacts'}\n" in out
    assert err.startswith("[  1/1] 2008-09-02  ")
    # Who reads may have seen enough: countersign run … | head
    command = f"{sys.executable} -m sensors.launch --session 2008-09-02 | true; exit ${{PIPESTATUS[0]}}"
    unread = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120)
    assert (unread.returncode, "Traceback" in unread.stderr, "BrokenPipe" in unread.stderr) == (0, False, False)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("--session 2008-09-06", "2008-09-06 is no session of XNYS (a weekend, a holiday, or outside"),
        ("--session 2012-10-29", "the nearest are 2012-10-26 and 2012-10-31"),
        ("--session 2008-13-01", "expected a date such as 2008-09-30, found '2008-13-01'"),
        ("--session tomorrow", "expected a date such as 2008-09-30, found 'tomorrow'"),
        ("--session 2008-08-29", "expected a session of XNYS that has closed, from first_session (2008-09-02)"),
        ("--from 2008-09-04 --to 2008-09-02", "expected FROM before TO, found 2008-09-04 … 2008-09-02"),
        (
            "--from 2008-09-06 --to 2008-09-07",
            "to 2013-03-01; found none in 2008-09-06 … 2008-09-07. Name others: make run FROM=",
        ),
        ("--session 2013-03-04", "to 2013-03-01; found none in 2013-03-04"),
        (
            "--session 2008-09-05",
            "found no prices_clean of 3 sessions (2008-09-02 … 2008-09-04). Run them too: "
            "countersign run --from 2008-09-02 --to 2008-09-05",
        ),
        ("--session 2008-09-02 --to 2008-09-04", "expected one SESSION, or FROM and TO; found both"),
    ],
)
def test_the_command_refuses_what_it_cannot_run_and_changes_nothing(
    arguments: str, says: str, shell: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(shell / "artifacts")
    try:
        code = main(arguments.split())
    except SystemExit as end:  # argparse leaves by itself
        code = int(str(end.code))
    out, err = capsys.readouterr()
    assert code == 2
    assert says in err
    assert not out
    assert files(shell / "artifacts") == before


def test_the_command_refuses_a_session_to_come_and_names_the_newest_closed_one(
    shell: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    today = datetime.now(UTC).date()
    opened = open_project(shell, today)
    before = files(shell / "artifacts")
    assert main(["--session", str(opened.calendar.dates[-1])]) == 2
    newest = opened.calendar.last_closed(datetime.now(UTC))
    assert f"The newest closed session is {newest}: run that, or wait" in capsys.readouterr().err
    assert files(shell / "artifacts") == before


def test_the_command_refuses_a_broken_configuration_by_its_key(shell: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = shell / "config" / "pipeline.yaml"
    config.write_text(config.read_text().replace("cutoff: 0.20", "cutoff: 20"))
    before = files(shell / "artifacts")
    assert main(["--session", "2008-09-02"]) == 2
    assert "model.cutoff: Input should be less than 1" in capsys.readouterr().err
    assert files(shell / "artifacts") == before


def test_dagsters_own_command_says_what_is_wrong_exits_non_zero_and_changes_no_artifact(home: Path, root: Path) -> None:
    """Three commands at once, since each takes seconds to start: two on bad input, one on a broken configuration."""
    source = home / "data" / "sample" / "prices.csv.gz"
    pd.read_csv(source, dtype=str).drop(columns="close").to_csv(source, index=False)
    broken = home.parent / "broken"
    (broken / "config").mkdir(parents=True)
    (broken / "config" / "pipeline.yaml").write_text("calendar: XNYS\nfirst_session: soon\n")
    before = files(home / "artifacts")

    bad_input = [
        ("2008-09-06", home, "containing the passed partition key `2008-09-06`"),
        (
            "2008-09-02",
            home,
            "missing close, found date, symbol, open, high, low, adj_close, volume",
        ),
        ("2008-09-02", broken, "(value 'soon')"),
    ]

    def materialize(session: str, folder: Path, _: str) -> subprocess.CompletedProcess[str]:
        command = [
            "dagster",
            "asset",
            "materialize",
            "-m",
            "definitions",
            "--select",
            "key:prices_raw+ and tag:daily",
            "--partition",
        ]
        return subprocess.run(
            [str(Path(sys.executable).with_name(command[0])), *command[1:], session],
            cwd=root,
            env={k: v for k, v in os.environ.items() if k != "DAGSTER_HOME"} | {"COUNTERSIGN_HOME": str(folder)},
            capture_output=True,
            text=True,
            check=False,
        )

    with ThreadPoolExecutor() as pool:
        ended = list(pool.map(materialize, *zip(*bad_input, strict=True)))
    for process, (_, _, says) in zip(ended, bad_input, strict=True):
        assert process.returncode == 1, process.stderr
        assert says in process.stderr
    # A check that refused is an alert.
    assert {name: data for name, data in files(home / "artifacts").items() if "alerts" not in name} == before
