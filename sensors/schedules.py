"""Schedules: when jobs run by themselves. Does not belong here: which session is due (``countersign.sessions``)."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import dagster as dg

from countersign.project import Project
from countersign.sessions import scheduled_session
from countersign.steps.weekly import due_week
from sensors.jobs import daily_job, weekly_job


def daily_refresh(project: Project) -> dg.ScheduleDefinition:
    """Run ``daily_job`` once a day, after the close, in the exchange's time zone; on for a live source."""
    hour, minute = project.config.schedule.time.split(":")
    calendar = project.calendar

    @dg.schedule(
        job=daily_job,
        name="daily_refresh",
        cron_schedule=f"{int(minute)} {int(hour)} * * *",
        execution_timezone=calendar.timezone,
        default_status=(
            dg.DefaultScheduleStatus.RUNNING if project.config.source.live else dg.DefaultScheduleStatus.STOPPED
        ),
        description=(
            f"Every day at {project.config.schedule.time} {calendar.timezone}: the session that closed in the 24 "
            "hours before. Skips weekends and holidays. On by default where source.live is true."
        ),
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        tick = context.scheduled_execution_time
        session = scheduled_session(calendar, tick)
        if session is None:
            return dg.SkipReason(
                f"no session of {calendar.code} closed in the 24 hours before {tick:%A %Y-%m-%d %H:%M %Z}: "
                "a weekend or a holiday"
            )
        if session < project.first_session:
            return dg.SkipReason(
                f"{session} is history: the first daily session is {project.first_session} (config/pipeline.yaml)"
            )
        if project.last_session and session > project.last_session:
            return dg.SkipReason(
                f"{session} lies after the last_session, {project.last_session} (config/pipeline.yaml)"
            )
        return dg.RunRequest(run_key=session, partition_key=session)

    return schedule


def weekly_refresh(project: Project) -> dg.ScheduleDefinition:
    """Run ``weekly_job`` on Saturday at 09:00 in the exchange's time zone, for the newest week that has ended."""

    @dg.schedule(
        job=weekly_job,
        name="weekly_refresh",
        cron_schedule="0 9 * * 6",
        execution_timezone=project.calendar.timezone,
        default_status=(
            dg.DefaultScheduleStatus.RUNNING if project.config.source.live else dg.DefaultScheduleStatus.STOPPED
        ),
        description=(
            f"Saturday at 09:00 {project.calendar.timezone}: the newest week whose sessions have all closed. On by "
            "default where source.live is true."
        ),
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        tick = context.scheduled_execution_time.astimezone(ZoneInfo(project.calendar.timezone))
        monday = due_week(project, tick)
        if monday is None:
            return dg.SkipReason(
                f"no week ended before {tick:%A %Y-%m-%d %H:%M %Z} that has sessions from {project.first_session}"
                f"{' to ' + project.last_session if project.last_session else ''} (config/pipeline.yaml)"
            )
        return dg.RunRequest(run_key=monday, partition_key=monday)

    return schedule
