"""Problems: every answer that is not a success, in the form of RFC 9457.

Belongs here: the form, and naming the field that is wrong. Does not belong here: what is wrong, which is said where it
is found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import orjson
from pydantic import ValidationError

MEDIA_TYPE: Final = "application/problem+json"
_MOST: Final = 10
"""Fields that a problem names; the first ones are enough to correct the rest."""
_WORDS: Final = {
    # The only pattern is that of a day.
    "string_pattern_mismatch": "expected a date such as 2008-09-30",
    "extra_forbidden": "expected no field of this name",
    "missing": "expected this field, found none",
}


class Problem(Exception):  # noqa: N818 - the word of RFC 9457
    """Ends a request. ``fields`` are pairs of the field's place, such as ``items.0.symbol``, and what is wrong with it.

    Nothing of it quotes what was sent: a client's numbers do not get into anybody's log.
    """

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        fields: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.fields = status, detail, fields
        self.headers = headers or {}

    @property
    def body(self) -> bytes:
        """The problem as JSON."""
        found: dict[str, Any] = {
            "type": "about:blank",
            "title": self.status.phrase,
            "status": int(self.status),
            "detail": self.detail,
        }
        if self.fields:
            found["errors"] = [{"field": field, "detail": detail} for field, detail in self.fields[:_MOST]]
        return orjson.dumps(found)


def unprocessable(field: str, detail: str) -> Problem:
    """One field of the request cannot be used."""
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"{field}: {detail}", [(field, detail)])


def of_validation(error: ValidationError) -> Problem:
    """What pydantic found wrong with a body: bytes that are no JSON are a bad request, all else names its fields."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    if found[0]["type"] == "json_invalid":
        return Problem(HTTPStatus.BAD_REQUEST, f"body: {found[0]['msg']}", [("body", found[0]["msg"])])
    return unprocessable_fields(list(_each(found)))


def unprocessable_fields(fields: Sequence[tuple[str, str]]) -> Problem:
    """Several fields of the request cannot be used."""
    more = f", and {len(fields) - 1} more" if len(fields) > 1 else ""
    field, detail = fields[0]
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"{field}: {detail}{more}", fields)


def _each(errors: Sequence[Any]) -> Iterator[tuple[str, str]]:
    for error in errors[:_MOST]:
        place = ".".join(str(part) for part in error["loc"]) or "body"
        yield place, _WORDS.get(error["type"], error["msg"].removeprefix("Value error, "))
