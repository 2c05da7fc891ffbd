"""Trial: each variant walk-forward, on the very same sessions, rows and folds.

Belongs here: running variants, over processes. Does not belong here: folds and fitting (``model.evaluation``), measures
and intervals (``model.contest``), which variant to take (``choice``).

Rows are those whose outcome is known for every horizon of the run, and folds are purged by the longest of them, so that
variants differ in their settings alone and differences between them are paired.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from signal import SIG_BLOCK, SIG_SETMASK, SIGINT, pthread_sigmask, signal
from threading import Thread, current_thread, main_thread
from typing import Any, Final

import numpy as np

from countersign.config import ModelConfig
from countersign.errors import ConfigError, ModelError
from countersign.experiments.plan import CONFIGURED, Experiment
from countersign.model.comparison import HEADS
from countersign.model.contest import Contest, Measured, measure_overall
from countersign.model.evaluation import Forecasts, walk_forward_from
from countersign.model.scoring import Scores
from countersign.model.targets import HORIZON
from countersign.model.training import TrainingRows, training_rows
from countersign.prices.panel import Panel

LOSSES: Final = tuple(HEADS.values())

_INTERRUPTS_SEEN_SECONDS: Final = 0.1
"""How long Ctrl-C may go unnoticed while no variant is done."""


@dataclass(frozen=True)
class Trial:
    """What came of one variant.

    ``measures`` have the variant as "candidate", what is configured as "champion", and the baseline as it is with what
    is configured, so that it is the same for all of one horizon. ``gains`` are, for each loss and session, the
    configured model's loss minus the variant's, summed over the session's rows.
    """

    experiment: str
    name: str
    changes: Mapping[str, Any]
    horizon_sessions: int
    model_share: float
    bad_rate: float
    measures: Mapping[str, Measured]
    gains: Mapping[str, np.ndarray]

    @property
    def comparable(self) -> bool:
        """Whether it forecasts what the pipeline forecasts, so that its losses can be held against the configured."""
        return self.horizon_sessions == HORIZON

    @property
    def label(self) -> str:
        return f"{self.experiment}: {self.name}" if self.experiment else self.name


@dataclass(frozen=True)
class Trials:
    """All trials of a run, the configured model's first, and what they were measured on. Sessions: ``YYYY-MM-DD``."""

    first: str
    last: str
    sessions: np.ndarray
    rows: np.ndarray
    folds: int
    purge: int
    tried: tuple[Trial, ...]

    @property
    def configured(self) -> Trial:
        return self.tried[0]


@dataclass(frozen=True)
class _Task:
    experiment: str
    name: str
    changes: Mapping[str, Any]
    config: ModelConfig
    horizon: int


@dataclass(frozen=True)
class _Ground:
    """What all tasks share. ``rows`` are by horizon, the same rows in each."""

    panel: Panel
    rows: Mapping[int, TrainingRows]
    configured: ModelConfig
    purge: int


def run_trials(
    experiments: Mapping[str, Experiment],
    panel: Panel,
    configured: ModelConfig,
    jobs: int = 1,
    progress: Callable[[float], None] | None = None,
) -> Trials:
    """Try every variant, ``jobs`` at a time, each in a process of its own where there are several.

    The same arguments give the same numbers, whatever ``jobs``. ``progress`` is called with the share that is done.
    Raises ``ConfigError`` or ``ModelError`` where a variant cannot be tried on these prices.
    """
    tasks = [
        _Task(name, variant.name, variant.changes, variant.applied_to(configured), variant.horizon_sessions)
        for name, experiment in experiments.items()
        for variant in experiment.variants
    ]
    purge = max([HORIZON, *(task.horizon for task in tasks)])
    if configured.bootstrap_block_sessions < purge:
        raise ConfigError(
            f"horizon_sessions: expected at most {configured.bootstrap_block_sessions}, the bootstrap's "
            f"model.bootstrap_block_sessions, found {purge}: outcomes that overlap must stay together. Raise it in "
            "config/pipeline.yaml, or try shorter horizons"
        )
    ground = _Ground(panel, _same_rows(panel, {HORIZON, *(task.horizon for task in tasks)}), configured, purge)
    _require_sessions(ground)
    as_configured = {h: _Task("", CONFIGURED, {}, configured, h) for h in ground.rows}
    references = {h: _forecasts(ground, task) for h, task in as_configured.items()}
    trial = partial(_trial, ground, references)
    found = [trial(as_configured[HORIZON]), *_all(trial, tasks, jobs, progress)]
    forecasts = references[HORIZON]
    place = forecasts.session
    return Trials(
        first=str(panel.sessions[forecasts.first]),
        last=str(panel.sessions[forecasts.last]),
        sessions=panel.sessions[forecasts.first + np.unique(place)],
        rows=np.bincount(np.unique(place, return_inverse=True)[1]),
        folds=forecasts.folds,
        purge=purge,
        tried=tuple(found),
    )


