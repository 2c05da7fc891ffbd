"""Front: the ASGI application that every request passes: access first, then the route, then what is noted of it.

Belongs here: who may ask, and noting how it went. Does not belong here: the routes (``app``), limits (``protocol``).
``POST /predict`` is answered here, ahead of FastAPI, whose routing takes longer than the prediction; ``app`` has it
too, for its description, and calls the same function.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Protocol

from countersign.project import Project
from countersign.serving.answers import Answer
from countersign.serving.log import RequestLog
from countersign.serving.metrics import Metrics
from countersign.serving.predictor import Damaged, Served, is_quick, predict
from countersign.serving.problems import MEDIA_TYPE, Problem
from countersign.serving.protocol import Limits, busy_problem
from countersign.serving.requests import parse
from countersign.serving.tokens import Access
from countersign.serving.watch import Watch

PREDICT: Final = "/predict"
OPEN: Final = "/healthz"
"""The one route that needs no token."""
UNMATCHED: Final = "unmatched"
"""What is noted for a path that is no route: never the path itself, which may hold anything."""
_QUICK_BYTES: Final = 16_384
"""Bodies up to this are read while all others wait; longer ones in a thread."""
_JSON: Final = b"application/json"
_NAMES: Final = frozenset({b"localhost", b"127.0.0.1", b"[::1]"})

_INTERNAL: Final = Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "an error of the server; its log says where")

Send = Callable[[dict[str, Any]], Any]


class Routes(Protocol):
    """The application behind the front."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


@dataclass
class Serving:
    """All that the routes are answered from."""

    project: Project
    watch: Watch
    access: Access
    log: RequestLog
    metrics: Metrics
    say: Callable[[str], None]
    workers: ThreadPoolExecutor

    def served(self) -> Served:
        """What is served now, for the whole of one request. Raises ``Problem`` where nothing may be."""
        served = self.watch.served
        if served is None:
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, f"no model is served: {self.watch.trouble}")
        return served

    async def predict(self, headers: Mapping[bytes, bytes], body: bytes) -> Answer:
        """The answer to ``POST /predict``. Raises ``Problem``."""
        if headers.get(b"content-type", b"").split(b";")[0].strip().lower() != _JSON:
            raise Problem(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                "content-type: expected application/json",
                [("content-type", "expected application/json")],
            )
        served = self.served()
        if len(body) > _QUICK_BYTES:
            return await self.aside(lambda: predict(self.project, served, parse(body)))
        asked = parse(body)
        if is_quick(served, asked):
            return predict(self.project, served, asked)
        return await self.aside(lambda: predict(self.project, served, asked))

    async def aside(self, work: Callable[[], Any]) -> Any:
        """``work`` in a thread, while others are answered."""
        return await asyncio.get_running_loop().run_in_executor(self.workers, work)

    def say_cause(self, problem: Problem) -> None:
        """Log what the answer does not tell."""
        if isinstance(problem, Damaged):
            self.say(problem.cause)

    def note(self, route: str, status: int, seconds: float, rows: int = 0, model: str = "") -> None:
        self.metrics.add(route, status, seconds, rows)
        self.log.add(route, status, seconds, rows, model)


class Front:
    """``limits`` is read by ``protocol``. ``local`` is whether only this machine's own names may be asked for."""

    def __init__(self, serving: Serving, routes: Routes, limits: Limits, *, local: bool) -> None:
        self.limits = limits
        self._serving, self._routes, self._local = serving, routes, local

    async def __call__(self, scope: Any, receive: Any, send: Send) -> None:
        # Of a header that is sent twice, the last one counts: both must not be compared with what is allowed.
        headers = dict(scope["headers"])
        path, route, rows, model = scope["path"], UNMATCHED, 0, ""
        try:
            self._admit(path, headers)
            if path == PREDICT and scope["method"] == "POST":
                route = PREDICT
                answer = await self._serving.predict(headers, (await receive())["body"])
                status, rows, model = 200, answer.rows, answer.model
                await _send(send, status, _JSON, answer.body)
            else:
                status = await self._routed(scope, receive, send)
                route = getattr(scope.get("route"), "path", UNMATCHED)
        except Problem as problem:
            status = int(problem.status)
            self._serving.say_cause(problem)
            await send_problem(send, problem)
        except Exception as error:
            # One request must not end another. The message may quote what was sent: the place alone is logged.
            status = 500
            self._serving.say(f"{route}: {type(error).__name__} at {_place(error)}")
            if not scope["state"].get("answered"):
                await send_problem(send, _INTERNAL)
        self._serving.note(route, status, self.limits.stopwatch() - scope["state"]["started"], rows, model)

    def _admit(self, path: str, headers: Mapping[bytes, bytes]) -> None:
        """Raise ``Problem`` unless the request may be answered at all."""
        access = self._serving.access
        if access.required:
            if path != OPEN and not access.allows(headers.get(b"authorization", b"")):
                raise Problem(
                    HTTPStatus.UNAUTHORIZED,
                    "authorization: expected Bearer and a token, or Basic with one as password (countersign token add)",
                    # A line for each, in two spellings of its name: of one line browsers read the first alone.
                    headers={
                        "www-authenticate": 'Bearer realm="countersign"',
                        "WWW-Authenticate": 'Basic realm="countersign"',
                    },
                )
        elif self._local and headers.get(b"host", b"").rpartition(b":")[0].lower() not in _NAMES:
            host = headers.get(b"host", b"").lower()
            if host not in _NAMES:
                # A foreign page whose name was made to lead here would read the answers otherwise.
                raise Problem(
                    HTTPStatus.MISDIRECTED_REQUEST,
                    "host: expected localhost or 127.0.0.1, as long as no token is set",
                    [("host", "expected localhost or 127.0.0.1")],
                )

    async def _routed(self, scope: Any, receive: Any, send: Send) -> int:
        status = 500

        async def noting(message: dict[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status, scope["state"]["answered"] = message["status"], True
            await send(message)

        await self._routes(scope, receive, noting)
        return status


def busy(serving: Callable[[], Serving], stopwatch: Callable[[], float]) -> Callable[..., Any]:
    """The ASGI application that sheds a request."""

    async def shed(scope: Any, receive: Any, send: Send) -> None:
        await send_problem(send, busy_problem("requests are being answered"))
        serving().note("shed", 503, stopwatch() - scope["state"]["started"])

    return shed


async def send_problem(send: Send, problem: Problem) -> None:
    headers = [(name.encode(), value.encode()) for name, value in problem.headers.items()]
    await _send(send, int(problem.status), MEDIA_TYPE.encode(), problem.body, headers)


async def _send(
    send: Send, status: int, kind: bytes, body: bytes, extra: list[tuple[bytes, bytes]] | None = None
) -> None:
    headers = [(b"content-type", kind), (b"content-length", b"%d" % len(body)), *(extra or ())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _place(error: Exception) -> str:
    found = error.__traceback__
    while found and found.tb_next:
        found = found.tb_next
    return f"{found.tb_frame.f_code.co_filename}:{found.tb_lineno}" if found else "?"
