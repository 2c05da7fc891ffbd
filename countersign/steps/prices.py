"""Steps of the group ``prices``: the bulk history, ingest, clean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

import numpy as np

from countersign import checks
from countersign.errors import ArtifactError, SourceError
from countersign.features import LOOKBACK
from countersign.prices import ingest
from countersign.prices.clean import clean_bars
from countersign.project import Project
from countersign.steps.made import Made, Numbers, again
from countersign.steps.schema import agreed
from countersign.tables import PRICES_CLEAN, PRICES_RAW, PRICES_REJECTED

HISTORY: Final = "history/prices"
"""All sessions before the first daily one, Parquet."""
HISTORY_REJECTED: Final = "history/rejected"
RECENT_SESSIONS: Final = 2 * LOOKBACK + 2
"""Sessions of the history that daily sessions read: features look back a quarter, drift at a quarter of features."""


def recent_history(project: Project) -> str:
    """The artifact with the last ``RECENT_SESSIONS`` of it: all that daily sessions read of the history, whatever its
    length. Named by the first daily session, so that one which was moved does not leave a gap unnoticed.
    """
    return f"history/before_{project.first_session}"


def load_history(project: Project, now: datetime) -> Made:
    """``price_history``: every session before the first daily one, through the cleaning that daily sessions get."""
    config, dates = project.config, project.calendar.dates
    first, last = config.history.start.isoformat(), project.calendar.at(project.first_session, -1)
    project.calendar.require_closed(last, now)
    require_basis(project, with_history=False)
    reply, _ = agreed(project, "price_history", first, last)
    ingest.require_known(config.symbols, project.source.symbols(), project.source.uri)
    reply = ingest.of_symbols(reply, config.symbols)
    if reply.empty:
        raise SourceError(
            f"{project.source.uri}: expected bars of {first} … {last}, found none. Set history.start and "
            "first_session in config/pipeline.yaml to dates that the source has"
        )
    cleaned = clean_bars(ingest.with_previous(reply, dates), dates)
    days = cleaned.bars["date"].to_numpy().astype("datetime64[D]")
    expected = project.calendar.between(str(days.min()) if len(days) else first, last)
    missing = sorted(set(expected) - set(np.unique(days).astype(str)))
    verdicts = checks.require(
        "price_history",
        f"Correct {project.source.uri}, then run it again",
        checks.rejected_share(len(cleaned.bars), cleaned.rejected, config.quality.max_rejected_share),
        checks.history_complete(missing, len(expected), config.quality.max_rejected_share),
    )
    source = {"source": project.source.uri, "adjustment": config.source.adjustment}
    stored = project.store.write_table(HISTORY, None, cleaned.bars, PRICES_CLEAN, source, form="parquet")
    recent = cleaned.bars[days >= np.datetime64(project.calendar.lookback(last, RECENT_SESSIONS)[0])]
    inputs = {HISTORY: stored.sha256, "adjustment": config.source.adjustment}
    project.store.write_table(recent_history(project), None, recent, PRICES_CLEAN, inputs, form="parquet")
    project.store.write_table(HISTORY_REJECTED, None, cleaned.rejected, PRICES_REJECTED, source, form="json")
    numbers: Numbers = {
        "rows": len(cleaned.bars),
        "rows_in": len(reply),
        "rejected_rows": len(cleaned.rejected),
        "symbols": int(cleaned.bars["symbol"].nunique()),
        "sessions": len(np.unique(days)),
        "first_session": str(days.min()),
        "last_session": str(days.max()),
        "source": project.source.uri,
    }
    return Made(None, stored, verdicts, numbers)


def ingest_sessions(project: Project, sessions: Sequence[str], now: datetime) -> Iterator[Made]:
    """``prices_raw``: what the source says of each session, from one reply. Raises before a session has closed."""
    calendar, uri = project.calendar, project.source.uri
    for session in sessions:
        calendar.require_closed(session, now)
    require_basis(project, with_history=True)
    inputs = {"source": uri, "adjustment": project.config.source.adjustment}
    reply, schema = agreed(project, f"the reply of {uri}", calendar.at(sessions[0], -1), sessions[-1])
    # A symbol without bars here may be unlisted; asking the source whether it knows it at all costs a pass over it.
    absent = sorted(set(project.config.symbols or ()) - set(reply["symbol"]))
    if absent:
        ingest.require_known(absent, project.source.symbols(), uri)
    reply = reply.sort_values("date", kind="stable")
    days = reply["date"].to_numpy()
    for session in sessions:
        # A session needs its own rows and those of the session before: a range is not searched anew for each.
        first, end = np.searchsorted(days, calendar.at(session, -1)), np.searchsorted(days, session, side="right")
        near = reply.iloc[first:end]
        raw = ingest.session_bars(near, session, calendar.dates, project.config.symbols, uri)
        verdicts = checks.require(
            f"prices_raw of {session}",
            f"Correct {uri}, then run the session again",
            schema,
            checks.bars_arrived(raw, session, calendar.at(session, -1)),
            checks.previous_close_known(raw),
        )
        stored = project.store.write_table("prices_raw", session, raw, PRICES_RAW, inputs)
        numbers: Numbers = {"rows": len(raw), "symbols": int(raw["symbol"].nunique()), "source": uri}
        yield Made(session, stored, verdicts, numbers)


def require_basis(project: Project, *, with_history: bool) -> None:
    """Raise ``SourceError`` where the newest stored session has other adjustments than the source now declares.

    Returns across two bases would be false, and nothing in the prices themselves would show it. The history stands for
    its sessions where no other is stored and ``with_history``. What was stored before bases were recorded says nothing.
    """
    declared = project.config.source.adjustment
    for session in (*reversed(project.store.partitions()), *([None] if with_history else [])):
        try:
            if session is None:
                stored = project.store.read_table(recent_history(project), None, PRICES_CLEAN, (), "parquet").stored
            else:
                stored = project.store.read_table("prices_raw", session, PRICES_RAW, ()).stored
        except ArtifactError:
            # Missing or damaged, which is about to be put right, perhaps: the one before it says the same.
            continue
        if (recorded := stored.inputs.get("adjustment", declared)) != declared:
            what = f"session {session}" if session else "the history"
            raise SourceError(
                f"source.adjustment: expected {recorded}, which {what} is stored with, found {declared}. Write "
                f"{recorded} in config/pipeline.yaml; or, where the source has changed, begin a new project folder: "
                "prices of two bases do not make one history"
            )
        return


def clean_sessions(project: Project, sessions: Sequence[str]) -> Iterator[Made]:
    """``prices_clean`` and ``prices_rejected``: typed, ordered bars with one return each; refused rows with reasons."""
    store, quality = project.store, project.config.quality
    before = symbols_before(project, sessions[0])
    for session in sessions:
        raw = store.read_table("prices_raw", session, PRICES_RAW)
        checks.require(
            f"prices_raw of {session}",
            again("prices_raw", session),
            checks.bars_arrived(raw.frame, session, project.calendar.at(session, -1)),
        )
        cleaned = clean_bars(raw.frame, project.calendar.dates)
        symbols = cleaned.bars["symbol"].tolist()
        verdicts = checks.require(
            f"prices_clean of {session}",
            f"Correct {project.source.uri}, then run the session again",
            checks.rejected_share(len(cleaned.bars), cleaned.rejected, quality.max_rejected_share),
            checks.symbols_complete(symbols, before, quality.max_missing_share),
        )
        inputs = {"prices_raw": raw.stored.sha256}
        rejected = store.write_table("prices_rejected", session, cleaned.rejected, PRICES_REJECTED, inputs)
        stored = store.write_table(
            "prices_clean", session, cleaned.bars, PRICES_CLEAN, inputs | {"prices_rejected": rejected.sha256}
        )
        numbers: Numbers = {
            "rows": len(cleaned.bars),
            "rows_in": len(raw.frame),
            "rejected_rows": len(cleaned.rejected),
            "rejected": rejected.location,
        }
        yield Made(session, stored, verdicts, numbers)
        before = symbols


def symbols_before(project: Project, session: str) -> list[str] | None:
    """Symbols that had a bar on the session before, or None where that is not in the store."""
    store, before = project.store, project.calendar.at(session, -1)
    if before >= project.first_session:
        if not store.has("prices_clean", before):
            return None
        return store.read_table("prices_clean", before, PRICES_CLEAN, ("symbol",)).frame["symbol"].tolist()
    if not store.has(recent_history(project), None, "parquet"):
        return None
    recent = store.read_table(recent_history(project), None, PRICES_CLEAN, ("date", "symbol"), form="parquet").frame
    return recent["symbol"][recent["date"].astype(str) == before].tolist()