def _all(
    trial: Callable[[_Task], Trial], tasks: Sequence[_Task], jobs: int, progress: Callable[[float], None] | None
) -> list[Trial]:
    """The trials of ``tasks``, in their order."""
    found: dict[int, Trial] = {}

    def keep(number: int, one: Trial) -> None:
        found[number] = one
        if progress:
            progress(len(found) / len(tasks))

    if jobs == 1 or len(tasks) == 1:
        for number, task in enumerate(tasks):
            keep(number, trial(task))
    else:
        try:
            with _interrupts() as interrupts, _workers(min(jobs, len(tasks)), trial) as workers:
                _share_out(tasks, workers, keep, interrupts)
        except (EOFError, ConnectionError) as error:
            raise ModelError(
                "a process that tried a variant ended before it was done, perhaps for lack of memory. Run it again "
                "with one job at a time"
            ) from error
    return [found[number] for number in range(len(tasks))]


def _share_out(
    tasks: Sequence[_Task], workers: Sequence[Connection], keep: Callable[[int, Trial], None], interrupts: Sequence[int]
) -> None:
    """Give each worker one of ``tasks``, and the next when it is done. ``interrupts`` fills up where Ctrl-C comes."""
    waiting, idle, busy = iter(enumerate(tasks)), [*workers], dict[Connection, int]()
    while True:
        for worker, (number, task) in zip(idle, waiting, strict=False):
            worker.send(task)
            busy[worker] = number
        if not busy:
            return
        ready = wait([*busy], _INTERRUPTS_SEEN_SECONDS)
        idle = [worker for worker in busy if worker in ready]
        for worker in idle:
            answer: Trial | Exception = worker.recv()
            if isinstance(answer, Exception):
                raise answer
            keep(busy.pop(worker), answer)
        if interrupts:
            raise KeyboardInterrupt


@contextmanager
def _workers(count: int, trial: Callable[[_Task], Trial]) -> Iterator[list[Connection]]:
    """Connections to ``count`` processes that answer a task with its trial; they are ended with the block, at once.

    Not one of the standard library's pools: workers of these share a pipe, and one that is ended while it writes leaves
    the others' reader, and with it the whole process, waiting for ever.
    """
    # Spawned, not forked: threads of numerical libraries do not survive a fork.
    context = get_context("spawn")
    begun: list[tuple[SpawnProcess, Connection]] = []
    # Ctrl-C reaches every process of a terminal: workers begin with it blocked, so that it is for this process alone.
    # The tracker, which the first of them would begin, unblocks it when it has begun.
    resource_tracker.ensure_running()
    unblocked = pthread_sigmask(SIG_BLOCK, {SIGINT})
    try:
        try:
            for _ in range(count):
                ours, theirs = context.Pipe()
                begun.append((context.Process(target=_work, args=(theirs,)), ours))
                begun[-1][0].start()
                theirs.close()
        finally:
            pthread_sigmask(SIG_SETMASK, unblocked)
        for _, worker in begun:
            worker.send(trial)
        yield [worker for _, worker in begun]
    finally:
        for process, _ in begun:
            if process.pid:
                process.kill()
        for process, worker in begun:
            worker.close()
            if process.pid:
                process.join()


