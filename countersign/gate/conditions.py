"""Conditions: bounds that an approval carries, such as ``auc over 20 sessions below 0.65``; broken, the model leaves.

Belongs here: the text that a person types, and what it means. Does not belong here: whether outcomes break it
(``bounds``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from countersign.errors import GateError

MEASURES: Final = {
    "auc": "chance that a bad week was scored above a fine one (0.5 is no skill)",
    "brier": "mean squared error of the bad-week probability",
    "brier_ratio": "the same, divided by the baseline's on the same rows",
    "calibration_error": "debiased L2 error of the bad-week probability, ten bins of equal mass",
    "qlike": "mean QLIKE of the variance forecast",
    "qlike_ratio": "the same, divided by the baseline's on the same rows",
    "volatility_mae": "mean absolute error of the volatility forecast, log return a day",
    "volatility_mae_ratio": "the same, divided by the baseline's on the same rows",
    "approval_rate": "share of the scored symbols that were approved",
    "bad_rate": "share of the approved symbols whose week was bad",
}
"""What a bound may be on, each over the rows of the window whose outcomes are known."""

MAX_SESSIONS: Final = 756
"""The longest window: three years."""

Side = Literal["below", "above"]

_AT_MOST_ONE: Final = {"auc", "brier", "calibration_error", "approval_rate", "bad_rate"}
_TEXT: Final = re.compile(r"([a-z_]+) over ([0-9]{1,3}) sessions (below|above) ([0-9]{1,3}(?:\.[0-9]{1,6})?)")
_FORM: Final = "MEASURE over N sessions below|above BOUND, such as 'auc over 20 sessions below 0.65'"


@dataclass(frozen=True)
class Condition:
    """Broken where ``measure`` over the last ``sessions`` matured sessions lies on ``side`` of ``bound``.

    Raises ``GateError`` where a bound could never be broken, or always would be.
    """

    measure: str
    sessions: int
    side: Side
    bound: float

    def __post_init__(self) -> None:
        if self.measure not in MEASURES:
            raise GateError(f"expected a condition on one of {', '.join(MEASURES)}, found {self.measure!r}")
        if not 1 <= self.sessions <= MAX_SESSIONS:
            raise GateError(f"{self.measure}: expected 1 to {MAX_SESSIONS} sessions, found {self.sessions}")
        top = 1 if self.measure in _AT_MOST_ONE else 1000
        if not (0 < self.bound < top and round(self.bound, 6) == self.bound):
            raise GateError(
                f"{self.measure}: expected a bound between 0 and {top}, up to six decimals, found {self.bound!r}"
            )

    def __str__(self) -> str:
        bound = f"{self.bound:.6f}".rstrip("0").rstrip(".")
        return f"{self.measure} over {self.sessions} sessions {self.side} {bound}"


def parse_condition(text: str) -> Condition:
    """The condition that ``text`` says. Raises ``GateError`` where it says none.

    >>> str(parse_condition("auc over 20 sessions below 0.65"))
    'auc over 20 sessions below 0.65'
    """
    found = _TEXT.fullmatch(text)
    if not found:
        raise GateError(f"expected a condition as {_FORM}, found {text[:80]!r}; measures are {', '.join(MEASURES)}")
    measure, sessions, side, bound = found.groups()
    return Condition(measure, int(sessions), "below" if side == "below" else "above", float(bound))
