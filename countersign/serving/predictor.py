"""Predictor: what one verified champion says, from the artifacts, from features or from bars.

Belongs here: looking up and calling the pipeline's own functions. Does not belong here: which model is served
(``watch``), HTTP. A request holds one ``Served`` from its start to its end, whatever is deployed meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import numpy as np

from countersign.errors import CountersignError, LookAheadError
from countersign.features import FEATURES
from countersign.gate.state import state_of
from countersign.model.registry import InService
from countersign.model.scoring import score
from countersign.prices.clean import clean_bars
from countersign.prices.ingest import in_order, with_previous
from countersign.project import Project
from countersign.quality import load_quality
from countersign.serving.answers import (
    Answer,
    predictions,
    score_rows,
    standing_of,
    table_rows,
)
from countersign.serving.problems import Problem, unprocessable, unprocessable_fields
from countersign.serving.requests import Bar, Item, Predict
from countersign.steps.scoring import score_bars, score_features
from countersign.steps.service import without_looking_ahead
from countersign.tables import PRICES_RAW, SCORES, conform

MAX_KEPT_ROWS: Final = 200_000
"""Rows that are kept ready to be sent, of all sessions together (about 100 MB); the oldest sessions give way."""

Stamp = tuple[int, ...] | None
"""By which a changed file is known; None where there is none."""


def stamp(place: str) -> Stamp:
    """The stamp of the local file at ``place``; that of an object elsewhere, as its store tells of it."""
    if "://" in place:
        import fsspec

        filesystem = fsspec.core.url_to_fs(place)[0]
        return (hash(filesystem.ukey(place)),) if filesystem.exists(place) else None
    try:
        found = Path(place).stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


@dataclass(frozen=True)
class SessionRows:
    """The rows of a session, ready to be sent, by symbol; the model that scored them; the stamp of their features."""

    rows: dict[str, bytes]
    model: bytes
    features: Stamp


@dataclass(frozen=True, eq=False)
class Served:
    """A verified champion. ``newest`` is the newest session that has features; ``sessions`` what is kept ready."""

    service: InService
    head: str
    card: bytes
    newest: str
    standing: bytes
    sessions: dict[str, SessionRows] = field(default_factory=dict)

    @property
    def model(self) -> str:
        return self.service.champion.model


def is_quick(served: Served, asked: Predict) -> bool:
    """Whether ``predict`` takes microseconds: nothing has to be read, and bars are not cleaned."""
    return not asked.bars and all((item.session or served.newest) in served.sessions for item in asked.items)


def predict(project: Project, served: Served, asked: Predict) -> Answer:
    """The answer to a request. Raises ``Problem`` that names the field which cannot be used."""
    if asked.items:
        return _of_items(project, served, asked.items)
    return _of_bars(project, served, asked.bars) if asked.bars else _of_features(served, asked.features)


def _of_items(project: Project, served: Served, items: Sequence[Item]) -> Answer:
    found: list[bytes] = []
    models: dict[bytes, None] = {}
    for number, item in enumerate(items):
        session = item.session or served.newest
        kept = served.sessions.get(session)
        if kept is None:
            kept = keep(project, served, session, f"items.{number}.session")
        row = kept.rows.get(item.symbol)
        if row is None:
            raise unprocessable(f"items.{number}.symbol", f"expected a symbol with features of {session}, found none")
        found.append(row)
        models[kept.model] = None
    return Answer(predictions(list(models), found), len(found), served.model)


def keep(project: Project, served: Served, session: str, place: str) -> SessionRows:
    """Score ``session``, which the field ``place`` names, and keep its rows ready."""
    store = project.store
    if not session:
        raise Problem(HTTPStatus.NOT_FOUND, "expected a session with features, found none: run one (countersign run)")
    if session not in store.partitions() or not store.has("features", session):
        raise unprocessable(
            place,
            f"expected a session that has features, found none of it; the newest is {served.newest or 'none yet'}",
        )
    # Before it is read: what is written meanwhile is seen as a change afterwards.
    seen = stamp(store.location("features", session, store.form))
    try:
        scored = score_features(project, served.service, session)
    except LookAheadError as error:
        raise unprocessable(place, str(error)) from error
    except CountersignError as error:
        raise _damaged(session, error) from error
    deployment = scored.service.champion
    kept = SessionRows(table_rows(scored.table, deployment.model), standing_of(deployment), seen)
    _make_room(served, len(kept.rows))
    served.sessions[session] = kept
    return kept


def _make_room(served: Served, rows: int) -> None:
    for session in sorted(served.sessions):
        if rows + sum(len(one.rows) for one in list(served.sessions.values())) <= MAX_KEPT_ROWS:
            return
        if session != served.newest:
            served.sessions.pop(session, None)


def _of_features(served: Served, rows: Sequence[Any]) -> Answer:
    model = served.service.model
    missing = float("nan")
    values = np.array(
        [[missing if (value := getattr(row, name)) is None else value for name in FEATURES] for row in rows]
    )
    scores = score(
        model,
        np.ascontiguousarray(values.T),
        np.array([missing if row.ewma_variance is None else row.ewma_variance for row in rows]),
        np.array([row.market_variance for row in rows]),
        np.array([row.history_sessions for row in rows]),
    )
    found = score_rows(scores, [row.symbol for row in rows], served.model)
    return Answer(predictions([served.standing], found), len(found), served.model)


def _of_bars(project: Project, served: Served, bars: dict[str, list[Bar]]) -> Answer:
    import pandas as pd

    dates = project.calendar.dates
    each = [(symbol, number, bar) for symbol, part in bars.items() for number, bar in enumerate(part)]
    sessions = set(np.datetime_as_string(dates).tolist())
    wrong = [
        (f"bars.{symbol}.{number}.date", f"expected a session of {project.calendar.code}, found another day")
        for symbol, number, bar in each
        if bar.date not in sessions
    ]
    if wrong:
        raise unprocessable_fields(wrong)
    session = max(bar.date for _, _, bar in each)
    late = [
        (f"bars.{symbol}", f"expected a bar of {session}, the newest session that was sent, found none")
        for symbol, part in bars.items()
        if max(bar.date for bar in part) != session
    ]
    if late:
        raise unprocessable_fields(late)
    try:
        service = without_looking_ahead(project, served.service, session)
        quality = load_quality(project.home)
    except LookAheadError as error:
        raise unprocessable("bars", str(error)) from error
    except CountersignError as error:
        raise _damaged(session, error) from error
    reply = pd.DataFrame(
        {
            "date": [bar.date for _, _, bar in each],
            "symbol": [symbol for symbol, _, _ in each],
            **{
                name: np.array([getattr(bar, name) for _, _, bar in each], dtype=float)
                for name in ("open", "high", "low", "close", "adj_close", "volume")
            },
            "unreadable": None,
            "place_in_request": [f"bars.{symbol}.{number}" for symbol, number, _ in each],
        }
    )
    ordered = in_order(reply)
    raw = conform(with_previous(ordered.drop(columns="place_in_request"), dates), PRICES_RAW)
    cleaned = clean_bars(raw, dates, quality)
    if len(cleaned.rejected):
        places = ordered["place_in_request"].to_numpy()[cleaned.rejected["row"].to_numpy()]
        raise unprocessable_fields(
            [
                (str(place), f"{rule}: {reason.split(': ', 1)[0]}")
                for place, rule, reason in zip(
                    places, cleaned.rejected["rule"], cleaned.rejected["reason"], strict=True
                )
            ]
        )
    try:
        table, _ = score_bars(
            project,
            cleaned.bars,
            session,
            service.model,
            "bars",
            "Send the bars of that session and of the 63 before it",
        )
    except CountersignError as error:
        raise unprocessable("bars", str(error)) from error
    found = table_rows(table, service.champion.model)
    body = predictions([standing_of(service.champion)], [found[symbol] for symbol in bars])
    return Answer(body, len(found), served.model)


def stored_scores(project: Project, session: str, symbol: str | None = None) -> Answer:
    """The scores that the daily run stored of ``session``, all or those of ``symbol``. Raises ``Problem``."""
    store = project.store
    if session not in store.partitions() or not store.has("scores", session):
        raise Problem(HTTPStatus.NOT_FOUND, f"expected a session that was scored, found no scores of {session}")
    try:
        scores = store.read_table("scores", session, SCORES)
        deployments = state_of(project.journal.read()).deployments
    except CountersignError as error:
        raise _damaged(session, error) from error
    model, decision = (scores.stored.inputs[name] for name in ("model", "decision"))
    rows = table_rows(scores.frame, model)
    if symbol is not None:
        if symbol not in rows:
            raise Problem(HTTPStatus.NOT_FOUND, f"expected a symbol that was scored in {session}, found no such row")
        rows = {symbol: rows[symbol]}
    by = [standing_of(one) for one in deployments if (one.model, one.decision) == (model, decision)]
    head = b'{"session":"%s","scores":"%s",' % (session.encode(), scores.stored.sha256.encode())
    return Answer(head + predictions(by[-1:], list(rows.values()))[1:], len(rows), model)


def stored_page(project: Project, session: str) -> bytes:
    """The HTML report of ``session``. Raises ``Problem`` where there is none."""
    store = project.store
    if session not in store.partitions() or not store.has("report", session, "html"):
        raise Problem(HTTPStatus.NOT_FOUND, f"expected a session that has a report, found none of {session}")
    try:
        return store.read_text("report", session, "html")[0].encode()
    except CountersignError as error:
        raise _damaged(session, error) from error


class Damaged(Problem):
    """What a session is answered from cannot be used; ``cause`` has places on this machine, for the server's log."""

    def __init__(self, session: str, cause: str) -> None:
        super().__init__(
            HTTPStatus.SERVICE_UNAVAILABLE,
            f"what {session} is answered from cannot be used at the moment; the server's log says why",
        )
        self.cause = cause


def _damaged(session: str, error: CountersignError) -> Problem:
    return Damaged(session, str(error))
