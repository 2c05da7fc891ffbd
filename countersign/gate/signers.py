"""Signers: ``config/allowed_signers``, who may sign, with which key, from when until when.

Belongs here: reading and adding to that file, and a key for a person who has none. Does not belong here: signatures
(``signature``), how many signers a decision needs (the policy).

The file is OpenSSH's (``man ssh-keygen``, ALLOWED SIGNERS), of which less is taken: one person a line, by name, and a
key of one person only, so that two signers are two people; times in UTC (a final ``Z``), since without it they mean
another moment on another machine. A key is taken out of use by an earlier ``valid-before``. Where its line is removed,
what it signed before can no longer be verified either.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from countersign.errors import GateError
from countersign.storage.files import locked, write_atomically

NAMESPACE: Final = "countersign"
"""What a key must be listed for, and what is signed is signed for."""

PRINCIPAL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}")
"""A signer's name: an e-mail address or a short name. Nothing that OpenSSH would read as a pattern or a list."""

MIN_RSA_BITS: Final = 3072

_PARTS: Final = {
    "ssh-ed25519": 2,
    "ecdsa-sha2-nistp256": 3,
    "ecdsa-sha2-nistp384": 3,
    "ecdsa-sha2-nistp521": 3,
    "sk-ssh-ed25519@openssh.com": 3,
    "sk-ecdsa-sha2-nistp256@openssh.com": 4,
    "ssh-rsa": 3,
}
"""Types of keys that may sign, and how many strings such a public key consists of."""

_KEY_TYPE: Final = re.compile(r"(?:sk-)?(?:ssh|ecdsa)-[a-z0-9@.-]+", re.IGNORECASE)
_OPTION: Final = re.compile(r'([A-Za-z-]+)(?:="([^"]*)")?(?:,|$)')
_TIME: Final = re.compile(r"([0-9]{8})([0-9]{4}(?:[0-9]{2})?)?Z")
_NAMESPACE: Final = re.compile(r"[A-Za-z0-9._@-]+")
_MAX_BYTES: Final = 1_000_000
_FIRST_YEAR: Final = 1970
"""Times before it are none to OpenSSH, and those before the year 1000 would not be read back."""
_KEY_SECONDS: Final = 300
"""For a person to think of a passphrase."""


@dataclass(frozen=True)
class Signer:
    """A line of the file. Without ``namespaces`` the key may sign for any; without a time there is no such limit.

    ``key`` is the public key in SSH's binary form.
    """

    principal: str
    key_type: str
    key: bytes
    valid_after: datetime | None = None
    valid_before: datetime | None = None
    namespaces: tuple[str, ...] = ()
    comment: str = ""

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.key)

    def is_valid(self, at: datetime) -> bool:
        """Whether the key may be used ``at``; both limits belong to the time in which it may."""
        return (self.valid_after is None or self.valid_after <= at) and (
            self.valid_before is None or at <= self.valid_before
        )


