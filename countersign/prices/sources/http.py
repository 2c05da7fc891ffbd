"""Bars from a service: URLs made of a template, and all the pages of each reply.

Belongs here: what is asked for, following pages, judging status and body together. Does not belong here: connections
(``transport``), what is in a body (``bodies``, ``shapes``, ``cells``).
"""

from __future__ import annotations

import io
import re
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import replace
from functools import partial
from http.client import responses
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, quote, urlencode, urljoin, urlsplit, urlunsplit

from countersign.errors import EmptyReplyError, SourceError, TransportError
from countersign.prices.sources import bodies
from countersign.prices.sources.bodies import scrub
from countersign.prices.sources.cells import normal_symbol, to_frame
from countersign.prices.sources.secrets import Secrets
from countersign.prices.sources.shapes import ARRIVED, Arrived, Reading, Reply
from countersign.prices.sources.transport import Answer, Client, Limits, Patience, origin, within

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from countersign.config import HttpSourceConfig

_THREADS: Final = 4
"""Requests at once: few, since services count them."""
_LONGEST_URL: Final = 8192
_ACTS: Final = {
    401: "Check the key: that it is right, and still good",
    403: "Check the key, and what its plan includes",
    404: "Check source.url, symbol and dates: a symbol that is not listed yet has no place in symbols",
    429: "Its limit on requests is used up: wait, ask for less, or use a larger plan",
}
_CHARSETS: Final = frozenset({"utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "iso-8859-15", "windows-1252"})
_WORDS: Final = 1 << 16
"""Bytes of a reply, unpacked, among which its words are."""
_PACKED: Final = (b"\x1f\x8b", b"PK", b"PAR1")
"""How bodies begin that are no text."""


class HttpSource:
    """Bars from the URLs that ``config`` makes: one for each of ``symbols``, and of the ``sessions`` between two days,
    where the template has {symbol} or {session}. ``zone`` is the exchange's.
    """

    def __init__(
        self,
        config: HttpSourceConfig,
        *,
        zone: str,
        symbols: Sequence[str],
        sessions: Callable[[str, str], Sequence[str]],
        environment: Mapping[str, str],
        limits: Limits | None = None,
    ) -> None:
        self._config, self._zone, self._symbols, self._sessions = config, zone, symbols, sessions
        self._environment, self._limits = environment, limits or Limits()

    @property
    def uri(self) -> str:
        """Scheme and host: a path or a query may hold a key."""
        scheme, _, rest = self._config.url.partition("://")
        host, mark, _ = rest.replace("?", "/").partition("/")
        return f"{scheme}://{host}{mark and '/…'}"

    def read(self, first: str, last: str) -> pd.DataFrame:
        """See ``PriceSource.read``. All pages of all requests are one reply: where one fails, nothing is read."""
        # The system's resolver alone can outlast every limit of a request.
        found = within(self._limits.read + 1, partial(self._read, first, last))
        if found is None:
            raise TransportError(_late(self.uri, self._limits.read))
        replies, silent = found
        frame = to_frame((table for _, tables in replies for table in tables), self.uri, self._config.max_bars)
        frame.attrs[ARRIVED] = Arrived(
            frozenset().union(*(one.columns for one, _ in replies)),
            frozenset().union(*(one.further for one, _ in replies)),
            max((one.newest for one, _ in replies), default=""),
            silent,
            replies[0][0].layouts,
        )
        return frame

    def symbols(self) -> list[str]:
        """The configured ones: a service is not asked for all that it has."""
        return sorted(self._symbols)

    def _read(self, first: str, last: str) -> tuple[list[tuple[Arrived, list[pa.Table]]], tuple[str, ...]]:
        """The replies, and the symbols of which none has anything."""
        url, limits = self._config.url, self._limits
        symbols = self._symbols if "{symbol}" in url else [""]
        sessions = self._sessions(first, last) if "{session}" in url else [""]
        asked = [(symbol, session) for symbol in symbols for session in sessions]
        if len(asked) > 1:
            # What several replies may take in memory is what one may.
            limits = replace(limits, body_bytes=limits.body_bytes // _THREADS)
        secrets = Secrets(self._environment)
        with Patience(limits.read) as patience, ThreadPoolExecutor(_THREADS) as pool:
            one = _Read(
                self._config,
                self.uri,
                Reading(
                    self._zone,
                    self._config.profile,
                    rename=self._config.rename,
                    first=first,
                    last=last,
                    dates=self._config.dates,
                    decimal=self._config.decimal,
                ),
                secrets,
                limits,
                patience,
                _advice(self._environment),
            )
            futures = [pool.submit(one.tables, symbol, session) for symbol, session in asked]
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            failed = next((error for future in futures if future in done and (error := future.exception())), None)
            if failed is not None:
                patience.end()
                pool.shutdown(wait=False, cancel_futures=True)
                raise failed
            results = [future.result() for future in futures]
        replies, answered = [], set()
        for (symbol, _), result in zip(asked, results, strict=True):
            if not isinstance(result, EmptyReplyError):
                replies.append(result)
                answered.add(symbol)
        if not replies:
            raise next(result for result in results if isinstance(result, EmptyReplyError))
        return replies, tuple(symbol for symbol in symbols if symbol not in answered)


class _Read:
    """One read: what all of its requests have in common."""

    def __init__(
        self,
        config: HttpSourceConfig,
        uri: str,
        reading: Reading,
        secrets: Secrets,
        limits: Limits,
        patience: Patience,
        advice: str,
    ) -> None:
        self._config, self._uri, self._reading, self._secrets = config, uri, reading, secrets
        self._limits, self._patience, self._advice = limits, patience, advice
        self._url = secrets.fill(config.url, "source.url", partial(quote, safe=""))
        self._headers = {name: secrets.fill(text, "source.headers") for name, text in config.headers.items()}
        self._bars = 0
        self._layouts: dict[frozenset[str], set[str]] = {}
        # Bodies are read one after another: each may take its share of memory.
        self._lock = threading.Lock()

    def tables(self, symbol: str, session: str) -> tuple[Arrived, list[pa.Table]] | EmptyReplyError:
        """The bars of all pages of one request, and the columns that these had; of a symbol, that there is nothing."""
        import pyarrow as pa

        about = ", ".join(part for part in (symbol, session) if part)
        shown = f"{self._uri} ({about})" if about else self._uri
        spelled = self._config.spelling.get(symbol, symbol)
        values = {"symbol": spelled, "session": session, "start": self._reading.first, "end": self._reading.last}
        url = self._url
        for name, value in values.items():
            url = url.replace(f"{{{name}}}", quote(value, safe=""))
        allowed = frozenset(host.lower() for host in self._config.allow_hosts)
        hide, headers = self._secrets.hide, self._headers
        client = Client(origin(url), headers, shown, allowed, self._limits, hide, self._advice)
        reply = Reply(shown, self._reading, self._layouts)
        found: list[pa.Table] = []
        try:
            for page in self._pages(client, url, reply, symbol, shown):
                found += page
        except EmptyReplyError as error:
            if not symbol or found:
                raise
            return error
        if not symbol:
            return reply.arrived, found
        odd = sorted(reply.symbols.names - {symbol, normal_symbol(symbol), normal_symbol(spelled)})
        if odd:
            names = scrub(self._secrets.hide(", ".join(map(repr, odd))), 80)
            raise SourceError(
                f"{shown}: expected bars of {symbol} alone, found some of {names}. "
                "Correct source.url, or how the service spells the symbol in source.spelling"
            )
        place = found[0].schema.get_field_index("symbol") if found else 0
        named = [table.set_column(place, "symbol", pa.repeat(pa.scalar(symbol), len(table))) for table in found]
        return reply.arrived, named

    def _pages(self, client: Client, url: str, reply: Reply, symbol: str, shown: str) -> Iterator[list[pa.Table]]:
        start, seen = url, {url}
        while len(seen) <= self._limits.pages:
            if self._patience.is_over:
                raise TransportError(_late(shown, self._limits.read))
            answer = client.get(url, self._patience)
            yield self._judged(answer, reply, symbol, shown)
            following = _next(answer, reply.more, url, start)
            if following is None:
                return
            if following in seen or len(following) > _LONGEST_URL:
                raise SourceError(
                    f"{shown}: expected each page to name one that was not read yet, found that page {len(seen)} does "
                    "not. Nothing was read; tell the service's support"
                )
            seen.add(following)
            url = following
        raise SourceError(
            f"{shown}: expected at most {self._limits.pages} pages, found that more follow. Ask for fewer sessions or "
            "larger pages in source.url"
        )

    def _judged(self, answer: Answer, reply: Reply, symbol: str, shown: str) -> list[pa.Table]:
        """The bars of one page. Its body is judged first: an error may come with any status."""
        body = _decoded(answer, shown)
        said, kind = "", SourceError
        with self._lock:
            try:
                found = list(reply.bars(io.BytesIO(body), normal_symbol(symbol), shown))
            except SourceError as error:
                said = self._without_secrets(str(error), body, symbol, shown)
                kind = EmptyReplyError if isinstance(error, EmptyReplyError) else SourceError
            else:
                self._bars += sum(len(table) for table in found)
        if not 200 <= answer.status < 300 or answer.status == 206:
            is_transient = 500 <= answer.status < 600 or answer.status == 429
            raise (TransportError if is_transient else SourceError)(self._refusal(answer, body, said, shown))
        if said:
            raise kind(said)
        if not answer.has_end and body.lstrip()[:1] not in {b"{", b"["} and not body.startswith(_PACKED):
            raise SourceError(
                f"{shown}: expected a reply that says where it ends (by Content-Length, chunks or gzip), found one "
                "that does not: whether it is whole cannot be told. Correct the service, or have it send JSON"
            )
        if self._bars > self._config.max_bars:
            raise SourceError(
                f"{shown}: expected at most {self._config.max_bars:,} bars in all replies, found more. Ask for fewer "
                "sessions (a later history.start) or symbols, or raise source.max_bars: a million more take 250 MB"
            )
        return found

    def _without_secrets(self, said: str, body: bytes, symbol: str, shown: str) -> str:
        """A refusal's words. Where the reply repeats a secret, they are taken anew from it without: cut short, a part
        of the secret would not be known as one.
        """
        with suppress(SourceError, OSError, EOFError, zlib.error, zipfile.BadZipFile):
            inside = bodies.unpacked(io.BytesIO(body), "", shown)
            body = next(inside)[2].read(_WORDS)
        text = body.decode("utf-8", "surrogateescape")
        hidden = self._secrets.hide(text)
        if hidden != text:
            try:
                data = io.BytesIO(hidden.encode("utf-8", "surrogateescape"))
                list(Reply(shown, self._reading).bars(data, normal_symbol(symbol), shown))
            except SourceError as error:
                said = str(error)
        return self._secrets.hide(said)

    def _refusal(self, answer: Answer, body: bytes, said: str, shown: str) -> str:
        told = re.search(r"found ((?:an error of the source|a web page): (['\"]).*\2)", said)
        words = told[1] if told else repr(scrub(self._secrets.hide(body[:4096].decode("utf-8", "replace")), 120))
        phrase = responses.get(answer.status, "no known status")
        act = _ACTS.get(answer.status, "Check source.url, and that the service is up")
        return (
            f"{shown}: expected prices, found status {answer.status} ({phrase}){answer.note}"
            f"{f', {words}' if body else ''}. {act}, then run again"
        )


def _advice(environment: Mapping[str, str]) -> str:
    """What to do where a service is not reached."""
    names = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")
    proxy = next((name for name in names if environment.get(name)), "")
    return "Check that the service is up and reached from here" + (
        f" directly: {proxy} is set, and proxies are not used, since one would look up addresses past our check of them"
        if proxy
        else ""
    )


def _late(shown: str, seconds: float) -> str:
    return (
        f"{shown}: expected all replies within {seconds:g} s, found some missing. Nothing was read; ask for fewer "
        "sessions (a later history.start) or symbols, or for all symbols at once, then run again"
    )


def _next(answer: Answer, more: tuple[str, str] | None, url: str, start: str) -> str | None:
    """The URL of the page that follows, by the body or by the header ``Link``; None after the last one."""
    key, value = more or ("", "")
    if key == "next_cursor_id":
        parts = urlsplit(start)
        query = [(name, text) for name, text in parse_qsl(parts.query, True) if name != "qopts.cursor_id"]
        return urlunsplit(parts._replace(query=urlencode([*query, ("qopts.cursor_id", value)])))
    if not value and "link" in answer.headers:
        from requests.utils import parse_header_links

        links = parse_header_links(answer.headers["link"])
        value = next((link["url"] for link in links if link.get("rel", "").lower() == "next"), "")
    return urljoin(url, value) if value else None


def _decoded(answer: Answer, shown: str) -> bytes:
    """The body in UTF-8, from the encoding that its header declares."""
    declared = re.search(r"(?i)charset\s*=\s*[\"']?([\w.:-]+)", answer.headers.get("content-type", ""))
    if declared is None or answer.body.startswith(_PACKED):
        return answer.body
    name = declared[1].lower()
    try:
        if name in _CHARSETS:
            return answer.body.decode(name).encode()
        problem = f"the charset {scrub(name, 40)}"
    except UnicodeError as error:
        problem = f"bytes that are no {name} ({error.reason if isinstance(error, UnicodeDecodeError) else error})"
    raise SourceError(
        f"{shown}: expected text as its header declares it, in UTF-8, found {problem}. Correct the service"
    )
