"""Commands of the quarantine: look, let through.

Belongs here: arguments, words. Does not belong here: anything that a test could want without a shell.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

import click

from countersign.cli_terminal import Terminal, as_text, with_home
from countersign.words import counted

_NO_BAR: Final = "  [no bar can be made of it]"
_DATE: Final = click.DateTime(["%Y-%m-%d"])


@click.group()
def quarantine() -> None:
    """Rows of prices that broke a rule, and people who let them through."""


@quarantine.command("list")
@click.argument("session", required=False, type=_DATE)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_rows(terminal: Terminal, session: datetime | None, as_json: bool) -> None:
    """Show what was set aside of SESSION, or of all sessions and the history, each row with its rule and reason.

    Example: countersign quarantine list 2008-09-15
    """
    from dataclasses import asdict

    from countersign.steps.quarantine import quarantined

    found = quarantined(terminal.open_project(), f"{session:%Y-%m-%d}" if session else None)
    if as_json:
        click.echo(as_text([asdict(one) | {"releasable": one.releasable} for one in found]))
        return
    for one in found:
        bar = "" if one.releasable else "  [a copy: the first one is kept]" if one.rule == "duplicate" else _NO_BAR
        click.echo(f"{one.session}  row {one.row:<5} {one.symbol:<10} {one.rule:<12} {one.reason}{bar}")
    click.echo(f"{counted(len(found), 'row')} in quarantine." if found else "Nothing is in quarantine.")


@quarantine.command("release")
@click.argument("session", type=_DATE)
@click.argument("row", required=False, type=click.IntRange(min=0))
@click.option("--symbol", help="Instead of ROW: the session's rows of this symbol.")
@click.option("--by", required=True, metavar="NAME", help="Who lets it through. Goes on record.")
@click.option("--reason", required=True, help="Why. Goes on record.")
@click.pass_obj
def release_row(
    terminal: Terminal, session: datetime, row: int | None, symbol: str | None, by: str, reason: str
) -> None:
    """Let a row of SESSION through: ROW as `quarantine list` numbers it, or those of one symbol.

    It holds for these very values, and counts once the session is run again, which this does not do by itself.

    Example: countersign quarantine release 2008-09-15 --symbol AAPL --by ann --reason "traded at that price"
    """
    from countersign.steps.quarantine import release, run_again

    if (row is None) == (symbol is None):
        raise click.UsageError("expected either ROW or --symbol")
    project, day = terminal.open_project(), f"{session:%Y-%m-%d}"
    for one in release(project, day, by, reason, terminal.clock(), row, symbol):
        click.echo(f"Released: {one.session}, {one.symbol} ({one.rule}), by {one.by}.")
    click.echo(with_home(terminal, run_again(project, day)))
