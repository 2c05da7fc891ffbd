"""Thresholds: ``config/thresholds.yaml``, validated. What monitoring judges by; people own it and review it.

Belongs here: every threshold, its type, bounds and meaning, and whether its review is due. Does not belong here: the
measures (``monitoring``); settings of the pipeline (``config``). There are no defaults: each number stands in the file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field

from countersign.errors import ConfigError
from countersign.settings import Section, parse_settings

REVIEW_DAYS: Final = 90
"""Days after which a section's review is due again: a quarter."""

Share = Annotated[float, Field(ge=0, le=1)]
Window = Annotated[int, Field(ge=21, le=756)]
"""Sessions; under a month says little, and over three years nothing new."""
InARow = Annotated[int, Field(ge=1, le=21)]


class ReviewedSection(Section):
    """Thresholds that one owner answers for."""

    owner: Annotated[str, Field(max_length=30, pattern=r"^[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$")]
    """Who decides on them: a role, a team or a person."""
    reviewed: date
    """When the owner last looked at all of them."""


class DataThresholds(ReviewedSection):
    """Is what arrived complete, of the right shape and in time?"""

    max_staleness_minutes: Annotated[float, Field(ge=0)]
    """From the newest bar to the session's close, in minutes."""
    max_arrival_minutes: Annotated[float, Field(gt=0)]
    """From the session's close to the arrival of its bars, in minutes."""
    max_null_share: Share
    """Of all cells that arrived for a session."""
    max_column_null_share: Share
    """Of the cells of any one column."""
    max_rejected_share: Share
    """Of a session's rows; ``rejected_share`` in ``quality.yaml`` says where the session stops."""
    max_drop: Annotated[float, Field(ge=0, lt=1)]
    """Share by which rows or symbols may lie below the median of the ``window_sessions`` before."""
    window_sessions: Window


class DriftThresholds(ReviewedSection):
    """Does the world still look as it did in training?"""

    psi: Annotated[float, Field(gt=0)]
    """Population stability index above which the effect is large."""
    significance: Annotated[float, Field(gt=0, le=0.1)]
    """Benjamini-Hochberg-adjusted p below which it is not chance."""
    sessions_in_a_row: InARow
    """Sessions that both must hold before it is called drift."""
    window_sessions: Window
    """Sessions that are compared with the training data."""


class ModelThresholds(ReviewedSection):
    """Is the model as good as it was, on outcomes that are known?"""

    error_rise: Annotated[float, Field(gt=0)]
    """Rise of the loss relative to the baseline's on the same days, against the same ratio in validation."""
    loss_rise: Annotated[float, Field(gt=0)]
    """Rise of the loss itself against validation: wide, since in a hard market the baseline's rises as well."""
    sessions_in_a_row: InARow
    """Sessions that a rise must last."""
    window_sessions: Window
    """Matured sessions that losses, AUC and calibration are taken over."""
    calibration_level: Annotated[float, Field(ge=0.5, lt=1)]
    """Quantile of the calibration error of outcomes drawn from the model's own probabilities."""
    symbol_correlation: Annotated[float, Field(ge=0, lt=1)]
    """Correlation of the symbols' returns on one day that those draws have."""
    max_brier_excess: Annotated[float, Field(ge=0)]
    """Brier loss over the baseline's on the same rows, as a share of it."""
    max_auc_drop: Annotated[float, Field(ge=0, lt=0.5)]
    """AUC below validation."""
    min_auc: Annotated[float, Field(ge=0.5, lt=1)]
    """The least AUC, whatever validation was; 0.5 is chance."""
    auc_standard_errors: Annotated[float, Field(ge=0, le=10)]
    """Standard errors by which the AUC must lie below what these two allow."""
    min_each: Annotated[int, Field(ge=1)]
    """Bad weeks, and fine ones, without which AUC, calibration and Brier loss are not judged."""


class SystemThresholds(ReviewedSection):
    """Does the pipeline run, and fast enough?"""

    max_p95_seconds: Annotated[float, Field(gt=0)]
    """Duration that 95 in 100 runs stay under, in seconds."""
    max_error_rate: Share
    """Share of runs that fail."""
    max_request_p95_ms: Annotated[float, Field(gt=0)]
    """Duration that 95 in 100 answers of the server stay under, in milliseconds."""
    max_request_error_rate: Share
    """Share of requests that the server failed or shed."""
    max_unscored_hours: Annotated[float, Field(gt=0)]
    """From a session's close to its scores, in hours; for a live source."""


