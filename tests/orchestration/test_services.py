"""A service as the source of real runs: what it sends is stored as a file's would be; what fails changes nothing."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.orchestration.conftest import Pipeline, failed_steps, steps_started
from tests.service import Answer, Call, Service, reply

SESSION, NEXT = "2008-09-02", "2008-09-03"
KEY = "kx7-Secret/of 2008"


class Quotes:
    """A service that sends the bundled prices of a symbol, until ``instead`` is set."""

    def __init__(self, prices: bytes) -> None:
        self.header, *rows = prices.decode().splitlines()
        self.rows: dict[str, list[str]] = {}
        column = self.header.split(",").index("symbol")
        for row in rows:
            self.rows.setdefault(row.split(",")[column], []).append(row)
        self.instead: Answer | None = None

    def __call__(self, call: Call) -> None:
        if self.instead:
            self.instead(call)
            return
        asked = parse_qs(urlsplit(call.target).query)
        # The key has to have come both ways.
        if call.headers.get("authorization") != f"Bearer {KEY}" or asked["key"] != [KEY]:
            call.send(reply("", "401 Unauthorized"))
            return
        rows = self.rows.get(asked["symbol"][0], [])
        near = [r for r in rows if asked["from"][0] <= r.split(",")[0] <= asked["to"][0]]
        call.send(reply("\n".join([self.header, *near, ""])))


@pytest.fixture
def quotes(pipeline: Pipeline) -> Quotes:
    return Quotes(gzip.decompress((pipeline.home / "data" / "sample" / "prices.csv.gz").read_bytes()))


@pytest.fixture
def service(pipeline: Pipeline, quotes: Quotes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """The project's source is the service from here on; its key is in the environment."""
    found = Service(quotes)
    path = pipeline.home / "config" / "pipeline.yaml"
    before, _, after = path.read_text().partition("\nsource:\n")
    _, _, after = after.partition("\n\n")
    before = before.replace("symbols: [AAPL, FB, GOOG, IBM, MSFT]", "symbols: [AAPL, GOOG, IBM, MSFT]")
    path.write_text(f"""{before}
source:
  kind: http
  url: {found.url}/q?symbol={{symbol}}&from={{start}}&to={{end}}&key=${{QUOTES_KEY}}
  headers:
    Authorization: Bearer ${{QUOTES_KEY}}
  allow_hosts: [127.0.0.1]

{after}""")
    monkeypatch.setenv("QUOTES_KEY", KEY)
    yield found
    found.stop()


def is_told(text: str) -> bool:
    return any(part in text for part in ("kx7", "Secret/of", "Secret%2F"))


def test_a_session_from_a_service_is_stored_as_the_same_from_a_file_and_no_key_is_told(
    pipeline: Pipeline, quotes: Quotes, service: Service
) -> None:
    run = pipeline.run(SESSION, assets=["prices_raw", "prices_clean"])
    assert run.success
    stored = (pipeline.home / "artifacts" / "sessions" / SESSION / "prices_raw.json").read_text()
    for symbol in ("AAPL", "GOOG", "IBM", "MSFT"):
        [row] = [r for r in quotes.rows[symbol] if r.startswith(SESSION)]
        close = row.split(",")[quotes.header.split(",").index("close")]
        assert f'"close":{float(close)!r}' in stored
    assert f'"source":"{service.url}/…"' in stored
    assert len(service.calls) == 4
    assert not is_told(pipeline.events(run))
    assert not [name for name, data in pipeline.artifacts().items() if is_told(data.decode("latin-1"))]


def repeats_the_key(call: Call) -> None:
    call.send(reply(f'{{"status": "ERROR", "message": "{KEY} may not: {KEY}"}}', "403 Forbidden"))


FAILURES: list[tuple[str, Answer, str]] = [
    ("repeats_the_key", repeats_the_key, r"status 403 \(Forbidden\), an error of the source: 'ERROR: … may not"),
    ("web_page", lambda call: call.send(reply("<html><title>Log in</title></html>")), "a web page: 'Log in'"),
    ("empty", lambda call: call.send(reply("", "204 No Content", Content_Length="")), "found an empty file"),
    (
        "to_metadata",
        lambda call: call.send(reply("", "302 Found", Location="http://169.254.169.254/latest")),
        r"found 169\.254\.169\.254",
    ),
    ("to_file", lambda call: call.send(reply("", "302 Found", Location="file:///etc/passwd")), "a URL of file"),
]


def test_a_failing_service_leaves_the_champion_and_every_artifact_as_they_were(
    pipeline: Pipeline, quotes: Quotes, service: Service
) -> None:
    assert pipeline.run(SESSION).success
    before = pipeline.artifacts()
    for name, answer, words in FAILURES:
        quotes.instead = answer
        for session in (SESSION, NEXT):
            run = pipeline.run(session)
            assert not run.success, name
            (message,) = failed_steps(run).values()
            assert words.replace("\\", "") in message, name
            assert steps_started(run) == ["prices_raw"], "retried, or something after it ran"
            assert not is_told(pipeline.events(run)), name
    assert pipeline.artifacts() == before
    quotes.instead = None
    assert pipeline.run(NEXT).success
    assert (pipeline.home / "artifacts" / "model.json").read_bytes() == before["model.json"]


def test_a_missing_key_is_named_and_nothing_is_asked_for(
    pipeline: Pipeline, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("QUOTES_KEY")
    before = pipeline.artifacts()
    (message,) = failed_steps(pipeline.run(SESSION)).values()
    assert message.startswith("source.url: expected the environment variable QUOTES_KEY, which is not set or empty.")
    assert service.calls == []
    assert pipeline.artifacts() == before
