"""Artifacts: the store of everything that the pipeline makes, one file each.

Belongs here: names, places, atomic writing, verified reading. Does not belong here: the bytes' form (``codec``),
who may deploy a model (``journal``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from countersign.errors import ArtifactError
from countersign.storage import codec
from countersign.storage.codec import Header
from countersign.storage.files import write_atomically
from countersign.tables import Column, conform

if TYPE_CHECKING:
    import pandas as pd

TableFormat = Literal["json", "parquet"]


@dataclass(frozen=True)
class Stored:
    """An artifact that lies in the store. ``sha256`` is its digest, and Dagster's data version."""

    name: str
    partition: str | None
    location: str
    sha256: str
    rows: int


@dataclass(frozen=True)
class Table:
    """A table that was read and verified."""

    stored: Stored
    inputs: Mapping[str, str]
    frame: pd.DataFrame


class ArtifactStore:
    """Artifacts below ``root``: a folder, or an fsspec URL (``s3://bucket/prefix``, ``memory://`` …).

    On a local disk a write is temporary file → fsync → rename → fsync; object stores replace an object whole
    anyway. ``form`` is that of tables by session: JSON (the default) or Parquet.
    """

    def __init__(self, root: str, form: TableFormat = "json") -> None:
        self.root = root.rstrip("/")
        self.form = form

    def location(self, name: str, partition: str | None, suffix: str) -> str:
        """Where an artifact lies: by session, or at the root where it has no partition."""
        folder = f"{self.root}/sessions/{partition}" if partition else self.root
        return f"{folder}/{name}.{suffix}"

    def write_table(
        self,
        name: str,
        partition: str | None,
        frame: pd.DataFrame,
        columns: Sequence[Column],
        inputs: Mapping[str, str],
        form: TableFormat | None = None,
    ) -> Stored:
        """Store a table. ``inputs`` maps each input's name to its digest."""
        form = form or self.form
        encode = codec.encode_json_table if form == "json" else codec.encode_parquet_table
        data, digest = encode(frame, columns, Header(name, partition, inputs, len(frame)))
        return self._put(name, partition, form, data, digest, len(frame))

    def read_table(
        self,
        name: str,
        partition: str | None,
        columns: Sequence[Column],
        names: Sequence[str] | None = None,
        form: TableFormat | None = None,
    ) -> Table:
        """A verified table: all of ``columns``, or those called ``names``.

        Raises ``ArtifactError`` where it is missing, truncated, altered, or another artifact than asked for.
        """
        form = form or self.form
        data, digest = self._get(name, partition, form)
        wanted = [c for c in columns if names is None or c.name in names]
        if form == "json":
            found = codec.decode_json(data)
            header = Header.from_dict(found["artifact"])
            frame = self._frame(found["data"], wanted)
        else:
            header, frame = codec.decode_parquet(data, [c.name for c in wanted])
            frame = conform(frame, tuple(wanted))
        self._expect(header, name, partition, form)
        stored = Stored(name, partition, self.location(name, partition, form), digest, len(frame))
        return Table(stored, header.inputs, frame)

    def write_addressed(self, folder: str, name: str, body: Mapping[str, Any], inputs: Mapping[str, str]) -> Stored:
        """Store a JSON document under its own digest: ``<folder>/<sha256>/<name>.json``."""
        data, digest = codec.encode_document(body, Header(name, None, inputs))
        return self._put(f"{folder}/{digest}/{name}", None, "json", data, digest, 0)

    def copy_document(self, source: str, name: str) -> Stored:
        """Publish the document ``source`` under another name, its bytes unchanged."""
        data, digest = self._get(source, None, "json")
        return self._put(name, None, "json", data, digest, 0)

    def read_document(self, name: str) -> tuple[dict[str, Any], Stored]:
        """A verified JSON document from the root."""
        data, digest = self._get(name, None, "json")
        return codec.decode_json(data), Stored(name, None, self.location(name, None, "json"), digest, 0)

    def write_text(self, name: str, partition: str, text: str, inputs: Mapping[str, str]) -> Stored:
        """Store a plain text."""
        data, digest = codec.encode_text(text, Header(name, partition, inputs))
        return self._put(name, partition, "txt", data, digest, text.count("\n"))

    def read_text(self, name: str, partition: str) -> tuple[str, Stored]:
        """A verified plain text, its header included."""
        data, digest = self._get(name, partition, "txt")
        return data.decode(), Stored(name, partition, self.location(name, partition, "txt"), digest, 0)

    def has(self, name: str, partition: str | None, suffix: str | None = None) -> bool:
        """Whether there is a file for it; nothing is said of what the file holds."""
        location = self.location(name, partition, suffix or self.form)
        if "://" in location:
            return bool(_filesystem(location).exists(location))
        return Path(location).exists()

    def partitions(self) -> list[str]:
        """Sessions that have a folder, ascending."""
        folder = f"{self.root}/sessions"
        if "://" in folder:
            filesystem = _filesystem(folder)
            found = filesystem.ls(folder, detail=False) if filesystem.exists(folder) else []
            return sorted(str(p).rstrip("/").rsplit("/", 1)[-1] for p in found)
        return sorted(p.name for p in Path(folder).iterdir()) if Path(folder).is_dir() else []

    def _frame(self, rows: list[dict[str, Any]], columns: Sequence[Column]) -> pd.DataFrame:
        import pandas as pd

        return conform(pd.DataFrame({c.name: [row[c.name] for row in rows] for c in columns}), tuple(columns))

    def _put(self, name: str, partition: str | None, suffix: str, data: bytes, digest: str, rows: int) -> Stored:
        location = self.location(name, partition, suffix)
        if "://" in location:
            _filesystem(location).pipe_file(location, data)
        else:
            write_atomically(Path(location), data)
        return Stored(name, partition, location, digest, rows)

    def _get(self, name: str, partition: str | None, suffix: str) -> tuple[bytes, str]:
        location = self.location(name, partition, suffix)
        try:
            data = _filesystem(location).cat_file(location) if "://" in location else Path(location).read_bytes()
        except FileNotFoundError as error:
            raise ArtifactError(
                f"{_title(name, partition)} is not there yet (looked at {location}). {_remedy(name, partition)}"
            ) from error
        try:
            return data, codec.verify_text(data) if suffix == "txt" else codec.verify(data)
        except ArtifactError as error:
            raise ArtifactError(
                f"{_title(name, partition)} at {location} cannot be used: {error}. {_remedy(name, partition)}"
            ) from error

    def _expect(self, header: Header, name: str, partition: str | None, suffix: str) -> None:
        if (header.name, header.partition) != (name, partition):
            raise ArtifactError(
                f"expected {_title(name, partition)} at {self.location(name, partition, suffix)}, found "
                f"{_title(header.name, header.partition)}: a file was moved. {_remedy(name, partition)}"
            )


def _filesystem(location: str) -> Any:
    import fsspec

    return fsspec.core.url_to_fs(location)[0]


def _title(name: str, partition: str | None) -> str:
    return f"{name} of {partition}" if partition else name


def _remedy(name: str, partition: str | None) -> str:
    """What to type to have the artifact made again."""
    asset = {
        "prices_rejected": "prices_clean",
        "history/prices": "price_history",
        "history/recent": "price_history",
        "history/rejected": "price_history",
    }.get(name, "model" if name.startswith("model") else name)
    where = f" --partition {partition}" if partition else ""
    return f"Make it with: dagster asset materialize -m definitions --select {asset}{where}"
