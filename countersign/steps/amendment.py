"""Amendment: a person accepts another data contract, once what arrives has been tried on it.

Belongs here: what is refused, writing the contract's file and the journal's line. Does not belong here: reading by the
contract (``steps.schema``), the form of the file (``countersign.contract``).
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from pydantic import ValidationError

from countersign.contract import (
    Contract,
    SchemaMapping,
    Terms,
    UnitFactor,
    contract_path,
    contract_text,
    load_contract,
    schema_hash,
)
from countersign.errors import ArtifactError, ConfigError
from countersign.gate.signers import PRINCIPAL
from countersign.gate.statement import is_text
from countersign.prices import ingest
from countersign.prices.clean import clean_bars
from countersign.prices.schema import MISSING, NEEDED, breaks
from countersign.prices.sources import PriceSource, open_source
from countersign.prices.sources.shapes import plain
from countersign.project import Project
from countersign.quality import load_quality
from countersign.settings import parse_settings
from countersign.steps.prices import recent_history, released_in, require_adjusted, rows_kept
from countersign.steps.schema import Delivery, deliver, delivered
from countersign.storage.files import locked, reached, write_atomically
from countersign.tables import PRICES_CLEAN, SOURCE_COLUMNS, Column

if TYPE_CHECKING:
    import pandas as pd

EVENT: Final = "schema_accepted"
_OURS: Final = {column.name: column for column in SOURCE_COLUMNS}
_NOTHING: Final = "Nothing was accepted"


@dataclass(frozen=True)
class Changes:
    """What a person asks for, each by column."""

    rename: Mapping[str, str]
    """Names as they arrive → ours."""
    drop: Sequence[str]
    """Columns to take out of the contract, or further ones to know."""
    default: Mapping[str, float | None]
    """What stands in a column that does not arrive; takes one in that the contract does not have."""
    factor: Mapping[str, tuple[float, date | None]]
    """From the unit that arrives to the contract's, and the first session of which that is so."""


@dataclass(frozen=True)
class Accepted:
    """A contract that was written, and what is otherwise in it than before, a line each."""

    contract: Contract
    changed: list[str]


