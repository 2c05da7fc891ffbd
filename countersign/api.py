"""What ``import countersign`` gives: a project's artifacts as data frames, scoring and evaluation. It never writes.

Belongs here: reading by session or range, for a notebook or a script; like the command line it is a door, so it asks
for the time and hands on the environment. Does not belong here: what a step does. The examples run as doctests on a
project of which ``2008-09-02`` … ``2008-09-10`` were run; ``docs/python.md`` has more.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, get_args

from countersign.errors import ArtifactError, ConfigError, SessionError
from countersign.tables import (
    DRIFT,
    FEATURE_TABLE,
    METRICS,
    OUTCOMES,
    PRICES_CLEAN,
    PRICES_RAW,
    PRICES_REJECTED,
    SCORES,
    Column,
)

if TYPE_CHECKING:
    import pandas as pd

    from countersign.model.evaluation import Evaluation
    from countersign.model.registry import InService
    from countersign.project import Project

Day = str | date
"""A session: ``"2008-09-30"`` or a date."""
TableName = Literal[
    "prices_raw", "prices_clean", "prices_rejected", "features", "scores", "outcomes", "drift", "metrics"
]
_TABLES: Final[dict[str, tuple[Column, ...]]] = {
    "prices_raw": PRICES_RAW,
    "prices_clean": PRICES_CLEAN,
    "prices_rejected": PRICES_REJECTED,
    "features": FEATURE_TABLE,
    "scores": SCORES,
    "outcomes": OUTCOMES,
    "drift": DRIFT,
    "metrics": METRICS,
}


def open_reader(folder: Path) -> ProjectReader:
    """See ``countersign.open_project``."""
    from countersign.project import open_project

    if not (folder / "config" / "pipeline.yaml").exists():
        raise ConfigError(f"expected a project folder with config/pipeline.yaml, found none at {folder}")
    return ProjectReader(open_project(folder.resolve(), datetime.now(UTC).date(), os.environ))


class ProjectReader:
    """A project to read from: every artifact is verified as it is read, and none is changed.

    Where a method takes ``first`` and ``last`` it reads the sessions between them, both included, of those that were
    run; ``first`` alone is one session. Raises ``countersign.errors.ArtifactError`` where none of them was run, and for
    a damaged file; ``SessionError`` for what is no date.
    """

    def __init__(self, project: Project) -> None:
        self._project = project

    @property
    def home(self) -> Path:
        """The project folder."""
        return self._project.home

    def sessions(self) -> list[str]:
        """Sessions that were scored, ascending.

        >>> project.sessions()[:2]
        ['2008-09-02', '2008-09-03']
        """
        store = self._project.store
        return [session for session in store.partitions() if store.has("scores", session)]

    def table(self, name: TableName, first: Day, last: Day | None = None) -> pd.DataFrame:
        """An artifact by its name. Its columns, with units: ``countersign.tables``.

        >>> project.table("outcomes", "2008-09-09")[["symbol", "decision", "bad_week"]].head(2)
          symbol decision  bad_week
        0   AAPL     hold       1.0
        1   GOOG     hold       1.0
        """
        if name not in _TABLES:
            raise ArtifactError(f"expected one of {', '.join(get_args(TableName))}, found {name!r}")
        start, end = _range(first, last)
        return _joined(self._stored(name, _TABLES[name], start, end), name, start, end)

    def scores(self, first: Day, last: Day | None = None) -> pd.DataFrame:
        """What was said of each symbol: volatility, bad-week probability, decision, and the baseline's.

        >>> project.scores("2008-09-02", "2008-09-05").groupby("decision").size().to_dict()
        {'approve': 3, 'hold': 13}
        """
        return self.table("scores", first, last)

    def metrics(self, first: Day, last: Day | None = None) -> pd.DataFrame:
        """Every measure of data, model, system and business, with its threshold and verdict.

        >>> project.metrics("2008-09-10")["status"].isin(["pass", "fail", "insufficient"]).all()
        np.True_
        """
        return self.table("metrics", first, last)

    def prices(self, first: Day, last: Day | None = None) -> pd.DataFrame:
        """Clean bars (``prices_clean``), of the history before the first daily session too.

        >>> project.prices("2008-08-28", "2008-09-03")["date"].nunique()
        4
        """
        import pandas as pd

        from countersign.steps.prices import HISTORY

        start, end = _range(first, last)
        border, found = self._project.first_session, list[pd.DataFrame]()
        if start < border:
            bars = self._project.store.read_table(HISTORY, None, PRICES_CLEAN, form="parquet").frame
            day = bars["date"].astype(str)
            found.append(bars[(day >= start) & (day <= end)])
        found += self._stored("prices_clean", PRICES_CLEAN, max(start, border), end)
        return _joined(found, "prices", start, end)

    def report(self, session: Day) -> str:
        """The text that a person read.

        >>> print(project.report("2008-09-10").splitlines()[0])
        COUNTERSIGN   session 2008-09-10 (Wednesday)   XNYS
        """
        return self._project.store.read_text("report", _day(session))[0]

    def champion(self) -> InService:
        """The model in service, verified: ``model`` (its numbers), ``document`` (``model.json``), ``champion`` (what
        the journal says of it).

        >>> project.champion().document["training"]["last_session"]
        '2008-08-29'
        """
        from countersign.steps.service import in_service

        return in_service(self._project)

    def score(self, prices: pd.DataFrame, session: Day | None = None) -> pd.DataFrame:
        """Scores of ``session`` (default: the newest of ``prices``) by the model in service; nothing goes on record.

        ``prices`` are bars as ``self.prices`` gives them, of the session and of the 62 before it: as they are in a
        stored session, or as you changed them, to ask what the model would then say.

        >>> bars = project.prices("2008-05-01", "2008-09-10")
        >>> again, said = project.score(bars), project.scores("2008-09-10")
        >>> bool((again["bad_week_probability"] == said["bad_week_probability"]).all())
        True
        """
        from countersign.prices.panel import PANEL_COLUMNS
        from countersign.steps.scoring import score_bars
        from countersign.steps.service import in_service, without_looking_ahead

        if lacking := [name for name in PANEL_COLUMNS if name not in prices]:
            raise ArtifactError(
                f"expected prices with the columns {', '.join(PANEL_COLUMNS)}, missing {', '.join(lacking)}"
            )
        if prices.empty:
            raise ArtifactError("expected prices, found a table without rows")
        day = _day(session or prices["date"].max())
        service = without_looking_ahead(self._project, in_service(self._project), day)
        remedy = "Give it the bars of that session and of the 62 before it"
        return score_bars(self._project, prices, day, service.model, "prices", remedy)[0]

    def evaluate(self, first: Day | None = None, last: Day | None = None) -> Evaluation:
        """The walk-forward table on the source's prices (default: all of them), as ``countersign evaluate`` prints it.

        >>> found = project.evaluate("2000-03-01", "2004-12-31")
        >>> found.measure("qlike").lead > 0
        True
        """
        from countersign.steps.model import evaluate_source

        start, end = (None if day is None else _day(day) for day in (first, last))
        return evaluate_source(self._project, start, end, datetime.now(UTC))

    def _stored(self, name: str, columns: tuple[Column, ...], first: str, last: str) -> list[pd.DataFrame]:
        store = self._project.store
        sessions = [s for s in store.partitions() if first <= s <= last and store.has(name, s)]
        return [store.read_table(name, session, columns).frame for session in sessions]


def _joined(tables: Sequence[pd.DataFrame], name: str, first: str, last: str) -> pd.DataFrame:
    import pandas as pd

    # A session without rejected rows was run all the same.
    if not tables or (name == "prices" and not any(map(len, tables))):
        where = first if first == last else f"{first} … {last}"
        raise ArtifactError(f"expected {name} of {where}, found no such session that was run. Run it: countersign run")
    return pd.concat(tables, ignore_index=True)


def _range(first: Day, last: Day | None) -> tuple[str, str]:
    start, end = _day(first), _day(last or first)
    if start > end:
        raise SessionError(f"expected first before last, found {start} … {end}")
    return start, end


def _day(day: Day) -> str:
    if isinstance(day, date):
        return f"{day:%Y-%m-%d}"
    try:
        return date.fromisoformat(day).isoformat()
    except (ValueError, TypeError) as error:
        raise SessionError(f"expected a date such as 2008-09-30, found {day!r}") from error
