"""Show: the scores of one session beside what came of them, read from the store.

Belongs here: reading and joining. Does not belong here: layout (``cli_show``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from countersign.errors import ArtifactError
from countersign.model.targets import HORIZON
from countersign.project import Project
from countersign.tables import OUTCOMES, SCORES

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Shown:
    """``table`` is ``SCORES``, riskiest first, with ``came_volatility`` and ``bad_week``: NaN where not known."""

    session: str
    model: str
    horizon: int
    horizon_end: str | None
    table: pd.DataFrame
    is_known: bool
    came: str
    """Whether outcomes are known, in words."""
    by_baseline: Mapping[str, list[str]]
    """Symbols that the baseline scored, by reason."""


def show_session(project: Project, session: str | None) -> Shown:
    """The scores of ``session``, or of the newest that has any. Raises ``ArtifactError`` where there are none."""
    store = project.store
    if session is None:
        scored = [day for day in store.partitions() if store.has("scores", day)]
        if not scored:
            raise ArtifactError(f"expected a session with scores in {store.root}, found none. Run one: countersign run")
        session = scored[-1]
    project.calendar.close(session)
    if not store.has("scores", session):
        raise ArtifactError(
            f"expected scores of {session} in {store.root}, found none. Make them: countersign run --session {session}"
        )
    scores = store.read_table("scores", session, SCORES)
    end = project.calendar.after(session, HORIZON)
    table = scores.frame.assign(came_volatility=float("nan"), bad_week=float("nan"))
    came = f"What came of it will be known once {end} was run."
    is_known = bool(end and store.has("outcomes", end))
    if end and is_known:
        outcomes = store.read_table("outcomes", end, OUTCOMES, ("symbol", "came_volatility", "bad_week")).frame
        is_known = not outcomes.empty
        table = scores.frame.merge(outcomes, on="symbol", how="left", validate="one_to_one")
        known = table[table["bad_week"].notna()]
        approved = known[known["decision"] == "approve"]
        came = (
            f"By {end}, {len(known)} of {len(table)} outcomes are known: {int(approved['bad_week'].sum())} bad of "
            f"{len(approved)} approved, {int(known['bad_week'].sum())} bad in all."
        )
    fallen = table[table["fallback_reason"].notna()]
    return Shown(
        session=session,
        model=scores.stored.inputs["model"],
        horizon=HORIZON,
        horizon_end=end,
        table=table.sort_values(["bad_week_probability", "symbol"], ascending=[False, True], ignore_index=True),
        is_known=is_known,
        came=came,
        by_baseline={str(why): sorted(rows["symbol"]) for why, rows in fallen.groupby("fallback_reason", sort=True)},
    )


def shown_dict(found: Shown) -> dict[str, Any]:
    """The same for a program: missing numbers and reasons as null."""
    table = found.table.astype(object).where(found.table.notna(), None)
    rows = table.drop(columns="date").to_dict(orient="records")
    return {"session": found.session, "model": found.model, "horizon_end": found.horizon_end, "scores": rows}
