"""The commands of the gate: what they print, where, their exit codes, and that they do what Dagster's assets do."""

from __future__ import annotations

import json
import os
import pty
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from click.testing import CliRunner, Result

from countersign import cli_gate
from countersign.cli import main
from countersign.cli_terminal import Terminal
from countersign.errors import GateError
from countersign.gate.signers import add_signer, init_key
from countersign.gate.state import Request
from countersign.gate.statement import Decision
from countersign.history import life, life_text
from countersign.project import Project, open_project
from countersign.steps.gate import decided, gate_state, read_evidence, signed_off
from countersign.steps.model import train_first_model
from countersign.steps.prices import clean_sessions, ingest_sessions, load_history
from countersign.steps.retrain import ask_as_person, make_candidate, request_sign_off
from countersign.steps.scoring import feature_sessions, score_sessions
from tests.desk import QUICK, configure, policy

SESSIONS = ["2008-09-02", "2008-09-03"]
ALICE, BOB, CAROL = "alice@example.com", "bob@example.com", "carol@example.com"
DORA = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDnqzCeOyAkShC/8lXhao+s1grLz/9R419zENACxb7kz"
SOON = timedelta(minutes=1)
DECISIONS = get_args(Decision)


@dataclass(frozen=True)
class Office:
    """A project folder with a request r1, which bob asked for, and the keys of alice, bob and carol beside it."""

    home: Path

    @property
    def project(self) -> Project:
        return open_project(self.home, datetime.now(UTC).date())

    @property
    def request(self) -> Request:
        return gate_state(self.project).requests[-1]

    @property
    def lines(self) -> list[dict[str, Any]]:
        return self.project.journal.read()

    def key(self, name: str) -> str:
        return str(self.home / "keys" / name.split("@")[0])

    def run(self, *arguments: str, key: str | None = None) -> Result:
        """As typed by whoever has ``key`` in the environment, who is not asked whether a decision is meant."""
        environment = {"COUNTERSIGN_KEY": self.key(key)} if key else {}
        sure = ["--yes"] if arguments[0] in DECISIONS else []
        return CliRunner().invoke(main, ["--home", str(self.home), *arguments, *sure], env=environment)

    def ask_again(self, quorum: int = 1, evidence: str = "") -> Request:
        """Another request, for the same candidate, under another policy or on other evidence."""
        project, now = self.project, datetime.now(UTC)
        config = self.home / "config" / "pipeline.yaml"
        config.write_text(config.read_text(encoding="utf-8").replace("quorum: 1", f"quorum: {quorum}"))
        old, retrain = self.request, ask_as_person(project, "once more", BOB, now)
        assert old.champion is not None, old
        request_sign_off(self.project, retrain, old.candidate, evidence or old.evidence, old.champion, (), now)
        return self.request


def run_session(project: Project, session: str) -> None:
    now = datetime.now(UTC)
    for step in (
        ingest_sessions(project, [session], now),
        clean_sessions(project, [session]),
        feature_sessions(project, [session]),
        score_sessions(project, [session], now),
    ):
        assert len(list(step)) == 1


