"""Steps of the group ``scoring``: features and scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from countersign import checks
from countersign.errors import ArtifactError, CountersignError, QualityError, SessionError
from countersign.features import FEATURES, LOOKBACK, FeatureMatrix, compute_features
from countersign.gate.state import state_of
from countersign.model.registry import InService, read_model
from countersign.model.scoring import FittedModel, Scores, score
from countersign.prices.panel import PANEL_COLUMNS, Panel
from countersign.project import Project
from countersign.quality import load_quality
from countersign.report import scores_preview
from countersign.steps.made import Made, Numbers, again
from countersign.steps.prices import recent_history
from countersign.steps.service import in_service, without_looking_ahead
from countersign.storage.artifacts import Table
from countersign.storage.codec import combined_digest
from countersign.tables import FEATURE_TABLE, PRICES_CLEAN, PRICES_REJECTED, SCORES, conform
from countersign.words import spanned

if TYPE_CHECKING:
    import pandas as pd


def feature_sessions(project: Project, sessions: Sequence[str]) -> Iterator[Made]:
    """``features``: from the last ``LOOKBACK`` sessions of ``prices_clean``, by the function that training uses."""
    window = _read_window(project, sessions)
    dates = np.array(window.sessions, dtype="datetime64[D]")
    panel = Panel.from_bars(window.bars, dates)
    matrix = compute_features(panel)
    for session in sessions:
        row = window.sessions.index(session)
        _require_clean(project, panel, row)
        table = conform(_feature_table(panel, matrix, row), FEATURE_TABLE)
        verdicts = checks.require(
            f"features of {session}",
            again("prices_clean", session),
            checks.features_computed(table),
            checks.history_sufficient(table),
        )
        read = project.calendar.lookback(session, LOOKBACK)
        inputs = {"prices_clean": combined_digest([window.digests.get(s, "") for s in read])}
        stored = project.store.write_table("features", session, table, FEATURE_TABLE, inputs)
        numbers: Numbers = {
            "rows": len(table),
            "lookback_sessions": len(read),
            "market_volatility": float(np.sqrt(table["market_variance"].iloc[0])),
        }
        yield Made(session, stored, verdicts, numbers)


def score_sessions(project: Project, sessions: Sequence[str], now: datetime) -> Iterator[Made]:
    """``scores``: every symbol scored by the champion, with numpy alone, and put on record in the prediction log.

    A session that the champion was trained on is scored by the one before it.
    """
    champion = in_service(project)
    for session in sessions:
        found = score_features(project, champion, session)
        service, features, result = found.service, found.features, found.table
        inputs = {
            "features": features.stored.sha256,
            "model": service.champion.model,
            "decision": service.champion.decision,
        }
        stored = project.store.write_table("scores", session, result, SCORES, inputs)
        project.predictions.append(session, stored.sha256, service.champion.model, result, now)
        _shadow(project, session, features.frame, features.stored.sha256)
        approved = result["decision"] == "approve"
        numbers: Numbers = {
            "rows": len(result),
            "approved": int(approved.sum()),
            "approval_rate": float(approved.mean()),
            "mean_bad_week_probability": float(result["bad_week_probability"].to_numpy().mean()),
            "mean_volatility_forecast": float(result["volatility_forecast"].to_numpy().mean()),
            "baseline_share": float((result["volatility_by"] == "baseline").mean()),
            "model": service.champion.model,
            "decision": service.champion.decision,
        }
        yield Made(session, stored, found.checks, numbers, scores_preview(result))


@dataclass(frozen=True)
class Scored:
    """Scores of a session (table ``SCORES``), the features and the model that they come from, and the verdicts."""

    service: InService
    features: Table
    table: pd.DataFrame
    checks: tuple[checks.CheckResult, ...]


def score_features(project: Project, champion: InService, session: str) -> Scored:
    """The stored features of ``session``, scored by ``champion``, or by the one before it where that learned from it.

    For the daily run and the server alike. Raises ``ArtifactError`` where there are none.
    """
    service = without_looking_ahead(project, champion, session)
    features = project.store.read_table("features", session, FEATURE_TABLE)
    what, remedy = f"features of {session}", again("features", session)
    checks.require(what, remedy, checks.features_computed(features.frame))
    table = conform(_score_table(features.frame, _scored(service.model, features.frame)), SCORES)
    verdicts = checks.require(
        f"scores of {session}",
        remedy,
        checks.scores_in_range(table, len(features.frame)),
        checks.model_used(table),
    )
    return Scored(service, features, table, verdicts)


def _scored(model: FittedModel, table: pd.DataFrame) -> Scores:
    return score(
        model,
        table[list(FEATURES)].to_numpy().T,
        table["ewma_variance"].to_numpy(),
        table["market_variance"].to_numpy(),
        table["history_sessions"].to_numpy(),
    )


def _shadow(project: Project, session: str, table: pd.DataFrame, features: str) -> None:
    """``shadow``: what the candidate that waits would have said, for whoever reviews it. It decides nothing.

    Whatever is wrong with a candidate, the champion's scores stand: then there is no shadow, and review says so.
    """
    request = state_of(project.journal.read()).open_request
    if request is None:
        return
    try:
        candidate = read_model(project.store, request.candidate)
        if session <= candidate.document["training"]["last_session"]:
            return
        result = conform(_score_table(table, _scored(candidate.fitted, table)), SCORES)
        inputs = {"features": features, "model": request.candidate}
        project.store.write_table("shadow", session, result, SCORES, inputs)
    except CountersignError:
        return


def score_bars(
    project: Project, bars: pd.DataFrame, session: str, model: FittedModel, what: str, remedy: str
) -> tuple[pd.DataFrame, tuple[checks.CheckResult, ...]]:
    """Scores of ``session`` (table ``SCORES``) by ``model``, from ``bars`` (table ``PRICES_CLEAN``) that are called
    ``what``; and the verdicts on them. Bars of other sessions than the ``LOOKBACK`` up to it are not looked at.
    """
    import pandas as pd

    dates = np.array(project.calendar.lookback(session, LOOKBACK), dtype="datetime64[D]")
    days = bars["date"].to_numpy().astype("datetime64[D]")
    if not (days == dates[-1]).any():
        found = f"{days.min()} … {days.max()}" if len(days) else "none"
        raise SessionError(f"{what}: expected bars of {session}, found none of that session (bars: {found}). {remedy}")
    if twice := int(pd.DataFrame({"date": days, "symbol": bars["symbol"].to_numpy()}).duplicated().sum()):
        raise QualityError(f"{what}: expected one bar a session and symbol, found {twice} more. {remedy}")
    panel = Panel.from_bars(bars[np.isin(days, dates)], dates)
    features = conform(_feature_table(panel, compute_features(panel), len(dates) - 1), FEATURE_TABLE)
    verdicts = checks.require(what, remedy, checks.features_computed(features), checks.history_sufficient(features))
    table = conform(_score_table(features, _scored(model, features)), SCORES)
    return table, verdicts + checks.require(
        what, remedy, checks.scores_in_range(table, len(features)), checks.model_used(table)
    )


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
    daily = [s for s in needed if s >= first and s not in project.missing_sessions]
    missing = [s for s in daily if not store.has("prices_clean", s)]
    if missing:
        raise ArtifactError(
            f"features of {sessions[0]} need prices_clean of the {LOOKBACK} sessions up to it; of these there is none "
            f"for {spanned(missing)}. Make them with: dagster asset materialize -m definitions "
            f"--select 'key:prices_raw+ and tag:daily' --partition-range {missing[0]}...{sessions[-1]}. What the "
            "source will never deliver, name in missing_sessions in config/pipeline.yaml"
        )
    tables: dict[str, Table] = {}
    if needed[0] < first:
        recent = store.read_table(recent_history(project), None, PRICES_CLEAN, PANEL_COLUMNS, form="parquet")
        frame = recent.frame[recent.frame["date"] >= pd.Timestamp(needed[0])]
        tables |= {s: Table(recent.stored, frame.iloc[:0]) for s in needed if s < first}
        tables[needed[0]] = Table(recent.stored, frame)
    tables |= {s: store.read_table("prices_clean", s, PRICES_CLEAN, PANEL_COLUMNS) for s in daily}
    return _Window(
        needed, pd.concat([t.frame for t in tables.values()]), {s: t.stored.sha256 for s, t in tables.items()}
    )


def bars_digest(project: Project, session: str) -> str:
    """The digest of the bars, as they are now, that features of ``session`` are made from."""
    store, first = project.store, project.first_session
    read = project.calendar.lookback(session, LOOKBACK)
    recent = store.digest(recent_history(project), None, "parquet") if read[0] < first else ""
    absent = project.missing_sessions
    return combined_digest(
        [recent if s < first else "" if s in absent else store.digest("prices_clean", s) for s in read]
    )


def _require_clean(project: Project, panel: Panel, row: int) -> None:
    """Refuse what the checks of ``prices_clean`` would block: a run of features alone is not held back by them."""
    session, quality = str(panel.sessions[row]), load_quality(project.home)
    rejected = project.store.read_table("prices_rejected", session, PRICES_REJECTED).frame
    today, before = (
        [symbol for symbol, there in zip(panel.symbols, panel.present[r], strict=True) if there] for r in (row, row - 1)
    )
    checks.require(
        f"prices_clean of {session}",
        again("prices_raw", session),
        checks.rejected_share(len(today), rejected, quality.rejected_share.max_share, quality.rejected_share.min_rows),
        checks.symbols_complete({*today, *rejected["symbol"]}, before or None, quality.symbols_complete.max_share),
    )


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
