"""Experiments as a person runs them: the command, its files, its page, the notebook."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from countersign.cli import main
from countersign.experiments.plan import Experiment, Variant
from countersign.pages.experiment import experiment_page
from countersign.pages.page import page_html
from countersign.project import Project
from countersign.steps.experiment import run_experiments
from tests.desk import NOON, Desk, configure

MINE = """\
question: Which is <best>?
decide_by: qlike
variants:
  - {name: ridge 300, ridge_penalty: 300}
  - {name: cutoff 0.5, cutoff: 0.5}
  - {name: ten sessions, horizon_sessions: 10}
"""


def countersign(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--home", str(home), *arguments])


def snapshot(home: Path) -> dict[str, bytes]:
    """Every file but the cache of the calendar, which may be made anew at any time."""
    files = (p for p in home.rglob("*") if p.is_file() and ".cache" not in p.parts)
    return {str(p.relative_to(home)): p.read_bytes() for p in files}


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(MINE, encoding="utf-8")
    return path


def test_a_run_writes_the_same_files_whatever_the_jobs_and_changes_nothing_else(
    desk: Desk, mine: Path, tmp_path: Path
) -> None:
    before = snapshot(desk.home)
    assert "artifacts/journal.jsonl" in before
    one = countersign(desk.home, "experiment", "run", str(mine), "--jobs", "1")
    two = countersign(desk.home, "experiment", "run", str(mine), "--jobs", "2", "--output", str(tmp_path / "two"))
    assert (one.exit_code, two.exit_code) == (0, 0), one.output + two.output
    after = snapshot(desk.home)
    own = {name: after.pop(name) for name in [*after] if name.startswith("artifacts/experiments/mine/")}
    assert after == before
    assert {Path(name).name: data for name, data in own.items()} == snapshot(tmp_path / "two")
    assert {Path(name).name for name in own} == {"experiment.json", "experiment.html", "mine.diff"}


def test_the_table_says_what_holds_zero_and_that_another_horizon_is_another_target(desk: Desk, mine: Path) -> None:
    arguments = ("experiment", "run", str(mine), "--jobs", "1", "--to", "2010-12-31")
    lines = countersign(desk.home, *arguments).stdout.splitlines()
    found = json.loads(countersign(desk.home, *arguments, "--json").stdout)
    assert max(map(len, lines[: lines.index("")])) <= 80
    variants = {variant["name"]: variant for variant in found["variants"]}
    configured = variants["as configured"]["measures"]["qlike"]
    beside = variants["ridge 300"]["measures"]["qlike"]["minus_configured"]
    cells = next(line for line in lines if line.startswith("ridge 300"))
    shown = [100 * beside[end] / configured["variant"] for end in ("value", "low", "high")]
    assert [float(number) for number in re.findall(r"[-+]\d+\.\d+(?!%)\b", cells)[-3:]] == pytest.approx(
        shown, abs=0.006
    )
    says = {"not distinguishable": "holds 0"}.get(beside["verdict"], beside["verdict"])
    assert cells.rstrip().endswith(says)
    assert configured["skill"]["value"] == pytest.approx(1 - configured["variant"] / configured["baseline"])
    far = variants["ten sessions"]["measures"]["qlike"]
    assert (far["configured"], far["minus_configured"]) == (None, None)
    assert far["skill"]["value"] == pytest.approx(1 - far["variant"] / far["baseline"])
    assert sum(line.rstrip().endswith("another target") for line in lines) == 2
    assert found["purge_sessions"] == 10


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        (MINE.replace("ridge_penalty", "ridge"), (), "variants.0.ridge: there is no such setting"),
        ("nothing", (), "expected settings as 'key: value'"),
        (MINE, ("--output", "artifacts/sessions/2008-09-02"), "expected a folder outside"),
        (MINE, ("--output", "config"), "expected a folder outside"),
        (MINE, ("--output", "config/pipeline.yaml"), "expected a folder outside"),
        (MINE, ("--from", "2012-06-01"), "Load a longer history"),
        (MINE, ("--jobs", "0"), "0 is not in the range x>=1"),
    ],
    ids=["unknown key", "no settings", "a session's folder", "settings", "a file", "too short", "no jobs"],
)
def test_bad_input_ends_with_code_2_and_writes_nothing(
    text: str, options: tuple[str, ...], said: str, desk: Desk, mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine.write_text(text, encoding="utf-8")
    before = snapshot(desk.home)
    monkeypatch.chdir(desk.home)
    result = countersign(desk.home, "experiment", "run", str(mine), *options)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stdout == ""
    assert snapshot(desk.home) == before


def test_the_diff_of_the_winner_gives_a_project_that_runs_and_evaluates_as_the_table_promised(
    desk: Desk, mine: Path
) -> None:
    configure(desk.home, ("ridge_penalty: 10 ", "ridge_penalty: 1e9 "))
    mine.write_text(
        "question: Was it too much?\ndecide_by: qlike\nvariants:\n"
        "  - {name: less, ridge_penalty: 30, window_sessions: 500, features_off: [skew_63, log_volume_ratio]}\n"
    )
    run = countersign(desk.home, "experiment", "run", str(mine), "--json")
    (choice,) = json.loads(run.stdout)["choices"]
    assert choice["winner"] == "less"
    promised = json.loads(run.stdout)["variants"][1]["measures"]
    diff = desk.home / "artifacts" / "experiments" / "mine" / "mine.diff"
    subprocess.run(["patch", "-p1", "-i", str(diff)], cwd=desk.home, check=True, capture_output=True)
    table = json.loads(countersign(desk.home, "evaluate", "--json").stdout)["table"]
    assert table["qlike"]["model"] == promised["qlike"]["variant"]
    assert table["auc"]["model"] == promised["auc"]["variant"]
    asked = countersign(desk.home, "retrain", "--reason", "less shrinkage", "--by", "carol@example.com")
    assert asked.exit_code == 0, asked.output


def workers(parent: int) -> list[int]:
    """Processes that ``parent`` started and that work: with threads, unlike the one that tracks what they share."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii").split()
    return [int(child) for child in children if len(list(Path(f"/proc/{child}/task").iterdir())) > 1]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts processes in /proc")
