"""Bootstrap and daily runs through Dagster: what they record of each artifact, alone, in a range and run again."""

from __future__ import annotations

import base64
import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree

import dagster as dg
import orjson
import pandas as pd
import pytest

from assets.runs import recent_runs
from countersign.quality import ON_BARS
from countersign.steps.metrics import GATE_MEASURES, MEASURES
from tests.orchestration.conftest import Pipeline, file_digest, files, make_pipeline

SESSION = "2008-09-03"
FILES = {
    "price_history": "history/prices.parquet",
    "model": "model.json",
    "prices_raw": f"sessions/{SESSION}/prices_raw.json",
    "prices_clean": f"sessions/{SESSION}/prices_clean.json",
    "features": f"sessions/{SESSION}/features.json",
    "scores": f"sessions/{SESSION}/scores.json",
    "outcomes": f"sessions/{SESSION}/outcomes.json",
    "drift": f"sessions/{SESSION}/drift.json",
    "metrics": f"sessions/{SESSION}/metrics.json",
    "report": f"sessions/{SESSION}/report.txt",
}
DAILY = ("prices_raw", "prices_clean", "features", "scores", "outcomes", "drift", "metrics", "report")


def value(event: dg.AssetMaterialization, name: str) -> object:
    return event.metadata[name].value


@pytest.mark.parametrize("asset", FILES)
def test_a_materialization_leads_to_its_file_and_has_the_files_digest_as_data_version(
    asset: str, finished: Pipeline
) -> None:
    event = finished.last(asset, SESSION if asset in DAILY else None)
    path = finished.home / "artifacts" / FILES[asset]
    assert value(event, "path") == str(path)
    assert event.tags is not None
    assert event.tags["dagster/data_version"] == value(event, "sha256") == file_digest(path)


@pytest.mark.parametrize("asset", FILES)
def test_a_materialization_tells_when_it_ran(asset: str, finished: Pipeline, now: datetime) -> None:
    event = finished.last(asset, SESSION if asset in DAILY else None)
    assert value(event, "started_at") == value(event, "ended_at") == now.timestamp()
    assert value(event, "duration_seconds") == 0.0


@pytest.mark.parametrize("asset", ["price_history", "prices_raw", "prices_clean", "features", "scores"])
def test_the_row_count_of_a_table_is_the_one_that_pandas_reads(asset: str, finished: Pipeline) -> None:
    path = finished.home / "artifacts" / FILES[asset]
    table = (
        pd.read_parquet(path) if path.suffix == ".parquet" else pd.DataFrame(orjson.loads(path.read_bytes())["data"])
    )
    event = finished.last(asset, SESSION if asset in DAILY else None)
    assert value(event, "dagster/row_count") == len(table) > 0


def test_scores_and_model_carry_their_numbers_as_numbers_that_dagster_plots(finished: Pipeline) -> None:
    scores = finished.last("scores", SESSION)
    table = pd.DataFrame(orjson.loads((finished.home / "artifacts" / FILES["scores"]).read_bytes())["data"])
    assert value(scores, "approval_rate") == (table["decision"] == "approve").mean()
    assert value(scores, "mean_bad_week_probability") == pytest.approx(table["bad_week_probability"].mean(), rel=1e-12)
    assert value(scores, "baseline_share") == (table["volatility_by"] == "baseline").mean()
    model = finished.last("model")
    numbers = {"auc_model", "auc_baseline", "auc_naive", "qlike_lead_low", "qlike_lead_high", "bad_rate_held"}
    assert all(isinstance(model.metadata[name], dg.FloatMetadataValue) for name in numbers)


