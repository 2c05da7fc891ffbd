"""A check for Schemathesis, which loads this file by itself: no answer that is a success has an unknown value."""

from __future__ import annotations

import json
from typing import Any

import schemathesis
from schemathesis import Case, CheckContext, Response


@schemathesis.check
def no_null_and_no_nan(_: CheckContext, response: Response, case: Case[Any]) -> None:
    """There is no null at any depth, and nothing that is no number in JSON; the description alone names null."""
    is_json = response.headers["content-type"] == ["application/json"]
    if response.status_code == 200 and is_json and case.path != "/openapi.json":
        assert not _is_unknown(json.loads(response.content, parse_constant=lambda _: None)), "null or NaN in a 200"


def _is_unknown(value: Any) -> bool:
    if isinstance(value, dict | list):
        return any(map(_is_unknown, value.values() if isinstance(value, dict) else value))
    return value is None
