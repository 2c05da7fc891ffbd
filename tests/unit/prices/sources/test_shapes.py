"""Every supplier's layout of the same six bars is read to the same frame; what is no layout is told with a way on."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pytest

from countersign.errors import SourceError
from countersign.prices.sources.files import FileSource
from countersign.prices.sources.shapes import PROFILE_NAMES, PROFILES, read_body

FIXTURES: Final = Path(__file__).parents[3] / "fixtures" / "sources"
ZONE: Final = "America/New_York"
NUMBERS: Final = ["open", "high", "low", "close", "adj_close", "volume"]
BARS: Final = [
    ("2005-02-10", "AAPL", 78.72, 79.28, 76.66, 78.36, 5.0747, 10998900.0),
    ("2005-02-10", "BRK.B", 2990.0, 3001.5, 2985.0, 2999.0, 59.98, 18800.0),
    ("2005-02-11", "AAPL", 79.86, 81.76, 78.94, 81.21, 5.2593, 21562300.0),
    ("2005-02-11", "BRK.B", 2999.0, 3018.0, 2995.25, 3015.0, 60.3, 12600.0),
    ("2005-02-14", "AAPL", 82.73, 84.79, 82.05, 84.63, 5.4808, 22604400.0),
    ("2005-02-14", "BRK.B", 3010.0, 3015.0, 3001.0, 3005.0, 60.1, np.nan),
]
NO_ADJ: Final = ["adj_close"]
CLOSES: Final = [name for name in NUMBERS if name != "close"]

# File, columns that this layout does not have, and what has to be configured.
BOTH: Final[list[tuple[str, list[str], dict[str, Any]]]] = [
    ("long.csv", [], {}),
    ("long.csv.gz", [], {}),
    ("long.zip", [], {}),
    ("long_bom_crlf.csv", [], {}),
    ("long_any_order.csv", [], {}),
    ("long_epoch_seconds.csv", [], {}),
    ("long_epoch_micros.csv", [], {}),
    ("long_aware.csv", [], {}),
    ("long_missing_spelled.csv", [], {}),
    ("long.json", [], {}),
    ("long.ndjson", [], {}),
    ("long.ndjson.gz", [], {}),
    ("long_decimal.parquet", [], {}),
    ("long_aware.parquet", [], {}),
    (
        "own_names.csv",
        [],
        {
            "rename": {
                "day_of_trade": "date",
                "Paper": "symbol",
                "px_first": "open",
                "px_max": "high",
                "px_min": "low",
                "px_last": "close",
                "PX Total Return": "adj_close",
                "shares": "volume",
            }
        },
    ),
    ("stooq_bulk.txt", NO_ADJ, {}),
    ("yfinance_download.csv", NO_ADJ, {}),
    ("yfinance_download.parquet", NO_ADJ, {}),
    ("yfinance_by_ticker.csv", [], {}),
    ("massive_grouped.json", NO_ADJ, {}),
    ("nasdaq_datatable.json", [], {}),
    ("wiki_export.csv", [], {}),
    ("eodhd_bulk.json", [], {}),
    ("wide.csv", CLOSES, {}),
    ("wide.parquet", CLOSES, {}),
    ("wide.json", CLOSES, {}),
    ("wide_lower_case.csv", CLOSES, {"profile": "wide"}),
    ("per_symbol", [], {}),
    ("per_symbol/*.csv", [], {}),
    ("per_symbol.zip", [], {}),
]
APPLE: Final[list[tuple[str, list[str], dict[str, Any]]]] = [
    ("yfinance_flat/AAPL.csv", [], {}),
    ("yfinance_history/AAPL.csv", NO_ADJ, {}),
    ("stooq_daily/aapl.us.csv", NO_ADJ, {}),
    ("stooq_without_volume/aapl.us.csv", ["adj_close", "volume"], {}),
    ("alpha_vantage.json", NO_ADJ, {}),
    ("alpha_vantage_adjusted.json", [], {}),
    ("alpha_vantage_csv/AAPL.csv", NO_ADJ, {}),
    ("tiingo_csv/AAPL.csv", [], {}),
    ("tiingo_json/AAPL.json", [], {}),
    ("massive.json", NO_ADJ, {}),
    ("massive_pages", NO_ADJ, {}),
    ("massive_pages/2.json", NO_ADJ, {}),
    ("eodhd_json/AAPL.US.json", [], {}),
]


def expected(symbols: set[str], lacking: list[str]) -> pd.DataFrame:
    frame = pd.DataFrame(BARS, columns=["date", "symbol", *NUMBERS])
    frame.loc[:, lacking] = np.nan
    return frame[frame["symbol"].isin(symbols)].reset_index(drop=True)


def ordered(frame: pd.DataFrame) -> pd.DataFrame:
    assert frame["unreadable"].isna().all()
    return frame.drop(columns="unreadable").sort_values(["date", "symbol"], ignore_index=True)


@pytest.mark.parametrize(
    ("name", "lacking", "options", "symbols"),
    [
        pytest.param(*case, symbols, id=case[0])
        for cases, symbols in ((BOTH, {"AAPL", "BRK.B"}), (APPLE, {"AAPL"}))
        for case in cases
    ],
)
def test_every_layout_of_the_same_bars_is_read_to_the_same_frame(
    name: str, lacking: list[str], options: dict[str, Any], symbols: set[str]
) -> None:
    source = FileSource(name, FIXTURES, zone=ZONE, **options)
    wanted = expected(symbols, lacking)
    if name == "massive_pages/2.json":
        wanted = wanted[-1:].reset_index(drop=True)
    pd.testing.assert_frame_equal(ordered(source.read("2000-01-01", "2020-12-31")), wanted, check_exact=True)
    assert source.symbols() == sorted(symbols)
    one = source.read("2005-02-14", "2005-02-14")
    pd.testing.assert_frame_equal(ordered(one), wanted[wanted["date"] == "2005-02-14"].reset_index(drop=True))
    path = FIXTURES / name
    if path.is_file() and "rename" not in options:
        body = read_body(path.read_bytes(), name=path.name, uri="reply", zone=ZONE, **options)
        pd.testing.assert_frame_equal(ordered(body), wanted, check_exact=True)


def test_every_fixture_is_read() -> None:
    named = {name.removesuffix("/*.csv") for name, _, _ in (*BOTH, *APPLE)}
    files = {str(path.relative_to(FIXTURES)) for path in FIXTURES.rglob("*") if path.is_file()}
    assert {file for file in files if file not in named and str(Path(file).parent) not in named} == set()


NAMED: Final = {
    "long": "long.csv",
    "per_symbol": "per_symbol/brk-b.csv",
    "wide": "wide.csv",
    "yfinance": "yfinance_download.csv",
    "yfinance_history": "yfinance_history/AAPL.csv",
    "stooq": "stooq_daily/aapl.us.csv",
    "alpha_vantage": "alpha_vantage_csv/AAPL.csv",
    "tiingo": "tiingo_csv/AAPL.csv",
    "massive": "massive.json",
    "nasdaq_data_link": "wiki_export.csv",
    "eodhd": "eodhd_json/AAPL.US.json",
}


@pytest.mark.parametrize("profile", PROFILE_NAMES)
def test_a_profile_that_is_named_reads_what_it_would_have_been_recognised_as(profile: str) -> None:
    data, name = (FIXTURES / NAMED[profile]).read_bytes(), Path(NAMED[profile]).name
    told = read_body(data, name=name, uri="reply", zone=ZONE, profile=profile)
    pd.testing.assert_frame_equal(told, read_body(data, name=name, uri="reply", zone=ZONE))
    # Whatever it is named, a layout that is not there is no silent pass.
    other = b"date,symbol,price\n2005-02-10,AAPL,78.36\n"
    with pytest.raises(SourceError, match=r"^reply: expected"):
        read_body(other, name="x.csv", uri="reply", zone=ZONE, profile="long" if profile == "wide" else profile)


def test_what_is_no_layout_is_told_with_the_profiles_and_the_settings() -> None:
    with pytest.raises(SourceError, match=r"missing date, missing open.*found price, thing") as caught:
        read_body(b"price,thing\n1,2\n", name="x.csv", uri="reply", zone=ZONE)
    assert all(profile.name in str(caught.value) for profile in PROFILES)
    assert "source.rename" in str(caught.value)


@pytest.mark.parametrize(
    ("header", "missing"),
    [
        ("date,symbol,open,high,close", "missing low"),
        ("date,symbol,high,low,close", "missing open"),
        ("symbol,open,high,low,close", "missing date"),
        ("date,symbol,volume", "missing open, missing high, missing low, missing close"),
    ],
)
def test_half_of_a_bar_is_refused_but_closes_alone_are_a_source(header: str, missing: str) -> None:
    row = ",".join("2005-02-10" if name == "date" else "1" for name in header.split(","))
    with pytest.raises(SourceError, match=f"once; {missing}, found"):
        read_body(f"{header}\n{row}\n".encode(), name="x.csv", uri="reply", zone=ZONE)
    closes = read_body(b"date,symbol,close\n2005-02-10,AAPL,78.36\n", name="x.csv", uri="reply", zone=ZONE)
    assert closes["close"].tolist() == [78.36]
    assert closes[["open", "high", "low"]].isna().all(axis=None)


def test_the_symbol_of_a_file_without_one_is_its_name_or_the_one_that_is_given() -> None:
    data = (FIXTURES / "stooq_daily" / "aapl.us.csv").read_bytes()
    for name, symbol, found in (("msft.us.csv.gz", None, "MSFT"), ("eod.csv", "brk-b", "BRK.B"), ("", "ibm", "IBM")):
        frame = read_body(data, name=name, uri="reply", zone=ZONE, symbol=symbol)
        assert frame["symbol"].unique().tolist() == [found]
    with pytest.raises(SourceError, match=r"missing symbol, found .* the symbol in source\.symbol"):
        read_body(data, name="", uri="reply", zone=ZONE)


@pytest.mark.parametrize("name", ["yfinance_history/AAPL.csv", "tiingo_csv/AAPL.csv", "stooq_daily/aapl.us.csv"])
@pytest.mark.parametrize("column", ["Symbol", "ticker"])
def test_a_column_of_symbols_in_a_layout_of_one_symbol_a_file_is_not_overlooked(name: str, column: str) -> None:
    header, *rows = (FIXTURES / name).read_text().splitlines()
    both = [f"{row},{symbol}" for symbol in ("IBM", "MSFT") for row in rows]
    body = "\n".join([f"{header},{column}", *both]).encode()
    found = read_body(body, name="AAPL.csv", uri="reply", zone=ZONE, symbol="AAPL")
    assert found["symbol"].tolist() == ["IBM"] * 3 + ["MSFT"] * 3


def test_a_reply_that_says_its_symbol_is_believed_before_the_one_that_was_asked_for() -> None:
    data = (FIXTURES / "massive.json").read_bytes()
    assert set(read_body(data, name="", uri="reply", zone=ZONE, symbol="MSFT")["symbol"]) == {"AAPL"}


@pytest.mark.parametrize(
    ("date", "symbol"),
    [("Date", "AAPL"), ("Dates", "AAPL"), ("timestamp", "AAPL"), ("Datum", "MÜV2"), ("Date", "0700.HK")],
)
def test_a_symbol_that_is_not_listed_yet_has_no_bar_in_a_wide_table(date: str, symbol: str) -> None:
    text = f"{date},{symbol},FB\n2012-05-17,75.7,\n2012-05-18,75.8,38.2\n"
    found = read_body(text.encode(), name="w", uri="reply", zone=ZONE)
    assert found[["date", "symbol", "close"]].to_numpy().tolist() == [
        ["2012-05-17", symbol, 75.7],
        ["2012-05-18", symbol, 75.8],
        ["2012-05-18", "FB", 38.2],
    ]


def test_a_row_of_yfinance_without_prices_but_with_a_volume_is_kept_to_be_rejected_with_a_reason() -> None:
    text = "Price,Close,High,Low,Open,Volume\nTicker,AAPL,AAPL,AAPL,AAPL,AAPL\nDate,,,,,\n"
    found = read_body(f"{text}2005-02-10,1,2,1,1,5\n2005-02-11,,,,,7\n".encode(), name="y", uri="reply", zone=ZONE)
    assert found["volume"].tolist() == [5, 7]
    assert found["close"].isna().tolist() == [False, True]


# --- headers that mean fields, and bodies of one row


@pytest.mark.parametrize(
    "header",
    [
        "Date,PX_OPEN,PX_HIGH,PX_LOW,PX_LAST,PX_VOLUME",
        "Date,O,H,L,C,V",
        "t,o,h,l,c,v",
        # How pandas writes an index without a name.
        ",Open,High,Low,Close,Volume",
        "Date;Open;High;Low;Close;Volume",
        "Date\tOpen\tHigh\tLow\tClose\tVolume",
        "Date|Open|High|Low|Close|Volume",
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
def test_short_names_other_marks_between_columns_and_all_ends_of_lines_are_read(header: str, end: str) -> None:
    mark = next(mark for mark in ",;\t|" if mark in header)
    row = mark.join(["20050210", "78.72", "79.28", "76.66", "78.36", "10998900"])
    found = read_body(end.join([header, row, ""]).encode(), name="aapl.csv", uri="reply", zone=ZONE)
    pd.testing.assert_frame_equal(ordered(found), expected({"AAPL"}, NO_ADJ)[:1], check_exact=True)


def test_a_table_of_closes_keeps_companies_whose_symbols_are_single_letters() -> None:
    found = read_body(b"Date,AAPL,C,H,L,O,T,V\n2005-02-10,1,2,3,4,5,6,7\n", name="x.csv", uri="reply", zone=ZONE)
    assert dict(zip(found["symbol"], found["close"], strict=True)) == dict(zip("CHLOTV", range(2, 8), strict=True)) | {
        "AAPL": 1
    }


def test_closes_under_a_fields_name_are_no_symbols() -> None:
    with pytest.raises(SourceError, match=r"missing open.* found Date, PX_LAST, PX_VOLUME.* source\.rename"):
        read_body(b"Date,PX_LAST,PX_VOLUME\n2005-02-10,78.36,5\n", name="x.csv", uri="reply", zone=ZONE)


@pytest.mark.parametrize("name", ["long.ndjson", "massive_grouped.json"])
def test_ndjson_of_one_line_is_one_bar(name: str) -> None:
    text = (FIXTURES / name).read_text()
    row = text.splitlines()[0] if name.endswith("ndjson") else json.dumps(json.loads(text)["results"][0])
    found = read_body(f"{row}\n".encode(), name="x.ndjson", uri="reply", zone=ZONE)
    pd.testing.assert_frame_equal(
        ordered(found), expected({"AAPL"}, [] if name.endswith("ndjson") else NO_ADJ)[:1], check_exact=True
    )


# --- dates, by the zone of the exchange


@pytest.mark.parametrize(
    ("text", "zone", "found"),
    [
        # Midnight UTC is how a plain day is written where a time is asked for.
        ("2005-02-10T00:00:00.000Z", "America/New_York", "2005-02-10"),
        ("2005-02-10 00:00:00+00:00", "Asia/Tokyo", "2005-02-10"),
        ("1107993600", "America/New_York", "2005-02-10"),
        # A moment: the day at the exchange.
        ("2005-02-11T01:30:00Z", "America/New_York", "2005-02-10"),
        ("2005-02-10T20:00:00-04:00", "America/New_York", "2005-02-10"),
        ("2005-02-09T15:00:00Z", "Asia/Tokyo", "2005-02-10"),
        ("1108011600000", "America/New_York", "2005-02-10"),
        ("1108011600000000", "America/New_York", "2005-02-10"),
        ("1108011600000000000", "America/New_York", "2005-02-10"),
        ("1107961200", "Asia/Tokyo", "2005-02-10"),
        # Without a zone, the day stands as it is written.
        ("2005-02-10 23:59:59", "Asia/Tokyo", "2005-02-10"),
        ("20050210", "America/New_York", "2005-02-10"),
        ("200502102359", "Asia/Tokyo", "2005-02-10"),
        ("20050210235959", "Asia/Tokyo", "2005-02-10"),
        ("20050210235959999", "Asia/Tokyo", "2005-02-10"),
        # An epoch in ms of the year 1973, in as many digits.
        ("108011600000", "America/New_York", "1973-06-03"),
    ],
)
def test_a_date_is_the_exchanges_day(text: str, zone: str, found: str) -> None:
    body = f"date,symbol,close\n{text},A,1\n".encode()
    assert read_body(body, name="x", uri="reply", zone=zone)["date"].tolist() == [found]


@pytest.mark.parametrize(
    "text",
    [
        *("01/02/2008", "2008/01/02", "Jan 2 2008", "2008-1-2", "080102", "20081302", "2008-02-30", "0"),
        *("-1108011600", "1e9", "20081302093000", "99999999999999999999", "2008-01-02 25:00Z", "2008-01-02 noon"),
        *("2008010200", "1999123199", "200813021600", "200801022460"),
        *("2008-01-02T00:00:00+99:00", "\u0662008-01-02", "nan", ""),
    ],
)
def test_a_date_that_may_mean_another_day_is_refused_and_nothing_is_read(text: str) -> None:
    body = f"date,symbol,close\n2008-01-03,A,1\n{text},A,1\n".encode()
    with pytest.raises(
        SourceError, match=r"expected dates as YYYY-MM-DD.* found .*symbol 'A'.* nothing was read"
    ) as told:
        read_body(body, name="x", uri="reply", zone=ZONE)
    assert ("cannot be told apart" in str(told.value)) == (text == "01/02/2008")
    begins_like_a_year = text.isdigit() and text.startswith(("19", "20")) and len(text) in {10, 12, 14}
    assert ("may be YYYYMMDDHH… or an epoch" in str(told.value)) == begins_like_a_year


# --- symbols


@pytest.mark.parametrize("other", ["aapl", "AAPL.US", "aapl.us", "AAPL-US"])
def test_two_symbols_that_would_be_read_as_one_are_refused(other: str) -> None:
    body = f"date,symbol,close\n2005-02-10,AAPL,78.36\n2005-02-10,{other},9\n".encode()
    with pytest.raises(SourceError, match=f"found 'AAPL' and '{other}', which are both read as 'AAPL'"):
        read_body(body, name="x", uri="reply", zone=ZONE)


# --- pages, files that say something twice


def test_a_first_page_alone_is_refused_as_cut(tmp_path: Path) -> None:
    source = FileSource("massive_pages/1.json", FIXTURES, zone=ZONE)
    with pytest.raises(SourceError, match=r"expected all pages .* folder in source\.path"):
        source.read("2000-01-01", "2020-12-31")
    page = json.loads((FIXTURES / "nasdaq_datatable.json").read_bytes())
    page["meta"]["next_cursor_id"] = "djFfMTg"
    (tmp_path / "page.json").write_text(json.dumps(page))
    with pytest.raises(SourceError, match="expected all pages"):
        FileSource("page.json", tmp_path).read("2000-01-01", "2020-12-31")


def test_a_file_that_is_delivered_twice_changes_nothing(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_bytes((FIXTURES / "long.csv").read_bytes())
    (tmp_path / "notes.md").write_text("not prices")
    with zipfile.ZipFile(tmp_path / "both.zip", "w") as packed:
        packed.write(tmp_path / "a.csv", "a.csv")
        packed.write(tmp_path / "b.csv", "folder/b.csv")
    for location in ("*.csv", "both.zip", "."):
        found = FileSource(location, tmp_path, zone=ZONE).read("2000-01-01", "2020-12-31")
        pd.testing.assert_frame_equal(ordered(found), expected({"AAPL", "BRK.B"}, []), check_exact=True)


def test_two_files_of_a_zip_that_contradict_each_other_are_both_kept_to_be_set_aside(tmp_path: Path) -> None:
    text = (FIXTURES / "long.csv").read_text()
    with zipfile.ZipFile(tmp_path / "both.zip", "w") as packed:
        packed.writestr("a.csv", text)
        packed.writestr("b.csv", text.replace("78.36", "78.37"))
    found = FileSource("both.zip", tmp_path, zone=ZONE).read("2005-02-10", "2005-02-10")
    assert found[found["symbol"] == "AAPL"]["close"].tolist() == [78.36, 78.37]


def test_a_file_of_a_folder_whose_header_has_changed_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes((FIXTURES / "long.csv").read_bytes())
    (tmp_path / "b.csv").write_bytes((FIXTURES / "long.csv").read_bytes().replace(b",close,", b",last,"))
    with pytest.raises(SourceError, match=r"b\.csv: expected each of the columns .* missing close"):
        FileSource("*.csv", tmp_path, zone=ZONE).read("2000-01-01", "2020-12-31")


@pytest.mark.parametrize("pattern", ["{}/", "{}/*.csv"])
def test_a_folder_or_a_glob_behind_a_url_is_read_like_a_local_one(tmp_path: Path, pattern: str) -> None:
    found = FileSource(pattern.format(f"file://{FIXTURES}/per_symbol"), tmp_path, zone=ZONE)
    pd.testing.assert_frame_equal(
        ordered(found.read("2000-01-01", "2020-12-31")), expected({"AAPL", "BRK.B"}, []), check_exact=True
    )


def test_more_bars_than_are_allowed_are_refused_with_the_setting() -> None:
    source = FileSource("long.csv", FIXTURES, zone=ZONE, max_bars=5)
    with pytest.raises(SourceError, match=r"expected at most 5 bars in one reply, found more.*source\.max_bars"):
        source.read("2000-01-01", "2020-12-31")
    assert len(source.read("2005-02-11", "2005-02-14")) == 4
