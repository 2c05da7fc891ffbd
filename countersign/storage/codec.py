"""Codec: the bytes of an artifact. Self-describing and self-verifying, as JSON, Parquet or text.

Belongs here: encoding, decoding and the digest. Does not belong here: where the bytes lie (``artifacts``).

Every artifact starts with a header that says what it is, how many rows it holds, and the digests of its inputs.
The digest is the SHA-256 of the whole file with the digest's own 64 digits as zeros, so that it covers the header,
the schema and the data alike and is checked without parsing. The same rule holds for all three formats.
JSON tables are also readable with ``pandas.read_json(path, orient="table")``, one row a line.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from countersign.errors import ArtifactError
from countersign.tables import Column

if TYPE_CHECKING:
    import pandas as pd

_SLOT: Final = b'{"sha256":"'
_ZEROS: Final = b"0" * 64
_TEXT_SLOT: Final = b"\n-- artifact "
_COMMENT: Final = "<!--"
_END_OF_COMMENT: Final = "-->\n"
_TYPES: Final = {"date": "datetime", "string": "string", "number": "number", "integer": "integer"}


@dataclass(frozen=True)
class Header:
    """What an artifact says of itself: ``inputs`` maps the name of each input to its digest."""

    name: str
    partition: str | None
    inputs: Mapping[str, str]
    rows: int = 0

    def as_dict(self) -> dict[str, Any]:
        return {"name": self.name, "partition": self.partition, "rows": self.rows, "inputs": dict(self.inputs)}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Header:
        return cls(found["name"], found["partition"], found["inputs"], found["rows"])


def combined_digest(digests: Sequence[str]) -> str:
    """One digest for several inputs, in order.

    >>> combined_digest(["aa", "bb"]) == combined_digest(["bb", "aa"])
    False
    """
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def json_bytes(value: Any) -> bytes:
    """Canonical JSON: sorted keys, shortest floats, NaN as null."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY)


def seal(data: bytes, slot: bytes = _SLOT) -> tuple[bytes, str]:
    """Put the digest into the last ``slot`` of ``data``, which holds zeros. Returns the bytes and the digest."""
    place = _slot_end(data, slot)
    digest = hashlib.sha256(data).hexdigest()
    return data[:place] + digest.encode() + data[place + 64 :], digest


def verify(data: bytes, slot: bytes = _SLOT) -> str:
    """The digest of sealed ``data``. Raises ``ArtifactError`` where the bytes are not the ones that were sealed."""
    place = _slot_end(data, slot)
    stated = data[place : place + 64].decode("ascii", "replace")
    found = hashlib.sha256(data[:place] + _ZEROS + data[place + 64 :]).hexdigest()
    if found != stated:
        raise ArtifactError(f"it is truncated or altered (its bytes have the digest {found[:12]}…, not {stated[:12]}…)")
    return found


def _slot_end(data: bytes, slot: bytes) -> int:
    """Where the digest starts: at the front of JSON, else in the last place (text in the data may look like one)."""
    place = 0 if slot == _SLOT and data.startswith(slot) else data.rfind(slot)
    if place < 0:
        raise ArtifactError("no digest was found in it: it is truncated, or no artifact of Countersign")
    return place + len(slot)


def encode_json_table(table: pd.DataFrame, columns: Sequence[Column], header: Header) -> tuple[bytes, str]:
    """A table as JSON in the form of Table Schema, one row a line."""
    fields = [{"name": c.name, "type": _TYPES[c.kind], "unit": c.unit, "description": c.description} for c in columns]
    names = [c.name for c in columns]
    values = [_plain(table[c.name], c) for c in columns]
    rows = b",\n".join(orjson.dumps(dict(zip(names, row, strict=True))) for row in zip(*values, strict=True))
    head = b'%s%s","artifact":%s,"schema":%s,"data":[\n' % (
        _SLOT,
        _ZEROS,
        json_bytes(header.as_dict()),
        orjson.dumps({"fields": fields, "pandas_version": "1.4.0"}),
    )
    return seal(head + rows + b"\n]}\n", _SLOT)


def _plain(values: pd.Series, column: Column) -> list[Any]:
    """A column as plain Python values, missing ones as None (orjson writes NaN as null)."""
    if column.kind == "date":
        return values.to_numpy().astype("datetime64[D]").astype(str).tolist()
    if column.kind == "string":
        return values.astype(object).where(values.notna(), None).tolist()
    return values.tolist()


def decode_json(data: bytes, name: str, partition: str | None) -> tuple[Header, dict[str, Any]]:
    """A verified JSON artifact. Raises ``ArtifactError`` where it is another one than asked for."""
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise ArtifactError(f"it is no JSON ({error})") from error
    if not isinstance(found, dict) or "artifact" not in found:
        raise ArtifactError("it has no header, so it is no artifact of Countersign")
    return _expect(Header.from_dict(found["artifact"]), name, partition), found


