"""``countersign serve`` as a process: what it answers, whom, and what it does under load, attack and deployment."""

from __future__ import annotations

import csv
import gzip
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from playwright.sync_api import sync_playwright
from starlette.routing import Route

from countersign.cli import main
from countersign.features import FEATURES
from countersign.project import Project
from countersign.serving.answers import Predictions, SessionScores
from countersign.serving.app import build_app
from countersign.serving.front import Serving
from countersign.serving.log import RequestLog
from countersign.serving.metrics import Metrics
from countersign.serving.tokens import Access, tokens_file
from countersign.serving.watch import Watch
from tests.desk import HOUR, NOON, Desk
from tests.server import COMMAND, Server
from tests.steps import run_sessions

SESSIONS = ["2008-09-02", "2008-09-03"]
LAST = SESSIONS[-1]
CHROMIUM = shutil.which("chromium")
ITEM = {"items": [{"symbol": "AAPL", "session": LAST}]}
SECRET = "a-secret-that-must-not-be-logged-anywhere"


@pytest.fixture(scope="module")
def scored(first_desk: Desk, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """A project with two sessions that were run. Read only: copy it to change it."""
    desk = first_desk.copy(tmp_path_factory.mktemp("served") / "home")
    run_sessions(desk.project, SESSIONS, NOON)
    return desk


@pytest.fixture
def own(scored: Desk, tmp_path: Path) -> Desk:
    desk = scored.copy(tmp_path / "home")
    (desk.home / "artifacts" / "requests.jsonl").unlink(missing_ok=True)
    return desk


@pytest.fixture(scope="module")
def server(scored: Desk) -> Iterator[Server]:
    """One for all tests that change nothing, without a token."""
    with Server(scored.home) as running:
        yield running


def stored(desk: Desk, name: str, session: str = LAST) -> list[dict[str, Any]]:
    path = desk.home / "artifacts" / "sessions" / session / f"{name}.json"
    rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["data"]
    return rows


def as_answered(row: dict[str, Any], model: str) -> dict[str, Any]:
    """A row of scores.json as the server says it: nothing that is null, and the model."""
    kept = {k: v for k, v in row.items() if v is not None and k not in {"date", "history_sessions"}}
    return kept | {"session": row["date"][:10], "model": model}


def bars_of(desk: Desk, last: str, count: int = 64) -> dict[str, list[dict[str, Any]]]:
    """The newest ``count`` bundled bars of each symbol up to ``last``, as a client would send them."""
    with gzip.open(desk.home / "data" / "sample" / "prices.csv.gz", "rt", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["date"] <= last]
    names = ("open", "high", "low", "close", "adj_close", "volume")
    found: dict[str, list[dict[str, Any]]] = {}
    for symbol in sorted({row["symbol"] for row in rows}):
        bars = [{"date": r["date"]} | {n: float(r[n]) for n in names} for r in rows if r["symbol"] == symbol]
        if bars[-1]["date"] == last:
            found[symbol] = sorted(bars, key=lambda bar: str(bar["date"]))[-count:]
    return found


# --- what it answers


def test_predictions_for_items_are_those_of_the_daily_run_to_the_last_bit(server: Server, scored: Desk) -> None:
    wanted = [(session, row["symbol"]) for session in SESSIONS for row in stored(scored, "scores", session)]
    items = [{"symbol": symbol, "session": session} for session, symbol in reversed(wanted)]
    answer = server.ask("/predict", {"items": items})
    assert answer.status == 200
    Predictions.model_validate_json(answer.body, strict=True)
    champion = scored.state.champion
    assert champion is not None
    said = [as_answered(row, champion.model) for session in SESSIONS for row in stored(scored, "scores", session)]
    assert answer.json["predictions"] == list(reversed(said))
    deployed = {"sha256": champion.model, "decision": champion.decision, "deployed_at": champion.at.isoformat()}
    assert answer.json["models"] == [deployed]


def test_a_session_that_is_left_out_is_the_newest_one(server: Server) -> None:
    (row,) = server.ask("/predict", {"items": [{"symbol": "IBM"}]}).json["predictions"]
    assert (row["symbol"], row["session"]) == ("IBM", LAST)


@pytest.mark.parametrize("count", [1, 4, 4000])
def test_predictions_for_raw_features_are_those_of_the_daily_run_to_the_last_bit(
    count: int, server: Server, scored: Desk
) -> None:
    rows = [{k: v for k, v in row.items() if k != "date"} for row in stored(scored, "features")]
    sent = [rows[number % len(rows)] for number in range(count)]
    answer = server.ask("/predict", {"features": sent})
    assert answer.status == 200
    said = {row["symbol"]: row for row in stored(scored, "scores")}
    for features, row in zip(sent, answer.json["predictions"], strict=True):
        expected = as_answered(said[features["symbol"]], row["model"])
        del expected["session"]
        assert row == expected


def test_predictions_for_bars_are_those_of_the_daily_run_to_the_last_bit(server: Server, scored: Desk) -> None:
    answer = server.ask("/predict", {"bars": bars_of(scored, LAST)})
    assert answer.status == 200, answer.body
    Predictions.model_validate_json(answer.body, strict=True)
    model = answer.json["models"][0]["sha256"]
    assert answer.json["predictions"] == [as_answered(row, model) for row in stored(scored, "scores")]


def test_where_the_model_must_not_be_used_the_answer_says_so_and_why(server: Server, scored: Desk) -> None:
    row = {k: v for k, v in stored(scored, "features")[0].items() if k != "date"}
    rows = [row | {"history_sessions": 12}, row | {"skew_63": None}, row | {"return_1": 1e6, "ewma_variance": None}]
    found = server.ask("/predict", {"features": rows}).json["predictions"]
    assert [one["fallback_reason"] for one in found] == [
        "short history: 12 of 60 sessions",
        "cannot be computed: skew_63",
        "outside the training range: return_1",
    ]
    for one in found:
        assert (one["volatility_by"], one["probability_by"]) == ("baseline", "baseline")
        assert one["volatility_forecast"] == one["baseline_volatility"]
    # Without a variance of its own a symbol has the market's.
    assert found[2]["baseline_volatility"] == row["market_variance"] ** 0.5


def test_bars_of_a_session_that_the_model_learned_from_are_not_scored(server: Server, scored: Desk) -> None:
    answer = server.ask("/predict", {"bars": bars_of(scored, "2008-08-15")})
    assert answer.status == 422
    assert "it would look ahead" in answer.json["detail"]


def test_a_bar_that_breaks_a_rule_of_the_pipeline_is_refused_by_its_place(server: Server, scored: Desk) -> None:
    bars = bars_of(scored, LAST)
    bars["IBM"][5]["high"] = bars["IBM"][5]["low"] / 2
    answer = server.ask("/predict", {"bars": bars})
    assert answer.status == 422
    assert answer.json["errors"][0]["field"] == "bars.IBM.5"
    assert answer.json["errors"][0]["detail"].startswith("range: ")


def test_stored_scores_are_served_whole_and_by_symbol(server: Server, scored: Desk) -> None:
    answer = server.ask(f"/scores/{LAST}")
    SessionScores.model_validate_json(answer.body, strict=True)
    model = answer.json["models"][0]["sha256"]
    expected = [as_answered(row, model) for row in stored(scored, "scores")]
    assert answer.json["predictions"] == expected
    assert answer.json["scores"] == scored.project.store.digest("scores", LAST)
    one = server.ask(f"/scores/{LAST}/MSFT").json
    assert one["predictions"] == [row for row in expected if row["symbol"] == "MSFT"]
    assert [server.ask(path).status for path in ("/scores/2008-09-04", f"/scores/{LAST}/NONE")] == [404, 404]


def test_the_report_the_card_and_the_metrics_of_the_project_are_served(server: Server, scored: Desk) -> None:
    page = server.ask(f"/reports/{LAST}")
    assert page.body.startswith(b"<!DOCTYPE html>")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    card = server.ask("/model").json
    assert card["sha256"] == scored.state.last_model
    assert card["standing"] == "in service as the first model, without a signature"
    assert b"null" not in server.ask("/model").body
    server.ask("/predict", ITEM)
    text = server.ask("/metrics").body.decode()
    assert 'countersign_http_requests_total{route="/predict",status="200"}' in text
    assert re.search(r'^countersign_psi\{subject="return_1"\} \d', text, flags=re.M)
    assert "countersign_pending_sign_offs 0.0" in text
    assert "countersign_ready 1.0" in text
    assert not re.search(r" nan$", text, flags=re.M | re.I)


def test_the_description_needs_nothing_from_the_network(server: Server) -> None:
    page = server.ask("/docs")
    for path in re.findall(r'(?:href|src)="([^"]+)"', page.body.decode()):
        assert path.startswith("/docs/")
        assert server.ask(path).status == 200
    found = server.ask("/openapi.json").json
    assert found["paths"]["/predict"]["post"]["requestBody"]["required"]
    assert set(FEATURES) < set(found["components"]["schemas"]["Row"]["properties"])
    for reference in set(re.findall(r"#/components/schemas/(\w+)", json.dumps(found))):
        assert reference in found["components"]["schemas"]


def test_each_example_of_the_description_is_answered(server: Server) -> None:
    (asked,) = server.ask("/openapi.json").json["paths"]["/predict"]["post"]["requestBody"]["content"].values()
    # Of a session that this project, which has run two, does not have.
    examples = [one["value"] for one in asked["examples"].values()]
    assert examples[0]["items"][0]["session"] == LAST
    assert {name for example in examples for name in example} == {"items", "features"}
    assert [server.ask("/predict", example).status for example in examples] == [200] * 3
    shown = server.ask("/openapi.json").json["paths"]["/scores/{session}/{symbol}"]["get"]["parameters"]
    session, symbol = (parameter["example"] for parameter in shown)
    assert server.ask(f"/scores/{session}/{symbol}").status == 200


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (Debian: chromium)")
def test_the_description_is_a_page_that_a_person_can_read(server: Server) -> None:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, chromium_sandbox=False)
        try:
            page = browser.new_page()
            page.goto(f"http://localhost:{server.port}/docs")
            page.get_by_text("Predict one row, or up to 10,000").click()
            page.get_by_text(LAST).first.wait_for()
        finally:
            browser.close()


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (Debian: chromium)")
def test_with_a_token_a_browser_asks_for_it_and_opens_every_page(own: Desk) -> None:
    with Server(own.home, environment={"COUNTERSIGN_TOKENS": SECRET}) as server, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, chromium_sandbox=False)
        try:
            page = browser.new_context(http_credentials={"username": "", "password": SECRET}).new_page()
            page.goto(f"http://localhost:{server.port}/docs")
            page.get_by_text("Predict one row, or up to 10,000").click()
            page.goto(f"http://localhost:{server.port}/reports/{LAST}")
            page.get_by_text("AAPL").first.wait_for()
        finally:
            browser.close()


