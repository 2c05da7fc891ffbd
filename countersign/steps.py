"""Steps: the pipeline's tasks on one project, each from verified inputs to a stored artifact.

Belongs here: reading, calling one domain function, checking, writing. Does not belong here: Dagster (``assets``
calls these), formulas. A step takes sessions in order and yields each as soon as it is stored, so that a range costs
one read of the source and one pass over its features. Nothing is written for a session that is refused.

train_or_score of the seed is ``train_first_model`` and ``score_sessions``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from countersign import checks, ingest
from countersign.artifacts import Stored, Table
from countersign.bars import FEATURE_TABLE, PRICES_CLEAN, PRICES_RAW, PRICES_REJECTED, SCORES, conform
from countersign.checks import CheckResult
from countersign.clean import clean_bars
from countersign.codec import combined_digest
from countersign.errors import ArtifactError, SourceError
from countersign.features import FEATURES, LOOKBACK, FeatureMatrix, compute_features
from countersign.model.document import train_model
from countersign.model.evaluation import Evaluation, evaluate, walk_forward
from countersign.model.scoring import Scores, score
from countersign.model.targets import HORIZON, observed_targets
from countersign.model.training import training_rows
from countersign.panel import Panel
from countersign.project import Project
from countersign.registry import deploy_first, load_champion
from countersign.report import Matured, ReportFacts, report_text, scores_preview
from countersign.version import code_version

if TYPE_CHECKING:
    import pandas as pd

HISTORY: Final = "history/prices"
"""All sessions before the first daily one, Parquet."""
RECENT: Final = "history/recent"
"""The last ``LOOKBACK`` sessions of it: what a daily session reads, so that its cost does not grow with history."""
HISTORY_REJECTED: Final = "history/rejected"

_WINDOW_COLUMNS: Final = ("date", "symbol", "log_return", "daily_variance", "volume")


Numbers = Mapping[str, float | int | str]


@dataclass(frozen=True)
class Made:
    """One artifact that a step stored: its session (None where it has none), verdicts, and numbers that describe it."""

    session: str | None
    stored: Stored
    checks: tuple[CheckResult, ...]
    numbers: Numbers = field(default_factory=dict)
    preview: str = ""
    """Markdown for a person who looks at the artifact in Dagster."""


def load_history(project: Project, now: datetime) -> Made:
    """``price_history``: every session before the first daily one, through the cleaning that daily sessions get."""
    config, dates = project.config, project.calendar.dates
    first, last = config.history.start.isoformat(), project.calendar.at(project.first_session, -1)
    project.calendar.require_closed(last, now)
    ingest.require_known(config.symbols, project.source.symbols(), project.source.uri)
    reply = ingest.of_symbols(project.source.read(first, last), config.symbols)
    if reply.empty:
        raise SourceError(
            f"{project.source.uri}: expected bars of {first} … {last}, found none. Set history.start and "
            "first_session in config/pipeline.yaml to dates that the source has"
        )
    cleaned = clean_bars(ingest.with_previous(reply, dates), dates)
    days = cleaned.bars["date"].to_numpy().astype("datetime64[D]")
    expected = project.calendar.between(str(days.min()) if len(days) else first, last)
    missing = sorted(set(expected) - set(np.unique(days).astype(str)))
    verdicts = checks.require(
        "price_history",
        f"Correct {project.source.uri}, then run it again",
        checks.rejected_share(len(cleaned.bars), cleaned.rejected, config.quality.max_rejected_share),
        checks.history_complete(missing, len(expected), config.quality.max_rejected_share),
    )
    source = {"source": project.source.uri}
    stored = project.store.write_table(HISTORY, None, cleaned.bars, PRICES_CLEAN, source, form="parquet")
    recent = cleaned.bars[days >= np.datetime64(project.calendar.lookback(last, LOOKBACK)[0])]
    project.store.write_table(RECENT, None, recent, PRICES_CLEAN, {HISTORY: stored.sha256}, form="parquet")
    project.store.write_table(HISTORY_REJECTED, None, cleaned.rejected, PRICES_REJECTED, source, form="json")
    numbers: Numbers = {
        "rows": len(cleaned.bars),
        "rows_in": len(reply),
        "rejected_rows": len(cleaned.rejected),
        "symbols": int(cleaned.bars["symbol"].nunique()),
        "sessions": len(np.unique(days)),
        "first_session": str(days.min()),
        "last_session": str(days.max()),
        "source": project.source.uri,
    }
    return Made(None, stored, verdicts, numbers)


def ingest_sessions(project: Project, sessions: Sequence[str], now: datetime) -> Iterator[Made]:
    """``prices_raw``: what the source says of each session, from one reply. Raises before a session has closed."""
    calendar, uri = project.calendar, project.source.uri
    for session in sessions:
        calendar.require_closed(session, now)
    reply = project.source.read(calendar.at(sessions[0], -1), sessions[-1])
    for session in sessions:
        raw = ingest.session_bars(reply, session, calendar.dates, project.config.symbols, uri)
        verdicts = checks.require(
            f"prices_raw of {session}",
            f"Correct {uri}, then run the session again",
            checks.bars_arrived(raw, session),
            checks.previous_close_known(raw),
        )
        stored = project.store.write_table("prices_raw", session, raw, PRICES_RAW, {"source": uri})
        numbers: Numbers = {"rows": len(raw), "symbols": int(raw["symbol"].nunique()), "source": uri}
        yield Made(session, stored, verdicts, numbers)


def clean_sessions(project: Project, sessions: Sequence[str]) -> Iterator[Made]:
    """``prices_clean`` and ``prices_rejected``: typed, ordered bars with one return each; refused rows with reasons."""
    store, quality = project.store, project.config.quality
    before = _symbols_before(project, sessions[0])
    for session in sessions:
        raw = store.read_table("prices_raw", session, PRICES_RAW)
        checks.require(
            f"prices_raw of {session}", _again("prices_raw", session), checks.bars_arrived(raw.frame, session)
        )
        cleaned = clean_bars(raw.frame, project.calendar.dates)
        symbols = cleaned.bars["symbol"].tolist()
        verdicts = checks.require(
            f"prices_clean of {session}",
            f"Correct {project.source.uri}, then run the session again",
            checks.rejected_share(len(cleaned.bars), cleaned.rejected, quality.max_rejected_share),
            checks.symbols_complete(symbols, before, quality.max_missing_share),
        )
        inputs = {"prices_raw": raw.stored.sha256}
        rejected = store.write_table("prices_rejected", session, cleaned.rejected, PRICES_REJECTED, inputs)
        stored = store.write_table(
            "prices_clean", session, cleaned.bars, PRICES_CLEAN, inputs | {"prices_rejected": rejected.sha256}
        )
        numbers: Numbers = {
            "rows": len(cleaned.bars),
            "rows_in": len(raw.frame),
            "rejected_rows": len(cleaned.rejected),
            "rejected": rejected.location,
        }
        yield Made(session, stored, verdicts, numbers)
        before = symbols


def feature_sessions(project: Project, sessions: Sequence[str]) -> Iterator[Made]:
    """``features``: from the last ``LOOKBACK`` sessions of ``prices_clean``, by the function that training uses."""
    window = _read_window(project, sessions)
    dates = np.array(window.sessions, dtype="datetime64[D]")
    panel = Panel.from_bars(window.bars, dates)
    matrix = compute_features(panel, decay=project.config.model.ewma_decay)
    for session in sessions:
        table = conform(_feature_table(panel, matrix, window.sessions.index(session)), FEATURE_TABLE)
        verdicts = checks.require(
            f"features of {session}",
            _again("prices_clean", session),
            checks.features_computed(table),
            checks.history_sufficient(table),
        )
        read = project.calendar.lookback(session, LOOKBACK)
        inputs = {"prices_clean": combined_digest([window.digests[s] for s in read if s in window.digests])}
        stored = project.store.write_table("features", session, table, FEATURE_TABLE, inputs)
        numbers: dict[str, float | int | str] = {"rows": len(table), "lookback_sessions": len(read)}
        if len(table):
            numbers["market_volatility"] = float(np.sqrt(table["market_variance"].iloc[0]))
        yield Made(session, stored, verdicts, numbers)


def score_sessions(project: Project, sessions: Sequence[str]) -> Iterator[Made]:
    """``scores``: every symbol scored by the champion, with numpy alone."""
    service = load_champion(project.store, project.journal)
    for session in sessions:
        features = project.store.read_table("features", session, FEATURE_TABLE)
        table = features.frame
        checks.require(f"features of {session}", _again("features", session), checks.features_computed(table))
        scores = score(
            service.model,
            table[list(FEATURES)].to_numpy().T,
            table["ewma_variance"].to_numpy(),
            table["market_variance"].to_numpy(),
            table["history_sessions"].to_numpy(),
        )
        result = conform(_score_table(table, scores), SCORES)
        verdicts = checks.require(
            f"scores of {session}",
            _again("features", session),
            checks.scores_in_range(result, len(table)),
            checks.model_used(result),
        )
        inputs = {"features": features.stored.sha256, "model": service.champion.sha256}
        stored = project.store.write_table("scores", session, result, SCORES, inputs)
        numbers: Numbers = {
            "rows": len(result),
            "approved": int(scores.approved.sum()),
            "approval_rate": float(scores.approved.mean()),
            "mean_bad_week_probability": float(scores.probability.mean()),
            "mean_volatility_forecast": float(np.sqrt(scores.variance).mean()),
            "baseline_share": float(1 - scores.by_model.mean()),
            "model": service.champion.sha256,
            "decision": service.champion.decision,
        }
        yield Made(session, stored, verdicts, numbers, scores_preview(result))


def report_sessions(project: Project, sessions: Sequence[str]) -> Iterator[Made]:
    """``report``: the plain text that a person reads in the morning."""
    store, calendar = project.store, project.calendar
    service = load_champion(store, project.journal)
    for session in sessions:
        scores = store.read_table("scores", session, SCORES)
        checks.require(
            f"scores of {session}", _again("scores", session), checks.scores_in_range(scores.frame, len(scores.frame))
        )
        clean = store.read_table("prices_clean", session, PRICES_CLEAN, ("date", "symbol"))
        rejected = store.read_table("prices_rejected", session, PRICES_REJECTED)
        matured, matured_inputs = _matured(project, session)
        commentary = project.commentary(session)
        words = commentary.read_text(encoding="utf-8") if commentary.exists() else None
        before = _symbols_before(project, session)
        text = report_text(
            ReportFacts(
                session=session,
                calendar=calendar.code,
                horizon_end=calendar.at(session, HORIZON),
                source=project.source.uri,
                clean=clean.frame,
                rejected=rejected.frame,
                missing=None if before is None else sorted(set(before) - set(clean.frame["symbol"])),
                scores=scores.frame,
                matured=matured,
                model_sha256=scores.inputs["model"],
                champion_sha256=service.champion.sha256,
                decision=service.champion.decision,
                training=service.document["training"],
                evaluation=service.document["evaluation"],
                cutoff=service.model.cutoff,
                commentary=words,
            )
        )
        inputs = {
            "prices_clean": clean.stored.sha256,
            "prices_rejected": rejected.stored.sha256,
            "scores": scores.stored.sha256,
            "model": service.champion.sha256,
            **matured_inputs,
        }
        verdict = checks.report_complete(text, scores.frame["symbol"])
        stored = store.write_text("report", session, text, inputs)
        numbers: Numbers = {
            "lines": stored.rows,
            "commentary": "none" if words is None else str(commentary),
            "matured_rows": 0 if matured is None else len(matured.table),
        }
        yield Made(session, stored, (verdict,), numbers, f"```text\n{text}```")


def train_first_model(project: Project, now: datetime) -> Made:
    """``model``: train on the history, evaluate walk-forward, and put it into service where there is none yet."""
    history = project.store.read_table(HISTORY, None, PRICES_CLEAN, _WINDOW_COLUMNS, form="parquet")
    days = np.unique(history.frame["date"].to_numpy().astype("datetime64[D]"))
    panel = Panel.from_bars(history.frame, days)
    body, evaluation = train_model(panel, project.config.model, code_version())
    verdicts = (
        checks.beats_baseline("volatility_beats_baseline", evaluation.measure("qlike")),
        checks.beats_baseline("bad_week_beats_baseline", evaluation.measure("auc")),
    )
    stored, new = deploy_first(project.store, project.journal, body, {HISTORY: history.stored.sha256}, now)
    numbers: Numbers = {
        "rows": body["training"]["rows"],
        "first_session": body["training"]["first_session"],
        "last_session": body["training"]["last_session"],
        "code_version": code_version(),
        "history": history.stored.sha256,
        "in_service": "newly deployed without a signature (bootstrap)" if new else "unchanged",
        **{f"parameter_{name}": value for name, value in project.config.model.model_dump().items()},
        **{f"{m.name}_{who}": getattr(m, who) for m in evaluation.table for who in ("model", "baseline", "naive")},
        **{f"{m.name}_lead_{end}": getattr(m, f"lead_{end}") for m in evaluation.table for end in ("low", "high")},
        "approval_rate": evaluation.approval_rate,
        "bad_rate_approved": evaluation.bad_rate_approved,
        "bad_rate_held": evaluation.bad_rate_held,
    }
    return Made(None, stored, verdicts, numbers)


def evaluate_source(
    project: Project, first: str | None, last: str | None, progress: Callable[[int, int], None] | None = None
) -> Evaluation:
    """Walk-forward measures on what the source has from ``first`` to ``last``; stores nothing, changes no model."""
    dates, config = project.calendar.dates, project.config
    reply = project.source.read(first or config.history.start.isoformat(), last or str(dates[-1]))
    reply = ingest.of_symbols(reply, config.symbols)
    if reply.empty:
        raise SourceError(f"{project.source.uri}: expected bars of {first} … {last}, found none; name other sessions")
    bars = clean_bars(ingest.with_previous(reply, dates), dates).bars
    panel = Panel.from_bars(bars, np.unique(bars["date"].to_numpy().astype("datetime64[D]")))
    rows = training_rows(panel, decay=config.model.ewma_decay)
    return evaluate(walk_forward(rows, config.model, progress), panel.sessions, config.model)


@dataclass(frozen=True)
class _Window:
    """Bars of the sessions that features need, and the digest of the file that each session came from."""

    sessions: list[str]
    bars: pd.DataFrame
    digests: dict[str, str]


def _read_window(project: Project, sessions: Sequence[str]) -> _Window:
    """``prices_clean`` of ``sessions`` and the ``LOOKBACK`` - 1 before them.

    Raises ``ArtifactError`` that names every daily session that is not there, with the command that makes it.
    """
    import pandas as pd

    first, store = project.first_session, project.store
    needed = sorted(
        {*project.calendar.lookback(sessions[0], LOOKBACK), *project.calendar.between(sessions[0], sessions[-1])}
    )
    daily = [s for s in needed if s >= first]
    missing = [s for s in daily if not store.has("prices_clean", s)]
    if missing:
        raise ArtifactError(
            f"features of {sessions[0]} need prices_clean of the {LOOKBACK} sessions up to it; {len(missing)} are not "
            f"there ({missing[0]} … {missing[-1]}). Make them with: dagster asset materialize -m definitions "
            f"--select 'prices_raw*' --partition-range {missing[0]}...{sessions[-1]}"
        )
    tables: dict[str, Table] = {}
    if needed[0] < first:
        recent = store.read_table(RECENT, None, PRICES_CLEAN, _WINDOW_COLUMNS, form="parquet")
        frame = recent.frame[recent.frame["date"] >= pd.Timestamp(needed[0])]
        tables |= {s: Table(recent.stored, {}, frame.iloc[:0]) for s in needed if s < first}
        tables[needed[0]] = Table(recent.stored, {}, frame)
    tables |= {s: store.read_table("prices_clean", s, PRICES_CLEAN, _WINDOW_COLUMNS) for s in daily}
    own = tables[sessions[-1]].frame
    if own.empty:
        raise ArtifactError(f"prices_clean of {sessions[-1]} holds no bar. {_again('prices_clean', sessions[-1])}")
    return _Window(
        needed, pd.concat([t.frame for t in tables.values()]), {s: t.stored.sha256 for s, t in tables.items()}
    )


def _symbols_before(project: Project, session: str) -> list[str] | None:
    """Symbols that had a bar on the session before, or None where that is not in the store."""
    before = project.calendar.at(session, -1)
    try:
        if before >= project.first_session:
            return project.store.read_table("prices_clean", before, PRICES_CLEAN, ("symbol",)).frame["symbol"].tolist()
        recent = project.store.read_table(RECENT, None, PRICES_CLEAN, ("date", "symbol"), form="parquet").frame
        return recent["symbol"][recent["date"].astype(str) == before].tolist()
    except ArtifactError:
        return None


def _feature_table(panel: Panel, matrix: FeatureMatrix, row: int) -> pd.DataFrame:
    import pandas as pd

    columns = np.flatnonzero(panel.present[row])
    return pd.DataFrame(
        {
            "date": panel.sessions[row],
            "symbol": [panel.symbols[c] for c in columns],
            "history_sessions": matrix.history[row, columns],
            "ewma_variance": matrix.ewma_variance[row, columns],
            "market_variance": matrix.market_variance[row],
            **{name: matrix.values[i, row, columns] for i, name in enumerate(FEATURES)},
        }
    )


def _score_table(features: pd.DataFrame, scores: Scores) -> pd.DataFrame:
    import pandas as pd

    by = np.where(scores.by_model, "model", "baseline")
    return pd.DataFrame(
        {
            "date": features["date"],
            "symbol": features["symbol"],
            "volatility_forecast": np.sqrt(scores.variance),
            "baseline_volatility": np.sqrt(scores.baseline_variance),
            "bad_week_probability": scores.probability,
            "baseline_probability": scores.baseline_probability,
            "decision": np.where(scores.approved, "approve", "hold"),
            "volatility_by": by,
            "probability_by": by,
            "fallback_reason": [reason or None for reason in scores.reason],
            "history_sessions": features["history_sessions"],
        }
    )


def _matured(project: Project, session: str) -> tuple[Matured | None, dict[str, str]]:
    """What came of the scores whose horizon ended with ``session``; None before there are any."""
    scored = project.calendar.at(session, -HORIZON)
    if scored < project.first_session or not project.store.has("scores", scored):
        return None, {}
    scores = project.store.read_table("scores", scored, SCORES)
    days = project.calendar.between(scored, session)
    tables = [project.store.read_table("prices_clean", day, PRICES_CLEAN, _WINDOW_COLUMNS) for day in days]
    import pandas as pd

    panel = Panel.from_bars(pd.concat([t.frame for t in tables]), np.array(days, dtype="datetime64[D]"))
    targets = observed_targets(panel.log_return, panel.variance)
    came = pd.DataFrame(
        {"symbol": panel.symbols, "came_volatility": np.sqrt(targets.variance[0]), "bad_week": targets.bad_week[0]}
    )
    table = scores.frame.merge(came, on="symbol", how="left")
    inputs = {
        "matured_scores": scores.stored.sha256,
        "matured_bars": combined_digest([t.stored.sha256 for t in tables]),
    }
    return Matured(scored, table), inputs


def _again(asset: str, session: str) -> str:
    return f"Run it again: dagster asset materialize -m definitions --select '{asset}*' --partition {session}"


def session_is_done(project: Project, session: str) -> bool:
    """Whether the whole chain of ``session`` is there, whole, and made from one another: nothing is left to do."""
    store = project.store
    try:
        raw = store.read_table("prices_raw", session, PRICES_RAW, ("date",))
        clean = store.read_table("prices_clean", session, PRICES_CLEAN, ("date",))
        features = store.read_table("features", session, FEATURE_TABLE, ("date",))
        scores = store.read_table("scores", session, SCORES, ("date",))
        store.read_text("report", session)
    except ArtifactError:
        return False
    chain: list[tuple[Any, str]] = [(clean.inputs["prices_raw"], raw.stored.sha256)]
    chain.append((scores.inputs["features"], features.stored.sha256))
    return all(stated == found for stated, found in chain)
