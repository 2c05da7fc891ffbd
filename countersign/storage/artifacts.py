"""Artifacts: the store of everything that the pipeline makes, one file each.

Belongs here: names, places, atomic writing, verified reading. Does not belong here: the bytes' form (``codec``),
who may deploy a model (``journal``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
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
TextFormat = Literal["txt", "html"]


@dataclass(frozen=True)
class Stored:
    """An artifact that lies in the store. ``sha256`` is its digest, and Dagster's data version."""

    name: str
    partition: str | None
    location: str
    sha256: str
    rows: int
    inputs: Mapping[str, str]
    """The name of each input and its digest, of which a text keeps the first 16 digits."""


@dataclass(frozen=True)
class Table:
    """A table that was read and verified."""

    stored: Stored
    frame: pd.DataFrame


class ArtifactStore:
    """Artifacts below ``root``: a folder, or an fsspec URL (``s3://bucket/prefix``, ``memory://`` …).

    On a local disk a write is temporary file → fsync → rename → fsync; object stores replace an object whole
    anyway. ``form`` is that of tables by session: JSON (the default) or Parquet.
    """

    def __init__(self, root: str, form: TableFormat = "json") -> None:
        self.root = root if root.endswith("://") else root.rstrip("/")
        self.form = form

    def location(self, name: str, partition: str | None, suffix: str) -> str:
        """Where an artifact lies: by session, by week (``2008-W38``), or at the root where it has no partition."""
        kind = "reviews" if partition and "-W" in partition else "sessions"
        folder = f"{self.root}/{kind}/{partition}" if partition else self.root
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
        """Store a table. ``inputs`` maps each input's name to its digest.

        Raises ``ArtifactError`` for infinity, which JSON cannot hold: it would come back as a missing number.
        """
        form = form or self.form
        require_no_infinity(codec.title(name, partition), frame, columns)
        encode = codec.encode_json_table if form == "json" else codec.encode_parquet_table
        header = Header(name, partition, inputs, len(frame))
        return self._put(name, header, form, *encode(frame, columns, header))

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
        decode = codec.decode_json_table if form == "json" else codec.decode_parquet_table
        wanted = tuple(c for c in columns if names is None or c.name in names)
        with self._verified(name, partition, form) as (data, digest):
            header, frame = decode(data, name, partition, [c.name for c in wanted])
        return Table(self._stored(name, header, form, digest), conform(frame, wanted))

    def read_columns(self, name: str, partition: str, names: Sequence[str]) -> tuple[Stored, dict[str, list[Any]]]:
        """Columns of a verified table as lists, as they lie in its file: for a few words of it, without a data frame.

        Raises as ``read_table`` does.
        """
        decode = codec.decode_json_table if self.form == "json" else codec.decode_parquet_table
        with self._verified(name, partition, self.form) as (data, digest):
            header, found = decode(data, name, partition, names)
        return self._stored(name, header, self.form, digest), {column: list(values) for column, values in found.items()}

    def write_addressed(self, folder: str, name: str, body: Mapping[str, Any], inputs: Mapping[str, str]) -> Stored:
        """Store a JSON document under its own digest: ``<folder>/<sha256>/<name>.json``."""
        header = Header(name, None, inputs)
        data, digest = codec.encode_document(body, header)
        return self._put(f"{folder}/{digest}/{name}", header, "json", data, digest)

    def copy_document(self, source: str, name: str, sha256: str) -> Stored:
        """Publish the document ``source``, a ``name`` that lies in a folder of its own, at the root: the same bytes.

        Raises ``ArtifactError`` where they do not have the digest ``sha256``.
        """
        with self._verified(source, None, "json") as (data, digest):
            if digest != sha256:
                raise ArtifactError(f"expected {sha256[:12]}, found {digest[:12]}")
            header, _ = codec.decode_json(data, name, None)
        return self._put(name, header, "json", data, digest)

    def read_document(self, path: str) -> tuple[dict[str, Any], Stored]:
        """A verified JSON document; ``path`` is its name, behind the folders that it lies in."""
        with self._verified(path, None, "json") as (data, digest):
            header, found = codec.decode_json(data, path.rsplit("/", 1)[-1], None)
        return found, self._stored(path, header, "json", digest)

    def keep(self, name: str, partition: str | None, digest: str, form: TableFormat | None = None) -> str:
        """Copy an artifact, byte for byte, to a place beside it that names its digest. Returns the place.

        Raises ``ArtifactError`` where the artifact is not the one with that digest.
        """
        form = form or self.form
        with self._verified(name, partition, form) as (data, found):
            if found != digest:
                raise ArtifactError(f"expected {digest[:12]}, found {found[:12]}")
            header = Header(name, partition, {})
        return self._put(f"{name}.{digest[:12]}", header, form, data, digest).location

    def write_text(
        self, name: str, partition: str | None, text: str, inputs: Mapping[str, str], form: TextFormat = "txt"
    ) -> Stored:
        """Store a plain text, or an HTML page."""
        header = Header(name, partition, inputs, text.count("\n"))
        return self._put(name, header, form, *codec.encode_text(text, header, html=form == "html"))

    def read_text(self, name: str, partition: str, form: TextFormat = "txt") -> tuple[str, Stored]:
        """A verified text, word for word as it was stored."""
        with self._verified(name, partition, form) as (data, digest):
            header, text = codec.decode_text(data, name, partition)
        return text, self._stored(name, header, form, digest)

    def digest(self, name: str, partition: str | None, suffix: str | None = None) -> str:
        """The verified digest of an artifact, at the cost of its bytes: what it holds is not looked at."""
        with self._verified(name, partition, suffix or self.form) as (_, digest):
            return digest

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
        else:
            found = list(Path(folder).iterdir()) if Path(folder).is_dir() else []
        names = (str(path).rstrip("/").rsplit("/", 1)[-1] for path in found)
        return sorted(name for name in names if re.fullmatch(r"\d{4}-\d{2}-\d{2}", name))

    def _put(self, path: str, header: Header, suffix: str, data: bytes, digest: str) -> Stored:
        stored = self._stored(path, header, suffix, digest)
        if "://" in stored.location:
            _filesystem(stored.location).pipe_file(stored.location, data)
        else:
            write_atomically(Path(stored.location), data)
        return stored

    def _stored(self, path: str, header: Header, suffix: str, digest: str) -> Stored:
        location = self.location(path, header.partition, suffix)
        return Stored(path, header.partition, location, digest, header.rows, header.inputs)

    @contextmanager
    def _verified(self, path: str, partition: str | None, suffix: str) -> Iterator[tuple[bytes, str]]:
        """An artifact's bytes and digest; what is found wrong with them is said of it by name, with the remedy."""
        location = self.location(path, partition, suffix)
        what, remedy = codec.title(path, partition), _remedy(path, partition)
        try:
            data = _filesystem(location).cat_file(location) if "://" in location else Path(location).read_bytes()
        except FileNotFoundError as error:
            raise ArtifactError(f"{what} is not there yet (looked at {location}). {remedy}") from error
        except OSError as error:
            raise ArtifactError(f"{what} at {location} cannot be read: {error.strerror or error}. {remedy}") from error
        try:
            yield data, codec.verify_text(data) if suffix in {"txt", "html"} else codec.verify(data)
        except ArtifactError as error:
            raise ArtifactError(f"{what} at {location} cannot be used: {error}. {remedy}") from error


def require_no_infinity(what: str, frame: pd.DataFrame, columns: Sequence[Column]) -> None:
    """Raise ``ArtifactError`` for infinity in ``what``."""
    import numpy as np

    numbers = [c.name for c in columns if c.kind == "number"]
    infinite = [n for n in numbers if np.isinf(frame[n].to_numpy(dtype=float)).any()]
    if infinite:
        raise ArtifactError(
            f"{what} is not stored: expected finite or missing numbers, found infinity in {', '.join(infinite)}. "
            "Correct what it is made from, then run it again"
        )


def _filesystem(location: str) -> Any:
    import fsspec

    return fsspec.core.url_to_fs(location)[0]


def _remedy(name: str, partition: str | None) -> str:
    """What to type to have the artifact made again."""
    group = {
        "history": "price_history",
        "models": "model",
        "prices_rejected": "prices_clean",
        "restatements": "prices_raw",
    }
    asset = group.get(name.split("/")[0], name)
    if partition and "-W" in partition:
        partition = datetime.strptime(f"{partition}-1", "%G-W%V-%u").date().isoformat()  # noqa: DTZ007 - a day alone
    where = f" --partition {partition}" if partition else ""
    return f"Make it with: dagster asset materialize -m definitions --select {asset}{where}"
