"""Steps of the group ``prices``: the bulk history, ingest, clean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

import numpy as np

from countersign import checks
from countersign.contract import load_contract
from countersign.errors import ArtifactError, SourceError
from countersign.features import LOOKBACK
from countersign.prices import ingest
from countersign.prices.clean import BEFORE_COLUMNS, Before, Cleaned, clean_bars, doubtful_symbols
from countersign.prices.quarantine import Release, releases
from countersign.prices.restatements import comparable, logged, restated_values
from countersign.prices.rules import BEHIND, large_returns
from countersign.prices.schema import arrived_in
from countersign.project import Project
from countersign.quality import Quality, load_quality
from countersign.steps.made import Made, Numbers, again
from countersign.steps.schema import agreed, agreed_on
from countersign.storage.codec import combined_digest
from countersign.tables import PRICES_CLEAN, PRICES_RAW, PRICES_REJECTED, RESTATEMENTS, conform, empty_table

if TYPE_CHECKING:
    import pandas as pd

    from countersign.storage.artifacts import ArtifactStore, Stored, TableFormat

HISTORY: Final = "history/prices"
"""All sessions before the first daily one, Parquet."""
HISTORY_REJECTED: Final = "history/rejected"
HISTORY_RESTATEMENTS: Final = "history/restatements"
"""What a history that was loaded again says otherwise than the one before, Parquet."""
RECENT_SESSIONS: Final = 2 * LOOKBACK + 2
"""Sessions of the history that daily sessions read: features look back a quarter, drift at a quarter of features."""


def recent_history(project: Project) -> str:
    """The artifact with the last ``RECENT_SESSIONS`` of it: all that daily sessions read of the history, whatever its
    length. Named by the first daily session, so that one which was moved does not leave a gap unnoticed.
    """
    return f"history/before_{project.first_session}"


def load_history(project: Project, now: datetime) -> Made:
    """``price_history``: every session before the first daily one, through the cleaning that daily sessions get."""
    config, quality = project.config, load_quality(project.home)
    first, last = config.history.start.isoformat(), project.calendar.at(project.first_session, -1)
    project.calendar.require_closed(last, now)
    require_basis(project, with_history=False)
    raw, contract, silent = read_bars(project, "price_history", first, last, now)
    cleaned, verdicts = clean_history(
        project, "price_history", raw, quality, first, last, f"Correct {project.source.uri}, then run it again"
    )
    days = cleaned.bars["date"].to_numpy().astype("datetime64[D]")
    source = {
        "source": project.source.uri,
        "adjustment": config.source.adjustment,
        "contract": contract,
        "quality": quality.sha256,
    }
    restated = _keep_restated_history(project, cleaned, quality)
    stored = project.store.write_table(HISTORY, None, cleaned.bars, PRICES_CLEAN, source, form="parquet")
    recent = cleaned.bars[days >= np.datetime64(project.calendar.lookback(last, RECENT_SESSIONS)[0])]
    # Its inputs are not the history: a change of years ago leaves it, and the sessions that read it, as they are.
    project.store.write_table(recent_history(project), None, recent, PRICES_CLEAN, source, form="parquet")
    project.store.write_table(HISTORY_REJECTED, None, cleaned.rejected, PRICES_REJECTED, source, form="json")
    numbers: Numbers = {
        "rows": len(cleaned.bars),
        "rows_in": len(raw),
        "rejected_rows": len(cleaned.rejected),
        "symbols": int(cleaned.bars["symbol"].nunique()),
        "sessions": len(np.unique(days)),
        "first_session": str(days.min()),
        "last_session": str(days.max()),
        "source": project.source.uri,
        "contract": contract,
        "restated": restated.numbers["restated"],
        **({"silent_symbols": ", ".join(silent)} if silent else {}),
        **{f"rule_{name}": found.count for name, found in cleaned.findings.items() if found.count},
    }
    # A check for each rule would stay yellow for good: what is rare and true stays in the history.
    return Made(None, stored, (*verdicts[:2], restated), numbers)


def require_answers(project: Project, reply: pd.DataFrame, quality: Quality) -> tuple[str, ...]:
    """Symbols of which the source said nothing, fewer than would refuse the session: see ``ingest.require_answers``."""
    silent = arrived_in(reply).silent
    limit = quality.symbols_complete.max_share
    ingest.require_answers(silent, project.config.symbols or (), limit, project.source.uri)
    return silent


def read_bars(
    project: Project, what: str, first: str, last: str, now: datetime
) -> tuple[pd.DataFrame, str, tuple[str, ...]]:
    """``PRICES_RAW`` of all sessions ``first`` … ``last`` of ``what``, from one reply that was checked; the digest of
    the contract that it was read by; and the symbols of which the source said nothing.
    """
    config, dates, uri, quality = project.config, project.calendar.dates, project.source.uri, load_quality(project.home)
    reply, schema = agreed(project, what, first, last)
    latest, silent = arrived_in(reply).newest, require_answers(project, reply, quality)
    require_adjusted(project, reply)
    ingest.require_known(config.symbols, project.source.symbols(), uri)
    reply = ingest.of_symbols(reply, config.symbols)
    if reply.empty:
        raise SourceError(
            f"{uri}: expected bars of {first} … {last}, found none. Set history.start and "
            "first_session in config/pipeline.yaml to dates that the source has"
        )
    off = quality.off_calendar
    checks.require(
        what,
        f"Correct {uri}, then run it again",
        checks.dates(reply, newest_session(project, now), latest),
        checks.off_calendar(reply, dates, off.max_share, off.min_rows),
    )
    return ingest.with_previous(reply, dates), str(schema.numbers["contract"]), silent


def clean_history(
    project: Project, what: str, raw: pd.DataFrame, quality: Quality, first: str, last: str, remedy: str
) -> tuple[Cleaned, tuple[checks.CheckResult, ...]]:
    """``raw``, bars of many sessions (``first`` … ``last``), through every rule; and the verdicts on them."""
    calendar = project.calendar
    cleaned = clean_bars(raw, calendar.dates, quality, released=released_in(project))
    days = cleaned.bars["date"].to_numpy().astype("datetime64[D]")
    expected = calendar.between(str(days.min()) if len(days) else first, last)
    missing = sorted(set(expected) - set(np.unique(days).astype(str)))
    verdicts = checks.require(
        what,
        remedy,
        rows_kept(cleaned, quality),
        checks.history_complete(missing, len(expected), quality.history_complete.max_share),
        *rule_checks(project, cleaned, quality, len(raw)),
    )
    return cleaned, verdicts


def newest_session(project: Project, now: datetime) -> str:
    """The newest session of which the source may have bars: one that has closed, or the last of an archive."""
    return max(str(project.calendar.last_closed(now)), project.last_session or "")


def rows_kept(cleaned: Cleaned, quality: Quality) -> checks.CheckResult:
    """The verdict on how many rows were set aside."""
    share = quality.rejected_share
    return checks.rejected_share(len(cleaned.bars), cleaned.rejected, share.max_share, share.min_rows)


def rule_checks(project: Project, cleaned: Cleaned, quality: Quality, rows: int) -> tuple[checks.CheckResult, ...]:
    """A verdict on each rule that bars are judged by."""
    symbols = int(cleaned.bars["symbol"].nunique())
    found = {
        name: checks.rule_kept(
            name, quality.rule(name), finding, *((symbols, "symbols") if name == "missing_sessions" else (rows,))
        )
        for name, finding in cleaned.findings.items()
    }
    if not {column.name for column in load_contract(project.home).measured_columns} & {"open", "high", "low"}:
        found["ranges_known"] = checks.closes_agreed(found["ranges_known"])
    return tuple(found.values())


def ingest_sessions(project: Project, sessions: Sequence[str], now: datetime) -> Iterator[Made]:
    """``prices_raw``: what the source says of each session, from one reply. Raises before a session has closed."""
    calendar, uri, quality = project.calendar, project.source.uri, load_quality(project.home)
    for session in sessions:
        calendar.require_closed(session, now)
    require_basis(project, with_history=True)
    reply, schema = agreed(project, f"the reply of {uri}", calendar.at(sessions[0], -1), sessions[-1])
    contract = str(schema.numbers["contract"])
    inputs = {"source": uri, "adjustment": project.config.source.adjustment, "contract": contract}
    remedy = f"Correct {uri}, then run the session again"
    (dated,) = checks.require(
        f"the reply of {uri}", remedy, checks.dates(reply, newest_session(project, now), arrived_in(reply).newest)
    )
    silent = require_answers(project, reply, quality)
    # A symbol without bars here may be unlisted; asking the source whether it knows it at all costs a pass over it.
    absent = sorted(set(project.config.symbols or ()) - set(reply["symbol"]))
    if absent:
        ingest.require_known(absent, project.source.symbols(), uri)
    reply = reply.sort_values("date", kind="stable")
    days = reply["date"].to_numpy()
    off = quality.off_calendar
    for session in sessions:
        # The columns of the last session were agreed on above; a file of an earlier one may lack some of these.
        columns = schema if session == sessions[-1] else agreed_on(project, f"prices_raw of {session}", session, reply)
        # A session needs its own rows and those of the session before: a range is not searched anew for each.
        first, end = np.searchsorted(days, calendar.at(session, -1)), np.searchsorted(days, session, side="right")
        near = reply.iloc[first:end]
        raw = ingest.session_bars(near, session, calendar.dates, project.config.symbols, uri)
        before = ingest.of_symbols(near[near["date"] == calendar.at(session, -1)], project.config.symbols)
        limit = quality.symbols_complete.max_share
        ingest.require_symbols(set(raw["symbol"]), set(before["symbol"]), session, limit, uri)
        require_adjusted(project, raw)
        verdicts = checks.require(
            f"prices_raw of {session}",
            remedy,
            columns,
            dated,
            checks.off_calendar(raw, calendar.dates, off.max_share, off.min_rows),
            checks.bars_arrived(raw, session, calendar.at(session, -1), silent),
            checks.previous_close_known(raw),
        )
        again = _keep_restated(project, session, raw, quality)
        stored = project.store.write_table("prices_raw", session, raw, PRICES_RAW, inputs)
        numbers: Numbers = {
            "rows": len(raw),
            "symbols": int(raw["symbol"].nunique()),
            "source": uri,
            "contract": contract,
            "restated": again.numbers["restated"],
        }
        yield Made(session, stored, (*verdicts, again), numbers)


def _keep_restated(project: Project, session: str, raw: pd.DataFrame, quality: Quality) -> checks.CheckResult:
    """Where ``raw`` says something else than what is stored, keep that and log what differs, before it is replaced."""
    store, rule, found = project.store, quality.restated, empty_table(RESTATEMENTS)
    if store.has("prices_raw", session):
        try:
            old = store.read_table("prices_raw", session, PRICES_RAW)
        except ArtifactError:
            # Making it again is the remedy, so a damaged one must not stand in the way.
            return checks.restated(found, rule, [], "what was stored before is damaged")
        found = restated_values(old.frame, conform(raw, PRICES_RAW), old.stored.sha256)
        _log_restated(store, old.stored, "restatements", found, store.form)
    later = [one for one in made_from(project, session) if one != session] if len(found) else []
    return checks.restated(found, rule, later)


def _keep_restated_history(project: Project, cleaned: Cleaned, quality: Quality) -> checks.CheckResult:
    """The same of a history that is loaded again. Its bars are compared as they are after cleaning."""
    store, rule, found = project.store, quality.restated, empty_table(RESTATEMENTS)
    if store.has(HISTORY, None, "parquet"):
        try:
            old = store.read_table(HISTORY, None, PRICES_CLEAN, form="parquet")
            rejected = store.read_table(HISTORY_REJECTED, None, PRICES_REJECTED, form="json").frame
        except ArtifactError:
            return checks.restated(found, rule, [], "what was stored before is damaged")
        new = conform(cleaned.bars, PRICES_CLEAN)
        sides = comparable(old.frame, new, (rejected, cleaned.rejected), project.config.symbols)
        found = restated_values(*sides, old.stored.sha256)
        _log_restated(store, old.stored, HISTORY_RESTATEMENTS, found, "parquet")
    return checks.restated(found, rule, made_from(project, str(found["date"].max())[:10]) if len(found) else [])


def _log_restated(store: ArtifactStore, old: Stored, log: str, found: pd.DataFrame, form: TableFormat) -> None:
    """Keep the version ``old`` where something was ``found`` to differ from it, and put that in the table ``log``."""
    if len(found):
        store.keep(old.name, old.partition, old.sha256, form)
    before = found.iloc[:0]
    if store.has(log, old.partition, form):
        before = store.read_table(log, old.partition, RESTATEMENTS, form=form).frame
    after = logged(before, found, old.sha256)
    # Nothing differs, and the log is shorter by what a run that broke off had put there: that never came to be.
    if len(found) or len(after) != len(before):
        store.write_table(log, old.partition, after, RESTATEMENTS, {old.name: old.sha256}, form)


def made_from(project: Project, session: str) -> list[str]:
    """Stored sessions whose features were made from bars of ``session``: itself, and those that look back so far."""
    last = project.calendar.after(session, LOOKBACK - 1) or str(project.calendar.dates[-1])
    return [s for s in project.store.partitions() if session <= s <= last and project.store.has("features", s)]


def require_adjusted(project: Project, reply: pd.DataFrame) -> None:
    """Raise ``SourceError`` where adjusted closes are declared and none came: each split would be taken for a crash."""
    if project.config.source.adjustment == "both" and len(reply) and reply["adj_close"].isna().all():
        raise SourceError(
            f"{project.source.uri}: source.adjustment is both: expected adjusted closes beside the quoted ones, "
            f"found none in {len(reply)} rows. Have the source deliver them, or declare raw, splits or full"
        )


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
    """``prices_clean`` and ``prices_rejected``: typed, ordered bars with one return each; others with their reasons."""
    store, calendar, quality = project.store, project.calendar, load_quality(project.home)
    off, journal = quality.off_calendar, releases(project.journal.read())
    past = Past(project, sessions[0])
    for session in sessions:
        raw = store.read_table("prices_raw", session, PRICES_RAW)
        checks.require(
            f"prices_raw of {session}",
            again("prices_raw", session),
            checks.bars_arrived(raw.frame, session, calendar.at(session, -1)),
            checks.off_calendar(raw.frame, calendar.dates, off.max_share, off.min_rows),
        )
        released = frozenset(release.bar for release in journal if release.session == session)
        cleaned = clean_bars(raw.frame, calendar.dates, quality, past.before(session), released)
        symbols = came(cleaned.bars, cleaned.rejected, session)
        verdicts = checks.require(
            f"prices_clean of {session}",
            f"See countersign quarantine list {session}; correct {project.source.uri}, or release what is right. Then "
            "run the session again",
            rows_kept(cleaned, quality),
            checks.symbols_complete(symbols, past.symbols(session), quality.symbols_complete.max_share),
            checks.bars_moved(cleaned.bars, past.last(session), quality.bars_moved.max_share),
            *rule_checks(project, cleaned, quality, len(raw.frame)),
        )
        inputs = clean_inputs(raw.stored.sha256, quality, session, journal)
        rejected = store.write_table("prices_rejected", session, cleaned.rejected, PRICES_REJECTED, inputs)
        stored = store.write_table(
            "prices_clean", session, cleaned.bars, PRICES_CLEAN, inputs | {"prices_rejected": rejected.sha256}
        )
        numbers: Numbers = {
            "rows": len(cleaned.bars),
            "rows_in": len(raw.frame),
            "rejected_rows": len(cleaned.rejected),
            "released_rows": len(cleaned.released),
            "rejected": rejected.location,
        }
        yield Made(session, stored, verdicts, numbers)
        past.add(session, cleaned)


def came(bars: pd.DataFrame, rejected: pd.DataFrame, session: str) -> set[str]:
    """Symbols with a row of ``session``, in quarantine or not: of what is set aside it is another rule that tells."""
    own = (rejected["date"].astype(str).str[:10] == session) & (rejected["rule"] != "symbol")
    return {*bars["symbol"], *rejected["symbol"][own]}


def jump_sentence(project: Project, session: str, bars: pd.DataFrame) -> str | None:
    """What the check ``jump`` of ``prices_clean`` says of ``session``, whose ``bars`` these are; None where it holds.

    It is no artifact's, so it is judged anew, and only where a return is large: that reads the sessions before.
    """
    quality = load_quality(project.home)
    if not large_returns(bars["log_return"].to_numpy(dtype=float), quality.jump).any():
        return None
    raw = project.store.read_table("prices_raw", session, PRICES_RAW).frame
    before, released = Past(project, session).before(session), released_in(project, session)
    found = clean_bars(raw, project.calendar.dates, quality, before, released).findings["jump"]
    check = checks.rule_kept("jump", quality.jump, found, len(raw))
    return check.sentence if check.status == "fail" else None


def released_in(project: Project, session: str | None = None) -> frozenset[str]:
    """Digests of the rows that people let through: of ``session``, or of all."""
    return frozenset(one.bar for one in releases(project.journal.read()) if session in (None, one.session))


def clean_inputs(raw: str, quality: Quality, session: str, journal: Sequence[Release]) -> dict[str, str]:
    """What bars of ``session`` are made from: the raw ones, whose digest is ``raw``, the rules, and people's releases.

    Not the bars before, by which some rules judge: features read the same sessions, so that what makes a verdict old
    makes the features old, and the session is run again as a whole.
    """
    released = [release.bar for release in journal if release.session == session]
    inputs = {"prices_raw": raw, "quality": quality.sha256}
    return inputs | ({"releases": combined_digest(sorted(set(released)))} if released else {})


class Past:
    """What is stored of the sessions before, and what is cleaned on the way through a range."""

    def __init__(self, project: Project, session: str) -> None:
        self._project = project
        self._bars: dict[str, pd.DataFrame] = {}
        self._rejected: dict[str, pd.DataFrame] = {}
        store, first = project.store, project.first_session
        *needed, _ = project.calendar.lookback(session, BEHIND + 1)
        if needed[0] < first and store.has(recent_history(project), None, "parquet"):
            recent = store.read_table(recent_history(project), None, PRICES_CLEAN, BEFORE_COLUMNS, form="parquet").frame
            self._bars |= {str(day)[:10]: bars for day, bars in recent.groupby("date") if str(day)[:10] >= needed[0]}
        self._bars |= {
            s: store.read_table("prices_clean", s, PRICES_CLEAN, BEFORE_COLUMNS).frame
            for s in needed
            if s >= first and store.has("prices_clean", s)
        }
        if needed[-1] in self._bars:
            self._rejected[needed[-1]] = rejected_of(project, needed[-1])

    def before(self, session: str) -> Before:
        """What ``session`` is judged by."""
        import pandas as pd

        *needed, _ = self._project.calendar.lookback(session, BEHIND + 1)
        found = [self._bars[s] for s in needed if s in self._bars]
        rejected = self._rejected.get(needed[-1])
        doubtful = frozenset[str]() if rejected is None else doubtful_symbols(rejected)
        return Before(pd.concat(found) if found else None, doubtful)

    def last(self, session: str) -> pd.DataFrame | None:
        """The bars of the session before (``BEFORE_COLUMNS``), or None where it is not in the store."""
        return self._bars.get(self._project.calendar.at(session, -1))

    def symbols(self, session: str) -> set[str] | None:
        """Symbols that came on the session before, or None where that is not in the store."""
        bars, before = self.last(session), self._project.calendar.at(session, -1)
        return None if bars is None else came(bars, self._rejected[before], before)

    def add(self, session: str, cleaned: Cleaned) -> None:
        self._bars[session] = cleaned.bars[list(BEFORE_COLUMNS)]
        self._rejected[session] = cleaned.rejected


def rejected_of(project: Project, session: str) -> pd.DataFrame:
    """What was set aside of ``session`` (table ``PRICES_REJECTED``), of the history as well."""
    store = project.store
    if session >= project.first_session:
        return store.read_table("prices_rejected", session, PRICES_REJECTED).frame
    if not store.has(HISTORY_REJECTED, None, "json"):
        return empty_table(PRICES_REJECTED)
    rejected = store.read_table(HISTORY_REJECTED, None, PRICES_REJECTED, form="json").frame
    return rejected[rejected["date"] == session]


def symbols_before(project: Project, session: str) -> set[str] | None:
    """Symbols that came on the session before, or None where that is not in the store."""
    store, before = project.store, project.calendar.at(session, -1)
    if before >= project.first_session:
        if not store.has("prices_clean", before):
            return None
        bars = store.read_table("prices_clean", before, PRICES_CLEAN, ("symbol",)).frame
        return came(bars, rejected_of(project, before), before)
    if not store.has(recent_history(project), None, "parquet"):
        return None
    recent = store.read_table(recent_history(project), None, PRICES_CLEAN, ("date", "symbol"), form="parquet").frame
    return came(recent[recent["date"].astype(str) == before], rejected_of(project, before), before)
