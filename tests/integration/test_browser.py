"""A person at Dagster's pages, in a real browser: a session, and from the request that waits to the deployment."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner
from playwright.sync_api import Page, expect, sync_playwright

from assets.prices import prices_clean
from assets.reports import report
from assets.scoring import scores
from countersign.cli import main
from countersign.steps.gate import read_evidence, verify_project
from countersign.steps.retrain import ask_as_person
from tests.desk import ASKER, Desk

CHROMIUM = shutil.which("chromium")

PATIENCE = 60
"""Seconds for what a page shows at once when the machine is idle."""


@pytest.fixture
def instance(desk: Desk, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance on files of its own, with the shipped settings: SQLite."""
    folder = tmp_path / "dagster"
    folder.mkdir()
    shutil.copy(desk.home / "config" / "dagster.yaml", folder)
    with dg.DagsterInstance.from_config(str(folder)) as made:
        yield made


@pytest.fixture
def url(desk: Desk, instance: dg.DagsterInstance, root: Path, unused_port: int) -> Iterator[str]:
    """Where Dagster's pages are served, by a ``dagster dev`` with its daemon, as ``make ui`` starts it."""
    dagster_home = Path(instance.root_directory)
    command = [sys.executable, "-m", "dagster", "dev", "--workspace", "workspace.yaml"]
    with (dagster_home / "dev.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(unused_port)],
            cwd=root,
            env={**os.environ, "DAGSTER_HOME": str(dagster_home), "COUNTERSIGN_HOME": str(desk.home)},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield f"http://127.0.0.1:{unused_port}"
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=20)
        # What it started and left behind, and itself where it did not end.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/server_info", timeout=5):
            return True
    except OSError:
        return False


@contextmanager
def browser_page(pictures: Path) -> Iterator[Page]:
    """A page of headless Chromium; where the test fails, a picture of it in the folder ``pictures``."""
    with sync_playwright() as driver:
        # Without Chromium's sandbox, which root may not use: tests often run as root in a container.
        browser = driver.chromium.launch(executable_path=CHROMIUM, chromium_sandbox=False)
        page = browser.new_context(
            viewport={"width": 1500, "height": 1000}, permissions=["clipboard-read", "clipboard-write"]
        ).new_page()
        page.set_default_timeout(PATIENCE * 1000)
        expect.set_options(timeout=PATIENCE * 1000)
        try:
            yield page
        except BaseException as error:
            picture = pictures / "failed.png"
            page.screenshot(path=picture)
            error.add_note(f"{page.url} as it looked then: {picture}")
            raise
        finally:
            browser.close()


