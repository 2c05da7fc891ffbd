"""Commands of the seed's tasks, from a file to a file: ingest, clean, train, score, report.

Belongs here: arguments, what is logged. Does not belong here: anything that a test could want without a shell.
The log goes to standard error; standard output has what ``--json`` asks for, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from countersign.cli_terminal import Day, Terminal, as_text, progress

if TYPE_CHECKING:
    from countersign.project import Project
    from countersign.steps.plain import Written

_Work = Callable[["Project", Callable[[float], None]], "Written"]
"""What a task does with a project, telling the share that is done."""
_IN: Final = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)
_OUT: Final = click.Path(dir_okay=False, path_type=Path)


def _task(read: str, written: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The options that every task has."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        for option in (
            click.option("--json", "as_json", is_flag=True, help="Print what was written, as JSON."),
            click.option("--output", required=True, type=_OUT, metavar="FILE", help=written),
            click.option("--input", "source", required=True, type=_IN, metavar="FILE", help=read),
        ):
            command = option(command)
        return command

    return decorate


_MODEL: Final = click.option(
    "--model", type=_IN, metavar="FILE", help="A model that train wrote. Default: the model in service."
)


@click.command()
@_task("Daily bars: CSV, JSON, Parquet …, told by what is in it and not by its name.", "Such as prices_raw.json.")
@click.pass_obj
def ingest(terminal: Terminal, source: Path, output: Path, as_json: bool) -> None:
    """Read daily bars from a FILE into prices_raw.json, as their supplier says them.

    Calendar, symbols, adjustment and first date are those of the project's config/pipeline.yaml. No Dagster is needed,
    and nothing of the project is changed; so it is for clean, train, score and report.

    Example: countersign ingest --input bars.csv --output prices_raw.json
    """
    from countersign.steps.plain import ingest_file

    _run(terminal, source, as_json, lambda project, _: ingest_file(project, source, output, terminal.clock()))


@click.command()
@_task("prices_raw.json, as ingest wrote it.", "Such as prices_clean.json.")
@click.option("--rejected", type=_OUT, metavar="FILE", help="Default: prices_rejected.json beside the output.")
@click.pass_obj
def clean(terminal: Terminal, source: Path, output: Path, rejected: Path | None, as_json: bool) -> None:
    """Sort bars by the rules of config/quality.yaml: prices_clean.json, and prices_rejected.json with reasons.

    Example: countersign clean --input prices_raw.json --output prices_clean.json
    """
    from countersign.steps.plain import clean_file

    aside = rejected or output.with_name("prices_rejected.json")
    _run(terminal, source, as_json, lambda project, _: clean_file(project, source, output, aside))


@click.command()
@_task("prices_clean.json, as clean wrote it.", "Such as model.json.")
@click.pass_obj
def train(terminal: Terminal, source: Path, output: Path, as_json: bool) -> None:
    """Train a model on all bars of a FILE, and evaluate it walk-forward on them.

    The model is not in service, and cannot get there from here: that takes a signature (countersign retrain).

    Example: countersign train --input prices_clean.json --output model.json
    """
    from countersign.steps.plain import train_file

    _run(
        terminal,
        source,
        as_json,
        lambda project, done: train_file(project, source, output, lambda folds, of: done(folds / of)),
    )
    click.echo("Not in service: no signature and no journal stands behind this model.", err=True)


@click.command()
@_task("prices_clean.json, as clean wrote it.", "Such as scores.json.")
@_MODEL
@click.option("--session", type=Day(), help="Default: the newest session of the file.")
@click.pass_obj
def score(
    terminal: Terminal, source: Path, output: Path, model: Path | None, session: str | None, as_json: bool
) -> None:
    """Score one session of a FILE, from its bars and those of the 62 sessions before it.

    Example: countersign score --input prices_clean.json --output scores.json
    """
    from countersign.steps.plain import score_file

    _run(terminal, source, as_json, lambda project, _: score_file(project, source, output, model, session))


@click.command()
@_task("scores.json, as score wrote it.", "Such as report.txt.")
@_MODEL
@click.pass_obj
def report(terminal: Terminal, source: Path, output: Path, model: Path | None, as_json: bool) -> None:
    """Say the scores of a FILE in words, with the model that made them.

    The report of a run, with monitoring, lies in artifacts/sessions/ beside its page.

    Example: countersign report --input scores.json --output report.txt
    """
    from countersign.steps.plain import report_file

    _run(terminal, source, as_json, lambda project, _: report_file(project, source, output, model))


def _run(terminal: Terminal, source: Path, as_json: bool, work: _Work) -> None:
    """Do ``work`` between the lines of a log, and print what was written where it is asked for."""
    name = click.get_current_context().info_name or ""

    def log(what: str, words: str) -> None:
        click.echo(f"{terminal.clock():%Y-%m-%dT%H:%M:%SZ} {name:<6} {what:<7} {words}", err=True)

    log("start", str(source))
    with progress(f"{name} {source.name}") as done:
        made = work(terminal.open_project(), done)
    warnings = [check.sentence for check in made.checks if check.status == "fail"]
    for sentence in warnings:
        log("warning", sentence)
    log("wrote", f"{made.path} {made.sha256[:12]}")
    log("end", " ".join(f"{key}={_word(value)}" for key, value in _flat(made.numbers)))
    if as_json:
        found: dict[str, Any] = {"output": str(made.path), "sha256": made.sha256, **made.numbers, "warnings": warnings}
        click.echo(as_text(found))


def _flat(numbers: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in numbers.items():
        yield from value.items() if isinstance(value, Mapping) else [(key, value)]


def _word(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


COMMANDS: Final[tuple[click.Command, ...]] = (ingest, clean, train, score, report)
