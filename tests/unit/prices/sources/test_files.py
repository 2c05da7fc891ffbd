"""The file source: which files it reads to which numbers, what it refuses in which words, and that it keeps secrets."""

from __future__ import annotations

import csv
import gzip
import io
import re
import socket
import struct
import uuid
import zipfile
from decimal import Decimal
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countersign.errors import CountersignError, SourceError, TransportError
from countersign.prices.schema import arrived_in
from countersign.prices.sources.files import FileSource

HEADER = "date,symbol,open,high,low,close,adj_close,volume"
FRIDAY = "2008-09-12,AAPL,10,11,9,10.5,5.25,1000"
MONDAY = "2008-09-15,AAPL,10.5,12,10,11.5,5.75,2000"
NUMBERS = ("open", "high", "low", "close", "adj_close", "volume")
NEXT_ACT = re.compile(r"(?i)\b(correct|deliver|write|save|install)\b")


def csv_text(*rows: str, header: str = HEADER) -> str:
    return "\n".join((header, *rows)) + "\n"


def source(folder: Path, data: str | bytes, name: str = "prices.csv") -> FileSource:
    (folder / name).write_bytes(data.encode() if isinstance(data, str) else data)
    return FileSource(name, folder)


def parquet_source(folder: Path, **columns: object) -> FileSource:
    """One bar as Parquet, with ``columns`` in place of the usual ones."""
    bar: dict[str, object] = {"date": ["2008-09-15"], "symbol": ["AAPL"]}
    bar |= {name: [10.0] for name in ("open", "high", "low", "close")}
    pq.write_table(pa.table(bar | columns), folder / "prices.parquet")
    return FileSource("prices.parquet", folder)


def read(found: FileSource) -> pd.DataFrame:
    return found.read("2000-01-01", "2020-12-31")


def refusal(found: FileSource) -> str:
    with pytest.raises(SourceError) as caught:
        read(found)
    return str(caught.value)


@pytest.fixture(scope="session")
def bundled(root: Path) -> bytes:
    """The bundled prices as plain CSV."""
    return gzip.decompress((root / "data" / "sample" / "prices.csv.gz").read_bytes())


@pytest.fixture(scope="session")
def bundled_cells(bundled: bytes) -> list[dict[str, str]]:
    """The same, read by the standard library."""
    return list(csv.DictReader(io.StringIO(bundled.decode())))


# --- reading


@pytest.mark.parametrize("form", ["prices.csv", "prices.parquet"])
def test_every_form_of_the_same_bars_reads_to_the_same_frame(
    tmp_path: Path, root: Path, bundled: bytes, bundled_cells: list[dict[str, str]], form: str
) -> None:
    if form.endswith(".parquet"):
        typed = {name: pa.array([float(row[name]) for row in bundled_cells]) for name in NUMBERS}
        typed["volume"] = pa.array([int(row["volume"]) for row in bundled_cells])
        days = pa.array([row["date"] for row in bundled_cells]).cast(pa.date32())
        names = pa.array([row["symbol"] for row in bundled_cells]).dictionary_encode()
        pq.write_table(pa.table({"date": days, "symbol": names, **typed}), tmp_path / form)
    else:
        (tmp_path / form).write_bytes(bundled)
    gzipped = read(FileSource("data/sample/prices.csv.gz", root))
    assert len(gzipped) == 12154
    pd.testing.assert_frame_equal(read(FileSource(form, tmp_path)), gzipped, check_exact=True)


def test_every_bundled_number_equals_pythons_float(root: Path, bundled_cells: list[dict[str, str]]) -> None:
    frame = read(FileSource("data/sample/prices.csv.gz", root))
    for name in NUMBERS:
        assert frame[name].tolist() == [float(row[name]) for row in bundled_cells]


DECIMALS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.decimals(Decimal("-1e9"), Decimal("1e9"), allow_nan=False, places=25).map(lambda number: f"{number:f}"),
    st.tuples(st.integers(-(10**30), 10**30), st.integers(-350, 270)).map(lambda parts: f"{parts[0]}E{parts[1]:+d}"),
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(cells=st.lists(DECIMALS, min_size=1, max_size=30))
def test_a_number_is_read_to_the_last_bit(tmp_path_factory: pytest.TempPathFactory, cells: list[str]) -> None:
    rows = [f"2008-09-15,A,1,1,1,{cell}" for cell in cells]
    found = read(source(tmp_path_factory.mktemp("bits"), csv_text(*rows, header="date,symbol,open,high,low,close")))
    assert [struct.pack("d", number) for number in found["close"]] == [struct.pack("d", float(cell)) for cell in cells]


