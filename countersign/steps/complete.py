"""Complete: whether a stored session is whole, and made from what is there now.

Belongs here: comparing what an artifact says it was made from with what it would be made from. Does not belong here:
making it (the other steps). No data frame is made, so that the command line can ask without loading pandas.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from countersign.errors import ArtifactError, QualityError
from countersign.features import LOOKBACK
from countersign.prices.quarantine import releases
from countersign.project import Project
from countersign.quality import load_quality
from countersign.steps.monitoring import outcome_inputs
from countersign.steps.prices import HISTORY_RESTATEMENTS, clean_inputs, made_from
from countersign.steps.scoring import bars_digest
from countersign.storage.artifacts import Stored
from countersign.thresholds import load_thresholds

QUARTER: Final = "quarter"
"""The input of a page that the text does not have. What it digests, each session of the quarter answers for itself."""


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


def report_inputs(project: Project, session: str, model: str, commentary: str | None) -> dict[str, str]:
    """The digest of everything that a report is made from, as it is now."""
    names = ["prices_clean", "prices_rejected", "scores", "outcomes", "drift", "metrics"]
    names += ["restatements"] if project.store.has("restatements", session) else []
    found = {name: project.store.digest(name, session) for name in names}
    found["thresholds"] = load_thresholds(project.home)[1]
    if commentary is not None:
        found["commentary"] = hashlib.sha256(commentary.encode()).hexdigest()
    return {**found, "model": model}


def stale_link(project: Project, session: str) -> str | None:
    """Which link of the chain from bars to scores was not made from what is there now, in words; None for a whole one.

    Raises ``ArtifactError`` where a link is missing or damaged.
    """
    if _bars_stale(project, session):
        return "prices_clean was made from other raw bars, rules or releases than are there now."
    features = _stored(project, "features", session)
    scores = _stored(project, "scores", session)
    if features.inputs["prices_clean"] != bars_digest(project, session):
        return "features were made from other bars than are there now."
    if scores.inputs["features"] != features.sha256:
        return "scores were made from other features than are there now."
    if dict(_stored(project, "outcomes", session).inputs) != outcome_inputs(project, session):
        return "outcomes were made from other bars or scores than are there now."
    return None


def missing_before(project: Project, session: str) -> list[str]:
    """Daily sessions before ``session`` that its features look back at and that have no ``prices_clean``."""
    *before, _ = project.calendar.lookback(session, LOOKBACK)
    daily = [s for s in before if s >= project.first_session and s not in project.missing_sessions]
    return [s for s in daily if not project.store.has("prices_clean", s)]


def outdated_sessions(project: Project) -> list[str]:
    """Stored sessions that are to be run again: a link of their chain was made from what has been replaced since.

    Looked at are the newest, and those whose features read a session, or a history, that the source restated or people
    released rows of: nothing else changes an older one, but for the rules, which change all.
    """
    there = [session for session in project.store.partitions() if project.store.has("report", session, "txt")]
    changed = {session for session in there if project.store.has("restatements", session)}
    changed |= {one.session for one in releases(project.journal.read())}
    if project.store.has(HISTORY_RESTATEMENTS, None, "parquet"):
        changed.add(project.calendar.at(project.first_session, -1))
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
            stale = stale_link(project, session)
        except ArtifactError:
            stale = "damaged"
        if stale:
            found.append(session)
    return found


def _bars_stale(project: Project, session: str) -> bool:
    """Raises ``ArtifactError`` where bars, or what they were made from, are missing or damaged."""
    store = project.store
    clean = _stored(project, "prices_clean", session)
    inputs = clean_inputs(
        store.digest("prices_raw", session), load_quality(project.home), session, releases(project.journal.read())
    )
    return dict(clean.inputs) != inputs | {"prices_rejected": store.digest("prices_rejected", session)}


def session_is_done(project: Project, session: str) -> bool:
    """Whether the whole chain of ``session`` is there, whole, and made from one another: nothing is left to do."""
    try:
        stale = stale_link(project, session)
        _, report = project.store.read_text("report", session)
        _, page = project.store.read_text("report", session, "html")
        words = read_commentary(project, session)
        # Another model in service does not make a session undone: its scores were said by the one of that day.
        found = report_inputs(project, session, report.inputs["model"], words)
    except (ArtifactError, QualityError):
        return False
    short = {name: digest[:16] for name, digest in found.items()}
    shown = {name: digest for name, digest in page.inputs.items() if name != QUARTER}
    return stale is None and short == dict(report.inputs) == shown


def _stored(project: Project, name: str, session: str) -> Stored:
    return project.store.read_columns(name, session, ("date",))[0]