class BusinessThresholds(ReviewedSection):
    """Did what the model decides, and what came of it, change?"""

    min_approval_change_points: Annotated[float, Field(ge=0, le=100)]
    """Change of the approval rate from which it is flagged, in percentage points, either way."""
    min_bad_change_points: Annotated[float, Field(ge=0, le=100)]
    """Change of the bad rate of approved symbols from which it is flagged, in percentage points, either way."""
    min_z: Annotated[float, Field(gt=0)]
    """Two-proportion z that the change must reach as well."""
    window_sessions: Window
    """Sessions that a rate is taken over."""
    quarter_sessions: Window
    """Sessions before those, that it is compared with."""
    min_rows: Annotated[int, Field(ge=1)]
    """Rows on either side without which rates are not compared."""
    design_effect: Annotated[float, Field(ge=1)]
    """Rows that are worth one independent row: symbols move together, and horizons overlap."""


class Thresholds(Section):
    """All of ``config/thresholds.yaml``."""

    data: DataThresholds
    drift: DriftThresholds
    model: ModelThresholds
    system: SystemThresholds
    business: BusinessThresholds


def load_thresholds(home: Path) -> tuple[Thresholds, str]:
    """``config/thresholds.yaml`` of the project folder ``home``, and the SHA-256 of the file's bytes.

    Raises ``ConfigError`` where there is none, and as ``parse_settings`` does.
    """
    path = home / "config" / "thresholds.yaml"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"expected thresholds at {path}: {error.strerror}. Copy config/thresholds.yaml of the Countersign checkout "
            "there, look at each number, and write who owns each section and when it was reviewed"
        ) from error
    return parse_settings(data, path, Thresholds), hashlib.sha256(data).hexdigest()


@dataclass(frozen=True)
class Threshold:
    """One number of the file, and who answers for it."""

    name: str
    value: float
    owner: str
    reviewed: date


def each_threshold(thresholds: Thresholds) -> Iterator[Threshold]:
    """Every threshold, in the order of the file."""
    for name, section in _sections(thresholds):
        for key in type(section).model_fields:
            if key not in ReviewedSection.model_fields:
                yield Threshold(f"{name}.{key}", getattr(section, key), section.owner, section.reviewed)


def reviews_due(thresholds: Thresholds, today: date) -> list[str]:
    """A sentence for each section whose last review is over ``REVIEW_DAYS`` old, or lies in the future."""
    due = []
    for name, section in _sections(thresholds):
        age = (today - section.reviewed).days
        if age > REVIEW_DAYS:
            due.append(
                f"{name}: reviewed {age} days ago, on {section.reviewed} (at least every {REVIEW_DAYS} days). "
                f"{section.owner}: look at its numbers, then write the date of the review"
            )
        elif age < 0:
            due.append(
                f"{name}: the review of {section.reviewed} lies in the future. {section.owner}: correct the date"
            )
    return due


def thresholds_dict(thresholds: Thresholds, digest: str, today: date) -> dict[str, Any]:
    """What ``countersign thresholds check`` prints, as JSON."""
    return {
        "sha256": digest,
        "thresholds": [asdict(threshold) for threshold in each_threshold(thresholds)],
        "needs_a_person": reviews_due(thresholds, today),
    }


def thresholds_text(thresholds: Thresholds, digest: str, today: date) -> str:
    """The same as a table."""
    head = ("threshold", "value", "owner", "reviewed")
    rows = [(t.name, f"{t.value:g}", t.owner, t.reviewed.isoformat()) for t in each_threshold(thresholds)]
    name, value, owner = (max(len(row[i]) for row in (head, *rows)) for i in range(3))
    table = [f"{row[0]:<{name}}  {row[1]:>{value}}  {row[2]:<{owner}}  {row[3]}" for row in (head, *rows)]
    due = reviews_due(thresholds, today)
    return "\n".join(
        [
            f"config/thresholds.yaml is valid (SHA-256 {digest[:12]})",
            "",
            table[0],
            "-" * max(len(line) for line in table),
            *table[1:],
            "",
            "Needs a person" if due else "Nothing needs a person.",
            *(f"  - {sentence}" for sentence in due),
        ]
    )


def _sections(thresholds: Thresholds) -> Iterator[tuple[str, ReviewedSection]]:
    for name in type(thresholds).model_fields:
        yield name, getattr(thresholds, name)
