"""Configuration: ``config/pipeline.yaml``, validated.

Belongs here: every setting, its type, bounds and meaning. Does not belong here: the environment, which
``definitions`` reads.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from countersign.errors import ConfigError


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SourceConfig(_Section):
    """Where bars come from."""

    path: str
    """A CSV or Parquet file, ``.gz`` too: a path from the project folder, or an fsspec URL."""
    live: bool = False
    """Whether the source gets a new session every day; the schedule runs only then."""


class HistoryConfig(_Section):
    """What is loaded in bulk, before the first daily session."""

    start: date
    """First date of the history."""


class QualityConfig(_Section):
    """When a session is refused."""

    max_rejected_share: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Share of a session's rows that may be rejected."""
    max_missing_share: Annotated[float, Field(ge=0, le=1)] = 0.2
    """Share of the symbols of the session before that may be missing."""


class ModelConfig(_Section):
    """How the model is trained. Changing a number here changes the next model, never the one in service."""

    ridge_penalty: Annotated[float, Field(gt=0)] = 10.0
    logistic_penalty: Annotated[float, Field(gt=0)] = 1.0
    cutoff: Annotated[float, Field(gt=0, lt=1)] = 0.20
    """Bad-week probability from which a symbol is held."""
    min_training_sessions: Annotated[int, Field(ge=126)] = 756
    """Sessions before the first fold of the walk-forward evaluation (756: three years)."""
    fold_sessions: Annotated[int, Field(ge=21)] = 63
    """Sessions scored by one fold's model before the next is trained."""
    bootstrap_replications: Annotated[int, Field(ge=100)] = 500
    bootstrap_block_sessions: Annotated[int, Field(ge=5)] = 21
    """Sessions that the bootstrap keeps together; at least the horizon, since neighbouring outcomes overlap."""
    seed: int = 20080902


class ArtifactConfig(_Section):
    """Where artifacts lie."""

    root: str = "artifacts"
    """A folder (from the project folder) or an fsspec URL."""
    format: Literal["json", "parquet"] = "json"
    """Of tables by session. Parquet pays from about a thousand symbols."""

    @field_validator("root")
    @classmethod
    def _holds_no_secret(cls, root: str) -> str:
        # The root is shown wherever an artifact is, so what it holds is no secret.
        if "@" in urlsplit(root).netloc:
            raise ValueError("artifacts.root: expected a URL without user or password; set these in the environment")
        return root


class ScheduleConfig(_Section):
    """When the daily run starts."""

    time: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] = "18:00"
    """HH:MM in the exchange's time zone, some time after the close."""


class PipelineConfig(_Section):
    """All of ``config/pipeline.yaml``."""

    calendar: str = "XNYS"
    """Code of exchange_calendars; ``24/7`` for markets that never close."""
    symbols: Annotated[list[str], Field(min_length=1)] | None = None
    """The symbols to score; every symbol of the source where left out."""
    first_session: date
    """First daily session; everything before it is history."""
    history: HistoryConfig
    source: SourceConfig
    quality: QualityConfig = QualityConfig()
    model: ModelConfig = ModelConfig()
    artifacts: ArtifactConfig = ArtifactConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    executor: Literal["in_process", "multiprocess"] = "in_process"
    """How the steps of a run are executed; a process for each step costs seconds a run."""

    @model_validator(mode="after")
    def _history_comes_first(self) -> PipelineConfig:
        if self.history.start >= self.first_session:
            raise ValueError(
                f"history.start must lie before first_session ({self.first_session}) (value {self.history.start})"
            )
        return self


class _Loader(yaml.BaseLoader):
    """All values as text, which the settings' types then read; a key that stands twice is an error.

    YAML itself would make 18:00 the number 1080, the symbol ON a truth value and 0700 the number 448.
    """

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key) for key, _ in node.value]
        twice = [key for number, key in enumerate(keys) if key in keys[:number]]
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"{twice[0]} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def load_config(home: Path) -> PipelineConfig:
    """Read ``config/pipeline.yaml`` of the project folder ``home``.

    Raises ``ConfigError`` that names the key, the value and what is allowed.
    """
    path = home / "config" / "pipeline.yaml"
    try:
        found = _Loader(path.read_text(encoding="utf-8")).get_single_data()
    except OSError as error:
        raise ConfigError(
            f"expected a configuration at {path}: {error.strerror}. Set COUNTERSIGN_HOME to a project folder with "
            "config/pipeline.yaml, or unset it to use the bundled project"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: expected YAML in UTF-8; correct it there: {error}") from error
    if not isinstance(found, dict):
        raise ConfigError(
            f"{path}: expected settings as 'key: value', found {str(found or 'an empty file')[:80]}; "
            f"the settings are {_settings(())}"
        )
    try:
        return PipelineConfig.model_validate(found)
    except ValidationError as error:
        problems = "\n".join(f"  {_problem(e)}" for e in error.errors())
        raise ConfigError(f"{path}: {error.error_count()} setting(s) to correct:\n{problems}") from error


def _problem(error: Any) -> str:
    kind, place, value = error["type"], error["loc"], error["input"]
    key = ".".join(str(part) for part in place)
    if kind == "value_error":
        # Of several settings together; the message names them.
        return str(error["msg"]).removeprefix("Value error, ")
    if kind == "missing":
        return f"{key}: is required and is not set"
    if kind == "extra_forbidden":
        return f"{key}: there is no such setting (value {value!r}); allowed are {_settings(place[:-1])}"
    if kind == "model_type":
        return f"{key}: expected a section with the settings {_settings(place)} (value {value!r})"
    expected = "expected a date as YYYY-MM-DD" if kind.startswith("date") else error["msg"]
    return f"{key}: {expected} (value {value!r})"


def _settings(place: tuple[Any, ...]) -> str:
    """The names of the settings of the section at ``place``."""
    section: Any = PipelineConfig
    for part in place:
        section = section.model_fields[part].annotation
    return ", ".join(section.model_fields)
