"""The README and the docs say what is true: commands run, figures are the printed ones, links lead somewhere."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
import tomllib
import urllib.error
import urllib.request
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from countersign.cli import main

NOT_HERE = {
    "make ui": "runs until it is stopped: the test below starts it, asks it and stops it",
    "make test": "is what runs this test",
    "make bench": "takes minutes and judges nothing",
}


ROOT = Path(__file__).parents[2]
PAGES = ["README.md", *sorted(p.relative_to(ROOT).as_posix() for p in ROOT.glob("docs/**/*.md"))]


def console_commands(text: str) -> list[str]:
    """The lines behind ``$`` of every console block."""
    blocks = re.findall(r"```console\n(.*?)```", text, flags=re.S)
    return [
        line[2:].split("   #")[0].strip() for block in blocks for line in block.splitlines() if line.startswith("$ ")
    ]


@pytest.fixture(scope="module")
def checkout(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout without anything that runs made; the environment is the one that runs the tests."""
    copy = tmp_path_factory.mktemp("readme") / "countersign"
    made = shutil.ignore_patterns(".venv", ".git", ".dagster", ".cache", "artifacts", "__pycache__", ".*_cache")
    shutil.copytree(root, copy, ignore=made)
    (copy / ".venv").symlink_to(root / ".venv")
    return copy


def environment(checkout: Path) -> dict[str, str]:
    kept = {
        k: v for k, v in os.environ.items() if k not in {"COUNTERSIGN_HOME", "DAGSTER_HOME", "MAKEFLAGS", "MAKELEVEL"}
    }
    return kept | {"PYTHONPATH": str(checkout)}


def test_every_command_of_the_readme_and_the_docs_runs_in_the_order_it_is_shown(checkout: Path) -> None:
    commands = console_commands((checkout / "README.md").read_text(encoding="utf-8"))
    commands += console_commands((checkout / "docs" / "architecture.md").read_text(encoding="utf-8"))
    commands += ["make run SESSION=2008-10-14"]
    commands += console_commands((checkout / "docs" / "command-line.md").read_text(encoding="utf-8"))
    # Last: from here on the folder is another.
    commands += console_commands((checkout / "docs" / "your-prices.md").read_text(encoding="utf-8"))
    run = [c for c in commands if not any(c.startswith(skipped) for skipped in NOT_HERE)]
    assert "make run" in run
    script = "set -e\n" + "\n".join(run)
    done = subprocess.run(
        ["bash", "-c", script], cwd=checkout, env=environment(checkout), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    sessions = {path.name for path in (checkout / "artifacts" / "sessions").iterdir()}
    assert {
        "2008-09-02",
        "2008-09-30",
        "2008-10-01",
        "2008-10-10",
        "2008-10-13",
        "2008-10-14",
        "2008-10-15",
    } <= sessions
    assert (checkout / "work" / "report.txt").exists()
    told = (checkout / "demo" / "artifacts" / "journal.jsonl").read_text(encoding="utf-8")
    assert len(list((checkout.parent / "my-panel" / "artifacts" / "sessions").iterdir())) == 21
    assert [told.count(f'"event":"{event}"') for event in ("sign_off_requested", "deployed")] == [1, 3]


def test_the_digest_in_an_artifact_is_the_one_that_the_documented_command_prints(checkout: Path) -> None:
    (command,) = console_commands((checkout / "docs" / "architecture.md").read_text(encoding="utf-8"))
    printed = subprocess.run(["bash", "-c", command], cwd=checkout, capture_output=True, text=True, check=True).stdout
    artifact = (checkout / "artifacts" / "sessions" / "2008-09-30" / "scores.json").read_text(encoding="utf-8")
    assert artifact.startswith('{"sha256":"' + printed.split()[0])


def test_make_ui_serves_dagster_with_the_sessions_that_make_run_made(checkout: Path) -> None:
    port = 3911
    process = subprocess.Popen(
        ["make", "ui", f"PORT={port}"],
        cwd=checkout,
        env=environment(checkout),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 90
        answer = b""
        query = b'{"query": "{ runsOrError(limit: 1) { ... on Runs { count } } }"}'
        while not answer and time.monotonic() < deadline:
            assert process.poll() is None, "dagster dev ended by itself"
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/graphql", data=query, headers={"Content-Type": "application/json"}
            )
            try:
                with urllib.request.urlopen(request, timeout=10) as reply:
                    answer = reply.read()
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.5)
        count = re.search(rb'"count":\s*(\d+)', answer)
        assert count is not None, answer
        assert int(count[1]) >= 22
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=30)


def test_the_figures_in_the_readme_are_the_ones_that_evaluate_prints(root: Path) -> None:
    printed = CliRunner().invoke(main, ["--home", str(root), "evaluate"], catch_exceptions=False)
    readme = (root / "README.md").read_text(encoding="utf-8")
    shown = re.search(r"<!-- evaluate.*?-->\n```text\n(.*?)\n```", readme, flags=re.S)
    assert shown is not None
    number = re.compile(r"([+-]?\d+(?:\.\d+)?)(%?)")
    assert number.sub("#", shown[1]).split() == number.sub("#", printed.stdout).split()
    for (stated, percent), (found, _) in zip(number.findall(shown[1]), number.findall(printed.stdout), strict=True):
        # Another machine's arithmetic may move the last digits, no more.
        assert float(stated) == pytest.approx(float(found), abs=0.2 if percent else 0.001), (stated, found)


@pytest.mark.parametrize("page", PAGES)
def test_every_command_that_prose_names_exists_with_its_options(page: str, root: Path) -> None:
    text = " ".join((root / page).read_text(encoding="utf-8").split())
    for shown in re.findall(r"`countersign ([^`]+)`", text):
        command: click.Command = main
        known = {"--help"}
        for word in shown.split():
            known |= {option for parameter in command.params for option in parameter.opts}
            if isinstance(command, click.Group) and word.islower() and not word.startswith("-"):
                assert word in command.commands, shown
                command = command.commands[word]
            elif word.strip("[]").startswith("--"):
                assert word.strip("[]") in known | {o for p in command.params for o in p.opts}, shown


def test_the_container_file_copies_what_the_package_is_made_of_and_nothing_that_runs_made(root: Path) -> None:
    text = (root / "docs/serving.md").read_text(encoding="utf-8")
    (container,) = re.findall(r"```dockerfile\n(.*?)```", text, flags=re.S)
    copied = {name for line in re.findall(r"^COPY (.*)$", container, flags=re.M) for name in line.split()[:-1]}
    setup = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    modules = {f"{name}.py" for name in setup["py-modules"]}
    packages = {name.split(".")[0] for name in setup["packages"]}
    assert copied == {"pyproject.toml", "README.md", "constraints.txt"} | modules | packages


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file(page: str, root: Path) -> None:
    text = (root / page).read_text(encoding="utf-8")
    links = [target for target in re.findall(r"\]\(([^)#]+)", text) if "://" not in target]
    missing = [target for target in links if not ((root / page).parent / target).exists()]
    assert not missing
