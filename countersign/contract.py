"""Contract: ``config/contracts/prices.yaml``, the schema of the bars as people agreed on it, frozen with its hash.

Belongs here: reading it, and the hash of a schema. Does not belong here: comparing what arrived with it
(``monitoring.contract``). The hash is over each column's name, logical type and nullability: an order of columns, a
type of pandas or another unit's spelling does not change it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

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


class Contract(Section):
    """All of ``config/contracts/prices.yaml``. Refused where the columns have another hash than it says."""

    sha256: str
    """Schema hash of the columns."""
    columns: Annotated[dict[str, Terms], Field(min_length=1)]

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


def schema_hash(columns: Iterable[Column]) -> str:
    """SHA-256 over ``[[name, type, nullable], …]``, by name, as JSON without spaces.

    >>> schema_hash([Column("date", "date", "", "")])[:12]
    '202cf4f0afaf'
    """
    return hashlib.sha256(json_bytes(sorted([c.name, c.kind, c.nullable] for c in columns))).hexdigest()


def load_contract(home: Path) -> Contract:
    """The contract of the project folder ``home``.

    Raises ``ConfigError`` where there is none, and as ``read_settings`` does.
    """
    path = home / "config" / "contracts" / "prices.yaml"
    if not path.is_file():
        raise ConfigError(
            f"expected the contract on prices at {path}, found no such file. Copy config/contracts/prices.yaml of the "
            "Countersign checkout there, and remove the columns that your source does not have"
        )
    return read_settings(path, Contract)
