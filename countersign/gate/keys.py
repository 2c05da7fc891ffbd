"""Keys: which key of a person signs, and in whose name.

Belongs here: finding a key whose public part is listed. Does not belong here: the list (``signers``), signing
(``signature``).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from countersign.errors import GateError
from countersign.gate.signers import Signer

_PUB = ".pub"


def first_listed(folder: Path, signers: Sequence[Signer], at: datetime) -> Path:
    """The first key in ``folder``, by name, that may sign ``at``: the private file, or the .pub of one in the agent.

    Raises ``GateError`` where there is none.
    """
    listed = {signer.key for signer in signers if signer.is_valid(at)}
    for public in sorted(folder.glob(f"*{_PUB}")):
        if _read_public(public) in listed:
            private = public.with_suffix("")
            return private if private.exists() else public
    raise GateError(
        f"expected a key in {folder} that config/allowed_signers lets sign now, found none: name yours with --key, or "
        "make one with: countersign signer init"
    )


def signer_of(key: Path, signers: Sequence[Signer]) -> Signer:
    """The one of ``signers`` whose key is at ``key``. Raises ``GateError`` where its public part is not listed."""
    public = key if key.suffix == _PUB else key.with_name(key.name + _PUB)
    found = _read_public(public)
    if found is None:
        raise GateError(
            f"expected the public part of the key at {public}, found none: make it with ssh-keygen -y -f {key} > "
            f"{public}, or say who signs with --as"
        )
    signer = next((signer for signer in signers if signer.key == found), None)
    if signer is None:
        raise GateError(
            f"expected a key that config/allowed_signers lists, found {key}, which it does not: whoever owns that file "
            f"adds it with countersign signer add NAME {public}"
        )
    return signer


def _read_public(path: Path) -> bytes | None:
    """The public key in SSH's binary form, or None where the file is missing or is none."""
    try:
        return base64.b64decode(path.read_text(encoding="utf-8").split()[1], validate=True)
    except (OSError, UnicodeDecodeError, IndexError, binascii.Error):
        return None
