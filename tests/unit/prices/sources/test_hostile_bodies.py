"""Hostile replies: clean bars, cells that are quoted to be quarantined, or a clear refusal; memory and time bounded."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countersign.errors import SourceError
from countersign.prices.sources.shapes import PROFILE_NAMES, read_body
from tests.unit.prices.sources.test_refused_bodies import FIXTURES, zipped

HEADER: Final = "date,symbol,open,high,low,close,adj_close,volume"
GOOD: Final = "2008-09-12,IBM,10,11,9,10.5,5.25,1000"
NUMBERS: Final = ["open", "high", "low", "close", "adj_close", "volume"]


def read(data: bytes, name: str = "reply.csv") -> pd.DataFrame:
    return read_body(data, name=name, uri="reply", zone="America/New_York")


def require_valid(frame: pd.DataFrame) -> None:
    """What ``PriceSource.read`` promises, whatever the source said."""
    assert frame.columns.tolist() == ["date", "symbol", *NUMBERS, "unreadable"]
    assert all(date.fromisoformat(day).isoformat() == day for day in frame["date"])
    assert all(isinstance(symbol, str) and symbol == symbol.strip().upper() for symbol in frame["symbol"])
    assert frame[NUMBERS].dtypes.eq("float64").all()
    assert not np.isinf(frame[NUMBERS].to_numpy()).any()
    quoted = frame["unreadable"].dropna()
    assert all(isinstance(note, str) and 0 < len(note) < 1000 for note in quoted)


def require_clear(error: SourceError, uri: str = "reply") -> None:
    told = str(error)
    assert told.startswith(uri)
    assert "expected" in told or "found" in told
    assert len(told) < 1200
    assert told.isprintable(), ascii(told)
    assert "Traceback" not in told


# --- cells: a good row beside each stays clean

CELLS: Final = {
    "NaN": None,
    "1e999": "close='1e999'",
    "-1e999": "close='-1e999'",
    "1e308": 1e308,
    "1e-400": 0.0,
    "-0.0": -0.0,
    "Infinity": "close='Infinity'",
    "=cmd|' /C calc'!A0": "close=\"=cmd|' /C calc'!A0\"",
    "@SUM(A1)": "close='@SUM(A1)'",
    "+1+1": "close='+1+1'",
    "10\x00": "close='10\\x00'",
    "10\x1b[31m": "close='10\\x1b[31m'",
    "<script>alert(1)</script>": "close='<script>alert(1)</script>'",
    "１０": "close='１０'",  # noqa: RUF001 - digits of full width
    "1,5": "close='1,5'",
    "0x1p3": "close='0x1p3'",
    "1e": "close='1e'",
    "9" * 400: f"close='{'9' * 40}'",
    "'; DROP TABLE prices; --": 'close="\'; DROP TABLE prices; --"',
    "\u202e01": "close='\\u202e01'",
}


@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
@pytest.mark.parametrize("cell", CELLS, ids=[ascii(cell)[1:20] for cell in CELLS])
def test_a_hostile_cell_is_a_number_or_missing_or_quoted_and_its_neighbours_are_read(cell: str, form: str) -> None:
    wanted = CELLS[cell]
    if form == "csv":
        body = f'{HEADER}\n{GOOD}\n2008-09-12,AAPL,10,11,9,"{cell}",5,1\n'.encode()
    elif form == "json":
        bar = {
            "symbol": "IBM",
            "date": "2008-09-12",
            "open": 10,
            "high": 11,
            "low": 9,
            "close": 10.5,
            "adj_close": 5.25,
        }
        body = json.dumps([bar | {"volume": 1000}, bar | {"symbol": "AAPL", "close": cell, "volume": 1}]).encode()
    else:
        sink = pa.BufferOutputStream()
        columns = {name: [10.0, 10.0] for name in ("open", "high", "low", "adj_close", "volume")}
        pq.write_table(
            pa.table({"date": ["2008-09-12"] * 2, "symbol": ["IBM", "AAPL"], **columns, "close": ["10.5", cell]}), sink
        )
        body = sink.getvalue().to_pybytes()
    found = read(body)
    require_valid(found)
    assert found["close"][0] == 10.5
    assert pd.isna(found["unreadable"][0])
    if isinstance(wanted, float):
        assert (found["close"][1], np.signbit(found["close"][1])) == (wanted, np.signbit(wanted))
    else:
        assert np.isnan(found["close"][1])
        assert (found["unreadable"][1] == wanted) if wanted else pd.isna(found["unreadable"][1])


@pytest.mark.parametrize(
    ("number", "wanted"),
    [("NaN", None), ("-Infinity", "close='-Infinity'"), ("1e999", "close='1e999'"), ("[[1]]", "close='[[\"1\"]]'")],
)
def test_what_is_no_number_of_json_is_quoted_as_it_was_written(number: str, wanted: str | None) -> None:
    found = read(f'[{{"date":"2008-09-12","symbol":"A","close":{number}}}]'.encode())
    assert np.isnan(found["close"][0])
    assert (found["unreadable"][0] == wanted) if wanted else pd.isna(found["unreadable"][0])


def test_a_number_of_json_is_read_to_the_last_bit_whatever_its_length() -> None:
    texts = ["0.1", "1234567890123456789", "0.30000000000000004441", "123456789012345678901234567890", "4.9e-324"]
    rows = ",".join(f'{{"date":"2008-09-12","symbol":"S{n}","close":{text}}}' for n, text in enumerate(texts))
    assert read(f"[{rows}]".encode())["close"].tolist() == [float(text) for text in texts]


# --- symbols

SYMBOLS: Final = {
    "../../etc/passwd": "......ETC.PASSWD",
    "..\\..\\x": "..\\..\\X",
    "/absolute": ".ABSOLUTE",
    "CON": "CON",
    "A\nB": "A\nB",
    "A\x00B": "A\x00B",
    "A\x1b[2JB": "A\x1b[2JB",
    "A\u202eB": "A\u202eB",
    "=HYPERLINK(0)": "=HYPERLINK(0)",
    "": "",
    ".US": ".US",
    "S" * 5000: "S" * 63 + "…",
    "$(rm x)": "$(RM X)",
}


@pytest.mark.parametrize("spelled", SYMBOLS, ids=[ascii(symbol)[1:20] for symbol in SYMBOLS])
def test_a_hostile_symbol_is_only_text_and_in_its_one_form(spelled: str) -> None:
    found = read(f'{HEADER}\n{GOOD}\n2008-09-12,"{spelled}",10,11,9,10,5,1\n'.encode())
    require_valid(found)
    assert found["symbol"].tolist() == ["IBM", SYMBOLS[spelled]]


# --- whole bodies

BARS: Final = f"{HEADER}\n{GOOD}\n"
BODIES: Final[dict[str, tuple[bytes, str | None]]] = {
    "byte-order mark": (b"\xef\xbb\xbf" + BARS.encode(), None),
    "CRLF": (BARS.replace("\n", "\r\n").encode(), None),
    "no last line break": (BARS.rstrip().encode(), None),
    "blank lines between": (BARS.replace("\n", "\n\n\n").encode(), None),
    "quoted cells": (BARS.replace("IBM", '"IBM"').encode(), None),
    "a column of NULs": (BARS.replace("volume", "volume,\x00").replace("1000", "1000,\x00").encode(), None),
    "formulas for further columns": (BARS.replace("volume", "volume,=1+1").replace("1000", "1000,=2").encode(), None),
    "two gzips in one": (gzip.compress(f"{HEADER}\n".encode()) + gzip.compress(f"{GOOD}\n".encode()), None),
    "a name in a zip that ends where it begins": (
        zipped(("only.csv", BARS.encode())).replace(b"only", b"\0nly"),
        None,
    ),
    "a name in a zip that climbs": (zipped(("../../../../tmp/climbed.csv", BARS.encode())), None),
    "an absolute name in a zip": (zipped(("/etc/cron.d/x.csv", BARS.encode())), None),
    "Latin-1": (BARS.replace("IBM", "Ä").encode("latin-1"), "(?i)utf-?8"),
    "broken UTF-8": (BARS.encode().replace(b"IBM", b"\xed\xa0\x80"), "(?i)utf-?8"),
    "UTF-16": (BARS.encode("utf-16"), "UTF-16"),
    "UTF-32": (BARS.encode("utf-32"), "UTF-16|UTF-8"),
    "NUL bytes alone": (bytes(4096), "expected a header line"),
    "an endless quote": (f'{HEADER}\n"{GOOD}\n{GOOD}\n'.encode(), "expected"),
    "a key twice": (b'[{"date":"2008-09-12","symbol":"A","close":1,"close":2}]', "'close' twice"),
    "half a surrogate": (b'[{"date":"2008-09-12","symbol":"\\ud800","close":1}]', "(?i)utf-?8"),
    "a list 200,000 deep": (b"[" * 200_000, "nested too deep"),
    "an object 200,000 deep": (b'{"a":' * 200_000 + b"1" + b"}" * 200_000, "nested too deep"),
    "results 200,000 deep": (b'{"results":' + b"[" * 200_000 + b"]" * 200_000 + b"}", "nested too deep"),
    "comments in JSON": (b'[{"date":"2008-09-12"} // no\n]', "line 1, column"),
    "JSON and more": (b'[{"date":"2008-09-12"}] x', "Extra data"),
    "NDJSON with a list": (b'{"date":"2008-09-12","symbol":"A","close":1}\n[1]\n', "rows as JSON objects"),
    "other keys in each object": (
        json.dumps([{"date": "2008-09-12", f"K{n}": 1} for n in range(9_000)]).encode(),
        "same keys in each JSON object",
    ),
    "too many keys": (json.dumps([{f"k{n}": 1 for n in range(10_001)}]).encode(), "at most 10,000 columns"),
    "too many columns": (("date" + ",x" * 10_000 + "\n").encode(), "at most 10,000 columns"),
    "a header of a megabyte": (b"," * (1 << 20) + b"\n", "header lines of at most 1 MB"),
    "a cell of 10 MB in the header": (b"d" * (10 << 20), "header lines of at most 1 MB"),
    "a cell of 10 MB": (f"{BARS}2008-09-12,A,{'9' * (10 << 20)},1,1,1,1,1\n".encode(), "a row is longer than 2 MB"),
    "a cell of 100 KB in the header": (f'"{"x" * 200_000}",date\n1,2\n'.encode(), "field larger"),
    "25 MB of JSON": (b'["' + b"x" * (25 << 20) + b'"]', "at most 24 MB"),
    "two million values of JSON": (b"[" + b"1," * 2_000_000 + b"1]", "1,500,000 values"),
    "a page that never ends its title": (b"<title" * 20_000, "web page"),
    "a zip with a directory of 5 MB": (
        zipped(("a.csv", BARS.encode()))[:-22] + b"PK\x05\x06" + bytes(8) + (5 << 20).to_bytes(4, "little") + bytes(6),
        "one of very many",
    ),
    "a gzip with rubbish behind it": (gzip.compress(BARS.encode()) + b"rubbish", "(?i)gzip"),
    "a gzip whose sum is wrong": (gzip.compress(BARS.encode())[:-8] + bytes(8), "(?i)crc"),
    "Parquet with a false end": (
        (FIXTURES / "long_decimal.parquet").read_bytes()[:-8] + b"\xff\xff\xff\x7fPAR1",
        "(?i)parquet",
    ),
    "Parquet with other bytes inside": (
        (FIXTURES / "long_decimal.parquet").read_bytes().replace(b"AAPL", b"\xff\xfe\xfd\xfc"),
        "(?i)utf-?8|parquet",
    ),
    # pyarrow ends the process where the metadata of this column are looked at.
    "Parquet with one bit of a column's metadata turned": (
        (WIDE := (FIXTURES / "wide.parquet").read_bytes())[:367] + bytes([WIDE[367] ^ 0x40]) + WIDE[368:],
        "histogram size mismatch",
    ),
}


@pytest.mark.parametrize("case", BODIES)
def test_a_hostile_body_is_read_or_refused_in_words(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body, cause = BODIES[case]
    monkeypatch.chdir(tmp_path)
    if cause is None:
        found = read(body)
        require_valid(found)
        assert found[["symbol", "close", "volume"]].to_numpy().tolist() == [["IBM", 10.5, 1000.0]]
    else:
        with pytest.raises(SourceError) as caught:
            read(body)
        require_clear(caught.value)
        assert re.search(cause, str(caught.value)), caught.value
    assert list(tmp_path.iterdir()) == []


# --- whatever comes

FILES: Final = [path.read_bytes() for path in sorted(FIXTURES.rglob("*")) if path.is_file()]
CELL: Final = st.one_of(
    st.sampled_from(
        ["2008-09-12", "IBM", "10", "1e999", "", "NaN", '"', "\x00", "=1", "20080912", "1221177600000", "é"]
    ),
    st.text(max_size=6),
)
NAMES: Final = st.sampled_from(
    ["date", "symbol", "open", "high", "low", "close", "volume", "AAPL", "Price", "Ticker", ""]
)
TABLES: Final = st.builds(
    lambda header, rows: "\n".join(",".join(line) for line in (header, *rows)).encode("utf-8", "surrogatepass"),
    st.lists(NAMES, min_size=1, max_size=8),
    st.lists(st.lists(CELL, min_size=1, max_size=8), max_size=5),
)
KEYS: Final = st.sampled_from(
    ["date", "symbol", "close", "t", "T", "c", "ticker", "results", "datatable", "data", "columns"]
)
DOCUMENTS: Final = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just("2008-09-12")),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=5)),
    max_leaves=25,
).map(lambda document: json.dumps(document).encode())
CHANGED: Final = st.builds(
    lambda data, place, cut, new: data[: place % len(data)] + new + data[place % len(data) + cut :],
    st.sampled_from(FILES),
    st.integers(0, 10**6),
    st.integers(0, 40),
    st.binary(max_size=4),
)


@settings(max_examples=600, deadline=None, derandomize=True)
@given(
    body=st.one_of(st.binary(max_size=200), TABLES, DOCUMENTS, CHANGED, TABLES.map(gzip.compress)),
    profile=st.sampled_from(["auto", "auto", "auto", *PROFILE_NAMES]),
)
def test_any_bytes_give_bars_or_a_refusal_and_nothing_else(body: bytes, profile: str) -> None:
    try:
        found = read_body(body, name="x.csv", uri="reply", zone="America/New_York", profile=profile)
    except SourceError as error:
        require_clear(error)
    else:
        require_valid(found)


# --- large ones, in a process of their own: memory and time are measured

MEASURED: Final = """
import sys, time
from pathlib import Path
from countersign.errors import SourceError
from countersign.prices.sources.files import FileSource
start = time.perf_counter()
try:
    said = f"{len(FileSource(sys.argv[1], Path.cwd()).read('1990-01-01', '2030-01-01'))} bars"
