"""Reading: one measure of one session, judged. Does not belong here: any measure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from countersign.checks import CheckResult, Layer, Status


@dataclass(frozen=True)
class Reading:
    """``value`` in the measure's own unit; NaN where it could not be taken, which is never a pass.

    ``threshold`` is what it was judged by, in the same unit; NaN where it is shown without being judged.
    ``reference`` is what it is compared with: the baseline on the same days, the model's validation, or the upper bound
    that ``value`` has with confidence.
    ``observations`` counts the rows, runs or sessions behind it.
    """

    layer: Layer
    measure: str
    status: Status
    value: float
    sentence: str
    threshold: float = math.nan
    reference: float = math.nan
    observations: int = 0

    def __post_init__(self) -> None:
        if self.status == "pass" and not math.isfinite(self.value):
            raise ValueError(f"{self.measure}: expected a finite value for a pass, found {self.value}")

    def as_check(self) -> CheckResult:
        """The same as a verdict for Dagster; monitoring warns and never holds back a session."""
        numbers = {"value": self.value, "threshold": self.threshold, "reference": self.reference}
        return CheckResult(
            self.measure,
            self.status,
            self.sentence,
            numbers={**numbers, "observations": self.observations},
            layer=self.layer,
        )
