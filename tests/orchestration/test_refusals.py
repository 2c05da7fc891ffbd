"""What must not pass: bad data, altered inputs, unreachable sources, too little evidence; and what stays unsaid."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import fsspec
import pandas as pd
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from countersign.project import Project
from countersign.tables import PRICES_CLEAN, PRICES_RAW, PRICES_REJECTED
from tests.orchestration.conftest import Pipeline, failed_steps, make_pipeline, steps_started

SESSION = "2008-09-02"


def rewrite_source(pipeline: Pipeline, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    path = pipeline.home / "data" / "sample" / "prices.csv.gz"
    change(pd.read_csv(path, dtype=str)).to_csv(path, index=False)


def configure(pipeline: Pipeline, old: str, new: str) -> None:
    path = pipeline.home / "config" / "pipeline.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def with_wrong_highs(prices: pd.DataFrame) -> pd.DataFrame:
    """Two highs of the session below their lows: two of four rows break a rule, over the limit of 5 %."""
    prices.loc[prices["symbol"].isin(["IBM", "MSFT"]) & (prices["date"] == SESSION), "high"] = "0.01"
    return prices


def test_a_refused_session_has_a_failed_check_and_no_materialization_and_nothing_after_it_runs(
    pipeline: Pipeline,
) -> None:
    assert pipeline.run(SESSION).success
    before = pipeline.artifacts()
    rewrite_source(pipeline, with_wrong_highs)
    run = pipeline.run(SESSION)

    assert not run.success
    (message,) = failed_steps(run).values()
    assert message.startswith(
        "prices_clean of 2008-09-02 is refused: 2 of 4 rows rejected (50.0%; limit 5.0%): 2 broke the rule 'range'"
    )
    assert steps_started(run) == ["prices_raw", "prices_clean"], "retried, or something after it ran"
    assert [e.asset_key.to_user_string() for e in run.get_asset_materialization_events() if e.asset_key] == [
        "prices_raw"
    ]
    verdicts = {e.check_name: e for e in run.get_asset_check_evaluations()}
    refused = verdicts["rejected_share"]
    assert (refused.passed, refused.severity, refused.blocking) == (False, dg.AssetCheckSeverity.ERROR, True)
    shown = {k: refused.metadata[k].value for k in ("status", "session", "rejected", "rows", "value", "threshold")}
    assert shown == {"status": "fail", "session": SESSION, "rejected": 2, "rows": 4, "value": 0.5, "threshold": 0.05}
    examples = refused.metadata["examples"]
    assert isinstance(examples, dg.TableMetadataValue)
    assert [row.data["symbol"] for row in examples.records] == ["IBM", "MSFT"]
    changed = {name for name, data in pipeline.artifacts().items() if before.get(name) != data}
    assert {name for name in changed if "prices_raw." not in name} == {
        "sessions/2008-09-02/restatements.json",
        "alerts.jsonl",
        "alerts.lock",
    }


def test_sessions_before_the_refused_one_of_a_range_are_stored_and_recorded(pipeline: Pipeline) -> None:
    # Each symbol has two bars on 2008-09-04 that contradict each other.
    rewrite_source(pipeline, lambda p: p.assign(date=p["date"].replace("2008-09-05", "2008-09-04")))
    run = pipeline.run("2008-09-03", "2008-09-04", assets=["prices_raw", "prices_clean"])
    (message,) = failed_steps(run).values()
    assert message.startswith("prices_clean of 2008-09-04 is refused")
    (refused,) = [e for e in run.get_asset_check_evaluations() if e.check_name == "rejected_share"]
    assert refused.metadata["session"].value == "2008-09-04"
    assert pipeline.last("prices_clean", "2008-09-03").partition == "2008-09-03"
    assert (pipeline.home / "artifacts" / "sessions" / "2008-09-03" / "prices_clean.json").exists()
    assert not (pipeline.home / "artifacts" / "sessions" / "2008-09-04" / "prices_clean.json").exists()


def strays_in_raw(project: Project) -> None:
    raw = project.store.read_table("prices_raw", SESSION, PRICES_RAW)
    frame = raw.frame.assign(date=pd.Timestamp("2008-09-03"))
    project.store.write_table("prices_raw", SESSION, frame, PRICES_RAW, raw.stored.inputs)


def rejections_over_the_limit(project: Project) -> None:
    old = project.store.read_table("prices_rejected", SESSION, PRICES_REJECTED)
    row: dict[str, object] = {
        "row": 0,
        "date": SESSION,
        "symbol": "FB",
        "rule": "range",
        "reason": "by hand",
        "sha256": "0" * 64,
    }
    project.store.write_table(
        "prices_rejected", SESSION, pd.DataFrame([row, row | {"row": 1}]), PRICES_REJECTED, old.stored.inputs
    )


def symbols_taken_out_of_clean(project: Project) -> None:
    clean = project.store.read_table("prices_clean", SESSION, PRICES_CLEAN)
    project.store.write_table("prices_clean", SESSION, clean.frame.iloc[:2], PRICES_CLEAN, clean.stored.inputs)


def a_price_altered_in_clean(project: Project) -> None:
    path = project.home / "artifacts" / "sessions" / SESSION / "prices_clean.json"
    data = path.read_bytes()
    assert b'"symbol":"IBM"' in data
    path.write_bytes(data.replace(b'"symbol":"IBM"', b'"symbol":"IBN"'))


@pytest.mark.parametrize(
    ("alone", "tamper", "says"),
    [
        ("prices_clean", strays_in_raw, "prices_raw of 2008-09-02 is refused: expected bars of 2008-09-02 only"),
        ("features", rejections_over_the_limit, "prices_clean of 2008-09-02 is refused: 2 of 6 rows rejected (33.3%"),
        ("features", symbols_taken_out_of_clean, "prices_clean of 2008-09-02 is refused: missing since the session"),
        ("features", a_price_altered_in_clean, "it is truncated or altered"),
    ],
)
def test_an_asset_launched_alone_refuses_what_the_checks_before_it_would_block(
    alone: str, tamper: Callable[[Project], None], says: str, pipeline: Pipeline, project: Project
) -> None:
    assert pipeline.run(SESSION).success
    tamper(project)
    before = pipeline.artifacts()
    run = pipeline.run(SESSION, assets=[alone])
    assert not run.success
    assert list(failed_steps(run)) == [alone]
    message = failed_steps(run)[alone]
    assert says in message
    assert "dagster asset materialize -m definitions --select" in message
    assert pipeline.artifacts() == before


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that Dagster waited, in order; its clock runs on by them, ours does not."""
    waits: list[float] = []
    real_time, real_sleep = time.time, time.sleep

    def sleep(seconds: float) -> None:
        (waits.append if threading.current_thread() is threading.main_thread() else real_sleep)(seconds)

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "time", lambda: real_time() + sum(waits))
    return waits


