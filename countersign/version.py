"""Version: which code made a number."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import version
from pathlib import Path


@cache
def code_version() -> str:
    """The release, and the first digits of the SHA-256 of the domain's own source: ``0.1.0+1a2b3c4d5e6f``."""
    folder = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode())
        digest.update(path.read_bytes())
    return f"{version('countersign')}+{digest.hexdigest()[:12]}"
