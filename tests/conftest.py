"""Fixtures that several folders of tests share: project folders made from the bundled prices, and a fixed clock."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from countersign.project import Project, open_project
from countersign.steps.model import train_first_model
from countersign.steps.prices import load_history
from tests.desk import NOON, PEOPLE, QUICK, Desk, configure, let_sign, make_keys

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def now() -> datetime:
    """A moment after every bundled session."""
    return datetime(2013, 3, 4, 12, 0, tzinfo=UTC)


def make_home(folder: Path) -> Path:
    """A project folder with the shipped configuration and prices, without artifacts."""
    shutil.copytree(ROOT / "config", folder / "config")
    shutil.copytree(ROOT / "data", folder / "data")
    return folder


@pytest.fixture
def empty_home(tmp_path: Path) -> Path:
    """A project folder of its own: configuration and prices, nothing made yet."""
    return make_home(tmp_path / "home")


@pytest.fixture(scope="session")
def bootstrapped_home(tmp_path_factory: pytest.TempPathFactory, now: datetime) -> Path:
    """A project folder whose history is loaded and whose first model is in service. Read only: copy it to change it."""
    home = make_home(tmp_path_factory.mktemp("bootstrapped") / "home")
    project = open_project(home, date(2013, 3, 4))
    load_history(project, now)
    train_first_model(project, now)
    return home


@pytest.fixture
def home(bootstrapped_home: Path, tmp_path: Path) -> Path:
    """A bootstrapped project folder that the test may change."""
    return Path(shutil.copytree(bootstrapped_home, tmp_path / "home"))


@pytest.fixture
def project(home: Path) -> Project:
    """The project in ``home``, opened."""
    return open_project(home, date(2013, 3, 4))


@pytest.fixture(scope="session")
def first_desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """A small project, its first model in service, and three signers. Read only: ``desk`` is a copy."""
    if not shutil.which("ssh-keygen"):
        pytest.skip("ssh-keygen is not installed (Debian: openssh-client)")
    home = make_home(tmp_path_factory.mktemp("desk") / "home")
    configure(home, *QUICK)
    made = Desk(home, make_keys(tmp_path_factory.mktemp("desk-keys")))
    let_sign(home, made.keys, *PEOPLE)
    load_history(made.project, NOON)
    train_first_model(made.project, NOON)
    return made


@pytest.fixture
def desk(first_desk: Desk, tmp_path: Path) -> Desk:
    """A small project with signers, which the test may change."""
    return first_desk.copy(tmp_path / "home")


@dataclass
class Receiver:
    """A local HTTP server that keeps what it was sent, and answers with ``status``."""

    port: int
    status: int = 200
    requests: list[tuple[str, str, bytes]] = field(default_factory=list)
    """Method, path and body of each."""

    @property
    def bodies(self) -> list[str]:
        return [body.decode() for _, _, body in self.requests]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A server on the loopback interface, stopped after the test."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            found.requests.append((self.command, self.path, body))
            self.send_response(found.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST = do_PUT = _answer  # noqa: N815 - the names that the library calls

        def log_message(self, *_: object) -> None:
            """Silence: the test's output is pytest's."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Receiver(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield found
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def unused_port() -> int:
    """A port on the loopback interface on which nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port