# --- strict input

_FEATURES = dict.fromkeys(FEATURES, 0.0) | {"history_sessions": 63, "ewma_variance": 1e-4, "market_variance": 1e-4}
_BAR = {"date": LAST, "close": 1.0}


def _raw(number: str) -> bytes:
    return json.dumps({"features": [_FEATURES | {"return_1": "@"}]}).replace('"@"', number).encode()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body"),
        ([], "body"),
        (ITEM | {"features": [_FEATURES]}, "body"),
        (ITEM | {"model": "mine"}, "model"),
        ({"items": []}, "items"),
        ({"items": None}, "items"),
        ({"items": [{"symbol": "AAPL"}] * 10_001}, "items"),
        ({"items": [{"symbol": "AAPL", "sesion": LAST}]}, "items.0.sesion"),
        ({"items": [{"symbol": 7}]}, "items.0.symbol"),
        ({"items": [{"symbol": "AAPL"}, {"symbol": "NONE"}]}, "items.1.symbol"),
        ({"items": [{"symbol": "AAPL", "session": "2008-09-06"}]}, "items.0.session"),
        ({"items": [{"symbol": "AAPL", "session": "../../etc"}]}, "items.0.session"),
        ({"features": [_FEATURES | {"return_1": "0.1"}]}, "features.0.return_1"),
        ({"features": [_FEATURES | {"return_1": True}]}, "features.0.return_1"),
        ({"features": [_FEATURES | {"return_1": 1.1e6}]}, "features.0.return_1"),
        ({"features": [_FEATURES | {"ewma_variance": -1e-9}]}, "features.0.ewma_variance"),
        ({"features": [_FEATURES | {"history_sessions": 63.5}]}, "features.0.history_sessions"),
        ({"features": [_FEATURES | {"history_sessions": 64}]}, "features.0.history_sessions"),
        ({"features": [{k: v for k, v in _FEATURES.items() if k != "skew_63"}]}, "features.0.skew_63"),
        (_raw("NaN"), "features.0.return_1"),
        (_raw("-Infinity"), "features.0.return_1"),
        (_raw("1e999"), "features.0.return_1"),
        (_raw("9" * 400), "features.0.return_1"),
        ({"bars": {}}, "bars"),
        ({"bars": {"AAPL": []}}, "bars.AAPL"),
        ({"bars": {"AAPL": [_BAR | {"close": 0}]}}, "bars.AAPL.0.close"),
        ({"bars": {"AAPL": [_BAR | {"date": "2008-09-06"}]}}, "bars.AAPL.0.date"),
        ({"bars": {"AAPL": [_BAR], "IBM": [_BAR | {"date": "2008-09-02"}]}}, "bars.IBM"),
        ({"bars": {"AAPL": [_BAR] * 5001, "IBM": [_BAR] * 5001}}, "body"),
        ({"bars": {"AAPL": [_BAR]}}, "bars"),
        (b'{"items": [{"symbol": "AAPL", "symbol": "IBM"}]}', "symbol"),
        (b'{"items": [1e999], "items": [{"symbol": "AAPL"}]}', "items"),
        (b'{"bars": {"IBM": [%b], "IBM": [%b]}}' % ((json.dumps(_BAR).encode(),) * 2), "IBM"),
    ],
)
def test_what_cannot_be_used_is_refused_by_the_name_of_its_field(body: Any, field: str, server: Server) -> None:
    answer = server.ask("/predict", body)
    assert answer.status == 422, answer.body
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["errors"][0]["field"] == field
    assert {"type", "title", "status", "detail"} <= set(answer.json)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"body": b'{"items": [{"symbol": "AAPL"'}, 400),
        ({"body": b"\xff\xfe"}, 400),
        ({"body": b"[" * 100_000}, 400),
        ({"body": b"symbol=AAPL", "headers": {"Content-Type": "application/x-www-form-urlencoded"}}, 415),
        ({"method": "DELETE"}, 405),
    ],
)
def test_what_is_no_request_for_predictions_is_a_problem_too(sent: dict[str, Any], status: int, server: Server) -> None:
    answer = server.ask("/predict", **sent)
    assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json["status"] == status


