"""Commands of the gate: look, decide, deploy, verify.

Belongs here: arguments, words, exit codes. Does not belong here: anything that a test could want without a shell.
What a program reads goes to standard output; prompts, and what a person is shown before one, to standard error.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from datetime import MAXYEAR, UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

import click

from countersign.cli_terminal import Day, Terminal, as_text

if TYPE_CHECKING:
    from countersign.gate.statement import Decision, Statement
    from countersign.project import Project

_DATE: Final = click.DateTime(["%Y-%m-%d"])
_JSON: Final = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_SHOWN_FIRST: Final = ("approve", "ratify")
"""Decisions before which a person sees what they are on."""

_QUESTIONS: Final[dict[Decision, str]] = {
    "approve": "Approve {}",
    "reject": "Reject {} for good",
    "request-changes": "Send {} back for changes",
    "ratify": "Ratify {}",
    "revoke": "Revoke {}, the model in service",
    "rollback": "Return to {}",
}


def _signing(command: Callable[..., None]) -> Callable[..., None]:
    """The options that every signed decision has."""
    for option in (
        click.option("--as", "principal", metavar="NAME", help="Who signs. Default: whose key it is."),
        click.option(
            "--key",
            type=click.Path(path_type=Path),
            help="Private key, or the .pub of one in the agent. Default: COUNTERSIGN_KEY, or the first key in ~/.ssh "
            "that allowed_signers lists.",
        ),
        click.option("--reason", default="", help="Why. Goes on record."),
    ):
        command = option(command)
    return command


def _approving(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option(
            "--break-glass",
            is_flag=True,
            help="Deploy on this signature alone; takes a reason, and a second signer has to ratify it afterwards.",
        ),
        click.option(
            "--condition",
            "conditions",
            multiple=True,
            metavar="TEXT",
            help="A bound that brings the earlier model back once it is broken, such as 'auc over 20 sessions below "
            "0.65'. May be given several times.",
        ),
    ):
        command = option(command)
    return command


_YES: Final = click.option("--yes", is_flag=True, help="Do not ask; has to be given where there is no terminal.")


@click.command()
@click.argument("request", required=False)
@_JSON
@click.pass_obj
def review(terminal: Terminal, request: str | None, as_json: bool) -> None:
    """Show what waits for a decision: since when, for whom, the evidence, and what a signature binds.

    Example: countersign review r1
    """
    from countersign.gate.rules import not_due
    from countersign.review import review, review_text
    from countersign.steps.gate import awaited, gate_state, retrain_words
    from countersign.words import as_sentence

    project, now = terminal.open_project(), terminal.clock()
    state = gate_state(project)
    found = awaited(state, request, "approve") if request else state.open_request or state.unratified
    if found is None:
        said, retrain = not_due(state, now), retrain_words(state)
        if as_json:
            click.echo(as_text({"request": None, "standing": said, "retrain": retrain}))
        else:
            click.echo(as_sentence(said) + (f"\nRetrain: {retrain}." if retrain else ""))
        return
    facts = review(project, state, found, now)
    click.echo(as_text(facts) if as_json else review_text(facts))


@click.command()
@click.argument("request", required=False)
@_signing
@_approving
@_YES
@click.pass_obj
def approve(terminal: Terminal, /, request: str | None, **signing: Any) -> None:
    """Sign that the candidate of REQUEST (default: the one that waits) may replace the model in service.

    It shows what is signed, in short, and asks to type the request's id.

    Example: countersign approve r1 --condition "auc over 20 sessions below 0.65"
    """
    _decide(terminal, "approve", request, **signing)


@click.command()
@click.argument("request", required=False)
@_signing
@_YES
@click.pass_obj
def reject(terminal: Terminal, /, request: str | None, **signing: Any) -> None:
    """Sign that the candidate of REQUEST is not put into service; final, and takes a reason.

    Example: countersign reject r1 --reason "worse in the last quarter"
    """
    _decide(terminal, "reject", request, **signing)


@click.command("request-changes")
@click.argument("request", required=False)
@_signing
@_YES
@click.pass_obj
def request_changes(terminal: Terminal, /, request: str | None, **signing: Any) -> None:
    """Sign that something has to change before the next candidate; closes REQUEST, and takes a reason.

    Example: countersign request-changes r1 --reason "leave out the week of the split"
    """
    _decide(terminal, "request-changes", request, **signing)


@click.command()
@click.argument("request", required=False)
@_signing
@_YES
@click.pass_obj
def ratify(terminal: Terminal, /, request: str | None, **signing: Any) -> None:
    """Sign, as a second signer, for what was deployed by break-glass.

    Example: countersign ratify r1
    """
    _decide(terminal, "ratify", request, **signing)


@click.command()
@_signing
@_YES
@click.pass_obj
def revoke(terminal: Terminal, /, **signing: Any) -> None:
    """Sign that the model in service leaves it; what follows, gate.on_revoke says. Takes a reason.

    Example: countersign revoke --reason "trained on prices that were restated"
    """
    _decide(terminal, "revoke", None, **signing)


@click.command()
@click.argument("model", required=False)
@_signing
@_YES
@click.pass_obj
def rollback(terminal: Terminal, /, model: str | None, **signing: Any) -> None:
    """Sign that an earlier model returns: MODEL, by the first digits of its digest; default: the one before.

    Example: countersign rollback --reason "holds too much"
    """
    _decide(terminal, "rollback", model, **signing)


@click.command()
@click.argument("decision")
@click.argument("target", required=False, metavar="[REQUEST|MODEL]")
@_signing
@_approving
@click.option("--print-config", is_flag=True, help="Print YAML, to paste into Dagster's launchpad.")
@click.pass_obj
def sign(terminal: Terminal, /, decision: Decision, target: str | None, print_config: bool, **signing: Any) -> None:
    """Sign DECISION (approve, reject, request-changes, ratify, revoke, rollback) and put nothing on record.

    Prints the configuration with which sign_off_job puts it on record, as the command of that name would have: YAML for
    the launchpad, which Materialize on that job's page opens, or JSON for `dagster job launch --config-json`.

    Example: countersign sign --print-config approve r1
    """
    from countersign.gate.signature import sign
    from countersign.gate.statement import Decision

    if decision not in get_args(Decision):
        raise click.BadParameter(f"expected one of {', '.join(get_args(Decision))}", param_hint="DECISION")
    project = terminal.open_project()
    statement, key = _statement(terminal, project, decision, target, **signing)
    signed = {"statement": statement.to_bytes().decode(), "signature": sign(statement.to_bytes(), key)}
    config = {"ops": {"sign_off": {"config": signed}}}
    click.echo(_yaml(config) if print_config else as_text(config))


def _yaml(config: dict[str, Any]) -> str:
    """With texts as blocks, which can be read; the library quotes those that a block cannot hold."""
    import yaml

    class Blocks(yaml.SafeDumper):
        pass

    Blocks.add_representer(
        str,
        lambda dumper, text: dumper.represent_scalar(
            "tag:yaml.org,2002:str", text, style="|" if text.startswith(("{", "-----")) else None
        ),
    )
    return str(yaml.dump(config, Dumper=Blocks, width=sys.maxsize, allow_unicode=True, sort_keys=False)).rstrip("\n")


def _statement(
    terminal: Terminal,
    project: Project,
    decision: Decision,
    target: str | None,
    *,
    reason: str,
    key: Path | None,
    principal: str | None,
    conditions: tuple[str, ...] = (),
    break_glass: bool = False,
) -> tuple[Statement, Path]:
    """What is to be signed, and the key."""
    from countersign.errors import GateError
    from countersign.gate.conditions import parse_condition
    from countersign.gate.keys import first_listed, signer_of
    from countersign.gate.signers import list_signers
    from countersign.steps.gate import prepare

    if target and decision == "revoke":
        raise GateError("revoke is on the model in service alone: leave the argument out")
    signers, now = list_signers(project.signers), terminal.clock()
    path = key or terminal.key or first_listed(terminal.keys, signers, now)
    statement = prepare(
        project,
        decision,
        principal or signer_of(path, signers).principal,
        now,
        request=None if decision == "rollback" else target,
        model=target if decision == "rollback" else None,
        reason=reason,
        conditions=[parse_condition(text) for text in conditions],
        break_glass=break_glass,
    )
    return statement, path


def _decide(terminal: Terminal, decision: Decision, target: str | None, *, yes: bool, **signing: Any) -> None:
    """Sign and put on record, in one step."""
    from countersign.gate.rules import due, require_unratified
    from countersign.gate.signature import sign
    from countersign.review import decision_text, review, summary_text
    from countersign.steps.gate import awaited, gate_state, submit

    project = terminal.open_project()
    # What is shown and asked for is what is signed, whatever else has come to wait meanwhile.
    statement, key = _statement(terminal, project, decision, target, **signing)
    if decision in _SHOWN_FIRST:
        state = gate_state(project)
        request = awaited(state, statement.request, decision)
        if decision == "ratify":
            require_unratified(request)
        click.echo(summary_text(review(project, state, request, terminal.clock())) + "\n", err=True)
    if not yes:
        _confirm(decision, statement.request or statement.candidate[:12])
    signed = statement.to_bytes()
    line = submit(project, signed.decode(), sign(signed, key), terminal.clock())
    state, policy = gate_state(project), project.config.gate.on_revoke
    click.echo(decision_text(line, state, next(iter(due(state, terminal.clock(), policy)), None), policy))


def _confirm(decision: Decision, name: str) -> None:
    question = _QUESTIONS[decision].format(name)
    if not sys.stdin.isatty():
        raise click.UsageError(
            f"{question}? Expected a terminal on which to ask that, found none: nothing was signed. Sign without being "
            "asked: the same with --yes"
        )
    typed = click.prompt(f"{question}? Type {name} to sign", default="", show_default=False, err=True)
    if typed.strip() != name:
        raise click.UsageError(f"expected {name}, found {typed.strip() or 'nothing'}: nothing was signed")


@click.group()
def signer() -> None:
    """Who may sign: config/allowed_signers."""


@signer.command("list")
@_JSON
@click.pass_obj
def list_(terminal: Terminal, as_json: bool) -> None:
    """Show each signer, the fingerprint of the key, and from when until when it may sign.

    Example: countersign signer list
    """
    from countersign.gate.signers import list_signers

    now = terminal.clock()
    found = [
        {
            "principal": one.principal,
            "key_type": one.key_type,
            "fingerprint": one.fingerprint,
            "valid_after": one.valid_after.isoformat() if one.valid_after else None,
            "valid_before": one.valid_before.isoformat() if one.valid_before else None,
            "valid": one.is_valid(now),
            "comment": one.comment,
        }
        for one in list_signers(terminal.home / "config" / "allowed_signers")
    ]
    if as_json:
        click.echo(as_text(found))
    elif not found:
        click.echo("Nobody may sign yet. Add a person with: countersign signer add NAME KEY.pub")
    else:
        width = max(len(str(one["principal"])) for one in found)
        click.echo(f"{'signer':<{width}}  {'key':<50}  {'from':<10}  {'until':<10}")
        for one in found:
            after, before = ((str(one[name]) if one[name] else "-")[:10] for name in ("valid_after", "valid_before"))
            ended = "" if one["valid"] else "  not valid now"
            click.echo(f"{one['principal']:<{width}}  {one['fingerprint']:<50}  {after:<10}  {before:<10}{ended}")


_YEARS: Final = 2
"""For which a key may sign where nothing else is said."""


@signer.command("add")
@click.argument("principal", metavar="NAME")
@click.argument("public_key", metavar="KEY", nargs=-1, required=True)
@click.option("--valid-from", type=_DATE, help="First day, UTC. Default: from this moment.")
@click.option("--valid-to", type=_DATE, help="Last day, UTC. Default: two years later.")
@click.pass_obj
def add(
    terminal: Terminal,
    principal: str,
    public_key: tuple[str, ...],
    valid_from: datetime | None,
    valid_to: datetime | None,
) -> None:
    """Let NAME sign with KEY, a .pub file or its text. What is on record as signed stays so.

    Example: countersign signer add alice@example.com alice.pub --valid-to 2028-12-31
    """
    from countersign.gate.signers import add_signer

    text = " ".join(public_key)
    if len(public_key) == 1 and " " not in text:
        text = _public_text(Path(text))
    start = valid_from.replace(tzinfo=UTC) if valid_from else terminal.clock()
    end = valid_to.replace(tzinfo=UTC, hour=23, minute=59, second=59) if valid_to else _later(start)
    found = add_signer(terminal.home / "config" / "allowed_signers", principal, text, start, end)
    click.echo(f"{found.principal} may sign with {found.fingerprint} from {start:%Y-%m-%d} until {end:%Y-%m-%d}.")
    click.echo("Commit config/allowed_signers: whoever can change it decides who may sign.")


def _public_text(path: Path) -> str:
    from countersign.errors import GateError

    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise GateError(f"expected a public key in the file {path}, or its text in quotes: {error}") from error


def _later(start: datetime) -> datetime:
    from countersign.errors import GateError

    if start.year + _YEARS > MAXYEAR:
        raise GateError(f"expected --valid-to beside --valid-from {start.date()}: {_YEARS} years later is no date")
    # A 29th of February has no anniversary.
    return start.replace(year=start.year + _YEARS, day=min(start.day, 28))


@signer.command()
@click.argument("path", required=False, type=click.Path(path_type=Path))
@click.option("--as", "principal", metavar="NAME", default="NAME", help="Your name, as decisions will show it.")
@click.option("--no-passphrase", is_flag=True, help="For a machine's key: whoever can read the file can then sign.")
@click.pass_obj
def init(terminal: Terminal, path: Path | None, principal: str, no_passphrase: bool) -> None:
    """Make a key at PATH (default: ~/.ssh/countersign) and print what to send to whoever owns allowed_signers.

    Example: countersign signer init --as alice@example.com
    """
    from countersign.gate.signers import init_key, require_name

    require_name(principal)
    public = init_key(path or terminal.keys / "countersign", principal, passphrase=not no_passphrase).strip()
    click.echo("Send this line to whoever owns config/allowed_signers; nothing in it is secret:", err=True)
    click.echo(shlex.join(["countersign", "signer", "add", principal, public]))


@click.command()
@click.option("--reason", required=True, help="Why a new model is wanted.")
@click.option("--by", "asked_by", required=True, metavar="NAME", help="Who asks; that person may not sign for it.")
@click.pass_obj
def retrain(terminal: Terminal, reason: str, asked_by: str) -> None:
    """Ask for a new model to be trained. It will wait for a signature, as every one does.

    Example: countersign retrain --reason "new volatility regime" --by bob@example.com
    """
    from countersign.gate.signers import list_signers
    from countersign.steps.retrain import ask_as_person

    project = terminal.open_project()
    names = {one.principal.casefold() for one in list_signers(project.signers)}
    found = ask_as_person(project, reason, asked_by, terminal.clock())
    click.echo(f"Asked for, line {found.id[:12]} of the journal: {found.reason}")
    click.echo("drift_sensor launches it within a minute, or now: dagster job execute -m definitions -j retrain_job")
    if names and asked_by.casefold() not in names:
        click.echo(f"Note: {asked_by} is no name of allowed_signers, so nobody there is kept from signing.", err=True)


@click.command()
@click.pass_obj
def deploy(terminal: Terminal) -> None:
    """Put into service what a signed decision made due, now; sign_off_sensor does it by itself within half a minute.

    Launching this is never an approval: without a decision it is refused.

    Example: countersign deploy
    """
    from countersign.steps.gate import gate_state, put_into_service

    project = terminal.open_project()
    made = put_into_service(project, terminal.clock())
    champion = gate_state(project).champion
    click.echo(f"{made.stored.sha256} is in service: {champion.why if champion else ''}")


@click.command()
@_JSON
@click.pass_obj
def verify(terminal: Terminal, as_json: bool) -> None:
    """Tell the journal again from its first line: hashes, rules, signatures, the evidence of each request, and
    the bytes of the model in service.

    Exit code 1 where anything is wrong, with the first wrong line. Works offline, from files alone.

    Example: countersign verify
    """
    from countersign.errors import JournalError
    from countersign.steps.gate import gate_state, verify_project
    from countersign.words import counted

    project = terminal.open_project()
    try:
        lines, findings, problems = verify_project(project)
    except JournalError as error:
        lines, findings, problems = 0, [], [str(error)]
    wrong = [*map(str, findings), *problems]
    if as_json:
        found = [{"line": one.number, "event": one.event, "problem": one.problem} for one in findings]
        click.echo(as_text({"sound": not wrong, "lines": lines, "findings": found, "problems": problems}))
    elif wrong:
        click.echo("\n".join(wrong))
    else:
        champion = gate_state(project).champion
        click.echo(f"{counted(lines, 'line')}, every one as the rules allow, every signature good.")
        click.echo(f"In service: {champion.model}, whole." if champion else "No model is in service.")
    if wrong:
        sys.exit(1)


@click.command()
@click.argument("session", required=False, type=Day())
@_JSON
@click.pass_obj
def history(terminal: Terminal, session: str | None, as_json: bool) -> None:
    """Show which model scored SESSION, who approved it and on what evidence; without one, the whole journal.

    Example: countersign history 2008-09-30
    """
    from countersign.history import life, life_text, session_history, session_text

    project = terminal.open_project()
    if session:
        found = session_history(project, session)
        click.echo(as_text(found) if as_json else session_text(found))
    else:
        lines = life(project.journal.read())
        click.echo(as_text(lines) if as_json else life_text(lines, short=sys.stdout.isatty()))


@click.command()
@_JSON
@click.pass_obj
def drill(terminal: Terminal, as_json: bool) -> None:
    """Plant bad candidates and forged decisions in a scratch copy, and report that each was refused.

    Exit code 1 where one was not. The project itself is not touched.

    Example: countersign drill
    """
    from countersign.steps.drill import drill, drill_text

    trials = drill(terminal.open_project(), terminal.clock())
    held = all(trial.held for trial in trials)
    if as_json:
        click.echo(
            as_text(
                {
                    "held": held,
                    "trials": [{"name": t.name, "held": t.held, "tried": t.tried, "said": t.said} for t in trials],
                }
            )
        )
    else:
        click.echo(drill_text(trials))
    if not held:
        sys.exit(1)


COMMANDS: Final[tuple[click.Command, ...]] = (
    review,
    approve,
    reject,
    request_changes,
    ratify,
    revoke,
    rollback,
    sign,
    signer,
    retrain,
    deploy,
    verify,
    history,
    drill,
)