def fingerprint(key: bytes) -> str:
    """The name that OpenSSH gives a public key, such as ``SHA256:uNiVztksCsDhcc0u9e8BrrQXVUpKZIDTMczCvj3tD2s``."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")


def signer_line(signer: Signer, zone: str = "Z") -> str:
    """The line of the file; ``zone`` is what its times, UTC ones, end in."""
    options = [f'namespaces="{",".join(signer.namespaces)}"'] if signer.namespaces else []
    for name, moment in (("valid-after", signer.valid_after), ("valid-before", signer.valid_before)):
        if moment:
            options.append(f'{name}="{moment:%Y%m%d%H%M%S}{zone}"')
    key = base64.b64encode(signer.key).decode()
    return " ".join(filter(None, (signer.principal, ",".join(options), signer.key_type, key, signer.comment)))


def list_signers(path: Path) -> list[Signer]:
    """All lines of the file at ``path``, none where there is no file yet. Raises ``GateError`` as ``parse_signers``."""
    return parse_signers(_read(path), path)


def parse_signers(data: bytes, path: Path) -> list[Signer]:
    """The signers in ``data``, the bytes of the file at ``path``.

    Raises ``GateError`` that names the first line which cannot be taken: then nobody can sign until it is corrected.
    """
    found: list[Signer] = []
    for number, line in _lines(data, path):
        if not line or line.startswith("#"):
            continue
        try:
            signer = _signer(line)
            _not_listed(signer.key, found)
        except ValueError as error:
            raise GateError(
                f"{path}, line {number}: {error}. Correct the line; until then no signature counts"
            ) from error
        found.append(signer)
    return found


def add_signer(path: Path, principal: str, public_key: str, valid_after: datetime, valid_before: datetime) -> Signer:
    """Let ``principal`` sign with ``public_key`` (the text of a ``.pub`` file) between two time-zone-aware moments.

    The file is made where it is missing; what stands in it stays. Raises ``GateError``, the file unchanged, where the
    key is none, too weak, a private one, or listed already.
    """
    require_name(principal)
    if valid_after.year < _FIRST_YEAR:
        raise GateError(f"{principal}: expected a key that is valid from {_FIRST_YEAR} on, found {valid_after}")
    if not valid_after < valid_before:
        raise GateError(f"{principal}: expected a key that is valid until after {valid_after}, found {valid_before}")
    after, before = (moment.astimezone(UTC).replace(microsecond=0) for moment in (valid_after, valid_before))
    try:
        key_type, key, comment = _public_key(public_key)
    except ValueError as error:
        raise GateError(f"the key of {principal}: {error}. Expected the text of a .pub file, as it stands") from error
    signer = Signer(principal, key_type, key, after, before, (NAMESPACE,), comment)
    with locked(path.with_name(f".{path.name}.lock")):
        data = _read(path)
        try:
            _not_listed(key, parse_signers(data, path))
        except ValueError as error:
            raise GateError(f"{path}: {error}. Nothing was added; change that line by hand") from error
        whole = data if data.endswith(b"\n") or not data else data + b"\n"
        write_atomically(path, whole + signer_line(signer).encode() + b"\n")
    return signer


def require_name(principal: str) -> None:
    """Raise ``GateError`` where nobody of that name could be listed."""
    if not PRINCIPAL.fullmatch(principal):
        raise GateError(f"expected a signer's name of letters, digits and . _ @ + -, found {principal[:100]!r}")


def init_key(path: Path, comment: str, *, passphrase: bool = True) -> str:
    """Make an Ed25519 key at ``path`` and ``path``.pub, and return the text of the latter.

    ssh-keygen asks for the passphrase on the terminal; without one (tests, the demo), whoever can read the file can
    sign. Raises ``GateError`` where either file is there already: a key is never written over; and where a passphrase
    was to be asked for and none was given, as without a terminal: no key is left then.
    """
    public = path.with_name(path.name + ".pub")
    for file in (path, public):
        if os.path.lexists(file):
            raise GateError(
                f"expected no file at {file}, found one: a key is never written over. Use it, or another name"
            )
    if not comment.isprintable():
        raise GateError(f"expected a comment of printable characters, found {comment[:80]!r}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise GateError(f"expected a folder for the key at {path.parent}: {error.strerror}") from error
    command = [ssh_keygen(), "-q", "-t", "ed25519", "-C", comment, "-f", str(path)]
    unasked = [] if passphrase else ["-N", ""]
    stdin = None if passphrase else subprocess.DEVNULL
    try:
        done = subprocess.run([*command, *unasked], stdin=stdin, timeout=_KEY_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise GateError(f"ssh-keygen made no key at {path} within {_KEY_SECONDS} s. Run it again") from error
    if done.returncode or not public.exists():
        raise GateError(f"ssh-keygen made no key at {path}; it says why above")
    if passphrase:
        opened = subprocess.run([command[0], "-y", "-P", "", "-f", path], stdin=subprocess.DEVNULL, capture_output=True)
        if not opened.returncode:
            path.unlink()
            public.unlink()
            raise GateError(
                "expected a passphrase, found none: no key was made. Type one on a terminal, or say --no-passphrase "
                "where whoever can read the file may sign"
            )
    return public.read_text(encoding="utf-8")


def ssh_keygen() -> str:
    """Where ssh-keygen is. Raises ``GateError`` where it is not installed."""
    found = shutil.which("ssh-keygen")
    if not found:
        raise GateError("expected ssh-keygen on the PATH, found none: install OpenSSH (Debian: openssh-client)")
    return found


def ssh_strings(data: bytes) -> list[bytes]:
    """The strings, each behind its length (RFC 4251, section 5), that ``data`` consists of. Raises ``ValueError``.

    >>> ssh_strings(bytes([0, 0, 0, 2]) + b"ab" + bytes(4))
    [b'ab', b'']
    """
    found = []
    while data:
        size = int.from_bytes(data[:4])
        if len(data) < 4 + size:
            raise ValueError("it is cut short")
        found.append(data[4 : 4 + size])
        data = data[4 + size :]
    return found


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise GateError(f"{path}: expected a file of signers: {error.strerror}") from error


def _lines(data: bytes, path: Path) -> Iterator[tuple[int, str]]:
    if len(data) > _MAX_BYTES:
        raise GateError(f"{path}: expected at most {_MAX_BYTES} bytes, found {len(data)}")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise GateError(f"{path}: expected text in UTF-8: {error}") from error
    for number, line in enumerate(text.split("\n"), start=1):
        yield number, line.strip()


def _signer(line: str) -> Signer:
    """What a line says. Raises ``ValueError`` with what is wrong with it."""
    principal, *rest = line.split()
    if not PRINCIPAL.fullmatch(principal):
        raise ValueError(
            f"expected one signer's name of letters, digits and . _ @ + -, found {principal[:100]!r}: a line is one "
            "person's, without wildcards or lists"
        )
    options = rest.pop(0) if rest and not _KEY_TYPE.fullmatch(rest[0]) else ""
    found = _options(options)
    key_type, key, comment = _public_key(" ".join(rest))
    after, before = (_moment(found[name]) if name in found else None for name in ("valid-after", "valid-before"))
    namespaces = tuple(found["namespaces"].split(",")) if "namespaces" in found else ()
    for namespace in namespaces:
        if not _NAMESPACE.fullmatch(namespace):
            raise ValueError(f'expected namespaces by name, such as namespaces="{NAMESPACE}", found {namespace!r}')
    return Signer(principal, key_type, key, after, before, namespaces, comment)


def _options(text: str) -> dict[str, str]:
    """Options by name. Raises ``ValueError`` at one that is unknown, repeated or not taken."""
    found: dict[str, str] = {}
    place = 0
    while place < len(text):
        option = _OPTION.match(text, place)
        if not option:
            raise ValueError(f'expected options such as namespaces="{NAMESPACE}" or a key, found {text[place:][:80]!r}')
        name, value = option[1].lower(), option[2]
        if name == "cert-authority":
            raise ValueError("found cert-authority: certificates are not taken, each signer's own key is listed")
        if name not in {"namespaces", "valid-after", "valid-before"} or value is None or name in found:
            raise ValueError(
                "expected each of namespaces, valid-after and valid-before once, with a value in quotes, found "
                f"{option[0]!r}"
            )
        found[name] = value
        place = option.end()
    return found


def _moment(text: str) -> datetime:
    found = _TIME.fullmatch(text)
    try:
        if found:
            return datetime.strptime(found[1] + (found[2] or "").ljust(6, "0"), "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        pass
    raise ValueError(f"expected a time in UTC as YYYYMMDDZ or YYYYMMDDHHMMSSZ, found {text!r}")


def _public_key(text: str) -> tuple[str, bytes, str]:
    """Type, binary form and comment of a public key. Raises ``ValueError`` where it is none, or too weak."""
    if "PRIVATE KEY" in text:
        # Not a word of it is repeated.
        raise ValueError(
            "it is a private key, which nobody but its owner may see; if it was sent to anyone, replace it"
        )
    key_type, encoded, comment = [*text.strip().split(" ", 2), "", "", ""][:3]
    if key_type not in _PARTS:
        # Only what looks like a type is repeated: it may be part of a private key.
        found = repr(key_type[:80]) if _KEY_TYPE.fullmatch(key_type) else "something else"
        raise ValueError(f"expected a key of type {', '.join(_PARTS)}, found {found}")
    if not comment.isprintable():
        raise ValueError(f"expected one line of printable characters, found {comment[:80]!r}")
    try:
        key = base64.b64decode(encoded, validate=True)
        parts = ssh_strings(key)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"expected a key in base64 behind {key_type}, found something else: {error}") from error
    if len(parts) != _PARTS[key_type] or parts[0] != key_type.encode():
        raise ValueError(f"expected a key of type {key_type}, found another one behind that word")
    if key_type == "ssh-rsa" and (bits := int.from_bytes(parts[2]).bit_length()) < MIN_RSA_BITS:
        raise ValueError(f"expected an RSA key of at least {MIN_RSA_BITS} bits, found {bits}")
    return key_type, key, comment


def _not_listed(key: bytes, signers: list[Signer]) -> None:
    for signer in signers:
        if signer.key == key:
            raise ValueError(
                f"expected a key that is not listed yet, found that of {signer.principal} ({signer.fingerprint}): a "
                "key is one person's, and stands once"
            )
