"""Secrets: ``${NAME}`` in a setting stands for the environment variable ``NAME``, asked for when it is used.

Belongs here: filling them in, and taking them out of what is said. Does not belong here: the environment itself, which
``definitions`` hands in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import quote

from countersign.errors import ConfigError

_NAMED: Final = re.compile(r"\$\{([A-Za-z_]\w*)\}", re.ASCII)
_PRINTABLE: Final = re.compile(r"[!-~](?:[ -~]*[!-~])?", re.ASCII)
_SHORTEST: Final = 4
"""Characters of a secret from which on it is taken out of messages: fewer would take words apart."""


class Secrets:
    """The environment's values that one read has used."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._values: set[str] = set()

    def fill(self, text: str, setting: str, encode: Callable[[str], str] = str) -> str:
        """``text`` with the values of the variables that it names, each through ``encode``.

        Raises ``ConfigError`` that names ``setting`` and the variable, never a value.
        """

        def value(match: re.Match[str]) -> str:
            found = self._environment.get(match[1], "").strip()
            if not found:
                raise ConfigError(
                    f"{setting}: expected the environment variable {match[1]}, which is not set or empty. Set it where "
                    "the runs of Dagster are started (daemon and code server), then run again"
                )
            if not _PRINTABLE.fullmatch(found):
                raise ConfigError(
                    f"{setting}: expected printable ASCII in the environment variable {match[1]}, found other "
                    "characters, such as a line break. Correct it, then run again"
                )
            self._values.add(found)
            return encode(found)

        return _NAMED.sub(value, text)

    def add(self, value: str) -> None:
        """Count ``value``, which stands in a setting itself, among them."""
        self._values.add(value)

    def hide(self, text: str) -> str:
        """``text`` without the values, as they are and as URLs and JSON spell them."""
        for value in sorted(self._values, key=len, reverse=True):
            if len(value) >= _SHORTEST:
                for spelled in (value, quote(value, safe=""), quote(value), value.replace("/", "\\/")):
                    text = text.replace(spelled, "…")
        return text