def test_a_symbol_may_have_what_divides_a_name_from_its_value(server: Server) -> None:
    answer = server.ask("/predict", {"features": [_FEATURES | {"symbol": '"F":X'}]})
    assert (answer.status, answer.json["predictions"][0]["symbol"]) == (200, '"F":X')


def test_ten_thousand_rows_are_answered_in_order(server: Server) -> None:
    symbols = ["AAPL", "IBM", "MSFT", "GOOG"] * 2500
    rows = server.ask("/predict", {"items": [{"symbol": symbol} for symbol in symbols]}).json["predictions"]
    assert [row["symbol"] for row in rows] == symbols


def test_a_page_of_another_site_cannot_ask_under_its_own_name(server: Server) -> None:
    answer = server.ask("/scores/2008-09-03", headers={"Host": f"rebound.example:{server.port}"})
    assert answer.status == 421
    assert server.ask("/healthz", headers={"Host": f"localhost:{server.port}"}).status == 200


# --- who may ask


def routes(project: Project) -> list[tuple[str, str]]:
    """Method and path of every route that the application has."""
    watch = Watch(project, lambda: NOON, print)
    log = RequestLog(project.home, lambda: NOON)
    access = Access(tokens_file(project.home), None)
    app = build_app(Serving(project, watch, access, log, Metrics(), print, ThreadPoolExecutor(1)))
    found = [(method, route.path) for route in app.routes if isinstance(route, Route) for method in route.methods or ()]
    assert len(found) == len(app.routes) >= 11
    return found