@pytest.fixture(scope="module")
def waiting(bootstrapped_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder in which a candidate waits. Read only."""
    if not shutil.which("ssh-keygen"):
        pytest.skip("ssh-keygen is not installed (Debian: openssh-client)")
    home = Path(shutil.copytree(bootstrapped_home, tmp_path_factory.mktemp("waiting") / "home"))
    now = datetime.now(UTC)
    project = open_project(home, now.date())
    for session in SESSIONS:
        run_session(project, session)
    ask_as_person(project, "autumn looks different", BOB, now)
    make_candidate(project, "", "", now)
    for name in (ALICE, BOB, CAROL):
        key = home / "keys" / name.split("@")[0]
        public = init_key(key, name, passphrase=False)
        add_signer(project.signers, name, public, now - timedelta(days=1), now + timedelta(days=365))
    return home


@pytest.fixture
def office(waiting: Path, tmp_path: Path) -> Office:
    return Office(Path(shutil.copytree(waiting, tmp_path / "home")))


def refusal(result: Result) -> str:
    """The one message on standard error of a command that was refused."""
    assert (result.exit_code, result.stdout) == (2, "")
    *_, last = result.stderr.splitlines()
    assert last.startswith("Error: ")
    assert "Traceback" not in result.stderr
    return last


def test_the_whole_story_in_a_shell_with_a_key_of_the_signer_s_own(office: Office, tmp_path: Path) -> None:
    environment = {**os.environ, "HOME": str(tmp_path / "person"), "COUNTERSIGN_HOME": str(office.home)}
    environment.pop("COUNTERSIGN_KEY", None)

    def shell(*arguments: str) -> str:
        program = [sys.executable, "-c", "from countersign.cli import main; main()", *arguments]
        done = subprocess.run(
            program, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    candidate, champion = office.request.candidate, office.request.champion
    assert champion is not None
    program, *send = shlex.split(shell("signer", "init", "--as", "dora@example.com", "--no-passphrase"))
    assert program == "countersign"
    shell(*send)
    assert "dora@example.com" in shell("review")
    assert "countersign deploy" in shell("approve", "r1", "--reason", "calmer in the tails", "--yes")
    assert candidate in shell("deploy")
    shell("rollback", "--reason", "shown to the new colleague", "--yes")
    assert champion in shell("deploy")
    assert "signature good" in shell("verify")
    assert [line["event"] for line in office.lines][-4:] == ["signed", "deployed", "signed", "deployed"]
    assert {line["signer"] for line in office.lines if line["event"] == "signed"} == {"dora@example.com"}


def test_every_command_of_the_guide_to_signing_runs_in_the_order_it_is_shown(
    office: Office, root: Path, waiting: Path, tmp_path: Path
) -> None:
    text = (root / "docs" / "signing.md").read_text(encoding="utf-8")
    shown = [line.removeprefix("$ countersign ") for line in text.splitlines() if line.startswith("$ countersign ")]
    assert len(shown) >= 10
    for number, command in enumerate(shown):
        arguments = [word.replace("~", str(tmp_path)) for word in shlex.split(command)]
        if arguments[:2] == ["signer", "init"]:
            # A passphrase is typed on the terminal.
            arguments.append("--no-passphrase")
        if arguments[0] in DECISIONS:
            # And so is the name of what is signed.
            arguments.append("--yes")
        environment, home = {"HOME": str(tmp_path), "COUNTERSIGN_KEY": ""}, office.home
        if arguments[0] == "sign":
            # Another way to do what was done before: where it has not been.
            environment["COUNTERSIGN_KEY"], home = office.key(ALICE), waiting
        result = CliRunner().invoke(main, ["--home", str(home), *arguments], env=environment)
        assert result.exit_code == 0, (number, command, result.stderr)
    [approval] = [line for line in office.lines if line["event"] == "signed" and line["decision"] == "approve"]
    assert approval["signer"] == "erin@example.com"


def test_the_command_in_the_guide_that_takes_the_digest_of_the_model_in_service_gives_its_digest(
    office: Office, root: Path
) -> None:
    text = (root / "docs" / "signing.md").read_text(encoding="utf-8")
    (block,) = [part.split("```")[0] for part in text.split("```bash\n") if "sha256sum" in part]
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-ec", block], cwd=office.home, env={"PATH": programs}, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [office.request.champion, "-"]


def test_review_says_since_when_until_when_for_whom_and_what_to_type(office: Office) -> None:
    request = office.request
    text = office.run("review").stdout
    assert f"Asked         {request.at:%Y-%m-%d %H:%M} UTC by {BOB}" in text
    assert f"Expires       {request.expires:%Y-%m-%d %H:%M} UTC" in text
    assert f"Waits for     1 of {ALICE}, {CAROL}" in text
    assert "autumn looks different" in text
    assert "countersign approve r1" in text
    for digest in (request.candidate, request.evidence, str(request.champion)):
        assert digest in text
    assert max(map(len, text.replace(str(office.home), "").splitlines())) <= 240


def test_review_shows_every_check_and_coefficient_of_the_evidence_as_it_is_on_file(office: Office) -> None:
    evidence = read_evidence(office.project, office.request)
    found = json.loads(office.run("review", "r1", "--json").stdout)
    assert found["checks"] == evidence["checks"]
    assert found["comparison"]["coefficients"] == evidence["comparison"]["coefficients"]
    text = " ".join(office.run("review", "r1").stdout.split())
    for check in evidence["checks"]:
        assert f"{check['status']} {check['name']}: {check['sentence']}" in text
    first = evidence["comparison"]["coefficients"][0]
    change = first["candidate"] - first["champion"]
    row = f"{first['head']} {first['feature']} {first['champion']:.4f} {first['candidate']:.4f} {change:+.4f}"
    assert row in text


def test_review_names_the_page_with_plots_where_there_is_one(office: Office) -> None:
    request = office.request
    page = office.home / "artifacts" / "models" / request.candidate / "evidence" / request.evidence / "review.html"
    page.unlink(missing_ok=True)
    assert json.loads(office.run("review", "--json").stdout)["page"] is None
    page.write_text("<html></html>")
    assert json.loads(office.run("review", "--json").stdout)["page"] == str(page)
    assert str(page) in office.run("review").stdout


def test_review_shows_what_a_candidate_said_in_the_shadow_of_the_champion(office: Office) -> None:
    assert json.loads(office.run("review", "--json").stdout)["shadow"] is None
    run_session(office.project, "2008-09-04")
    scores = json.loads((office.home / "artifacts/sessions/2008-09-04/scores.json").read_bytes())["data"]
    found = json.loads(office.run("review", "--json").stdout)["shadow"]
    assert (found["sessions"], found["first"], found["rows"]) == (1, "2008-09-04", len(scores))
    assert "In the shadow of the champion since 2008-09-04: 1 sessions" in office.run("review").stdout


def test_a_request_that_expired_is_shown_as_such_and_cannot_be_approved(office: Office, tmp_path: Path) -> None:
    late = Terminal(office.home, lambda: office.request.expires, Path(office.key(ALICE)), tmp_path)
    text = CliRunner().invoke(cli_gate.review, ["r1"], obj=late, catch_exceptions=False).stdout
    assert "Request       r1: expired" in text
    assert "countersign approve" not in text
    with pytest.raises(GateError, match="r1 expired"):
        CliRunner().invoke(cli_gate.approve, ["r1", "--yes"], obj=late, catch_exceptions=False)


def test_a_first_model_that_waits_for_a_signature_is_shown_with_its_walk_forward_numbers_and_deployed(
    empty_home: Path, now: datetime
) -> None:
    configure(empty_home, *QUICK)
    policy(empty_home, bootstrap="manual")
    office = Office(empty_home)
    load_history(office.project, now)
    train_first_model(office.project, datetime.now(UTC))
    public = init_key(Path(office.key(ALICE)), ALICE, passphrase=False)
    since = datetime.now(UTC) - timedelta(days=1)
    add_signer(office.project.signers, ALICE, public, since, since + timedelta(days=30))
    measured = read_evidence(office.project, office.request)["evaluation"]["table"]["qlike"]
    [row] = [line for line in office.run("review").stdout.splitlines() if line.split()[:1] == ["qlike"]]
    assert row.split()[1:] == [f"{measured[who]:.4f}" for who in ("model", "baseline")]
    done = office.run("approve", key=ALICE)
    assert (done.exit_code, row in done.stderr.splitlines()) == (0, True)
    assert office.request.candidate in office.run("deploy").stdout
    assert office.run("verify").exit_code == 0


def test_review_of_a_project_in_which_nothing_waits_says_so(home: Path) -> None:
    office = Office(home)
    result = office.run("review")
    assert (result.exit_code, "no open request" in result.stdout) == (0, True)
    assert "found r1: no candidate has asked for a signature yet" in refusal(office.run("review", "r1"))
    assert office.run("verify").stdout.startswith("1 line, ")
    ask_as_person(office.project, "autumn", BOB, datetime.now(UTC))
    assert f"Retrain: {BOB} asked for one" in office.run("review").stdout


@pytest.mark.parametrize(
    ("decision", "extra"),
    [
        ("approve", ["--condition", "auc over 20 sessions below 0.65", "--condition", "qlike over 8 sessions above 2"]),
        ("approve", ["--break-glass", "--reason", "the market is open"]),
        ("reject", ["--reason", 'nein: "so" nicht,\nund \u2028 auch # nicht {so} \U0001f43b']),
        ("request-changes", ["--reason", "leave out the week of the split"]),
        ("revoke", ["--reason", "trained on restated prices"]),
    ],
    ids=["approve", "break-glass", "reject", "request-changes", "revoke"],
)
def test_the_launchpad_and_the_command_line_write_the_same_journal(
    decision: str, extra: list[str], waiting: Path, tmp_path: Path
) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    journals = []
    for number, command in enumerate((getattr(cli_gate, decision.replace("-", "_")), cli_gate.sign)):
        office = Office(Path(shutil.copytree(waiting, tmp_path / str(number))))
        terminal = Terminal(office.home, lambda: now, Path(office.key(ALICE)), tmp_path)
        first = ["--print-config", decision] if command is cli_gate.sign else ["--yes"]
        result = CliRunner().invoke(command, [*first, *extra], obj=terminal, catch_exceptions=False)
        if command is cli_gate.sign:
            assert office.request.approvals == ()
            config = yaml.safe_load(result.stdout)
            assert list(config["ops"]) == ["sign_off"]
            decided(office.project, **config["ops"]["sign_off"]["config"], now=now)
        journals.append(office.project.journal.path.read_bytes())
    assert journals[0] == journals[1]
    assert json.loads(journals[0].splitlines()[-1])["decision"] == decision


def test_signing_alone_puts_nothing_on_record_and_prints_json_for_a_program(office: Office) -> None:
    before = office.project.journal.path.read_bytes()
    config = json.loads(office.run("sign", "approve", "r1", key=ALICE).stdout)
    assert office.project.journal.path.read_bytes() == before
    decided(office.project, **config["ops"]["sign_off"]["config"], now=datetime.now(UTC))
    assert [approval.signer for approval in office.request.approvals] == [ALICE]


def test_whoever_asked_for_the_retrain_is_refused_and_the_attempt_is_on_record(office: Office) -> None:
    assert f"{BOB} asked for this retrain" in refusal(office.run("approve", "r1", key=BOB))
    assert office.lines[-1]["event"] == "refused"
    assert office.request.approvals == ()


def test_a_deployment_without_a_decision_is_refused_and_says_what_to_type(office: Office) -> None:
    assert "countersign approve r1" in refusal(office.run("deploy"))
    assert len(gate_state(office.project).deployments) == 1


def test_a_rejection_takes_a_reason_is_final_and_stays_to_be_read(office: Office) -> None:
    before = office.project.journal.path.read_bytes()
    assert "reason" in refusal(office.run("reject", "r1", key=ALICE))
    assert office.project.journal.path.read_bytes() == before
    result = office.run("reject", "r1", "--reason", "worse where it matters", key=ALICE)
    assert (result.exit_code, "countersign retrain" in result.stdout) == (0, True)
    assert f"rejected by {ALICE}" in refusal(office.run("approve", "r1", key=CAROL))
    assert "worse where it matters" in office.run("review", "r1").stdout


def test_a_candidate_with_the_bytes_of_one_that_was_rejected_is_said_to_be_that_one_before_it_is_signed(
    office: Office,
) -> None:
    office.run("reject", "r1", "--reason", "worse where it matters", key=ALICE)
    assert office.ask_again().id == "r2"
    said = f"the same model was rejected as r1 by {ALICE}: worse where it matters"
    for text in (office.run("review", "r2").stdout, office.run("approve", "r2", key=CAROL).stderr):
        assert said in " ".join(text.split())
    assert "the same model" not in office.run("review", "r1").stdout


def test_a_quorum_of_two_takes_two_people_and_says_who_is_missing(office: Office) -> None:
    request = office.ask_again(quorum=2)
    first = office.run("approve", key=ALICE)
    assert "1 of 2 signatures" in first.stdout
    assert f"countersign approve {request.id}" in first.stdout
    assert f"Waits for     1 of {CAROL}" in office.run("review").stdout
    assert "another signer's is needed" in refusal(office.run("approve", key=ALICE))
    assert "countersign deploy" in office.run("approve", key=CAROL).stdout
    assert request.candidate in office.run("deploy").stdout


def test_a_quorum_that_more_people_would_have_to_sign_than_there_are_says_so(office: Office) -> None:
    office.ask_again(quorum=3)
    said = f"3 of {ALICE}, {CAROL} (config/allowed_signers names 2 who may)"
    assert f"Waits for {said}" in " ".join(office.run("review").stdout.split())
    assert f"for {said}. Look: countersign review r2" in signed_off(office.project, datetime.now(UTC)).sentence


def test_breaking_the_glass_deploys_on_one_signature_and_waits_to_be_ratified(office: Office) -> None:
    request = office.ask_again(quorum=2)
    assert "reason" in refusal(office.run("approve", "--break-glass", key=ALICE))
    approved = office.run("approve", "--break-glass", "--reason", "losses are running", key=ALICE)
    for said in (approved.stdout, office.run("deploy").stdout):
        assert f"{ALICE} approved {request.id} by break-glass" in said
    assert json.loads(office.run("review", "--json").stdout)["request"] == request.id
    assert "another signer has to ratify" in refusal(office.run("ratify", key=ALICE))
    assert "is ratified" in office.run("ratify", key=CAROL).stdout
    assert "no open request" in office.run("review").stdout


def test_revoking_says_that_nothing_is_scored_and_how_to_go_back(office: Office) -> None:
    office.run("approve", key=ALICE)
    office.run("deploy")
    said = office.run("revoke", "--reason", "restated prices", key=ALICE).stdout
    assert "nothing is scored" in said
    assert "countersign rollback" in said
    assert "No model is in service" in office.run("verify").stdout


def test_a_model_to_return_to_is_named_by_its_first_digits_and_an_unknown_one_is_refused(office: Office) -> None:
    office.run("approve", key=ALICE)
    office.run("deploy")
    assert office.request.champion
    assert "0000" in refusal(office.run("rollback", "0000", "--reason", "x", key=ALICE))
    first = office.request.champion[:8]
    assert office.run("rollback", first, "--reason", "holds too much", key=ALICE).exit_code == 0
    office.run("deploy")
    assert gate_state(office.project).last_model == office.request.champion


def test_the_default_key_is_the_first_one_of_the_person_s_that_may_sign_now(office: Office, tmp_path: Path) -> None:
    keys, now = tmp_path / "ssh", datetime.now(UTC)
    signers = office.project.signers
    for name in ("a_stranger", "b_ended", "c_mine"):
        public = init_key(keys / name, name, passphrase=False)
        if name != "a_stranger":
            since = now - timedelta(days=9 if name == "b_ended" else 1)
            add_signer(signers, name, public, since, since + timedelta(days=8))
    terminal = Terminal(office.home, lambda: now + SOON, None, keys)
    done = CliRunner().invoke(cli_gate.approve, ["--yes"], obj=terminal, catch_exceptions=False)
    assert (done.exit_code, office.request.approvals[0].signer) == (0, "c_mine")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("approve", "r1", "--key", "nowhere"), "nowhere.pub"),
        (("approve", "r9"), "r9"),
        (("approve", "r1", "--condition", "auc below 0.65"), "auc over 20 sessions below 0.65"),
        (("approve", "r1", "--as", CAROL), CAROL),
        (("ratify",), "found none: there are r1"),
        (("ratify", "r1"), "expected r1 to have been deployed by break-glass"),
        (("reject", "r1"), '--reason "…"'),
        (("rollback", "--reason", "x"), "expected an earlier model to return to, found none"),
        (("review", "r9"), "r9"),
        (("sign", "bless"), "request-changes"),
        (("sign", "revoke", "r1", "--reason", "x"), "leave the argument out"),
        (("retrain", "--reason", "hm", "--by", ""), "--by"),
        (("retrain", "--reason", "all well \x1b[2J", "--by", BOB), "printable"),
        (("retrain", "--reason", "hm", "--by", "bob, alice"), "bob, alice"),
        (("history", "2008-09-05"), "countersign run --session 2008-09-05"),
        (("history", "yesterday"), "yesterday"),
        (("history", "0001-01-01"), "no score of 0001-01-01"),
        (("signer", "add", "dora", DORA, "--valid-from", "9999-01-01"), "--valid-to"),
        (("signer", "add", "dora", DORA, "--valid-from", "0001-01-01"), "valid from 1970 on"),
        (("signer", "init", "key of erin", "--as", "Erin O'Neil"), "Erin O'Neil"),
        (("signer", "add", "dora", "nowhere.pub"), "nowhere.pub"),
    ],
    ids=lambda value: "_".join(value[:2]) if isinstance(value, tuple) else "",
)
def test_bad_input_is_one_message_on_stderr_and_no_decision(
    arguments: tuple[str, ...], named: str, office: Office
) -> None:
    decisions = [line for line in office.lines if line["event"] != "refused"]
    signers = office.project.signers.read_bytes()
    assert named in refusal(office.run(*arguments, key=ALICE))
    assert [line for line in office.lines if line["event"] != "refused"] == decisions
    assert office.project.signers.read_bytes() == signers


def at_a_terminal(office: Office, typed: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What ``arguments`` come to for alice, who types a line on a terminal."""
    ours, theirs = pty.openpty()
    try:
        os.write(ours, f"{typed}\n".encode())
        return subprocess.run(
            [sys.executable, "-c", "from countersign.cli import main; main()", *arguments],
            env={**os.environ, "COUNTERSIGN_HOME": str(office.home), "COUNTERSIGN_KEY": office.key(ALICE)},
            stdin=theirs,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        os.close(ours)
        os.close(theirs)


def test_on_a_terminal_approving_shows_what_is_signed_and_asks_for_its_name(office: Office) -> None:
    assert at_a_terminal(office, "yes", "approve").returncode == 2
    assert office.request.approvals == ()
    done = at_a_terminal(office, "r1", "approve")
    assert (done.returncode, len(office.request.approvals)) == (0, 1)
    assert office.request.candidate in done.stderr
    assert "Approve r1? Type r1 to sign" in done.stderr


def test_whoever_approved_already_is_told_so_before_being_asked_and_that_nothing_else_is_needed(office: Office) -> None:
    office.run("approve", key=ALICE)
    before = office.project.journal.path.read_bytes()
    again = at_a_terminal(office, "r1", "approve")
    assert again.returncode == 2
    said = f"{ALICE} has approved r1 already; 1 of 1 signatures are there, and nothing else is needed"
    assert again.stderr.splitlines() == [f"Error: {said}: countersign deploy"]
    assert office.project.journal.path.read_bytes() == before


def test_approving_shows_the_measures_over_all_sessions_as_review_does_and_review_has_the_rest(
    office: Office,
) -> None:
    unknown = {"value": None, "low": None, "high": None}
    lead = {"value": -0.01, "low": -0.02, "high": -0.005}
    numbers = {"candidate": 0.3, "champion": 0.31, "baseline": 0.4, "over_champion": lead, "over_baseline": unknown}
    days = {"first": "2008-10-01", "last": "2008-10-02", "sessions": 2, "rows": 8}
    stretches = [{**days, "name": name, "measures": {"qlike": numbers}} for name in ("overall", "worst_month")]
    found, store = read_evidence(office.project, office.request), office.project.store
    body = {key: value for key, value in found.items() if key not in ("artifact", "sha256")}
    body["comparison"] = {**body["comparison"], "stretches": stretches}
    folder = f"models/{office.request.candidate}/evidence"
    evidence = store.write_addressed(folder, "evidence", body, {"candidate": office.request.candidate})
    request = office.ask_again(evidence=evidence.sha256)
    row = "qlike 0.3000 0.3100 0.4000 -0.0100 [-0.0200, -0.0050] -"
    shown, asked = (
        " ".join(text.split()) for text in (office.run("review").stdout, office.run("approve", key=ALICE).stderr)
    )
    assert (shown.count(row), asked.count(row)) == (2, 1)
    assert "Overall, 2008-10-01 … 2008-10-02: 2 sessions, 8 rows" in asked
    assert f"All of it: countersign review {request.id}" in asked


@pytest.mark.parametrize(
    ("arguments", "question"),
    [
        (("reject", "r1", "--reason", "no"), "Reject r1 for good? Type r1 to sign"),
        (("request-changes", "--reason", "no"), "Send r1 back for changes? Type r1 to sign"),
        (("revoke", "--reason", "no"), "Revoke {0}, the model in service? Type {0} to sign"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_every_decision_asks_for_the_name_of_what_it_is_on(
    arguments: tuple[str, ...], question: str, office: Office
) -> None:
    champion = str(office.request.champion)[:12]
    before = office.project.journal.path.read_bytes()
    refused = at_a_terminal(office, "y", *arguments)
    assert refused.returncode == 2
    assert office.project.journal.path.read_bytes() == before
    assert question.format(champion) in refused.stderr
    assert at_a_terminal(office, champion if "revoke" in arguments else "r1", *arguments).returncode == 0
    assert office.lines[-1]["decision"] == arguments[0]


@pytest.mark.parametrize("decision", DECISIONS)
def test_without_a_terminal_nothing_is_signed_unless_it_is_said_that_it_is_meant(decision: str, office: Office) -> None:
    glass = ["--break-glass"] if decision == "ratify" else []
    if decision in ("rollback", "ratify"):
        office.run("approve", *glass, "--reason", "losses are running", key=ALICE)
        office.run("deploy")
    before = office.project.journal.path.read_bytes()
    environment = {"COUNTERSIGN_KEY": office.key(CAROL)}
    typed = ["--home", str(office.home), decision, "--reason", "because"]
    result = CliRunner().invoke(main, typed, env=environment)
    assert "nothing was signed. Sign without being asked: the same with --yes" in refusal(result)
    assert office.project.journal.path.read_bytes() == before
    assert CliRunner().invoke(main, [*typed, "--yes"], env=environment).exit_code == 0
    assert office.lines[-1]["decision"] == decision


def test_without_a_terminal_no_key_is_made_that_lacks_a_passphrase_unless_it_is_said(tmp_path: Path) -> None:
    key = tmp_path / "key"
    program = "from countersign.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "signer", "init", str(key), "--as", "erin@example.com"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "--no-passphrase" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_asking_for_a_retrain_says_what_launches_it_and_warns_of_a_name_that_no_signer_has(home: Path) -> None:
    shutil.copy(Path(__file__).parents[2] / "config" / "pipeline.yaml", home / "config")
    add_signer(
        home / "config" / "allowed_signers",
        ALICE,
        DORA,
        datetime(2026, 1, 1, tzinfo=UTC),
        datetime(2027, 1, 1, tzinfo=UTC),
    )
    done = CliRunner().invoke(main, ["--home", str(home), "retrain", "--reason", "hm", "--by", "Alice"])
    assert done.exit_code == 0
    assert "retrain_job" in done.stdout
    assert "Alice is no name of allowed_signers" in done.stderr


def test_verify_of_a_sound_project_counts_its_lines(office: Office) -> None:
    result = office.run("verify")
    assert (result.exit_code, f"{len(office.lines)} lines" in result.stdout) == (0, True)
    assert json.loads(office.run("verify", "--json").stdout)["sound"] is True


def _edit(office: Office) -> str:
    path = office.project.journal.path
    path.write_bytes(path.read_bytes().replace(b"autumn", b"winter"))
    return "line 2"


def _forge(office: Office) -> str:
    office.project.journal.append(
        "deployed",
        datetime.now(UTC),
        model=office.request.candidate,
        decision="bootstrap",
        request=None,
        why="",
        replaces=office.request.champion,
    )
    return f"line {len(office.lines)} (deployed)"


def _damage(office: Office) -> str:
    file = office.home / "artifacts" / "models" / str(office.request.champion) / "model.json"
    file.write_bytes(file.read_bytes()[:-20])
    return "truncated or altered"


@pytest.mark.parametrize("spoil", [_edit, _forge, _damage], ids=["edited", "forged", "model damaged"])
def test_verify_of_a_spoilt_project_is_exit_code_1_and_says_where(spoil: Any, office: Office) -> None:
    where = spoil(office)
    table, found = office.run("verify"), office.run("verify", "--json")
    assert (table.exit_code, found.exit_code) == (1, 1)
    assert where in table.stdout
    assert json.loads(found.stdout)["sound"] is False


def test_history_of_a_session_says_which_model_scored_it_who_approved_it_and_on_what_evidence(office: Office) -> None:
    first = json.loads(office.run("history", SESSIONS[0], "--json").stdout)["first"]
    assert first["model"] == office.request.champion
    assert first["deployed"]["decision"] == "bootstrap"
    assert "without a signature" in office.run("history", SESSIONS[0]).stdout

    request = office.request
    office.run("approve", "--condition", "auc over 20 sessions below 0.65", key=ALICE)
    office.run("deploy")
    run_session(office.project, "2008-09-04")
    found = json.loads(office.run("history", "2008-09-04", "--json").stdout)
    assert found["first"]["model"] == found["latest"]["model"] == request.candidate
    deployed = found["first"]["deployed"]
    assert [one["signer"] for one in deployed["approved_by"]] == [ALICE]
    assert deployed["request"] == "r1"
    assert deployed["asked_because"] == "autumn looks different"
    assert (office.home / "artifacts" / deployed["evidence"]).exists()
    text = office.run("history", "2008-09-04").stdout
    for word in (request.candidate, ALICE, request.evidence, "autumn looks different", "below 0.65"):
        assert word in text


def test_history_is_a_row_for_each_line_of_the_journal(office: Office) -> None:
    office.run("deploy")
    office.run("reject", "r1", "--reason", "no", key=ALICE)
    rows = office.run("history").stdout.splitlines()
    assert [row.split()[3] for row in rows] == [line["event"] for line in office.lines]
    assert "refused" in {row.split()[3] for row in rows}
    # Only a screen is too narrow for all of it.
    refused = next(line["cause"] for line in office.lines if line["event"] == "refused")
    assert len(refused) > 100
    assert any(row.endswith(refused) for row in rows)
    [cut] = [row for row in life_text(life(office.lines), short=True).splitlines() if " refused " in row]
    kept = cut.partition("deploy: ")[2].removesuffix(" …")
    assert refused.startswith(f"{kept} ")
    assert [one["sha256"] for one in json.loads(office.run("history", "--json").stdout)] == [
        line["sha256"] for line in office.lines
    ]


def test_signers_are_listed_with_fingerprint_and_validity_and_one_that_ended_is_marked(
    office: Office, tmp_path: Path
) -> None:
    init_key(tmp_path / "dora", "dora", passphrase=False)
    days = ("--valid-from", "2024-02-29", "--valid-to", "2025-12-31")
    assert office.run("signer", "add", "dora", str(tmp_path / "dora.pub"), *days).exit_code == 0
    found = {one["principal"]: one for one in json.loads(office.run("signer", "list", "--json").stdout)}
    public = subprocess.run(
        ["ssh-keygen", "-l", "-f", tmp_path / "dora.pub"], capture_output=True, text=True, check=True
    )
    assert found["dora"]["fingerprint"] == public.stdout.split()[1]
    assert (found["dora"]["valid_after"], found["dora"]["valid_before"]) == (
        "2024-02-29T00:00:00+00:00",
        "2025-12-31T23:59:59+00:00",
    )
    assert (found["dora"]["valid"], found[ALICE]["valid"]) == (False, True)
    [row] = [line for line in office.run("signer", "list").stdout.splitlines() if line.startswith("dora")]
    assert row.split() == ["dora", found["dora"]["fingerprint"], "2024-02-29", "2025-12-31", "not", "valid", "now"]


def test_a_private_key_is_no_signer_s_and_not_a_word_of_it_is_repeated(office: Office) -> None:
    secret = Path(office.key(ALICE)).read_text()
    before = office.project.signers.read_bytes()
    said = refusal(office.run("signer", "add", "dora", office.key(ALICE)))
    assert "private key" in said
    assert not any(line in said for line in secret.splitlines()[1:-1])
    assert office.project.signers.read_bytes() == before


def _commands() -> Iterator[list[str]]:
    for command in cli_gate.COMMANDS:
        assert command.name
        yield [command.name]
    yield from (["signer", name] for name in ("list", "add", "init"))


def test_help_of_every_command_has_an_example_and_loads_nothing_heavy() -> None:
    program = (
        "import sys\nfrom click.testing import CliRunner\nfrom countersign.cli import main\n"
        f"for command in {list(_commands())!r}:\n"
        "    text = CliRunner().invoke(main, [*command, '--help']).stdout\n"
        "    assert 'Usage' in text, command\n"
        "    assert 'Example: countersign ' + ' '.join(command) in text or command == ['signer'], text\n"
        "heavy = ['pandas', 'dagster', 'sklearn', 'pyarrow', 'exchange_calendars', 'scipy', 'yaml', 'orjson']\n"
        "print('loaded:', [name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "loaded: []", done.stderr
