"""Words: what sentences for people share. Belongs here: counting, listing. Does not belong here: any sentence."""

from __future__ import annotations

from collections.abc import Sequence


def counted(number: int, what: str) -> str:
    """``number`` of a thing, whose plural has an s.

    >>> counted(1, "row"), counted(20, "row")
    ('1 row', '20 rows')
    """
    return f"{number} {what}{'' if number == 1 else 's'}"


def listed(found: Sequence[object], limit: int = 10) -> str:
    """The first ``limit`` of them, and how many more there are.

    >>> listed(["AAPL", "IBM", "MSFT"], 2)
    'AAPL, IBM and 1 more'
    """
    more = f" and {len(found) - limit} more" if len(found) > limit else ""
    return ", ".join(str(one) for one in found[:limit]) + more
