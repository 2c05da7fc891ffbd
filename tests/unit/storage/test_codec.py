"""The bytes of artifacts: sealed, reproducible, and refused once a single bit of them is another."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from countersign.errors import ArtifactError
from countersign.storage import codec
from countersign.storage.codec import Header
from countersign.tables import DATE, SCORES, SYMBOL, Column, conform, empty_table

COLUMNS = (
    Column("symbol", "string", "", "Ticker"),
    Column("close", "number", "price", "Last price", nullable=True),
)
TABLE = (
    DATE,
    SYMBOL,
    Column("row", "integer", "", "Row of the source"),
    Column("close", "number", "price", "Last price", nullable=True),
    Column("reason", "string", "", "Why it was refused", nullable=True),
)
"""A column of every kind."""
SLOTS = {"json": '{"sha256":"', "text": "\n-- artifact "}
LOOKALIKES = [f"{slot}{digit * 64}" for slot in SLOTS.values() for digit in "0a"]


def header(inputs: dict[str, str] | None = None) -> Header:
    return Header("prices_raw", "2008-09-15", {"source": "prices.csv"} if inputs is None else inputs, 2)


def frame(symbol: str = "MSFT") -> pd.DataFrame:
    return pd.DataFrame({"symbol": [symbol, "ØKO-株"], "close": [26.83, None]})


def json_table(words: str = "MSFT", head: Header | None = None) -> tuple[bytes, str]:
    return codec.encode_json_table(frame(words), COLUMNS, head or header())


def parquet_table(words: str = "MSFT", head: Header | None = None) -> tuple[bytes, str]:
    return codec.encode_parquet_table(frame(words), COLUMNS, head or header())


def document(words: str = "MSFT", head: Header | None = None) -> tuple[bytes, str]:
    return codec.encode_document({"model": {"name": words, "intercept": -0.1}}, head or header())


def text(words: str = "MSFT", head: Header | None = None) -> tuple[bytes, str]:
    return codec.encode_text(f"COUNTERSIGN\n{words}\n", head or header())


Maker = Callable[..., tuple[bytes, str]]
MAKERS: dict[str, Maker] = {"json": json_table, "parquet": parquet_table, "document": document, "text": text}


def verify(kind: str, data: bytes) -> str:
    return codec.verify_text(data) if kind == "text" else codec.verify(data)


def is_refused(kind: str, data: bytes) -> bool:
    try:
        verify(kind, data)
    except ArtifactError:
        return True
    return False


@pytest.fixture(params=list(MAKERS))
def kind(request: pytest.FixtureRequest) -> str:
    """Each form that an artifact may have."""
    return str(request.param)


def test_a_sealed_artifact_verifies_to_the_digest_that_sealing_returned(kind: str) -> None:
    data, digest = MAKERS[kind]()
    assert verify(kind, data) == digest


def test_the_digest_is_the_sha256_of_the_file_with_its_own_digits_as_zeros(kind: str) -> None:
    data, digest = MAKERS[kind]()
    assert data.count(digest.encode()) == 1
    assert hashlib.sha256(data.replace(digest.encode(), b"0" * 64)).hexdigest() == digest


def test_the_same_content_makes_the_same_bytes(kind: str) -> None:
    assert MAKERS[kind]() == MAKERS[kind]()


def test_the_order_in_which_inputs_are_named_does_not_change_the_bytes(kind: str) -> None:
    one = MAKERS[kind](head=header({"scores": "aa", "model": "bb"}))
    other = MAKERS[kind](head=header({"model": "bb", "scores": "aa"}))
    assert one == other


@pytest.mark.parametrize(
    "head",
    [
        Header("prices_clean", "2008-09-15", {"source": "prices.csv"}, 2),
        Header("prices_raw", "2008-09-16", {"source": "prices.csv"}, 2),
        Header("prices_raw", "2008-09-15", {"source": "other.csv"}, 2),
    ],
    ids=["name", "session", "input"],
)
def test_the_digest_covers_what_the_artifact_says_of_itself(kind: str, head: Header) -> None:
    assert MAKERS[kind](head=head)[1] != MAKERS[kind]()[1]


@pytest.mark.parametrize("words", ["MSFT", *LOOKALIKES])
def test_every_single_bit_that_is_flipped_anywhere_is_noticed(kind: str, words: str) -> None:
    data, _ = MAKERS[kind](words)
    unnoticed = [
        (place, bit)
        for place in range(len(data))
        for bit in range(8)
        if not is_refused(kind, data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :])
    ]
    assert unnoticed == []


def test_a_file_cut_short_at_any_length_is_noticed(kind: str) -> None:
    data, _ = MAKERS[kind]()
    assert [length for length in range(len(data)) if not is_refused(kind, data[:length])] == []


@settings(derandomize=True, deadline=None, max_examples=300)
@given(
    kind=st.sampled_from(list(MAKERS)),
    start=st.integers(0, 4000),
    removed=st.integers(0, 4000),
    inserted=st.binary(max_size=80) | st.sampled_from([words.encode() for words in LOOKALIKES]),
)
def test_whatever_is_cut_out_put_in_or_written_over_is_noticed(
    kind: str, start: int, removed: int, inserted: bytes
) -> None:
    data, _ = MAKERS[kind]()
    start %= len(data) + 1
    altered = data[:start] + inserted + data[start + removed :]
    assume(altered != data)
    assert is_refused(kind, altered)


@pytest.mark.parametrize("words", LOOKALIKES)
def test_words_in_the_data_that_look_like_a_digest_confuse_nothing(kind: str, words: str) -> None:
    data, digest = MAKERS[kind](words)
    assert verify(kind, data) == digest
    place = data.index(digest.encode())
    assert hashlib.sha256(data[:place] + b"0" * 64 + data[place + 64 :]).hexdigest() == digest


@given(words=st.text() | st.sampled_from([*LOOKALIKES, *(f"before {w} after\nmore words\n\n" for w in LOOKALIKES)]))
def test_a_text_comes_back_word_for_word_whatever_it_says(words: str) -> None:
    data, digest = codec.encode_text(words, Header("report", "2008-09-15", {"scores": "c" * 64, "model": "d" * 64}))
    found, text = codec.decode_text(data, "report", "2008-09-15")
    assert text == words
    assert codec.verify_text(data) == digest
    assert found.inputs == {"scores": "c" * 16, "model": "d" * 16}


ROWS = st.fixed_dictionaries(
    {
        "date": st.dates(pd.Timestamp(1990, 1, 1).date(), pd.Timestamp(2030, 1, 1).date()),
        "symbol": st.text(),
        "row": st.integers(-(2**63), 2**63 - 1),
        "close": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "reason": st.none() | st.text(),
    }
)


def as_table(rows: list[dict[str, object]]) -> pd.DataFrame:
    return conform(pd.DataFrame({c.name: [row[c.name] for row in rows] for c in TABLE}), TABLE)


@settings(derandomize=True, deadline=None)
@given(rows=st.lists(ROWS, max_size=8))
def test_json_and_parquet_give_back_every_value_to_the_last_bit(rows: list[dict[str, object]]) -> None:
    written, names = as_table(rows), [c.name for c in TABLE]
    head = Header("prices_raw", "2008-09-15", {"source": "prices.csv"}, len(rows))
    for encode, decode in (
        (codec.encode_json_table, codec.decode_json_table),
        (codec.encode_parquet_table, codec.decode_parquet_table),
    ):
        data, digest = encode(written, TABLE, head)
        assert codec.verify(data) == digest
        found, frame = decode(data, "prices_raw", "2008-09-15", names)
        assert found == head
        pd.testing.assert_frame_equal(conform(frame, TABLE), written, check_exact=True)


@settings(derandomize=True, deadline=None)
@given(rows=st.lists(ROWS, min_size=1, max_size=8))
def test_pandas_reads_a_json_table_without_countersign(rows: list[dict[str, object]]) -> None:
    written = as_table(rows)
    data, _ = codec.encode_json_table(written, TABLE, header())
    read = pd.read_json(io.BytesIO(data), orient="table", precise_float=True)
    pd.testing.assert_frame_equal(conform(read, TABLE), written)


def test_a_json_table_has_one_row_a_line_so_that_a_diff_shows_the_changed_row() -> None:
    before, after = (json_table(symbol)[0].decode().splitlines() for symbol in ("MSFT", "IBM"))
    changed = [number for number, (one, other) in enumerate(zip(before, after, strict=True)) if one != other]
    # The first line holds the digest; the second is the row of the symbol that changed.
    assert changed == [0, 1]


def test_a_number_is_stored_to_its_last_bit_and_a_missing_one_as_null() -> None:
    third = 1 / 3
    data, _ = codec.encode_json_table(pd.DataFrame({"symbol": ["A", "B"], "close": [third, None]}), COLUMNS, header())
    rows = json.loads(data)["data"]
    assert [row["close"] for row in rows] == [third, None]


def test_a_text_says_in_its_last_lines_what_it_is_and_what_it_was_made_from() -> None:
    data, digest = text(head=Header("report", "2008-09-15", {"scores": "c" * 64}))
    assert data.decode().splitlines()[-3:] == [
        f"-- artifact {digest}",
        "--   report of 2008-09-15",
        f"--   made from scores {'c' * 16}",
    ]


@pytest.mark.parametrize("data", [b"", b"[]", b'{"data":[]}', b'"artifact"', b"\xff\xfe", b"{", b"PAR1"])
def test_bytes_that_are_no_json_artifact_are_refused_in_words(data: bytes) -> None:
    with pytest.raises(ArtifactError, match=r"no JSON|no artifact"):
        codec.decode_json(data, "prices_raw", "2008-09-15")


def foreign_parquet(metadata: dict[str, str] | None) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"close": [1.0]}).replace_schema_metadata(metadata), sink)
    return sink.getvalue()


@pytest.mark.parametrize(
    "data",
    [b"", b"PAR1", b'{"sha256":""}', foreign_parquet(None), foreign_parquet({"countersign": "not JSON"})],
    ids=["empty", "beginning", "json", "foreign", "foreign header"],
)
def test_bytes_that_are_no_parquet_artifact_are_refused_in_words(data: bytes) -> None:
    with pytest.raises(ArtifactError, match="no Parquet artifact"):
        codec.decode_parquet_table(data, "prices_raw", "2008-09-15", ["close"])


@pytest.mark.parametrize("data", [b"", b"prices", b'{"sha256":"', b"\n-- artifact ", foreign_parquet(None)])
def test_a_file_that_was_never_sealed_is_refused(data: bytes) -> None:
    with pytest.raises(ArtifactError, match="truncated"):
        codec.verify(data)
    with pytest.raises(ArtifactError, match="truncated"):
        codec.verify_text(data)


def test_an_empty_table_says_that_it_has_no_rows_and_still_names_its_columns() -> None:
    data, _ = codec.encode_json_table(empty_table(SCORES), SCORES, Header("scores", "2008-09-15", {}, 0))
    found = json.loads(data)
    assert found["data"] == []
    assert [field["name"] for field in found["schema"]["fields"]] == [c.name for c in SCORES]


def test_a_combined_digest_depends_on_each_digest_and_on_their_order() -> None:
    digests = [hashlib.sha256(word).hexdigest() for word in (b"a", b"b", b"c")]
    combined = {
        codec.combined_digest(d)
        for d in (digests, digests[::-1], digests[:2], [*digests[:2], "0" * 64], [*digests, ""])
    }
    assert len(combined) == 5
