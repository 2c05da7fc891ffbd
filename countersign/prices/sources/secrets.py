"""Secrets: ``${NAME}`` in a setting stands for the environment variable ``NAME``, asked for when it is used.

Belongs here: filling them in, and taking them, and what of a URL may be one, out of what is said. Does not belong here:
the environment itself, which ``definitions`` hands in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import quote, unquote

from countersign.errors import ConfigError

_NAMED: Final = re.compile(r"\$\{([A-Za-z_]\w*)\}", re.ASCII)
_PRINTABLE: Final = re.compile(r"[!-~](?:[ -~]*[!-~])?", re.ASCII)
_LINK: Final = re.compile(r"::(?=[A-Za-z][\w.+-]*(?:://|::|$))")
"""Between the URLs of a chain of fsspec."""
_SHORTEST: Final = 4
"""Characters of a secret from which on it is taken out of messages: fewer would take words apart."""


def shown(url: str) -> str:
    """``url``, or each of a chain of them, without user, password, query and fragment.

    >>> shown("postgresql://me:pa/ss@host/db?sslmode=require"), shown("zip://a.csv::s3://me:key@bucket/a.zip")
    ('postgresql://host/db', 'zip://a.csv::s3://bucket/a.zip')
    """
    return "::".join(scheme + rest for scheme, _, rest, _ in map(_parts, _LINK.split(url)))


def hidden(url: str) -> set[str]:
    """What ``shown`` leaves out, and what of it a library may quote alone: the name, the password, a value."""
    left_out = {text for _, user, _, query in map(_parts, _LINK.split(url)) for text in (user, query)}
    pieces = {piece for text in left_out for piece in re.split(r"[:/?#@&=]", text)}
    return {spelled for text in left_out | pieces for spelled in (text, unquote(text))}


def is_clear(url: str) -> bool:
    """Whether no user or password in it has a sign that ends a host, by which others would take it apart elsewhere."""
    users = [user for _, user, _, _ in map(_parts, _LINK.split(url))]
    return all(re.fullmatch(r"[^/?#@]*@|[^/:@]*:\d+/.*|", user) for user in users)


def _parts(link: str) -> tuple[str, str, str, str]:
    """Scheme, user with password, host with path, and query with fragment.

    A password may hold the signs that end a host, so where there is a user or a port, all up to the last ``@`` is
    hidden; where that may be one of the query, all.
    """
    scheme, mark, rest = link.partition("://")
    if not mark:
        return link, "", "", ""
    place = rest.rfind("@") + 1 if re.match(r"[^/?#]*[:@]", rest) else 0
    if re.search("[?#]", rest[:place]):
        return f"{scheme}://", rest, "…", ""
    end = re.search("[?#]|$", rest[place:])
    cut = place + (end.start() if end else 0)
    return f"{scheme}://", rest[:place], rest[place:cut], rest[cut:]


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
