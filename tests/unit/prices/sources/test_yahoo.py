"""Bars from Yahoo Finance: the library as it is, over recorded replies that a local service gives in Yahoo's place."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from countersign.config import YahooSourceConfig
from countersign.errors import ConfigError, SourceError, TransportError
from countersign.prices.schema import arrived_in
from countersign.prices.sources.yahoo import YahooSource
from tests.service import Call, Service, reply

NEW_YORK, TOKYO = "America/New_York", "Asia/Tokyo"
Chart = Callable[[Call, str], None]


@pytest.fixture
def yahoo(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Chart], Service]]:
    """Starts a service that is asked in Yahoo's place: ``chart`` answers for a symbol, all else is not found."""
    pytest.importorskip("yfinance", reason="yfinance is not installed: pip install 'countersign[yfinance]'")
    from curl_cffi.requests import Session

    started: list[Service] = []
    send = Session.request

    def start(chart: Chart) -> Service:
        def answer(call: Call) -> None:
            path = urlsplit(call.target).path
            if path.startswith("/v8/finance/chart/"):
                chart(call, path.rsplit("/", 1)[1])
            else:
                call.send(reply("crumb" if path.endswith("getcrumb") else "", Connection="close"))

        service = Service(answer)
        started.append(service)

        def request(self: Any, method: Any, url: str, *args: Any, **kwargs: Any) -> Any:
            parts = urlsplit(url)
            assert (parts.scheme, str(parts.hostname).endswith("yahoo.com")) == ("https", True)
            return send(self, method, service.url + parts.path, *args, **kwargs)

        monkeypatch.setattr(Session, "request", request)
        return service

    yield start
    for service in started:
        service.stop()


Row = tuple[str, float | None, int | None]
"""Day and time at the exchange, price (closes are 1 below their open, adjusted ones 2), volume."""


def chart(symbol: str, rows: list[Row], zone: str = NEW_YORK) -> bytes:
    """A reply of Yahoo's chart service, as it was recorded."""
    moments = [int(datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone)).timestamp()) for day, _, _ in rows]
    prices = [price for _, price, _ in rows]

    def less(by: float) -> list[float | None]:
        return [None if price is None else price - by for price in prices]

    meta: dict[str, Any] = {
        "symbol": symbol,
        "currency": "USD",
        "exchangeTimezoneName": zone,
        "instrumentType": "EQUITY",
    }
    meta |= {"priceHint": 2, "dataGranularity": "1d", "validRanges": ["1d", "max"]}
    quote = {"open": prices, "high": prices, "low": less(3), "close": less(1), "volume": [v for _, _, v in rows]}
    indicators = {"quote": [quote], "adjclose": [{"adjclose": less(2)}]}
    found = {"meta": meta, "timestamp": moments, "indicators": indicators}
    return reply(json.dumps({"chart": {"result": [found], "error": None}}), Connection="close")


def source(home: Path, *symbols: str, zone: str = NEW_YORK, **spelling: str) -> YahooSource:
    config = YahooSourceConfig(kind="yfinance", spelling={k.replace("_", "."): v for k, v in spelling.items()})
    return YahooSource(config, home, zone=zone, symbols=symbols)


DAYS: list[Row] = [("2008-09-02 09:30", 172.5, 195_000_000), ("2008-09-03 09:30", 166.75, 183_000_000)]


def test_quoted_and_adjusted_closes_are_read_in_the_order_of_symbols(
    yahoo: Callable[[Chart], Service], tmp_path: Path
) -> None:
    service = yahoo(lambda call, symbol: call.send(chart(symbol, DAYS)))
    made = source(tmp_path, "BRK.B", "AAPL", BRK_B="BRK-B")
    found = made.read("2008-09-02", "2008-09-03")
    rows = found[["symbol", "date", "open", "high", "low", "close", "adj_close", "volume"]].to_numpy().tolist()
    first = ["2008-09-02", 172.5, 172.5, 169.5, 171.5, 170.5, 195e6]
    second = ["2008-09-03", 166.75, 166.75, 163.75, 165.75, 164.75, 183e6]
    assert rows == [[symbol, *day] for symbol in ("BRK.B", "AAPL") for day in (first, second)]
    assert made.symbols() == ["AAPL", "BRK.B"]
    asked = {target.split("?")[0] for target in service.targets if "chart" in target}
    assert asked == {"/v8/finance/chart/BRK-B", "/v8/finance/chart/AAPL"}
    assert [p.name for p in tmp_path.iterdir()] == [".cache"]


def test_a_row_without_prices_stays_one_so_that_cleaning_rejects_it(
    yahoo: Callable[[Chart], Service], tmp_path: Path
) -> None:
    yahoo(lambda call, symbol: call.send(chart(symbol, [DAYS[0], ("2008-09-03 09:30", None, 1800)])))
    found = source(tmp_path, "AAPL").read("2008-09-02", "2008-09-03")
    assert found["date"].tolist() == ["2008-09-02", "2008-09-03"]
    np.testing.assert_array_equal(found["close"].to_numpy(), [171.5, np.nan])
    assert found["volume"].tolist() == [195e6, 1800]