@pytest.mark.parametrize(
    "header",
    [
        HEADER.upper(),
        "Date,Symbol,Open,High,Low,Close,Adj Close,Volume",
        " date , symbol , open , high , low , close , adj close , volume ",
        '"Date","Symbol","Open","High","Low","Close","Adj_Close","Volume"',
        "\ufeff" + HEADER,
        HEADER + "\r",
    ],
)
def test_case_spaces_and_quotes_of_the_header_do_not_matter(tmp_path: Path, header: str) -> None:
    spelled = read(source(tmp_path, csv_text(MONDAY, header=header), "spelled.csv"))
    pd.testing.assert_frame_equal(spelled, read(source(tmp_path, csv_text(MONDAY))))


def test_the_order_of_columns_and_further_columns_do_not_matter(tmp_path: Path) -> None:
    other = csv_text(
        "2000,hello,5.75,11.5,10,12,10.5,AAPL,2008-09-15",
        header="volume,note,adj_close,close,low,high,open,symbol,date",
    )
    pd.testing.assert_frame_equal(
        read(source(tmp_path, other, "other.csv")), read(source(tmp_path, csv_text(MONDAY), "usual.csv"))
    )


def test_a_source_without_adjusted_close_and_volume_has_them_as_missing(tmp_path: Path) -> None:
    found = read(source(tmp_path, csv_text("2008-09-15,A,1,2,1,2", header="date,symbol,open,high,low,close")))
    assert found[["adj_close", "volume"]].isna().all(axis=None)
    assert found["unreadable"].isna().all()


def test_only_the_asked_dates_are_read_both_ends_included(tmp_path: Path) -> None:
    rows = [f"2008-09-{day:02},A,1,1,1,1,1,1" for day in (10, 11, 12, 15, 16)]
    found = source(tmp_path, csv_text(*rows)).read("2008-09-11", "2008-09-15")
    assert found["date"].tolist() == ["2008-09-11", "2008-09-12", "2008-09-15"]


def test_dates_without_any_bar_give_an_empty_reply_with_all_columns(tmp_path: Path) -> None:
    found = source(tmp_path, csv_text(MONDAY)).read("1990-01-01", "1990-12-31")
    assert found.empty
    assert found.columns.tolist() == ["date", "symbol", *NUMBERS, "unreadable"]


def test_a_time_after_the_date_is_cut_off(tmp_path: Path) -> None:
    rows = ["2008-09-15T00:00:00Z,A,1,1,1,1,1,1", "2008-09-15 16:00,B,1,1,1,1,1,1"]
    assert source(tmp_path, csv_text(*rows)).read("2008-09-15", "2008-09-15")["symbol"].tolist() == ["A", "B"]


def test_a_file_of_many_blocks_is_read_to_its_last_row(tmp_path: Path) -> None:
    count = 130_000
    rows = [f"2008-09-15,S{number},10.5,12,10,11.5,5.75,{number}" for number in range(count)]
    found = read(source(tmp_path, csv_text(*rows)))
    assert np.array_equal(found["volume"], np.arange(count))


def test_symbols_are_listed_once_in_order_as_the_bars_spell_them(tmp_path: Path) -> None:
    rows = [f"2008-09-15,{symbol},1,1,1,1,1,1" for symbol in ("MSFT", " AAPL ", "MSFT", "", " ")]
    found = source(tmp_path, csv_text(*rows))
    assert found.symbols() == ["AAPL", "MSFT"]
    assert read(found)["symbol"].tolist() == ["MSFT", "AAPL", "MSFT", "", ""]


# --- cells that are no number


@pytest.mark.parametrize(
    "cell", ["abc", "1e999", "-1e999", "inf", "-Infinity", "1.2.3", "0x10", "1_000", "10 USD", "٣"]
)
def test_an_unreadable_cell_becomes_null_and_is_quoted(tmp_path: Path, cell: str) -> None:
    found = read(source(tmp_path, csv_text(f"2008-09-15,A,10,11,9,{cell},5,100", MONDAY)))
    assert np.isnan(found["close"][0])
    assert found["unreadable"][0] == f"close={cell!r}"
    assert found["close"][1] == 11.5
    assert pd.isna(found["unreadable"][1])


@pytest.mark.parametrize("cell", ["", "  ", "NaN", "nan", "NULL", "None", "NA", "N/A", "#N/A N/A", "\\N", ".", "--"])
def test_a_missing_cell_becomes_null_without_a_complaint(tmp_path: Path, cell: str) -> None:
    found = read(source(tmp_path, csv_text(f"2008-09-15,A,10,11,9,{cell},5,100")))
    assert np.isnan(found["close"][0])
    assert pd.isna(found["unreadable"][0])


