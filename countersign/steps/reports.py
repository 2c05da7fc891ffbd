"""Steps of the group ``reports``: the report as text and page, and whether a session is complete."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final

from countersign import checks
from countersign.errors import ArtifactError, QualityError
from countersign.features import LOOKBACK
from countersign.model.targets import HORIZON
from countersign.pages.daily import DayFacts, daily_page, key_figure
from countersign.pages.page import figure_image, page_html
from countersign.prices.clean import row_digests
from countersign.prices.quarantine import Release, releases
from countersign.project import Project
from countersign.quality import load_quality
from countersign.report import Matured, ReportFacts, Restated, report_text
from countersign.steps.gate import gate_state, standing
from countersign.steps.made import Made, Numbers, again
from countersign.steps.monitoring import outcome_inputs
from countersign.steps.prices import clean_inputs, made_from, symbols_before
from countersign.steps.quarter import QuarterReader, is_measured, quarter_sessions
from countersign.steps.scoring import bars_digest
from countersign.steps.service import in_service
from countersign.storage.codec import combined_digest
from countersign.tables import (
    DRIFT,
    FEATURE_TABLE,
    METRICS,
    OUTCOMES,
    PRICES_CLEAN,
    PRICES_RAW,
    PRICES_REJECTED,
    RESTATEMENTS,
    SCORES,
)
from countersign.thresholds import load_thresholds

_QUARTER: Final = "quarter"
"""The input of a page that the text does not have. What it digests, each session of the quarter answers for itself."""


def report_sessions(project: Project, sessions: Sequence[str]) -> Iterator[Made]:
    """``report``: what a person reads in the morning, as plain text, and as a page that shows the quarter, too.

    The page comes first, so that a session which has a text has a page.
    """
    store, calendar = project.store, project.calendar
    service = in_service(project)
    stands = standing(gate_state(project))
    thresholds, digest = load_thresholds(project.home)
    reader = QuarterReader(store)
    for session in sessions:
        scores = store.read_table("scores", session, SCORES)
        checks.require(
            f"scores of {session}", again("scores", session), checks.scores_in_range(scores.frame, len(scores.frame))
        )
        clean = store.read_table("prices_clean", session, PRICES_CLEAN, ("date", "symbol", "open"))
        rejected = store.read_table("prices_rejected", session, PRICES_REJECTED)
        outcomes = store.read_table("outcomes", session, OUTCOMES).frame
        metrics = store.read_table("metrics", session, METRICS).frame
        drift = store.read_table("drift", session, DRIFT).frame
        words = read_commentary(project, session)
        before = symbols_before(project, session)
        facts = ReportFacts(
            session=session,
            calendar=calendar.code,
            horizon_end=calendar.after(session, HORIZON),
            source=project.source.uri,
            clean=clean.frame,
            closes_alone=bool(clean.frame["open"].isna().all()),
            rejected=rejected.frame,
            released=_released(project, session),
            restated=_restated(project, session),
            # One in quarantine has come, and is told of there.
            missing=None
            if before is None
            else sorted(set(before) - set(clean.frame["symbol"]) - set(rejected.frame["symbol"])),
            scores=scores.frame,
            matured=None if outcomes.empty else Matured(str(outcomes["scored"].iloc[0].date()), outcomes),
            metrics=metrics,
            drift=drift,
            model_sha256=scores.stored.inputs["model"],
            champion_sha256=service.champion.model,
            standing=stands.sentence,
            gate_needs=stands.needs,
            gate_news=stands.news,
            training=service.document["training"],
            evaluation=service.document["evaluation"],
            cutoff=service.model.cutoff,
            stale=_stale(project, session),
            commentary=words,
        )
        text = report_text(facts)
        verdict = checks.report_complete(text, scores.frame["symbol"])
        due = quarter_sessions(project, session)
        quarter = reader.read([day for day in due if is_measured(store, day)])
        day = DayFacts(
            report=facts,
            quarter=tuple(due),
            metrics=quarter.frames["metrics"],
            drift=quarter.frames["drift"],
            scores=quarter.frames["scores"],
            outcomes=quarter.frames["outcomes"],
            rejected=quarter.frames["prices_rejected"],
            thresholds=thresholds,
            thresholds_sha256=digest,
        )
        page = page_html(daily_page(day))
        inputs = _inputs(project, session, service.champion.model, words)
        looked_back = combined_digest(list(quarter.digests.values()))
        shown = store.write_text("report", session, page, {**inputs, _QUARTER: looked_back}, "html")
        stored = store.write_text("report", session, text, inputs)
        numbers: Numbers = {
            "lines": stored.rows,
            "commentary": "none" if words is None else str(project.commentary(session)),
            "matured_rows": len(outcomes),
        }
        figure = key_figure(day)
        preview = f"**{figure.title}.** {figure.caption}\n\n{figure_image(figure)}\n\n```text\n{text}```"
        yield Made(session, stored, (verdict,), numbers, preview, shown.location)


def _released(project: Project, session: str) -> tuple[Release, ...]:
    """The releases that hold for what ``prices_raw`` of ``session`` says."""
    found = [one for one in releases(project.journal.read()) if one.session == session]
    if not found:
        return ()
    raw = project.store.read_table("prices_raw", session, PRICES_RAW).frame
    there = set(row_digests(raw, range(len(raw))))
    return tuple(one for one in found if one.bar in there)


def _restated(project: Project, session: str) -> Restated | None:
    """What the source has said otherwise of ``session`` since, and up to when features read it."""
    if not project.store.has("restatements", session):
        return None
    found = project.store.read_table("restatements", session, RESTATEMENTS).frame
    limit = load_quality(project.home).restated.max_change
    return Restated(found, limit, project.calendar.after(session, LOOKBACK - 1))


def read_commentary(project: Project, session: str) -> str | None:
    """A person's words on ``session``, or None. Raises ``QualityError`` where they are no UTF-8."""
    path = project.commentary(session)
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise QualityError(
            f"{path}: expected a text in UTF-8 ({error}). Save it as UTF-8, then run report again"
        ) from error


