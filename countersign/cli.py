"""Command line: a door into the domain. Needs no Dagster instance.

Belongs here: arguments, words, exit codes; the clock and the environment, which are read nowhere else in the domain.
Does not belong here: anything that a test could want without a shell, commands of the gate (``cli_gate``).
Heavy imports stand in the commands that use them, so that ``--help`` answers at once.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import click

from countersign import (
    cli_experiment,
    cli_gate,
    cli_init,
    cli_quarantine,
    cli_run,
    cli_schema,
    cli_serve,
    cli_show,
    cli_tasks,
)
from countersign.cli_terminal import Day, Terminal, as_text, progress, with_home

_SECTIONS: Final = {
    "Sessions": {
        "run": "Run the daily job through Dagster.",
        "status": "The model in service, the last session, what needs a person.",
        "show": "The scores of a session, and what came of them.",
        "history": "Which model scored a session, and who approved it.",
        "evaluate": "The model walk-forward, beside the baselines.",
        "replay": "How often each threshold would have alarmed.",
    },
    "Over HTTP": {
        "serve": "Serve the model in service: POST /predict, scores, reports.",
        "token": "Who may ask the server.",
    },
    "From a file to a file, without Dagster": {
        "ingest": "Bars of any layout that is known, to prices_raw.json.",
        "clean": "prices_raw.json to prices_clean.json, by the rules.",
        "train": "prices_clean.json to model.json, which is not in service.",
        "score": "prices_clean.json to scores.json.",
        "report": "scores.json to report.txt.",
    },
    "A new model, and who signs for it": {
        "retrain": "Ask for a new model.",
        "review": "What waits for a decision, with its evidence.",
        "approve": "Sign that a candidate may replace the model in service.",
        "reject": "Sign that it may not.",
        "request-changes": "Sign that something has to change before the next one.",
        "ratify": "Sign, as a second person, for a break-glass deployment.",
        "revoke": "Sign that the model in service leaves it.",
        "rollback": "Sign that an earlier model returns.",
        "sign": "Sign a decision to be put on record elsewhere.",
        "deploy": "Put into service what a signed decision made due.",
        "signer": "Who may sign.",
        "verify": "Tell the journal again, every hash and signature.",
        "drill": "Prove in a scratch copy that bad models are refused.",
    },
    "What people decide on": {
        "experiment": "Variants of the model's settings, beside those in use.",
        "init": "Begin a project folder for your own prices.",
        "schema": "The columns that are agreed on, and those that arrive.",
        "quarantine": "Rows that broke a rule, and who let them through.",
        "thresholds": "What monitoring judges by.",
    },
}
"""The commands as ``--help`` lists them, each in a few words."""


class _Group(click.Group):
    """Lists commands in sections. Says an error of the domain in one clear message, exit code 2."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, rows in _SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl(list(rows.items()))

    def invoke(self, ctx: click.Context) -> Any:
        from countersign.errors import CountersignError

        try:
            return super().invoke(ctx)
        except CountersignError as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(2)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--home",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Project folder with config/pipeline.yaml. Default: COUNTERSIGN_HOME, or the current folder.",
)
@click.version_option(package_name="countersign")
@click.pass_context
def main(context: click.Context, home: Path | None) -> None:
    """Countersign: a daily risk model on market prices that only a person can replace.

    Example: countersign run --session 2008-09-02
    """
    key = os.environ.get("COUNTERSIGN_KEY")
    context.obj = Terminal(
        home=(home or Path(os.environ.get("COUNTERSIGN_HOME") or Path.cwd())).resolve(),
        clock=lambda: datetime.now(UTC),
        key=Path(key) if key else None,
        keys=Path("~/.ssh").expanduser(),
        is_named=home is not None,
        environment=os.environ,
        stopwatch=perf_counter,
    )


for command in (
    *cli_tasks.COMMANDS,
    cli_run.run,
    cli_show.show,
    *cli_gate.COMMANDS,
    cli_init.init,
    cli_quarantine.quarantine,
    cli_schema.schema,
    cli_experiment.experiment,
    *cli_serve.COMMANDS,
):
    main.add_command(command)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def status(terminal: Terminal, as_json: bool) -> None:
    """Show the model in service, the last session, and what waits for a person.

    Example: countersign status
    """
    from countersign.status import project_status, status_text

    found = project_status(terminal.open_project(), terminal.clock())
    click.echo(as_text(found) if as_json else with_home(terminal, status_text(found)))


@main.command()
@click.option("--from", "first", type=Day(), help="First date of the data. Default: history.start.")
@click.option("--to", "last", type=Day(), help="Last date of the data. Default: all that the source has.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def evaluate(terminal: Terminal, first: str | None, last: str | None, as_json: bool) -> None:
    """Measure the model walk-forward on the source's prices, beside the baseline and the naive forecast.

    Trains on everything before each fold, scores the fold, goes on. Nothing is stored and no model changes.

    Example: countersign evaluate --to 2008-08-29
    """
    from countersign.model.evaluation import evaluation_text
    from countersign.steps.model import evaluate_source

    project = terminal.open_project()
    with progress("Training") as done:
        found = evaluate_source(project, first, last, terminal.clock(), lambda folds, of: done(folds / of))
    click.echo(as_text(found.as_dict()) if as_json else evaluation_text(found))


@main.command()
@click.option("--from", "first", type=Day(), help="First date that is judged. Default: history.start.")
@click.option("--to", "last", type=Day(), help="Last date that is judged. Default: all that the source has.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with the dates of every alarm.")
@click.pass_obj
def replay(terminal: Terminal, first: str | None, last: str | None, as_json: bool) -> None:
    """Run monitoring over history: how often each threshold alarms, and would if it were halved or doubled.

    Forecasts are walk-forward; validation and drift references are those that each year would have begun with.
    Nothing is stored and no model changes.

    Example: countersign replay --from 2004-01-01 --to 2012-12-31
    """
    from countersign.monitoring.replay import replay_dict, replay_text
    from countersign.steps.replay import replay_source

    project = terminal.open_project()
    with progress("Replaying") as done:
        found = replay_source(project, first, last, terminal.clock(), done)
    click.echo(as_text(replay_dict(found)) if as_json else replay_text(found))


@main.group()
def thresholds() -> None:
    """What monitoring judges by: config/thresholds.yaml, which people own."""


@thresholds.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def check(terminal: Terminal, as_json: bool) -> None:
    """Validate config/thresholds.yaml; show each threshold with its owner and the date of its review.

    Exit code 2 and one message where the file cannot be used. A review that is due is said and is no error.

    Example: countersign thresholds check
    """
    from countersign.thresholds import load_thresholds, thresholds_dict, thresholds_text

    # The day where the person is, who writes the date of the review.
    found, today = load_thresholds(terminal.home), terminal.clock().astimezone().date()
    click.echo(as_text(thresholds_dict(*found, today)) if as_json else thresholds_text(*found, today))
