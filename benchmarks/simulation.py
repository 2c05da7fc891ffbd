"""Simulation: markets whose law is known, so that an alarm can be called false.

Belongs here: panels drawn from a seeded process. Does not belong here: what is asked of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from countersign.prices.panel import Panel

_BURN_IN: Final = 300
"""Sessions drawn first and thrown away, so that variances have left where they started."""


@dataclass(frozen=True)
class Market:
    """GARCH(1,1) for each symbol, shocks correlated: variance = ω + ``shock``·r² + ``decay``·variance, at 2 % a day."""

    symbols: int = 5
    correlation: float = 0.3
    shock: float = 0.08
    decay: float = 0.90

    def panel(self, sessions: int, rng: np.random.Generator) -> Panel:
        """Returns, daily variances as an estimate from the day's range would have them, and volumes."""
        count = sessions + _BURN_IN
        normal = self._correlated(count, rng)
        mean = 0.02**2
        variance = np.empty((count + 1, self.symbols))
        variance[0] = mean
        for day in range(count):
            variance[day + 1] = (
                mean * (1 - self.shock - self.decay) + (self.shock * normal[day] ** 2 + self.decay) * variance[day]
            )
        returns = normal * np.sqrt(variance[:-1])
        # An estimate from open, high, low and close is worth about seven squared returns: relative variance 2/7.
        estimate = variance[:-1] * rng.gamma(3.5, 1 / 3.5, returns.shape)
        volume = np.empty_like(returns)
        level = np.zeros(self.symbols)
        for day, news in enumerate(self._correlated(count, rng)):
            level = 0.7 * level + 0.25 * news
            volume[day] = np.exp(14 + level)
        return Panel.from_arrays(returns[_BURN_IN:], variance=estimate[_BURN_IN:], volume=volume[_BURN_IN:])

    def _correlated(self, count: int, rng: np.random.Generator) -> np.ndarray:
        common, own = rng.standard_normal((count, 1)), rng.standard_normal((count, self.symbols))
        return np.sqrt(self.correlation) * common + np.sqrt(1 - self.correlation) * own
