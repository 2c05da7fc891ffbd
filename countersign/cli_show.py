"""The command that shows the scores of a session as a table.

Belongs here: arguments, the table. Does not belong here: anything that a test could want without a shell.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

import click

from countersign.cli_terminal import Day, Terminal, as_text

if TYPE_CHECKING:
    from countersign.steps.show import Shown

_WIDTH: Final = 80
"""Columns, where standard output is no terminal."""


@click.command()
@click.argument("session", required=False, type=Day())
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def show(terminal: Terminal, session: str | None, as_json: bool) -> None:
    """Show the scores of SESSION (default: the newest that was scored), and what came of them where that is known.

    Example: countersign show 2008-09-15
    """
    from countersign.steps.show import show_session, shown_dict

    found = show_session(terminal.open_project(), session)
    if as_json:
        click.echo(as_text(shown_dict(found)))
    else:
        _print(found)


def _print(found: Shown) -> None:
    from rich.console import Console

    out = Console(file=sys.stdout, width=None if sys.stdout.isatty() else _WIDTH, highlight=False, markup=False)
    held = int((found.table["decision"] == "hold").sum())
    count = len(found.table)
    out.print(f"Session {found.session}: {count - held} of {count} symbols approved, {held} held", style="bold")
    out.print(f"Model {found.model[:12]}; risk over the next {found.horizon} sessions, to {found.horizon_end}")
    out.print(_table(found))
    for reason, symbols in found.by_baseline.items():
        out.print(f"Scored by the baseline: {', '.join(symbols)} ({reason})")
    out.print("vol.: volatility a day; base: by the EWMA alone.")
    out.print(found.came)


def _table(found: Shown) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    # A long symbol is the one thing that may take two lines.
    table.add_column("symbol", overflow="fold")
    known = found.is_known
    for name in ("decision", "bad week", "base", "vol.", "base", "by", *(("came", "vol.") if known else ())):
        table.add_column(name, justify="left" if name in ("decision", "by", "came") else "right", no_wrap=True)
    for row in found.table.to_dict(orient="records"):
        cells = [
            f"{row['bad_week_probability']:.1%}",
            f"{row['baseline_probability']:.1%}",
            f"{row['volatility_forecast']:.2%}",
            f"{row['baseline_volatility']:.2%}",
            row["volatility_by"],
        ]
        if known:
            volatility = row["came_volatility"]
            cells.append({1.0: "bad", 0.0: "fine"}.get(row["bad_week"], "unknown"))
            cells.append(f"{volatility:.2%}" if volatility == volatility else "unknown")
        # The words say it; colour only helps the eye.
        decision = Text(row["decision"], style="yellow" if row["decision"] == "hold" else "green")
        table.add_row(row["symbol"], decision, *cells)
    return table