def test_all_unreadable_cells_of_a_row_are_quoted_and_long_ones_cut(tmp_path: Path) -> None:
    found = read(source(tmp_path, csv_text(f"2008-09-15,A,abc,11,9,{'x' * 5000},5,?")))
    note = found["unreadable"][0]
    assert all(name in note for name in ("open='abc'", "close='xxx", "volume='?'"))
    assert len(note) < 120


def test_infinity_and_nan_in_a_parquet_column_are_read_like_those_of_a_csv(tmp_path: Path) -> None:
    found = read(parquet_source(tmp_path, high=[np.inf], low=[np.nan]))
    assert found[["high", "low"]].isna().all(axis=None)
    assert found["unreadable"][0] == "high='inf'"


# --- refusals

BAR = f"{HEADER}\n{FRIDAY}\n"
GZIPPED = gzip.compress(csv_text(*[f"2008-09-15,S{n},{n}.25,{n},9,{n},5,{n * 7919}" for n in range(3000)]).encode())


@pytest.mark.parametrize(
    ("name", "data", "found"),
    [
        pytest.param("p.csv", b"", "empty file", id="empty file"),
        pytest.param("p.csv.gz", b"", "empty file", id="empty gzip"),
        pytest.param("p.csv", f"{HEADER}\n".encode(), "no|empty", id="header only"),
        pytest.param("p.csv", f"{HEADER}\n\n\n".encode(), "no|empty", id="header and blank lines"),
        pytest.param("p.csv", b"date,symbol,open,high,low\n2008-09-15,A,1,1,1\n", "missing close", id="no close"),
        pytest.param("p.csv", f"{FRIDAY}\n{MONDAY}\n".encode(), "2008-09-12, AAPL", id="no header"),
        pytest.param("p.csv", f"{BAR}15/09/2008,A,1,1,1,1,1,1\n".encode(), "'15/09/2008'.*'A'", id="date of a country"),
        pytest.param("p.csv", f"{BAR},A,1,1,1,1,1,1\n".encode(), "''.*'A'", id="no date"),
        pytest.param("p.csv", f"{BAR}2008-13-45,A,1,1,1,1,1,1\n".encode(), "2008-13-45", id="no such month"),
        pytest.param("p.csv", f"{BAR}2009-02-29,A,1,1,1,1,1,1\n".encode(), "2009-02-29", id="no such day"),
        pytest.param("p.csv", f"{BAR}2008-09-15,A,1,1\n".encode(), "2008-09-15,A,1,1", id="too few cells"),
        pytest.param("p.csv", f"{BAR}2008-09-15,A{',1' * 9}\n".encode(), "2008-09-15,A,1,1", id="too many cells"),
        pytest.param("p.csv", f"{BAR}2008-09-15,Ä,1,1,1,1,1,1\n".encode("latin-1"), "(?i)utf", id="another encoding"),
        pytest.param("p.csv", f"{HEADER},größe\n".encode("latin-1"), "(?i)utf", id="header in another encoding"),
        pytest.param("p.csv", b'"' + b"x" * 200_000, "field", id="one endless cell"),
        pytest.param("p.csv", BAR.encode("utf-16"), "(?i)utf", id="UTF-16"),
        pytest.param("p.gz", gzip.compress(gzip.compress(BAR.encode())), "packed file in a packed", id="packed twice"),
        pytest.param("p.csv.gz", GZIPPED[: len(GZIPPED) // 2], "end", id="truncated gzip"),
        pytest.param("p.csv.gz", GZIPPED[:6], "end", id="gzip cut in its header"),
        pytest.param("p.csv", BAR.replace("adj_close", "Close").encode(), "Close", id="two columns of one name"),
        pytest.param("p.parquet", b"", "(?i)0 bytes|empty", id="empty Parquet"),
    ],
)
def test_a_file_that_is_no_table_of_bars_is_refused_in_one_clear_message(
    tmp_path: Path, name: str, data: bytes, found: str
) -> None:
    said = refusal(source(tmp_path, data, name))
    assert said.startswith(name)
    assert "expected" in said
    assert re.search(found, said)
    assert NEXT_ACT.search(said), f"says not what to do next: {said}"


@pytest.mark.parametrize(("name", "data"), [("p.csv", gzip.compress(BAR.encode())), ("p.csv.gz", BAR.encode())])
def test_a_file_is_told_by_its_content_whatever_its_name_says(tmp_path: Path, name: str, data: bytes) -> None:
    pd.testing.assert_frame_equal(read(source(tmp_path, data, name)), read(source(tmp_path, BAR, "plain.csv")))


@pytest.mark.parametrize("place", [20, 60, 90])
def test_a_gzip_with_altered_bytes_is_refused(tmp_path: Path, place: int) -> None:
    altered = bytearray(gzip.compress(csv_text(*[FRIDAY, MONDAY] * 200).encode()))
    altered[place] ^= 0xFF
    assert "prices.csv.gz" in refusal(source(tmp_path, bytes(altered), "prices.csv.gz"))


def test_an_altered_gzip_trailer_is_refused(tmp_path: Path) -> None:
    altered = bytearray(gzip.compress(csv_text(FRIDAY).encode()))
    altered[-6] ^= 0xFF
    assert "prices.csv.gz" in refusal(source(tmp_path, bytes(altered), "prices.csv.gz"))


@pytest.mark.parametrize("path", ["data/nowhere.csv", "folder", "prices.csv/prices.csv"])
def test_a_path_without_a_file_is_named_with_the_setting_to_correct(tmp_path: Path, path: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "prices.csv").write_text(csv_text(MONDAY))
    said = refusal(FileSource(path, tmp_path))
    assert said.startswith("source.path: expected a file of prices")
    assert str(tmp_path / path) in said
    assert "config/pipeline.yaml" in said


def test_the_list_of_symbols_of_a_broken_file_is_refused_as_well(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="missing close"):
        source(tmp_path, "date,symbol,open,high,low\n").symbols()


def test_an_index_that_pandas_wrote_is_no_further_column(tmp_path: Path) -> None:
    bar = {"date": "2008-09-02", "symbol": "AAPL", "open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0, "sector": "tech"}
    pd.DataFrame([bar], index=[7]).to_parquet(tmp_path / "prices.parquet")
    assert "__index_level_0__" in pq.read_schema(tmp_path / "prices.parquet").names
    assert arrived_in(read(FileSource("prices.parquet", tmp_path))).further == {"sector"}


def test_a_truncated_parquet_file_is_refused(tmp_path: Path) -> None:
    parquet_source(tmp_path)
    whole = (tmp_path / "prices.parquet").read_bytes()
    assert "expected a whole" in refusal(source(tmp_path, whole[: len(whole) // 2], "prices.parquet"))


@pytest.mark.parametrize(
    "columns",
    [
        pytest.param({"date": pa.array([None], pa.date32())}, id="date is null"),
        pytest.param({"date": pa.array([None], pa.string())}, id="date is a null text"),
        pytest.param({"date": pa.array([733300], pa.int64())}, id="date is a number of days"),
        pytest.param({"close": pa.array([[10.0]])}, id="prices are lists"),
    ],
)
def test_a_parquet_file_of_other_types_is_refused_and_no_row_is_lost(
    tmp_path: Path, columns: dict[str, object]
) -> None:
    said = refusal(parquet_source(tmp_path, **columns))
    assert "prices.parquet" in said
    assert "expected" in said


@pytest.mark.parametrize("name", ["PRICES.CSV.GZ", "Prices.Parquet"])
def test_the_case_of_a_files_ending_does_not_matter(tmp_path: Path, name: str) -> None:
    if name.endswith("Parquet"):
        parquet_source(tmp_path)
        (tmp_path / "prices.parquet").rename(tmp_path / name)
    else:
        (tmp_path / name).write_bytes(gzip.compress(csv_text(MONDAY).encode()))
    assert read(FileSource(name, tmp_path))["symbol"].tolist() == ["AAPL"]


# --- remote files


@pytest.mark.parametrize("name", ["prices.csv", "prices.csv.gz", "prices.parquet"])
def test_an_fsspec_url_reads_like_a_local_file(tmp_path: Path, name: str) -> None:
    local = parquet_source(tmp_path) if name.endswith("parquet") else source(tmp_path, csv_text(MONDAY))
    if name.endswith(".gz"):
        local = source(tmp_path, gzip.compress(csv_text(MONDAY).encode()), name)
    url = f"memory://{uuid.uuid4().hex}/{name}"
    with fsspec.open(url, "wb") as file:
        file.write((tmp_path / name).read_bytes())
    pd.testing.assert_frame_equal(read(FileSource(url, tmp_path)), read(local))


@pytest.mark.parametrize("url", ["file://{}/prices.csv", "zip://inner.csv::file://{}/prices.zip"])
def test_files_of_other_kinds_of_url_and_of_chains_are_read(tmp_path: Path, url: str) -> None:
    local = read(source(tmp_path, csv_text(MONDAY)))
    with zipfile.ZipFile(tmp_path / "prices.zip", "w") as packed:
        packed.write(tmp_path / "prices.csv", "inner.csv")
    pd.testing.assert_frame_equal(read(FileSource(url.format(tmp_path), tmp_path)), local)


def test_columns_that_nobody_reads_may_have_one_name_or_none(tmp_path: Path) -> None:
    """Spreadsheets write trailing commas."""
    found = read(source(tmp_path, csv_text(f"{MONDAY},x,,", header=f"{HEADER},note,,"), "trailing.csv"))
    pd.testing.assert_frame_equal(found, read(source(tmp_path, csv_text(MONDAY))))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://me:secret@example.org:8443/a.csv", "https://example.org:8443/a.csv"),
        ("https://me:s%40cret%2Fsecret@example.org/a.csv", "https://example.org/a.csv"),
        ("https://example.org/a.csv?signature=secret", "https://example.org/a.csv"),
        ("s3://secret-key:secret@bucket/a.csv", "s3://bucket/a.csv"),
        ("simplecache::https://me:secret@example.org/a.csv", "simplecache::https://example.org/a.csv"),
        ("zip://a.csv::https://me:secret@example.org/a.zip", "zip://a.csv::https://example.org/a.zip"),
        ("s3://bucket/@me/a.csv", "s3://bucket/@me/a.csv"),
        ("s3://me:sec/ret@bucket/a.csv", "s3://bucket/a.csv"),
        ("s3://me:se?c#r/et@bucket/a.csv", "s3://…"),
        ("https://me:sec::ret@example.org/a.csv", "https://example.org/a.csv"),
        ("https://example.org/a.csv?user=me@home&signature=secret", "https://example.org/a.csv"),
        ("https://me:secret@example.org/a.csv?user=me@home&signature=secret", "https://…"),
        ("data/prices.csv", "data/prices.csv"),
    ],
)
def test_a_password_never_appears_in_the_uri(tmp_path: Path, url: str, shown: str) -> None:
    assert FileSource(url, tmp_path).uri == shown


def test_a_server_that_cannot_be_reached_is_worth_another_attempt(tmp_path: Path) -> None:
    with socket.socket() as closed:
        # Bound, not listening: a connection is refused at once.
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        with pytest.raises(TransportError, match=rf"ftp://127\.0\.0\.1:{port}/prices\.csv could not be reached"):
            read(FileSource(f"ftp://me:secret@127.0.0.1:{port}/prices.csv", tmp_path))


def test_a_transport_faults_own_words_do_not_give_the_password_away(tmp_path: Path) -> None:
    def refuse(_self: object, path: str, *_: object, **__: object) -> None:
        raise ConnectionError(f"no route to {path}")

    faulty = type("Faulty", (fsspec.AbstractFileSystem,), {"protocol": "faulty", "_open": refuse})
    fsspec.register_implementation("faulty", faulty, clobber=True)
    for url in ("faulty://me:secret@example.org/prices.csv", "faulty://example.org/prices.csv?signature=s%65cret"):
        with pytest.raises(TransportError) as caught:
            read(FileSource(url, tmp_path))
        assert not [part for part in ("secret", "s%65cret") if part in str(caught.value)]


@pytest.mark.parametrize("password", ["kxq/zvj", "kxq?zvj", "kxq#zvj", "kxq@b/zvj"])
def test_a_password_that_ends_the_host_for_others_is_asked_for_in_another_spelling(
    tmp_path: Path, password: str
) -> None:
    with pytest.raises(SourceError, match=r"^source\.path: expected a URL.* %2F, %3F, %23 and %40") as caught:
        read(FileSource(f"ftp://me:{password}@127.0.0.1:1/prices.csv", tmp_path))
    assert not [part for part in ("kxq", "zvj") if part in str(caught.value)]


@pytest.mark.parametrize("location", [".", "*", "file://{}/", "file://{}/*"])
def test_what_macos_lays_beside_files_is_passed_over(tmp_path: Path, location: str) -> None:
    (tmp_path / "a.csv").write_text(csv_text(MONDAY))
    (tmp_path / "._a.csv").write_bytes(b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X")
    (tmp_path / ".DS_Store").write_bytes(b"\x00\x00\x00\x01Bud1")
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX" / "._a.csv").write_bytes(b"\x00\x05\x16\x07")
    assert read(FileSource(location.format(tmp_path), tmp_path))["symbol"].tolist() == ["AAPL"]


def test_a_kind_of_url_that_nobody_knows_is_named_with_the_setting_to_correct(tmp_path: Path) -> None:
    with pytest.raises(CountersignError, match=r"source\.path.*nosuch"):
        read(FileSource("nosuch://bucket/prices.csv", tmp_path))
