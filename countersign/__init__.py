"""Countersign: a daily risk model on market prices that only a person can replace.

From Python, ``open_project`` is the door; the rest of the package is how it is built. What it imports stands inside the
function, so that any part of the package costs what that part needs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from countersign.api import ProjectReader

__all__ = ["open_project"]


def open_project(folder: str | Path = ".") -> ProjectReader:
    """The project in ``folder``, which holds ``config/pipeline.yaml``, to read from.

    Raises ``countersign.errors.ConfigError`` where the configuration cannot be used.

    >>> open_project("nowhere")
    Traceback (most recent call last):
        ...
    countersign.errors.ConfigError: expected a project folder with config/pipeline.yaml, found none at nowhere
    """
    from countersign.api import open_reader

    return open_reader(Path(folder))