def test_a_configuration_broken_after_loading_stops_the_run_at_once_without_retries(
    pipeline: Pipeline, waited: list[float]
) -> None:
    configure(pipeline, "executor: in_process", "executor: in_process\nfirst_sesion: 2008-09-02")
    before = pipeline.artifacts()
    run = pipeline.run(SESSION)
    assert "first_sesion: there is no such setting" in failed_steps(run)["prices_raw"]
    assert steps_started(run) == ["prices_raw"]
    assert not waited
    assert pipeline.artifacts() == before


def test_a_session_without_bars_is_refused_at_once_without_retries(pipeline: Pipeline, waited: list[float]) -> None:
    rewrite_source(pipeline, lambda p: p[p["date"] != SESSION])
    before = pipeline.artifacts()
    run = pipeline.run(SESSION)
    assert "expected bars of session 2008-09-02, found none" in failed_steps(run)["prices_raw"]
    assert steps_started(run) == ["prices_raw"]
    assert not waited
    assert pipeline.artifacts() == before


def test_a_session_that_has_not_closed_is_refused_though_its_partition_is_there(
    home: Path, now: datetime, ephemeral: dg.DagsterInstance
) -> None:
    """At noon UTC of the fixed clock's day New York has not opened."""
    config = home / "config" / "pipeline.yaml"
    config.write_text(config.read_text().replace("last_session: 2013-03-01", ""))
    pipeline = make_pipeline(home, now, ephemeral)
    before = pipeline.artifacts()
    run = pipeline.run("2013-03-04")
    assert "2013-03-04 closes at 2013-03-04 21:00 UTC and it is 2013-03-04 12:00 UTC" in failed_steps(run)["prices_raw"]
    assert steps_started(run) == ["prices_raw"]
    assert pipeline.artifacts() == before


