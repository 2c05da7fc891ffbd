"""Experiments on the source of a project: tried, compared, put into a folder of their own.

Belongs here: reading prices and settings, writing what was found. Does not belong here: trying and choosing
(``experiments``). Changes no setting, no model and no journal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from countersign.errors import ConfigError
from countersign.experiments.choice import choose
from countersign.experiments.plan import Experiment
from countersign.experiments.proposal import settings_diff
from countersign.experiments.record import record
from countersign.experiments.trial import run_trials
from countersign.pages.experiment import experiment_page
from countersign.pages.page import page_html
from countersign.project import Project
from countersign.steps.model import source_panel
from countersign.storage.codec import json_bytes
from countersign.storage.files import write_atomically
from countersign.version import code_version


@dataclass(frozen=True)
class Found:
    """What a run found: all of ``experiment.json``, and by experiment what its winner would change."""

    record: Mapping[str, Any]
    diffs: Mapping[str, str]


def run_experiments(
    project: Project,
    experiments: Mapping[str, Experiment],
    now: datetime,
    first: str | None = None,
    last: str | None = None,
    jobs: int = 1,
    progress: Callable[[float], None] | None = None,
) -> Found:
    """Try ``experiments`` on what the source has from ``first`` to ``last``; None as in ``evaluate_source``.

    ``jobs`` variants at a time; ``progress`` is called with the share that is done. Stores nothing.
    """
    configured = project.config.model
    panel = source_panel(project, "the experiments", first, last, now)
    trials = run_trials(experiments, panel, configured, jobs, progress)
    choices = choose(trials, experiments, configured)
    text = (project.home / "config" / "pipeline.yaml").read_text(encoding="utf-8")
    diffs = {
        choice.experiment: _words(choice.sentences)
        + (settings_diff(text, choice.winner.changes) if choice.winner else "")
        for choice in choices
    }
    return Found(record(trials, choices, configured, code_version()), diffs)


def experiment_folder(project: Project, output: Path | None, experiments: Mapping[str, Experiment]) -> Path:
    """Where a run is written: ``output``, or a folder of its own below ``artifacts/experiments``.

    Raises ``ConfigError`` where that lies among what the pipeline itself reads or writes.
    """
    own = project.journal.path.parent / "experiments"
    folder = (output or own / "+".join(experiments)[:100]).resolve()
    for kept in (project.journal.path.parent, project.home / "config", project.home / "data"):
        inside = folder.is_relative_to(kept.resolve()) and not folder.is_relative_to(own.resolve())
        if inside:
            raise ConfigError(
                f"--output: expected a folder outside {kept}, which is the pipeline's own, found {folder}. "
                f"Name another, or leave it out for one in {own}"
            )
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"--output: expected a folder, found a file at {folder}. Name another")
    return folder


def write_experiment(found: Found, folder: Path) -> list[Path]:
    """``experiment.json``, ``experiment.html``, and for each experiment ``NAME.diff``; the same run, the same bytes."""
    page = experiment_page(found.record, found.diffs)
    files = {
        "experiment.json": json_bytes(found.record) + b"\n",
        "experiment.html": page_html(page).encode(),
        **{f"{name}.diff": diff.encode() for name, diff in found.diffs.items()},
    }
    for name, data in files.items():
        write_atomically(folder / name, data)
    return [folder / name for name in files]


def _words(sentences: tuple[str, ...]) -> str:
    return "".join(f"# {sentence}.\n" for sentence in sentences)
