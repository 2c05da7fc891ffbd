"""Steps of the group ``monitoring``: what came of earlier scores, drift, and the metrics of the session."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from countersign import checks
from countersign.features import FEATURES, MIN_HISTORY
from countersign.model.scoring import FittedModel, score
from countersign.model.targets import HORIZON, observed_targets
from countersign.model.training import training_rows
from countersign.monitoring.drift import DriftReference, drift_readings, effect_reading, measure_drift
from countersign.prices.panel import PANEL_COLUMNS, Panel
from countersign.project import Project
from countersign.steps.made import Made, Numbers
from countersign.steps.prices import recent_history
from countersign.steps.service import in_service
from countersign.storage.codec import combined_digest
from countersign.tables import DRIFT, FEATURE_TABLE, OUTCOMES, PRICES_CLEAN, conform, empty_table
from countersign.thresholds import load_thresholds

if TYPE_CHECKING:
    import pandas as pd

_MONTH: Final = 21
"""Sessions whose course a table shows."""


def outcome_sessions(project: Project, sessions: Sequence[str]) -> Iterator[Made]:
    """``outcomes``: what came of the scores whose horizon ended with the session, by what was said first of them."""
    import pandas as pd

    for session in sessions:
        scored = project.calendar.at(session, -HORIZON)
        said = project.predictions.first(scored) if scored >= project.first_session else None
        table, inputs = empty_table(OUTCOMES), {}
        if said:
            days = project.calendar.between(scored, session)
            read = _horizon(project, scored, session)
            bars = [project.store.read_table("prices_clean", day, PRICES_CLEAN, PANEL_COLUMNS) for day in read]
            panel = Panel.from_bars(pd.concat([b.frame for b in bars]), np.array(days, dtype="datetime64[D]"))
            targets = observed_targets(panel.log_return, panel.variance)
            came = pd.DataFrame(
                {
                    "symbol": panel.symbols,
                    "came_volatility": np.sqrt(targets.variance[0]),
                    "bad_week": targets.bad_week[0],
                }
            )
            joined = pd.DataFrame(said.columns).merge(came, on="symbol", how="left").assign(date=session, scored=scored)
            table = conform(joined, OUTCOMES)
            inputs = _outcome_inputs(said.scores, [b.stored.sha256 for b in bars])
        stored = project.store.write_table("outcomes", session, table, OUTCOMES, inputs)
        known = int(table["bad_week"].notna().sum())
        numbers: Numbers = {"rows": len(table), "known_outcomes": known, "scored": scored}
        yield Made(session, stored, (checks.outcomes_known(known, len(table), scored),), numbers)


def outcome_inputs(project: Project, session: str) -> dict[str, str]:
    """The digests of what ``outcomes`` of ``session`` is made from, as it is now."""
    scored = project.calendar.at(session, -HORIZON)
    said = project.predictions.first(scored) if scored >= project.first_session else None
    if not said:
        return {}
    bars = [project.store.digest("prices_clean", day) for day in _horizon(project, scored, session)]
    return _outcome_inputs(said.scores, bars)


def _outcome_inputs(scores: str, bars: list[str]) -> dict[str, str]:
    return {"scores": scores, "prices_clean": combined_digest(bars)}


def _horizon(project: Project, scored: str, session: str) -> list[str]:
    """The session that was scored and those of its horizon, without the ones that were never delivered."""
    return [day for day in project.calendar.between(scored, session) if day not in project.missing_sessions]


def drift_sessions(project: Project, sessions: Sequence[str]) -> Iterator[Made]:
    """``drift``: features, the champion's scores and matured targets against the data that it was trained on."""
    thresholds, digest = load_thresholds(project.home)
    service = in_service(project)
    reference, judged_by = DriftReference.from_dict(service.document["reference"]), thresholds.drift
    behind = judged_by.window_sessions + judged_by.sessions_in_a_row - 1
    days = _days(project, sessions, behind)
    seen = _seen(project, days)
    counts = subject_counts(reference, service.model, seen, len(days))
    found = measure_drift(
        counts,
        reference,
        psi=judged_by.psi,
        significance=judged_by.significance,
        sessions_in_a_row=judged_by.sessions_in_a_row,
        window_sessions=judged_by.window_sessions,
    )
    courses: dict[str, dict[str, float]] = {}
    for session in sessions:
        last = days.index(session) + 1
        known = found.until(last)
        verdict, *each = drift_readings(known)
        table = conform(
            {
                "date": [session] * len(each),
                "subject": reference.subjects,
                "status": [reading.status for reading in each],
                "psi": [reading.value for reading in each],
                "p_value": found.p[:, last - 1],
                "sessions_in_a_row": found.in_a_row[:, last - 1],
                "observations": [reading.observations for reading in each],
                "sentence": [reading.sentence for reading in each],
            },
            DRIFT,
        )
        window = days[max(last - behind, 0) : last]
        inputs = {
            "model": service.champion.model,
            "thresholds": digest,
            "features_and_outcomes": combined_digest([seen.digests[day] for day in window]),
        }
        stored = project.store.write_table("drift", session, table, DRIFT, inputs)
        numbers: Numbers = {
            "rows": len(table),
            "drifted": int((table["status"] == "fail").sum()),
            "psi_over_threshold": int((table["psi"] > judged_by.psi).sum()),
            **{f"psi_{subject}": value for subject, value in zip(table["subject"], table["psi"], strict=True)},
        }
        courses[session] = dict(zip(table["subject"], table["psi"], strict=True))
        shown = _drift_preview(table, _courses(project, session, courses), judged_by.psi)
        verdicts = (verdict.as_check(), effect_reading(known).as_check())
        yield Made(session, stored, verdicts, numbers, shown)