except SourceError as error:
    said = str(error)
seconds = time.perf_counter() - start
# Not ru_maxrss, which begins with the memory of the process that started this one.
kilobytes = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(seconds, int(kilobytes) >> 10, said)
"""
MAX_SECONDS: Final = 30
MAX_MEGABYTES: Final = 512


def rows(count: int, year: int = 2008) -> bytes:
    return f"{year}-09-12,IBM,10,11,9,10.5,5.25,1000\n".encode() * count


def make_gzip_of_zeros(path: Path) -> None:
    path.write_bytes(gzip.compress(bytes(32 << 20)) * 128)


def make_gzip_of_bars(path: Path) -> None:
    path.write_bytes(gzip.compress(f"{HEADER}\n".encode()) + gzip.compress(rows(500_000), 1) * 60)


def make_gzip_of_bars_of_another_century(path: Path) -> None:
    path.write_bytes(gzip.compress(f"{HEADER}\n".encode()) + gzip.compress(rows(500_000, 1808), 1) * 120)


def make_zip_of_many_files(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
        for number in range(12):
            packed.writestr(f"{number}.csv", f"{HEADER}\n".encode() + rows(250_000))


def make_wide_table_of_blanks(path: Path) -> None:
    header = "date" + "".join(f",S{n}" for n in range(9_999)) + "\n"
    path.write_bytes(gzip.compress(header.encode()) + gzip.compress((b"2008-09-12" + b"," * 9_999 + b"\n") * 2_000) * 3)


def make_text_of_megabytes_in_each_row(path: Path) -> None:
    zeros = pa.array(np.zeros(300_000, dtype=np.int32))
    text = pa.array(["x" * (15 << 20)]).dictionary_encode().take(zeros)
    columns = {name: np.ones(300_000) for name in ("open", "high", "low", "close")}
    days = pa.array(["2008-09-12"]).dictionary_encode().take(zeros)
    pq.write_table(pa.table({"date": days, "symbol": text, **columns}), path, compression="zstd")


def make_one_text_of_40_mb(path: Path) -> None:
    columns = {name: [1.0] for name in ("open", "high", "low", "close")}
    pq.write_table(
        pa.table({"date": ["2008-09-12"], "symbol": ["x" * (40 << 20)], **columns}), path, compression="zstd"
    )


def make_rows_without_a_number(path: Path) -> None:
    path.write_bytes(f"{HEADER}\n".encode() + b"2008-09-12,IBM,?,?,?,?,?,?\n" * 1_400_000)


def make_a_moment_for_each_row(path: Path) -> None:
    moments = (f"{1221451200000000 + n * 999983},IBM,10,11,9,10,10,1" for n in range(300_000))
    path.write_text("\n".join([HEADER, *moments]) + "\n")


def make_a_symbol_for_each_row(path: Path) -> None:
    path.write_text("\n".join([HEADER, *(f"2008-09-12,S{n},10,11,9,10,10,1" for n in range(400_000))]) + "\n")


def make_empty_lists_of_json(path: Path) -> None:
    path.write_bytes(b"[" + b"[]," * 740_000 + b"[]]")


def make_wide_characters_of_json(path: Path) -> None:
    path.write_text('[{"x":"' + "x" * (22 << 20) + '\U0001f600"},' + '{"a":1},' * 200_000 + '{"a":1}]')


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (make_gzip_of_zeros, "header lines of at most 1 MB"),
        (make_gzip_of_bars, "at most 1,500,000 bars"),
        (make_gzip_of_bars_of_another_century, "at most 2,048 MB"),
        (make_zip_of_many_files, "at most 1,500,000 bars"),
        (make_wide_table_of_blanks, "at most 50,000,000 cells"),
        (make_text_of_megabytes_in_each_row, "300000 bars"),
        (make_one_text_of_40_mb, "at most 16 MB of text"),
        (make_rows_without_a_number, "more than 100,000 rows with cells that are none"),
        (make_a_moment_for_each_row, "300000 bars"),
        (make_a_symbol_for_each_row, "at most 200,000 symbols"),
        (make_empty_lists_of_json, "rows as JSON objects"),
        (make_wide_characters_of_json, "missing date"),
    ],
)
def test_a_large_hostile_file_takes_bounded_memory_and_time(
    make: Callable[[Path], None], found: str, tmp_path: Path
) -> None:
    make(tmp_path / "reply")
    ran = subprocess.run(
        [sys.executable, "-c", MEASURED, "reply"], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120
    )
    seconds, megabytes, said = ran.stdout.split(" ", 2)
    assert re.search(found, said), said
    assert float(seconds) < MAX_SECONDS
    assert int(megabytes) < MAX_MEGABYTES
    (tmp_path / "reply").unlink()
