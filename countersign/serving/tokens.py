"""Tokens: who may ask. A file keeps salted hashes of them alone.

Belongs here: making, listing, revoking and checking tokens. Does not belong here: which routes take one (``front``).
A token is ``cs_<id>_<secret>`` with 256 random bits; by its id one hash is enough to check it, however many there are.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

import orjson

from countersign.errors import ConfigError
from countersign.storage.files import locked, write_atomically

VARIABLE: Final = "COUNTERSIGN_TOKENS"
"""The environment variable with tokens, divided by commas or blanks."""
SHORTEST: Final = 32
"""Characters of a token of the environment: fewer could be guessed."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_STORED: Final = re.compile(rf"[0-9a-f]{{8}} {_NAME.pattern} \d{{4}}-\d\d-\d\d [0-9a-f]{{32}} [0-9a-f]{{64}}")
_FORM: Final = re.compile(rb"cs_([0-9a-f]{8})_[A-Za-z0-9_-]{43}")


@dataclass(frozen=True)
class Token:
    """What is kept of a token: ``sha256`` is that of salt and token."""

    id: str
    name: str
    created: str
    salt: str
    sha256: str


def tokens_file(home: Path) -> Path:
    """Where the hashes of a project lie."""
    return home / "tokens.json"


def load_tokens(path: Path) -> list[Token]:
    """The tokens of the file at ``path``, none where there is no file.

    Raises ``ConfigError`` where it is not one, or others than its owner can read it.
    """
    remedy = "Make it anew with: countersign token add NAME"
    try:
        mode = path.stat().st_mode & 0o777
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConfigError(f"{path}: expected tokens, found a file that cannot be read: {error.strerror}") from error
    if mode & 0o077:
        raise ConfigError(f"{path}: expected a file for its owner alone (0600), found {mode:04o}: chmod 600 {path}")
    try:
        return [_token(entry) for entry in orjson.loads(data)["tokens"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: expected tokens as countersign token add writes them. {remedy}") from error


def _token(entry: Any) -> Token:
    token = Token(**entry)
    if not _STORED.fullmatch(" ".join(astuple(token))):
        raise ValueError("a field has another form")
    return token


def add_token(path: Path, name: str, today: date) -> str:
    """Make a token called ``name`` and keep its hash; the token, which is nowhere else. Raises ``ConfigError``."""
    if not _NAME.fullmatch(name):
        raise ConfigError(f"expected a name of letters, digits and . _ @ - (64 at most), found {name!r}")
    with locked(path.with_suffix(".lock")):
        found = load_tokens(path)
        if any(token.name == name for token in found):
            raise ConfigError(f"expected a new name, found {name}, which has a token: countersign token revoke {name}")
        known = {token.id for token in found}
        number = next(n for n in iter(lambda: secrets.token_hex(4), None) if n not in known)
        token, salt = f"cs_{number}_{secrets.token_urlsafe(32)}", secrets.token_hex(16)
        _write(path, [*found, Token(number, name, today.isoformat(), salt, _hash(salt, token.encode()))])
    return token


def revoke_token(path: Path, name: str) -> None:
    """Take the token called ``name`` away. Raises ``ConfigError`` where there is none."""
    with locked(path.with_suffix(".lock")):
        found = load_tokens(path)
        left = [token for token in found if token.name != name]
        if len(left) == len(found):
            known = ", ".join(token.name for token in found) or "none"
            raise ConfigError(f"expected the name of a token ({known}), found {name}. Nothing was changed")
        _write(path, left)


def _write(path: Path, found: Sequence[Token]) -> None:
    data = orjson.dumps({"tokens": [asdict(token) for token in found]}, option=orjson.OPT_INDENT_2)
    write_atomically(path, data + b"\n", mode=0o600)


def _hash(salt: str, token: bytes) -> str:
    return hashlib.sha256(bytes.fromhex(salt) + token).hexdigest()


def _password(credentials: bytes) -> bytes:
    """What HTTP Basic has after the user's name, which may be any; empty where it is not that."""
    try:
        return b64decode(credentials, validate=True).partition(b":")[2]
    except ValueError:
        return b""


class Access:
    """Says of a request's ``Authorization`` header whether it may be answered.

    ``required`` is false only where there has never been a token: one that is revoked, or a file that is taken away,
    opens nothing. A file without one is what revoking the last one leaves.
    """

    def __init__(self, path: Path, variable: str | None) -> None:
        self._path = path
        self._salt = secrets.token_hex(16)
        given = re.split(r"[\s,]+", variable.strip()) if variable and variable.strip() else []
        if any(len(token) < SHORTEST for token in given):
            raise ConfigError(
                f"{VARIABLE}: expected tokens of at least {SHORTEST} characters, found a shorter one. Make one with: "
                "countersign token add NAME, or openssl rand -hex 32"
            )
        self._given = [_hash(self._salt, token.encode()) for token in given]
        self._kept: dict[bytes, Token] = {}
        self._seen: Any = None
        self.required = bool(given)
        self.trouble = ""
        self.refresh()

    def refresh(self) -> None:
        """Read the file again where it has changed. One that cannot be used lets nobody in."""
        seen = _stamp(self._path)
        if seen == self._seen:
            return
        try:
            found, self.trouble = load_tokens(self._path), ""
        except ConfigError as error:
            found, self.trouble = [], str(error)
        self.required = self.required or seen is not None or bool(self.trouble)
        self._kept = {token.id.encode(): token for token in found}
        self._seen = seen

    def allows(self, header: bytes) -> bool:
        """Whether ``header`` carries a token that is known: as Bearer, or, as a browser can, as the password of Basic.

        Compared in constant time.
        """
        scheme, _, rest = header.partition(b" ")
        token = rest.strip()
        if scheme.lower() == b"basic":
            token = _password(token)
        elif scheme.lower() != b"bearer":
            return False
        if not token:
            return False
        form = _FORM.fullmatch(token)
        kept = self._kept.get(form[1]) if form else None
        if kept is not None and hmac.compare_digest(_hash(kept.salt, token), kept.sha256):
            return True
        found = _hash(self._salt, token)
        # Every one is compared, so that the time says nothing of which was near.
        return sum(hmac.compare_digest(found, given) for given in self._given) > 0


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino, found.st_mode