def accept(project: Project, session: str, by: str, reason: str, now: datetime, changes: Changes) -> Accepted:
    """Write the contract with these ``changes``, and that ``by`` accepted it to the journal.

    Nothing is written unless what the source delivers of ``session`` then fits and passes the rules on rows. Raises
    ``ConfigError`` where it does not, and where nobody says why; ``SessionError`` for a day that is no closed session.
    """
    if not is_text(reason.strip()) or not reason.strip() or not PRINCIPAL.fullmatch(by.strip()):
        raise ConfigError(
            f"expected a reason in printable characters and a name, found {reason[:80]!r} by {by[:80]!r}. {_NOTHING}"
        )
    project.calendar.require_closed(session, now)
    path = contract_path(project.home)
    before, text = load_contract(project.home), path.read_bytes()
    found = deliver(project, session, session)
    missing = {one.column for one in found.found if one.arrived == MISSING}
    _require_names(before, changes)
    try:
        contract = _changed(before, changes, missing)
    except ValidationError as error:
        said = "; ".join(f"{e['loc'][0] if e['loc'] else 'mapping'}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"expected factors and defaults as finite numbers of number columns, found {said}") from None
    if contract == before:
        raise ConfigError("expected a change of the contract (--rename, --drop, --default, --factor), found none")
    if idle := _idle(before, found, changes, session):
        raise ConfigError(f"expected changes that what arrives of {session} calls for, found {idle}. {_NOTHING}")
    written = contract_text(contract, text.decode()).encode()
    # As it will be read: what is refused is never written.
    contract = parse_settings(written, path, Contract)
    _require_fit(project, before, contract, session)
    changed = _differences(before, contract)
    with locked(project.journal.path.with_name("contract.lock")):
        if path.read_bytes() != text:
            raise ConfigError(
                f"expected {path} as it was when this was tried, found that it has changed meanwhile. {_NOTHING}: look "
                "at it, then run this again"
            )
        project.journal.append(
            EVENT,
            now,
            by=by.strip(),
            reason=reason.strip(),
            session=session,
            contract_before=hashlib.sha256(text).hexdigest(),
            contract_after=hashlib.sha256(written).hexdigest(),
            changed=changed,
            mapping=contract.mapping.model_dump(mode="json"),
            columns=list(contract.columns),
            # As the first line it names the project, as no other's may.
            nonce=secrets.token_hex(16),
        )
        reached("schema: journaled")
        # Where it is a link to the file that people keep, the link stays.
        write_atomically(path.resolve(), written)
    return Accepted(contract, changed)


def unrecorded(project: Project) -> str:
    """Where the contract is not the one that was accepted last: a sentence that says so; else nothing.

    It was edited by hand, which people may do, or a crash came between the journal's line and the file.
    """
    line = next((line for line in reversed(project.journal.read()) if line["event"] == EVENT), None)
    if line is None:
        return ""
    contract = load_contract(project.home)
    accepted = SchemaMapping.model_validate(line["mapping"])
    if contract.mapping == accepted and list(contract.columns) == line["columns"]:
        return ""
    return (
        f"{contract_path(project.home)} is not the contract that {line['by']} accepted last, for {line['session']}: it "
        "was edited by hand, or that acceptance broke off before it was written. Where that is not meant, restore the "
        "file or accept again"
    )


def _require_names(before: Contract, changes: Changes) -> None:
    """Raise ``ConfigError`` for names that cannot mean a column, and for changes that contradict each other."""
    for name in (*changes.default, *changes.rename.values(), *changes.factor):
        if name not in _OURS:
            raise ConfigError(f"expected one of the columns {', '.join(_OURS)}, found {name!r}. {_NOTHING}")
    if needed := sorted(NEEDED & set(changes.drop)):
        raise ConfigError(f"expected columns that bars can do without, found {', '.join(needed)}. {_NOTHING}")
    dropped, kept = {plain(name) for name in changes.drop}, before.mapping.rename
    columns = {*before.columns, *changes.default} - dropped
    wrong = [f"{name!r}, which names no column" for name in (*changes.rename, *changes.drop) if not plain(name)]
    wrong += [f"{name} dropped and given a default" for name in changes.default if name in dropped]
    wrong += [
        f"{name}, which the contract does not have: take it in with --default {name}=null"
        for name in (*changes.rename.values(), *changes.factor)
        if name not in columns
    ]
    for theirs, ours in changes.rename.items():
        name = plain(theirs)
        if name in dropped:
            wrong.append(f"{theirs} dropped and renamed")
        elif name in columns:
            wrong.append(f"{theirs} renamed, which is itself a column of the contract: correct its name at the source")
        elif kept.get(name, ours) != ours:
            wrong.append(f"{theirs} renamed to {ours}, which was accepted as {kept[name]}")
    wrong += [f"{name} dropped, which is read as {kept[name]}" for name in sorted(dropped & set(kept))]
    if wrong:
        raise ConfigError(f"expected changes of single columns, found {'; '.join(wrong)}. {_NOTHING}")


def _changed(before: Contract, changes: Changes, missing: set[str]) -> Contract:
    """``before`` with these changes; a dropped column that is ``missing`` is no part of it any more, nor known."""
    dropped = {plain(name) for name in changes.drop}
    columns = {name: terms for name, terms in before.columns.items() if name not in dropped}
    for name in changes.default:
        if name not in columns:
            ours = _OURS[name]
            columns[name] = Terms(type=ours.kind, nullable=True, unit=ours.unit)
    kept, rename = before.mapping, {plain(theirs): ours for theirs, ours in changes.rename.items()}
    factors: dict[str, tuple[UnitFactor, ...]] = {n: f for n, f in kept.factor.items() if n not in dropped}
    for name, (by, since) in changes.factor.items():
        earlier = [f for f in factors.get(name, ()) if since and (f.since is None or f.since < since)]
        factors[name] = (*earlier, UnitFactor(by=by, since=since))
    mapping = SchemaMapping(
        rename={**{theirs: ours for theirs, ours in kept.rename.items() if ours not in dropped}, **rename},
        drop=tuple(sorted({*kept.drop, *(dropped - missing)} - {*rename, *changes.default})),
        default={n: v for n, v in {**kept.default, **changes.default}.items() if n not in dropped},
        factor={name: found for name, found in factors.items() if any(one.by != 1 for one in found)},
    )
    digest = schema_hash(Column(name, t.type, t.unit, "", t.nullable) for name, t in columns.items())
    return Contract(sha256=digest, columns=columns, mapping=mapping)


def _idle(before: Contract, found: Delivery, changes: Changes, session: str) -> str:
    """What of ``changes`` could not be tried on what arrives of ``session``, or would leave open what is read."""
    wrong = [
        f"{theirs} renamed to {ours}, which arrives already: leave one of the two out at the source"
        for theirs, ours in changes.rename.items()
        if found.has(ours)
    ]
    wrong += [
        f"a default of {name}, which arrives" for name in changes.default if name in before.columns and found.has(name)
    ]
    known = {*before.columns, *found.arrived.columns, *found.arrived.further}
    wrong += [f"{name} dropped, which nobody delivers" for name in changes.drop if plain(name) not in known]
    for name, (_, since) in changes.factor.items():
        if since and since.isoformat() > session:
            wrong.append(f"a factor of {name} from {since} on, which no bar shows yet")
        if since is None and name in before.mapping.factor:
            held = before.mapping.factor_of(name, session)
            wrong.append(
                f"a factor of {name}, which has one ({held:g}), without its first session: write "
                f"--factor {name}=NUMBER@DATE, and bars before DATE are read as they were"
            )
    return "; ".join(wrong)


def _require_fit(project: Project, before: Contract, contract: Contract, session: str) -> None:
    """Raise ``ConfigError`` unless what arrives of ``session`` fits ``contract`` and passes the rules on rows."""
    source, first = _source(project, contract), project.calendar.at(session, -1)
    found = delivered(source, contract, session, session)
    with_previous = delivered(source, contract, first, session)
    if found.bars is None or with_previous.bars is None or breaks(found.found):
        said = found.problem or with_previous.problem or "; ".join(map(str, breaks(found.found)))
        raise ConfigError(f"expected that what arrives of {session} then fits, found {said}. {_NOTHING}")
    dates, quality = project.calendar.dates, load_quality(project.home)
    raw = ingest.session_bars(with_previous.bars, session, dates, project.config.symbols, source.uri)
    require_adjusted(project, raw)
    cleaned = clean_bars(raw, dates, quality, released=released_in(project, session))
    verdict = rows_kept(cleaned, quality)
    if verdict.refuses:
        raise ConfigError(
            f"expected that what arrives of {session} then passes the rules of config/quality.yaml, found "
            f"{verdict.sentence}. {_NOTHING}: correct the change, or try it on another session"
        )
    _require_one_unit(project, before, contract, session, cleaned.bars)


def _source(project: Project, contract: Contract) -> PriceSource:
    config = project.config
    rename, symbols = contract.mapping.rename, config.symbols or ()
    return open_source(config.source, project.home, project.calendar, symbols, project.environment, rename)


def _require_one_unit(project: Project, before: Contract, contract: Contract, session: str, bars: pd.DataFrame) -> None:
    """Raise ``ConfigError`` where new factors take the adjusted closes further away from the closes than they were.

    No rule on rows sees that: returns come from the adjusted closes alone. They are held against what is stored;
    where nothing is, against the closes themselves.
    """
    moved = {
        name: np.log(contract.mapping.factor_of(name, session) / before.mapping.factor_of(name, session))
        for name in ("adj_close", "close")
    }
    now, stored = _adjustment(bars), _stored_adjustment(project, session)
    without, held = now - moved["adj_close"] + moved["close"], 0.0 if np.isnan(stored) else stored
    # Only the factors make a difference, so a split or a dividend since then does not count.
    if moved["adj_close"] != moved["close"] and abs(now - held) > abs(without - held):
        raise ConfigError(
            f"expected closes and adjusted closes in one unit: adj_close is {np.exp(now):.3g} of close with these "
            f"factors, {np.exp(without):.3g} without"
            + ("" if np.isnan(stored) else f", {np.exp(stored):.3g} in what is stored")
            + f". {_NOTHING}: give all prices whose unit has changed their factor"
        )


def _adjustment(bars: pd.DataFrame) -> float:
    """The median log of adjusted over plain close, NaN where there is none."""
    ratio = np.log(bars["adj_close"].to_numpy(dtype=float) / bars["close"].to_numpy(dtype=float))
    return float(np.median(ratio[~np.isnan(ratio)])) if (~np.isnan(ratio)).any() else float("nan")


def _stored_adjustment(project: Project, session: str) -> float:
    """The same of the newest bars that are stored up to ``session``; NaN where nothing is."""
    store, names = project.store, ("date", "close", "adj_close")
    for stored in (*reversed([s for s in store.partitions() if s <= session]), None):
        try:
            if stored:
                return _adjustment(store.read_table("prices_clean", stored, PRICES_CLEAN, names).frame)
            history = store.read_table(recent_history(project), None, PRICES_CLEAN, names, form="parquet").frame
            return _adjustment(history[history["date"] == history["date"].max()])
        except ArtifactError:
            # Missing or damaged: the one before it says the same.
            continue
    return float("nan")


def _differences(before: Contract, after: Contract) -> list[str]:
    """What is otherwise in ``after``, a line each, with what it was."""
    was, now = before.mapping.model_dump(mode="json"), after.mapping.model_dump(mode="json")
    parts: list[tuple[str, Any, Any]] = [("columns", list(before.columns), list(after.columns))]
    parts.append(("drop", was.pop("drop"), now.pop("drop")))
    parts += [
        (f"{part} of {name}", was[part].get(name, "none"), now[part].get(name, "none"))
        for part in was
        for name in sorted({*was[part], *now[part]})
    ]
    return [f"{what}: {_words(old)} → {_words(new)}" for what, old, new in parts if old != new]


def _words(found: Any) -> str:
    if isinstance(found, dict):
        return f"{found['by']:g}" + (f" from {found['since']} on" if found["since"] else "")
    if isinstance(found, list):
        return ", ".join(map(_words, found)) or "none"
    return "null" if found is None else str(found)
