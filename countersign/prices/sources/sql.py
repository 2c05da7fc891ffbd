"""Bars from a database: one query, over SQLAlchemy, in a transaction that changes nothing.

Belongs here: connecting, asking, and what a database says instead of rows. Does not belong here: which column is which
(``shapes``), what a cell says (``cells``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from countersign.errors import ConfigError, CountersignError, SourceError, TransportError
from countersign.prices.sources.bodies import Grid
from countersign.prices.sources.cells import to_frame
from countersign.prices.sources.secrets import Secrets, shown
from countersign.prices.sources.shapes import Reading, Reply
from countersign.prices.sources.transport import Patience, within

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    import sqlalchemy as sa

    from countersign.config import SqlSourceConfig

_SECONDS: Final = 120.0
"""For the whole of one query, its rows included."""
_ROWS: Final = 20_000
"""That are fetched at once."""
_READ_ONLY: Final = {
    "postgresql": ("SET TRANSACTION READ ONLY", "SET LOCAL statement_timeout = {milliseconds}"),
    "sqlite": ("PRAGMA query_only = ON",),
}
"""What makes a transaction one that only reads, and ends it at the server. Others are rolled back."""
_PASSING: Final = ("08", "53", "57")
"""Classes of SQLSTATE that may be gone at the next attempt: the connection, resources, an operator's intervention."""
_DENIED: Final = re.compile(
    r"authentication failed|no password supplied|pg_hba\.conf|not permitted to log in|permission denied for database"
    r"|(?:role|database) \".*\" does not exist"
)
"""What PostgreSQL says on connecting, without a state, where another attempt would fail again."""


