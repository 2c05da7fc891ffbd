"""Protocol: what one connection may cost, before anything of a request is looked at.

Belongs here: limits on time, size and number. Does not belong here: HTTP's grammar (httptools), answering (``front``).
A request is handed on once it is there as a whole, so that a slow one holds a connection and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from countersign.serving.problems import MEDIA_TYPE, Problem

MAX_BODY: Final = 5_000_000
"""Bytes of one body."""
MAX_HEAD: Final = 32_768
"""Bytes of a request before its body; of a chunked one, also those after it."""
_CHUNK_BYTES: Final = 5
"""That the smallest chunk, of one byte, takes beside it."""
MAX_WAITING: Final = 64_000_000
"""Bytes of all bodies that have not been answered."""
RETRY_SECONDS: Final = 1
_LINGER_SECONDS: Final = 1.0
"""For which a connection is kept after a refusal, so that a client that is still sending gets to read it."""
_LINGER_BYTES: Final = 262_144
"""That are thrown away meanwhile; then nothing more is read."""

Application = Callable[..., Any]


@dataclass
class Limits:
    """Settings, and what is shared by all connections. ``stopwatch`` gives seconds that only grow.

    ``busy`` answers a request that is shed; ``refused`` is told the status of what was refused without an answer of it.
    """

    header_seconds: float
    body_seconds: float
    answer_seconds: float
    connections: int
    requests: int
    stopwatch: Callable[[], float]
    busy: Application
    refused: Callable[[int], None]
    waiting_bytes: int = field(default=0)
    working: int = field(default=0)
    """Connections whose request is being answered."""

    def is_busy(self, tasks: int) -> bool:
        """Whether one request more is shed. ``tasks`` are those of the loop: one that has ended is among them for a
        turn, and so is, until it ends, what nobody waits for any more.
        """
        return self.working >= self.requests or tasks >= 2 * self.requests


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol with limits, which its application carries as ``limits``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limits: Limits = self.config.loaded_app.limits
        self._reads = "head"
        """What is being waited for: head, body, or nothing."""
        self._since = self.loop.time()
        self._other_bytes = 0
        """Of a request, beside its body: the head until it is there, then what divides and follows chunks."""
        self._held_bytes = 0
        self._pending: tuple[RequestResponseCycle, Any] | None = None
        """A request whose body is not there as a whole."""
        self._is_refused = False
        self._is_working = False
        self._thrown_away = 0
        self._untaken_bytes = 0
        """Of answers that the client has not taken, since ``_untaken_since`` without any progress."""
        self._untaken_since = self._since

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > 2 * self._limits.connections:
            # Those that are told so are held for a moment, too.
            transport.abort()
        elif len(self.connections) > self._limits.connections:
            self._refuse(busy_problem("connections are open"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_work()
        self._let_go()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            self._thrown_away += len(data)
            if self._thrown_away > _LINGER_BYTES:
                self.flow.pause_reading()
            return
        self._other_bytes += len(data)
        super().data_received(data)
        body = len(self.cycle.body) if self._reads == "body" else 0
        if self._reads and self._other_bytes > MAX_HEAD + _CHUNK_BYTES * body:
            self._refuse(_head_too_large())

    def expire(self, now: float) -> None:
        """End the connection where it has taken too long to send a head or a body, or takes nothing of an answer."""
        untaken = self.transport.get_write_buffer_size()
        if untaken == 0 or untaken < self._untaken_bytes:
            self._untaken_since = now
        self._untaken_bytes = untaken
        if now - self._untaken_since > self._limits.answer_seconds:
            self.transport.abort()
            return
        if self._is_refused or not self._reads:
            return
        allowed = self._limits.header_seconds if self._reads == "head" else self._limits.body_seconds
        if now - self._since > allowed:
            self._refuse(Problem(HTTPStatus.REQUEST_TIMEOUT, f"expected the {self._reads} within {allowed:g} s"))

    def send_400_response(self, msg: str) -> None:
        self._refuse(Problem(HTTPStatus.BAD_REQUEST, msg))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._reads, self._since = "head", self.loop.time()

    def on_headers_complete(self) -> None:
        if self._is_refused:
            return
        if self._other_bytes > MAX_HEAD and sum(len(n) + len(v) for n, v in self.headers) + len(self.url) > MAX_HEAD:
            self._refuse(_head_too_large())
            return
        self._reads, self._since, self._other_bytes = "body", self.loop.time(), 0
        for name, value in self.headers:
            if name == b"content-length" and value.isdigit() and int(value[:12]) > MAX_BODY:
                # Before a client that asks is told to go on.
                self._refuse(_too_large())
                return
        upgrades = self.parser.should_upgrade()
        if upgrades and any(name in {b"content-length", b"transfer-encoding"} for name, _ in self.headers):
            # httptools gives no body of such a request, and takes it for the next one.
            self._refuse(Problem(HTTPStatus.BAD_REQUEST, "upgrade: expected none with a body: send HTTP/1.1 alone"))
            return
        super().on_headers_complete()
        if upgrades:
            self.cycle.keep_alive = False
        # What follows a body is no part of the head: it must not say who asks, or what the body is.
        self.headers = []

    def on_body(self, body: bytes) -> None:
        if self._is_refused or self.cycle.response_complete:
            return
        # Not uvicorn's, which stops reading until the application asks for more: nothing is handed on before the end.
        self.cycle.body += body
        self._other_bytes -= len(body)
        self._held_bytes += len(body)
        self._limits.waiting_bytes += len(body)
        if len(self.cycle.body) > MAX_BODY:
            self._refuse(_too_large())
        elif self._limits.waiting_bytes > MAX_WAITING:
            self._refuse(busy_problem("bytes wait"))

    def on_message_complete(self) -> None:
        if self._is_refused:
            return
        super().on_message_complete()
        self._reads, self._other_bytes = "", 0
        pending, self._pending = self._pending, None
        if pending:
            self._start_asgi_task(*pending)

    def on_response_complete(self) -> None:
        self._end_work()
        if not self.pipeline:
            self._let_go()
        super().on_response_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if cycle.more_body:
            self._pending = cycle, app
            if cycle.waiting_for_100_continue:
                cycle.waiting_for_100_continue = False
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return
        # A probe for life has to be answered under load: a server that is restarted then serves nobody.
        if self._limits.is_busy(len(self.tasks)) and cycle.scope["path"] != "/healthz":
            app = self._limits.busy
        elif not self._is_working:
            self._is_working = True
            self._limits.working += 1
        cycle.scope["state"]["started"] = self._limits.stopwatch()
        super()._start_asgi_task(cycle, app)

    def _refuse(self, problem: Problem) -> None:
        """Answer with ``problem`` and close, whatever is still being sent."""
        if self._is_refused:
            return
        self._is_refused, self._pending, self._reads = True, None, ""
        self._let_go()
        self._limits.refused(problem.status)
        answering = self.cycle is not None and (self.cycle.response_started or not self.cycle.more_body)
        if self.pipeline or (answering and not self.cycle.response_complete):
            # Another request of this connection is being answered: what is said now would be taken for its answer.
            self.transport.abort()
            return
        if self.cycle is not None:
            # So that a server that stops does not wait for it.
            self.cycle.response_complete = True
        body, status = problem.body, problem.status
        extra = "".join(f"{name}: {value}\r\n" for name, value in problem.headers.items())
        head = (
            f"HTTP/1.1 {int(status)} {status.phrase}\r\ncontent-type: {MEDIA_TYPE}\r\n"
            f"content-length: {len(body)}\r\n{extra}connection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(_LINGER_SECONDS, self.transport.abort)

    def _end_work(self) -> None:
        if self._is_working:
            self._is_working = False
            self._limits.working -= 1

    def _let_go(self) -> None:
        self._limits.waiting_bytes -= self._held_bytes
        self._held_bytes = 0


def busy_problem(what: str) -> Problem:
    """More than the limit of ``what``."""
    return Problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        f"too many {what}: ask again in {RETRY_SECONDS} s",
        headers={"retry-after": str(RETRY_SECONDS)},
    )


def _head_too_large() -> Problem:
    return Problem(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"expected at most {MAX_HEAD:,} bytes before and after the body"
    )


def _too_large() -> Problem:
    return Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"body: expected at most {MAX_BODY:,} bytes", [("body", "too large")]
    )