def test_a_report_leads_to_its_page_and_shows_the_riskiest_symbols_as_an_image(finished: Pipeline) -> None:
    event = finished.last("report", SESSION)
    page = finished.home / "artifacts" / "sessions" / SESSION / "report.html"
    assert event.metadata["page"] == dg.MetadataValue.path(str(page))
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    (image,) = re.findall(r"\(data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)\)", str(value(event, "preview")))
    svg = ElementTree.fromstring(base64.b64decode(image))
    assert svg.tag == "{http://www.w3.org/2000/svg}svg"
    assert {"AAPL", "GOOG", "IBM", "MSFT"} <= {text.text for text in svg.iter() if text.tag.endswith("text")}
    # Behind an image tag there is no style sheet that would say what the page's colours are.
    assert b"var(" not in base64.b64decode(image)


def test_every_check_ran_with_its_answer_and_its_numbers(finished: Pipeline) -> None:
    every = finished.definitions.resolve_asset_graph().asset_check_keys
    later = {"candidate", "weekly_review"}
    keys = {key for key in every if key.asset_key.to_user_string() not in later}
    assert len(keys) == 23 + len(ON_BARS) + len(MEASURES) + len(GATE_MEASURES)
    runs = finished.instance.get_run_records(limit=10)
    found = {}
    for record in reversed(runs):
        for entry in finished.instance.all_logs(
            record.dagster_run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION
        ):
            assert entry.dagster_event is not None
            evaluation = entry.dagster_event.asset_check_evaluation_data
            found[evaluation.asset_check_key] = evaluation
    assert set(found) == keys
    for evaluation in found.values():
        status = evaluation.metadata["status"].value
        assert evaluation.passed == (status == "pass")
        assert evaluation.description
        assert len(evaluation.metadata) >= 3, "an answer without the numbers that it rests on"
    clean = found[dg.AssetCheckKey(dg.AssetKey("prices_clean"), "rejected_share")]
    assert clean.metadata["threshold"].value == 0.05
    assert clean.metadata["session"].value == SESSION


def test_bootstrap_and_daily_runs_of_other_days_leave_the_bytes_of_a_session_as_they_are(
    finished: Pipeline, pipeline: Pipeline
) -> None:
    """The other folder was bootstrapped without Dagster and runs the sessions at another time."""
    before = files(finished.home / "artifacts" / "sessions" / SESSION)
    assert pipeline.run("2008-09-02").success
    assert pipeline.run(SESSION).success
    assert files(pipeline.home / "artifacts" / "sessions" / SESSION) == before


def test_a_session_run_again_has_the_same_bytes_and_data_versions(pipeline: Pipeline) -> None:
    assert pipeline.run("2008-09-02").success
    first = pipeline.artifacts(), [pipeline.last(a, "2008-09-02").tags for a in DAILY]
    assert pipeline.run("2008-09-02").success
    again = pipeline.artifacts(), [pipeline.last(a, "2008-09-02").tags for a in DAILY]
    assert again[0] == first[0]
    for one, other in zip(first[1], again[1], strict=True):
        assert one is not None
        assert other is not None
        assert one["dagster/data_version"] == other["dagster/data_version"]


def test_a_changed_bar_changes_the_data_version_of_all_that_follows(pipeline: Pipeline) -> None:
    def versions() -> list[str]:
        # Nothing had been said yet whose outcome this session shows.
        tags = [pipeline.last(a, "2008-09-02").tags for a in DAILY if a != "outcomes"]
        return [t["dagster/data_version"] for t in tags if t]

    assert pipeline.run("2008-09-02").success
    before = versions()
    path = pipeline.home / "data" / "sample" / "prices.csv.gz"
    prices = pd.read_csv(path, dtype=str)
    bar = (prices["symbol"] == "IBM") & (prices["date"] == "2008-09-02")
    prices.loc[bar, "volume"] = (prices.loc[bar, "volume"].astype(float) + 1).astype(str)
    prices.to_csv(path, index=False)
    assert pipeline.run("2008-09-02").success
    assert not set(before) & set(versions())


