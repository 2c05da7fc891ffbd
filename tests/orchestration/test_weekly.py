"""The weekly review under Dagster: its partitions, its schedule, what it depends on, and a week that is made."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from definitions import build_definitions
from tests.orchestration.conftest import Pipeline, failed_steps, file_digest, make_pipeline

NEW_YORK = ZoneInfo("America/New_York")


@pytest.fixture(scope="module")
def definitions(bootstrapped_home: Path) -> dg.Definitions:
    return build_definitions(bootstrapped_home)


def configured(home: Path, *changes: tuple[str, str]) -> dg.Definitions:
    path = home / "config" / "pipeline.yaml"
    for old, new in changes:
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
    return build_definitions(home)


def weeks(definitions: dg.Definitions) -> dg.TimeWindowPartitionsDefinition:
    partitions = definitions.resolve_job_def("weekly_job").partitions_def
    assert isinstance(partitions, dg.TimeWindowPartitionsDefinition)
    return partitions


def evaluated(definitions: dg.Definitions, moment: datetime) -> tuple[list[dg.RunRequest], str | None]:
    """What ``weekly_refresh`` does at ``moment``."""
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_schedule_context(
            instance=instance, scheduled_execution_time=moment, repository_def=definitions.get_repository_def()
        )
        found = definitions.resolve_schedule_def("weekly_refresh").evaluate_tick(context)
    return list(found.run_requests or []), found.skip_message


def test_the_partitions_are_the_mondays_from_the_first_sessions_week_to_the_last_ones(
    definitions: dg.Definitions,
) -> None:
    """The first session is a Tuesday, after Labor Day; the last one, 2013-03-01, a Friday."""
    keys = weeks(definitions).get_partition_keys(current_time=datetime(2026, 1, 1, tzinfo=NEW_YORK))
    assert (keys[0], keys[1], keys[-1]) == ("2008-09-01", "2008-09-08", "2013-02-25")
    assert {datetime.fromisoformat(key).weekday() for key in keys} == {0}


def test_a_weeks_partition_is_there_on_its_own_saturday_and_the_next_weeks_is_not(definitions: dg.Definitions) -> None:
    keys = weeks(definitions).get_partition_keys(current_time=datetime(2008, 9, 13, 9, 0, 1, tzinfo=NEW_YORK))
    assert keys == ["2008-09-01", "2008-09-08"]


@pytest.mark.parametrize(
    ("monday", "first", "last"),
    [
        # Not before the first session, however far a quarter reaches.
        ("2008-09-01", "2008-09-02", "2008-09-05"),
        ("2008-12-15", None, "2008-12-19"),
        # Good Friday, 2009-04-10, is no session.
        ("2009-04-06", None, "2009-04-09"),
    ],
)
def test_a_review_depends_on_the_sessions_of_its_week_and_of_the_quarter_up_to_it(
    monday: str, first: str | None, last: str, definitions: dg.Definitions
) -> None:
    sessions = definitions.resolve_job_def("daily_job").partitions_def
    assert isinstance(sessions, dg.TimeWindowPartitionsDefinition)
    (spec,) = [s for s in definitions.resolve_all_asset_specs() if s.key.to_user_string() == "weekly_review"]
    for dep in spec.deps:
        if dep.asset_key.to_user_string() == "model":
            continue
        assert dep.partition_mapping is not None
        mapped = dep.partition_mapping.get_upstream_mapped_partitions_result_for_partitions(
            downstream_partitions_subset=weeks(definitions).subset_with_partition_keys([monday]),
            downstream_partitions_def=weeks(definitions),
            upstream_partitions_def=sessions,
            current_time=datetime(2013, 3, 4, tzinfo=NEW_YORK),
        )
        keys = sorted(mapped.partitions_subset.get_partition_keys())
        assert keys[-1] == last
        assert keys[0] == first or len(keys) >= 63


@pytest.mark.parametrize(
    ("moment", "monday"),
    [
        (datetime(2008, 9, 13, 9, tzinfo=NEW_YORK), "2008-09-08"),
        # Thanksgiving and the day after it.
        (datetime(2008, 11, 29, 9, tzinfo=NEW_YORK), "2008-11-24"),
    ],
)
def test_the_schedule_takes_the_week_that_has_just_ended(
    moment: datetime, monday: str, definitions: dg.Definitions
) -> None:
    (request,), _ = evaluated(definitions, moment)
    assert (request.partition_key, request.run_key) == (monday, monday)
    assert monday in weeks(definitions).get_partition_keys(current_time=moment)


@pytest.mark.parametrize("moment", [datetime(2008, 8, 30, 9), datetime(2013, 3, 9, 9)])  # noqa: DTZ001 - zoned below
def test_the_schedule_skips_weeks_outside_of_the_daily_sessions_and_says_so(
    moment: datetime, definitions: dg.Definitions
) -> None:
    requests, message = evaluated(definitions, moment.replace(tzinfo=NEW_YORK))
    assert not requests
    assert message is not None
    assert f"before Saturday {moment:%Y-%m-%d} 09:00 E" in message
    assert "sessions from 2008-09-02 to 2013-03-01 (config/pipeline.yaml)" in message


def test_the_schedule_runs_on_saturday_in_the_exchanges_time_zone_and_by_itself_for_a_live_source_only(
    definitions: dg.Definitions, empty_home: Path
) -> None:
    schedule = definitions.resolve_schedule_def("weekly_refresh")
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("0 9 * * 6", "America/New_York")
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED
    live = configured(empty_home, ("last_session: 2013-03-01", ""), ("live: false", "live: true"))
    assert live.resolve_schedule_def("weekly_refresh").default_status == dg.DefaultScheduleStatus.RUNNING


def test_a_week_is_reviewed_with_its_checks_its_digest_and_the_text_to_look_at(pipeline: Pipeline) -> None:
    assert pipeline.run("2008-09-02", "2008-09-05").success
    run = pipeline.run("2008-09-01", job="weekly_job")
    assert run.success
    made = pipeline.last("weekly_review", "2008-09-01")
    page = Path(str(made.metadata["path"].value))
    assert page == pipeline.home / "artifacts" / "reviews" / "2008-W36" / "weekly_review.html"
    assert page.with_suffix(".txt") == Path(str(made.metadata["text"].value))
    assert made.tags is not None
    assert made.tags["dagster/data_version"] == made.metadata["sha256"].value == file_digest(page)
    assert "WEEKLY REVIEW 2008-W36" in str(made.metadata["preview"].value)
    assert made.metadata["sessions"].value == 4
    checks = {e.check_name: e for e in run.get_asset_check_evaluations()}
    assert {name: e.passed for name, e in checks.items()} == {"sessions_reviewed": True, "review_complete": True}
    assert checks["sessions_reviewed"].description == "4 of 4 sessions of the week are in it"

    before = pipeline.artifacts()
    assert pipeline.run("2008-09-01", job="weekly_job").success
    assert pipeline.artifacts() == before


def test_a_week_that_has_not_ended_is_refused_with_one_message_and_nothing_is_written(
    home: Path, ephemeral: dg.DagsterInstance
) -> None:
    pipeline = make_pipeline(home, datetime(2008, 9, 5, 12, tzinfo=UTC), ephemeral)
    before = pipeline.artifacts()
    run = pipeline.run("2008-09-01", job="weekly_job")
    assert failed_steps(run) == {
        "weekly_review": "expected a week that has ended; the last session of 2008-09-01 (2008-W36), 2008-09-05, "
        "closes at 2008-09-05 20:00 UTC. Review the week before, or wait"
    }
    assert pipeline.artifacts() == before
