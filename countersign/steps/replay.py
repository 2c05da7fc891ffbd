"""Replay: monitoring over the history of the source, with models and references as they would have been frozen.

Belongs here: reading, walk-forward models, a reference a year. Does not belong here: verdicts and alarms
(``monitoring.replay``). Stores nothing and changes no model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

import numpy as np
import pandas as pd

from countersign.config import ModelConfig
from countersign.contract import load_contract
from countersign.errors import SourceError
from countersign.model.document import reference_of
from countersign.model.evaluation import walk_forward
from countersign.model.targets import HORIZON
from countersign.model.training import TrainingRows, fit, learned_rows, training_rows
from countersign.monitoring.completeness import Arrivals, arrived_cells, count_cells
from countersign.monitoring.drift import DriftReference, measure_drift
from countersign.monitoring.replay import (
    Outcomes,
    Period,
    Replay,
    Validation,
    Verdicts,
    business_verdicts,
    data_verdicts,
    drift_verdicts,
    model_verdicts,
    replay_table,
    varied,
)
from countersign.prices import ingest
from countersign.prices.clean import clean_bars
from countersign.prices.panel import Panel
from countersign.project import Project
from countersign.quality import load_quality
from countersign.steps.monitoring import Seen, subject_counts
from countersign.steps.prices import released_in
from countersign.steps.schema import agreed
from countersign.tables import Column
from countersign.thresholds import DriftThresholds, Thresholds, load_thresholds


def replay_source(
    project: Project,
    first: str | None,
    last: str | None,
    now: datetime,
    progress: Callable[[float], None] | None = None,
) -> Replay:
    """The alarms of the sessions ``first`` … ``last`` of the source, as ``source_verdicts`` gives them.

    None stands for the start of the history, and for the last session that has closed. ``progress`` is called with
    the share that is done.
    """
    thresholds, digest = load_thresholds(project.home)
    last = last or project.calendar.last_closed(now) or project.first_session
    sessions, verdicts = source_verdicts(project, first, last, varied(thresholds), progress)
    return replay_table(sessions, verdicts, thresholds, digest)


def source_verdicts(
    project: Project,
    first: str | None,
    last: str,
    judged_by: Sequence[Thresholds],
    progress: Callable[[float], None] | None = None,
) -> tuple[np.ndarray, list[Verdicts]]:
    """The sessions ``first`` … ``last`` of the source (datetime64[D]), and their verdicts under each of ``judged_by``.

    What lies before them, from ``history.start``, is what they are held against. Model and business: walk-forward
    forecasts as ``evaluate`` makes them, and as validation those whose outcomes were known before the year began.
    Drift: a model and a reference of everything known before the year began. Raises ``SourceError`` where there is
    no such session. ``judged_by`` have the same windows.
    """
    tell = progress or (lambda _: None)
    contract = load_contract(project.home).schema_columns
    config, dates, start = project.config, project.calendar.dates, project.config.history.start.isoformat()
    ingest.require_known(config.symbols, project.source.symbols(), project.source.uri)
    reply, _ = agreed(project, "the replay", start, last)
    raw = ingest.with_previous(ingest.of_symbols(reply, config.symbols), dates)
    bars = clean_bars(raw, dates, load_quality(project.home), released=released_in(project)).bars
    days = bars["date"].to_numpy().astype("datetime64[D]")
    if not (days >= np.datetime64(first or start)).any():
        raise SourceError(
            f"{project.source.uri}: expected bars of {first or start} … {last}, found none; name other sessions"
        )
    panel = Panel.from_bars(bars, np.unique(days))
    chosen = panel.sessions >= np.datetime64(first or start)
    rows = training_rows(panel)
    forecasts = walk_forward(rows, config.model, lambda done, of: tell(done / of / 2))
    outcomes = Outcomes.of(forecasts, *panel.present.shape)
    arrivals = _arrivals(raw, panel, contract)
    periods = [
        Period(begin, end, Validation.of(forecasts, begin, judged_by[0].model.window_sessions))
        for begin, end in _years(panel.sessions)
    ]
    drift = _drift(rows, periods, config.model, [limits.drift for limits in judged_by], len(panel.sessions))
    tell(0.7)
    model = model_verdicts(outcomes, periods, [limits.model for limits in judged_by])
    found = [
        {
            **data_verdicts(arrivals, contract, limits.data),
            **drift[number],
            **model[number],
            **business_verdicts(outcomes, periods, limits.business),
        }
        for number, limits in enumerate(judged_by)
    ]
    tell(1.0)
    return panel.sessions[chosen], [{name: v[chosen] for name, v in verdicts.items()} for verdicts in found]


def _years(sessions: np.ndarray) -> Iterator[tuple[int, int]]:
    """The first session's number of each year, and the number after its last."""
    _, begins = np.unique(sessions.astype("datetime64[Y]"), return_index=True)
    yield from zip(begins.tolist(), [*begins[1:].tolist(), len(sessions)], strict=True)


def _arrivals(raw: pd.DataFrame, panel: Panel, columns: tuple[Column, ...]) -> Arrivals:
    """What arrived for each session: its rows, and those dated on days since the session before."""
    sessions = len(panel.sessions)
    place = np.searchsorted(panel.sessions, raw["date"].to_numpy().astype("datetime64[D]"))
    raw, place = raw[place < sessions], place[place < sessions]
    rows = np.bincount(place, minlength=sessions)
    filled, unreadable = (count_cells(place, cells, sessions) for cells in arrived_cells(raw, columns))
    return Arrivals(
        columns=columns,
        rows=rows,
        symbols=panel.present.sum(axis=1),
        rejected=rows - panel.present.sum(axis=1),
        filled=filled,
        unreadable=unreadable,
    )


def _drift(
    rows: TrainingRows, periods: list[Period], config: ModelConfig, each: list[DriftThresholds], sessions: int
) -> list[Verdicts]:
    """Verdicts under each of the thresholds; insufficient in years before which there is too little to train on."""
    found: list[Verdicts] = [{} for _ in each]
    for period in periods:
        if period.first < config.min_training_sessions:
            continue
        known = learned_rows(rows.take(rows.session < period.first - HORIZON), config)
        model = fit(known, config)
        reference = DriftReference.from_dict(reference_of(model, known))
        start = max(period.first - (each[0].window_sessions + each[0].sessions_in_a_row - 1), 0)
        counts = subject_counts(reference, model, _seen(rows, start, period.end), period.end - start)
        for verdicts, limits in zip(found, each, strict=True):
            drift = measure_drift(
                counts,
                reference,
                psi=limits.psi,
                significance=limits.significance,
                sessions_in_a_row=limits.sessions_in_a_row,
                window_sessions=limits.window_sessions,
            )
            for measure, judged in drift_verdicts(drift).items():
                whole = verdicts.setdefault(measure, np.full(sessions, "insufficient"))
                whole[period.first : period.end] = judged[period.first - start :]
    return found


def _seen(rows: TrainingRows, start: int, end: int) -> Seen:
    """What the sessions ``start`` … ``end`` - 1 have seen, as the daily run reads it from its artifacts."""
    seen = rows.take((rows.session >= start) & (rows.session < end))
    came = rows.take(rows.matured & (rows.session + HORIZON >= start) & (rows.session + HORIZON < end))
    return Seen(
        features=seen.features,
        ewma_variance=seen.ewma_variance,
        market_variance=seen.market_variance,
        history=seen.history,
        day=seen.session - start,
        came_volatility=np.sqrt(came.variance),
        bad_week=came.bad_week,
        matured_day=came.session + HORIZON - start,
        digests={},
    )