def test_a_range_in_one_run_makes_the_bytes_and_versions_of_single_runs(
    pipeline: Pipeline, bootstrapped_home: Path, tmp_path: Path, now: datetime
) -> None:
    sessions = ["2008-09-02", "2008-09-03", "2008-09-04"]
    other = make_pipeline(Path(shutil.copytree(bootstrapped_home, tmp_path / "single")), now, pipeline.instance)
    run = pipeline.run(sessions[0], sessions[-1])
    assert run.success
    ranged = {(a, s): pipeline.last(a, s) for a in DAILY for s in sessions}
    for session in sessions:
        assert other.run(session).success
    assert pipeline.artifacts() == other.artifacts()

    single = {(a, s): other.last(a, s) for a in DAILY for s in sessions}
    for key, event in ranged.items():
        assert event.tags is not None
        expected = single[key].tags
        assert expected is not None
        assert event.tags["dagster/data_version"] == expected["dagster/data_version"]
        # What Dagster needs to tell what is out of date: the same code and the same kinds of inputs are on record.
        assert event.tags["dagster/code_version"] == expected["dagster/code_version"]
        assert {t for t in event.tags if "input_data_version" in t} == {
            t for t in expected if "input_data_version" in t
        }
        # How the runs went so far differs from run to run.
        of_runs = {"run_seconds_p95", "run_failures", "request_ms_p95", "request_failures"}
        same = set(event.metadata) - {"path", "page", "dagster/uri", "rejected", "source", *of_runs}
        assert {k: event.metadata[k] for k in same} == {k: single[key].metadata[k] for k in same}
    assert len({e.tags["dagster/data_version"] for e in ranged.values() if e.tags}) == len(ranged)


def test_a_check_over_a_range_answers_with_its_worst_session_and_names_it(pipeline: Pipeline) -> None:
    path = pipeline.home / "data" / "sample" / "prices.csv.gz"
    prices = pd.read_csv(path, dtype=str)
    prices = prices[~((prices["symbol"] == "IBM") & (prices["date"] == "2008-09-03"))]
    prices.to_csv(path, index=False)
    config = pipeline.home / "config" / "quality.yaml"
    config.write_text(config.read_text().replace("max_share: 0.2 ", "max_share: 0.5 "))
    run = pipeline.run("2008-09-02", "2008-09-04")
    assert run.success
    (verdict,) = [e for e in run.get_asset_check_evaluations() if e.check_name == "symbols_complete"]
    assert not verdict.passed
    assert verdict.severity == dg.AssetCheckSeverity.WARN
    assert verdict.metadata["session"].value == "2008-09-03"
    assert verdict.description is not None
    assert "3 sessions: 2 pass, 1 fail; 2008-09-03: missing since the session before: IBM" in verdict.description


def test_bootstrap_run_again_changes_no_byte_and_keeps_the_model_in_service(pipeline: Pipeline) -> None:
    before = pipeline.artifacts()
    assert pipeline.run(job="bootstrap_job").success
    assert pipeline.artifacts() == before
    assert value(pipeline.last("model"), "in_service") == "unchanged"


def test_runs_of_single_sessions_are_counted_with_their_failures_and_ranges_are_not(pipeline: Pipeline) -> None:
    assert len(recent_runs(pipeline.instance, "daily_job").durations) == 0
    assert pipeline.run("2008-09-02").success
    assert pipeline.run("2008-09-03", "2008-09-04").success
    assert not pipeline.run("2008-09-08", assets=["features"]).success
    found = recent_runs(pipeline.instance, "daily_job")
    assert len(found.durations) == 1, "how long one took that failed says nothing"
    assert found.failed == 1
    assert (found.durations > 0).all()
    ended = min(r.end_time for r in pipeline.instance.get_run_records() if r.end_time)
    first, moment = datetime.fromtimestamp(ended, tz=UTC), timedelta(milliseconds=1)
    by_then = [recent_runs(pipeline.instance, "daily_job", until) for until in (first - moment, first + moment)]
    assert [(len(runs.durations), runs.failed) for runs in by_then] == [(0, 0), (1, 0)], "only what had ended by then"