def test_no_route_but_healthz_answers_without_a_token(own: Desk) -> None:
    each = [*routes(own.project), ("GET", "/no/such/route"), ("OPTIONS", "/predict"), ("GET", "/healthz/")]
    with Server(own.home, environment={"COUNTERSIGN_TOKENS": SECRET}) as server:
        for method, route in each:
            path = route.format(session=LAST, symbol="AAPL", name="swagger-ui.css")
            for header in ({}, {"Authorization": f"Bearer {SECRET[:-1]}"}, {"Authorization": f"Basic {SECRET}"}):
                status = server.ask(path, ITEM if method == "POST" else None, header, method).status
                assert status == (200 if route == "/healthz" else 401), (method, path, header)
            header = {"Authorization": f"Bearer {SECRET}"}
            status = server.ask(path, ITEM if method == "POST" else None, header, method).status
            assert status == (200 if (method, route) in routes(own.project) else 404 if method == "GET" else 405)
        asked_for = answers(server, b"GET /model HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").splitlines()
        for scheme in (b"Bearer", b"Basic"):
            assert b'www-authenticate: %b realm="countersign"' % scheme in asked_for


def test_tokens_are_added_and_revoked_while_the_server_runs(own: Desk) -> None:
    def typed(*words: str) -> str:
        done = CliRunner().invoke(main, ["--home", str(own.home), "token", *words])
        assert done.exit_code == 0, done.output
        return done.stdout.strip()

    with Server(own.home) as server:
        assert server.ask("/model").status == 200
        first, second = typed("add", "desk"), typed("add", "risk")
        server.until(lambda: server.ask("/model").status == 401)
        server.token = first
        assert server.ask("/model").status == 200
        assert [line.split()[1] for line in typed("list").splitlines()] == ["desk", "risk"]
        typed("revoke", "desk")
        server.until(lambda: server.ask("/model").status == 401)
        server.token = second
        assert server.ask("/model").status == 200
        # Neither taking the last one away nor the whole file opens the door again.
        typed("revoke", "risk")
        server.until(lambda: server.ask("/model").status == 401)
        tokens_file(own.home).unlink()
        time.sleep(1.5)
        assert server.ask("/model").status == 401
        tokens_file(own.home).write_text('{"tokens": [{"id": 7}]}', encoding="utf-8")
        server.until(lambda: "expected a file for its owner alone" in server.said[-1])
    assert second not in "".join(server.said)