def _inputs(project: Project, session: str, model: str, commentary: str | None) -> dict[str, str]:
    """The digest of everything that a report is made from, as it is now."""
    names = ["prices_clean", "prices_rejected", "scores", "outcomes", "drift", "metrics"]
    names += ["restatements"] if project.store.has("restatements", session) else []
    found = {name: project.store.digest(name, session) for name in names}
    found["thresholds"] = load_thresholds(project.home)[1]
    if commentary is not None:
        found["commentary"] = hashlib.sha256(commentary.encode()).hexdigest()
    return {**found, "model": model}


def _stale(project: Project, session: str) -> str | None:
    """Which link of the chain from bars to scores was not made from what is there now, in words; None for a whole one.

    Raises ``ArtifactError`` where a link is missing or damaged.
    """
    store = project.store
    if _bars_stale(project, session):
        return "prices_clean was made from other raw bars, rules or releases than are there now."
    features = store.read_table("features", session, FEATURE_TABLE, ("date",)).stored
    scores = store.read_table("scores", session, SCORES, ("date",)).stored
    if features.inputs["prices_clean"] != bars_digest(project, session):
        return "features were made from other bars than are there now."
    if scores.inputs["features"] != features.sha256:
        return "scores were made from other features than are there now."
    if dict(store.read_table("outcomes", session, OUTCOMES, ("date",)).stored.inputs) != outcome_inputs(
        project, session
    ):
        return "outcomes were made from other bars or scores than are there now."
    return None


def outdated_sessions(project: Project) -> list[str]:
    """Stored sessions that are to be run again: a link of their chain was made from what has been replaced since.

    Looked at are the newest, and those whose features read a session that the source restated or people released rows
    of: nothing else changes an older one, but for the rules, which change all.
    """
    there = [session for session in project.store.partitions() if project.store.has("report", session, "txt")]
    changed = {session for session in there if project.store.has("restatements", session)}
    changed |= {one.session for one in releases(project.journal.read())}
    readers = {session: made_from(project, session) for session in sorted(changed)}
    found = outdated(project, sorted({*there[-1:], *(one for some in readers.values() for one in some)} & {*there}))
    # Where the bars themselves are to be made again, all that reads them is, once they were.
    for session in [session for session in found if session in readers]:
        with suppress(ArtifactError):
            found += readers[session] if _bars_stale(project, session) else []
    return sorted({*found} & {*there})


def outdated(project: Project, sessions: Sequence[str]) -> list[str]:
    """Those of ``sessions`` whose chain from bars to scores is broken, damaged or not made from one another."""
    found = []
    for session in sessions:
        try:
            stale = _stale(project, session)
        except ArtifactError:
            stale = "damaged"
        if stale:
            found.append(session)
    return found


def _bars_stale(project: Project, session: str) -> bool:
    """Raises ``ArtifactError`` where bars, or what they were made from, are missing or damaged."""
    store = project.store
    clean = store.read_table("prices_clean", session, PRICES_CLEAN, ("date",)).stored
    inputs = clean_inputs(
        store.digest("prices_raw", session), load_quality(project.home), session, releases(project.journal.read())
    )
    return dict(clean.inputs) != inputs | {"prices_rejected": store.digest("prices_rejected", session)}


def session_is_done(project: Project, session: str) -> bool:
    """Whether the whole chain of ``session`` is there, whole, and made from one another: nothing is left to do."""
    try:
        stale = _stale(project, session)
        _, report = project.store.read_text("report", session)
        _, page = project.store.read_text("report", session, "html")
        words = read_commentary(project, session)
        # Another model in service does not make a session undone: its scores were said by the one of that day.
        found = _inputs(project, session, report.inputs["model"], words)
    except (ArtifactError, QualityError):
        return False
    short = {name: digest[:16] for name, digest in found.items()}
    shown = {name: digest for name, digest in page.inputs.items() if name != _QUARTER}
    return stale is None and short == dict(report.inputs) == shown
