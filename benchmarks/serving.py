"""Serving: predictions a second and their latency by wrk, beside ``mlflow models serve``; load that is shed; memory.

wrk (Debian: ``wrk``) and one server at a time share the machine, over loopback. Ours has a token, as where it is open
to others; mlflow has one worker, too, in an environment of its own, on uvloop and httptools as ours is. It serves a
logistic regression and a ridge on as many features and is asked in its two common forms: named features (a data frame)
and bare numbers, which it answers sooner. Ours is asked for a row that the daily run stored, and for named features.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Final
from urllib.request import urlopen

from benchmarks.environments import installed, last_line
from benchmarks.measure import ROOT, aim, tool
from benchmarks.projects import bundled_project, make_sessions, temporary_folder
from countersign.features import FEATURES

QUESTION: Final = "How many predictions a second are served, how soon, and what happens under five times the load?"
SECONDS: Final = 60.0
ROUNDS: Final = 3
_CONNECTIONS: Final = 32
_OVERLOAD: Final = 5
_SOAK: Final = 200_000
_TOKEN: Final = secrets.token_hex(20)
_SESSIONS: Final = ("2008-09-02", "2008-09-30")
_START_SECONDS: Final = 60

_NAMED: Final = dict.fromkeys(FEATURES, 0.1)
_ITEM: Final = json.dumps({"items": [{"symbol": "AAPL", "session": _SESSIONS[1]}]})
_FEATURES: Final = json.dumps(
    {"features": [{"history_sessions": 63, "ewma_variance": 4e-4, "market_variance": 3e-4} | _NAMED]}
)
_FRAME: Final = json.dumps({"dataframe_split": {"columns": list(_NAMED), "data": [list(_NAMED.values())]}})
_NUMBERS: Final = json.dumps({"inputs": [list(_NAMED.values())]})


@dataclass(frozen=True)
class Counted:
    """What wrk counted: ``refused`` answers with a status of 400 or more, of them ``shed`` with Retry-After (and
    ``other``, where it was asked to look), and ``broken`` connections and timeouts."""

    answers: int
    seconds: float
    p50_ms: float
    p99_ms: float
    refused: int
    broken: int
    shed: int
    other: int

    @property
    def a_second(self) -> float:
        """Answers that were predictions."""
        return (self.answers - self.refused) / self.seconds


def run(seconds: float = SECONDS) -> None:
    """Measure for ``seconds`` alone, then in turn with mlflow, then overload and soak."""
    if not shutil.which("wrk"):
        print("  without wrk nothing can be said: install it (Debian: wrk)")
        return
    with temporary_folder() as folder, ExitStack() as running:
        url, pid = running.enter_context(_ours(folder / "project"))
        asked = {"countersign, stored row": (url, _ITEM), "countersign, features": (url, _FEATURES)}
        try:
            theirs = running.enter_context(_mlflow(folder))
            asked |= {"mlflow, data frame": (theirs, _FRAME), "mlflow, numbers": (theirs, _NUMBERS)}
        except RuntimeError as error:
            print(f"  without mlflow: {error}")
        _table_head(f"{_CONNECTIONS} connections")
        for server, body in asked.values():
            _wrk(server, [body], _CONNECTIONS, 2)
        alone = _wrk(url, [_ITEM], _CONNECTIONS, seconds)
        _table_row(f"countersign alone, {seconds:g} s", alone)
        rounds: dict[str, list[Counted]] = {name: [] for name in asked}
        for number, (name, (server, body)) in product(range(ROUNDS), asked.items()):
            found = _wrk(server, [body], _CONNECTIONS, seconds / 6)
            rounds[name].append(found)
            _table_row(f"{name}, round {number + 1}", found)
        aim("time a prediction", 1e6 / alone.a_second, 200, " µs")
        aim("p99", alone.p99_ms, 10, " ms")
        aim("answers that are an error", alone.refused + alone.broken, 1)
        if len(rounds) > 2:
            _beside(rounds, "countersign, stored row", "mlflow, data frame")
            _beside(rounds, "countersign, features", "mlflow, data frame")
            _beside(rounds, "countersign, stored row", "mlflow, numbers")
        _overload(url, alone, seconds / 3)
        _soak(url, pid)


def _beside(rounds: Mapping[str, Sequence[Counted]], ours: str, theirs: str) -> None:
    a_second = [max(one.a_second for one in rounds[name]) for name in (ours, theirs)]
    p99 = [min(one.p99_ms for one in rounds[name]) for name in (ours, theirs)]
    times, share = a_second[0] / a_second[1], p99[0] / p99[1]
    print(f"  {ours}, beside {theirs}: {times:.1f} × the throughput")
    aim("  time a prediction, share of mlflow's", 100 / times, 12.5, " %")
    aim("  p99, share of mlflow's", 100 * share, 10, " %")


def _overload(url: str, before: Counted, seconds: float) -> None:
    """Five times the connections; then the usual ones, until they are answered as before."""
    _table_head(f"{_OVERLOAD * _CONNECTIONS} connections for {seconds:g} s, then {_CONNECTIONS} again")
    load = _wrk(url, [_ITEM], _OVERLOAD * _CONNECTIONS, seconds, count_shed=True)
    ended = time.perf_counter()
    _table_row("five times the load", load)
    print(
        f"  shed: {load.shed:,} of {load.answers:,} (each with Retry-After); other errors: {load.other + load.broken:,}"
    )
    while time.perf_counter() - ended < 30:
        after = _wrk(url, [_ITEM], _CONNECTIONS, 1)
        if after.refused + after.broken == 0 and after.p99_ms < 2 * before.p99_ms:
            break
    took = time.perf_counter() - ended
    _table_row("afterwards", after)
    aim("until answered as before (no error, p99 below twice that before)", took, 10, " s")
    aim("answers under load that are neither predictions nor shed", load.other + load.broken, 1)


def _soak(url: str, pid: int) -> None:
    """Requests of every kind, wrong ones among them, until there were enough; memory after each quarter."""
    items = [json.dumps({"items": [{"symbol": symbol}]}) for symbol in ("AAPL", "GOOG", "IBM", "MSFT")]
    right = [*items, _ITEM, _FEATURES, "/model", "/metrics", "/readyz"]
    wrong = [_ITEM.replace("AAPL", "NONE"), _FEATURES.replace("0.1", '"a"', 1), "{", "/nowhere"]
    mixed = [*right, *wrong]
    points, answers, refused = [_rss_mb(pid)], 0, 0
    while answers < _SOAK:
        found = _wrk(url, mixed, _CONNECTIONS, 5)
        answers, refused = answers + found.answers, refused + found.refused
        if answers >= len(points) * _SOAK / 4:
            points.append(_rss_mb(pid))
    shown = " → ".join(f"{point:.0f}" for point in points)
    beyond = abs(refused / answers - len(wrong) / len(mixed))
    print(f"\n  soak: {answers:,} requests, {len(wrong)} of {len(mixed)} are wrong ones; memory {shown} MB")
    aim("share refused, beyond that of the wrong ones", 100 * beyond, 0.1, " %")
    aim("memory that the last three quarters add", points[-1] - points[1], 5, " MB")


@contextmanager
def _ours(home: Path) -> Iterator[tuple[str, int]]:
    """``countersign serve`` with the bundled prices: where it predicts, and its process."""
    project = bundled_project(home)
    make_sessions(project, project.calendar.between(*_SESSIONS))
    port = _free_port()
    command: list[str | Path] = [tool("countersign"), "serve", "--port", str(port)]
    with _started(command, home, port, "/healthz", COUNTERSIGN_HOME=str(home), COUNTERSIGN_TOKENS=_TOKEN) as pid:
        yield f"http://127.0.0.1:{port}/predict", pid


@contextmanager
def _mlflow(folder: Path) -> Iterator[str]:
    """``mlflow models serve``: where it predicts. Raises ``RuntimeError`` where it cannot be installed or started."""
    commands, model, port = installed("mlflow"), folder / "mlflow", _free_port()
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}"}
    script: list[str | Path] = [commands / "python", ROOT / "benchmarks" / "mlflow_model.py", model, str(len(FEATURES))]
    saved = subprocess.run(
        script, cwd=folder, env=os.environ | quiet, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if saved.returncode:
        raise RuntimeError(f"its model could not be saved ({last_line(saved.stdout)})")
    command: list[str | Path] = [
        commands / "mlflow",
        "models",
        "serve",
        "-m",
        model,
        "-p",
        str(port),
        "--env-manager",
        "local",
    ]
    with _started(command, folder, port, "/ping", **quiet):
        yield f"http://127.0.0.1:{port}/invocations"


@contextmanager
def _started(command: Sequence[str | Path], folder: Path, port: int, alive: str, **environment: str) -> Iterator[int]:
    """A server, once it answers ``alive``; its process, which is ended with all that it started.

    Raises ``RuntimeError`` where it does not start.
    """
    log = folder / "server.log"
    with log.open("w", encoding="utf-8") as said:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | environment,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _wait(process, f"http://127.0.0.1:{port}{alive}", log)
            yield process.pid
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            with urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"it did not start ({last_line(log.read_text(encoding='utf-8'))})")


def _wrk(url: str, requests: Sequence[str], connections: int, seconds: float, count_shed: bool = False) -> Counted:
    environment = {"REQUESTS": "\n".join(requests), "TOKEN": _TOKEN} | ({"COUNT_SHED": "1"} if count_shed else {})
    script = ROOT / "benchmarks" / "requests.lua"
    done = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "-s", script, url],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return Counted(**json.loads(last_line(done.stdout)))


def _rss_mb(pid: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(encoding="utf-8"))
    assert found
    return int(found[1]) / 1024


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def _table_head(title: str) -> None:
    print(f"\n  {title:<42} {'a second':>9} {'p50':>9} {'p99':>9} {'errors':>7} {'load':>5}", flush=True)


def _table_row(name: str, found: Counted) -> None:
    print(
        f"  {name:<42} {found.a_second:>9,.0f} {found.p50_ms:>6.2f} ms {found.p99_ms:>6.2f} ms "
        f"{found.refused + found.broken:>7,} {os.getloadavg()[0]:>5.1f}",
        flush=True,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"of the longest run; default {SECONDS:g}")
    run(parser.parse_args().seconds)
