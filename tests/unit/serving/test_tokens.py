"""Tokens: what is kept of them, and who is let in."""

from __future__ import annotations

from base64 import b64encode
from datetime import date
from pathlib import Path

import orjson
import pytest

from countersign.errors import ConfigError
from countersign.serving.tokens import Access, add_token, load_tokens, revoke_token, tokens_file

DAY = date(2026, 11, 25)


def lets_in(path: Path, token: str) -> bool:
    return Access(path, None).allows(f"Bearer {token}".encode())


def test_of_a_token_the_file_has_a_salted_hash_alone_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tokens_file(tmp_path)
    token = add_token(path, "desk", DAY)
    assert path.stat().st_mode & 0o777 == 0o600
    secret = token.removeprefix("cs_").partition("_")[2]
    assert len(secret) == 43, "256 bits in base 64"
    assert secret not in path.read_text()
    other = add_token(path, "risk", DAY)
    assert len({one.salt for one in load_tokens(path)}) == 2
    assert lets_in(path, token)
    assert lets_in(path, other)


def test_only_a_whole_token_of_the_file_is_let_in_until_it_is_revoked(tmp_path: Path) -> None:
    path = tokens_file(tmp_path)
    token, other = add_token(path, "desk", DAY), add_token(path, "risk", DAY)
    mixed = token[:12] + other[12:]
    for wrong in ("", token[:-1], token + "x", mixed, token.upper(), "cs_"):
        assert not lets_in(path, wrong)
    access = Access(path, None)
    assert not any(access.allows(header) for header in (b"", token.encode(), f"Basic {token}".encode(), b"Bearer"))
    revoke_token(path, "desk")
    assert not lets_in(path, token)
    assert lets_in(path, other)
    with pytest.raises(ConfigError, match="expected the name of a token \\(risk\\), found desk"):
        revoke_token(path, "desk")
    revoke_token(path, "risk")
    assert Access(path, None).required, "a server that is started again is not open to all"


def test_a_browser_may_send_the_token_as_its_password(tmp_path: Path) -> None:
    path = tokens_file(tmp_path)
    token = add_token(path, "desk", DAY)
    access = Access(path, f"with:a:colon:{'a' * 32}")

    def basic(text: str) -> bytes:
        return b"Basic " + b64encode(text.encode())

    for user in ("", "anybody"):
        assert access.allows(basic(f"{user}:{token}"))
        assert access.allows(basic(f"{user}:with:a:colon:{'a' * 32}"))
    for wrong in (token, f"{token}:", f"desk:{token}x", ":", ""):
        assert not access.allows(basic(wrong))
    for header in (b"Basic", b"Basic \xff", b"Basic " + token.encode(), b"Bearer " + b64encode(f":{token}".encode())):
        assert not access.allows(header)


def test_a_file_that_others_can_read_or_that_is_damaged_lets_nobody_in(tmp_path: Path) -> None:
    path = tokens_file(tmp_path)
    token = add_token(path, "desk", DAY)
    path.chmod(0o644)
    access = Access(path, None)
    assert access.required
    assert not access.allows(f"Bearer {token}".encode())
    assert "found 0644: chmod 600" in access.trouble
    path.chmod(0o600)
    access.refresh()
    assert access.allows(f"Bearer {token}".encode())
    (entry,) = orjson.loads(path.read_bytes())["tokens"]
    damages = [{"id": 7}, {"name": None}, {"created": "never"}, {"salt": "no hex"}, {"sha256": "é" * 64}]
    for damaged in (b"{}", b'{"tokens": [', *(orjson.dumps({"tokens": [entry | one]}) for one in damages)):
        path.write_bytes(damaged)
        access.refresh()
        assert access.required
        assert not access.allows(f"Bearer {token}".encode())
        assert "as countersign token add writes them" in access.trouble


def test_tokens_of_the_environment_are_let_in_beside_those_of_the_file(tmp_path: Path) -> None:
    path = tokens_file(tmp_path)
    kept = add_token(path, "desk", DAY)
    access = Access(path, f"{'a' * 32}, {'b' * 40}")
    for token in (kept, "a" * 32, "b" * 40):
        assert access.allows(f"Bearer {token}".encode())
    assert not access.allows(b"Bearer " + b"c" * 32)
    with pytest.raises(ConfigError, match="at least 32 characters") as caught:
        Access(path, "short-and-secret")
    assert "short-and-secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "two words", "../x", "a" * 65, "desk"])
def test_a_name_that_is_none_or_is_taken_makes_no_token(name: str, tmp_path: Path) -> None:
    path = tokens_file(tmp_path)
    add_token(path, "desk", DAY)
    before = path.read_bytes()
    with pytest.raises(ConfigError):
        add_token(path, name, DAY)
    assert path.read_bytes() == before
