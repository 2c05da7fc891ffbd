"""Drill: bad candidates and forged decisions, planted in a scratch copy, to see that the gate refuses each.

Belongs here: running the trials and reporting them. Does not belong here: what is planted (``drill_trials``), the copy
(``drill_scratch``), the gate, whose own functions are called as the jobs and the command line call them.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from countersign.errors import GateError
from countersign.gate.rules import due
from countersign.project import Project
from countersign.steps.drill_scratch import HoleError, Scratch, UntriedError
from countersign.steps.drill_trials import PLANTED
from countersign.steps.gate import gate_state

_MOST: Final = 3
"""Lines of the table that a trial's words may take."""


@dataclass(frozen=True)
class Trial:
    """What was planted; whether the gate held; and what it said, or what happened instead."""

    name: str
    held: bool
    said: str
    tried: bool = True
    """False where it could not even be planted, which says nothing of the gate."""


def drill(project: Project, now: datetime) -> list[Trial]:
    """Plant each in a copy of its own, in a temporary folder; nothing in ``project`` changes, which is tried last.

    Raises ``CountersignError`` where the project has no sound model in service, or a deployment is due.
    """
    before = _bytes(project)
    if found := due(gate_state(project), now, project.config.gate.on_revoke):
        raise GateError(
            f"expected a project in which nothing is due, found {found[0].model[:12]}: deploy it first, with: "
            "countersign deploy"
        )
    with TemporaryDirectory(prefix="countersign-drill-") as name:
        folder = Path(name)
        keys = folder / "keys"
        origin = Scratch.of(project, folder / "project", keys, now)
        trials = [
            _tried(what, plant, origin.copy(folder / str(number)))
            for number, (what, plant) in enumerate(PLANTED.items())
        ]
    untouched = all(_bytes(project).get(path, b"").startswith(data) for path, data in before.items())
    said = "its configuration, journal and model are byte for byte what they were"
    return [*trials, Trial("the project itself is left alone", untouched, said if untouched else "it has changed")]


def drill_text(trials: Sequence[Trial]) -> str:
    """A table of 100 columns at the most."""
    width = max(len(trial.name) for trial in trials)
    lines = []
    for trial in trials:
        verdict = "held" if trial.held else "HOLE" if trial.tried else "none"
        start = f"{verdict}  {trial.name:<{width}}  "
        said = textwrap.wrap(trial.said, 100 - len(start), break_on_hyphens=False)
        most = _MOST if trial.tried else len(said)
        lines += [f"{start}{said[0]}", *(" " * len(start) + line for line in said[1:most])]
        lines += [" " * len(start) + "…"] if len(said) > most else []
    holes = sum(trial.tried and not trial.held for trial in trials)
    untried = sum(not trial.tried for trial in trials)
    said = [f"{holes} of {len(trials)} FAILED: do not rely on the gate"] if holes else []
    if untried:
        said.append(f"{untried} of {len(trials)} could not be tried: put right what stands there, then run it again")
    lines += ["", *(said or [f"All {len(trials)} held."])]
    return "\n".join(lines)


def _tried(name: str, plant: Callable[[Scratch], str], scratch: Scratch) -> Trial:
    try:
        # Where a temporary folder lay says nothing.
        return Trial(name, True, plant(scratch).replace(f"{scratch.project.home}/", ""))
    except HoleError as hole:
        return Trial(name, False, str(hole))
    except UntriedError as error:
        return Trial(name, False, str(error), tried=False)
    except Exception as error:
        # Whatever a hole led to, it is reported, and the other trials are still made.
        return Trial(name, False, f"could not be tried: {error!r}")


def _bytes(project: Project) -> dict[Path, bytes]:
    """What the gate rests on. Another process may add to the journal meanwhile, and to nothing else."""
    champion = gate_state(project).last_model
    model = Path(project.store.location(f"models/{champion}/model", None, "json"))
    files = [*(project.home / "config").rglob("*"), project.journal.path, model]
    return {path: path.read_bytes() for path in files if path.is_file()}
