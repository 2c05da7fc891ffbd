"""Step of the group ``reports``: the report as text and page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from countersign import checks
from countersign.features import LOOKBACK
from countersign.model.targets import HORIZON
from countersign.pages.daily import DayFacts, daily_page, key_figure
from countersign.pages.page import figure_image, page_html
from countersign.prices.clean import row_digests
from countersign.prices.quarantine import Release, releases
from countersign.project import Project
from countersign.quality import load_quality
from countersign.report import Matured, ReportFacts, Restated, report_text
from countersign.steps.complete import QUARTER, read_commentary, report_inputs, stale_link
from countersign.steps.gate import gate_state, standing
from countersign.steps.made import Made, Numbers, again
from countersign.steps.prices import came, jump_sentence, symbols_before
from countersign.steps.quarter import QuarterReader, is_measured, quarter_sessions
from countersign.steps.service import in_service
from countersign.storage.codec import combined_digest
from countersign.tables import (
    DRIFT,
    METRICS,
    OUTCOMES,
    PRICES_CLEAN,
    PRICES_RAW,
    PRICES_REJECTED,
    RESTATEMENTS,
    SCORES,
)
from countersign.thresholds import load_thresholds


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
        clean = store.read_table("prices_clean", session, PRICES_CLEAN, ("date", "symbol", "open", "log_return"))
        rejected = store.read_table("prices_rejected", session, PRICES_REJECTED)
        outcomes = store.read_table("outcomes", session, OUTCOMES).frame
        metrics = store.read_table("metrics", session, METRICS).frame
        drift = store.read_table("drift", session, DRIFT).frame
        words = read_commentary(project, session)
        before, there = symbols_before(project, session), came(clean.frame, rejected.frame, session)
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
            missing=None if before is None else sorted(before - there),
            aside=sorted(there - set(clean.frame["symbol"])),
            jump=jump_sentence(project, session, clean.frame),
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
            min_auc=thresholds.model.min_auc,
            cutoff=service.model.cutoff,
            stale=stale_link(project, session),
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
        inputs = report_inputs(project, session, service.champion.model, words)
        looked_back = combined_digest(list(quarter.digests.values()))
        shown = store.write_text("report", session, page, {**inputs, QUARTER: looked_back}, "html")
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
