"""Definitions: the one place that puts assets, resources, jobs and schedules together.

Dagster loads ``defs`` from here (``workspace.yaml``, or ``-m definitions`` in a shell). The environment is read here
and nowhere else: ``COUNTERSIGN_HOME`` is the project folder, this file's own where it is not set.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg

from assets.model import candidate, model, ratified, sign_off, signed_off
from assets.monitoring import drift, metrics, outcomes
from assets.partitions import session_partitions, week_partitions
from assets.prices import price_history, prices_clean, prices_raw
from assets.reports import report, weekly_review
from assets.scoring import features, scores
from countersign.project import open_project
from resources import AlertResource, Clock, ProjectFolder
from sensors.alerts import alert_sensor, daily_run_sensor
from sensors.gate import drift_sensor, sign_off_sensor
from sensors.jobs import bootstrap_job, daily_job, deploy_job, retrain_job, sign_off_job, weekly_job
from sensors.schedules import daily_refresh, weekly_refresh


def build_definitions(home: Path, *, resource_overrides: Mapping[str, Any] | None = None) -> dg.Definitions:
    """Fresh definitions for the project folder ``home``. Raises ``ConfigError`` where it cannot be used."""
    project = open_project(home, datetime.now(UTC).date())
    sessions = session_partitions(
        project.calendar, project.first_session, project.last_session, project.missing_sessions
    )
    by_session = [
        asset.map_asset_specs(lambda spec: spec.replace_attributes(partitions_def=sessions, tags={"daily": ""}))
        for asset in (prices_raw, prices_clean, features, scores, outcomes, drift, metrics, report)
    ]
    weeks = week_partitions(project.calendar, project.first_session, project.last_session)
    by_week = weekly_review.map_asset_specs(lambda spec: spec.replace_attributes(partitions_def=weeks))
    executors = {"in_process": dg.in_process_executor, "multiprocess": dg.multiprocess_executor}
    return dg.Definitions(
        assets=[price_history, model, candidate, sign_off, *by_session, by_week],
        asset_checks=[signed_off, ratified],
        jobs=[bootstrap_job, retrain_job, sign_off_job, deploy_job, daily_job, weekly_job],
        schedules=[daily_refresh(project), weekly_refresh(project)],
        sensors=[alert_sensor, daily_run_sensor, drift_sensor, sign_off_sensor],
        resources={
            "project": ProjectFolder(home, os.environ),
            "clock": Clock(),
            "alert_channels": AlertResource(
                urls=_secret("COUNTERSIGN_ALERT_URLS"), heartbeat=_secret("COUNTERSIGN_HEARTBEAT_URL")
            ),
            **(resource_overrides or {}),
        },
        executor=executors[project.config.executor],
    )


def _secret(name: str) -> str:
    """The environment variable ``name`` so that Dagster's pages show its name, not its value; empty where not set."""
    return dg.EnvVar(name) if os.environ.get(name) else ""


defs = build_definitions(Path(os.environ.get("COUNTERSIGN_HOME") or Path(__file__).parent).resolve())
