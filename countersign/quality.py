"""Quality: ``config/quality.yaml``, validated. Which rules are applied to prices, how severely, and why.

Belongs here: every rule's severity and parameters, and what they mean. Does not belong here: the rules themselves
(``prices.rules``, ``checks``); thresholds of monitoring (``thresholds``). There are no defaults: each number stands in
the file, with its reason.

Severities: ``refuse`` stops the session (or the history) and writes nothing; ``quarantine`` puts the row into
``prices_rejected``, from where a person can release it; ``warn`` keeps the row and says so; ``off`` judges nothing,
which is shown as insufficient evidence and is never green.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field

from countersign.errors import ConfigError
from countersign.settings import Section, read_settings
from countersign.storage.codec import json_bytes

Share = Annotated[float, Field(ge=0, le=1)]


class Rule(Section):
    """What every rule has."""

    severity: Literal["refuse", "quarantine", "warn", "off"]
    reason: Annotated[str, Field(min_length=10, max_length=300)]
    """Why the rule is there and has these numbers; shown with its check."""


class BatchRule(Rule):
    """On all that arrived together: there is no row that could be set aside, and nothing to build on."""

    severity: Literal["refuse"]


class BarRule(Rule):
    """No bar can be made of a row that breaks it, so it cannot be let through."""

    severity: Literal["refuse", "quarantine"]


class Notice(Rule):
    """On what may well be true, so that the row is kept: a crash, a session without trade."""

    severity: Literal["warn", "off"]


class BatchShare(BatchRule):
    max_share: Share
    """More than this breaks the rule."""


class RowShare(BatchShare):
    min_rows: Annotated[int, Field(ge=1)]
    """Fewer rows than this never refuse the batch: each is set aside by its own rule."""


class Range(Rule):
    tolerance: Annotated[float, Field(ge=0, lt=0.1)]
    """Relative slack: prices that the source rounded may miss it by a last digit."""


class Wick(Rule):
    max_log: Annotated[float, Field(gt=0)]
    """Longest wick: log of the lower of open and close over low, or of high over the higher of the two.

    So far, too, an open may lie from both the close before and its own close, on the same side."""


class UnitChange(Rule):
    factors: Annotated[tuple[Annotated[float, Field(ge=10)], ...], Field(min_length=1, max_length=4)]
    tolerance: Annotated[float, Field(gt=0, lt=1)]
    """By how much, in logs, the step from one close to the next may differ from such a factor, up or down."""


class SplitLike(Rule):
    tolerance: Annotated[float, Field(gt=0, lt=0.2)]
    """By how much, in logs, the step from the close to the next open may differ from a ratio of whole numbers."""
    largest: Annotated[int, Field(ge=2, le=100)]
    """Largest ratio: 2, 3 … for one, and one for 2, 3 …"""


class Stale(Rule):
    sessions: Annotated[int, Field(ge=2, le=62)]
    """Bars in a row with the same prices, from which each further one breaks the rule."""


class Hole(Rule):
    sessions: Annotated[int, Field(ge=1, le=61)]
    """Most sessions that a symbol may be away."""


class Jump(Notice):
    share: Annotated[float, Field(gt=0)]
    """Return, up or down, that is never called a jump …"""
    deviations: Annotated[float, Field(gt=0)]
    """… nor one below so many median absolute deviations of the symbol's returns over the 62 sessions before."""


class AdjustmentStep(Notice):
    tolerance: Annotated[float, Field(ge=0, lt=0.1)]
    """Relative change of adjusted over plain close that is rounding."""
    max_dividend: Annotated[float, Field(gt=0, lt=1)]
    """Largest dividend, as a share of the price; what lies beyond must be a split that the close shows."""


class MissingSessions(Notice):
    max_share: Share
    """Of the sessions since a symbol's first bar among the last 63."""


class Restated(Notice):
    max_change: Annotated[float, Field(ge=0)]
    """Relative change of a close that was stored before."""


