"""Bars from a service: all pages of all requests, or one clear error within the limits, whatever the server does."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import socket
import struct
import subprocess
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from countersign.config import HttpSourceConfig
from countersign.errors import ConfigError, SourceError, TransportError
from countersign.prices.schema import arrived_in
from countersign.prices.sources.http import HttpSource
from countersign.prices.sources.transport import Limits
from tests.service import Answer, Call, Service, always, reply

LIMITS = Limits(
    connect=1, silence=0.3, request=1.2, read=3, attempts=3, backoff=0.01, body_bytes=1 << 18, pages=5, redirects=5
)
HEADER = "date,symbol,open,high,low,close,volume\n"
BARS = HEADER + "2008-09-02,AAPL,172.4,173.5,165,166.19,195000000\n2008-09-02,IBM,122.5,124.1,118,118.38,9000000\n"
KEY = "kx7-Secret/of 2008"
Serve = Callable[[Answer], Service]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts services, and stops them after the test."""
    started: list[Service] = []

    def start(answer: Answer) -> Service:
        started.append(Service(answer))
        return started[-1]

    yield start
    for service in started:
        service.stop()


def source(
    url: str,
    *,
    symbols: tuple[str, ...] = (),
    sessions: tuple[str, ...] = (),
    environment: dict[str, str] | None = None,
    limits: Limits = LIMITS,
    **settings: Any,
) -> HttpSource:
    config = HttpSourceConfig(kind="http", url=url, **{"allow_hosts": ("127.0.0.1",), **settings})
    return HttpSource(
        config,
        zone="America/New_York",
        symbols=symbols,
        sessions=lambda first, last: [day for day in sessions if first <= day <= last],
        environment=environment or {},
        limits=limits,
    )


def closes(found: HttpSource) -> list[tuple[str, str, float]]:
    frame = found.read("2008-09-02", "2008-09-03")
    return list(zip(frame["date"], frame["symbol"], frame["close"], strict=True))


def massive(close: float, day: int = 2, more: str | None = None, ticker: str = "AAPL") -> str:
    """A page as Massive sends it; midnight in New York, in ms."""
    moment = (1220328000 + (day - 2) * 86_400) * 1000
    bar = {"v": 1000, "o": close, "c": close, "h": close, "l": close, "t": moment}
    return json.dumps({"ticker": ticker, "status": "OK", "results": [bar], **({"next_url": more} if more else {})})


# --- what is asked for


def test_one_request_brings_the_bars_of_the_days_that_are_asked_for(serve: Serve) -> None:
    service = serve(always(reply(BARS + "2008-09-04,IBM,1,1,1,1,1\n", Content_Type="text/html; charset=utf-8")))
    made = source(f"{service.url}/daily?from={{start}}&to={{end}}")
    assert closes(made) == [("2008-09-02", "AAPL", 166.19), ("2008-09-02", "IBM", 118.38)]
    assert service.targets == ["/daily?from=2008-09-02&to=2008-09-03"]
    assert made.uri == f"{service.url}/…"


def test_a_bar_of_a_later_day_than_was_asked_for_is_not_read_and_told_of_so_that_one_of_today_is_refused(
    serve: Serve,
) -> None:
    later = "date,open,high,low,close\n2008-09-02,1,1,1,1\n2008-09-04,1,1,1,1\n"
    service = serve(lambda call: call.send(reply(later if call.target == "/AAPL" else later.replace("-04", "-03"))))
    found = source(f"{service.url}/{{symbol}}", symbols=("AAPL", "IBM")).read("2008-09-02", "2008-09-02")
    assert found["date"].tolist() == ["2008-09-02"] * 2
    assert arrived_in(found).newest == "2008-09-04"


def test_dates_and_numbers_of_another_country_are_read_as_the_settings_say(serve: Serve) -> None:
    service = serve(always(reply("date;symbol;close\n03/09/2008;IBM;1.118,38\n")))
    frame = source(f"{service.url}/daily", dates="day_first", decimal=",").read("2008-09-02", "2008-09-03")
    assert frame[["date", "close"]].to_numpy().tolist() == [["2008-09-03", 1118.38]]


