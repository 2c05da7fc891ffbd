"""Transport: one GET, guarded and bounded, whatever the server does.

Belongs here: addresses, connections, redirects, attempts, limits of time and size. Does not belong here: what is asked
for (``http``), what the reply says (``bodies``).

It stands on http.client, whose sockets are ours: the address that was checked is the one that is connected to, and a
timer can close it. Libraries above it resolve names themselves, have no limit on the whole of a reply, and take proxies
and passwords (.netrc) from where nobody configured them.
"""

from __future__ import annotations

import gzip
import io
import re
import socket
import ssl
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final, NamedTuple, TypeVar
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from countersign.errors import SourceError, TransportError
from countersign.prices.sources.bodies import scrub

T = TypeVar("T")

_AGAIN: Final = frozenset({429, 502, 503, 504})
"""What a server says when the same request may go well in a moment."""
_MOVED: Final = frozenset({301, 302, 303, 307, 308})
_OURS: Final = {"accept-encoding": "gzip", "connection": "close"}
_URL_MARKS: Final = "%/:=&?~#+!$,;'@()*[]"
_PIECE: Final = 1 << 16
_MAX_ADDRESSES: Final = 4
"""Of one name, tried one after another."""
_NAT64: Final = IPv6Network("64:ff9b::/96")
_METADATA: Final = frozenset(ip_address(text) for text in ("168.63.129.16", "192.0.0.192"))
"""Public addresses under which clouds tell a machine its own secrets; the others are link-local or private."""


@dataclass(frozen=True)
class Limits:
    """What a server may take. Seconds, unless a name says otherwise."""

    connect: float = 10
    silence: float = 30
    """Between two bytes."""
    request: float = 60
    """One request with all of its attempts."""
    read: float = 120
    """All requests of one read."""
    attempts: int = 4
    backoff: float = 1
    """Before the second attempt; twice as long before each that follows."""
    body_bytes: int = 64 << 20
    """Of one reply, as it comes and unpacked."""
    pages: int = 500
    redirects: int = 5


class Origin(NamedTuple):
    """What has to be the same for a header with a key to be sent along."""

    scheme: str
    host: str
    port: int


@dataclass(frozen=True)
class Answer:
    """A whole reply."""

    status: int
    note: str
    """What the message on a failure should say of attempts and waiting; empty where there is nothing to say."""
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    has_end: bool
    """Whether the reply says where it ends: else one that was cut off looks like a whole one."""


class _TransferError(Exception):
    """The connection failed; the same request may go well in a moment."""


class Patience:
    """A span of time, at whose end what goes on in it is ended. It needs no clock."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._ends: list[Callable[[], None]] = []
        self._timer = threading.Timer(seconds, self.end)
        self._timer.daemon = True

    def __enter__(self) -> Patience:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    @property
    def is_over(self) -> bool:
        """Whether it has been ended."""
        return self._over.is_set()

    def end(self) -> None:
        """End it now."""
        with self._lock:
            self._over.set()
            ends = list(self._ends)
        for end in ends:
            end()

    def sleep(self, seconds: float) -> None:
        """Wait, at most to the end."""
        self._over.wait(seconds)

    @contextmanager
    def ending(self, end: Callable[[], None]) -> Iterator[None]:
        """Call ``end`` where the time is up before this block is left."""
        with self._lock:
            self._ends.append(end)
        if self.is_over:
            end()
        try:
            yield
        finally:
            with self._lock:
                self._ends.remove(end)


def within(seconds: float, work: Callable[[], T]) -> T | None:
    """What ``work`` returns or raises, or None where it has not ended in time: it is left behind.

    In a thread that does not keep the process from ending: some libraries, and the system's resolver, wait for ever.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        return future.result(timeout=seconds)
    except TimeoutError:
        if future.done():
            raise
        return None


