"""Contract: ``config/contracts/prices.yaml``, the schema of the bars as people agreed on it, frozen with its hash.

Belongs here: reading and writing it, the hash of a schema, how what arrives otherwise is mapped to it. Does not belong
here: comparing a session's cells with it (``monitoring.contract``). The hash is over each column's name, logical type
and nullability: an order of columns, a type of pandas or another unit's spelling does not change it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from countersign.errors import ConfigError
from countersign.settings import Section, read_settings
from countersign.storage.codec import json_bytes
from countersign.tables import Column, Kind


class Terms(Section):
    """What was agreed on one column."""

    type: Kind
    """Logical type: what the values mean, however a file stores them."""
    nullable: bool
    """Whether cells may be missing."""
    unit: str
    """Empty where the values have none."""

    @model_validator(mode="before")
    @classmethod
    def _are_all_there(cls, found: Any) -> Any:
        # Said here: the reader of settings can name what belongs into a section, not into each of many.
        if not isinstance(found, dict) or set(found) != set(cls.model_fields):
            raise ValueError(f"columns: expected {', '.join(cls.model_fields)} of each column, found {found!r}")
        return found


def _nothing(found: Any) -> Any:
    return None if found == "null" else found


class UnitFactor(Section):
    """What the values of a column are multiplied by: from the unit in which they come to the contract's."""

    by: Annotated[float, Field(gt=0)]
    since: date | None = None
    """First session whose bars come in that unit; all of them where left out."""


def _in_order(factors: tuple[UnitFactor, ...]) -> tuple[UnitFactor, ...]:
    begins = [factor.since or date.min for factor in factors]
    if begins != sorted(set(begins)):
        raise ValueError("expected the factors of a column by ascending since, which the first alone may leave out")
    return factors


UnitFactors = Annotated[
    tuple[UnitFactor, ...],
    Field(min_length=1),
    # One alone is written without a list around it.
    BeforeValidator(lambda found: (found,) if isinstance(found, dict) else found),
    AfterValidator(_in_order),
]
"""Each holds up to the ``since`` of the next."""


class SchemaMapping(Section):
    """How columns that arrive otherwise become those of the contract. A person's decision (``countersign schema``).

    What arrives as before is still read as before, so that history stays readable.
    """

    rename: dict[str, str] = Field(default_factory=dict)
    """Names as they arrive, in plain form, → the contract's."""
    drop: tuple[str, ...] = ()
    """Further columns that arrive, known and not read."""
    default: dict[str, Annotated[float | None, BeforeValidator(_nothing)]] = Field(default_factory=dict)
    """What stands in the cells of a column of the contract that does not arrive."""
    factor: dict[str, UnitFactors] = Field(default_factory=dict)
    """By column of the contract."""

    def factor_of(self, name: str, session: str) -> float:
        """What the column ``name`` is multiplied by in bars of ``session``."""
        held = [f.by for f in self.factor.get(name, ()) if f.since is None or f.since.isoformat() <= session]
        return held[-1] if held else 1.0


class Contract(Section):
    """All of ``config/contracts/prices.yaml``. Refused where the columns have another hash than it says."""

    sha256: str
    """Schema hash of the columns."""
    columns: Annotated[dict[str, Terms], Field(min_length=1)]
    mapping: SchemaMapping = SchemaMapping()

    @model_validator(mode="after")
    def _maps_to_its_own_columns(self) -> Self:
        named = {*self.mapping.rename.values(), *self.mapping.default, *self.mapping.factor}
        unknown = sorted(named - set(self.columns))
        words = [name for name in (*self.mapping.default, *self.mapping.factor) if self.columns[name].type != "number"]
        if unknown or words:
            raise ValueError(
                f"mapping: expected columns of the contract ({', '.join(self.columns)}), numbers where there is a "
                f"default or a factor, found {', '.join(unknown or words)}"
            )
        return self

    @model_validator(mode="after")
    def _is_unchanged(self) -> Self:
        found = schema_hash(self.schema_columns)
        if found != self.sha256:
            raise ValueError(
                f"sha256: the columns have the schema hash {found}, so they were changed since it was frozen (value "
                f"{self.sha256!r}). Restore the columns, or write this hash where the change is meant"
            )
        return self

    @property
    def schema_columns(self) -> tuple[Column, ...]:
        """The columns as those of a table, in the order of the file."""
        return tuple(Column(name, t.type, t.unit, "", t.nullable) for name, t in self.columns.items())

    @property
    def digest(self) -> str:
        """SHA-256 of what decides how bars are read: the columns and the mapping, not the comments of the file."""
        return hashlib.sha256(json_bytes(self.model_dump(mode="json", include={"columns", "mapping"}))).hexdigest()

    @property
    def measured_columns(self) -> tuple[Column, ...]:
        """Those in which something is expected: a column that a mapping leaves empty cannot be missing."""
        empty = {name for name, value in self.mapping.default.items() if value is None}
        return tuple(column for column in self.schema_columns if column.name not in empty)