def test_each_symbol_is_asked_for_as_the_service_spells_it_and_bars_come_in_the_order_of_symbols(serve: Serve) -> None:
    def answer(call: Call) -> None:
        symbol = call.target.split("/")[2].removesuffix(".csv")
        # The first that is asked for answers last.
        time.sleep(0.2 if symbol == "BRK-B" else 0)
        call.send(reply(f"date,open,high,low,close\n2008-09-02,1,1,1,{len(symbol.replace('%2F', '/'))}\n"))

    service = serve(answer)
    made = source(
        f"{service.url}/d/{{symbol}}.csv",
        symbols=("BRK.B", "AAPL", "A.B", "IBM"),
        spelling={"BRK.B": "BRK-B", "A.B": "A/B"},
    )
    day = "2008-09-02"
    assert closes(made) == [(day, "BRK.B", 5), (day, "AAPL", 4), (day, "A.B", 3), (day, "IBM", 3)]
    assert sorted(service.targets) == ["/d/A%2FB.csv", "/d/AAPL.csv", "/d/BRK-B.csv", "/d/IBM.csv"]
    assert made.symbols() == ["A.B", "AAPL", "BRK.B", "IBM"]


def test_a_template_with_session_asks_for_each_session_of_the_exchange(serve: Serve) -> None:
    def answer(call: Call) -> None:
        day = call.target.removeprefix("/grouped/")
        call.send(reply(f"{HEADER}{day},AAPL,1,1,1,{day[-2:]},5\n"))

    service = serve(answer)
    made = source(f"{service.url}/grouped/{{session}}", sessions=("2008-09-01", "2008-09-02", "2008-09-03"))
    assert closes(made) == [("2008-09-02", "AAPL", 2), ("2008-09-03", "AAPL", 3)]
    assert sorted(service.targets) == ["/grouped/2008-09-02", "/grouped/2008-09-03"]


@pytest.mark.parametrize("packed", ["content encoding", "file", "both"])
def test_packed_replies_are_unpacked(serve: Serve, packed: str) -> None:
    body = BARS.encode() if packed == "content encoding" else gzip.compress(BARS.encode())
    encoded = {} if packed == "file" else {"Content_Encoding": "gzip"}
    service = serve(always(reply(gzip.compress(body) if encoded else body, **encoded)))
    assert len(closes(source(service.url + "/"))) == 2


def test_a_declared_charset_is_read_as_such(serve: Serve) -> None:
    text = "date,symbol,open,high,low,close,name\n2008-09-02,AAPL,1,1,1,1,Société\n"
    service = serve(always(reply(text.encode("latin-1"), Content_Type="text/csv; charset=ISO-8859-1")))
    assert closes(source(service.url + "/")) == [("2008-09-02", "AAPL", 1)]


# --- pages


def test_pages_are_followed_by_next_url_with_the_key(serve: Serve) -> None:
    def answer(call: Call) -> None:
        more = f"{service.url}/page?cursor=abc%3D" if call.number == 0 else None
        call.send(reply(massive(166.19, more=more) if more else massive(167.0, day=3)))

    service = serve(answer)
    made = source(
        f"{service.url}/v2/{{symbol}}",
        symbols=("AAPL",),
        headers={"Authorization": "Bearer ${MASSIVE_KEY}"},
        environment={"MASSIVE_KEY": KEY},
    )
    assert closes(made) == [("2008-09-02", "AAPL", 166.19), ("2008-09-03", "AAPL", 167.0)]
    assert service.targets == ["/v2/AAPL", "/page?cursor=abc%3D"]
    assert {call.headers["authorization"] for call in service.calls} == {f"Bearer {KEY}"}


