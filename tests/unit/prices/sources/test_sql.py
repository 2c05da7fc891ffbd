"""Bars from a database, read and never written; on SQLite, and on a PostgreSQL server that the tests start."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from countersign.config import SqlSourceConfig
from countersign.errors import ConfigError, SourceError, TransportError
from countersign.prices.sources.sql import SqlSource

PASSWORD = "p@ss:/word 2008"
QUERY = "SELECT day, ticker AS symbol, open, high, low, px_last, volume FROM bars WHERE day BETWEEN :start AND :end"
ROWS = """
    ('2008-08-29', 'aapl.us', 173.96, 173.96, 169.0, 169.53, 150000000),
    ('2008-09-02', 'aapl.us', 172.4, 173.5, 165.0, 166.19, NULL),
    ('2008-09-02', 'BRK-B', 3900.123456789012345, 3950, 3890, 3901.5, 0),
    ('2008-09-03', 'BRK-B', NULL, 3950, 3890, 3901.5, 12)
"""


@dataclass(frozen=True)
class Database:
    """A database with a table of bars. ``environment`` has the password, where there is one."""

    url: str
    home: Path
    environment: dict[str, str]

    def source(self, query: str = QUERY, seconds: float = 20, **settings: Any) -> SqlSource:
        config = SqlSourceConfig(
            kind="sql", query=query, **{"url": self.url, "rename": {"day": "date", "px_last": "close"}, **settings}
        )
        return SqlSource(config, self.home, zone="America/New_York", environment=self.environment, seconds=seconds)


@pytest.fixture(scope="module")
def server() -> Iterator[Database]:
    """A PostgreSQL server on a socket of its own, with a password; stopped after the tests."""
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'countersign[postgres]'")
    places = [str(p) for p in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    path = os.pathsep.join([os.environ.get("PATH", ""), *places])
    initdb, pg_ctl = shutil.which("initdb", path=path), shutil.which("pg_ctl", path=path)
    if not initdb or not pg_ctl:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    # It refuses to run as root, and root's temporary folders are closed to others.
    user = "nobody" if os.geteuid() == 0 else None
    group = "nogroup" if user else None
    with tempfile.TemporaryDirectory() as folder:
        secret = Path(folder) / "password"
        secret.write_text(PASSWORD)
        if user:
            shutil.chown(folder, user, group)
            shutil.chown(secret, user, group)
        data, log = f"{folder}/data", f"{folder}/log"

        def run(*command: str) -> None:
            as_user: dict[str, Any] = {"user": user, "group": group, "extra_groups": []} if user else {}
            done = subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **as_user)
            assert done.returncode == 0, done.stderr

        run(initdb, "-D", data, "-U", "quotes", "--auth=scram-sha-256", f"--pwfile={secret}", "--no-sync", "-E", "UTF8")
        run(pg_ctl, "-D", data, "-w", "-l", log, "-o", f"-k {folder} -c listen_addresses='' -c fsync=off", "start")
        try:
            url = f"postgresql+psycopg://quotes:${{DB_PASSWORD}}@/postgres?host={folder}"
            engine = sa.create_engine(sa.make_url(url).set(password=PASSWORD), poolclass=sa.NullPool)
            with engine.begin() as connection:
                for command in (
                    "CREATE TABLE bars (day date, ticker text, open numeric, high numeric, low numeric, "
                    "px_last double precision, volume bigint)",
                    f"INSERT INTO bars VALUES {ROWS}",
                    "CREATE FUNCTION wipe() RETURNS bigint LANGUAGE sql AS 'DELETE FROM bars; SELECT 0::bigint'",
                ):
                    connection.exec_driver_sql(command)
            yield Database(url, Path(folder), {"DB_PASSWORD": PASSWORD})
        finally:
            run(pg_ctl, "-D", data, "-m", "immediate", "stop")


@pytest.fixture
def file(tmp_path: Path) -> Database:
    """The same in a file of SQLite in the project folder."""
    with closing(sqlite3.connect(tmp_path / "prices.db")) as database:
        database.execute("CREATE TABLE bars (day, ticker, open, high, low, px_last, volume)")
        database.execute(f"INSERT INTO bars VALUES {ROWS}")
        database.commit()
    return Database("sqlite:///prices.db", tmp_path, {})


@pytest.fixture(params=["file", "server"])
def database(request: pytest.FixtureRequest) -> Database:
    """Either of them."""
    found: Database = request.getfixturevalue(request.param)
    return found


# --- what is read


def test_bars_of_the_days_asked_for_are_read_by_name_to_the_last_digit(database: Database) -> None:
    found = database.source().read("2008-09-02", "2008-09-03").sort_values(["date", "symbol"], ignore_index=True)
    expected = pd.DataFrame(
        {
            "date": ["2008-09-02", "2008-09-02", "2008-09-03"],
            "symbol": ["AAPL", "BRK.B", "BRK.B"],
            "open": [172.4, 3900.123456789012345, np.nan],
            "high": [173.5, 3950.0, 3950.0],
            "low": [165.0, 3890.0, 3890.0],
            "close": [166.19, 3901.5, 3901.5],
            "volume": [np.nan, 0.0, 12.0],
        }
    )
    pd.testing.assert_frame_equal(found[list(expected)], expected, check_exact=True, check_dtype=False)
    assert found["adj_close"].isna().all()


def test_the_symbols_are_those_of_all_days(database: Database) -> None:
    assert database.source().symbols() == ["AAPL", "BRK.B"]


def test_one_column_a_symbol_is_read_too(database: Database) -> None:
    query = 'SELECT day AS date, 1.5 AS "AAPL", 2.5 AS "IBM" FROM bars WHERE day > :start AND day <= :end'
    found = database.source(query, rename={}).read("2008-09-02", "2008-09-03")
    assert found[["date", "symbol", "close"]].to_numpy().tolist() == [
        ["2008-09-03", "AAPL", 1.5],
        ["2008-09-03", "IBM", 2.5],
    ]


def test_a_moment_with_a_time_zone_is_dated_at_the_exchange(server: Database) -> None:
    late = "TIMESTAMPTZ '2008-09-03 02:00:00+00'"
    query = f"SELECT {late} AS date, 'IBM' AS symbol, 1 AS close WHERE {late} BETWEEN :start AND CAST(:end AS date) + 2"
    found = server.source(query, rename={}).read("2008-09-02", "2008-09-02")
    assert found[["date", "symbol", "close"]].to_numpy().tolist() == [["2008-09-02", "IBM", 1.0]]


def test_no_rows_are_an_error_and_say_nothing_of_a_symbol(database: Database) -> None:
    with pytest.raises(SourceError, match=r"found a header line and no rows.*does not say that a symbol was delisted"):
        database.source().read("2009-09-02", "2009-09-03")


# --- what is refused


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM bars WHERE day BETWEEN :start AND :end RETURNING day, ticker, px_last",
        "UPDATE bars SET volume = 0 WHERE day BETWEEN :start AND :end",
        "DROP TABLE bars -- :start :end",
        "SELECT 1 AS close; DELETE FROM bars WHERE day BETWEEN :start AND :end",
    ],
)
def test_a_query_that_would_write_is_refused_and_nothing_is_changed(database: Database, query: str) -> None:
    before = database.source().read("2000-01-01", "2020-01-01")
    with pytest.raises(SourceError, match=r"from source\.query, found an error of the database: "):
        database.source(query).read("2008-09-02", "2008-09-03")
    pd.testing.assert_frame_equal(database.source().read("2000-01-01", "2020-01-01"), before)


def test_a_function_that_would_write_is_stopped_by_the_server(server: Database) -> None:
    with pytest.raises(SourceError, match="cannot execute DELETE in a read-only transaction"):
        server.source(f"{QUERY} AND wipe() = 0").read("2008-09-02", "2008-09-03")
    assert len(server.source().read("2000-01-01", "2020-01-01")) == 4


def test_an_error_of_the_query_is_told_in_the_words_of_the_database(database: Database) -> None:
    with pytest.raises(SourceError, match="bars_of_yore"):
        database.source(QUERY.replace("FROM bars", "FROM bars_of_yore")).read("2008-09-02", "2008-09-03")
    with pytest.raises(SourceError, match="bind parameter 'symbol'"):
        database.source(f"{QUERY} AND ticker = :symbol").read("2008-09-02", "2008-09-03")
    with pytest.raises(SourceError, match=r"missing close.* Correct the query or name your columns in source\.rename$"):
        database.source(rename={"day": "date"}).read("2008-09-02", "2008-09-03")


ENDLESS = {
    "file": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n WHERE :start < :end",
    "server": "SELECT pg_sleep(60) AS close WHERE :start < CAST(:end AS date)",
}


def test_a_query_without_an_end_is_ended_at_the_database_too(
    database: Database, request: pytest.FixtureRequest
) -> None:
    kind = request.node.callspec.params["database"]
    started = time.monotonic()
    with pytest.raises(TransportError, match=r"expected all rows within 0\.5 s|statement timeout"):
        database.source(ENDLESS[kind], seconds=0.5).read("2008-09-02", "2008-09-03")
    assert time.monotonic() - started < 3
    if kind == "server":
        still = "SELECT count(*) AS close, 'X' AS symbol, CAST(:start AS date) AS date FROM pg_stat_activity "
        still += "WHERE state = 'active' AND query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid() AND :end = :end"
        assert database.source(still, rename={}).read("2008-09-02", "2008-09-02")["close"].tolist() == [0]


def test_the_server_itself_ends_a_query_that_nobody_waits_for_any_more(server: Database) -> None:
    limit = "SELECT extract(epoch FROM current_setting('statement_timeout')::interval) AS close, 'X' AS symbol, "
    found = server.source(limit + "CAST(:start AS date) AS date WHERE :start <= CAST(:end AS date)", 7.5, rename={})
    assert found.read("2008-09-02", "2008-09-02")["close"].tolist() == [7.5]


def test_a_password_that_stands_in_the_url_is_taken_out_of_what_the_database_says(server: Database) -> None:
    url = server.url.replace("${DB_PASSWORD}", quote(PASSWORD, safe=""))
    query = f"SELECT '{PASSWORD.replace(':', chr(92) + ':')}' FROM nowhere WHERE :start < :end"
    with pytest.raises(SourceError, match="SELECT '…' FROM nowhere"):
        server.source(query, url=url).read("2008-09-02", "2008-09-02")


def test_a_database_that_lets_nobody_in_is_no_fault_of_transport_and_no_password_is_told(server: Database) -> None:
    denied, unheard = "expected to be let in, found that access was denied: .*", "could not be asked: .*"
    wrong, inside = {"DB_PASSWORD": "hunter2/and@more"}, server.environment
    for url, environment, kind, words in (
        (server.url, wrong, SourceError, f"{denied}password authentication failed"),
        (server.url.replace("${DB_PASSWORD}", "hunter2/more"), {}, SourceError, f"{denied}password authentication"),
        (server.url.replace(":${DB_PASSWORD}", ""), {}, SourceError, f"{denied}no password supplied"),
        (server.url.replace("quotes:", "nobody:"), inside, SourceError, f"{denied}password authentication failed"),
        (server.url.replace("/postgres?", "/other?"), inside, SourceError, f"{denied}does not exist"),
        (server.url.replace("?host=", "?host=/nowhere"), inside, TransportError, f"{unheard}No such file"),
    ):
        made = Database(url, server.home, environment).source()
        with pytest.raises(kind, match=words) as caught:
            made.read("2008-09-02", "2008-09-03")
        told = f"{caught.value!s} {caught.value!r} {caught.value.__context__!r} {made.uri} {made!r} {made._config!r}"
        assert not [part for part in ("hunter2", "p@ss", "p%40ss", "word 2008", "quotes:") if part in told]
        assert made.uri == f"postgresql+psycopg:///{'other' if '/other' in url else 'postgres'}"


def test_a_file_that_is_not_there_is_not_made(file: Database) -> None:
    for url in ("sqlite:///other.db", "sqlite://", "sqlite:///."):
        with pytest.raises(ConfigError, match=r"^source\.url: expected a database of SQLite, found no file at "):
            file.source(url=url).read("2008-09-02", "2008-09-03")
    assert [p.name for p in file.home.iterdir()] == ["prices.db"]


def test_a_locked_file_is_asked_again_later(file: Database) -> None:
    with closing(sqlite3.connect(file.home / "prices.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(TransportError, match="database is locked"):
            file.source(url="sqlite:///prices.db?timeout=0.1").read("2008-09-02", "2008-09-03")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nosuch://host/db", "expected a URL of SQLAlchemy"),
        ("mysql+pymysql://me:secret-word@host/db", r"expected the driver of mysql\+pymysql://host/db to be installed"),
        ("postgresql+psycopg://host:port/db", "expected a URL of SQLAlchemy"),
        ("postgresql+psycopg://me:sec:ret@secret-word/x@host/db", "Write it as %40"),
        ("postgresql+psycopg://me:p@ss:secret-word/x@host/db", "whose port is no number"),
        ("mysql+pymysql://me:secret-word/more@host/db", r"driver of mysql\+pymysql://host/db to be installed"),
        ("mysql+pymysql://me:secret-word?m#ore/@host/db", r"driver of mysql\+pymysql://… to be installed"),
        ("${DATABASE_URL}", "environment variable DATABASE_URL, which is not set"),
    ],
)
def test_a_url_that_cannot_be_used_is_told_without_its_secrets(file: Database, url: str, words: str) -> None:
    with pytest.raises(ConfigError, match=rf"^source\.url: .*{words}") as caught:
        file.source(url=url).read("2008-09-02", "2008-09-03")
    assert "secret-word" not in str(caught.value)


def test_a_variable_may_hold_the_whole_url(file: Database) -> None:
    whole = Database("${DATABASE_URL}", file.home, {"DATABASE_URL": f"sqlite:///{file.home}/prices.db"})
    assert len(whole.source().read("2008-09-02", "2008-09-03")) == 3
    assert whole.source().uri == "${DATABASE_URL}"
