"""Delivery: real local servers get messages, heartbeats and metrics; errors keep the secrets to themselves."""

from __future__ import annotations

import json
import logging
import re
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from countersign.delivery import Gauge, channels, ping, push, within, write_textfile
from countersign.errors import DeliveryError
from tests.conftest import Receiver

SECRET = "s3cr3t-t0ken"
GAUGES = [
    Gauge("countersign_psi", "Index.", ("subject",), [(("return_1",), 0.25), (("skew_63",), float("nan"))]),
    Gauge("countersign_session", "When.", (), [((), 1221512400.0)]),
]


def samples(text: str) -> dict[tuple[str, ...], str]:
    """Name and labels' values → value as it is written."""
    return {
        (sample.name, *sample.labels.values()): repr(sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


EXPECTED = {
    ("countersign_psi", "return_1"): "0.25",
    ("countersign_psi", "skew_63"): "nan",
    ("countersign_session",): "1221512400.0",
}


def test_no_url_is_no_channel() -> None:
    assert channels("") == channels(" \n ") == []


def test_each_url_is_a_channel_whose_name_holds_no_secret() -> None:
    urls = f"json://user:{SECRET}@127.0.0.1/hook, slakk://T1JJ3T3L2/A1BRTD4JD/{SECRET}TIiajkdnlazkcOXrIdevi7F\n slakc://nonsense"
    found = channels(urls)
    assert [channel.name.split(",")[0] for channel in found] == ["1 (JSON", "2 (unknown service", "3 (unknown service"]
    assert not any(SECRET in channel.name for channel in found)


def test_a_message_reaches_the_service(receiver: Receiver) -> None:
    (channel,) = channels(f"json://127.0.0.1:{receiver.port}/hook?retry=0")
    channel.send("Two alerts", "NEW auc\nits sentence.")
    ((method, path, body),) = receiver.requests
    assert (method, path.split("?")[0]) == ("POST", "/hook")
    sent = json.loads(body)
    assert (sent["title"], sent["message"]) == ("Two alerts", "NEW auc\nits sentence.")


@pytest.mark.parametrize("status", [400, 404, 500])
def test_a_service_that_refuses_the_message_is_an_error_without_its_secret(
    receiver: Receiver, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.status = status
    (channel,) = channels(f"json://user:{SECRET}@127.0.0.1:{receiver.port}/{SECRET}")
    with (
        caplog.at_level(logging.INFO),
        pytest.raises(DeliveryError, match=r"number 1 \(JSON, [0-9a-f]{6}\) .* did not take") as found,
    ):
        channel.send("title", "text")
    assert SECRET not in str(found.value) + caplog.text


def test_a_url_that_no_service_has_is_an_error_that_does_not_repeat_it(caplog: pytest.LogCaptureFixture) -> None:
    (channel,) = channels(f"slakc://{SECRET}/x")
    with pytest.raises(
        DeliveryError, match=r"number 1 \(unknown service, [0-9a-f]{6}\) .* expected a URL that apprise knows"
    ) as found:
        channel.send("title", "text")
    assert SECRET not in str(found.value) + caplog.text


def test_the_heartbeat_asks_for_its_url(receiver: Receiver) -> None:
    ping(f"http://127.0.0.1:{receiver.port}/{SECRET}")
    assert [(method, path) for method, path, _ in receiver.requests] == [("GET", f"/{SECRET}")]


@pytest.mark.parametrize("status", [302, 404, 503])
def test_a_heartbeat_that_is_not_answered_well_says_the_status_and_keeps_the_url(
    receiver: Receiver, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.status = status
    with caplog.at_level(logging.INFO), pytest.raises(DeliveryError, match=f"found status {status}") as found:
        ping(f"http://127.0.0.1:{receiver.port}/{SECRET}")
    assert len(receiver.requests) == 1
    assert SECRET not in str(found.value) + caplog.text
    assert found.value.__cause__ is None


def test_a_heartbeat_that_nobody_hears_keeps_the_url(unused_port: int, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), pytest.raises(DeliveryError, match="found ConnectionError") as found:
        ping(f"http://127.0.0.1:{unused_port}/{SECRET}")
    assert SECRET not in str(found.value) + caplog.text


def test_calls_are_made_at_once_and_one_that_never_ends_has_failed_in_time() -> None:
    never = threading.Event()

    def hangs() -> None:
        never.wait(60)

    def refuses() -> None:
        raise DeliveryError("refused")

    hung, fine, refused = within(0.5, [hangs, lambda: None, refuses])
    never.set()
    assert "no answer came within 0.5 s" in str(hung)
    assert fine is None
    assert str(refused) == "refused"


def test_a_long_message_goes_in_parts_that_the_service_takes(receiver: Receiver) -> None:
    (channel,) = channels(f"json://127.0.0.1:{receiver.port}/?retry=0")
    assert channel._service.overflow_mode == "split"
    (chosen,) = channels(f"json://127.0.0.1:{receiver.port}/?overflow=truncate")
    assert chosen._service.overflow_mode == "truncate"


def test_each_service_that_the_guide_names_is_one(root: Path) -> None:
    from apprise import Apprise

    schemas = {schema for service in Apprise().details()["schemas"] for schema in _schemas(service)}
    guide = (root / "docs" / "operating.md").read_text(encoding="utf-8")
    named = re.findall(r"`([a-z]+)://…`", guide)
    assert named
    assert set(named) <= schemas


def _schemas(service: dict[str, Any]) -> list[str]:
    return [*(service["protocols"] or []), *(service["secure_protocols"] or [])]


def test_another_url_in_the_same_place_is_another_channel() -> None:
    (first,), (second,) = channels("json://127.0.0.1/a"), channels("json://127.0.0.1/b")
    assert first.name != second.name


@pytest.mark.parametrize(
    "urls", ["JSON://h/a JSON://h/b", "json://h/a;json://h/b", ",json://h/a, json://h/b,", "json://h/a\njson://h/b"]
)
def test_urls_are_told_apart_however_they_are_separated(urls: str) -> None:
    assert [channel.name.split(",")[0] for channel in channels(urls)] == ["1 (JSON", "2 (JSON"]


def test_a_gateway_that_speaks_another_language_is_an_error_that_names_the_setting() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()

        def answer() -> None:
            peer, _ = server.accept()
            peer.recv(65536)
            peer.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
            peer.close()

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(DeliveryError, match=r"push\.gateway in config/pipeline\.yaml"):
            push(GAUGES, f"http://127.0.0.1:{server.getsockname()[1]}")
        thread.join()


def test_a_push_gateway_gets_every_metric(receiver: Receiver) -> None:
    push(GAUGES, f"http://127.0.0.1:{receiver.port}")
    ((method, path, body),) = receiver.requests
    assert (method, path) == ("PUT", "/metrics/job/countersign")
    assert samples(body.decode()) == EXPECTED


def test_a_push_gateway_that_refuses_is_an_error_that_names_the_setting(receiver: Receiver) -> None:
    receiver.status = 500
    with pytest.raises(DeliveryError, match=r"push\.gateway in config/pipeline\.yaml"):
        push(GAUGES, f"http://127.0.0.1:{receiver.port}")


def test_the_text_file_has_every_metric_and_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "countersign.prom"
    path.write_text("old")
    write_textfile(GAUGES, path)
    assert samples(path.read_text()) == EXPECTED
    assert [p.name for p in tmp_path.iterdir()] == ["countersign.prom"]


def test_a_text_file_in_a_folder_that_is_not_there_is_an_error_that_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(DeliveryError, match=r"push\.textfile in config/pipeline\.yaml"):
        write_textfile(GAUGES, tmp_path / "missing" / "countersign.prom")
