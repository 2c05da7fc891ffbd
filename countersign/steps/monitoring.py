"""Steps of the group ``monitoring``: what came of earlier scores, drift, and the metrics of the session."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from countersign import checks
from countersign.model.targets import HORIZON, observed_targets
from countersign.prices.panel import PANEL_COLUMNS, Panel
from countersign.project import Project
from countersign.steps.made import Made, Numbers
from countersign.storage.codec import combined_digest
from countersign.tables import OUTCOMES, PRICES_CLEAN, conform, empty_table


def outcome_sessions(project: Project, sessions: Sequence[str]) -> Iterator[Made]:
    """``outcomes``: what came of the scores whose horizon ended with the session, by what was said first of them."""
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
