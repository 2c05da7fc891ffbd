"""Files: bytes on disk, whole or not at all.

Belongs here: atomic writing, locked appending. Does not belong here: what the bytes mean (``artifacts``, ``journal``).
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def reached(point: str) -> None:
    """Called at each named step of a write, in order: nothing happens. Crash tests put a SIGKILL here."""


def write_atomically(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Put ``data`` at ``path``: a reader, or a crash at any moment, sees the old bytes or the new ones, whole.

    Temporary file in the same folder → fsync → rename → fsync of the folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            reached(f"{path.name}: temporary file written")
            os.fsync(file.fileno())
        Path(temporary).chmod(mode)
        reached(f"{path.name}: before rename")
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    reached(f"{path.name}: renamed")
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Have the names of new and renamed files in ``folder`` on disk before this returns."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on ``path`` (made where missing) against other processes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
