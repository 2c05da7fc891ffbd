"""Commands of the data contract: how what arrives differs from it, and a person who accepts that.

Belongs here: arguments, words. Does not belong here: anything that a test could want without a shell.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from countersign.cli_terminal import Pair, Terminal, as_text, once, with_home

if TYPE_CHECKING:
    from countersign.project import Project

_DATE: Final = click.DateTime(["%Y-%m-%d"])


class _Default(Pair):
    """``COLUMN=NUMBER``, or ``COLUMN=null``."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        name, text = super().convert(value, param, ctx)
        return name, None if text in ("", "null") else self._number(text, param, ctx)

    def _number(self, text: str, param: Any, ctx: Any) -> float:
        try:
            return float(text)
        except ValueError:
            self.fail(f"expected a number or null, found {text!r}", param, ctx)


class _Factor(_Default):
    """``COLUMN=NUMBER``, or ``COLUMN=NUMBER@DATE``."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        name, text = Pair.convert(self, value, param, ctx)
        number, _, day = text.partition("@")
        try:
            since = date.fromisoformat(day) if day else None
        except ValueError:
            self.fail(f"expected a date as YYYY-MM-DD behind @, found {day!r}", param, ctx)
        return name, (self._number(number, param, ctx), since)


def _day(terminal: Terminal, project: Project, session: datetime | None) -> str:
    """The session that is asked for, or the newest. Raises ``SessionError`` unless it is one that has closed."""
    from countersign.errors import SessionError

    now = terminal.clock()
    if session is None and not project.daily_sessions(now):
        raise SessionError(f"no session from first_session, {project.first_session}, on has closed yet: name one")
    day = f"{session:%Y-%m-%d}" if session else project.daily_sessions(now)[-1]
    project.calendar.require_closed(day, now)
    return day


@click.group()
def schema() -> None:
    """The columns that people agreed on, and those that arrive."""


@schema.command()
@click.argument("session", required=False, type=_DATE)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def diff(terminal: Terminal, session: datetime | None, as_json: bool) -> None:
    """Show how what the source delivers of SESSION differs from the contract, column by column.

    Without SESSION: the newest one that has closed. Exit code 1 where anything differs.

    Example: countersign schema diff
    """
    from dataclasses import asdict

    from countersign.prices.schema import acceptance
    from countersign.steps.amendment import unrecorded
    from countersign.steps.schema import deliver

    project = terminal.open_project()
    day = _day(terminal, project, session)
    delivery = deliver(project, day, day)
    if as_json:
        click.echo(as_text({"session": day, "differences": [asdict(one) for one in delivery.found]}))
    elif delivery.found:
        click.echo(f"{'column':<20} {'in the contract':<18} arrived")
        for one in delivery.found:
            click.echo(f"{one.column:<20} {one.contract:<18} {one.arrived}")
    else:
        click.echo(f"What arrives of {day} has the columns of the contract.")
    if delivery.problem:
        click.echo(delivery.problem, err=True)
    if command := acceptance(delivery.found):
        click.echo(f"Correct the source; or, where it stays so, for example:\n  {command}", err=True)
    if note := unrecorded(project):
        click.echo(note, err=True)
    if delivery.found or delivery.problem:
        raise SystemExit(1)


@schema.command()
@click.argument("session", required=False, type=_DATE)
@click.option("--reason", required=True, help="Why. Goes on record.")
@click.option("--by", required=True, metavar="NAME", help="Who accepts it. Goes on record.")
@click.option("--rename", multiple=True, type=Pair(), metavar="THEIRS=OURS", help="A column that has another name.")
@click.option("--drop", multiple=True, metavar="COLUMN", help="A column that is not to be read, or arrives no more.")
@click.option(
    "--default",
    multiple=True,
    type=_Default(),
    metavar="COLUMN=NUMBER|null",
    help="What stands in a column of the contract that does not arrive; takes it in where it is new.",
)
@click.option(
    "--factor",
    multiple=True,
    type=_Factor(),
    metavar="COLUMN=NUMBER[@DATE]",
    help="What its values are multiplied by, from the session DATE on.",
)
@click.pass_obj
def accept(terminal: Terminal, /, session: datetime | None, reason: str, by: str, **changes: tuple[Any, ...]) -> None:
    """Write a contract that what the source delivers of SESSION fits, and put on record who accepted it.

    What arrives as before is still read as before. Nothing that is stored changes.

    Example: countersign schema accept --rename px_last=close --by ann --reason "the vendor's new file"
    """
    from countersign.contract import contract_path
    from countersign.gate.state import state_of
    from countersign.steps.amendment import Changes, unrecorded
    from countersign.steps.amendment import accept as write

    rename, default, factor = (once(changes[name], f"--{name}") for name in ("rename", "default", "factor"))
    project = terminal.open_project()
    day, note = _day(terminal, project, session), unrecorded(project)
    done = write(project, day, by, reason, terminal.clock(), Changes(rename, changes["drop"], default, factor))
    if note:
        click.echo(note, err=True)
    click.echo(f"Accepted by {by.strip()}: schema {done.contract.sha256[:12]}, in {contract_path(project.home)}.")
    for line in done.changed:
        click.echo(f"  {line}")
    # Before the first model it is not this session that is next.
    begun = bool(state_of(project.journal.read()).deployments)
    after = f"countersign run{f' --session {day}' if begun else ''}"
    click.echo(with_home(terminal, f"Look at what changed there, then: {after}"))
