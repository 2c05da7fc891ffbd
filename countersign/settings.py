"""Settings: a YAML file of ``config/``, read and validated, with errors that a person can act on.

Belongs here: how any such file is read. Does not belong here: the settings themselves (``config``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from countersign.errors import ConfigError


class Section(BaseModel):
    """A group of settings: unknown keys are refused, numbers are finite, and nothing changes once it is read."""

    # Without the input, which may hold a password: messages quote values one by one, where they are none.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)


Settings = TypeVar("Settings", bound=Section)


def read_settings(path: Path, kind: type[Settings]) -> Settings:
    """The settings in the YAML file at ``path``.

    Raises ``ConfigError`` that names each wrong key, its value and what is allowed.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"expected settings at {path}: {error.strerror}. Name a project folder with config/{path.name} in "
            "COUNTERSIGN_HOME, or after countersign --home, or type it in one; countersign init FOLDER --prices FILE "
            "begins one"
        ) from error
    return parse_settings(data, path, kind)


def parse_settings(data: bytes, path: Path, kind: type[Settings]) -> Settings:
    """The settings in ``data``, the bytes of the file at ``path``; raises as ``read_settings`` does."""
    try:
        found = _Loader(data.decode()).get_single_data()
    except yaml.MarkedYAMLError as error:
        # Without the line itself, which may hold a password.
        mark = error.problem_mark
        where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError(f"{path}: expected YAML in UTF-8; correct it{where}: {error.problem}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: expected YAML in UTF-8; correct it there: {error}") from error
    if not isinstance(found, dict):
        raise ConfigError(
            f"{path}: expected settings as 'key: value', found {str(found or 'an empty file')[:80]}; "
            f"the settings are {_names(kind, ())}"
        )
    try:
        return kind.model_validate(found)
    except ValidationError as error:
        problems = "\n".join(f"  {_problem(kind, e)}" for e in error.errors())
        raise ConfigError(f"{path}: {error.error_count()} setting(s) to correct:\n{problems}") from error


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


def _problem(kind: type[Section], error: Any) -> str:
    what, place, value = error["type"], error["loc"], error["input"]
    key = ".".join(str(part) for part in _written(kind, place))
    if what == "value_error":
        # A rule of our own; its message names the settings.
        return str(error["msg"]).removeprefix("Value error, ")
    if what == "missing":
        return f"{key}: is required and is not set"
    if what == "extra_forbidden":
        # Its value is not repeated: it may be a password that has no place here.
        return f"{key}: there is no such setting; allowed are {_names(kind, place[:-1])}"
    if what == "union_tag_invalid":
        return f"{key}.kind: expected one of {error['ctx']['expected_tags']} (value {value.get('kind')!r})"
    quoted = "not shown, since it may hold a key" if _is_secret(kind, place) else repr(value)
    if what == "model_attributes_type":
        # Of several kinds, the settings of none.
        return f"{key}: expected a section with settings (value {quoted})"
    if what == "model_type":
        return f"{key}: expected a section with the settings {_names(kind, place)} (value {quoted})"
    expected = "expected a date as YYYY-MM-DD" if what.startswith("date") else error["msg"]
    return f"{key}: {expected} (value {quoted})"


def _is_secret(kind: type[Section], place: tuple[Any, ...]) -> bool:
    """Whether the setting at ``place`` is one that its section does not show, either (``repr=False``)."""
    section: Any = kind
    for part in place[:-1]:
        section = _step(section, part)
    setting = getattr(section, "model_fields", {}).get(place[-1])
    return setting is not None and not setting.repr


def _names(kind: type[Section], place: tuple[Any, ...]) -> str:
    """The names of the settings of the section at ``place``."""
    section: Any = kind
    for part in place:
        section = _step(section, part)
    return ", ".join(section.model_fields)


def _written(kind: type[Section], place: tuple[Any, ...]) -> list[Any]:
    """``place`` without what pydantic adds to it: which of several kinds of a section it is."""
    section: Any = kind
    found = []
    for part in place:
        if not _kinds(section):
            found.append(part)
        section = _step(section, part)
    return found


def _step(section: Any, part: Any) -> Any:
    """What stands at ``part`` of a section, or which of its kinds ``part`` names; None beyond the sections."""
    if fields := getattr(section, "model_fields", None):
        return fields[part].annotation if part in fields else None
    if isinstance(part, int):
        # One of a list.
        return next(iter(get_args(section)), None)
    return next((k for k in _kinds(section) if part in get_args(k.model_fields["kind"].annotation)), None)


def _kinds(section: Any) -> list[Any]:
    """The kinds of which a section is one; none where it has no kinds."""
    return [k for k in get_args(section) if "kind" in getattr(k, "model_fields", ())]
