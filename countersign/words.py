"""Words: what sentences for people share. Belongs here: counting, listing. Does not belong here: any sentence."""

from __future__ import annotations

from collections.abc import Sequence


def counted(number: int, what: str) -> str:
    """``number`` of a thing, whose plural has an s.

    >>> counted(1, "row"), counted(20, "row")
    ('1 row', '20 rows')
    """
    return f"{number} {what}{'' if number == 1 else 's'}"


def as_sentence(text: str) -> str:
    """``text`` with a capital and a full stop.

    >>> as_sentence("no cell missing")
    'No cell missing.'
    """
    return f"{text[:1].upper()}{text[1:]}."


def listed(found: Sequence[object], limit: int = 10) -> str:
    """The first ``limit`` of them, and how many more there are.

    >>> listed(["AAPL", "IBM", "MSFT"], 2)
    'AAPL, IBM and 1 more'
    """
    more = f" and {len(found) - limit} more" if len(found) > limit else ""
    return ", ".join(str(one) for one in found[:limit]) + more


def spanned(sessions: Sequence[str]) -> str:
    """Sessions in a row, by how many they are, the first and the last.

    >>> spanned(["2008-09-02"]), spanned(["2008-09-02", "2008-09-03", "2008-09-04"])
    ('session 2008-09-02', '3 sessions (2008-09-02 … 2008-09-04)')
    """
    if len(sessions) == 1:
        return f"session {sessions[0]}"
    return f"{len(sessions)} sessions ({sessions[0]} … {sessions[-1]})"
