"""Steps of the group ``monitoring``: the metrics of a session in four layers: data, model, system, business."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import numpy as np
import pandas as pd

from countersign.contract import Contract, load_contract
from countersign.model.measures import qlike_losses, volatility_errors
from countersign.model.registry import InService
from countersign.monitoring.brier import brier_reading, rolling_brier
from countersign.monitoring.business import approval_counts, bad_counts, rate_readings, rolling_rate
from countersign.monitoring.calibration import calibration_readings, rolling_calibration
from countersign.monitoring.completeness import Arrivals, arrived_cells, completeness_readings
from countersign.monitoring.contract import schema_reading
from countersign.monitoring.discrimination import auc_reading, rolling_auc
from countersign.monitoring.errors import error_readings, rolling_losses, session_losses
from countersign.monitoring.freshness import freshness_readings
from countersign.monitoring.latency import Runs, RunsUntil, failure_reading, latency_reading, not_live
from countersign.monitoring.reading import Reading
from countersign.monitoring.requests import recent_requests
from countersign.project import Project
from countersign.steps.made import Made, Numbers
from countersign.steps.service import in_service
from countersign.steps.standing import CHECK as CONDITIONS
from countersign.steps.standing import hold_to_conditions
from countersign.storage.codec import combined_digest
from countersign.tables import METRICS, OUTCOMES, PRICES_CLEAN, PRICES_RAW, PRICES_REJECTED, SCORES, conform, matrices
from countersign.thresholds import (
    BusinessThresholds,
    DataThresholds,
    ModelThresholds,
    SystemThresholds,
    Thresholds,
    load_thresholds,
)

GATE_MEASURES: Final = {CONDITIONS: "The conditions of the approval of the model in service hold"}
"""Measures that the journal decides as well, so they are verdicts in Dagster and part of no artifact."""

MEASURES: Final = {
    "staleness_minutes": "The newest bar is the session's",
    "arrival_minutes": "The bars arrived soon after the close",
    "schema": "The columns that arrived are those of the contract",
    "null_share": "Cells that are missing, over all columns",
    "column_null_share": "Cells that are missing in the worst column",
    "rejected_share": "Rows that broke a rule",
    "rows": "As many rows as usual",
    "symbols": "As many symbols as usual",
    "qlike_rise": "QLIKE relative to the baseline's on the same days, against validation",
    "qlike": "QLIKE of the variance forecast",
    "volatility_mae_rise": "Volatility error relative to the baseline's on the same days, against validation",
    "volatility_mae": "Absolute error of the volatility forecast",
    "auc": "The model tells bad weeks from fine ones",
    "calibration_error": "Probabilities are right in size: debiased L2 error",
    "ece": "Probabilities are right in size: expected calibration error, bins of equal mass",
    "ece_equal_width": "Probabilities are right in size: expected calibration error, bins of equal width",
    "brier": "Brier loss beside the baseline's",
    "run_seconds_p95": "Runs of a session are quick",
    "run_failures": "Runs of a session succeed",
    "request_ms_p95": "The server answers quickly",
    "request_failures": "The server answers",
    "approval_rate_vs_validation": "Share of symbols approved, against validation",
    "approval_rate_vs_quarter": "Share of symbols approved, against the quarter before",
    "bad_rate_vs_validation": "Bad weeks among the approved, against validation",
    "bad_rate_vs_quarter": "Bad weeks among the approved, against the quarter before",
}
"""Every measure of the artifact ``metrics``, by name."""


def metric_sessions(project: Project, sessions: Sequence[str], runs: RunsUntil, now: datetime) -> Iterator[Made]:
    """``metrics``: each measure of data, model, system and business, judged by ``config/thresholds.yaml``.

    A session that was scored on its own evening has the measures of ``runs`` up to then, so that it keeps its bytes
    when it is made again, and those of the server's requests, as far as their log still reaches back. That of another
    has none; its verdicts in Dagster are on the runs and requests so far.
    Beside it stand those on the conditions of the approval, of which a broken one goes on record in the journal.
    """
    thresholds, digest = load_thresholds(project.home)
    contract, service = load_contract(project.home), in_service(project)
    read = _Reader(project)
    conditions = hold_to_conditions(project, sessions, now)
    for session, held in zip(sessions, conditions, strict=True):
        read.digests.clear()
        days = _days(project, session, thresholds)
        arrival = _arrival(project, session)
        live = arrival is not None and project.calendar.last_closed(arrival) == session
        requests = recent_requests(project.journal.path.parent, arrival if live and arrival else now)
        system = _system(runs(arrival if live else None), requests, thresholds.system)
        readings = (
            *_freshness(project, session, arrival, live and project.config.source.live, thresholds.data),
            *_data(read, days, contract, thresholds.data),
            *_model(read, days, service, thresholds.model),
            *(system if live else map(not_live, system)),
            *_business(read, days, service, thresholds.business),
        )
        table = conform(
            {
                "date": [session] * len(readings),
                **{c.name: [getattr(reading, c.name) for reading in readings] for c in METRICS[1:]},
            },
            METRICS,
        )
        inputs = {
            "model": service.champion.model,
            "thresholds": digest,
            "contract": contract.sha256,
            "bars_scores_and_outcomes": combined_digest([read.digests[key] for key in sorted(read.digests)]),
        }
        stored = project.store.write_table("metrics", session, table, METRICS, inputs)
        judged = {reading.measure: reading for reading in (*readings, *system)}
        numbers: Numbers = {
            "rows": len(table),
            **{f"{status}_measures": int((table["status"] == status).sum()) for status in ("fail", "insufficient")},
            **{measure: reading.value for measure, reading in judged.items()},
        }
        # The journal says which conditions there are, so their verdict is no part of the artifact either.
        verdicts = (*(reading.as_check() for reading in judged.values()), held)
        yield Made(session, stored, verdicts, numbers, metrics_preview(table))


def metrics_preview(table: pd.DataFrame) -> str:
    """The measures as a table in Markdown, those that failed first."""
    lines = ["| layer | measure | status | in words |", "|---|---|---|---|"]
    order = {"fail": 0, "insufficient": 1, "pass": 2}
    ordered = table.sort_values("status", key=lambda s: s.map(order), kind="stable")
    lines += [
        f"| {row['layer']} | {row['measure']} | {row['status']} | {row['sentence']} |"
        for row in ordered.to_dict(orient="records")
    ]
    return "\n".join(lines)


class _Reader:
    """Tables of the project, each read once, and the digest of each that the session at hand was made from."""

    def __init__(self, project: Project) -> None:
        self._store = project.store
        self._kept: dict[tuple[str, str], tuple[pd.DataFrame, str]] = {}
        self.digests: dict[tuple[str, str], str] = {}

    def table(self, name: str, session: str, columns: Any, names: tuple[str, ...] | None = None) -> pd.DataFrame:
        key = (session, name)
        if key not in self._kept:
            found = self._store.read_table(name, session, columns, names)
            self._kept[key] = found.frame, found.stored.sha256
        frame, self.digests[key] = self._kept[key]
        return frame


def _days(project: Project, session: str, thresholds: Thresholds) -> list[str]:
    """The daily sessions up to ``session`` that any measure looks back at, but for those that were never scored."""
    model, business = thresholds.model, thresholds.business
    behind = max(
        thresholds.data.window_sessions + 1,
        model.window_sessions + model.sessions_in_a_row,
        business.window_sessions + business.quarter_sessions,
    )
    *before, _ = project.calendar.lookback(session, behind)
    return [d for d in before if d >= project.first_session and project.store.has("outcomes", d)] + [session]


def _system(runs: Runs, requests: Runs, limits: SystemThresholds) -> tuple[Reading, ...]:
    ran, asked = (len(found.durations) + found.failed for found in (runs, requests))
    return (
        latency_reading("run_seconds_p95", runs.durations, unit="s", max_duration=limits.max_p95_seconds),
        failure_reading("run_failures", runs.failed, ran, max_rate=limits.max_error_rate),
        latency_reading("request_ms_p95", requests.durations, unit="ms", max_duration=limits.max_request_p95_ms),
        failure_reading("request_failures", requests.failed, asked, max_rate=limits.max_request_error_rate),
    )


def _arrival(project: Project, session: str) -> datetime | None:
    """When the session was scored first, which the prediction log keeps: running it again changes nothing."""
    said = project.predictions.first(session)
    return said.at if said else None


def _freshness(
    project: Project, session: str, arrival: datetime | None, live: bool, limits: DataThresholds
) -> tuple[Reading, ...]:
    close = project.calendar.close(session)
    return freshness_readings(
        close,
        close,
        arrival,
        live=live,
        max_staleness_minutes=limits.max_staleness_minutes,
        max_arrival_minutes=limits.max_arrival_minutes,
    )


def _data(read: _Reader, days: list[str], contract: Contract, limits: DataThresholds) -> Iterator[Reading]:
    columns = contract.measured_columns
    kept = [read.table("prices_clean", day, PRICES_CLEAN, ("symbol",))["symbol"] for day in days]
    rules = [read.table("prices_rejected", day, PRICES_REJECTED, ("rule",))["rule"] for day in days]
    rejected = np.array([int((rule != "duplicate").sum()) for rule in rules])
    filled, unreadable = np.zeros((2, len(days), len(columns)), dtype=np.int64)
    raw = read.table("prices_raw", days[-1], PRICES_RAW)
    filled[-1], unreadable[-1] = (cells.sum(axis=0) for cells in arrived_cells(raw, columns))
    arrivals = Arrivals(
        columns=columns,
        rows=np.array([len(symbols) for symbols in kept]) + rejected,
        symbols=np.array([symbols.nunique() for symbols in kept]),
        rejected=rejected,
        filled=filled,
        unreadable=unreadable,
    )
    yield schema_reading(arrivals, columns)
    yield from completeness_readings(
        arrivals,
        max_null_share=limits.max_null_share,
        max_column_null_share=limits.max_column_null_share,
        max_rejected_share=limits.max_rejected_share,
        max_drop=limits.max_drop,
        window=limits.window_sessions,
    )


def _model(read: _Reader, days: list[str], service: InService, limits: ModelThresholds) -> Iterator[Reading]:
    outcomes = [read.table("outcomes", day, OUTCOMES) for day in days]
    came, said, baseline, bad, probability, baseline_probability = matrices(
        outcomes,
        [
            "came_volatility",
            "volatility_forecast",
            "baseline_volatility",
            "bad_week",
            "bad_week_probability",
            "baseline_probability",
        ],
    )
    validation = service.document["evaluation"]["table"]
    losses: Mapping[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
        "qlike": qlike_losses,
        "volatility_mae": volatility_errors,
    }
    for name, loss in losses.items():
        rolled = rolling_losses(
            session_losses(came**2, said**2, baseline**2, loss),
            window=limits.window_sessions,
            validation_model=_number(validation[name]["model"]),
            validation_baseline=_number(validation[name]["baseline"]),
        )
        yield from error_readings(
            name,
            rolled,
            max_rise=limits.error_rise,
            max_loss_rise=limits.loss_rise,
            in_a_row=limits.sessions_in_a_row,
        )
    window = limits.window_sessions
    yield auc_reading(
        rolling_auc(bad, probability, window=window),
        validation=_number(validation["auc"]["model"]),
        max_drop=limits.max_auc_drop,
        min_auc=limits.min_auc,
        standard_errors=limits.auc_standard_errors,
        min_each=limits.min_each,
    )
    calibration = rolling_calibration(
        bad,
        probability,
        window=window,
        level=limits.calibration_level,
        symbol_correlation=limits.symbol_correlation,
    )
    yield from calibration_readings(calibration, min_each=limits.min_each)
    yield brier_reading(
        rolling_brier(bad, probability, baseline_probability, window=window),
        max_excess=limits.max_brier_excess,
        min_each=limits.min_each,
    )


def _business(read: _Reader, days: list[str], service: InService, limits: BusinessThresholds) -> Iterator[Reading]:
    scores = [read.table("scores", day, SCORES, ("symbol", "decision")) for day in days]
    (decided,) = matrices([_approved(table) for table in scores], ["approved"])
    outcomes = [_approved(read.table("outcomes", day, OUTCOMES)) for day in days]
    approved, bad = matrices(outcomes, ["approved", "bad_week"])
    validation = service.document["evaluation"]
    rates = (
        ("approval_rate", approval_counts(decided), "approval_rate", limits.min_approval_change_points),
        ("bad_rate", bad_counts(approved, bad), "bad_rate_approved", limits.min_bad_change_points),
    )
    for measure, counts, name, points in rates:
        rows = validation["rows"] * (1 if measure == "approval_rate" else _number(validation["approval_rate"]))
        yield from rate_readings(
            measure,
            rolling_rate(counts, window=limits.window_sessions, quarter=limits.quarter_sessions),
            validation_rate=_number(validation[name]),
            validation_rows=rows,
            min_change_points=points,
            min_z=limits.min_z,
            min_rows=limits.min_rows,
            design_effect=limits.design_effect,
        )


def _approved(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(approved=(table["decision"] == "approve").astype(float))


def _number(value: float | None) -> float:
    return np.nan if value is None else value
