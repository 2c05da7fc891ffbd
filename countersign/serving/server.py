"""Server: all parts put together, listening, until it is told to stop.

Belongs here: starting, the thread that looks for what has changed, stopping without a request lost. Does not belong
here: arguments and words (``cli_serve``). One process, one event loop: a second worker would verify for itself.
"""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import resource
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import uvicorn

from countersign.errors import ConfigError
from countersign.project import Project
from countersign.serving.app import build_app
from countersign.serving.front import Front, Serving, busy
from countersign.serving.log import RequestLog
from countersign.serving.metrics import Metrics
from countersign.serving.protocol import Limits, Protocol
from countersign.serving.tokens import Access, tokens_file
from countersign.serving.watch import LOOK_SECONDS, Watch

_SWEEP_SECONDS: Final = 0.25
_KEEP_ALIVE_SECONDS: Final = 75
_CONNECTIONS: Final = 1000
_OTHER_FILES: Final = 100
"""That are open at once beside connections."""
_WORKERS: Final = 2
"""Threads for what takes longer than a moment."""


@dataclass(frozen=True)
class Settings:
    """Where to listen, and the limits."""

    host: str
    port: int
    requests: int
    connections: int | None
    """None: ``_CONNECTIONS``, or as many as the limit of open files allows."""
    header_seconds: float
    body_seconds: float
    answer_seconds: float
    stop_seconds: float


def serve(
    project: Project,
    settings: Settings,
    tokens: str | None,
    clock: Callable[[], datetime],
    stopwatch: Callable[[], float],
    say: Callable[[str], None],
) -> None:
    """Serve ``project`` until SIGTERM or SIGINT. ``tokens`` are those of the environment.

    ``clock`` gives the time in UTC, ``stopwatch`` seconds that only grow, ``say`` takes what the server has to tell.
    Raises ``ConfigError`` where it would be open to others without a token, or cannot listen.
    """
    access = Access(tokens_file(project.home), tokens)
    local = _is_local(settings.host)
    if not access.required and not local:
        raise ConfigError(
            f"expected a token before others than this machine are served, found none, and --host {settings.host}. "
            "Make one with: countersign token add NAME; or leave --host out"
        )
    connections = _allowed(settings.connections)
    if settings.connections is None and connections < _CONNECTIONS:
        say(
            f"the limit of open files allows {connections} connections rather than {_CONNECTIONS}: ulimit -Hn raises it"
        )
    listener = _listen(settings)
    watch = Watch(project, clock, say)
    log = RequestLog(project.journal.path.parent, clock)
    serving = Serving(project, watch, access, log, Metrics(), say, ThreadPoolExecutor(_WORKERS, "predict"))
    limits = Limits(
        header_seconds=settings.header_seconds,
        body_seconds=settings.body_seconds,
        answer_seconds=settings.answer_seconds,
        connections=connections,
        requests=settings.requests,
        stopwatch=stopwatch,
        busy=busy(lambda: serving, stopwatch),
        refused=lambda status: serving.note("refused", status, 0.0),
    )
    front = Front(serving, build_app(serving), limits, local=local)
    watch.look()
    host, port = listener.getsockname()[:2]
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    who = "who has a token" if access.required else "this machine alone: no token is set (countersign token add NAME)"
    say(f"listening on {address} for {who}")
    # What is there now stays: the collector need not look at it again, which would hold up requests for a tenth of a
    # second each time.
    gc.collect()
    gc.freeze()
    stop = threading.Event()
    looking = threading.Thread(target=_look, args=(serving, stop), name="watch", daemon=True)
    looking.start()
    try:
        _Server(_uvicorn(front, settings)).run(sockets=[listener])
    finally:
        stop.set()
        looking.join()
        serving.workers.shutdown(cancel_futures=True)
        log.flush()
        say("stopped")


def _look(serving: Serving, stop: threading.Event) -> None:
    said = ""
    while not stop.wait(LOOK_SECONDS):
        serving.watch.look()
        serving.access.refresh()
        # Nobody who is not let in can ask why.
        if (trouble := serving.access.trouble) != said:
            serving.say(trouble or "tokens.json can be used again")
            said = trouble
        serving.log.flush()


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _allowed(connections: int | None) -> int:
    """How many connections may be open, for which the limit of open files is raised where it is lower.

    Without a file left, no journal is read, and a model that is revoked is served on.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # As many again may be told to come again.
    most = (hard - _OTHER_FILES) // 2 if hard != resource.RLIM_INFINITY else _CONNECTIONS
    if connections is None:
        connections = min(_CONNECTIONS, max(most, 1))
    wanted = 2 * connections + _OTHER_FILES
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise ConfigError(
            f"expected to have {wanted} files open at once, found a limit of {hard}: raise it (ulimit -Hn)"
            + (f", or set --connections to {most} or less" if most > 0 else "")
        )
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return connections


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=2048)
    except OSError as error:
        raise ConfigError(
            f"expected to listen on {settings.host}, port {settings.port}: {error.strerror or error}. Name another"
        ) from error


def _uvicorn(front: Front, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        front,
        http=Protocol,
        loop="uvloop",
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="critical",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=settings.stop_seconds,  # type: ignore[arg-type]
    )


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._sweep()

    def _sweep(self) -> None:
        """End connections that have taken too long; also while the server stops, so that none of them holds it up."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in list(self.server_state.connections):
            if isinstance(connection, Protocol):
                connection.expire(now)
        loop.call_later(_SWEEP_SECONDS, self._sweep)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn raises the signal again at the end, which would end the process before its log is written.
        before = {one: signal.signal(one, self.handle_exit) for one in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)
