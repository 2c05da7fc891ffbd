"""Dates and numbers as other countries write them: read where one reading is there, refused where there are two."""

from __future__ import annotations

import gzip
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from countersign.errors import DateOrderError, SourceError
from countersign.prices.sources.files import FileSource

HEADER = "date;symbol;close\n"


def read(folder: Path, text: str, **written: Any) -> pd.DataFrame:
    (folder / "prices.csv").write_text(text, encoding="utf-8")
    return FileSource("prices.csv", folder, **written).read("2000-01-01", "2020-12-31")


@pytest.mark.parametrize("text", ["02.01.2019", "2.1.2019", "02.01.2019 00:00", "02.01.2019 17:35:00"])
def test_a_date_with_points_is_read_day_first(text: str, tmp_path: Path) -> None:
    assert read(tmp_path, f"{HEADER}{text};A;1\n31.12.2018;A;1\n")["date"].tolist() == ["2019-01-02", "2018-12-31"]


@pytest.mark.parametrize("text", ["02/01/2019", "2/1/2019", "02-01-2019", "2/1/2019 16:00:00", "2/1/2019 4:00 PM"])
def test_a_date_with_slashes_or_dashes_is_read_as_a_setting_says_and_refused_without(text: str, tmp_path: Path) -> None:
    body = f"{HEADER}{text};A;1\n"
    assert read(tmp_path, body, dates="day_first")["date"].tolist() == ["2019-01-02"]
    assert read(tmp_path, body, dates="month_first")["date"].tolist() == ["2019-02-01"]
    with pytest.raises(
        DateOrderError, match=r"cannot be told apart.* Write .*day_first or month_first, as source\.dat"
    ):
        read(tmp_path, body)


@pytest.mark.parametrize(
    ("dates", "text"),
    [("auto", "01.31.2019"), ("month_first", "31/01/2019"), ("day_first", "02/01/19"), ("day_first", "02/01.2019")],
    ids=["no such month", "month first", "two digits of a year", "two signs"],
)
def test_a_date_that_does_not_fit_refuses_the_file(dates: str, text: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=f"expected dates as .* found '{text}'.* nothing was read"):
        read(tmp_path, f"{HEADER}{text};A;1\n", dates=dates)


def test_a_column_half_of_which_a_spreadsheet_took_for_other_dates_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"dates in one form, found '02\.01\.2019' and '2019-01-03'"):
        read(tmp_path, f"{HEADER}2019-01-03;A;1\n02.01.2019;A;1\n")


@pytest.mark.parametrize(
    ("decimal", "cell", "number"),
    [
        (",", "130,31", 130.31),
        (",", "1.234,5", 1234.5),
        (",", "1.234.567", 1234567.0),
        (",", "1 234,5", 1234.5),
        (",", "1\u202f234,5", 1234.5),
        (",", "1'234,5", 1234.5),
        (",", "9616100", 9616100.0),
        (",", ",5", 0.5),
        (",", "-1,5E-3", -0.0015),
        (".", "1,234.5", 1234.5),
        (".", "9,616,100", 9616100.0),
        (".", "1'234.5", 1234.5),
        (".", "130.31", 130.31),
        # What the sign does not explain is no number, rather than one of another size.
        (",", "130.31", None),
        (",", "0.123", None),
        (",", "1.23.456", None),
        (",", "1,2,3", None),
        (".", "130,31", None),
        (".", "12,34,567", None),
        (".", "0,123", None),
        ("", "1,234", None),
        ("", "1 234", None),
    ],
)
def test_a_number_is_read_by_the_sign_before_its_decimals_and_quoted_where_it_does_not_fit(
    decimal: str, cell: str, number: float | None, tmp_path: Path
) -> None:
    frame = read(tmp_path, f"{HEADER}2019-01-02;A;{cell}\n", decimal=decimal)
    assert frame["close"].tolist() == ([number] if number is not None else pytest.approx([float("nan")], nan_ok=True))
    assert frame["unreadable"].isna().tolist() == [number is not None]


def test_the_bundled_prices_as_a_german_spreadsheet_saves_them_are_the_same_bars(root: Path, tmp_path: Path) -> None:
    header, *rows = gzip.decompress((root / "data/sample/prices.csv.gz").read_bytes()).decode().splitlines()
    saved = [header.replace(",", ";")]
    for row in rows:
        day, symbol, *cells = row.split(",")
        whole = [
            f"{int(a):,}".replace(",", ".") + (f",{b}" if b else "") for a, _, b in (c.partition(".") for c in cells)
        ]
        saved.append(";".join([f"{datetime.fromisoformat(day):%d.%m.%Y}", symbol, *whole]))
    shipped = FileSource("data/sample/prices.csv.gz", root).read("2000-01-01", "2020-12-31")
    pd.testing.assert_frame_equal(read(tmp_path, "\n".join(saved), decimal=","), shipped, check_exact=True)