def test_without_a_token_others_than_this_machine_are_not_served(own: Desk) -> None:
    done = CliRunner().invoke(main, ["--home", str(own.home), "serve", "--host", "0.0.0.0", "--port", "0"])
    assert done.exit_code == 2
    assert "expected a token" in done.stderr
    assert "countersign token add" in done.stderr


def test_the_log_has_every_request_and_nothing_of_what_was_sent(own: Desk) -> None:
    symbol = "ZZ-NOT-FOR-THE-LOG"
    with Server(own.home, environment={"COUNTERSIGN_TOKENS": SECRET}, token=SECRET) as server:
        server.ask("/predict", {"items": [{"symbol": "AAPL"}, {"symbol": "IBM"}]})
        server.ask("/predict", {"items": [{"symbol": symbol}]})
        server.ask(f"/scores/{LAST}/{symbol}?key={SECRET}")
        server.ask(f"/{symbol}")
        model = server.ask("/readyz").json["model"]
        assert server.stop() == 0
    text = (own.home / "artifacts" / "requests.jsonl").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    assert [(line["route"], line["status"], line["rows"], line["model"]) for line in lines] == [
        ("/predict", 200, 2, model[:12]),
        ("/predict", 422, 0, ""),
        ("/scores/{session}/{symbol}", 404, 0, ""),
        ("unmatched", 404, 0, ""),
        ("/readyz", 200, 0, ""),
    ]
    assert all(0 < line["ms"] < 10_000 for line in lines)
    assert all(abs((datetime.now(UTC) - datetime.fromisoformat(line["at"])).total_seconds()) < 60 for line in lines)
    for found in (text, "".join(server.said)):
        assert symbol not in found
        assert SECRET not in found


# --- which model


def test_a_deployment_under_load_fails_no_request_and_each_answer_names_a_model_that_was_deployed_then(
    own: Desk,
) -> None:
    old = own.scoring()
    answers: list[tuple[float, float, int, str]] = []
    stop = threading.Event()

    def ask(server: Server) -> None:
        connection = server.connect()
        while not stop.is_set():
            began = time.monotonic()
            reply = server.ask("/predict", ITEM, on=connection)
            model = reply.json["models"][0]["sha256"] if reply.status == 200 else ""
            assert reply.status != 200 or {row["model"] for row in reply.json["predictions"]} == {model}
            answers.append((began, time.monotonic(), reply.status, model))
        connection.close()

    with Server(own.home) as server:
        asking = [threading.Thread(target=ask, args=(server,)) for _ in range(4)]
        for thread in asking:
            thread.start()
        own.ask(1)
        server.until(lambda: len(answers) > 50)
        own.decide("approve", "alice", NOON + HOUR)
        before = time.monotonic()
        new = own.deploy(NOON + 2 * HOUR)
        server.until(lambda: server.ask("/readyz").json.get("model") == new)
        after = time.monotonic()
        time.sleep(0.3)
        stop.set()
        for thread in asking:
            thread.join(10)
    assert len(answers) > 100
    assert {status for _, _, status, _ in answers} == {200}
    assert {model for _, ended, _, model in answers if ended < before} == {old}
    assert {model for began, _, _, model in answers if began > after} == {new}
    assert {model for _, _, _, model in answers} == {old, new}
    assert server.process.returncode == 0


