"""Fixtures of the gate's tests: real keys, and a statement to sign."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from countersign.gate.conditions import parse_condition
from countersign.gate.signers import init_key
from countersign.gate.statement import Statement

NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


@pytest.fixture
def noon() -> datetime:
    """When statements of these tests are signed."""
    return NOON


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder, with a space in its name, of the keys ``alice`` and ``bob``, without passphrases."""
    if not shutil.which("ssh-keygen"):
        pytest.skip("ssh-keygen is not installed (Debian: openssh-client)")
    folder = tmp_path_factory.mktemp("keys") / "of two people"
    for name in ("alice", "bob"):
        init_key(folder / name, f"{name}@laptop", passphrase=False)
    return folder


@pytest.fixture(scope="session")
def make() -> Callable[..., Statement]:
    """An approval by alice at noon, with the fields that are given changed."""

    def made(**changes: Any) -> Statement:
        fields: dict[str, Any] = {
            "project": "p-7f3a",
            "request": "r-0001",
            "candidate": "c" * 64,
            "evidence": "e" * 64,
            "champion": "a" * 64,
            "journal_head": "0" * 64,
            "decision": "approve",
            "signer": "alice",
            "at": NOON,
            "expires": NOON + timedelta(days=7),
            "reason": "Better in every stretch.",
            "conditions": (parse_condition("auc over 20 sessions below 0.65"),),
        }
        return Statement(**{**fields, **changes})

    return made
