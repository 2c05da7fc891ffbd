"""Demo: the whole story of a model's life on the bundled prices, told as it happens: ``make demo``.

    python -m sensors.demo demo

Belongs here: the order of the story and its words. Does not belong here: the work, which the jobs, the sensors and the
gate do as on any other day; nothing is simulated but the person, whose key is made for the occasion.
"""

import argparse
import importlib
import os
import shutil
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import dagster as dg

from countersign.errors import CountersignError
from countersign.gate.signature import sign
from countersign.gate.signers import add_signer, init_key
from countersign.gate.statement import Decision
from countersign.project import Project, open_project
from countersign.steps.gate import gate_state, prepare, submit, verify_project
from sensors.launch import run_job

_BUNDLED: Final = Path(__file__).parent.parent
_CALM: Final = ("2008-09-02", "2008-12-18")
"""Sessions that are run as one range, which is quicker; then one by one, until monitoring asks for a retrain."""
_LATEST: Final = "2009-03-31"
_SIGNER: Final = "alice@example.com"


class Story:
    """One telling, in the project folder ``home`` on ``instance``."""

    def __init__(self, home: Path, instance: dg.DagsterInstance) -> None:
        self.home, self._instance = home, instance
        self._started, self._chapter = time.perf_counter(), 0

    @property
    def project(self) -> Project:
        return open_project(self.home, datetime.now(UTC).date())

    def chapter(self, title: str) -> None:
        self._chapter += 1
        print(f"\n{self._chapter}. {title}  [{time.perf_counter() - self._started:.0f} s]", flush=True)

    def say(self, line: str) -> None:
        print(f"   {line}", flush=True)

    def run(self, job: str, tags: dict[str, str] | None = None) -> bool:
        return run_job(job, tags or {}, self._instance, "definitions", self.say)

    def tick(self, name: str) -> dict[str, str] | None:
        """Evaluate a sensor as the daemon does; the tags of the run that it asks for, None where it asks for none."""
        defs: dg.Definitions = importlib.import_module("definitions").defs
        repository = defs.get_repository_def()
        with dg.build_sensor_context(
            instance=self._instance,
            repository_def=repository,
            resources={key: defs.resources[key] for key in ("project", "clock")} if defs.resources else {},
        ) as context:
            result = repository.get_sensor_def(name)(context)
        if isinstance(result, dg.SensorResult):
            result = next(iter(result.run_requests or []), result.skip_reason)
        if isinstance(result, dg.RunRequest):
            self.say(f"{name} asks for a run")
            return dict(result.tags)
        assert isinstance(result, dg.SkipReason), result
        self.say(f"{name}: {result.skip_message}")
        return None

    def decide(self, decision: Decision, key: Path, reason: str = "") -> None:
        now = datetime.now(UTC)
        statement = prepare(self.project, decision, _SIGNER, now, reason=reason).to_bytes()
        line = submit(self.project, statement.decode(), sign(statement, key), now)
        self.say(f"{_SIGNER} signed {decision}; line {line['sha256'][:12]} of the journal")


