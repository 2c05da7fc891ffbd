"""A process killed at any point of any write leaves the old artifact or the new one, and running again mends it."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

MOMENTS = ("temporary file written", "before rename", "renamed")


@dataclass(frozen=True)
class Runner:
    """The process that runs steps in children and kills them: see ``killed``."""

    process: subprocess.Popen[str]

    def run(self, home: Path, job: str, kill: int = 0) -> tuple[int, list[str]]:
        """The exit code (negative: the signal) of ``job``, and the points that it reached."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps({"home": str(home), "job": job, "kill": kill}) + "\n")
        self.process.stdin.flush()
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        return found["exit"], found["points"]

    def must(self, home: Path, job: str) -> list[str]:
        """Run ``job`` to its end."""
        code, points = self.run(home, job)
        assert code == 0
        return points


@pytest.fixture(scope="module")
def runner(root: Path) -> Iterator[Runner]:
    command = [sys.executable, str(Path(__file__).with_name("killed.py"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        yield Runner(process)
        assert process.stdin
        process.stdin.close()


def configure(home: Path, old: str, new: str) -> None:
    path = home / "config" / "pipeline.yaml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def change_bar(home: Path, start: str, cell: int, value: str) -> None:
    """Have the source say ``value`` in a cell of the bar whose line starts so."""
    path = home / "data/sample/prices.csv.gz"
    rows = [line.split(",") for line in gzip.decompress(path.read_bytes()).decode().splitlines()]
    (row,) = (row for row in rows if ",".join(row).startswith(start))
    row[cell] = value
    path.write_bytes(gzip.compress("\n".join(",".join(row) for row in rows).encode(), 1))


def artifacts(home: Path) -> dict[str, bytes]:
    """Every file in the artifacts folder, but for the temporary files that a killed writer leaves.

    Without what the first line of a journal has by chance, and the hash of the line that follows from it.
    """
    root = home / "artifacts"
    found = {
        str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file() and p.suffix != ".tmp"
    }
    if "journal.jsonl" in found:
        chance = rb'"nonce":"[0-9a-f]{32}"|"sha256":"[0-9a-f]{64}"(?=\})'
        found["journal.jsonl"] = re.sub(chance, b"", found["journal.jsonl"])
    return found


def kill_everywhere(runner: Runner, start: Path, job: str, work: Path, end: str = "") -> tuple[set[str], list[str]]:
    """Kill ``job`` at each point that it reaches, each time on a copy of the folder ``start``, and run it again.

    Only at points whose name ends with ``end``. Returns the artifacts that it writes, and all points.
    """
    undisturbed = Path(shutil.copytree(start, work / "undisturbed"))
    points = runner.must(undisturbed, job)
    old, new = artifacts(start), artifacts(undisturbed)
    assert points
    for number, point in enumerate(points, start=1):
        if not point.endswith(end):
            continue
        home = Path(shutil.copytree(start, work / "killed"))
        assert runner.run(home, job, kill=number) == (-signal.SIGKILL, points[:number])
        left = artifacts(home)
        torn = [
            name
            for name in old.keys() | new.keys() | left.keys()
            if left.get(name) not in {old.get(name), new.get(name)}
        ]
        assert not torn, f"killed at {point!r}"
        strays = list((home / "artifacts").rglob("*.tmp"))
        assert len(strays) == (not point.endswith("renamed") and point.split(": ")[1] in MOMENTS), (
            f"killed at {point!r}"
        )
        runner.must(home, job)
        assert artifacts(home) == new, f"run again after {point!r}"
        shutil.rmtree(home)
    return {name for name in new if new[name] != old.get(name)}, points


def points_of(names: set[str]) -> set[str]:
    """The points that writing the artifacts ``names`` must pass."""
    return {f"{Path(name).name}: {moment}" for name in names for moment in MOMENTS}


# The moments of a write are the same whatever the format, so Parquet is killed at the last one before it counts only.
@pytest.mark.parametrize(("form", "end"), [("json", ""), ("parquet", "before rename")])
def test_a_session_killed_at_any_write_is_whole_and_mended_by_running_it_again(
    runner: Runner, bootstrapped_home: Path, tmp_path: Path, form: str, end: str
) -> None:
    start = Path(shutil.copytree(bootstrapped_home, tmp_path / "start"))
    configure(start, "format: json", f"format: {form}")
    runner.must(start, "session")
    # What the source says has changed since, so that an old and a new version of every artifact differ.
    change_bar(start, "2008-09-02,MSFT,", 3, "28.50")
    written, points = kill_everywhere(runner, start, "session", tmp_path, end)
    (kept,) = (name for name in written if re.search(r"/prices_raw\.[0-9a-f]{12}\.", name))
    # The version that was restated, under its digest.
    assert (tmp_path / "undisturbed/artifacts" / kept).read_bytes() == artifacts(start)[
        f"sessions/2008-09-02/prices_raw.{form}"
    ]
    assert written == {
        kept,
        f"sessions/2008-09-02/restatements.{form}",
        *(f"sessions/2008-09-02/{table}.{form}" for table in ("prices_raw", "prices_clean", "prices_rejected")),
        *(f"sessions/2008-09-02/{table}.{form}" for table in ("features", "scores", "drift", "metrics")),
        "sessions/2008-09-02/report.html",
        "sessions/2008-09-02/report.txt",
        "predictions/2008-09.jsonl",
    }
    unchanged = f"sessions/2008-09-02/outcomes.{form}"
    assert set(points) == points_of(written - {"predictions/2008-09.jsonl"} | {unchanged}) | {"journal: scored written"}


def test_outcomes_killed_at_any_write_are_whole_and_mended_by_running_again(
    runner: Runner, bootstrapped_home: Path, tmp_path: Path
) -> None:
    start = Path(shutil.copytree(bootstrapped_home, tmp_path / "start"))
    runner.must(start, "week")
    runner.must(start, "outcomes")
    change_bar(start, "2008-09-04,MSFT,", 3, "28.50")
    runner.must(start, "week")
    written, points = kill_everywhere(runner, start, "outcomes", tmp_path)
    assert written == {"sessions/2008-09-09/outcomes.json"}
    assert set(points) == points_of(written)


def test_a_history_killed_at_any_write_is_whole_and_mended_by_loading_it_again(
    runner: Runner, empty_home: Path, tmp_path: Path
) -> None:
    runner.must(empty_home, "history")
    # A bar of the last 63 sessions is broken now: it leaves the history and is rejected. Another is restated.
    change_bar(empty_home, "2008-08-28,MSFT,", 2, "-1")
    change_bar(empty_home, "2008-08-28,IBM,", 7, "123456")
    written, points = kill_everywhere(runner, empty_home, "history", tmp_path)
    (kept,) = (name for name in written if re.search(r"/prices\.[0-9a-f]{12}\.", name))
    assert written == {
        kept,
        "history/restatements.parquet",
        "history/prices.parquet",
        "history/before_2008-09-02.parquet",
        "history/rejected.json",
    }
    assert set(points) == points_of(written)


def test_a_first_model_killed_at_any_write_is_not_half_deployed_and_comes_into_service_by_running_again(
    runner: Runner, empty_home: Path, tmp_path: Path
) -> None:
    for usual, quick in (
        ("start: 2000-03-01", "start: 2006-06-01"),
        ("min_training_sessions: 756", "min_training_sessions: 252"),
        ("fold_sessions: 63", "fold_sessions: 126"),
        ("bootstrap_replications: 500", "bootstrap_replications: 100"),
    ):
        configure(empty_home, usual, quick)
    runner.must(empty_home, "history")
    written, points = kill_everywhere(runner, empty_home, "model", tmp_path)
    (addressed,) = (name for name in written if name.startswith("models/"))
    assert written == {addressed, "journal.jsonl", "journal.lock", "model.json"}
    assert points == [
        *(f"model.json: {moment}" for moment in MOMENTS),
        "model: before journal",
        "journal: deployed written",
        "model: before publishing",
        *(f"model.json: {moment}" for moment in MOMENTS),
    ]
