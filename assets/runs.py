"""Runs: how the pipeline's own runs went, from Dagster's records. Does not belong here: the verdict on them."""

from datetime import datetime
from typing import Final

import dagster as dg
import numpy as np

from countersign.monitoring.latency import Runs

DAILY_JOB: Final = "daily_job"
_NEWEST: Final = 100
"""Runs that are looked at: p95 takes 59."""


def recent_runs(instance: dg.DagsterInstance, job: str, until: datetime | None = None) -> Runs:
    """The newest runs of ``job`` for single sessions that had ended ``until`` then; a range takes as long as it has
    sessions."""
    ended = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]
    wanted = dg.RunsFilter(job_name=job, statuses=ended, created_before=until)
    records = instance.get_run_records(wanted, limit=_NEWEST)
    single = [
        r
        for r in records
        if "dagster/partition" in r.dagster_run.tags
        and (until is None or (r.end_time is not None and r.end_time <= until.timestamp()))
    ]
    failed = [r for r in single if r.dagster_run.status == dg.DagsterRunStatus.FAILURE]
    # One that failed at once is no quick run.
    times = [(r.start_time, r.end_time) for r in single if r not in failed]
    return Runs(np.array([end - start for start, end in times if start and end], dtype=float), len(failed))
