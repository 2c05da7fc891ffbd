"""Replies that are no bars: each is refused with its cause and what to do, whatever the status said of it."""

from __future__ import annotations

import gzip
import io
import json
import re
import zipfile
from pathlib import Path
from typing import Final

import pytest

from countersign.errors import SourceError
from countersign.prices.sources.shapes import read_body

FIXTURES: Final = Path(__file__).parents[3] / "fixtures" / "sources"
SECRET: Final = "Zq8KxR27pLm4Tt0V"
ACT: Final = re.compile(r"(?i)\b(run again|deliver|check|wait|save|correct|open the address|write it)\b")
NOT_DELISTED: Final = "does not say that a symbol was delisted"
BARS: Final = (FIXTURES / "long.csv").read_bytes()


def zipped(*members: tuple[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        for name, data in members:
            file.writestr(name, data)
    return packed.getvalue()


def locked() -> bytes:
    """A zip that says of itself, in both of its headers, that it has a password."""
    data = bytearray(zipped(("prices.csv", BARS)))
    data[6] |= 1
    data[data.find(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


def said(**keys: object) -> bytes:
    return json.dumps(keys).encode()


REFUSED: Final[dict[str, tuple[bytes, str]]] = {
    "HTML page": (
        b"<!DOCTYPE html>\n<html><head><title>Just a moment...</title></head>",
        "web page: 'Just a moment...'",
    ),
    "HTML page that echoes the key": (
        f"<html><body>403 for /eod?api_token={SECRET} (token: {SECRET})</body></html>".encode(),
        "web page: '403",
    ),
    "HTML behind blank lines": (b"\r\n\r\n  <html>Please enter your key</html>", "web page: 'Please enter your key"),
    "XML error": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "AccessDenied"),
    "Stooq: limit": (b"Exceeded the daily hits limit", "daily hits limit'. Wait a day"),
    "Stooq: no data": (b"No data\r\n", f"found 'No data'.*{NOT_DELISTED}"),
    "Stooq: no data, packed": (gzip.compress(b"No data"), "found 'No data'"),
    "Alpha Vantage: Note": (
        said(Note="Thank you! Our standard API call frequency is 5 calls per minute."),
        "call frequency is 5.*limit on requests is used up: wait",
    ),
    "Alpha Vantage: Information": (
        said(Information=f"We have detected your API key as {SECRET} and our rate limit is 25 requests per day."),
        "API key as … and our rate limit.*used up: wait",
    ),
    "Alpha Vantage: premium": (
        said(Information="This is a premium endpoint."),
        "premium endpoint.*Check the key, and what",
    ),
    "Alpha Vantage: Error Message": (
        said(**{"Error Message": f"the parameter apikey={SECRET} is invalid or missing"}),
        "is invalid or missing.*Check the key",
    ),
    "empty JSON object": (b"{}", rf"empty reply \({{}}\).*{NOT_DELISTED}"),
    "empty JSON list": (b" [ ]\n", NOT_DELISTED),
    "Alpha Vantage: no days": (said(**{"Meta Data": {"2. Symbol": "X"}, "Time Series (Daily)": {}}), NOT_DELISTED),
    "Nasdaq: quandl_error": (
        said(quandl_error={"code": "QELx01", "message": "You have exceeded the anonymous user limit of 50 calls."}),
        "QELx01: You have exceeded.*used up: wait",
    ),
    "Nasdaq: no rows": (said(datatable={"data": [], "columns": [{"name": "ticker"}]}, meta={}), NOT_DELISTED),
    "Nasdaq: a short row": (
        said(datatable={"data": [["A", "2008-09-15"]], "columns": [{"name": n} for n in ("ticker", "date", "close")]}),
        "expected 3 cells in each row, found 2 in row 1",
    ),
    "Massive: NOT_AUTHORIZED": (
        said(status="NOT_AUTHORIZED", message="You are not entitled to this data. Please upgrade your plan"),
        "NOT_AUTHORIZED: You are not entitled.*Check the key, and what its plan",
    ),
    "Massive: ERROR": (said(status="ERROR", error="Unknown API Key"), "ERROR: Unknown API Key.*Check the key"),
    "Massive: OK without results": (
        said(ticker="X", status="OK", queryCount=0, resultsCount=0),
        f"status OK and no results.*{NOT_DELISTED}",
    ),
    "status ok, and another layout": (
        said(status="ok", values=[{"datetime": "2008-09-15"}]),
        "the keys status, values",
    ),
    "Massive: no results": (said(ticker="X", status="OK", results=[]), NOT_DELISTED),
    "Massive: results are null": (said(ticker="X", status="OK", results=None), NOT_DELISTED),
    "Massive: results are text": (said(ticker="X", status="OK", results="soon"), "rows as JSON objects"),
    "Tiingo: detail": (said(detail="Error: Ticker 'FBX' not found"), "Ticker 'FBX' not found.*Check symbol"),
    "EODHD: text": (b"Forbidden. Please contact support", "found Forbidden"),
    "errors beside results": (said(error="partial outage", results=[{"t": 1}]), "partial outage"),
    "an object of something else": (said(open=1, close=2), "object with the keys open, close"),
    "a list of numbers": (b"[1, 2, 3]", "rows as JSON objects"),
    "no header": (b"2005-02-10,AAPL,78.72,79.28,76.66,78.36\n", "found 2005-02-10, AAPL"),
    "nothing": (b"", rf"empty file.*{NOT_DELISTED}"),
    "blank lines": (b" \r\n\n \n", "empty file"),
    "byte-order mark alone": (b"\xef\xbb\xbf", "empty file"),
    "header alone": (b"date,symbol,open,high,low,close\n", f"header line and no rows.*{NOT_DELISTED}"),
    "header alone, packed": (gzip.compress(b"Date,Open,High,Low,Close,Volume"), "header line and no rows"),
    "Parquet without rows": ((FIXTURES / "long_decimal.parquet").read_bytes()[:4], "(?i)parquet"),
    "half a row": (BARS[:-30], "Expected 8 columns, got"),
    "half a JSON": (
        (FIXTURES / "long.json").read_bytes()[:-40],
        "whole JSON, found a fault at line .*cut off: deliver",
    ),
    "half an NDJSON": ((FIXTURES / "long.ndjson").read_bytes()[:-25], "whole JSON"),
    "half a gzip": (gzip.compress(BARS)[:-12], "(?i)end"),
    "half a Parquet": ((FIXTURES / "long_decimal.parquet").read_bytes()[:900], "(?i)parquet"),
    "half a zip": (zipped(("a.csv", BARS))[:-30], "(?i)zip"),
    "zip without files": (zipped(), "zip file with prices, found none"),
    "zip of hidden files": (zipped(("__MACOSX/._a.csv", b"x"), (".DS_Store", b"x")), "found none in it"),
    "zip with a password": (locked(), "without a password"),
    "zip in a zip": (zipped(("a.zip", zipped(("b.csv", BARS)))), "packed file in a packed file"),
    "an error page among zipped files": (zipped(("a.csv", BARS), ("b.csv", b"<html>no</html>")), r"b\.csv: .*web page"),
    "UTF-16": (BARS.decode().encode("utf-16"), "expected UTF-8, found UTF-16. Save it as UTF-8"),
    "UTF-16 without a mark": (BARS.decode().encode("utf-16-le"), "missing date"),
    "Latin-1": (BARS.replace(b"BRK.B", "BÄR".encode("latin-1")), "(?i)utf-?8"),
    "an image": (b"\x89PNG\r\n\x1a\n" + bytes(64), "(?i)utf-?8"),
    "yfinance without its third line": (b"Price,Close\nTicker,AAPL\n2005-02-10,78.36\n", "missing date"),
    "yfinance without opens": (b"Price,Close\nTicker,AAPL\nDate,\n2005-02-10,78.36\n", "missing open of AAPL"),
    "a column a symbol, twice": (b"Date,AAPL,IBM,AAPL\n2005-02-10,1,2,3\n", "'AAPL' twice"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_reply_that_is_no_bars_is_refused_with_its_cause_and_what_to_do(case: str) -> None:
    body, cause = REFUSED[case]
    with pytest.raises(SourceError) as caught:
        read_body(body, name="reply.csv", uri="https://example.org/eod", zone="America/New_York")
    told = str(caught.value)
    assert told.startswith("https://example.org/eod")
    assert re.search(cause, told), told
    assert ACT.search(told), f"says not what to do next: {told}"
    assert "\n" not in told
    assert SECRET not in told


def test_a_file_that_is_not_the_named_profile_is_still_told_by_its_own_error() -> None:
    with pytest.raises(SourceError, match="Our standard API call frequency"):
        read_body(REFUSED["Alpha Vantage: Note"][0], name="x.csv", uri="reply", zone="UTC", profile="alpha_vantage")