def wait_for(what: str, condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"no {what} within {seconds} s"
        time.sleep(0.2)


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (Debian: chromium)")
def test_a_person_finds_the_request_reads_the_evidence_pastes_the_decision_and_sees_the_deployment(
    desk: Desk, instance: dg.DagsterInstance, url: str, tmp_path: Path
) -> None:
    for session in ("2008-09-02", "2008-09-03"):
        desk.know(session)
    project = desk.project
    ask_as_person(project, "autumn 2008", ASKER, datetime.now(UTC))
    retrained = dg.RunsFilter(job_name="retrain_job", statuses=[dg.DagsterRunStatus.SUCCESS])
    wait_for("retrain, launched by drift_sensor", lambda: instance.get_runs_count(retrained) == 1, 60)
    request = desk.state.open_request
    assert request is not None
    verdict = read_evidence(project, request)["comparison"]["verdict"]

    with browser_page(tmp_path) as page:
        # The request, on the page of the candidate.
        page.goto(f"{url}/assets/candidate")
        page.get_by_role("tab", name="Checks").click()
        page.get_by_text("signed_off", exact=True).first.click()
        waits = page.get_by_text(re.compile(f"^r1 waits since {request.at:%Y-%m-%d %H:%M} UTC"))
        expect(waits).to_contain_text("for 1 of alice@example.com, bob@example.com, dora@example.com.")
        expect(waits).to_contain_text("countersign review r1")
        expect(waits).not_to_contain_text(ASKER)

        # The evidence, whose place the candidate's metadata names.
        page.get_by_role("tab", name="Overview").first.click()
        evidence = Path(page.get_by_text(re.compile(r"/review\.html$")).inner_text())
        # It opens in a tab of its own: the page of Dagster asks its server every second for as long as it is open.
        loaded: list[str] = []
        reading = page.context.new_page()
        reading.on("request", lambda one: loaded.append(one.url))
        reading.goto(evidence.as_uri())
        expect(reading.get_by_role("heading", level=1)).to_have_text(f"Candidate {request.candidate[:12]}")
        expect(reading.get_by_role("main")).to_contain_text(verdict)
        assert {one.partition(":")[0] for one in loaded} <= {"file", "data"}, "it needs no network"
        reading.close()

        # The decision, signed in a shell and pasted into the launchpad of the job that the check leads to.
        typed = ["--home", str(desk.home), "sign", "--print-config", "approve", "r1", "--key", str(desk.keys / "alice")]
        printed = CliRunner().invoke(main, typed, catch_exceptions=False)
        assert printed.exit_code == 0, printed.output
        page.goto(f"{url}/assets/candidate?view=checks&checkDetail=signed_off")
        page.get_by_role("link", name="sign_off_job").click()
        page.get_by_text("Materialize", exact=True).click()
        launchpad = page.get_by_role("dialog")
        launchpad.locator(".CodeMirror").first.click()
        page.evaluate("text => navigator.clipboard.writeText(text)", printed.stdout)
        page.keyboard.press("Control+A")
        page.keyboard.press("Control+V")
        launchpad.get_by_role("button", name="Materialize").click()
        signed = dg.RunsFilter(job_name="sign_off_job", statuses=[dg.DagsterRunStatus.SUCCESS])
        wait_for("run of sign_off_job", lambda: instance.get_runs_count(signed) == 1, 60)

        # The deployment, by the sensor.
        page.goto(f"{url}/runs")
        expect(page.get_by_role("link", name="sign_off_sensor")).to_be_visible(timeout=90_000)
        page.get_by_role("link", name=re.compile("^run [0-9a-f]{8}")).first.click()
        page.wait_for_url("**/runs/*-*")
        expect(page.get_by_role("link", name="deploy_job")).to_be_visible()
        expect(page.get_by_text("Success", exact=True)).to_be_visible()
        page.goto(f"{url}/assets/model?view=events")
        metadata = page.get_by_role("row")
        expect(metadata.filter(has_text=re.compile("^request"))).to_contain_text("r1")
        expect(metadata.filter(has_text="sha256")).to_contain_text(request.candidate)
        page.goto(f"{url}/assets/candidate?view=checks&checkDetail=signed_off")
        expect(page.get_by_text("r1 was deployed")).to_be_visible()

    deployed = [line for line in project.journal.read() if line["event"] == "deployed"]
    assert [line["model"] for line in deployed if line.get("request") == "r1"] == [request.candidate]
    assert len(deployed) == 2, "the first model's, and this one"
    assert desk.scoring() == request.candidate
    assert verify_project(project)[1:] == ([], [])


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (Debian: chromium)")
def test_a_person_materializes_a_session_and_sees_its_checks_pass_and_its_report(
    desk: Desk, instance: dg.DagsterInstance, url: str, tmp_path: Path
) -> None:
    session = "2008-09-02"
    wait_for("page of Dagster", lambda: answers(url), 60)
    with browser_page(tmp_path) as page:
        page.goto(f"{url}/locations/countersign/jobs/daily_job")
        page.get_by_role("button", name=re.compile("Materialize all")).click()
        # The desk's model and history were not made by this instance.
        page.get_by_role("button", name="Confirm").click()
        dialog = page.get_by_role("dialog")
        chosen = dialog.get_by_placeholder(re.compile("^ex: "))
        chosen.fill(session)
        chosen.press("Enter")
        dialog.get_by_role("button", name="Launch 1 run").click()
        done = dg.RunsFilter(job_name="daily_job", statuses=[dg.DagsterRunStatus.SUCCESS])
        wait_for("run of daily_job", lambda: instance.get_runs_count(done) == 1, 90)

        for asset in (prices_clean, scores, report):
            page.goto(f"{url}/assets/{asset.key.to_user_string()}?view=checks")
            expect(page.get_by_text("Succeeded", exact=True)).to_have_count(len(list(asset.check_specs)))

        # The report, as the asset's metadata shows it: the key figure, and the text.
        page.goto(f"{url}/assets/report?view=partitions&partition={session}")
        page.get_by_text("[Show Markdown]").click()
        shown = page.get_by_role("dialog")
        expect(shown).to_contain_text(f"COUNTERSIGN   session {session}")
        assert shown.locator("img").evaluate("image => image.complete && image.naturalWidth > 0")