def decode_json_table(
    data: bytes, name: str, partition: str | None, columns: Sequence[str]
) -> tuple[Header, dict[str, list[Any]]]:
    """``columns`` of a verified JSON table as lists; see ``decode_json``."""
    header, found = decode_json(data, name, partition)
    _expect_columns(columns, [field["name"] for field in found["schema"]["fields"]])
    return header, {column: [row[column] for row in found["data"]] for column in columns}


def _expect(header: Header, name: str, partition: str | None) -> Header:
    if (header.name, header.partition) != (name, partition):
        raise ArtifactError(f"it is {title(header.name, header.partition)}, so a file was moved")
    return header


def _expect_columns(wanted: Sequence[str], found: Sequence[str]) -> None:
    missing = [column for column in wanted if column not in found]
    if missing:
        raise ArtifactError(
            f"it lacks the columns {', '.join(missing)} (found {', '.join(found)}), so another version of "
            "Countersign made it"
        )


def title(name: str, partition: str | None) -> str:
    """What to call an artifact in words.

    >>> title("scores", "2008-09-15")
    'scores of 2008-09-15'
    """
    return f"{name} of {partition}" if partition else name


def encode_parquet_table(table: pd.DataFrame, columns: Sequence[Column], header: Header) -> tuple[bytes, str]:
    """A table as Parquet, the header in the file's key-value metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {"date": pa.date32(), "string": pa.string(), "number": pa.float64(), "integer": pa.int64()}
    schema = pa.schema([pa.field(c.name, types[c.kind]) for c in columns])
    arrays = [
        pa.array(table[c.name], type=field.type, from_pandas=True) for c, field in zip(columns, schema, strict=True)
    ]
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, schema, compression="zstd", store_schema=False) as writer:
        writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
        writer.add_key_value_metadata(
            {"countersign": b'%s%s","artifact":%s}' % (_SLOT, _ZEROS, json_bytes(header.as_dict()))}
        )
    return seal(sink.getvalue(), _SLOT)


def decode_parquet_table(
    data: bytes, name: str, partition: str | None, columns: Sequence[str]
) -> tuple[Header, dict[str, Any]]:
    """``columns`` of a verified Parquet table. Raises ``ArtifactError`` as ``decode_json`` does."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        header = Header.from_dict(orjson.loads(file.metadata.metadata[b"countersign"])["artifact"])
    except (pa.ArrowInvalid, orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise ArtifactError(f"it is no Parquet artifact of Countersign ({error})") from error
    _expect(header, name, partition)
    _expect_columns(columns, file.schema_arrow.names)
    # Column by column and in this thread: for a session's rows a data frame, or a pool of threads, costs more.
    found = file.read(columns=list(columns), use_threads=False)
    return header, {column: found[column].to_pandas() for column in columns}


def encode_document(body: Mapping[str, Any], header: Header) -> tuple[bytes, str]:
    """A JSON document (a model, say), indented for people."""
    text = orjson.dumps(
        {"artifact": header.as_dict(), **body},
        option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY,
    )
    return seal(_SLOT + _ZEROS + b'",' + text[1:] + b"\n", _SLOT)


def encode_text(text: str, header: Header, *, html: bool = False) -> tuple[bytes, str]:
    """A text, word for word, with its header in lines of its own behind it: those of an HTML page are a comment."""
    inputs = "".join(f"\n--   made from {name} {digest[:16]}" for name, digest in sorted(header.inputs.items()))
    foot = f"{_TEXT_SLOT.decode()}{_ZEROS.decode()}\n--   {title(header.name, header.partition)}{inputs}\n"
    opened, closed = (_COMMENT, _END_OF_COMMENT) if html else ("", "")
    return seal((text + opened + foot + closed).encode(), _TEXT_SLOT)


def verify_text(data: bytes) -> str:
    """The digest of a sealed text; see ``verify``."""
    return verify(data, _TEXT_SLOT)


def decode_text(data: bytes, name: str, partition: str) -> tuple[Header, str]:
    """A verified text without its header, and the header, whose inputs have the first 16 digits of their digests."""
    text, _, foot = data.decode().rpartition(_TEXT_SLOT.decode())
    if foot.endswith(_END_OF_COMMENT):
        text, foot = text.removesuffix(_COMMENT), foot.removesuffix(_END_OF_COMMENT)
    found, *made_from = [line.removeprefix("--   ") for line in foot.splitlines()[1:]]
    if found != title(name, partition):
        raise ArtifactError(f"it is {found}, so a file was moved")
    inputs = dict(line.removeprefix("made from ").split(" ", 1) for line in made_from)
    return Header(name, partition, inputs), text