def test_the_bar_of_a_day_that_goes_on_is_left_out(yahoo: Callable[[Chart], Service], tmp_path: Path) -> None:
    rows = [*DAYS, ("2008-09-04 11:17", 161.25, 40_000_000)]
    yahoo(lambda call, symbol: call.send(chart(symbol, rows)))
    assert source(tmp_path, "AAPL").read("2008-09-02", "2008-09-03")["date"].tolist() == ["2008-09-02", "2008-09-03"]


@pytest.mark.parametrize("opens", ["00:00", "09:00", "23:59"])
def test_a_bar_has_the_date_of_its_own_exchange(yahoo: Callable[[Chart], Service], tmp_path: Path, opens: str) -> None:
    rows: list[Row] = [(f"2008-09-02 {opens}", 5000, 100), (f"2008-09-03 {opens}", 5010, 100)]
    yahoo(lambda call, symbol: call.send(chart(symbol, rows, TOKYO)))
    for zone in (NEW_YORK, TOKYO):
        found = source(tmp_path, "7203.T", zone=zone).read("2008-09-02", "2008-09-03")
        assert found["date"].tolist() == ["2008-09-02", "2008-09-03"]


def test_a_corrected_reply_is_asked_for_anew(yahoo: Callable[[Chart], Service], tmp_path: Path) -> None:
    prices = {"AAPL": 100.0}
    yahoo(lambda call, symbol: call.send(chart(symbol, [("2008-09-02 09:30", prices[symbol], 5)])))
    made = source(tmp_path, "AAPL")
    assert made.read("2008-09-02", "2008-09-02")["close"].tolist() == [99.0]
    prices["AAPL"] = 50.0
    assert made.read("2008-09-02", "2008-09-02")["close"].tolist() == [49.0]


NO_DATA = {"result": None, "error": {"code": "Not Found", "description": "No data found, symbol may be delisted"}}
EMPTY = json.loads(chart("X", []).split(b"\r\n\r\n")[1])
UNREAD = "found a reply that yfinance cannot read"
FAILURES = [
    ("empty", json.dumps(EMPTY), "200 OK", SourceError, r"expected bars of X, found none \("),
    ("null", '{"chart": {"result": null, "error": null}}', "200 OK", SourceError, "found none"),
    # Which of the two it is depends on whether yfinance knows the symbol's time zone already.
    ("not_found", json.dumps({"chart": NO_DATA}), "404 Not Found", SourceError, f"found none|{UNREAD}"),
    ("page", "<html>Oops</html>", "200 OK", SourceError, UNREAD),
    ("closed", "Will be right back", "503 Service Unavailable", SourceError, f"CURRENTLY DOWN|{UNREAD}"),
    ("limited", "Too Many Requests", "429 Too Many Requests", TransportError, "Yahoo limits our requests"),
]


@pytest.mark.parametrize(
    ("body", "status", "kind", "words"), [pytest.param(*case[1:], id=case[0]) for case in FAILURES]
)
def test_what_is_no_data_is_refused_and_never_read_as_delisted(
    yahoo: Callable[[Chart], Service], tmp_path: Path, body: str, status: str, kind: type[Exception], words: str
) -> None:
    def answer(call: Call, symbol: str) -> None:
        # The zone of a symbol is asked for first, with a range of one day.
        is_zone = "range=1d" in call.target
        good = symbol == "AAPL" or (is_zone and status.startswith("200"))
        call.send(chart(symbol, DAYS) if good else reply(body, status, Connection="close"))

    yahoo(answer)
    # What may be no more than nothing refuses the read where there is no other symbol; all else, in any company.
    others = [] if "found none" in words else ["AAPL"]
    with pytest.raises(kind, match=f"^yfinance: expected bars of X, .*({words})|{words}") as caught:
        source(tmp_path, *others, "X").read("2008-09-02", "2008-09-03")
    told = str(caught.value).replace("does not say that it was delisted", "")
    assert "may be delisted" not in told
    assert "possibly" not in told


@pytest.mark.parametrize("body", [case[1] for case in FAILURES if case[0] in ("empty", "null")], ids=["empty", "null"])
def test_a_symbol_of_which_nothing_came_is_named_and_the_others_are_read(
    yahoo: Callable[[Chart], Service], tmp_path: Path, body: str
) -> None:
    def answer(call: Call, symbol: str) -> None:
        good = symbol == "AAPL" or "range=1d" in call.target
        call.send(chart(symbol, DAYS) if good else reply(body, Connection="close"))

    yahoo(answer)
    found = source(tmp_path, "X", "AAPL").read("2008-09-02", "2008-09-03")
    assert found["symbol"].tolist() == ["AAPL", "AAPL"]
    assert arrived_in(found).silent == ("X",)


def test_a_service_that_hangs_up_is_unreached(yahoo: Callable[[Chart], Service], tmp_path: Path) -> None:
    yahoo(lambda call, symbol: None)
    with pytest.raises(TransportError, match="expected bars of AAPL, found that Yahoo could not be reached"):
        source(tmp_path, "AAPL").read("2008-09-02", "2008-09-03")


def test_without_the_library_the_error_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yfinance", None)
    with pytest.raises(ConfigError, match=r"^source\.kind: .*pip install 'countersign\[yfinance\]'"):
        source(tmp_path, "AAPL").read("2008-09-02", "2008-09-03")
