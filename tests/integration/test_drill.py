"""The gate drill: that it passes on a sound gate, and that it reports each hole."""

from __future__ import annotations

import json
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from countersign.cli import main
from countersign.gate import rules
from countersign.gate.signers import list_signers
from countersign.gate.statement import parse
from countersign.model import registry
from countersign.project import open_project
from countersign.steps import drill, drill_trials
from countersign.steps import gate as gate_steps
from countersign.steps.prices import clean_sessions, ingest_sessions

pytestmark = pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="ssh-keygen is not installed")


def snapshot(home: Path) -> dict[str, bytes]:
    """Every file but the cache of the calendar, which may be made anew at any time."""
    files = (p for p in home.rglob("*") if p.is_file() and ".cache" not in p.parts)
    return {str(p): p.read_bytes() for p in files}


def run(home: Path) -> tuple[int, dict[str, bool], str]:
    """Exit code, which trials held, and what is printed for a person."""
    done = CliRunner().invoke(main, ["--home", str(home), "drill", "--json"], catch_exceptions=False)
    trials = json.loads(done.stdout)["trials"]
    text = drill.drill_text([drill.Trial(**trial) for trial in trials])
    return done.exit_code, {trial["name"]: trial["held"] for trial in trials}, text


def test_every_bad_candidate_is_refused_the_good_one_deployed_and_the_project_untouched(home: Path) -> None:
    before = snapshot(home)
    code, held, text = run(home)
    assert (code, set(held.values())) == (0, {True}), text
    assert snapshot(home) == before
    assert len(held) == len(drill_trials.PLANTED) + 1
    assert text.endswith(f"All {len(held)} held.")
    assert max(map(len, text.splitlines())) <= 100


def anyone(statement: bytes, signature: str, signers: Any, at: Any) -> Any:
    """A verification that takes the statement's word for who signed."""
    del signature, at
    said = parse(statement).signer
    return next(signer for signer in signers if signer.principal == said)


def nothing(*_: Any, **__: Any) -> None:
    """A rule that was taken away."""


@pytest.mark.parametrize(
    ("module", "name", "instead", "holes"),
    [
        (rules, "require_open", nothing, {"superseded", "expired", "stale champion"}),
        (gate_steps, "admit", nothing, {"signed by the requester", "replayed on another project", "superseded"}),
        (gate_steps, "verify", anyone, {"signed by an unknown key", "statement changed after signing"}),
        (gate_steps, "verify_in_service", nothing, {"forged line: an approval"}),
        (registry, "verify_in_service", nothing, {"forged line: a deployment"}),
        (gate_steps, "read_evidence", nothing, {"evidence changed"}),
        (gate_steps, "list_signers", lambda path: list_signers(path)[:1], {"a good candidate, well signed"}),
    ],
    ids=["closed requests", "admission", "signatures", "deploying", "scoring", "evidence", "signers"],
)
def test_a_rule_that_was_taken_away_is_reported_as_a_hole(
    module: Any, name: str, instead: Any, holes: set[str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Training takes no part in these.
    monkeypatch.setattr(
        drill, "PLANTED", {k: v for k, v in drill_trials.PLANTED.items() if k != "worse than the baseline"}
    )
    monkeypatch.setattr(module, name, instead)
    code, held, text = run(home)
    assert code == 1
    assert holes <= {trial for trial, good in held.items() if not good}, text
    assert "FAILED" in text


def test_checks_that_let_a_worse_candidate_pass_are_reported_as_a_hole(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drill, "PLANTED", {"worse than the baseline": drill_trials.PLANTED["worse than the baseline"]})
    monkeypatch.setattr(drill_trials, "automatic_checks", lambda *_, **__: ())
    code, held, _ = run(home)
    assert (code, held["worse than the baseline"]) == (1, False)


def test_what_cannot_be_tried_for_a_gap_in_the_sessions_is_no_hole_and_no_pass(
    home: Path, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drill, "PLANTED", {"worse than the baseline": drill_trials.PLANTED["worse than the baseline"]})
    project = open_project(home, now.date())
    first, _, third = project.daily_sessions(now)[:3]
    for session in (first, third):
        list(ingest_sessions(project, [session], now))
        list(clean_sessions(project, [session]))
    code, held, text = run(home)
    assert (code, held["worse than the baseline"]) == (1, False)
    assert "found none of session 2008-09-03: countersign run --from 2008-09-03 --to 2008-09-04" in " ".join(
        text.split()
    )
    assert text.endswith("1 of 2 could not be tried: put right what stands there, then run it again")
    assert "HOLE" not in text


def test_a_drill_without_a_model_in_service_is_refused_in_one_message(empty_home: Path) -> None:
    done = CliRunner().invoke(main, ["--home", str(empty_home), "drill"])
    assert (done.exit_code, done.stdout) == (2, "")
    assert "bootstrap_job" in done.stderr