def test_pages_are_followed_by_the_cursor_of_nasdaq_data_link(serve: Serve) -> None:
    def answer(call: Call) -> None:
        names = ["ticker", "date", "open", "high", "low", "close", "volume"]
        day, cursor = ("2008-09-02", "djE=&x") if call.number == 0 else ("2008-09-03", None)
        table = {"data": [["AAPL", day, 1, 2, 1, 2, 5]], "columns": [{"name": name} for name in names]}
        call.send(reply(json.dumps({"datatable": table, "meta": {"next_cursor_id": cursor}})))

    service = serve(answer)
    assert [day for day, _, _ in closes(source(f"{service.url}/t.json?api_key=x"))] == ["2008-09-02", "2008-09-03"]
    assert service.targets == ["/t.json?api_key=x", "/t.json?api_key=x&qopts.cursor_id=djE%3D%26x"]


def test_pages_are_followed_by_the_header_link(serve: Serve) -> None:
    def answer(call: Call) -> None:
        link = '<?page=9>; rel="last", </d?page=2>; rel="next"' if call.number == 0 else '</d>; rel="prev"'
        call.send(reply(f"{HEADER}2008-09-0{call.number + 2},AAPL,1,1,1,1,1\n", Link=link))

    service = serve(answer)
    assert [day for day, _, _ in closes(source(f"{service.url}/d"))] == ["2008-09-02", "2008-09-03"]
    assert service.targets == ["/d", "/d?page=2"]


# --- secrets


def zipped(text: str) -> bytes:
    with io.BytesIO() as data:
        with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as packed:
            packed.writestr("reply.json", text)
        return data.getvalue()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        # At the place where words of a reply are cut short, too.
        (reply(json.dumps({"Note": f"{'x ' * 92}{KEY} {KEY}"})), "an error of the source: 'x x"),
        (reply(gzip.compress(json.dumps({"Note": f"Not with {KEY} today"}).encode())), "'Not with … today'"),
        (reply(zipped(json.dumps({"Note": f"Not with {KEY} today"}))), "'Not with … today'"),
        (f"NOT {KEY}\r\n\r\n".encode(), "BadStatusLine: NOT …"),
        (reply(f"Not with {KEY}", "401 Unauthorized"), r"401 \(Unauthorized\), 'Not with …'"),
        (reply('{"error": "apikey=kx7-Secret%2Fof%202008"}', "403 Forbidden"), "an error of the source: 'apikey=…'"),
    ],
)
def test_a_key_goes_out_in_header_and_query_and_is_in_no_message_though_the_service_repeats_it(
    serve: Serve, answer: bytes, words: str
) -> None:
    service = serve(always(answer))
    made = source(
        f"{service.url}/q?symbol={{symbol}}&apikey=${{KEY_OF_MINE}}",
        symbols=("IBM",),
        headers={"X-Key": "${KEY_OF_MINE}"},
        environment={"KEY_OF_MINE": f"{KEY}\n"},
    )
    with pytest.raises((SourceError, TransportError), match=words) as caught:
        closes(made)
    assert service.targets[:1] == ["/q?symbol=IBM&apikey=kx7-Secret%2Fof%202008"]
    assert service.calls[0].headers["x-key"] == KEY
    told = f"{caught.value!s} {caught.value!r} {made.uri} {made!r} {made._config!r}"
    assert not [part for part in ("kx7", "Secret", "2008") if part in told]


@pytest.mark.parametrize("path", ["/api/kx7SecretKey/{symbol}", "/kx7SecretKey", "?key=kx7SecretKey"])
def test_a_key_that_stands_in_the_path_itself_is_not_shown(serve: Serve, path: str) -> None:
    service = serve(always(reply("Oops", "500 Internal Server Error")))
    made = source(service.url + path, symbols=("IBM",))
    assert made.uri == f"{service.url}/…"
    with pytest.raises(TransportError) as caught:
        closes(made)
    assert "kx7SecretKey" in service.targets[0]
    assert "kx7SecretKey" not in f"{caught.value!s} {caught.value!r} {made!r} {made._config!r}"