def test_a_range_from_late_to_early_is_refused_by_what_it_should_be(pipeline: Pipeline) -> None:
    run = pipeline.run("2008-09-04", "2008-09-02", assets=["prices_raw"])
    assert failed_steps(run) == {
        "prices_raw": "expected a range of sessions, found 2008-09-04 … 2008-09-02: exchange them"
    }


def test_too_little_evidence_is_a_warning_and_never_green(pipeline: Pipeline) -> None:
    """With its neighbour session not in the store, nothing can be said of missing symbols."""
    run = pipeline.run("2008-09-04", assets=["prices_raw", "prices_clean"])
    assert run.success
    (verdict,) = [e for e in run.get_asset_check_evaluations() if e.check_name == "symbols_complete"]
    assert verdict.metadata["status"].value == "insufficient"
    assert (verdict.passed, verdict.severity) == (False, dg.AssetCheckSeverity.WARN)


class UnreliableFileSystem(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
    """Files in memory behind a connection that breaks ``faults`` times; its errors quote the URL, as many do."""

    protocol = "unreliable"
    faults = 0

    def _open(self, path: str, *args: Any, **kwargs: Any) -> Any:
        if UnreliableFileSystem.faults:
            UnreliableFileSystem.faults -= 1
            raise ConnectionError(f"reset by peer: unreliable://reader:hunter2@prices.example{path}?key=hunter2")
        return super()._open("/prices.csv.gz", *args, **kwargs)


@pytest.fixture
def remote(pipeline: Pipeline) -> Iterator[Pipeline]:
    """The project with its prices behind an unreliable connection, whose URL holds a password."""
    fsspec.register_implementation("unreliable", UnreliableFileSystem, clobber=True)
    store = MemoryFileSystem()
    store.pipe_file("/prices.csv.gz", (pipeline.home / "data" / "sample" / "prices.csv.gz").read_bytes())
    configure(
        pipeline,
        "path: data/sample/prices.csv.gz",
        "path: unreliable://reader:hunter2@prices.example/prices.csv.gz?key=hunter2",
    )
    yield pipeline
    store.rm("/prices.csv.gz")


def test_an_unreachable_source_is_asked_again_after_5_and_10_seconds_and_then_delivers(
    remote: Pipeline, waited: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(UnreliableFileSystem, "faults", 2)
    run = remote.run(SESSION)
    assert run.success
    assert waited == pytest.approx([5, 10], abs=1)
    assert remote.last("prices_raw", SESSION).metadata["source"].value == "unreliable://prices.example/prices.csv.gz"
    assert "hunter2" not in remote.events(run)
    assert not any(b"hunter2" in data for data in remote.artifacts().values())


def test_a_source_that_stays_unreachable_fails_after_three_retries_and_the_password_is_never_told(
    remote: Pipeline, waited: list[float], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(UnreliableFileSystem, "faults", 100)
    before = remote.artifacts()
    run = remote.run(SESSION)
    assert not run.success
    assert waited == pytest.approx([5, 10, 15], abs=1)
    events = remote.events(run)
    says = "unreliable://prices.example/prices.csv.gz could not be reached: reset by peer"
    assert failed_steps(run)["prices_raw"].startswith(says)
    out, err = capfd.readouterr()
    assert "hunter2" not in events + out + err
    assert remote.artifacts() == before
