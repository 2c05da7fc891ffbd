"""Ingest over sources: the adjustment is on record and cannot change unseen, and no name of a symbol is a path."""

from __future__ import annotations

import gzip
import re
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from countersign.checks import RefusedError
from countersign.errors import SourceError
from countersign.prices.sources.files import FileSource
from countersign.project import Project, open_project
from countersign.steps.prices import clean_sessions, ingest_sessions, load_history
from countersign.tables import PRICES_RAW, PRICES_REJECTED
from tests.desk import configure
from tests.service import Call, Service, reply

TODAY = date(2013, 3, 4)
FIRST, SECOND = "2008-09-02", "2008-09-03"


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_adjustment_of_the_source_is_on_record_with_each_session(project: Project, now: datetime) -> None:
    [made] = ingest_sessions(project, [FIRST], now)
    recorded = {name: value for name, value in made.stored.inputs.items() if name != "contract"}
    assert recorded == {"source": "data/sample/prices.csv.gz", "adjustment": "both"}
    assert project.store.read_table("prices_raw", FIRST, PRICES_RAW).stored.inputs["adjustment"] == "both"


def test_a_source_with_another_adjustment_than_the_newest_session_is_refused_and_nothing_changes(
    project: Project, now: datetime
) -> None:
    list(ingest_sessions(project, [FIRST], now))
    configure(project.home, ("adjustment: both", "adjustment: splits"))
    before = files(project.home)
    changed = open_project(project.home, TODAY)
    for act in (lambda: list(ingest_sessions(changed, [SECOND], now)), lambda: load_history(changed, now)):
        with pytest.raises(
            SourceError,
            match=r"^source\.adjustment: expected both, which session 2008-09-02 is stored with, found splits\. Write "
            r"both in config/pipeline\.yaml",
        ):
            act()
    assert files(project.home) == before


def test_the_first_session_has_the_adjustment_of_the_history_until_that_is_loaded_again(
    project: Project, now: datetime
) -> None:
    configure(project.home, ("adjustment: both", "adjustment: full"))
    other = open_project(project.home, TODAY)
    with pytest.raises(SourceError, match="expected both, which the history is stored with, found full"):
        list(ingest_sessions(other, [FIRST], now))
    load_history(other, now)
    [made] = ingest_sessions(other, [FIRST], now)
    assert made.stored.inputs["adjustment"] == "full"


@pytest.mark.parametrize("day", ["2013-03-04", "2099-01-01"], ids=["today's, not over", "of the future"])
def test_a_bar_of_a_session_that_has_not_closed_refuses_the_delivery_whatever_session_is_asked_for(
    day: str, project: Project
) -> None:
    prices = project.home / "data" / "sample" / "prices.csv.gz"
    lines = gzip.decompress(prices.read_bytes()).decode().rstrip().split("\n")
    prices.write_bytes(gzip.compress("\n".join([*lines, f"{day},IBM,10,11,9,10,10,1"]).encode(), 1))
    before = files(project.home / "artifacts")
    noon = datetime(2013, 3, 4, 17, 0, tzinfo=UTC)
    for make in (lambda: list(ingest_sessions(project, [FIRST], noon)), lambda: load_history(project, noon)):
        with pytest.raises(RefusedError, match=f"expected bars up to 2013-03-01, .* found some of {day}"):
            make()
    assert files(project.home / "artifacts") == before


@pytest.mark.parametrize("silent", [("IBM",), ("IBM", "FB")], ids=["a fifth of five", "two of five"])
def test_symbols_of_which_a_service_sends_nothing_are_named_up_to_the_limit_and_refused_beyond(
    silent: tuple[str, ...], project: Project, now: datetime
) -> None:
    def answer(call: Call) -> None:
        symbol = call.target.removeprefix("/")
        rows = "".join(f"{day},10,11,9,10,10,100\n" for day in ("2008-08-29", FIRST)) if symbol not in silent else ""
        call.send(reply(f"date,open,high,low,close,adj_close,volume\n{rows}"))

    service = Service(answer)
    url = f"{{kind: http, url: '{service.url}/{{symbol}}', allow_hosts: [127.0.0.1], adjustment: both}}"
    path = project.home / "config" / "pipeline.yaml"
    path.write_text(re.sub(r"(?ms)^source:.*?\n\n", f"source: {url}\n\n", path.read_text(encoding="utf-8")), "utf-8")
    before = files(project.home / "artifacts")
    try:
        opened = open_project(project.home, TODAY)
        if len(silent) == 1:
            [made] = ingest_sessions(opened, [FIRST], now)
            told = {check.name: check for check in made.checks}["bars_arrived"]
            assert (told.status, told.refuses) == ("fail", False)
            assert "nothing came of IBM" in told.sentence
            raw = opened.store.read_table("prices_raw", FIRST, PRICES_RAW).frame
            assert raw["symbol"].tolist() == ["AAPL", "FB", "GOOG", "MSFT"]
        else:
            with pytest.raises(SourceError, match=r"found nothing of 2 \(FB, IBM\), more than symbols_complete.*20%"):
                list(ingest_sessions(opened, [FIRST], now))
            assert files(project.home / "artifacts") == before
    finally:
        service.stop()


def test_a_damaged_newest_session_can_be_made_again(project: Project, now: datetime) -> None:
    [made] = ingest_sessions(project, [FIRST], now)
    path = project.home / "artifacts" / "sessions" / FIRST / "prices_raw.json"
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    [again] = ingest_sessions(project, [FIRST], now)
    assert again.stored == made.stored
    assert path.read_bytes() == whole


def test_a_symbol_that_looks_like_a_path_is_rejected_with_a_reason_and_writes_nowhere_else(
    project: Project, now: datetime
) -> None:
    prices = project.home / "data" / "sample" / "prices.csv.gz"
    hostile = ["../../../escaped", "/etc/cron.d/escaped", "A\x1b[2JB", "A\x00B", "=cmd|' /C calc'!A0", "S" * 5000]
    lines = gzip.decompress(prices.read_bytes()).decode().rstrip().split("\n")
    lines += [f"{FIRST},{symbol},10,11,9,10,10,1" for symbol in hostile]
    prices.write_bytes(gzip.compress("\n".join(lines).encode(), 1))
    configure(project.home, ("symbols: [AAPL, FB, GOOG, IBM, MSFT]", "# all"))
    quality = project.home / "config" / "quality.yaml"
    quality.write_text(quality.read_text(encoding="utf-8").replace("max_share: 0.05 ", "max_share: 0.9 "), "utf-8")
    before = set(files(project.home.parent))
    opened = open_project(project.home, TODAY)
    assert isinstance(opened.source, FileSource)
    list(ingest_sessions(opened, [FIRST], now))
    list(clean_sessions(opened, [FIRST]))
    made = {Path(name).parent.as_posix() for name in set(files(project.home.parent)) - before}
    assert made == {f"{project.home.name}/artifacts/sessions/{FIRST}"}
    rejected = project.store.read_table("prices_rejected", FIRST, PRICES_REJECTED).frame
    assert {"A\x1b[2JB", "A\x00B"} <= set(rejected["symbol"])
