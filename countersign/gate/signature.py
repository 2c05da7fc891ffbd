"""Signature: a statement signed with a person's SSH key, and whose it is.

Belongs here: signing and verifying, through ``ssh-keygen -Y``. Does not belong here: what is signed (``statement``),
who may sign (``signers``), whether the decision is due and enough (the journal's state).

Which moment a signer has to be valid at: ``at`` of the statement is the signer's own word and can be dated back, so
that by it alone a key that has expired, or was lost and ended, would go on signing the past. When the decision arrived
is not the signer's to say. So a signature is verified at its arrival (the clock when it comes in, the journal line's
time ever after), and its own time has to fit: not after the arrival but for clocks that differ, and within the key's
validity as well. How far back it may lie, the journal's head within the statement says: nobody can have signed before
that line was written.
"""

from __future__ import annotations

import base64
import re
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from countersign.errors import GateError
from countersign.gate.signers import NAMESPACE, Signer, fingerprint, signer_line, ssh_keygen, ssh_strings
from countersign.gate.statement import parse

CLOCK_SKEW: Final = timedelta(minutes=5)
"""By which the clock of the signer's machine may be ahead of the journal's."""

_MAX_CHARACTERS: Final = 16_384
_BEGIN: Final = "-----BEGIN SSH SIGNATURE-----"
_ARMOR: Final = re.compile(rf"{_BEGIN}\n((?:[A-Za-z0-9+/=]{{1,76}}\n)+)-----END SSH SIGNATURE-----\n?")
_MAGIC: Final = b"SSHSIG\x00\x00\x00\x01"
"""What a signature starts with, and its version (OpenSSH, PROTOCOL.sshsig)."""
_SIGN_SECONDS: Final = 120
"""For a person to type a passphrase or to touch a security key."""
_VERIFY_SECONDS: Final = 30
_PLAIN: Final = {"LC_ALL": "C", "TZ": "UTC0"}
"""All that verification sees of the environment. Times without ``Z``, the only ones that OpenSSH before 9.1 knows, are
then UTC."""


def sign(statement: bytes, key: Path) -> str:
    """The signature on ``statement`` by the private key at ``key``, or, of a ``.pub`` file, by the agent's.

    ssh-keygen asks for a passphrase on the terminal. Raises ``GateError`` where it does not sign.
    """
    parse(statement)
    done = _run(["sign", "-n", NAMESPACE, "-f", str(key)], statement, _SIGN_SECONDS)
    if done.returncode:
        raise GateError(
            f"{key} did not sign: expected a private key that you can read and open, or a .pub file whose private key "
            f"is in the agent ('countersign signer init' makes a key). ssh-keygen says: {_said(done)}"
        )
    return done.stdout.decode("ascii")


def verify(statement: bytes, signature: str, signers: Sequence[Signer], at: datetime) -> Signer:
    """The one of ``signers`` whose signature on ``statement`` it is, valid ``at`` its arrival (time-zone-aware).

    Raises ``GateError`` where the statement is not canonical, names another signer, is dated after ``at`` or has
    expired by then; where the key is not listed, or not for this namespace, or not valid both ``at`` and when the
    statement says that it was signed; and where the signature is none on these very bytes.
    """
    said = parse(statement)
    key, namespace = _key_and_namespace(signature)
    signer = next((signer for signer in signers if signer.key == key), None)
    if signer is None:
        raise GateError(f"expected the signature of one of allowed_signers, found that of the key {fingerprint(key)}")
    who = f"{signer.principal} ({signer.fingerprint})"
    if said.signer != signer.principal:
        raise GateError(f"expected the signature of {said.signer}, whom the statement names, found that of {who}")
    if NAMESPACE not in (signer.namespaces or (NAMESPACE,)):
        raise GateError(f"{who}: expected a key listed for {NAMESPACE}, found one for {', '.join(signer.namespaces)}")
    if namespace != NAMESPACE:
        raise GateError(f"{who}: expected a signature for {NAMESPACE}, found one for {namespace[:80]!r}")
    for moment, when in ((said.at, "when it was signed"), (at, "when it arrived")):
        if not signer.is_valid(moment):
            raise GateError(
                f"{who}: expected a key that is valid {when}, {moment}, found one valid from "
                f"{signer.valid_after or 'the beginning'} to {signer.valid_before or 'the end'}"
            )
    if said.at > at + CLOCK_SKEW:
        raise GateError(f"{who}: expected a statement of {at} or before, found {said.at}. Correct the signer's clock")
    if said.expires <= at:
        raise GateError(
            f"{who}: expected a statement that is in force at {at}, found that it expired at {said.expires}"
        )
    _verify_bytes(statement, signature, signer, at)
    return signer


def _verify_bytes(statement: bytes, signature: str, signer: Signer, at: datetime) -> None:
    """Ask ssh-keygen. It sees bytes that were read once, in a folder of our own: no file can change under it."""
    with TemporaryDirectory(prefix="countersign-") as folder:
        allowed, signed = Path(folder, "allowed_signers"), Path(folder, "signature")
        allowed.write_text(signer_line(signer, zone="") + "\n", "utf-8")
        signed.write_text(signature, "ascii")
        verify_time = f"verify-time={at.astimezone(UTC):%Y%m%d%H%M%S}"
        done = _run(
            [
                "verify",
                "-O",
                verify_time,
                "-n",
                NAMESPACE,
                "-I",
                signer.principal,
                "-f",
                str(allowed),
                "-s",
                str(signed),
            ],
            statement,
            _VERIFY_SECONDS,
            _PLAIN,
        )
    if done.returncode:
        raise GateError(
            f"{signer.principal} ({signer.fingerprint}): expected a signature on this very statement; one of the two "
            f"was changed after it was signed, or they do not belong together. ssh-keygen says: {_said(done)}"
        )


def _key_and_namespace(signature: str) -> tuple[bytes, str]:
    """By which key and for what a signature claims to be. Raises ``GateError`` where it is none."""
    if len(signature) > _MAX_CHARACTERS:
        raise GateError(f"expected a signature of at most {_MAX_CHARACTERS} characters, found {len(signature)}")
    armored = _ARMOR.fullmatch(signature)
    if not armored:
        raise GateError(f"expected a signature as ssh-keygen writes it, from {_BEGIN} on, found {signature[:40]!r}")
    try:
        data = base64.b64decode(armored[1].replace("\n", ""), validate=True)
        if not data.startswith(_MAGIC):
            raise ValueError(f"it starts with {data[:10]!r}")
        # Public key, namespace, reserved, hash algorithm, signature.
        key, namespace, *_ = ssh_strings(data.removeprefix(_MAGIC))
    except ValueError as error:
        raise GateError(f"expected an SSH signature within its armor, found something else: {error}") from error
    return key, namespace.decode("ascii", "replace")


def _run(
    arguments: Sequence[str], data: bytes, seconds: int, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """``ssh-keygen -Y`` with ``data`` on standard input; by default in the caller's environment (agent, terminal)."""
    try:
        return subprocess.run(
            [ssh_keygen(), "-Y", *arguments],
            input=data,
            capture_output=True,
            env=environment,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise GateError(f"ssh-keygen -Y {arguments[0]} gave no answer within {seconds} s. Run it again") from error


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    lines = (done.stderr or done.stdout).decode("utf-8", "replace").split("\n")
    words = " ".join(line.strip() for line in lines if line.strip() and "Signing data on" not in line)
    return "".join(c if c.isprintable() else "?" for c in words)[:400] or "nothing"