@pytest.mark.parametrize("ended", ["Ctrl-C", "killed", "a worker is killed"])
def test_a_run_that_is_ended_leaves_no_worker_and_no_file(ended: str, desk: Desk, tmp_path: Path) -> None:
    many = tmp_path / "many.yaml"
    lines = "".join(f"  - {{name: r{number}, ridge_penalty: {number + 1}}}\n" for number in range(100))
    many.write_text(f"question: Which?\ndecide_by: qlike\nvariants:\n{lines}")
    before = snapshot(desk.home)
    command = [sys.executable, "-c", "from countersign.cli import main; main()", "--home", str(desk.home)]
    # Its own group, to which a terminal sends Ctrl-C.
    process = subprocess.Popen(
        [*command, "experiment", "run", str(many), "--jobs", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while len(started := workers(process.pid)) < 2:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    if ended == "Ctrl-C":
        os.killpg(process.pid, signal.SIGINT)
    else:
        os.kill(process.pid if ended == "killed" else started[1], signal.SIGKILL)
    out, err = process.communicate(timeout=30)
    code, said = {
        "Ctrl-C": (1, "Aborted!"),
        "killed": (-signal.SIGKILL, ""),
        "a worker is killed": (2, "Error: a process that tried a variant ended before it was done"),
    }[ended]
    assert (process.returncode, out) == (code, "")
    assert err.strip().startswith(said)
    assert "Traceback" not in err
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{worker}").exists() for worker in started):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert snapshot(desk.home) == before


def test_a_file_that_is_not_there_is_named(desk: Desk) -> None:
    result = countersign(desk.home, "experiment", "run", "config/experiments/other.yaml")
    assert result.exit_code == 2
    assert "other.yaml" in result.stderr


def test_the_commands_of_the_guide_run(desk: Desk, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guide = (root / "docs" / "experiments.md").read_text(encoding="utf-8")
    commands = re.findall(r"^\$ countersign (.*)$", guide, flags=re.M)
    assert commands
    monkeypatch.chdir(desk.home)
    for command in commands:
        words = [path for word in shlex.split(command) for path in (sorted(map(str, Path().glob(word))) or [word])]
        jobs = () if "--jobs" in words else ("--jobs", "1")
        result = countersign(desk.home, *words, *jobs, "--to", "2009-06-30")
        assert result.exit_code == 0, result.output
    assert {path.name for path in (desk.home.parent / "my-experiment").iterdir()} == {
        "experiment.json",
        "experiment.html",
        "features.diff",
        "penalties.diff",
    }


class _Page(HTMLParser):
    """What a page would ask for, and what it draws."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.drawn = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.asked += [
            str(value) for name, value in attrs if name in {"src", "href"} and not str(value).startswith("#")
        ]
        self.asked += [tag] if tag in {"script", "link", "iframe", "img", "best"} else []
        self.drawn += tag == "svg"


def experiment_of(*variants: Variant) -> Experiment:
    return Experiment(question="Which is <best>?", decide_by="brier_loss", variants=variants)


@pytest.mark.parametrize(
    ("variants", "drawn"),
    [
        ([Variant(name="cutoff", cutoff=0.4), Variant(name="far", horizon_sessions=3)], 4),
        ([Variant(name="far", horizon_sessions=3)], 2),
    ],
    ids=["both", "another horizon alone"],
)
def test_the_page_asks_for_nothing_and_shows_every_variant(desk: Desk, variants: list[Variant], drawn: int) -> None:
    found = run_experiments(desk.project, {"mine": experiment_of(*variants)}, NOON, last="2009-06-30")
    html = page_html(experiment_page(found.record, found.diffs))
    page = _Page()
    page.feed(html)
    assert page.asked == []
    assert page.drawn == drawn
    assert all(html.count(f">{variant.name}<") >= 2 for variant in variants)
    assert "another horizon is another target" in html
    assert "Nothing is promoted by this" in html
    assert "White, A Reality Check for Data Snooping" in html


def test_a_measure_that_is_not_known_is_shown_as_unknown(desk: Desk) -> None:
    found = run_experiments(
        desk.project, {"mine": experiment_of(Variant(name="a", cutoff=0.4))}, NOON, last="2009-06-30"
    )
    record: dict[str, Any] = json.loads(json.dumps(found.record))
    unknown = {"value": None, "low": None, "high": None, "verdict": "insufficient evidence"}
    record["variants"][1]["measures"]["qlike"] |= {"variant": None, "skill": unknown, "minus_configured": unknown}
    html = page_html(experiment_page(record, found.diffs))
    assert html.count("unknown") > page_html(experiment_page(found.record, found.diffs)).count("unknown")


def test_the_notebook_runs_and_shows_table_plot_and_diff(project: Project, root: Path) -> None:
    nbformat = pytest.importorskip("nbformat", reason="needs the extra dev")
    from nbclient import NotebookClient

    folder = Path(shutil.copytree(root / "notebooks", project.home / "notebooks"))
    before = snapshot(project.home)
    notebook = nbformat.read(folder / "experiment.ipynb", as_version=4)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(folder)}}).execute()
    shown = json.dumps([cell.get("outputs", []) for cell in notebook.cells])
    for said in ("minus configured", "data:image/svg+xml;base64,", "# 'no returns' did best", "Of another target"):
        assert said in shown
    assert snapshot(project.home) == before
