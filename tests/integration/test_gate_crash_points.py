"""A decision, a retrain and a deployment killed at any point happen once all the same, when they are tried again."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from countersign.gate.state import BOOTSTRAP
from countersign.steps.gate import verify_project
from countersign.steps.retrain import ask_as_person
from tests.desk import NOON, Desk
from tests.integration.test_crash_points import MOMENTS, Runner


@pytest.fixture(scope="module")
def runner(root: Path) -> Iterator[Runner]:
    command = [sys.executable, str(Path(__file__).with_name("killed.py"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        yield Runner(process)
        assert process.stdin
        process.stdin.close()


def kill_everywhere(runner: Runner, start: Desk, job: str, work: Path) -> Iterator[tuple[str, Desk, Desk]]:
    """Kill ``job`` at each of its points; the point, the project as it was left, and after a retry."""
    points = runner.must(start.copy(work / "undisturbed").home, job)
    for number, point in enumerate(points, start=1):
        left = start.copy(work / f"killed {number}")
        assert runner.run(left.home, job, kill=number) == (-signal.SIGKILL, points[:number])
        left.project.journal.read()
        again = left.copy(work / f"again {number}")
        runner.must(again.home, job)
        yield point, left, again
        shutil.rmtree(left.home)
        shutil.rmtree(again.home)


def copies(points: list[str], name: str) -> bool:
    return all(f"{name}: {moment}" in points for moment in MOMENTS)


def test_a_decision_killed_at_any_point_is_on_record_once(runner: Runner, desk: Desk, tmp_path: Path) -> None:
    desk.ask(1)
    (desk.home / "signed.json").write_text(json.dumps(desk.signed("approve", "alice", NOON)))
    points = []
    for point, left, again in kill_everywhere(runner, desk, "submit", tmp_path):
        points.append(point)
        assert left.scoring() == desk.scoring(), "a decision deploys nothing"
        assert again.events.count("signed") == 1, point
        assert verify_project(again.project)[1:] == ([], [])
    assert points == ["journal: signed written"]


def test_a_retrain_killed_at_any_point_comes_to_one_request_on_a_whole_candidate(
    runner: Runner, desk: Desk, tmp_path: Path
) -> None:
    runner.must(desk.home, "session")
    ask_as_person(desk.project, "autumn", "carol@example.com", NOON)
    points, requests = [], set()
    for point, left, again in kill_everywhere(runner, desk, "retrain", tmp_path):
        points.append(point)
        assert left.scoring() == desk.scoring()
        assert len(left.state.requests) == (point == "journal: sign_off_requested written")
        (request,) = again.state.requests
        requests.add((request.candidate, request.evidence))
        assert again.state.open_retrain is None
        again.decide("approve", "alice", NOON)
        assert again.deploy(NOON) == request.candidate
        assert verify_project(again.project)[1:] == ([], [])
    assert len(requests) == 1, "the same bytes whenever it was killed"
    assert copies(points, "model.json")
    assert copies(points, "evidence.json")
    assert [point for point in points if point.split(": ")[1] not in MOMENTS] == [
        "retrain: candidate stored",
        "retrain: evidence stored",
        "journal: sign_off_requested written",
    ]


def test_a_deployment_killed_at_any_point_happens_once_and_leaves_a_whole_champion(
    runner: Runner, desk: Desk, tmp_path: Path
) -> None:
    request = desk.ask(1)
    desk.decide("approve", "alice", NOON)
    first, points = desk.scoring(), []
    journaled = False
    for point, left, again in kill_everywhere(runner, desk, "deploy", tmp_path):
        points.append(point)
        journaled = journaled or point == "journal: deployed written"
        assert left.scoring() == (request.candidate if journaled else first), "the journal's line is what counts"
        assert again.scoring() == request.candidate
        assert [d.decision for d in again.state.deployments][:1] == [BOOTSTRAP]
        assert again.events.count("deployed") == 2, point
        published = again.home / "artifacts" / "model.json"
        assert published.read_bytes() == (published.parent / "models" / request.candidate / "model.json").read_bytes()
        assert verify_project(again.project)[1:] == ([], [])
    assert points == [
        "deploy: verified",
        "journal: deployed written",
        "deploy: journaled",
        "deploy: before publishing",
        *(f"model.json: {moment}" for moment in MOMENTS),
    ]