def origin(url: str) -> Origin:
    """Scheme, host and port of ``url``. Raises ``ValueError`` where it is no URL of http or https."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"a URL of {parts.scheme or 'no scheme'}")
    # IDNA raises UnicodeError, a ValueError, for what is no name of a host.
    host = parts.hostname.encode("idna").decode() if not parts.hostname.isascii() else parts.hostname
    return Origin(parts.scheme, host, parts.port or (443 if parts.scheme == "https" else 80))


@dataclass(frozen=True)
class Client:
    """Asks one service. ``headers`` go to ``home`` alone; ``allowed`` hosts may have any address; ``shown`` stands for
    the URLs in messages.
    """

    home: Origin
    headers: Mapping[str, str] = field(repr=False)
    shown: str
    allowed: frozenset[str]
    limits: Limits
    hide: Callable[[str], str]
    """Takes secrets out of a text, before it is cut short."""
    advice: str
    """What to do where no reply came."""

    def get(self, url: str, whole: Patience) -> Answer:
        """The reply to a GET of ``url``, whatever its status.

        Raises ``SourceError`` for what is not allowed or too large, ``TransportError`` where no whole reply came.
        """
        with Patience(self.limits.request) as patience, whole.ending(patience.end):
            attempt = 1
            while True:
                answer, fault, wait = None, "", self.limits.backoff * 2 ** (attempt - 1)
                try:
                    answer = self._follow(url, patience)
                except _TransferError as error:
                    fault = str(error)
                else:
                    if answer.status not in _AGAIN:
                        return answer
                    asked = answer.headers.get("retry-after", "").strip()
                    if re.fullmatch(r"\d+", asked, re.ASCII):
                        wait = float(asked[:9])
                        if wait > self.limits.request:
                            return replace(answer, note=f" (it asks to wait {asked[:9]} s)")
                if attempt < self.limits.attempts:
                    patience.sleep(wait)
                note = f" in {attempt} attempts" if attempt > 1 else ""
                if patience.is_over:
                    note += f" within {(whole if whole.is_over else patience).seconds:g} s"
                elif attempt < self.limits.attempts:
                    attempt += 1
                    continue
                if answer:
                    return replace(answer, note=note)
                raise TransportError(
                    f"{self.shown}: expected a whole reply, found none{note}: {fault}. {self.advice}, then run again"
                )

    def _follow(self, url: str, patience: Patience) -> Answer:
        """The reply behind at most ``limits.redirects`` redirects."""
        for _ in range(self.limits.redirects + 1):
            try:
                to = origin(url)
            except ValueError as error:
                raise SourceError(
                    f"{self.shown}: expected to be sent to http or https, found {self._words(str(error), 60)}. It "
                    "was not followed; correct source.url"
                ) from None
            answer = self._exchange(urlsplit(url), to, patience)
            there = answer.headers.get("location")
            if answer.status not in _MOVED or not there:
                return answer
            # http.client hands out header values as Latin-1.
            url = urljoin(url, there.encode("latin-1", "replace").decode("utf-8", "replace"))
        raise SourceError(
            f"{self.shown}: expected at most {self.limits.redirects} redirects, found more: they may go in a circle. "
            "Correct source.url"
        )

    def _exchange(self, parts: SplitResult, to: Origin, patience: Patience) -> Answer:
        target = quote((parts.path or "/") + (f"?{parts.query}" if parts.query else ""), safe=_URL_MARKS)
        theirs = self.headers if to == self.home else {}
        headers = {
            "accept": "*/*",
            "user-agent": "countersign",
            **{name.lower(): text for name, text in theirs.items()},
        }
        try:
            sock = self._connected(to, patience)
            connection: HTTPConnection
            with closing(sock):
                if to.scheme == "https":
                    context = ssl.create_default_context()
                    connection = HTTPSConnection(to.host, to.port, context=context)
                    sock = context.wrap_socket(sock, server_hostname=to.host, do_handshake_on_connect=False)
                else:
                    connection = HTTPConnection(to.host, to.port)
                connection.sock = sock
                with closing(connection), patience.ending(lambda: _shut(sock)):
                    if isinstance(sock, ssl.SSLSocket):
                        sock.do_handshake()
                    # No connection is kept: each request has its own check of the address, and its own end.
                    connection.request("GET", target, headers={**headers, **_OURS})
                    with connection.getresponse() as response:
                        return self._answer(response)
        except (OSError, HTTPException) as error:
            raise _TransferError(f"{type(error).__name__}: {self._words(str(error), 120)}") from None

    def _connected(self, to: Origin, patience: Patience) -> socket.socket:
        """A connection to an address of the host that was checked: the name is not asked for a second time."""
        try:
            found = socket.getaddrinfo(to.host, to.port, type=socket.SOCK_STREAM)
        except UnicodeError:
            raise SourceError(f"{self.shown}: expected a host's name, found none. Correct source.url") from None
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        for address in addresses if to.host not in self.allowed else ():
            if not is_public(address):
                raise SourceError(
                    f"{self.shown}: expected a public address, found {address} for the host {self._words(to.host, 80)}"
                    ": loopback, private, link-local, metadata or reserved. Nothing was sent there; name the host in "
                    "source.allow_hosts where it is meant"
                )
        problem = OSError("the name has no address")
        for address in addresses[:_MAX_ADDRESSES]:
            if patience.is_over:
                break
            try:
                sock = socket.create_connection((address, to.port), self.limits.connect)
            except OSError as error:
                problem = error
                continue
            sock.settimeout(self.limits.silence)
            return sock
        raise problem

    def _answer(self, response: HTTPResponse) -> Answer:
        headers: dict[str, str] = {}
        for name, value in response.getheaders():
            headers[name.lower()] = f"{headers[name.lower()]}, {value}" if name.lower() in headers else value
        is_chunked = "chunked" in headers.get("transfer-encoding", "").lower()
        length = headers.get("content-length", "").strip()
        if response.status in _MOVED and "location" in headers:
            return Answer(response.status, "", headers, b"", True)
        pieces, size = [], 0
        # read1 hands out what has come, so that a limit on time can end it.
        while piece := response.read1(_PIECE):
            size += len(piece)
            self._require_room(size)
            pieces.append(piece)
        if length and not is_chunked and length != str(size) and response.status not in {204, 304}:
            raise _TransferError(f"{size:,} bytes came of the {self._words(length, 20)} that were announced")
        has_end = is_chunked or bool(length)
        if not pieces and not has_end and response.status == 200:
            # http.client takes the end of the connection for the end of the headers.
            raise _TransferError("the connection ended in the headers, or before the body")
        body, is_packed = self._unpacked(b"".join(pieces), headers.get("content-encoding", ""))
        return Answer(response.status, "", headers, body, has_end or is_packed)

    def _words(self, text: str, length: int) -> str:
        return scrub(self.hide(text), length)

    def _require_room(self, size: int) -> None:
        if size > self.limits.body_bytes:
            raise SourceError(
                f"{self.shown}: expected at most {self.limits.body_bytes / (1 << 20):,.3g} MB in one reply, found "
                "more. Ask for fewer sessions or symbols at a time"
            )

    def _unpacked(self, body: bytes, encoding: str) -> tuple[bytes, bool]:
        encoding = encoding.strip().lower()
        if encoding in {"", "identity"}:
            return body, False
        if encoding not in {"gzip", "x-gzip"}:
            raise SourceError(
                f"{self.shown}: expected a plain reply or gzip, found the encoding {self._words(encoding, 40)!r}, for "
                "which it was not asked. Correct the service"
            )
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(body)) as packed:
                data = packed.read(self.limits.body_bytes + 1)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise _TransferError(f"gzip that is cut off or damaged: {scrub(str(error), 80)}") from None
        self._require_room(len(data))
        return data, True


def _shut(sock: socket.socket) -> None:
    """End a connection that another thread waits for; of TLS, too, whose own way would wait for the other side."""
    with suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


def is_public(text: str) -> bool:
    """Whether an address is one of the public internet, whatever IPv6 form an IPv4 address has.

    >>> [is_public(a) for a in ("9.9.9.9", "10.0.0.1", "169.254.169.254", "::ffff:127.0.0.1", "64:ff9b::7f00:1")]
    [True, False, False, False, False]
    """
    address: IPv4Address | IPv6Address = ip_address(text)
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        address = inner or address
    return address.is_global and not address.is_multicast and not address.is_reserved and address not in _METADATA
