"""A service of prices on the loopback interface that answers, byte for byte, as a test tells it to."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field


@dataclass
class Call:
    """One request, and the connection on which it is answered."""

    number: int
    target: str
    headers: dict[str, str]
    connection: socket.socket
    stopped: threading.Event

    def send(self, *parts: bytes, every: float = 0) -> None:
        """Send ``parts``, with ``every`` seconds of silence after each."""
        for part in parts:
            self.connection.sendall(part)
            if every and self.stopped.wait(every):
                return


Answer = Callable[[Call], None]


@dataclass
class Service:
    """Listens until it is stopped. ``calls`` are the requests that came."""

    answer: Answer
    calls: list[Call] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.stopped = threading.Event()
        self.wrap: Callable[[socket.socket], socket.socket] = lambda connection: connection
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        self._listening = threading.Thread(target=self._listen, daemon=True)
        self._listening.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def targets(self) -> list[str]:
        return [call.target for call in self.calls]

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        # The other side may go away at any moment: that is what is tested.
        with suppress(OSError), self.wrap(connection) as connection:
            data = b""
            while b"\r\n\r\n" not in data:
                data += (part := connection.recv(4096))
                if not part:
                    return
            first, *lines = data.decode("latin-1").split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
            call = Call(len(self.calls), first.split(" ")[1], headers, connection, self.stopped)
            self.calls.append(call)
            self.answer(call)

    def stop(self) -> None:
        self.stopped.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in (self._listening, *self._threads):
            thread.join(5)
            assert not thread.is_alive(), "the service did not stop"


def reply(body: bytes | str = b"", status: str = "200 OK", /, **headers: str | int) -> bytes:
    """A whole reply; ``headers`` with _ for -, and Content-Length where none is given."""
    data = body.encode() if isinstance(body, str) else body
    named = {name.replace("_", "-"): str(value) for name, value in headers.items()}
    named = {"Content-Length": str(len(data)), **named}
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in named.items() if value)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + data


def always(*parts: bytes, every: float = 0) -> Answer:
    """The same answer to every request."""
    return lambda call: call.send(*parts, every=every)
