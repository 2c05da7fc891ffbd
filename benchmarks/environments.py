"""Environments: other libraries, each installed in an environment of its own under ``.cache/``.

Belongs here: which versions, and installing them on the first run, from the package index. Does not belong here: what
they are asked to do (``rival``, ``mlflow_model``).
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

from benchmarks.measure import ROOT

_INSTALLED: Final = {
    "evidently": ("evidently==0.7.23", "pandas==2.3.3"),  # does not import with pandas 3
    "nannyml": ("nannyml==0.13.1", "statsmodels==0.15.0"),  # which it imports and does not ask for
    "pandera": ("pandera==0.35.0", "pandas==3.1.1", "pyarrow==26.0.1"),
    "mlflow": ("mlflow==3.17.2", "uvicorn==0.54.0", "uvloop==0.23.0", "httptools==0.9.0"),  # on the loop that ours has
}


def installed(rival: str) -> Path:
    """The folder of the commands of ``rival``'s environment. Raises ``RuntimeError`` where it cannot be installed."""
    environment = ROOT / ".cache" / f"bench-{rival}"
    commands = environment / "bin"
    steps: tuple[list[str | Path], ...] = (
        [sys.executable, "-m", "venv", environment],
        [commands / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *_INSTALLED[rival]],
    )
    for step in steps:
        done = subprocess.run(step, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            raise RuntimeError(f"it could not be installed ({last_line(done.stdout)})")
    return commands


def last_line(text: str) -> str:
    """Of what a process printed."""
    return next(iter(reversed(text.strip().splitlines())), "it said nothing")
