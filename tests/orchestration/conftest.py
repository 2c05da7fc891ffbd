"""Fixtures of the orchestration tests: a project folder under Dagster, a fixed clock, an instance of its own."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import dagster as dg
import pytest

from definitions import build_definitions
from resources import Clock


def file_digest(path: Path) -> str:
    """The digest that an artifact must carry: SHA-256 of its bytes with the digest's own 64 digits as zeros."""
    data = path.read_bytes()
    slot = re.search(rb'(?:\A\{"sha256":"|\n-- artifact )([0-9a-f]{64})', data) or re.search(
        rb'\{"sha256":"([0-9a-f]{64})', data
    )
    assert slot is not None, path
    return hashlib.sha256(data[: slot.start(1)] + b"0" * 64 + data[slot.end(1) :]).hexdigest()


def files(folder: Path) -> dict[str, bytes]:
    """Every file below ``folder`` with its bytes."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@dataclass(frozen=True)
class Pipeline:
    """One project folder with the definitions made of it, on one Dagster instance."""

    home: Path
    definitions: dg.Definitions
    instance: dg.DagsterInstance

    def run(
        self,
        *sessions: str,
        job: str = "daily_job",
        assets: Sequence[str] | None = None,
    ) -> dg.ExecuteInProcessResult:
        """Run ``job``: for one session, for the range between two of them, or (``bootstrap_job``) without one."""
        span = {}
        if len(sessions) == 2:
            span = {
                "dagster/asset_partition_range_start": sessions[0],
                "dagster/asset_partition_range_end": sessions[1],
            }
        return self.definitions.resolve_job_def(job).execute_in_process(
            instance=self.instance,
            partition_key=sessions[0] if len(sessions) == 1 else None,
            asset_selection=None if assets is None else [dg.AssetKey(a) for a in assets],
            tags=span,
            raise_on_error=False,
        )

    def last(self, asset: str, session: str | None = None) -> dg.AssetMaterialization:
        """The newest materialization of ``asset``, of ``session`` where it has sessions."""
        condition = dg.AssetRecordsFilter(dg.AssetKey(asset), asset_partitions=[session] if session else None)
        found = self.instance.fetch_materializations(condition, limit=1).records[0].asset_materialization
        assert found is not None
        return found

    def events(self, run: dg.ExecuteInProcessResult) -> str:
        """All that Dagster keeps of a run, as one text."""
        stored = self.instance.get_run_by_id(run.run_id)
        return "\n".join([repr(stored), *(repr(entry) for entry in self.instance.all_logs(run.run_id))])

    def artifacts(self) -> dict[str, bytes]:
        """Every artifact with its bytes."""
        return files(self.home / "artifacts")


def failed_steps(run: dg.ExecuteInProcessResult) -> dict[str, str]:
    """Step → message for a person, of each step that failed by our own judgement."""
    found = {}
    for event in run.all_events:
        if event.is_step_failure:
            assert event.step_failure_data.user_failure_data is not None, event.step_failure_data.error
            found[str(event.step_key)] = str(event.step_failure_data.user_failure_data.description)
    return found


def steps_started(run: dg.ExecuteInProcessResult) -> list[str]:
    """Steps in the order in which they started; one that was retried is there once for each attempt."""
    starts = {dg.DagsterEventType.STEP_START, dg.DagsterEventType.STEP_RESTARTED}
    return [str(e.step_key) for e in run.all_events if e.event_type in starts]


def make_pipeline(home: Path, now: datetime, instance: dg.DagsterInstance) -> Pipeline:
    clock = Clock(now)
    return Pipeline(home, build_definitions(home, resource_overrides={"clock": clock}), instance)


@pytest.fixture
def ephemeral() -> Iterator[dg.DagsterInstance]:
    """An instance in memory."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def pipeline(home: Path, now: datetime, ephemeral: dg.DagsterInstance) -> Pipeline:
    """A bootstrapped project folder that the test may change, with an instance of its own."""
    return make_pipeline(home, now, ephemeral)


@pytest.fixture(scope="session")
def finished(bootstrapped_home: Path, tmp_path_factory: pytest.TempPathFactory, now: datetime) -> Iterator[Pipeline]:
    """Bootstrap and two sessions, run through Dagster. Read only."""
    home = tmp_path_factory.mktemp("finished") / "home"
    shutil.copytree(bootstrapped_home, home, ignore=shutil.ignore_patterns("artifacts"))
    with dg.DagsterInstance.ephemeral() as instance:
        pipeline = make_pipeline(home, now, instance)
        assert pipeline.run(job="bootstrap_job").success
        assert pipeline.run("2008-09-02").success
        assert pipeline.run("2008-09-03").success
        yield pipeline