def test_a_model_that_cannot_be_verified_is_not_served_and_the_one_before_serves_on(own: Desk) -> None:
    old, project = own.scoring(), own.project
    other = own.candidate(1)

    def now_serves(server: Server) -> str:
        model: str = server.ask("/predict", ITEM).json["models"][0]["sha256"]
        return model

    with Server(own.home) as server:
        assert server.ask("/readyz").status == 200
        # A line that nobody has signed puts another model into service.
        whole = project.journal.path.read_bytes()
        fields = {"model": other, "decision": "0" * 64, "request": None, "why": "because", "replaces": old}
        project.journal.append("deployed", NOON + HOUR, **fields)
        server.until(lambda: server.ask("/readyz").status == 503)
        assert f"the model {other[:12]} is not used" in server.ask("/readyz").json["detail"]
        assert now_serves(server) == old
        assert b"countersign_ready 0.0" in server.ask("/metrics").body
        project.journal.path.write_bytes(whole)
        server.until(lambda: server.ask("/readyz").status == 200)
        # The model's own bytes are exchanged.
        path = Path(project.store.location(f"models/{old}/model", None, "json"))
        good = path.read_bytes()
        path.write_bytes(good.replace(b'"cutoff": 0.2', b'"cutoff": 0.9'))
        server.until(lambda: server.ask("/readyz").status == 503)
        assert "truncated or altered" in server.ask("/readyz").json["detail"]
        assert now_serves(server) == old
        path.write_bytes(good)
        server.until(lambda: server.ask("/readyz").status == 200)
        # Lines at the end of the journal are cut off: where they are missing nothing else can tell.
        own.ask(2)
        server.until(lambda: b"countersign_pending_sign_offs 1.0" in server.ask("/metrics").body)
        project.journal.path.write_bytes(whole)
        server.until(lambda: server.ask("/readyz").status == 503)
        assert "lines were removed" in server.ask("/readyz").json["detail"]
        assert now_serves(server) == old


def test_a_model_that_was_revoked_is_served_no_longer(own: Desk) -> None:
    with Server(own.home) as server:
        assert server.ask("/predict", ITEM).status == 200
        own.decide("revoke", "bob", NOON + HOUR, reason="wrong data")
        server.until(lambda: server.ask("/predict", ITEM).status == 503)
        ready = server.ask("/readyz")
        assert (ready.status, server.ask("/model").status, server.ask("/healthz").status) == (503, 503, 200)
        assert "bob@example.com revoked" in ready.json["detail"]


def test_a_session_that_is_run_or_run_again_is_served_as_it_is_now(own: Desk) -> None:
    next_session = "2008-09-04"
    with Server(own.home) as server:
        assert server.ask("/predict", {"items": [{"symbol": "AAPL", "session": next_session}]}).status == 422
        run_sessions(own.project, [next_session], NOON)
        server.until(lambda: server.ask("/readyz").json["newest_session"] == next_session)
        said = {row["symbol"]: row for row in stored(own, "scores", next_session)}
        (row,) = server.ask("/predict", {"items": [{"symbol": "GOOG"}]}).json["predictions"]
        assert row == as_answered(said["GOOG"], row["model"])
        # Features that were exchanged by hand are damaged, not older or newer ones.
        path = own.home / "artifacts" / "sessions" / next_session / "features.json"
        path.write_bytes(path.read_bytes().replace(b'"history_sessions":63', b'"history_sessions":61'))
        server.until(lambda: server.ask("/predict", {"items": [{"symbol": "GOOG"}]}).status == 503)
        detail = server.ask("/predict", {"items": [{"symbol": "GOOG"}]}).json["detail"]
        assert str(own.home) not in detail
        assert server.ask("/predict", ITEM).status == 200
        # Three looks later it has still been said once.
        time.sleep(3)
    (line,) = (line for line in server.said if "is not ready" in line)
    assert "truncated or altered" in line


def test_what_is_damaged_in_the_project_is_no_fault_of_who_asks_and_names_no_place_in_it(own: Desk) -> None:
    learned, late = {"bars": bars_of(own, "2008-08-15")}, {"bars": bars_of(own, LAST)}
    journal, quality = own.project.journal.path, own.home / "config" / "quality.yaml"
    with Server(own.home) as server:
        quality.write_text("rules: [", encoding="utf-8")
        journal.write_bytes(journal.read_bytes().replace(b'"bootstrap"', b'"bootstrop"'))
        for path, body in ((f"/scores/{LAST}", None), ("/predict", learned), ("/predict", late)):
            answer = server.ask(path, body)
            assert (answer.status, str(own.home) in answer.body.decode()) == (503, False), answer.body
    for damaged in (journal, quality):
        assert str(damaged) in "".join(server.said)


# --- the page on it