@pytest.mark.parametrize(
    ("environment", "problem"),
    [
        ({}, "is not set or empty"),
        ({"A_KEY": " "}, "is not set or empty"),
        ({"A_KEY": "hush\r\nHost: evil"}, "such as a line break"),
    ],
)
def test_a_variable_that_is_missing_or_no_header_is_named_and_nothing_is_asked_for(
    serve: Serve, environment: dict[str, str], problem: str
) -> None:
    service = serve(always(reply(BARS)))
    made = source(service.url + "/", headers={"X-Key": "${A_KEY}"}, environment=environment)
    with pytest.raises(ConfigError, match=f"^source.headers: expected .* variable A_KEY.*{problem}") as caught:
        closes(made)
    assert "hush" not in str(caught.value)
    assert service.calls == []


def test_headers_stay_with_their_host_where_it_redirects_or_names_a_page_elsewhere(serve: Serve) -> None:
    other = serve(lambda call: call.send(reply(massive(2, day=3))))
    service = serve(
        lambda call: call.send(
            reply("", "307 Temporary Redirect", Location="/moved")
            if call.target == "/"
            else reply(massive(1, more=f"{other.url}/page"))
        )
    )
    made = source(service.url + "/", headers={"X-Key": "${A_KEY}"}, environment={"A_KEY": KEY}, profile="massive")
    assert len(closes(made)) == 2
    assert [call.headers.get("x-key") for call in service.calls] == [KEY, KEY]
    assert [call.headers.get("x-key") for call in other.calls] == [None]


# --- where it does not go


@pytest.mark.parametrize(
    "host",
    [
        *(
            "127.0.0.1",
            "localhost",
            "2130706433",
            "0x7f.1",
            "127.1",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[64:ff9b::7f00:1]",
        ),
        *("10.1.2.3", "192.168.0.1", "172.16.0.1", "169.254.169.254", "100.100.100.200", "168.63.129.16", "0.0.0.0"),
        *("224.0.0.1", "240.0.0.1", "255.255.255.255", "[fe80::1]", "[fd00:ec2::254]", "[2002:7f00:1::]", "[ff02::1]"),
    ],
)
def test_an_address_that_is_not_public_is_refused_however_it_is_spelled(serve: Serve, host: str) -> None:
    service = serve(always(reply(BARS)))
    with pytest.raises(SourceError, match=r"expected a public address, found .*source\.allow_hosts where it is meant"):
        closes(source(f"http://{host}:{service.port}/", allow_hosts=()))
    assert service.calls == []


