"""Steps of the quarantine: what was set aside, and rows that a person lets through.

Belongs here: finding the rows, putting a release on record. Does not belong here: the rules (``prices.rules``),
applying a release (``prices.clean``, as the session is run again).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from countersign.errors import ArtifactError, QualityError
from countersign.gate.signers import PRINCIPAL
from countersign.gate.statement import is_text
from countersign.prices.clean import Cleaned, clean_bars
from countersign.prices.quarantine import EVENT, Release, releases
from countersign.prices.sources.cells import normal_symbol
from countersign.project import Project
from countersign.quality import RELEASABLE, load_quality
from countersign.steps.made import again
from countersign.steps.prices import HISTORY_REJECTED, Past, clean_inputs, released_in
from countersign.storage.journal import Event
from countersign.tables import PRICES_RAW, PRICES_REJECTED


@dataclass(frozen=True)
class Quarantined:
    """One row that was set aside. ``row`` is its number in ``prices_raw``, or in the source's reply for history."""

    session: str
    row: int
    symbol: str
    rule: str
    reason: str
    sha256: str

    @property
    def releasable(self) -> bool:
        """Whether a bar could be made of the row."""
        return self.rule in RELEASABLE


def quarantined(project: Project, session: str | None = None) -> list[Quarantined]:
    """Rows of ``session``, or of all sessions and the history, by session.

    Of a session that was refused, which has nothing but ``prices_raw``, they are those for which it was.
    """
    if session is not None:
        found = list(
            _of_history(project, session) if session < project.first_session else _of_session(project, session)
        )
        return sorted(found, key=lambda one: one.row)
    sessions = [s for s in project.store.partitions() if project.store.has("prices_raw", s)]
    return [*_of_history(project), *(one for s in sessions for one in _of_session(project, s))]


def _of_history(project: Project, session: str | None = None) -> Iterator[Quarantined]:
    if not project.store.has(HISTORY_REJECTED, None, "json"):
        return
    table = project.store.read_table(HISTORY_REJECTED, None, PRICES_REJECTED, form="json").frame
    for row in table.sort_values(["date", "row"], kind="stable").to_dict(orient="records"):
        if session in (None, row["date"]):
            yield _quarantined(str(row["date"]), row)


def _of_session(project: Project, session: str) -> Iterator[Quarantined]:
    store = project.store
    raw = store.read_table("prices_raw", session, PRICES_RAW)
    quality, journal = load_quality(project.home), releases(project.journal.read())
    made_from = clean_inputs(raw.stored.sha256, quality, session, journal)
    try:
        rejected = store.read_table("prices_rejected", session, PRICES_REJECTED)
        current = dict(rejected.stored.inputs) == made_from
    except ArtifactError:
        current = False
    table = rejected.frame if current else _cleaned(project, session).rejected
    for row in table.to_dict(orient="records"):
        yield _quarantined(session, row)


def _cleaned(project: Project, session: str) -> Cleaned:
    raw = project.store.read_table("prices_raw", session, PRICES_RAW).frame
    before, released = Past(project, session).before(session), released_in(project, session)
    return clean_bars(raw, project.calendar.dates, load_quality(project.home), before, released)


def _quarantined(session: str, row: dict[Any, Any]) -> Quarantined:
    return Quarantined(session, int(row["row"]), str(row["symbol"]), row["rule"], row["reason"], row["sha256"])


def release(
    project: Project,
    session: str,
    by: str,
    reason: str,
    now: datetime,
    row: int | None = None,
    symbol: str | None = None,
) -> list[Release]:
    """Put on record that ``by`` lets through the row, or the rows of ``symbol``, in whatever form.

    They count once the session is run again. Raises ``QualityError`` where there is no such row, where it is no bar
    whatever one says of it, or where nobody says why.
    """
    if not is_text(reason.strip()) or not reason.strip() or not PRINCIPAL.fullmatch(by.strip()):
        raise QualityError(
            f"expected a reason in printable characters and a name, found {reason[:80]!r} by {by[:80]!r}. Nothing was "
            "released"
        )
    there = quarantined(project, session)
    symbol = None if symbol is None else normal_symbol(symbol)
    chosen = [one for one in there if (one.row == row if row is not None else one.symbol == symbol)]
    wanted = f"row {row}" if row is not None else f"symbol {symbol}"
    if not chosen:
        known = ", ".join(f"row {one.row} ({one.symbol}: {one.rule})" for one in there[:8]) or "none"
        raise QualityError(f"{session}: expected {wanted} in quarantine, found {known}. Nothing was released")
    for one in chosen:
        if not one.releasable:
            raise QualityError(
                f"{session}, row {one.row} ({one.symbol}): expected a row of which a bar can be made, found one that "
                f"broke the rule '{one.rule}' ({one.reason}). Have the source corrected. Nothing was released"
            )
    if sum(one.rule == "conflict" for one in chosen) > 1:
        raise QualityError(
            f"{session}, {wanted}: expected one row, found {len(chosen)} that contradict each other. Name the row "
            f"that is right: {', '.join(f'row {one.row} ({one.reason})' for one in chosen)}. Nothing was released"
        )
    found = [Release(session, one.symbol, one.rule, one.sha256, by.strip(), reason.strip()) for one in chosen]

    def decide(lines: Sequence[dict[str, Any]]) -> list[Event]:
        known = releases(lines)
        for one in found:
            same = [r for r in known if r.session == session and r.symbol == one.symbol]
            if any(r.bar == one.bar for r in same):
                raise QualityError(
                    f"{session}, {one.symbol}: the row was released already. {again('prices_clean', session)}"
                )
            if one.rule == "conflict" and any(r.rule == "conflict" for r in same):
                raise QualityError(
                    f"{session}, {one.symbol}: another of the rows that contradict each other was released, and "
                    "there is one bar a session. Nothing was released"
                )
        return [(EVENT, asdict(one)) for one in found]

    project.journal.extend(decide, now)
    return found


def run_again(project: Project, session: str) -> str:
    """What to type for a release to count."""
    if session < project.first_session:
        return "Load the history again: dagster asset materialize -m definitions --select price_history"
    return again("prices_clean", session)
