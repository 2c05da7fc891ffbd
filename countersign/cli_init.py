"""The command that begins a project folder for a user's own prices.

Belongs here: arguments, words, starting the first run. Does not belong here: anything that a test could want without a
shell.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from countersign.cli_run import launch
from countersign.cli_terminal import Pair, Terminal, as_text, once

if TYPE_CHECKING:
    from countersign.prices.sources.cells import DateOrder, Decimal
    from countersign.steps.init import Started


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--prices", required=True, metavar="PATH", help="A file of daily bars, a folder or glob of them, or a URL."
)
@click.option(
    "--calendar", metavar="CODE", help="Of exchange_calendars: XNYS, XLON, 24/7 … Default: the one that fits."
)
@click.option(
    "--adjustment",
    type=click.Choice(["raw", "splits", "full", "both"]),
    help="What has been done to the prices: nothing, splits, dividends too, or an adjusted close is beside them.",
)
@click.option("--rename", multiple=True, type=Pair(), metavar="THEIRS=OURS", help="A column whose name is not known.")
@click.option("--profile", default="auto", help="The supplier's layout (docs/sources.md). Default: the one it has.")
@click.option(
    "--dates",
    default="auto",
    type=click.Choice(["auto", "day_first", "month_first"]),
    help="What comes first in 01/02/2019. Default: what every date fits.",
)
@click.option(
    "--decimal", type=click.Choice([",", "."]), help="What begins decimals in 1.234,5 or 1,234.5. Default: what fits."
)
@click.option("--run/--no-run", default=True, help="Load the history, train, run the first session. Default: run.")
@click.option("--json", "as_json", is_flag=True, help="Print the guesses as JSON, and run nothing.")
@click.pass_obj
def init(
    terminal: Terminal,
    folder: Path,
    prices: str,
    calendar: str | None,
    adjustment: str | None,
    rename: tuple[tuple[str, str], ...],
    profile: str,
    dates: DateOrder,
    decimal: Decimal | None,
    run: bool,
    as_json: bool,
) -> None:
    """Begin a project FOLDER for your own prices: guess its settings from them, write these, run the first session.

    Each guess stands in FOLDER/config/pipeline.yaml, for you to correct.

    Example: countersign init ../my-panel --prices ~/bars.csv
    """
    from dataclasses import asdict

    from countersign.prices.sources.secrets import shown
    from countersign.steps.init import Layout, init_project

    layout = Layout(profile, once(rename, "--rename"), dates, decimal or "")
    found = init_project(folder, prices, terminal.clock(), calendar, adjustment, layout)
    if as_json:
        told = [asdict(guess) | {"value": shown(guess.value)} for guess in found.guesses]
        click.echo(as_text(asdict(found) | {"guesses": told}))
        return
    click.echo(_words(found, folder))
    first = next(guess.value for guess in found.guesses if guess.setting == "first_session")
    home = folder.resolve()
    # Its own Dagster home: another project's may stand in the environment.
    environment = {**terminal.environment, "DAGSTER_HOME": str(home / ".dagster")}
    code = launch(home, environment, "--session", first) if run else 0
    click.echo(f"\nFrom here on: export COUNTERSIGN_HOME={home} DAGSTER_HOME={home}/.dagster")
    click.echo(f"Then, in {Path(__file__).parents[1]}: make run for all sessions, make ui, countersign status")
    raise SystemExit(code)


def _words(found: Started, folder: Path) -> str:
    from countersign.prices.sources.secrets import shown

    lines = [
        f"{found.bars:,} bars, {found.first} … {found.last}, with {', '.join(found.columns)}"
        + (f"; without {', '.join(found.lacking)}" if found.lacking else "")
        + (f"; not read: {', '.join(found.further)}" if found.further else ""),
        "",
    ]
    width = max(len(guess.setting) for guess in found.guesses)
    for guess in found.guesses:
        lines += [
            f"  {guess.setting:<{width}}  {shown(guess.value) or '(left out)'}",
            f"  {'':<{width}}    {guess.why}",
        ]
    lines += [
        "",
        f"Written to {folder / 'config'}: pipeline.yaml with these guesses, look through it; quality.yaml and",
        "thresholds.yaml as shipped, with numbers that were found on other prices than yours.",
    ]
    return "\n".join(lines)
