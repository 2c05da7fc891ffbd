"""A real server on the loopback interface, started as a process and stopped by its pid, and a small client for it."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

COMMAND = [sys.executable, "-c", "from countersign.cli import main; main()"]


@dataclass
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Server:
    """``countersign serve`` over the project in ``home``, on a port of its own."""

    home: Path
    options: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    token: str | None = None

    def __enter__(self) -> Server:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("COUNTERSIGN_")}
        self.process = subprocess.Popen(
            [*COMMAND, "--home", str(self.home), "serve", "--port", "0", *self.options],
            stderr=subprocess.PIPE,
            env=kept | dict(self.environment),
            text=True,
        )
        self.said: list[str] = []
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line)
            if found := re.search(r"listening on http://127\.0\.0\.1:(\d+)", line):
                self.port = int(found[1])
                break
        else:
            raise AssertionError("".join(self.said))
        self._reading = threading.Thread(target=lambda: self.said.extend(self.process.stderr or ()), daemon=True)
        self._reading.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> int:
        """Tell it to stop; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=30)
        self._reading.join(timeout=10)
        if self.process.stderr:
            self.process.stderr.close()
        return code

    def connect(self, timeout: float = 20) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def ask(
        self,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        method: str | None = None,
        on: http.client.HTTPConnection | None = None,
    ) -> Reply:
        """One request; ``body`` is sent as JSON where it is no bytes."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"Content-Type": "application/json"} if data is not None else {}
        sent |= {"Authorization": f"Bearer {self.token}"} if self.token else {}
        connection = on or self.connect()
        try:
            connection.request(method or ("GET" if data is None else "POST"), path, data, sent | dict(headers or {}))
            answer = connection.getresponse()
            return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            if on is None:
                connection.close()

    def until(self, is_so: Callable[[], bool], seconds: float = 10) -> None:
        """Wait for something that the server does by itself."""
        deadline = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < deadline, "".join(self.said)
            time.sleep(0.05)