def test_every_command_of_the_page_on_serving_runs_as_it_is_shown(own: Desk, root: Path) -> None:
    page = (root / "docs" / "serving.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```console\n(.*?)```", page, flags=re.S)
    commands = [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    (client,) = re.findall(r"```python\n(.*?)```", page, flags=re.S)
    (own.home / "client.py").write_text(client, encoding="utf-8")
    assert sum(bool(line) for line in client.splitlines()) == 5
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COUNTERSIGN_")}
    done = subprocess.run(
        ["bash", "-ec", "\n".join([*commands, "wait"])],
        cwd=own.home,
        env=kept | {"PATH": f"{Path(sys.executable).parent}:{kept['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "('AAPL', 'hold', " in done.stdout
    assert '"newest_session":"2008-09-03"' in done.stdout
    assert "Revoked: desk." in done.stdout
    assert "listening on http://127.0.0.1:8321" in (own.home / "serve.log").read_text(encoding="utf-8")


# --- limits


def test_connections_that_send_half_a_request_are_closed_while_others_are_served(own: Desk) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\n"
    halves = [head, head + b"Content-Type: application/json\r\nContent-Length: 50\r\n\r\n{", b""]
    limits = ("--header-seconds", "1", "--body-seconds", "1")
    with Server(own.home, limits) as server:
        began = time.monotonic()
        half_open = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(500)]
        for number, connection in enumerate(half_open):
            connection.sendall(halves[number % 3])
        while time.monotonic() - began < 1:
            assert server.ask("/predict", ITEM).status == 200
        for connection in half_open:
            answer = b""
            with suppress(ConnectionResetError):
                while part := connection.recv(4096):
                    answer += part
            assert answer.startswith(b"HTTP/1.1 408 ")
            connection.close()
        assert time.monotonic() - began < 6
        assert server.ask("/predict", ITEM).status == 200


def test_a_client_that_does_not_read_its_answer_is_let_go(own: Desk) -> None:
    body = json.dumps({"items": [{"symbol": "AAPL", "session": LAST}] * 10_000}).encode()
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    with Server(own.home, ("--answer-seconds", "1")) as server:
        whole = len(server.ask("/predict", body).body)
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(10)
            connection.connect(("127.0.0.1", server.port))
            connection.sendall(head.encode() + b"\r\n\r\n" + body)
            time.sleep(3)
            taken = 0
            with suppress(ConnectionResetError):
                while part := connection.recv(65_536):
                    taken += len(part)
        assert taken < whole
        assert server.ask("/predict", ITEM).status == 200


@pytest.mark.parametrize("kind", ["announced", "asked for", "chunked"])
def test_a_body_of_200_megabytes_is_refused_without_being_read_whole(kind: str, server: Server) -> None:
    head = "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    part = b" " * 65_536
    if kind != "chunked":
        head += "Expect: 100-continue\r\n" if kind == "asked for" else ""
        head += "Content-Length: 200000000\r\n\r\n"
    else:
        head += "Transfer-Encoding: chunked\r\n\r\n"
        part = b"10000\r\n" + part + b"\r\n"
    sent = 0
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(head.encode())
        connection.settimeout(3)
        with suppress(ConnectionError, TimeoutError):
            while sent < 200_000_000:
                sent += connection.send(part)
        answer = b""
        with suppress(ConnectionError):
            while got := connection.recv(4096):
                answer += got
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"application/problem+json" in answer
    # What the kernels on both sides hold comes to some megabytes.
    assert sent < 30_000_000
    assert server.ask("/predict", ITEM).status == 200


def answers(server: Server, *parts: bytes) -> bytes:
    """All that is answered to ``parts``, sent one after the other on one connection, until the server closes it."""
    answer = b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection, suppress(ConnectionError):
        for part in parts:
            connection.sendall(part)
            time.sleep(0.2)
        while got := connection.recv(65_536):
            answer += got
    return answer


_GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
_POST = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
_CHUNKED = _POST + b"Transfer-Encoding: chunked\r\n\r\n"
_BODY = json.dumps(ITEM).encode()


@pytest.mark.parametrize(
    "begun",
    [
        _GET + b"X: ",
        _GET + b"X: " + b"a" * 50_000 + b"\r\n\r\n",
        _CHUNKED + b"1\r\n{\r\n0\r\nX: ",
        _CHUNKED + b"1;",
    ],
    ids=["head", "whole head", "trailer", "extension of a chunk"],
)
def test_what_surrounds_a_body_is_bounded(begun: bytes, server: Server) -> None:
    assert answers(server, begun, b"a" * 100_000).startswith(b"HTTP/1.1 431 ")


def test_many_small_chunks_are_a_body_as_any_other(server: Server) -> None:
    body = json.dumps({"items": [{"symbol": "AAPL"}] * 2000}).encode()
    sent = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
    answer = answers(server, _CHUNKED.replace(b"\r\n", b"\r\nConnection: close\r\n", 1) + sent + b"0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")


def test_what_follows_a_body_does_not_say_who_asks_or_what_the_body_is(own: Desk) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n"
    body = b"%x\r\n%b\r\n0\r\n" % (len(_BODY), _BODY)
    token, kind = f"Authorization: Bearer {SECRET}\r\n".encode(), b"Content-Type: application/json\r\n"
    with Server(own.home, environment={"COUNTERSIGN_TOKENS": SECRET}) as server:
        for before, after, status in ((token + kind, b"", 200), (kind, token, 401), (token, kind, 415)):
            assert answers(server, head + before + b"\r\n" + body + after + b"\r\n").startswith(
                b"HTTP/1.1 %d " % status
            )


def test_a_request_that_is_none_is_not_answered_in_the_place_of_the_one_before_it(server: Server) -> None:
    good = _POST + b"Content-Length: %d\r\n\r\n%b" % (len(_BODY), _BODY)
    answer = answers(server, good + _CHUNKED + b"no length\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ") or not answer
    # Nor is it a fault of the server.
    assert 'status="500"' not in server.ask("/metrics").body.decode()


def test_the_body_of_a_request_that_wants_another_protocol_is_not_taken_for_a_request(server: Server) -> None:
    wants = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    inside = _GET + b"\r\n"
    answer = answers(server, _POST + wants + b"Content-Length: %d\r\n\r\n" % len(inside), inside)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"upgrade: expected none with a body" in answer
    assert answer.count(b"content-length") == 1
    # Without a body the wish is left out of account.
    assert answers(server, _GET + wants + b"\r\n").startswith(b"HTTP/1.1 200 ")


def test_more_connections_than_the_usual_limit_of_files_leave_enough_of_them(own: Desk) -> None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, limit[1]))
    try:
        running = Server(own.home, ("--connections", "100")).__enter__()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
    with ExitStack() as held:
        held.callback(running.stop)
        for _ in range(90):
            held.enter_context(socket.create_connection(("127.0.0.1", running.port), timeout=10))
        assert running.ask(f"/scores/{LAST}").status == 200


def test_where_files_are_few_it_begins_with_fewer_connections_or_refuses_those_it_was_given(own: Desk) -> None:
    few = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300)); "
    command = [sys.executable, "-c", few + COMMAND[-1], "--home", str(own.home), "serve", "--port", "0"]
    refused = subprocess.run([*command, "--connections", "101"], capture_output=True, text=True, timeout=30)
    assert refused.returncode == 2
    assert refused.stderr.endswith("raise it (ulimit -Hn), or set --connections to 100 or less\n")
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        said: list[str] = []
        while not said or "listening" not in said[-1]:
            said.append(running.stderr.readline())
            assert said[-1], said
        running.send_signal(signal.SIGTERM)
    assert "allows 100 connections rather than 1000" in said[0]