def test_a_name_is_resolved_once_and_the_checked_address_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is public when it is checked and loopback when it is used has no second chance."""
    answers = iter(["9.9.9.9", "127.0.0.1"])
    connected: list[Any] = []

    def resolve(host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))]

    def connect(address: Any, timeout: float) -> socket.socket:
        connected.append(address)
        raise ConnectionRefusedError("refused")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(TransportError, match="refused"):
        closes(source("https://rebinds.example/", limits=Limits(attempts=1)))
    assert connected == [("9.9.9.9", 443)]


def test_a_certificate_is_checked_against_the_name_though_the_address_is_connected_to(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    import ssl

    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    )
    subprocess.run([*command.split(), "-keyout", key, "-out", cert], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    service = serve(always(reply(BARS)))
    service.wrap = lambda sock: context.wrap_socket(sock, server_side=True)
    made = source(f"https://localhost:{service.port}/", allow_hosts=("LocalHost",))
    with pytest.raises(TransportError, match="CERTIFICATE_VERIFY_FAILED"):
        closes(made)
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    assert len(closes(made)) == 2
    with pytest.raises(TransportError, match=r"certificate is not valid for '127\.0"):
        closes(source(f"https://127.0.0.1:{service.port}/"))
    assert len(service.calls) == 1


# --- a server that misbehaves


def reset(call: Call) -> None:
    call.send(b"HTTP/1.1 200 OK\r\n")
    call.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def silence(call: Call) -> None:
    call.stopped.wait(10)


def endless_pages(call: Call) -> None:
    call.send(reply(massive(1, more=f"/?page={call.number}")))


def endless_body(call: Call) -> None:
    call.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", *[b"10000\r\n" + b"1" * 65536 + b"\r\n"] * 99)


GZIP = gzip.compress(BARS.encode())
DRIP = [bytes([byte]) for byte in reply(BARS)]
UNREACHED = [
    ("truncated", always(reply(BARS, Content_Length=500)), rf"{len(BARS)} bytes came of the 500 that were announced"),
    (
        "chunks_cut_off",
        always(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n96\r\n" + BARS.encode()[:60]),
        "IncompleteRead",
    ),
    (
        "last_chunk_missing",
        always(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n95\r\n" + BARS.encode() + b"\r\n"),
        "IncompleteRead",
    ),
    ("headers_drip", always(*DRIP, every=0.1), r"within 1\.2 s"),
    ("body_drips", always(*DRIP[:70], b"", *DRIP[70:], every=0.05), r"within 1\.2 s"),
    ("never_answers", silence, "timed out"),
    ("hangs_up", lambda call: None, "RemoteDisconnected"),
    ("reset", reset, "ConnectionResetError"),
    ("no_http", always(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), "BadStatusLine"),
    ("huge_header", always(b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 70_000 + b"\r\n\r\n"), "LineTooLong"),
    (
        "many_headers",
        always(b"HTTP/1.1 200 OK\r\n" + b"X-A: a\r\n" * 200 + b"\r\n"),
        "HTTPException: got more than 100",
    ),
    ("for_ever_100", always(*[b"HTTP/1.1 100 Continue\r\n\r\n"] * 200, every=0.02), r"within 1\.2 s"),
    ("gzip_cut_off", always(reply(GZIP[:-20], Content_Encoding="gzip")), "gzip that is cut off"),
    ("gzip_damaged", always(reply(BARS, Content_Encoding="gzip")), "gzip that is cut off or damaged"),
    (
        "retry_after_days",
        always(reply("slow down", "429 Too Many Requests", Retry_After="999999")),
        r"429 \(Too Many Requests\) \(it asks to wait 999999 s\), 'slow down'\. Its limit on requests is used up",
    ),
    ("retry_after_no_number", always(reply("", "503 Service Unavailable", Retry_After="1e99")), "503 .* in 3 attempts"),
    ("unavailable", always(reply("<html>Down</html>", "503 Service Unavailable")), "in 3 attempts, .*: 'Down'"),
    ("bad_gateway", always(reply("", "502 Bad Gateway")), "in 3 attempts"),
    ("failing", always(reply("oops", "500 Internal Server Error")), r"500 \(Internal Server Error\), 'oops'"),
]
REFUSED = [
    ("error_json", always(reply('{"Error Message": "Invalid API call."}')), "error of the source: 'Invalid API call"),
    ("web_page", always(reply("<html><title>Log in</title></html>", Content_Type="text/csv")), "a web page: 'Log in'"),
    ("no_content", always(reply("", "204 No Content", Content_Length="")), "found an empty file"),
    ("empty", always(reply("")), "found an empty file"),
    ("header_only", always(reply(HEADER)), "found a header line and no rows"),
    (
        "no_key",
        always(reply("Unauthorized", "401 Unauthorized")),
        r"401 \(Unauthorized\), 'Unauthorized'\. Check the key",
    ),
    (
        "not_entitled",
        always(reply('{"status":"NOT_AUTHORIZED","message":"Upgrade your plan."}', "403 Forbidden")),
        r"403 \(Forbidden\), an error of the source: 'NOT_AUTHORIZED: Upgrade your plan\.'\. Check the key",
    ),
    ("not_found", always(reply(BARS, "404 Not Found")), "status 404"),
    ("teapot", always(reply("short and stout", "418 I'm a teapot")), r"418 \(I'm a Teapot\), 'short and stout'"),
    ("odd_status", always(reply(BARS, "299 ?").replace(b"299", b"799")), r"799 \(no known status\)"),
    ("part", always(reply(BARS, "206 Partial Content")), "status 206"),
    ("unchanged", always(reply("", "304 Not Modified")), "status 304"),
    ("redirects_in_a_circle", always(reply("", "302 Found", Location="/")), "at most 5 redirects"),
    ("to_private", always(reply("", "301 Moved", Location="http://10.0.0.1/")), "found 10.0.0.1 for the host 10.0.0.1"),
    ("to_metadata", always(reply("", "302 Found", Location="http://169.254.169.254/latest/")), "found 169.254.169.254"),
    ("to_other_name", always(reply("", "302 Found", Location="http://localhost:22/")), "for the host localhost"),
    ("to_file", always(reply("", "302 Found", Location="file:///etc/passwd")), "found a URL of file"),
    ("to_gopher", always(reply("", "302 Found", Location="gopher://127.0.0.1/")), "found a URL of gopher"),
    ("to_no_port", always(reply("", "302 Found", Location="http://127.0.0.1:x/")), "sent to http or https, found Port"),
    ("gzip_bomb", always(reply(gzip.compress(b"1" * (64 << 20)), Content_Encoding="gzip")), "at most 0.25 MB"),
    ("endless_body", endless_body, "at most 0.25 MB in one reply, found more"),
    ("no_end", always(b"HTTP/1.0 200 OK\r\n\r\n" + BARS.encode()), "a reply that says where it ends"),
    ("length_too_short", always(reply(massive(1), Content_Length=60)), "expected whole JSON"),
    ("brotli", always(reply(BARS, Content_Encoding="br")), "found the encoding 'br'"),
    ("no_charset", always(reply(BARS, Content_Type="text/csv; charset=EBCDIC-INT")), "found the charset ebcdic-int"),
    (
        "wrong_charset",
        always(reply(BARS.replace("IBM", "Ä").encode("latin-1"), Content_Type="text/csv; charset=utf-8")),
        "found bytes that are no utf-8",
    ),
    ("page_loop", always(reply(massive(1, more="/"))), "each page to name one that was not read yet"),
    ("endless_pages", endless_pages, "at most 5 pages, found that more follow"),
    ("other_symbol", always(reply(BARS)), "expected bars of IBM alone, found some of 'AAPL'"),
]
CASES = [
    pytest.param(answer, kind, words, id=name)
    for kind, cases in ((TransportError, UNREACHED), (SourceError, REFUSED))
    for name, answer, words in cases
]


@pytest.mark.parametrize(("answer", "kind", "words"), CASES)
def test_a_server_that_misbehaves_ends_within_the_limits_in_one_clear_error(
    serve: Serve, answer: Answer, kind: type[Exception], words: str
) -> None:
    service = serve(answer)
    made = source(f"{service.url}/?symbol={{symbol}}", symbols=("IBM",))
    started = time.monotonic()
    with pytest.raises(kind, match=words) as caught:
        closes(made)
    assert time.monotonic() - started < 2.5
    assert isinstance(caught.value, TransportError) == (kind is TransportError)
    assert str(caught.value).startswith(f"{service.url}/… (IBM): expected ")


def test_the_limit_on_the_whole_read_holds_over_many_slow_requests(serve: Serve) -> None:
    service = serve(lambda call: call.send(*[bytes([byte]) for byte in reply(BARS)], every=0.3))
    made = source(f"{service.url}/{{symbol}}", symbols=tuple(f"S{n}" for n in range(40)), limits=Limits(read=0.5))
    started = time.monotonic()
    with pytest.raises(TransportError, match=r"within 0\.5 s"):
        closes(made)
    # Not left behind, which would take a second more: ended.
    assert time.monotonic() - started < 1.4
    assert len(service.calls) == 4


def test_pages_are_not_followed_beyond_the_bars_that_are_allowed(serve: Serve) -> None:
    service = serve(endless_pages)
    with pytest.raises(SourceError, match="expected at most 2 bars in all replies, found more"):
        closes(source(f"{service.url}/", max_bars=2))
    assert len(service.calls) == 3


def test_replies_that_come_at_once_share_what_one_may_take(serve: Serve) -> None:
    service = serve(always(reply(HEADER + "2008-09-02,IBM,1,1,1,1,1\n" * 4000)))
    assert len(closes(source(f"{service.url}/{{symbol}}", symbols=("IBM",)))) == 4000
    with pytest.raises(SourceError, match=r"at most 0\.0625 MB in one reply"):
        closes(source(f"{service.url}/{{symbol}}", symbols=("IBM", "AAPL")))


def test_a_resolver_that_never_answers_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answered.wait(10) and [])
    started = time.monotonic()
    with pytest.raises(TransportError, match=r"^https://slow\.example/…: expected all replies within 0\.2 s"):
        closes(source("https://slow.example/", limits=Limits(read=0.2)))
    assert time.monotonic() - started < 3
    answered.set()


def test_a_service_that_is_down_for_a_moment_is_asked_again_after_what_it_asks_for(serve: Serve) -> None:
    def answer(call: Call) -> None:
        down = reply("", "503 Service Unavailable", Retry_After="1")
        call.send(down if call.number == 0 else reply(BARS))

    service = serve(answer)
    started = time.monotonic()
    assert len(closes(source(service.url + "/", limits=Limits(backoff=0)))) == 2
    assert time.monotonic() - started > 1
    assert len(service.calls) == 2


def test_nothing_listens_there(unused_port: int) -> None:
    with pytest.raises(TransportError, match=r"found none in 3 attempts: ConnectionRefusedError"):
        closes(source(f"http://127.0.0.1:{unused_port}/"))


def test_a_proxy_is_not_used_and_the_error_says_so_without_its_password(serve: Serve, unused_port: int) -> None:
    proxy = serve(always(reply(BARS)))
    environment = {"https_proxy": proxy.url.replace("//", "//me:hunter2@")}
    with pytest.raises(TransportError, match="directly: https_proxy is set, and proxies are not used") as told:
        closes(source(f"http://127.0.0.1:{unused_port}/", environment=environment))
    assert "hunter2" not in str(told.value)
    assert proxy.calls == []


EMPTY = {
    "list": "[]",
    "object": "{}",
    "header": HEADER,
    "words": "No data",
    "results": '{"status": "OK", "results": []}',
    "none": "",
}


@pytest.mark.parametrize("empty", EMPTY.values(), ids=EMPTY)
def test_a_symbol_of_which_nothing_came_is_named_and_the_others_are_read(serve: Serve, empty: str) -> None:
    bar = "date,open,high,low,close\n2008-09-02,1,1,1,7\n"
    service = serve(lambda call: call.send(reply(empty if call.target == "/IBM" else bar)))
    found = source(f"{service.url}/{{symbol}}", symbols=("AAPL", "IBM", "FB")).read("2008-09-02", "2008-09-03")
    assert found["symbol"].tolist() == ["AAPL", "FB"]
    assert arrived_in(found).silent == ("IBM",)
    with pytest.raises(SourceError, match=r"\(IBM\): expected .*, found "):
        closes(source(f"{service.url}/{{symbol}}", symbols=("IBM",)))


@pytest.mark.parametrize(
    "answer",
    [
        reply('{"Note": "Our limit is 25 requests per day."}'),
        reply("", "404 Not Found"),
        reply(massive(1, ticker="IBM", more="/next")),
    ],
    ids=["an error", "not found", "a first page alone"],
)
def test_a_symbol_whose_reply_is_wrong_refuses_all(serve: Serve, answer: bytes) -> None:
    def serving(call: Call) -> None:
        empty = reply('{"status": "OK", "results": []}')
        call.send({"/IBM": answer, "/next": empty}.get(call.target, reply(massive(1))))

    service = serve(serving)
    with pytest.raises(SourceError, match=r"\(IBM\): expected "):
        closes(source(f"{service.url}/{{symbol}}", symbols=("AAPL", "IBM")))


def test_the_limits_of_daily_use_are_those_of_the_guide() -> None:
    limits = Limits()
    assert (limits.attempts, limits.request, limits.read, limits.redirects) == (4, 60, 120, 5)