def tell(story: Story) -> None:
    """The story. Raises ``CountersignError``, or ``RuntimeError`` where it does not go as told."""
    story.chapter("The first model is trained on everything before autumn 2008, and deployed without a signature")
    _expect(story.run("bootstrap_job"), "bootstrap_job succeeds")

    story.chapter(f"Every session from {_CALM[0]} to {_CALM[1]} is scored and measured")
    first, last = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
    _expect(story.run("daily_job", {first: _CALM[0], last: _CALM[1]}), "the sessions are scored")
    wanted = story.tick("drift_sensor")

    story.chapter("Session by session, until monitoring says that the model has aged")
    sessions = story.project.calendar.between(_CALM[1], _LATEST)[1:]
    for session in sessions:
        if wanted:
            break
        _expect(story.run("daily_job", {"dagster/partition": session}), f"{session} is scored")
        story.say(f"{session} is scored and measured")
        wanted = story.tick("drift_sensor")
    _expect(wanted is not None, "monitoring asks for a retrain")
    retrain = gate_state(story.project).open_retrain
    assert wanted is not None, "expected just before"
    assert retrain is not None, "the sensor has put it on record"
    story.say(f"because: {retrain.reason}")

    story.chapter("The retrain ends with a candidate that waits for a person")
    _expect(story.run("retrain_job", wanted), "the candidate is made")
    request = gate_state(story.project).open_request
    _expect(request is not None, "a request waits")
    assert request is not None, "expected just before"
    for sentence in _evidence(story.project, request.candidate, request.evidence):
        story.say(sentence)
    story.tick("sign_off_sensor")

    story.chapter("Launching the deployment is no approval")
    _expect(not story.run("deploy_job"), "a deployment without a decision is refused")

    story.chapter("A person signs, with a key made for this demo")
    key = story.home / "keys" / "alice"
    key.parent.mkdir()
    init_key(key, _SIGNER, passphrase=False)
    now = datetime.now(UTC)
    public = key.with_suffix(".pub").read_text()
    add_signer(story.project.signers, _SIGNER, public, now - timedelta(days=1), now + timedelta(days=30))
    story.decide("approve", key)

    story.chapter("The sensor sees what is due, and the deployment verifies everything again")
    due = story.tick("sign_off_sensor")
    _expect(due is not None and story.run("deploy_job", due), "the approved candidate is deployed")
    champion = gate_state(story.project).champion
    assert champion is not None, "expected just before"
    story.say(f"{champion.model[:12]} is in service: {champion.why}")

    upcoming = sessions[sessions.index(_newest(story.project)) + 1]
    story.chapter(f"The next session, {upcoming}, is scored by the new model")
    _expect(story.run("daily_job", {"dagster/partition": upcoming}), "the next session is scored")
    for line in story.project.store.read_text("report", upcoming)[0].partition("\nMODEL\n")[2].splitlines()[:2]:
        story.say(line.strip())

    story.chapter("One command brings the earlier model back")
    story.decide("rollback", key, "shown in the demo")
    due = story.tick("sign_off_sensor")
    _expect(due is not None and story.run("deploy_job", due), "the earlier model is deployed")
    champion = gate_state(story.project).champion
    assert champion is not None, "expected just before"
    story.say(f"{champion.model[:12]} is in service again: {champion.why}")

    story.chapter("The journal, told again from its first line, offline")
    count, findings, problems = verify_project(story.project)
    _expect(not findings and not problems, "the journal is sound")
    story.say(f"{count} lines, every signature and every deployment verified")


def _expect(good: bool, what: str) -> None:
    if not good:
        raise RuntimeError(f"expected that {what}; the lines above say what happened instead")


def _evidence(project: Project, candidate: str, evidence: str) -> list[str]:
    document, _ = project.store.read_document(f"models/{candidate}/evidence/{evidence}/evidence")
    sentences: list[str] = document["comparison"]["sentences"]
    return sentences


def _newest(project: Project) -> str:
    return next(s for s in reversed(project.store.partitions()) if project.store.has("report", s, "txt"))


def main(argv: list[str] | None = None) -> int:
    """The command line; the exit code."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where to; it must not exist yet")
    home: Path = parser.parse_args(argv).folder.resolve()
    if home.exists():
        parser.error(f"expected no folder {home} yet, found one: remove it, or name another: make demo DEMO=…")
    for name in ("config", "data"):
        shutil.copytree(_BUNDLED / name, home / name)
    dagster_home = home / ".dagster"
    dagster_home.mkdir()
    shutil.copy(home / "config" / "dagster.yaml", dagster_home)
    # Before ``definitions`` is imported, which reads them.
    os.environ |= {"COUNTERSIGN_HOME": str(home), "DAGSTER_HOME": str(dagster_home)}
    started = time.perf_counter()
    try:
        with dg.DagsterInstance.get() as instance:
            tell(Story(home, instance))
    except (CountersignError, RuntimeError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print(
        f"\nDone in {time.perf_counter() - started:.0f} s. All of it lies in {home}; look around with:\n"
        f"   COUNTERSIGN_HOME={home} make ui\n"
        f"   .venv/bin/countersign --home {home} history"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
