"""Requests that Schemathesis makes from the server's description, right and wrong ones, against a server as a process.

Some hundreds in the suite. More than 10,000, which take some ten minutes, with ``COUNTERSIGN_CASES=2500``: that is how
many are drawn for each route.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE, STDOUT, run
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.desk import NOON, Desk
from tests.server import Server
from tests.steps import run_sessions

KNOWN = {"session": ["2008-09-02", "2008-09-03"], "symbol": ["AAPL", "GOOG", "IBM", "MSFT"]}
TOKEN = "a-token-of-thirty-two-characters-or-more"
CASES = os.environ.get("COUNTERSIGN_CASES", "15")


@pytest.fixture(scope="module")
def server(first_desk: Desk, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    desk = first_desk.copy(tmp_path_factory.mktemp("described") / "home")
    run_sessions(desk.project, KNOWN["session"], NOON)
    with Server(desk.home, environment={"COUNTERSIGN_TOKENS": TOKEN}, token=TOKEN) as running:
        yield running


def check(server: Server, folder: Path, description: dict[str, Any], *options: str) -> None:
    """Make requests from ``description``; each answer has to pass all checks, and to have no null and no NaN."""
    path = folder / "openapi.json"
    path.write_text(json.dumps(description), encoding="utf-8")
    command: list[str | Path] = [sys.executable, "-m", "schemathesis.cli", "run", path]
    command += [
        "--url",
        f"http://127.0.0.1:{server.port}",
        "--header",
        f"Authorization:Bearer {TOKEN}",
        "--phases",
        "examples,coverage,fuzzing",
    ]
    command += ["--max-examples", CASES, "--seed", "1", "--suppress-health-check", "all", "--checks", "all", *options]
    hooks = {"SCHEMATHESIS_HOOKS": str(ROOT / "tests" / "unknown_values.py"), "NO_COLOR": "1"}
    done = run(command, cwd=folder, env=os.environ | hooks, stdout=PIPE, stderr=STDOUT, text=True)
    print(done.stdout)
    assert done.returncode == 0, done.stdout


def test_every_answer_is_one_that_the_description_names(server: Server, tmp_path: Path) -> None:
    # A symbol or a session that is not known is refused, which no description tells beforehand.
    check(server, tmp_path, server.ask("/openapi.json").json, "--exclude-checks", "positive_data_acceptance")


def test_a_request_that_the_description_allows_is_answered_where_its_names_are_known(
    server: Server, tmp_path: Path
) -> None:
    description = server.ask("/openapi.json").json
    schemas = description["components"]["schemas"]
    # Made-up bars break the rules on prices.
    del schemas["Predict"]["properties"]["bars"]
    schemas["Predict"]["oneOf"].remove({"required": ["bars"]})
    for name, known in KNOWN.items():
        schemas["Item"]["properties"][name] = {"enum": known}
        for path in description["paths"].values():
            for parameter in path.get("get", {}).get("parameters", ()):
                if parameter["name"] == name:
                    parameter["schema"] = {"enum": known}
    check(server, tmp_path, description, "--mode", "positive")
