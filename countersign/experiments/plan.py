"""Plan: an experiment file of ``config/experiments``, validated.

Belongs here: what can be varied, its bounds. Does not belong here: trying it (``trial``).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, field_validator, model_validator

from countersign.config import Cutoff, FeaturesOff, ModelConfig, Penalty, Window
from countersign.errors import ConfigError
from countersign.model.targets import HORIZON
from countersign.settings import Section, parse_settings

CONFIGURED: Final = "as configured"
"""The name of what the variants are held against: the section ``model`` of ``pipeline.yaml`` as it stands."""

LONGEST_HORIZON: Final = 21
"""Sessions: a month. Purging takes as many before each fold."""

DecidedBy = Literal["qlike", "brier_loss"]


class Variant(Section):
    """Settings of ``model`` in ``pipeline.yaml`` that differ from what is configured, and the horizon."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._+-]{0,22}[A-Za-z0-9]$|^[A-Za-z0-9]$")]
    ridge_penalty: Penalty = 10.0
    logistic_penalty: Penalty = 1.0
    cutoff: Cutoff = 0.20
    window_sessions: Window = "all"
    features_off: FeaturesOff = ()
    horizon_sessions: Annotated[int, Field(ge=1, le=LONGEST_HORIZON)] = HORIZON
    """Sessions after D that a forecast of D is about. No setting of the pipeline: it is what a score means."""

    @property
    def changes(self) -> dict[str, Any]:
        """The settings of ``model`` that the file gives; the defaults of the others are never used."""
        return {name: getattr(self, name) for name in ModelConfig.model_fields if name in self.model_fields_set}

    def applied_to(self, configured: ModelConfig) -> ModelConfig:
        return configured.model_copy(update=self.changes)

    @model_validator(mode="after")
    def _varies_something(self) -> Variant:
        if not self.model_fields_set - {"name"}:
            others = ", ".join(name for name in type(self).model_fields if name != "name")
            raise ValueError(f"variants: expected {self.name} to vary one of {others}")
        return self


class Experiment(Section):
    """All of one experiment file."""

    question: str
    """What it is to answer, in a sentence."""
    decide_by: DecidedBy
    """The loss that decides, named before looking: ``qlike`` of volatility, or ``brier_loss`` of bad weeks."""
    variants: Annotated[tuple[Variant, ...], Field(min_length=1, max_length=100)]

    @field_validator("variants")
    @classmethod
    def _names_are_distinct(cls, variants: tuple[Variant, ...]) -> tuple[Variant, ...]:
        names = [variant.name for variant in variants]
        twice = sorted({name for name in names if names.count(name) > 1} | ({CONFIGURED} & set(names)))
        if twice:
            raise ValueError(f"variants: expected names that differ, and none of {CONFIGURED!r} (value {twice[0]!r})")
        return variants


def load_experiments(paths: Sequence[Path]) -> dict[str, Experiment]:
    """The experiments in ``paths`` by the files' names.

    Raises ``ConfigError`` that names file, place and what is allowed.
    """
    found: dict[str, Experiment] = {}
    for path in paths:
        if path.stem in found:
            raise ConfigError(
                f"{path}: expected experiment files of different names, found {path.stem} twice: rename one"
            )
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ConfigError(
                f"expected an experiment file at {path}: {error.strerror}. Examples: config/experiments"
            ) from error
        found[path.stem] = parse_settings(data, path, Experiment)
    return found