def _work(parent: Connection) -> None:
    """What a worker does: the trial of each task that it is sent, or why there is none."""
    _end_with_parent()
    # The parent has ended, perhaps halfway through a message.
    with suppress(EOFError, OSError):
        trial: Callable[[_Task], Trial] = parent.recv()
        while True:
            task: _Task = parent.recv()
            try:
                parent.send(trial(task))
            except (ConfigError, ModelError) as error:
                parent.send(error)


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Ctrl-C is noted meanwhile and raises nothing, so that it breaks off no step halfway.

    From another thread than the main one it cannot be noted, and is not.
    """
    noted: list[int] = []
    if current_thread() is not main_thread():
        yield noted
        return
    before = signal(SIGINT, lambda number, _: noted.append(number))
    try:
        yield noted
    finally:
        signal(SIGINT, before)


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for its next variant for ever."""

    def watch() -> None:
        parent = parent_process()
        if parent:
            parent.join()
            os._exit(1)

    Thread(target=watch, daemon=True).start()


def _same_rows(panel: Panel, horizons: set[int]) -> dict[int, TrainingRows]:
    """Rows by horizon: those alone whose outcome is known for each of them."""
    rows = {horizon: training_rows(panel, horizon) for horizon in sorted(horizons)}
    known = np.logical_and.reduce([found.matured for found in rows.values()])
    return {horizon: found.take(known) for horizon, found in rows.items()}


def _require_sessions(ground: _Ground) -> None:
    """Enough that the bootstrap's blocks, at most a quarter of the sessions, hold the longest horizon."""
    first = ground.configured.min_training_sessions
    scored = np.unique(ground.rows[HORIZON].session)
    count = int((scored >= first).sum())
    if count < 4 * ground.purge:
        raise ModelError(
            f"expected at least {4 * ground.purge} sessions with known outcomes after the first "
            f"{first}, four of the longest horizon, found {count}. Load a longer history (history.start), lower "
            "model.min_training_sessions, or try shorter horizons"
        )


def _forecasts(ground: _Ground, task: _Task) -> Forecasts:
    from threadpoolctl import threadpool_limits

    folds = ground.configured
    # One thread: several variants run at a time, and sums in another order would be other numbers.
    with threadpool_limits(limits=1):
        try:
            return walk_forward_from(
                ground.rows[task.horizon],
                task.config,
                first=folds.min_training_sessions,
                fold_sessions=folds.fold_sessions,
                purge=ground.purge,
            )
        except ModelError as error:
            raise ModelError(f"{task.experiment or 'the configured model'}, {task.name}: {error}") from error


def _trial(ground: _Ground, references: Mapping[int, Forecasts], task: _Task) -> Trial:
    """How a variant compares with what is configured and its baseline, ``references``, on its own horizon."""
    from threadpoolctl import threadpool_limits

    reference = references[task.horizon]
    forecasts = replace(
        _forecasts(ground, task),
        baseline_probability=reference.baseline_probability,
        baseline_variance=reference.baseline_variance,
    )
    with threadpool_limits(limits=1):
        contest = Contest.of(forecasts, _as_scores(reference), ground.panel, task.config.cutoff)
        overall = measure_overall(contest, task.config)
    count = len(contest.sessions)
    gains = {
        loss: np.bincount(
            contest.session,
            contest.forecasters["champion"].losses[loss] - contest.forecasters["candidate"].losses[loss],
            minlength=count,
        )
        for loss in LOSSES
    }
    return Trial(
        experiment=task.experiment,
        name=task.name,
        changes=task.changes,
        horizon_sessions=task.horizon,
        model_share=float(forecasts.by_model.mean()),
        bad_rate=float(forecasts.bad_week.mean()),
        measures=overall.measures,
        gains=gains,
    )


def _as_scores(f: Forecasts) -> Scores:
    none = np.full(len(f.session), "", dtype=object)
    return Scores(
        f.model_variance, f.baseline_variance, f.probability, f.baseline_probability, f.approved, f.by_model, none
    )