def test_connections_over_the_limit_are_told_to_come_again(own: Desk) -> None:
    with Server(own.home, ("--connections", "3")) as server:
        held = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(3)]
        time.sleep(0.2)
        answer = server.ask("/healthz")
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        for connection in held:
            connection.close()
        server.until(lambda: server.ask("/healthz").status == 200)


def test_more_than_it_can_do_is_shed_and_it_recovers(own: Desk) -> None:
    bars = json.dumps({"bars": bars_of(own, LAST, 700)}).encode()
    with Server(own.home, ("--requests", "1")) as server, ThreadPoolExecutor(12) as many:
        answers = list(many.map(lambda _: server.ask("/predict", bars), range(12)))
        found = {answer.status for answer in answers}
        assert found == {200, 503}
        shed = next(answer for answer in answers if answer.status == 503)
        assert shed.headers["retry-after"] == "1"
        assert shed.headers["content-type"] == "application/problem+json"
        assert server.ask("/predict", bars).status == 200


def test_told_to_stop_it_answers_what_it_has_begun(own: Desk) -> None:
    bars = {"bars": bars_of(own, LAST, 700)}
    with Server(own.home) as server, ThreadPoolExecutor(1) as asking:
        server.ask("/predict", {"bars": bars_of(own, LAST)})
        answer = asking.submit(server.ask, "/predict", bars)
        time.sleep(0.05)
        assert server.stop() == 0
        assert answer.result().status == 200
    lines = (own.home / "artifacts" / "requests.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["rows"] for line in lines] == [4, 4]
    assert "stopped" in server.said[-1]
    with pytest.raises(ConnectionRefusedError):
        server.ask("/healthz")


def test_a_project_without_a_model_is_alive_and_not_ready(empty_home: Path) -> None:
    shutil.rmtree(empty_home / "artifacts", ignore_errors=True)
    with Server(empty_home) as server:
        assert server.ask("/healthz").status == 200
        assert server.ask("/readyz").status == 503
        assert "found none in the journal" in server.ask("/predict", ITEM).json["detail"]
