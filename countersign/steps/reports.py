"""Steps of the group ``reports``: the report, and whether a session is complete."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from countersign import checks
from countersign.errors import ArtifactError, QualityError
from countersign.model.registry import load_champion
from countersign.model.targets import HORIZON, observed_targets
from countersign.prices.panel import PANEL_COLUMNS, Panel
from countersign.project import Project
from countersign.report import Matured, ReportFacts, report_text
from countersign.steps.made import Made, Numbers, again
from countersign.steps.prices import symbols_before
from countersign.steps.scoring import bars_digest
from countersign.storage.codec import combined_digest
from countersign.tables import FEATURE_TABLE, PRICES_CLEAN, PRICES_REJECTED, SCORES


def report_sessions(project: Project, sessions: Sequence[str]) -> Iterator[Made]:
    """``report``: the plain text that a person reads in the morning."""
    store, calendar = project.store, project.calendar
    service = load_champion(store, project.journal)
    for session in sessions:
        scores = store.read_table("scores", session, SCORES)
        checks.require(
            f"scores of {session}", again("scores", session), checks.scores_in_range(scores.frame, len(scores.frame))
        )
        clean = store.read_table("prices_clean", session, PRICES_CLEAN, ("date", "symbol"))
        rejected = store.read_table("prices_rejected", session, PRICES_REJECTED)
        matured, matured_inputs = _matured(project, session)
        words = _commentary(project, session)
        before = symbols_before(project, session)
        text = report_text(
            ReportFacts(
                session=session,
                calendar=calendar.code,
                horizon_end=calendar.at(session, HORIZON),
                source=project.source.uri,
                clean=clean.frame,
                rejected=rejected.frame,
                missing=None if before is None else sorted(set(before) - set(clean.frame["symbol"])),
                scores=scores.frame,
                matured=matured,
                model_sha256=scores.stored.inputs["model"],
                champion_sha256=service.champion.sha256,
                decision=service.champion.decision,
                training=service.document["training"],
                evaluation=service.document["evaluation"],
                cutoff=service.model.cutoff,
                commentary=words,
            )
        )
        inputs = {
            "prices_clean": clean.stored.sha256,
            "prices_rejected": rejected.stored.sha256,
            "scores": scores.stored.sha256,
            "model": service.champion.sha256,
            **matured_inputs,
        }
        verdict = checks.report_complete(text, scores.frame["symbol"])
        stored = store.write_text("report", session, text, inputs)
        numbers: Numbers = {
            "lines": stored.rows,
            "commentary": "none" if words is None else str(project.commentary(session)),
            "matured_rows": 0 if matured is None else len(matured.table),
        }
        yield Made(session, stored, (verdict,), numbers, f"```text\n{text}```")


def _commentary(project: Project, session: str) -> str | None:
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


def _matured(project: Project, session: str) -> tuple[Matured | None, dict[str, str]]:
    """What came of the scores whose horizon ended with ``session``; None before there are any."""
    scored = project.calendar.at(session, -HORIZON)
    if scored < project.first_session or not project.store.has("scores", scored):
        return None, {}
    scores = project.store.read_table("scores", scored, SCORES)
    days = project.calendar.between(scored, session)
    tables = [project.store.read_table("prices_clean", day, PRICES_CLEAN, PANEL_COLUMNS) for day in days]
    panel = Panel.from_bars(pd.concat([t.frame for t in tables]), np.array(days, dtype="datetime64[D]"))
    targets = observed_targets(panel.log_return, panel.variance)
    came = pd.DataFrame(
        {"symbol": panel.symbols, "came_volatility": np.sqrt(targets.variance[0]), "bad_week": targets.bad_week[0]}
    )
    table = scores.frame.merge(came, on="symbol", how="left")
    inputs = {
        "matured_scores": scores.stored.sha256,
        "matured_bars": combined_digest([t.stored.sha256 for t in tables]),
    }
    return Matured(scored, table), inputs


def session_is_done(project: Project, session: str) -> bool:
    """Whether the whole chain of ``session`` is there, whole, and made from one another: nothing is left to do."""
    store = project.store
    try:
        raw = store.digest("prices_raw", session)
        rejected = store.digest("prices_rejected", session)
        clean = store.read_table("prices_clean", session, PRICES_CLEAN, ("date",)).stored
        features = store.read_table("features", session, FEATURE_TABLE, ("date",)).stored
        scores = store.read_table("scores", session, SCORES, ("date",)).stored
        _, report = store.read_text("report", session)
        bars = bars_digest(project, session)
    except ArtifactError:
        return False
    return (
        (clean.inputs["prices_raw"], clean.inputs["prices_rejected"]) == (raw, rejected)
        and features.inputs["prices_clean"] == bars
        and scores.inputs["features"] == features.sha256
        and scores.sha256.startswith(report.inputs["scores"])
    )