class Quality(Section):
    """All of ``config/quality.yaml``. Rules on rows are applied in this order: the first that a row breaks is named."""

    dates: BatchRule
    off_calendar: RowShare
    bars_arrived: BatchRule
    symbols_complete: BatchShare
    bars_moved: BatchShare
    rejected_share: RowShare
    history_complete: BatchShare

    symbol: BarRule
    session: BarRule
    readable: BarRule
    complete: BarRule
    positive: BarRule
    range: Range
    volume: BarRule
    duplicate: BarRule
    conflict: BarRule
    wick: Wick
    unit_change: UnitChange
    split_like: SplitLike
    hole: Hole
    stale: Stale

    jump: Jump
    zero_volume: Notice
    adjustment_step: AdjustmentStep
    missing_sessions: MissingSessions
    ranges_known: Notice
    restated: Restated

    def rule(self, name: str) -> Rule:
        """The rule called ``name``."""
        found: Rule = getattr(self, name)
        return found

    @property
    def sha256(self) -> str:
        """Digest of what decides: severities and parameters, not reasons and comments."""
        return hashlib.sha256(json_bytes(self.model_dump(exclude={name: {"reason"} for name in RULES}))).hexdigest()


RULES: Final = {
    "dates": "Every row is dated, and none after the newest session that has closed",
    "off_calendar": "Rows are dated on sessions of the exchange: otherwise the time zone is shifted",
    "bars_arrived": "The session itself is among what arrived",
    "symbols_complete": "The symbols of the session before are here",
    "bars_moved": "The prices of the panel are not those of the session before, all over again",
    "rejected_share": "Most rows pass the rules",
    "history_complete": "The bulk history has bars on every session",
    "symbol": "A row names a symbol",
    "session": "A row is dated on a session of the exchange",
    "readable": "Every cell of a row is a finite number, or empty",
    "complete": "No price is missing that the source has otherwise",
    "positive": "Every price is one: positive, and of a possible size",
    "range": "High is the highest and low the lowest of the four prices",
    "volume": "The volume is not negative",
    "duplicate": "A row comes once",
    "conflict": "Rows of one symbol and session do not contradict each other",
    "wick": "No high, low or open lies so far away that it must be a bad tick",
    "unit_change": "The price does not change its unit, such as from pounds to pence",
    "split_like": "An open that jumps like a split comes with an adjustment of the close",
    "hole": "A symbol does not come back after so long that its name may be another's",
    "stale": "Prices are not repeated session after session",
    "jump": "No return is so large that a person should look at it",
    "zero_volume": "Something was traded",
    "adjustment_step": "The adjustment of the close changes as a split or a dividend would",
    "missing_sessions": "Symbols have a bar on every session since their first",
    "ranges_known": "Open, high and low are known, so that a variance can be taken from them",
    "restated": "The source says what it said before",
}
"""Every rule and what it asks for, in the order of the file."""

ON_ROWS: Final = tuple(RULES)[tuple(RULES).index("symbol") : tuple(RULES).index("jump")]
"""Rules that can set a row aside."""

ON_BARS: Final = tuple(RULES)[tuple(RULES).index("symbol") : tuple(RULES).index("restated")]
"""Rules that are judged where bars are cleaned."""

RELEASABLE: Final = frozenset({"range", "conflict", "wick", "unit_change", "split_like", "hole", "stale"})
"""Rules whose rows are bars all the same, should a person say so."""


def load_quality(home: Path) -> Quality:
    """``config/quality.yaml`` of the project folder ``home``.

    Raises ``ConfigError`` where there is none, and as ``read_settings`` does.
    """
    path = home / "config" / "quality.yaml"
    if not path.is_file():
        raise ConfigError(
            f"expected the rules on prices at {path}, found no such file. Copy config/quality.yaml of the Countersign "
            "checkout there; what stood under quality: in config/pipeline.yaml is max_share of rejected_share and of "
            "symbols_complete"
        )
    return read_settings(path, Quality)
