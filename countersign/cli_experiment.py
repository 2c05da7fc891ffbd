"""Commands of the experiments: try variants of the model's settings.

Belongs here: arguments, words, the table. Does not belong here: anything that a test could want without a shell.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from countersign.cli_terminal import Day, Terminal, as_text, progress


@click.group()
def experiment() -> None:
    """Try variants of the model's settings; nothing is promoted, and a person decides."""


@experiment.command("run")
@click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option("--from", "first", type=Day(), help="First date of the data. Default: history.start.")
@click.option("--to", "last", type=Day(), help="Last date of the data. Default: all that the source has.")
@click.option("--jobs", type=click.IntRange(min=1), help="Variants at a time. Default: one a processor.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Folder for experiment.json, experiment.html and diffs. Default: one in artifacts/experiments.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def run(
    terminal: Terminal,
    files: tuple[Path, ...],
    first: str | None,
    last: str | None,
    jobs: int | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Try the variants of each FILE beside what is configured.

    All are scored walk-forward on the source's prices, on the same sessions, in the same purged folds. No setting,
    model or journal is changed: what a winner would change is written as a diff of pipeline.yaml.

    Example: countersign experiment run config/experiments/penalties.yaml
    """
    from countersign.experiments.plan import load_experiments
    from countersign.steps.experiment import experiment_folder, run_experiments, write_experiment

    experiments = load_experiments(files)
    project = terminal.open_project()
    folder = experiment_folder(project, output, experiments)
    with progress("Trying") as done:
        found = run_experiments(project, experiments, terminal.clock(), first, last, jobs or os.cpu_count() or 1, done)
    written = write_experiment(found, folder)
    if as_json:
        click.echo(as_text(found.record))
        return
    _show(found.record)
    for choice in found.record["choices"]:
        click.echo(f"\n{_wrapped(choice['experiment'] + ': ' + choice['question'])}")
        for sentence in choice["sentences"]:
            click.echo(_wrapped(f"{sentence}.", "  - ", "    "))
    click.echo("\nNothing was changed. Written:")
    for path in written:
        click.echo(f"  {path}")


def _wrapped(sentence: str, first: str = "", further: str = "") -> str:
    import textwrap

    return textwrap.fill(sentence, 80, initial_indent=first, subsequent_indent=further, break_on_hyphens=False)


def _show(found: Mapping[str, Any]) -> None:
    """The comparison table, in 80 columns at least."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from countersign.experiments.record import HEADS, RATES, conditions, loss_cells, rate_cells

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name, side in (("variant", "left"), ("forecast", "left"), ("skill", "right"), ("loss [95 %], %", "right")):
        table.add_column(name, justify="right" if side == "right" else "left", no_wrap=True)
    table.add_column("shows", no_wrap=True)
    shown = ""
    for variant in found["variants"]:
        if variant["experiment"] != shown:
            shown = variant["experiment"]
            table.add_row()
            table.add_row(Text(shown, "bold"))
        approved, bad = (rate_cells(variant, rate)[0] for rate in RATES)
        beside = f"  {approved} approved, {bad} bad"
        for left, (head, loss) in zip((variant["name"], beside), HEADS.items(), strict=True):
            table.add_row(Text(left), head, *loss_cells(variant, loss))
    console = Console(highlight=False)
    click.echo(_wrapped(f"{conditions(found)}.") + "\n")
    console.print(table, width=max(80, console.width), no_wrap=True)
    click.echo("\n" + _wrapped(_HEADS))


_HEADS: Final = (
    "skill: how much less than the baseline of the same horizon is lost. loss: QLIKE of volatility and Brier loss of "
    "bad weeks, minus that of what is configured, in percent of it; less is better, and where the interval holds 0 no "
    "difference is shown. bad: of the approved."
)
