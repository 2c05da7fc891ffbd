"""The definitions: what each asset, job, partition and schedule says of itself, without running anything."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from countersign.errors import ConfigError
from countersign.features import LOOKBACK
from countersign.model.targets import HORIZON
from countersign.project import Project
from countersign.tables import FEATURE_TABLE, PRICES_CLEAN, PRICES_RAW, SCORES, Column
from countersign.version import code_version
from definitions import build_definitions

NEW_YORK = ZoneInfo("America/New_York")


@pytest.fixture(scope="module")
def definitions(bootstrapped_home: Path) -> dg.Definitions:
    return build_definitions(bootstrapped_home)


def configured(home: Path, old: str, new: str) -> dg.Definitions:
    path = home / "config" / "pipeline.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return build_definitions(home)


ASSETS = {
    "price_history": ("prices", "team:data", {"parquet"}, set()),
    "prices_raw": ("prices", "team:data", {"json"}, set()),
    "prices_clean": ("prices", "team:data", {"json"}, {"prices_raw"}),
    "features": ("scoring", "team:quant", {"json", "numpy"}, {"prices_clean", "price_history"}),
    "model": ("model", "team:quant", {"json", "scikitlearn"}, {"price_history"}),
    "candidate": (
        "model",
        "team:quant",
        {"json", "scikitlearn"},
        {"price_history", "prices_clean", "drift", "metrics"},
    ),
    "sign_off": ("model", "team:risk", {"openssh"}, {"candidate"}),
    "scores": ("scoring", "team:quant", {"json", "numpy"}, {"features", "model"}),
    "report": (
        "reports",
        "team:risk",
        {"html", "text"},
        {"scores", "outcomes", "drift", "metrics", "prices_clean", "model"},
    ),
    "weekly_review": (
        "reports",
        "team:risk",
        {"html", "text"},
        {"scores", "outcomes", "drift", "metrics", "prices_clean", "report", "model"},
    ),
    "drift": ("monitoring", "team:risk", {"json", "numpy"}, {"features", "outcomes", "price_history", "model"}),
    "metrics": (
        "monitoring",
        "team:risk",
        {"json", "numpy"},
        {"scores", "outcomes", "prices_clean", "prices_raw", "model"},
    ),
    "outcomes": ("monitoring", "team:risk", {"json"}, {"scores", "prices_clean"}),
}


DAILY = set(ASSETS) - {"price_history", "model", "candidate", "sign_off", "weekly_review"}


def test_every_asset_has_its_group_owner_kinds_dependencies_and_code_version(definitions: dg.Definitions) -> None:
    specs = {s.key.to_user_string(): s for s in definitions.resolve_all_asset_specs()}
    found = {
        name: (s.group_name, *s.owners, s.kinds, {d.asset_key.to_user_string() for d in s.deps})
        for name, s in specs.items()
    }
    assert found == ASSETS
    assert {s.code_version for s in specs.values()} == {code_version()}
    for name, spec in specs.items():
        assert spec.description, name
        assert "If it fails:" in spec.description, name


@pytest.mark.parametrize(
    ("asset", "columns"),
    [
        ("price_history", PRICES_CLEAN),
        ("prices_raw", PRICES_RAW),
        ("prices_clean", PRICES_CLEAN),
        ("features", FEATURE_TABLE),
        ("scores", SCORES),
    ],
)
def test_a_tables_columns_are_shown_with_meaning_and_unit(
    asset: str, columns: tuple[Column, ...], definitions: dg.Definitions
) -> None:
    (spec,) = [s for s in definitions.resolve_all_asset_specs() if s.key.to_user_string() == asset]
    schema: dg.TableSchema = spec.metadata["dagster/column_schema"]
    assert [c.name for c in schema.columns] == [c.name for c in columns]
    for shown, column in zip(schema.columns, columns, strict=True):
        assert shown.description is not None
        assert shown.description.startswith(column.description)
        assert shown.description.endswith(f"[{column.unit}]") == bool(column.unit)
        assert shown.constraints is not None
        assert shown.constraints.nullable == column.nullable


def test_every_check_rides_in_its_assets_step_and_says_what_it_asks(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    blocking = {key.name for key in graph.asset_check_keys if graph.get_check_spec(key).blocking}
    assert blocking == {
        "rejected_share",
        "history_complete",
        "bars_arrived",
        "schema",
        "dates",
        "off_calendar",
        "symbols_complete",
        "bars_moved",
        "features_computed",
        "scores_in_range",
        "volatility_not_worse_than_baseline",
        "bad_week_not_worse_than_baseline",
        "calibrated",
        "finite",
        "same_features",
        "deterministic_retrain",
    }
    # A decision is good, or it is refused and nothing is materialized.
    assert {key.asset_key.to_user_string() for key in graph.asset_check_keys} == set(ASSETS) - {"sign_off"}
    assert all(graph.get_check_spec(key).description for key in graph.asset_check_keys)
    daily = definitions.resolve_job_def("daily_job")
    assert {node.name for node in daily.graph.nodes} == DAILY


@pytest.mark.parametrize(
    ("job", "assets"),
    [
        ("bootstrap_job", {"price_history", "model"}),
        ("daily_job", DAILY),
        ("retrain_job", {"candidate"}),
        ("sign_off_job", {"sign_off"}),
        ("deploy_job", {"model"}),
        ("weekly_job", {"weekly_review"}),
    ],
)
def test_a_job_selects_its_assets(job: str, assets: set[str], definitions: dg.Definitions) -> None:
    selected = definitions.resolve_job_def(job).asset_layer.selected_asset_keys
    assert {key.to_user_string() for key in selected} == assets


def daily_partitions(definitions: dg.Definitions) -> dg.TimeWindowPartitionsDefinition:
    partitions = definitions.resolve_job_def("daily_job").partitions_def
    assert isinstance(partitions, dg.TimeWindowPartitionsDefinition)
    return partitions


def test_the_partitions_are_the_exchanges_sessions(definitions: dg.Definitions) -> None:
    """New York, autumn 2012: Sandy closed the exchange on October 29 and 30; Thanksgiving and Christmas."""
    keys = daily_partitions(definitions).get_partition_keys(current_time=datetime(2012, 12, 31, 18, tzinfo=NEW_YORK))
    october = [k for k in keys if "2012-10-24" <= k <= "2012-11-02"]
    assert october == [
        "2012-10-24",
        "2012-10-25",
        "2012-10-26",
        "2012-10-31",
        "2012-11-01",
        "2012-11-02",
    ]
    assert not {"2012-11-22", "2012-12-25", "2012-12-29", "2012-12-30"} & set(keys)
    assert keys[0] == "2008-09-02"
    # 250 sessions in 2012, published by NYSE: 252 planned, less two for the storm.
    assert sum(k.startswith("2012") for k in keys) == 250


@pytest.mark.parametrize("hour", [0, 12, 18])
def test_a_fridays_partition_is_there_on_friday_and_saturday(hour: int, definitions: dg.Definitions) -> None:
    partitions = daily_partitions(definitions)
    for day in (5, 6, 7):
        keys = partitions.get_partition_keys(current_time=datetime(2008, 9, day, hour, 1, tzinfo=NEW_YORK))
        assert "2008-09-05" in keys
        assert "2008-09-09" not in keys


def test_a_market_that_never_closes_has_a_partition_every_day(empty_home: Path) -> None:
    partitions = daily_partitions(configured(empty_home, "calendar: XNYS", "calendar: 24/7"))
    keys = partitions.get_partition_keys(current_time=datetime(2008, 12, 31, 12, tzinfo=ZoneInfo("UTC")))
    december = [k for k in keys if k.startswith("2008-12")]
    assert december == [f"2008-12-{day:02}" for day in range(1, 32)]


@pytest.mark.parametrize("session", ["2008-09-02", "2008-09-03", "2008-12-26", "2012-10-31"])
@pytest.mark.parametrize(
    ("asset", "upstream", "count"),
    [
        ("features", "prices_clean", LOOKBACK),
        ("outcomes", "scores", HORIZON + 1),
        ("outcomes", "prices_clean", HORIZON + 1),
    ],
)
def test_an_asset_that_reads_sessions_before_its_own_depends_on_them_as_far_as_they_are_partitions(
    asset: str, upstream: str, count: int, session: str, definitions: dg.Definitions, project: Project
) -> None:
    partitions = daily_partitions(definitions)
    (spec,) = [s for s in definitions.resolve_all_asset_specs() if s.key.to_user_string() == asset]
    (mapping,) = [d.partition_mapping for d in spec.deps if d.asset_key.to_user_string() == upstream]
    assert mapping is not None
    mapped = mapping.get_upstream_mapped_partitions_result_for_partitions(
        downstream_partitions_subset=partitions.subset_with_partition_keys([session]),
        downstream_partitions_def=partitions,
        upstream_partitions_def=partitions,
        current_time=datetime(2013, 3, 4, tzinfo=NEW_YORK),
    )
    expected = [s for s in project.calendar.lookback(session, count) if s >= "2008-09-02"]
    assert sorted(mapped.partitions_subset.get_partition_keys()) == expected
    assert not mapped.required_but_nonexistent_subset.get_partition_keys()


def evaluated(definitions: dg.Definitions, moment: datetime) -> tuple[list[dg.RunRequest], str | None]:
    """What ``daily_refresh`` does at ``moment``."""
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_schedule_context(
            instance=instance, scheduled_execution_time=moment, repository_def=definitions.get_repository_def()
        )
        found = definitions.resolve_schedule_def("daily_refresh").evaluate_tick(context)
    return list(found.run_requests or []), found.skip_message


def test_the_schedule_takes_the_session_that_has_just_closed(definitions: dg.Definitions) -> None:
    (request,), _ = evaluated(definitions, datetime(2008, 9, 15, 18, tzinfo=NEW_YORK))
    assert (request.partition_key, request.run_key) == ("2008-09-15", "2008-09-15")


@pytest.mark.parametrize(
    ("moment", "says"),
    [
        (
            datetime(2008, 9, 13, 18, tzinfo=NEW_YORK),
            "Saturday 2008-09-13 18:00 EDT: a weekend or a holiday",
        ),
        (
            datetime(2012, 10, 29, 18, tzinfo=NEW_YORK),
            "Monday 2012-10-29 18:00 EDT: a weekend or a holiday",
        ),
        (
            datetime(2012, 12, 25, 18, tzinfo=NEW_YORK),
            "Tuesday 2012-12-25 18:00 EST: a weekend or a holiday",
        ),
        (datetime(2008, 8, 29, 18, tzinfo=NEW_YORK), "2008-08-29 is history: the first daily session is 2008-09-02"),
    ],
)
def test_the_schedule_skips_with_a_reason_that_a_person_understands(
    moment: datetime, says: str, definitions: dg.Definitions
) -> None:
    requests, message = evaluated(definitions, moment)
    assert not requests
    assert message is not None
    assert says in message


def test_the_schedule_runs_in_the_exchanges_time_zone_and_by_itself_for_a_live_source_only(
    definitions: dg.Definitions, empty_home: Path
) -> None:
    schedule = definitions.resolve_schedule_def("daily_refresh")
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("0 18 * * *", "America/New_York")
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED
    configured(empty_home, "last_session: 2013-03-01", "")
    configured(empty_home, "live: false", "live: true")
    live = configured(empty_home, 'time: "18:00"', 'time: "21:30"').resolve_schedule_def("daily_refresh")
    assert live.cron_schedule == "30 21 * * *"
    assert live.default_status == dg.DefaultScheduleStatus.RUNNING


@pytest.mark.parametrize("name", ["in_process", "multiprocess"])
def test_the_executor_is_the_configured_one(name: str, empty_home: Path) -> None:
    definitions = configured(empty_home, "executor: in_process", f"executor: {name}")
    assert definitions.resolve_job_def("daily_job").executor_def.name == name


def test_definitions_of_a_folder_without_configuration_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected settings at .*COUNTERSIGN_HOME"):
        build_definitions(tmp_path)