@dataclass(frozen=True)
class Seen:
    """Rows of several days: what the champion sees of each, and what came of earlier scores, by the day's number."""

    features: np.ndarray
    ewma_variance: np.ndarray
    market_variance: np.ndarray
    history: np.ndarray
    day: np.ndarray
    came_volatility: np.ndarray
    bad_week: np.ndarray
    matured_day: np.ndarray
    digests: dict[str, str]


def _days(project: Project, sessions: Sequence[str], behind: int) -> list[str]:
    """``sessions`` and as many before the first as a window needs, but for those that were never scored."""
    wanted = [d for d in project.calendar.between(sessions[0], sessions[-1]) if d not in project.missing_sessions]
    before = project.calendar.lookback(sessions[0], behind)[:-1]
    return [day for day in before if day < project.first_session or project.store.has("outcomes", day)] + wanted


def _seen(project: Project, days: list[str]) -> Seen:
    """Features and outcomes of ``days``; of those before the first daily session, from the history's bars."""
    store, first = project.store, project.first_session
    parts: list[dict[str, np.ndarray]] = []
    digests: dict[str, str] = {}
    if days[0] < first:
        recent = store.read_table(recent_history(project), None, PRICES_CLEAN, PANEL_COLUMNS, form="parquet")
        known = np.unique(recent.frame["date"].to_numpy().astype("datetime64[D]"))
        rows = training_rows(Panel.from_bars(recent.frame, known))
        place = {day: number for number, day in enumerate(days)}
        at, matured = (
            np.array([place.get(project.calendar.after(str(day), later) or "", -1) for day in known])[rows.session]
            for later in (0, HORIZON)
        )
        seen, came = rows.take(at >= 0), rows.take(matured >= 0)
        parts.append(
            {
                "features": seen.features,
                "ewma_variance": seen.ewma_variance,
                "market_variance": seen.market_variance,
                "history": seen.history,
                "day": at[at >= 0],
                "came_volatility": np.sqrt(came.variance),
                "bad_week": came.bad_week,
                "matured_day": matured[matured >= 0],
            }
        )
        digests |= {day: recent.stored.sha256 for day in days if day < first}
    for number, day in enumerate(days):
        if day < first:
            continue
        features = store.read_table("features", day, FEATURE_TABLE)
        outcomes = store.read_table("outcomes", day, OUTCOMES, ("came_volatility", "bad_week"))
        table = features.frame
        parts.append(
            {
                "features": table[list(FEATURES)].to_numpy().T,
                "ewma_variance": table["ewma_variance"].to_numpy(),
                "market_variance": table["market_variance"].to_numpy(),
                "history": table["history_sessions"].to_numpy(),
                "day": np.full(len(table), number),
                "came_volatility": outcomes.frame["came_volatility"].to_numpy(),
                "bad_week": outcomes.frame["bad_week"].to_numpy(),
                "matured_day": np.full(len(outcomes.frame), number),
            }
        )
        digests[day] = combined_digest([features.stored.sha256, outcomes.stored.sha256])
    joined = {name: np.concatenate([part[name] for part in parts], axis=-1) for name in parts[0]}
    return Seen(**joined, digests=digests)


def subject_counts(reference: DriftReference, model: FittedModel, seen: Seen, days: int) -> np.ndarray:
    """Counts (subjects, days, bins + 1) of every subject, on the kind of rows that the reference was made of."""
    rows = seen.history >= MIN_HISTORY
    day, features = seen.day[rows], seen.features[:, rows]
    scores = score(model, features, seen.ewma_variance[rows], seen.market_variance[rows], seen.history[rows])
    matured = ~np.isnan(seen.came_volatility)
    found = {
        **{name: (values, day) for name, values in zip(FEATURES, features, strict=True)},
        "volatility_forecast": (np.sqrt(scores.variance), day),
        "bad_week_probability": (scores.probability, day),
        "volatility": (seen.came_volatility[matured], seen.matured_day[matured]),
        "bad_week": (seen.bad_week[matured], seen.matured_day[matured]),
    }
    return np.stack([reference.count(name, *found[name], days) for name in reference.subjects])


def _courses(project: Project, session: str, known: dict[str, dict[str, float]]) -> list[dict[str, float]]:
    """PSI by subject of the month up to ``session``, of the sessions that have it; ``known`` keeps what was read."""
    days = [d for d in project.calendar.lookback(session, _MONTH) if d >= project.first_session]
    for day in days:
        if day not in known and project.store.has("drift", day):
            table = project.store.read_table("drift", day, DRIFT, ("subject", "psi")).frame
            known[day] = dict(zip(table["subject"], table["psi"], strict=True))
    return [known[day] for day in days if day in known]


def _drift_preview(table: pd.DataFrame, courses: list[dict[str, float]], threshold: float) -> str:
    """The subjects as a table in Markdown, the largest index first, with its course: ▅ and above is over the limit."""
    lines = [f"| subject | PSI | p | last {len(courses)} sessions | status |", "|---|---:|---:|---|---|"]
    for row in table.sort_values("psi", ascending=False, na_position="last").to_dict(orient="records"):
        course = "".join(_spark(psi.get(row["subject"], np.nan) / threshold) for psi in courses)
        lines.append(f"| {row['subject']} | {row['psi']:.3f} | {row['p_value']:.2g} | {course} | {row['status']} |")
    return "\n".join(lines)


def _spark(share: float) -> str:
    """A block: the lower four are quarters of the threshold, the upper four quarters over it, to twice and more."""
    if np.isnan(share):
        return "·"
    return "▁▂▃▄▅▆▇█"[max(min(int(np.ceil(share * 4)) - 1, 7), 0)]
