"""Contract: does what arrived have the schema that people agreed on?

Belongs here: the schema of each delivery, from counts of its cells, and how it differs from the frozen one. Does not
belong here: the frozen one (``countersign.contract``), how many cells are missing (``completeness``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from countersign.contract import schema_hash
from countersign.monitoring.completeness import Arrivals
from countersign.monitoring.reading import Reading
from countersign.tables import Column


def arrived_columns(arrivals: Arrivals, contract: Sequence[Column]) -> list[tuple[Column, ...]]:
    """The schema of each session's delivery: the columns in which anything arrived.

    A column without a single readable cell has arrived as text. A column is nullable where cells are missing, and
    where ``contract`` says so: a day on which none is missing has no other schema.
    """
    nullable = np.array([any(c.nullable for c in contract if c.name == a.name) for a in arrivals.columns], dtype=bool)
    present = arrivals.filled + arrivals.unreadable > 0
    as_text = arrivals.filled == 0
    holes = (arrivals.filled < arrivals.rows[:, None]) | nullable
    return [
        tuple(
            replace(column, kind="string" if text else column.kind, nullable=bool(hole))
            for column, there, text, hole in zip(arrivals.columns, *session, strict=True)
            if there
        )
        for session in zip(present, as_text, holes, strict=True)
    ]


def differences(found: Sequence[Column], contract: Sequence[Column]) -> list[str]:
    """How ``found`` differs from ``contract``, one column each: in the contract's order, then what is new."""
    there = {column.name: column for column in found}
    said = []
    for column in contract:
        other = there.pop(column.name, None)
        if other is None:
            said.append(f"{column.name} is missing")
        elif (other.kind, other.nullable) != (column.kind, column.nullable):
            said.append(f"{column.name} is {_terms(other)}, not {_terms(column)}")
    return said + [f"{column.name} is new, {_terms(column)}" for column in there.values()]


def schema_changes(arrivals: Arrivals, contract: Sequence[Column]) -> np.ndarray:
    """How many columns differ from ``contract`` in each session, (sessions,); NaN for a session without rows."""
    changed = [float(len(differences(found, contract))) for found in arrived_columns(arrivals, contract)]
    return np.where(arrivals.rows > 0, np.array(changed), np.nan)


def schema_reading(arrivals: Arrivals, contract: Sequence[Column]) -> Reading:
    """The last session's schema against the contract's. The value counts the columns that differ: none may."""
    rows = int(arrivals.rows[-1]) if len(arrivals.rows) else 0
    if rows <= 0:
        return Reading("data", "schema", "insufficient", math.nan, "no row arrived to see a schema of", 0.0)
    changed = schema_changes(arrivals, contract)[-1]
    found = arrived_columns(arrivals, contract)[-1]
    digest, frozen = schema_hash(found)[:12], schema_hash(contract)[:12]
    sentence = f"the {len(found)} columns that arrived are those of the contract (schema {digest})"
    if changed:
        sentence = (
            f"schema {digest} arrived, config/contracts/prices.yaml freezes {frozen}: "
            f"{'; '.join(differences(found, contract))}. Correct the source, or agree on the new schema there"
        )
    return Reading("data", "schema", "fail" if changed else "pass", float(changed), sentence, 0.0, observations=rows)


def _terms(column: Column) -> str:
    return f"{column.kind} {'with' if column.nullable else 'without'} missing cells"