def schema_hash(columns: Iterable[Column]) -> str:
    """SHA-256 over ``[[name, type, nullable], …]``, by name, as JSON without spaces.

    >>> schema_hash([Column("date", "date", "", "")])[:12]
    '202cf4f0afaf'
    """
    return hashlib.sha256(json_bytes(sorted([c.name, c.kind, c.nullable] for c in columns))).hexdigest()


def contract_path(home: Path) -> Path:
    """Where the contract of the project folder ``home`` lies."""
    return home / "config" / "contracts" / "prices.yaml"


def load_contract(home: Path) -> Contract:
    """The contract of the project folder ``home``.

    Raises ``ConfigError`` where there is none, and as ``read_settings`` does.
    """
    path = contract_path(home)
    if not path.is_file():
        raise ConfigError(
            f"expected the contract on prices at {path}, found no such file. Copy config/contracts/prices.yaml of the "
            "Countersign checkout there, and remove the columns that your source does not have"
        )
    return read_settings(path, Contract)


def renamed(home: Path) -> dict[str, str]:
    """The columns that the contract of ``home`` renames; none where there is no contract, which ingest refuses."""
    return load_contract(home).mapping.rename if contract_path(home).is_file() else {}


def contract_text(contract: Contract, before: str) -> str:
    """The contract as its file says it; the comment at the top of ``before`` stays, and what stands between lines does
    not.
    """
    head = []
    for line in before.splitlines():
        if not line.startswith("#"):
            break
        head.append(line)
    width = max(map(len, contract.columns)) + 2
    lines = [*head, "", f"sha256: {contract.sha256}", "columns:"]
    for name, terms in contract.columns.items():
        said = f"type: {terms.type}, nullable: {str(terms.nullable).lower()}, unit: {_quoted(terms.unit)}"
        lines.append(f"  {name + ':':<{width}}{{{said}}}")
    mapping = contract.mapping
    if mapping != SchemaMapping():
        lines += ["mapping:                # of what arrives otherwise, accepted by a person: see the journal"]
        lines += _section("rename", {_quoted(theirs): ours for theirs, ours in mapping.rename.items()})
        lines += [f"  drop: [{', '.join(map(_quoted, mapping.drop))}]"] if mapping.drop else []
        lines += _section("default", {n: "null" if v is None else f"{v!r}" for n, v in mapping.default.items()})
        lines += _section("factor", {name: _factors(factors) for name, factors in mapping.factor.items()})
    return "\n".join(lines) + "\n"


def _factors(factors: Sequence[UnitFactor]) -> str:
    said = [f"{{by: {one.by!r}{f', since: {one.since}' if one.since else ''}}}" for one in factors]
    return said[0] if len(said) == 1 else f"[{', '.join(said)}]"


def _section(name: str, values: Mapping[str, str]) -> list[str]:
    return [f"  {name}:", *(f"    {key}: {value}" for key, value in values.items())] if values else []


def _quoted(text: str) -> str:
    return json_bytes(text).decode() if not text.isidentifier() else text
