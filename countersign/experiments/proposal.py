"""Proposal: what a variant would change in ``pipeline.yaml``, as a diff for a person to review.

Belongs here: the text of the diff. Does not belong here: writing settings, which nothing of the experiments does.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from countersign.config import PipelineConfig
from countersign.errors import ConfigError
from countersign.settings import parse_settings


def settings_diff(text: str, changes: Mapping[str, Any]) -> str:
    """A diff of ``config/pipeline.yaml``, whose text is given, that sets ``changes`` in the section ``model``.

    Comments stay. Where the file is laid out in a way that cannot be changed line by line, what to set by hand.
    """
    path = Path("config/pipeline.yaml")
    before = parse_settings(text.encode(), path, PipelineConfig)
    wanted = before.model_copy(update={"model": before.model.model_copy(update=dict(changes))})
    after = _changed(text, changes)
    try:
        right = parse_settings(after.encode(), path, PipelineConfig) == wanted
    except ConfigError:
        right = False
    if not right:
        return "\n".join(["# To be set by hand in config/pipeline.yaml:", "model:", *_lines(changes, "  "), ""])
    old, new = (found.splitlines(keepends=True) for found in (text, after))
    return "".join(difflib.unified_diff(old, new, "a/config/pipeline.yaml", "b/config/pipeline.yaml"))


def in_yaml(value: Any) -> str:
    """A setting as ``pipeline.yaml`` has it.

    >>> in_yaml(100.0), in_yaml(("skew_63", "return_1"))
    ('100', '[skew_63, return_1]')
    """
    if isinstance(value, tuple | list):
        return f"[{', '.join(value)}]"
    return f"{value!r}".removesuffix(".0") if isinstance(value, float) else str(value)


def _lines(changes: Mapping[str, Any], indent: str) -> list[str]:
    return [f"{indent}{name}: {in_yaml(value)}" for name, value in changes.items()]


def _changed(text: str, changes: Mapping[str, Any]) -> str:
    lines = text.splitlines()
    start = next((n for n, line in enumerate(lines) if re.match(r"model:\s*(#.*)?$", line)), None)
    if start is None:
        return "\n".join([*lines, "", "model:", *_lines(changes, "  "), ""])
    end = next((n for n in range(start + 1, len(lines)) if re.match(r"[^\s#]", lines[n])), len(lines))
    while not lines[end - 1].strip():
        end -= 1
    missing = dict(changes)
    for number in range(start + 1, end):
        found = re.match(r"(\s+)(\w+):\s*([^#]*?)(\s+#.*)?$", lines[number])
        if not found or found[2] not in missing:
            continue
        line = f"{found[1]}{found[2]}: {in_yaml(missing.pop(found[2]))}"
        comment = (found[4] or "").lstrip()
        if comment:
            # In its column, where there is room.
            line = f"{line:<{len(lines[number]) - len(comment) - 2}}  {comment}"
        lines[number] = line
    indent = re.match(r"\s*", lines[start + 1])
    lines[end:end] = _lines(missing, indent[0] if indent and indent[0] else "  ")
    return "\n".join([*lines, ""])
