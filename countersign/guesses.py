"""Guesses: what bars say of the settings that fit them, for a person to look through.

Belongs here: a setting guessed from bars, with its reason. Does not belong here: reading bars, writing settings
(``steps.init``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from countersign.errors import ConfigError
from countersign.features import MIN_HISTORY
from countersign.model.targets import HORIZON
from countersign.model.training import MIN_ROWS
from countersign.prices.sources.shapes import Arrived
from countersign.storage.codec import json_bytes

if TYPE_CHECKING:
    import pandas as pd

_FIRST: Final = ("XNYS", "XLON", "XETR", "XPAR", "XAMS", "XSWX", "XMIL", "XTKS", "XHKG", "XTSE", "XASX", "24/5", "24/7")
"""Calendars that are named before others which fit as well."""
CALENDAR_YEARS: Final = 3
"""Of the newest bars, by which calendars are compared: each has its own holidays in a year or two."""
DAILY: Final = 21
"""Sessions that become daily ones, so that there is something to see: a month."""
MOST_NAMED: Final = 20
"""Symbols that are named one by one; of more, all that the source has are scored."""
_RATIOS: Final = np.log([2.0, 3.0, 4.0, 5.0, 10.0])


def in_yaml(text: str) -> str:
    """``text`` as a value of YAML.

    >>> in_yaml("prices.csv"), in_yaml("my prices.csv")
    ('prices.csv', '"my prices.csv"')
    """
    return text if re.fullmatch(r"[\w./^=-]+", text) else json_bytes(text).decode()


@dataclass(frozen=True)
class Guess:
    """One setting, what it probably has to be, and why."""

    setting: str
    value: str
    why: str


@dataclass(frozen=True)
class Fit:
    """How the days of bars and the sessions of a calendar differ, in days that one has and the other has not."""

    code: str
    off: int
    """Days with bars that are no session."""
    missing: int
    """Sessions without any bar."""

    @property
    def days(self) -> int:
        return self.off + self.missing


def compared_calendars(
    days: np.ndarray, codes: list[str], sessions_of: Callable[[str, str, str], np.ndarray | None]
) -> list[Fit]:
    """The calendars ``codes``, those that fit the ``days`` (datetime64[D], ascending) best first.

    ``sessions_of`` gives the sessions of a code from one day to another, or None where it does not know them. Where one
    of the large exchanges fits to the day, the others are not looked at.
    """
    late = days[days > days[-1] - np.timedelta64(366 * CALENDAR_YEARS, "D")]
    fits: list[Fit] = []
    for group in (_FIRST, sorted(set(codes) - set(_FIRST))):
        for code in group:
            sessions = sessions_of(code, str(late[0]), str(late[-1]))
            if sessions is not None:
                off, missing = np.setdiff1d(late, sessions), np.setdiff1d(sessions, late)
                fits.append(Fit(code, len(off), len(missing)))
        if any(not fit.days for fit in fits):
            break
    return sorted(fits, key=lambda fit: fit.days)


def fit_well(fits: list[Fit], days: int) -> bool:
    """Whether the best of ``fits`` differs from the bars on one of their ``days`` in twenty at the most."""
    return fits[0].days <= max(days // 20, 1)


def calendar_guess(fits: list[Fit], days: int) -> Guess:
    """The calendar that fits best. Raises ``ConfigError`` where none does."""
    best, *others = fits
    if not fit_well(fits, days):
        raise ConfigError(
            f"calendar: expected days of bars as an exchange has sessions, found none that fits ({best.code} comes "
            f"closest: {best.off} days with bars are no session, {best.missing} sessions have none). "
            "Name it: --calendar CODE"
        )
    same = [fit.code for fit in others if fit.days == best.days]
    why = f"{best.off} days with bars are no session of it, {best.missing} sessions have none"
    if same:
        return Guess("calendar", best.code, f"{why}; {', '.join(same[:4])} fit{'s' if len(same) == 1 else ''} as well")
    return Guess("calendar", best.code, why + (f"; next {others[0].code}, {others[0].days} days" if others else ""))


def symbols_guess(bars: pd.DataFrame) -> Guess:
    """Those that have a bar; none are named where they are many."""
    names = sorted(bars["symbol"].unique().tolist())
    if len(names) > MOST_NAMED:
        return Guess("symbols", "", f"all that the source has, {len(names)} now; name them to score no others")
    last = bars.groupby("symbol")["date"].max()
    ended = [f"{name} ({last[name]})" for name in names if last[name] < bars["date"].max()]
    return Guess(
        "symbols",
        f"[{', '.join(map(in_yaml, names))}]",
        "all that have a bar" + (f"; ended: {', '.join(ended)}" if ended else ""),
    )


def adjustment_guess(bars: pd.DataFrame, arrived: Arrived) -> Guess:
    """``both`` where an adjusted close is there; else by whether any open jumps as in a split."""
    if "adj_close" in arrived.columns:
        return Guess("source.adjustment", "both", "an adjusted close is there")
    ordered = bars.sort_values(["symbol", "date"], kind="stable")
    opened = ordered["open"].fillna(ordered["close"]).to_numpy(dtype=float)
    close, symbol = ordered["close"].to_numpy(dtype=float), ordered["symbol"].to_numpy()
    with np.errstate(invalid="ignore", divide="ignore"):
        jump = np.abs(np.log(opened[1:] / close[:-1]))
    jump = jump[(symbol[1:] == symbol[:-1]) & np.isfinite(jump)]
    found = int((np.abs(jump[:, None] - _RATIOS) < 0.03).any(axis=1).sum())
    if found:
        return Guess("source.adjustment", "raw", f"{found} opens jump as in a split, and no adjusted close is there")
    return Guess(
        "source.adjustment", "splits", "no open jumps as in a split; write full if dividends are taken out, too"
    )


def span_guesses(sessions: np.ndarray, days: np.ndarray, symbols: int) -> list[Guess]:
    """When the history begins, the first and last daily session, and the least training.

    ``sessions`` are the calendar's, ``days`` those of them with bars (both datetime64[D], ascending). Raises
    ``ConfigError`` where these are too few to train on.
    """
    # The first fold of the walk-forward has the rows of these sessions alone, and a quarter is left to score.
    shortest = max(126, math.ceil(MIN_ROWS / symbols) + MIN_HISTORY + HORIZON + 5)
    least = shortest + 63
    if len(days) <= least + 1:
        raise ConfigError(
            f"expected more than {least + 1} sessions with bars, which training takes with a panel of {symbols}, found "
            f"{len(days)} ({days[0]} … {days[-1]}). Bring a longer history"
        )
    daily = min(DAILY, len(days) - least - 1)
    history = len(days) - daily
    training = 756 if history >= 4 * 252 else max(shortest, history // 2)
    missing = np.setdiff1d(sessions[(sessions >= days[-daily]) & (sessions <= days[-1])], days)
    found = [
        Guess("history.start", str(days[0]), "the first bar"),
        Guess(
            "first_session", str(days[-daily]), f"the last {daily} sessions are run one by one; before them, history"
        ),
        Guess("last_session", str(days[-1]), "the last bar; leave it out once new ones come, and set source.live"),
        Guess(
            "model.min_training_sessions",
            str(training),
            f"of {history} sessions of history; the rest measure the model" if training < 756 else "three years",
        ),
    ]
    if len(missing):
        found.append(Guess("missing_sessions", f"[{', '.join(map(str, missing))}]", "of these there is no bar at all"))
    return found
