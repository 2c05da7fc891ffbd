"""Sessions run step by step, as a run does it, for tests that need what a run makes and no Dagster."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from countersign.monitoring.latency import no_runs
from countersign.project import Project
from countersign.steps.metrics import metric_sessions
from countersign.steps.monitoring import drift_sessions, outcome_sessions
from countersign.steps.prices import clean_sessions, ingest_sessions
from countersign.steps.reports import report_sessions
from countersign.steps.scoring import feature_sessions, score_sessions


def run_sessions(project: Project, sessions: Sequence[str], now: datetime) -> None:
    for step in (
        ingest_sessions(project, sessions, now),
        clean_sessions(project, sessions),
        feature_sessions(project, sessions),
        score_sessions(project, sessions, now),
        outcome_sessions(project, sessions),
        drift_sessions(project, sessions),
        metric_sessions(project, sessions, no_runs, now),
        report_sessions(project, sessions),
    ):
        assert len(list(step)) == len(sessions)
