"""Schema: what a source delivers, brought to the contract's columns, and how it differs from them.

Belongs here: applying a mapping to bars, comparing columns. Does not belong here: the contract's file
(``countersign.contract``), reading (``sources``), a session's cells (``monitoring.contract``).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from countersign.prices.sources.shapes import ARRIVED, Arrived

if TYPE_CHECKING:
    import pandas as pd

    from countersign.contract import Contract, SchemaMapping

_QUOTED: Final = r"(?:'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")"
"""A cell as ``unreadable`` quotes it."""
NEEDED: Final = frozenset({"date", "symbol", "close"})
"""Columns without which there are no bars."""
MISSING: Final = "missing"
NEW: Final = "new"
TWICE: Final = "twice"
TEXT: Final = "text"


@dataclass(frozen=True)
class Difference:
    """One column in which a delivery is not the contract's."""

    column: str
    contract: str
    """Type of the contract's, or ``not in it``."""
    arrived: str
    """Type that arrived, ``missing``, ``new``: a further one that nothing reads, or ``twice``: under its own name, and
    under one that a mapping renames to it."""

    def __str__(self) -> str:
        return f"{self.column}: {self.contract} in the contract, {self.arrived} in what arrived"


def acceptance(found: Sequence[Difference]) -> str:
    """The command with which a person would accept what ``found`` says, if that is how the source is from now on.

    Empty where no mapping helps: what has none of the columns that bars need is no table of bars. One column that is
    missing and one that is new are taken for one with another name.

    >>> acceptance([Difference("close", "number", "missing"), Difference("px_last", "not in it", "new")])
    'countersign schema accept --rename px_last=close --by NAME --reason "…"'
    """
    missing = [one.column for one in found if one.arrived == MISSING]
    new = [one.column for one in found if one.arrived == NEW]
    parts = [f"--default {one.column}=null" for one in found if one.arrived == "number"]
    if len(missing) == len(new) == 1:
        parts.append(f"--rename {new[0]}={missing[0]}")
    else:
        needed = [name for name in missing if name in NEEDED]
        if len(needed) == len(NEEDED):
            return ""
        parts += [f"--rename THEIRS={name}" for name in needed]
        # A new column may be one of those that have no name yet.
        parts += [f"--drop {name}" for name in (*missing, *(() if needed else new)) if name not in needed]
    return " ".join(["countersign schema accept", *parts, '--by NAME --reason "…"']) if parts else ""


def arrived_in(frame: pd.DataFrame) -> Arrived:
    """The columns of a reply; of a source that does not say, those in which anything stands."""
    said = frame.attrs.get(ARRIVED)
    if isinstance(said, Arrived):
        return said
    notes = frame["unreadable"].dropna()
    filled = {name for name in frame.columns if name != "unreadable" and frame[name].notna().any()}
    return Arrived(frozenset(filled | {n for n in frame.columns if notes.str.contains(rf"(?:^|\s){n}=").any()}))


def differences(contract: Contract, arrived: Arrived, frame: pd.DataFrame | None = None) -> list[Difference]:
    """How a delivery differs, column by column: in the contract's order, then what is new.

    With ``frame``, its bars, a number column without any number in it has arrived as text.
    """
    mapping, found = contract.mapping, []
    twice = arrived.further & set(mapping.rename.values())
    for name, terms in contract.columns.items():
        if name in twice:
            found.append(Difference(name, terms.type, TWICE))
        elif name not in arrived.columns:
            if name not in mapping.default:
                found.append(Difference(name, terms.type, MISSING))
        elif frame is not None and terms.type == "number" and _is_text(frame, name):
            found.append(Difference(name, terms.type, TEXT))
    unasked = sorted(arrived.columns - set(contract.columns))
    found += [Difference(name, "not in it", "number") for name in unasked if name not in mapping.drop]
    found += [Difference(name, "not in it", NEW) for name in sorted(arrived.further - twice - set(mapping.drop))]
    return found


def breaks(found: Collection[Difference]) -> list[Difference]:
    """Those with which the bars cannot be what the contract says; a further column takes nothing away."""
    return [one for one in found if one.arrived != NEW]


def mapped(frame: pd.DataFrame, mapping: SchemaMapping) -> pd.DataFrame:
    """Bars (as ``PriceSource.read`` gives them) with the factors and defaults of ``mapping``."""
    arrived = arrived_in(frame)
    for name, factors in mapping.factor.items():
        by = np.ones(len(frame))
        for factor in factors:
            by[(frame["date"] >= (factor.since.isoformat() if factor.since else "")).to_numpy()] = factor.by
        frame[name] *= by
    # What stands in for a column is in the contract's unit.
    days = frame["date"].unique().tolist()
    for name, value in mapping.default.items():
        if value is not None:
            without = [day for day in days if name not in arrived.on(day).columns]
            frame.loc[frame["date"].isin(without), name] = value
    for name in set(mapping.drop) & arrived.columns:
        frame[name] = float("nan")
        # What is not read makes no row unreadable.
        notes = frame["unreadable"].dropna()
        kept = notes.str.replace(rf"(?:^|\s){name}={_QUOTED}", "", regex=True).str.strip()
        frame.loc[notes.index, "unreadable"] = kept.where(kept != "", None)
    return frame


def _is_text(frame: pd.DataFrame, name: str) -> bool:
    notes = frame["unreadable"].dropna()
    return bool(frame[name].isna().all() and notes.str.contains(rf"(?:^|\s){name}=").any())
