"""Step ``weekly_review``: a week and the quarter up to it, for people who may change a threshold afterwards."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from countersign.checks import CheckResult
from countersign.errors import ArtifactError, SessionError
from countersign.gate.state import State
from countersign.model.registry import read_model
from countersign.monitoring.alerts import ALERT_EVENTS, Alert, alerts
from countersign.monitoring.replay import replay_text
from countersign.pages.page import WIDTH, page_html, page_text
from countersign.pages.weekly import THEIR_WORDS, Standing, WeekFacts, weekly_page
from countersign.project import Project
from countersign.report import evaluation_needs, session_needs
from countersign.steps.complete import read_commentary
from countersign.steps.gate import gate_state, standing
from countersign.steps.made import Made, Numbers
from countersign.steps.metrics import MEASURES
from countersign.steps.quarter import QuarterReader, is_measured, quarter_sessions
from countersign.steps.replay import replay_source
from countersign.thresholds import Thresholds, load_thresholds, reviews_due

if TYPE_CHECKING:
    import pandas as pd

    from countersign.storage.journal import Journal

ASSET = "weekly_review"


def iso_week(monday: str) -> str:
    """The week's name by ISO 8601.

    >>> iso_week("2008-12-29")
    '2009-W01'
    """
    year, week, _ = date.fromisoformat(monday).isocalendar()
    return f"{year}-W{week:02}"


def week_sessions(project: Project, monday: str) -> list[str]:
    """The daily sessions of the week that begins on ``monday``, whether they have closed or not."""
    sunday = (date.fromisoformat(monday) + timedelta(days=6)).isoformat()
    first, last = max(monday, project.first_session), min(sunday, project.last_session or sunday)
    return [s for s in project.calendar.between(first, last) if s not in project.missing_sessions]


def due_week(project: Project, now: datetime) -> str | None:
    """The Monday of the newest week whose sessions have all closed; None before the first, and for one without any."""
    this = now.date() - timedelta(days=now.weekday())
    for monday in (this.isoformat(), (this - timedelta(days=7)).isoformat()):
        sessions = week_sessions(project, monday)
        if not sessions or project.calendar.close(sessions[-1]) <= now:
            return monday if sessions else None
    return None


def review_weeks(project: Project, mondays: Sequence[str], now: datetime) -> Iterator[Made]:
    """``weekly_review``: a page and a text of each week. Nothing in them depends on when they are made, but for what
    has been decided on the models since.

    Raises ``SessionError`` for a week without sessions or one that has not ended, ``ArtifactError`` where none of its
    sessions is in the store.
    """
    for monday in mondays:
        sessions = week_sessions(project, monday)
        week = iso_week(monday)
        if not sessions:
            raise SessionError(
                f"expected a session of {project.calendar.code} in the week of {monday} ({week}), found none: there is "
                "nothing to review. Name another week"
            )
        close = project.calendar.close(sessions[-1])
        if now < close:
            raise SessionError(
                f"expected a week that has ended; the last session of {monday} ({week}), {sessions[-1]}, closes at "
                f"{close:%Y-%m-%d %H:%M} UTC. Review the week before, or wait"
            )
        facts, inputs = _facts(project, week, monday, sessions, now)
        page = weekly_page(facts)
        text, html = page_text(page), page_html(page)
        shown = project.store.write_text(ASSET, week, text, inputs)
        stored = project.store.write_text(ASSET, week, html, {**inputs, "text": shown.sha256}, "html")
        numbers: Numbers = {
            "sessions": len(sessions) - len(facts.missing),
            "quarter_sessions": len(facts.judged_by),
            "failed_measures": int((_last(facts.metrics)["status"] == "fail").sum()),
            "insufficient_measures": int((_last(facts.metrics)["status"] == "insufficient").sum()),
            "drifted": int((_last(facts.drift)["status"] == "fail").sum()),
            "open_alerts": sum(alert.ended_session is None for alert in facts.alerts),
            "rejected_rows": int((facts.rejected["session"] >= sessions[0]).sum()),
            "page_bytes": len(html.encode()),
            "text": shown.location,
            "commentary": "none" if facts.commentary is None else str(project.commentary(week)),
        }
        verdicts = (sessions_reviewed(sessions, facts.missing), review_complete(text, facts.commentary))
        yield Made(monday, stored, verdicts, numbers, f"```text\n{text}```")


def sessions_reviewed(sessions: Sequence[str], missing: Sequence[str]) -> CheckResult:
    """Every session of the week is in the review, with its scores, its monitoring and its report."""
    held = len(sessions) - len(missing)
    return CheckResult(
        "sessions_reviewed",
        "fail" if missing else "pass",
        f"{held} of {len(sessions)} sessions of the week are in it"
        + (f"; not {', '.join(missing)}: make run FROM={missing[0]} TO={missing[-1]}" if missing else ""),
        numbers={"value": held, "threshold": len(sessions)},
        layer="system",
    )


def review_complete(text: str, words: str | None) -> CheckResult:
    """The text form names every measure, within 80 columns (a person's commentary aside)."""
    # As a whole, with what stands before it: a short one may be part of any word.
    own = text.replace(f"{THEIR_WORDS}\n\n{words.rstrip(chr(10))}\n", "") if words else text
    missing = [measure for measure in MEASURES if measure not in own]
    wide = sum(len(line) > WIDTH for line in own.splitlines())
    return CheckResult(
        "review_complete",
        "fail" if missing or wide else "pass",
        f"the review lacks {', '.join(missing) or 'nothing'} and has {wide} lines over {WIDTH} columns"
        if missing or wide
        else f"the review names all {len(MEASURES)} measures, in {own.count(chr(10))} lines of at most {WIDTH} columns",
        numbers={"missing_measures": len(missing), "wide_lines": wide},
        layer="system",
    )


def _facts(
    project: Project, week: str, monday: str, sessions: list[str], now: datetime
) -> tuple[WeekFacts, dict[str, str]]:
    """All that the review is made from, and the digest of each part."""
    thresholds, digest = load_thresholds(project.home)
    due = quarter_sessions(project, sessions[-1])
    present = [s for s in due if project.store.has("report", s, "txt") and is_measured(project.store, s)]
    missing = tuple(s for s in sessions if s not in present)
    if len(missing) == len(sessions):
        raise ArtifactError(
            f"expected at least one session of {monday} ({week}) in the store, whole with its report; found none of "
            f"{', '.join(sessions)}. Run them: make run FROM={sessions[0]} TO={sessions[-1]}"
        )
    quarter, last = QuarterReader(project.store).read(present), present[-1]
    report, stored = project.store.read_text("report", last)
    words = read_commentary(project, week)
    state = gate_state(project)
    of_week = _standing(project, state, last, {s: quarter.scored_from[s] for s in sessions if s in present})
    of_models = _model_needs(project, state, thresholds)
    sunday = date.fromisoformat(monday) + timedelta(days=6)
    left = _alerts_until(project.alerts, sunday)
    replay = replay_source(project, None, sessions[-1], now)
    facts = WeekFacts(
        week=week,
        calendar=project.calendar.code,
        sessions=tuple(sessions),
        missing=missing,
        quarter=tuple(due),
        metrics=quarter.frames["metrics"],
        drift=quarter.frames["drift"],
        scores=quarter.frames["scores"],
        outcomes=quarter.frames["outcomes"],
        rejected=quarter.frames["prices_rejected"],
        judged_by=quarter.judged_by,
        standing=of_week,
        alerts=left,
        needs=[*session_needs(report), *of_models],
        reviews_due=reviews_due(thresholds, _as_known(thresholds, sunday)),
        thresholds=thresholds,
        thresholds_sha256=digest,
        replay=replay,
        commentary=words,
    )
    inputs = {
        **quarter.digests,
        "report": stored.sha256,
        "thresholds": digest,
        "model": of_week.sha256,
        "journal": _digest(f"{of_week.since} {of_week.decision} {of_week.revoked} {of_models}"),
        "alerts": _digest(repr(left)),
        "replay": _digest(replay_text(replay)),
        **({} if words is None else {"commentary": _digest(words)}),
    }
    return facts, inputs


def _standing(project: Project, state: State, session: str, scored_from: Mapping[str, Mapping[str, str]]) -> Standing:
    """The model that scored ``session``, as it was in service then, and which of those that scored any session of
    ``scored_from`` were revoked since."""
    sha256, decision = scored_from[session]["model"], scored_from[session].get("decision")
    document = read_model(project.store, sha256).document
    deployed = [d for d in state.deployments if d.model == sha256 and decision in (None, d.decision)]
    if not deployed:
        raise ArtifactError(
            f"expected the journal to say when {sha256[:12]}, which made the scores of {session}, went into service; "
            f"found nothing. Score the session again: make run SESSION={session}"
        )
    return Standing(
        session=session,
        sha256=sha256,
        decision=deployed[-1].decision,
        why=deployed[-1].why,
        since=f"{deployed[-1].at:%Y-%m-%d %H:%M} UTC",
        training=document["training"],
        evaluation=document["evaluation"],
        revoked=tuple(
            f"{model[:12]}, which made scores of the week, was revoked by {order.signer}: {order.reason}"
            for model in dict.fromkeys(inputs["model"] for inputs in scored_from.values())
            if (order := state.revoked.get(model))
        ),
    )


def _model_needs(project: Project, state: State, thresholds: Thresholds) -> list[str]:
    """What of the models needs a person now: a decision may have changed what the week's last report said of them."""
    found = []
    if state.champion:
        evaluation = read_model(project.store, state.champion.model).document["evaluation"]
        found = evaluation_needs(evaluation, thresholds.model.min_auc)
    return [*found, *standing(state).needs]


def _alerts_until(log: Journal, sunday: date) -> list[Alert]:
    """Alerts as the week left them, whatever came later; not those on reviews, or a page would speak of itself."""
    lines = [
        line
        for line in log.read()
        # What a check found is of its session, whenever that was run; what is wrong with runs is of its day.
        if line["event"] in ALERT_EVENTS
        and line["session"] <= sunday.isoformat()
        and (line["layer"] != "system" or line["at"][:10] <= sunday.isoformat())
        and not line["key"].startswith(f"{ASSET}:")
    ]
    return alerts(lines)


def _as_known(thresholds: Thresholds, sunday: date) -> date:
    """The week's end, or the newest review of thresholds, where that came later: it is none of the future."""
    return max(sunday, *(getattr(thresholds, name).reviewed for name in type(thresholds).model_fields))


def _last(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the newest session."""
    return table[table["date"] == table["date"].max()]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
