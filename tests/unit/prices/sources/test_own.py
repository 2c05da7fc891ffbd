"""A source that a user writes: the example of the docs runs as it stands, and what goes wrong in one is told as its."""

from __future__ import annotations

import re
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest
import yaml

from countersign.errors import ConfigError, SourceError, TransportError
from countersign.prices.sources import PriceSource
from countersign.project import open_project

TODAY = date(2008, 9, 30)


@pytest.fixture(autouse=True)
def _imports_are_undone() -> Iterator[None]:
    paths, modules = sys.path.copy(), set(sys.modules)
    yield
    sys.path[:] = paths
    for name in set(sys.modules) - modules:
        if name.startswith("my_"):
            del sys.modules[name]


def configured(home: Path, source: object) -> PriceSource:
    """The source of a project whose section ``source`` is this."""
    path = home / "config" / "pipeline.yaml"
    settings = yaml.safe_load(path.read_text(encoding="utf-8")) | {"source": source}
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return open_project(home, TODAY).source


def written(home: Path, body: str, module: str) -> PriceSource:
    """A source whose class has these lines."""
    (home / f"{module}.py").write_text(
        "import pandas as pd\nfrom countersign.errors import TransportError\n\n\nclass Mine:\n    uri = 'mine'\n"
        f"    def __init__(self, options):\n        pass\n{body}\n"
    )
    return configured(home, {"kind": "own", "object": f"{module}:Mine"})


def test_the_example_of_the_docs_runs_as_it_stands_and_is_short(empty_home: Path, root: Path) -> None:
    page = (root / "docs" / "sources.md").read_text(encoding="utf-8")
    [code] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    [example] = re.findall(r"```yaml\n(source: {kind: own.*?)```", page, re.DOTALL)
    assert len(code.splitlines()) < 30
    (empty_home / "my_prices.py").write_text(code)
    database = empty_home / "prices.db"
    with closing(sqlite3.connect(database)) as opened, opened:
        opened.execute("CREATE TABLE bars (day, ticker, open, high, low, close, volume)")
        opened.executemany(
            "INSERT INTO bars VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                ("2008-09-12", "aapl.us", 10, 11, 9, 10.5, 1000),
                ("2008-09-15", "aapl.us", 10.5, 12, 10, 11.5, None),
                ("2008-09-16", "BRK-B", 3000, 3001, 2999, 3000, 5),
            ],
        )
    section = yaml.safe_load(example)["source"]
    section["options"]["file"] = str(database)
    source = configured(empty_home, section)
    found = source.read("2008-09-12", "2008-09-15")
    assert found[["date", "symbol", "close"]].to_numpy().tolist() == [
        ["2008-09-12", "AAPL", 10.5],
        ["2008-09-15", "AAPL", 11.5],
    ]
    assert found["volume"].isna().tolist() == [False, True]
    assert found[["adj_close", "unreadable"]].isna().all(axis=None)
    assert source.symbols() == ["AAPL", "BRK.B"]
    assert source.uri == f"sqlite:{database}"


def test_what_an_own_source_says_beyond_the_asked_days_is_left_out_and_no_number_is_quoted(empty_home: Path) -> None:
    rows = "{'date': pd.to_datetime(['2008-09-11', '2008-09-12']), 'symbol': ['a', 'a'], 'close': ['1', '=x']}"
    source = written(empty_home, f"    def read(self, first, last):\n        return pd.DataFrame({rows})", "my_days")
    found = source.read("2008-09-12", "2008-09-12")
    assert found[["date", "symbol", "unreadable"]].to_numpy().tolist() == [["2008-09-12", "A", "close='=x'"]]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return None", "found none of date, symbol, close in a NoneType"),
        ("return pd.DataFrame({'date': [], 'close': []})", "found none of symbol in a DataFrame"),
        ("return 1 / 0", "error in the source's own code: ZeroDivisionError"),
        (
            "return pd.DataFrame({'date': ['x'], 'symbol': ['a'], 'close': [1]})",
            "expected dates as YYYY-MM-DD.*found 'x'",
        ),
        (
            "return pd.DataFrame({'date': ['2008-09-12'], 'symbol': [[1]], 'close': [1]})",
            "expected columns of one type",
        ),
    ],
)
def test_a_reply_of_an_own_source_that_is_no_bars_is_refused(empty_home: Path, body: str, said: str) -> None:
    source = written(empty_home, f"    def read(self, first, last):\n        {body}", "my_faults")
    with pytest.raises(SourceError, match=f"^mine: .*{said}"):
        source.read("2008-09-12", "2008-09-15")


def test_a_fault_of_transport_in_an_own_source_stays_one(empty_home: Path) -> None:
    source = written(
        empty_home, "    def read(self, first, last):\n        raise TransportError('line is down')", "my_line"
    )
    with pytest.raises(TransportError, match="line is down"):
        source.read("2008-09-12", "2008-09-15")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("", "AttributeError"),
        ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
        ("class Mine: pass", "TypeError"),
        ("class Mine:\n    def __init__(self, options): options['key']", "KeyError: 'key'"),
    ],
)
def test_an_own_source_that_cannot_be_made_is_told_with_the_setting(empty_home: Path, code: str, said: str) -> None:
    (empty_home / "my_broken.py").write_text(code)
    with pytest.raises(ConfigError, match=rf"^source\.object: expected a class .* found 'my_broken:Mine': {said}"):
        configured(empty_home, {"kind": "own", "object": "my_broken:Mine"})