class SqlSource:
    """Bars from the query of ``config``; a path of SQLite is one from ``home``, and ``zone`` the exchange's."""

    def __init__(
        self,
        config: SqlSourceConfig,
        home: Path,
        *,
        zone: str,
        environment: Mapping[str, str],
        seconds: float = _SECONDS,
    ) -> None:
        self._config, self._home, self._zone = config, home, zone
        self._environment, self._seconds = environment, seconds

    @property
    def uri(self) -> str:
        """The URL as configured, without a user name, password or query."""
        return shown(self._config.url)

    def read(self, first: str, last: str) -> pd.DataFrame:
        """See ``PriceSource.read``."""
        reading = Reading(self._zone, None, rename=self._config.rename, first=first, last=last)
        reply = Reply(self.uri, reading)

        def frame(tables: Iterator[pa.Table]) -> pd.DataFrame:
            return reply.mark(to_frame(tables, self.uri, self._config.max_bars))

        return self._asked(reply, date.fromisoformat(first), date.fromisoformat(last), frame)

    def symbols(self) -> list[str]:
        """See ``PriceSource.symbols``: those of the query over all days."""
        reply = Reply(self.uri, Reading(self._zone, None, rename=self._config.rename, numbers=()))
        self._asked(reply, date.min, date.max, list)
        return sorted(reply.symbols.names - {""})

    def _asked(self, reply: Reply, first: date, last: date, collect: Any) -> Any:
        """What ``collect`` makes of the tables that the query's rows are read to."""
        # A connection that broke without a word is waited for by some drivers for ever.
        found = within(self._seconds + 5, partial(self._run, reply, first, last, collect))
        if found is None:
            raise TransportError(self._late())
        return found

    def _run(self, reply: Reply, first: date, last: date, collect: Any) -> Any:
        import sqlalchemy as sa

        secrets = Secrets(self._environment)
        engine = self._engine(secrets)
        with Patience(self._seconds) as patience:
            try:
                # Closing rolls back.
                with engine.connect() as connection, patience.ending(partial(_cancel, connection)):
                    for command in _READ_ONLY.get(engine.dialect.name, ()):
                        connection.exec_driver_sql(command.format(milliseconds=int(self._seconds * 1000)))
                    rows = connection.execution_options(stream_results=True).execute(
                        sa.text(self._config.query).bindparams(
                            sa.bindparam("start", first, sa.Date), sa.bindparam("end", last, sa.Date)
                        )
                    )
                    with closing(rows):
                        grid = Grid(list(rows.keys()), partial(_batches, rows))
                        return collect(reply.rows(grid, "", self.uri))
            except sa.exc.SQLAlchemyError as error:
                if patience.is_over:
                    raise TransportError(self._late()) from None
                raise self._refusal(error, secrets) from None
            finally:
                engine.dispose()

    def _engine(self, secrets: Secrets) -> sa.Engine:
        import sqlalchemy as sa

        # A variable that is the whole URL is written as one; a part of it may hold signs that URLs spell otherwise.
        is_whole = self._config.url.startswith("$")
        text = secrets.fill(self._config.url, "source.url", str if is_whole else partial(quote, safe=""))
        try:
            url = sa.make_url(text)
            secrets.add(url.password or "")
            if url.get_backend_name() != "sqlite" and text.count("@") > 1:
                # The first one ends the password: what follows it would be looked up as a host, and told.
                raise ConfigError(
                    f"source.url: expected one @ before the host of {self.uri}, found another in the user or password. "
                    "Write it as %40"
                )
            if url.get_backend_name() == "sqlite":
                path = self._home / (url.database or "")
                if not path.is_file():
                    raise ConfigError(
                        f"source.url: expected a database of SQLite, found no file at {path}. Write its path after "
                        "sqlite:///, from the project folder, or sqlite:////, from the root"
                    )
                url = url.set(database=str(path))
            return sa.create_engine(url, hide_parameters=True, poolclass=sa.NullPool)
        except ImportError as error:
            raise ConfigError(
                f"source.url: expected the driver of {self.uri} to be installed, found: {error}. For PostgreSQL: "
                "pip install 'countersign[postgres]'"
            ) from None
        except sa.exc.ArgumentError as error:
            raise ConfigError(
                f"source.url: expected a URL of SQLAlchemy, such as postgresql+psycopg://host/database, found one that "
                f"is none: {secrets.hide(str(error))[:200]}. Correct it"
            ) from None
        except ValueError:
            # Its words quote the port, which is a part of the password where that has an @ in it.
            raise ConfigError(
                "source.url: expected a URL of SQLAlchemy, such as postgresql+psycopg://host/database, found one whose "
                "port is no number. Correct it; an @ or : in user or password is written as %40 or %3A"
            ) from None

    def _refusal(self, error: Any, secrets: Secrets) -> CountersignError:
        cause = getattr(error, "orig", None) or error
        said = secrets.hide(" ".join(str(cause).split()))[:300].rstrip(".")
        state = str(getattr(cause, "sqlstate", None) or "")
        # Without a state, PostgreSQL has said nothing: it was not reached.
        unheard = type(cause).__module__.startswith("psycopg") and not state
        if unheard and _DENIED.search(said):
            return SourceError(
                f"{self.uri}: expected to be let in, found that access was denied: {said}. Correct user, password and "
                "database in source.url, or have the database let them in, then run again"
            )
        is_busy = getattr(cause, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
        if unheard or is_busy or state.startswith(_PASSING) or getattr(error, "connection_invalidated", False):
            return TransportError(
                f"{self.uri}: expected rows of the database, found that it could not be asked: {said}. Check that it "
                "is up and lets us in, then run again"
            )
        return SourceError(
            f"{self.uri}: expected rows of bars from source.query, found an error of the database: {said}. Correct the "
            "query, or what the user may read, then run again"
        )

    def _late(self) -> str:
        return (
            f"{self.uri}: expected all rows within {self._seconds:g} s, found some missing. Nothing was read; add an "
            "index on the date, or ask for fewer sessions, then run again"
        )


def _cancel(connection: sa.Connection) -> None:
    """Have the driver end what it waits for: SQLite calls that an interrupt, others a cancellation."""
    driver: Any = connection.connection.dbapi_connection
    stop = getattr(driver, "interrupt", None) or getattr(driver, "cancel", None)
    if stop:
        stop()


def _batches(rows: sa.CursorResult[Any], places: Sequence[int]) -> Iterator[dict[int, pa.Array]]:
    """Cells as text: decimals and moments say what they are to the last digit, NULL is a blank."""
    import pyarrow as pa

    for some in rows.partitions(_ROWS):
        yield {
            place: pa.array(["" if row[place] is None else str(row[place]) for row in some], pa.string())
            for place in places
        }
