"""Signature: whose it is, on which bytes, and when it counts. All keys and signatures are real."""

from __future__ import annotations

import os
import pty
import re
import select
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from countersign.errors import GateError
from countersign.gate.conditions import parse_condition
from countersign.gate.signature import CLOCK_SKEW, sign, verify
from countersign.gate.signers import Signer, add_signer, list_signers, parse_signers
from countersign.gate.statement import Statement

Make = Callable[..., Statement]

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


def public(keys: Path, name: str) -> str:
    return (keys / f"{name}.pub").read_text()


@pytest.fixture
def signers(keys: Path, tmp_path: Path, noon: datetime) -> list[Signer]:
    """Alice and bob, from an hour before noon until an hour after."""
    for name in ("alice", "bob"):
        add_signer(tmp_path / "allowed_signers", name, public(keys, name), noon - HOUR, noon + HOUR)
    return list_signers(tmp_path / "allowed_signers")


@pytest.fixture(scope="session")
def statement(make: Make) -> bytes:
    return make().to_bytes()


@pytest.fixture(scope="session")
def signature(keys: Path, statement: bytes) -> str:
    """Alice's, on ``statement``."""
    return sign(statement, keys / "alice")


def test_a_signed_statement_is_verified_as_its_signers(
    statement: bytes, signature: str, signers: list[Signer], noon: datetime
) -> None:
    assert verify(statement, signature, signers, noon) == signers[0]
    # As a YAML block may leave it.
    assert verify(statement, signature.rstrip("\n"), signers, noon) == signers[0]


@pytest.mark.parametrize(
    "arguments", [["-t", "ecdsa", "-b", "256"], ["-t", "ecdsa", "-b", "521"], ["-t", "rsa", "-b", "3072"]]
)
def test_other_types_of_keys_sign_as_well(
    keys: Path, tmp_path: Path, make: Make, noon: datetime, arguments: list[str]
) -> None:
    subprocess.run(["ssh-keygen", "-q", *arguments, "-N", "", "-f", tmp_path / "key"], check=True)
    key = (tmp_path / "key.pub").read_text()
    signer = add_signer(tmp_path / "allowed_signers", "carol@example.com", key, noon, noon + HOUR)
    data = make(signer="carol@example.com").to_bytes()
    assert verify(data, sign(data, tmp_path / "key"), [signer], noon) == signer


OTHERWISE: dict[str, dict[str, Any]] = {
    "one bit of the candidate": {"candidate": "c" * 63 + "b"},
    "other evidence": {"evidence": "f" * 64},
    "another champion": {"champion": "b" * 64},
    "no champion": {"champion": None},
    "another past": {"journal_head": "1" * 64},
    "another project": {"project": "p-7f3b"},
    "another request": {"request": "r-0002"},
    "another decision": {"decision": "reject", "conditions": ()},
    "other words": {"reason": "Better in every stretch!"},
    "no condition": {"conditions": ()},
    "a wider bound": {"conditions": (parse_condition("auc over 20 sessions below 0.64"),)},
    "the glass broken": {"break_glass": True},
    "a later expiry": {"expires": datetime(2026, 12, 3, 12, 0, tzinfo=UTC)},
    "an earlier time": {"at": datetime(2026, 11, 25, 11, 59, 59, tzinfo=UTC)},
}


@pytest.mark.parametrize("changes", OTHERWISE.values(), ids=OTHERWISE)
def test_a_signature_counts_for_no_other_statement(
    make: Make, signature: str, signers: list[Signer], noon: datetime, changes: dict[str, Any]
) -> None:
    with pytest.raises(GateError, match=r"alice .*: expected a signature on this very statement.*ssh-keygen says: "):
        verify(make(**changes).to_bytes(), signature, signers, noon)


def test_bytes_that_are_not_canonical_are_neither_signed_nor_verified(
    keys: Path, statement: bytes, signature: str, signers: list[Signer], noon: datetime
) -> None:
    with pytest.raises(GateError, match="expected canonical JSON"):
        sign(statement + b"\n", keys / "alice")
    with pytest.raises(GateError, match="expected canonical JSON"):
        verify(statement + b"\n", signature, signers, noon)


def test_a_statement_that_names_another_signer_is_refused(
    keys: Path, make: Make, signers: list[Signer], noon: datetime
) -> None:
    """Bob signs in alice's name: the signature is good, and not hers."""
    data = make(signer="alice").to_bytes()
    with pytest.raises(GateError, match=r"the signature of alice, whom .*, found that of bob \(SHA256:"):
        verify(data, sign(data, keys / "bob"), signers, noon)


def test_an_unknown_or_removed_signer_is_refused(
    statement: bytes, signature: str, signers: list[Signer], noon: datetime
) -> None:
    alice, bob = signers
    for known in ([bob], []):
        with pytest.raises(GateError, match=re.escape(f"found that of the key {alice.fingerprint}")):
            verify(statement, signature, known, noon)


def test_a_name_moved_to_another_key_does_not_carry_the_old_signature(
    keys: Path, statement: bytes, signature: str, noon: datetime, tmp_path: Path
) -> None:
    """The file says that alice has bob's key."""
    alice = add_signer(tmp_path / "allowed_signers", "alice", public(keys, "bob"), noon - HOUR, noon + HOUR)
    with pytest.raises(GateError, match="found that of the key SHA256:"):
        verify(statement, signature, [alice], noon)


def test_a_key_listed_for_another_namespace_is_refused(
    keys: Path, statement: bytes, signature: str, noon: datetime
) -> None:
    for namespaces, good in (('namespaces="git,countersign" ', True), ("", True), ('namespaces="git,file" ', False)):
        line = f"alice {namespaces}{public(keys, 'alice')}".encode()
        found = parse_signers(line, Path("allowed_signers"))
        if good:
            assert verify(statement, signature, found, noon) == found[0]
        else:
            with pytest.raises(GateError, match=r"alice .*: expected a key listed for countersign, .* for git, file"):
                verify(statement, signature, found, noon)


@pytest.mark.parametrize("namespace", ["git", "file", "countersign2", "Countersign"])
def test_a_signature_for_another_namespace_is_refused(
    keys: Path, statement: bytes, signers: list[Signer], noon: datetime, namespace: str
) -> None:
    command = ["ssh-keygen", "-Y", "sign", "-n", namespace, "-f", str(keys / "alice")]
    done = subprocess.run(command, input=statement, capture_output=True, check=True)
    with pytest.raises(GateError, match=f"alice .*: expected a signature for countersign, found one for '{namespace}'"):
        verify(statement, done.stdout.decode(), signers, noon)


def test_a_signature_with_a_bit_changed_or_of_another_form_is_refused(
    statement: bytes, signature: str, signers: list[Signer], noon: datetime
) -> None:
    begin, *lines, end, _ = signature.split("\n")
    body = "".join(lines)
    last = body.rstrip("=")
    armor = "as ssh-keygen writes it"
    forged = {
        # A bit of the signature itself, and of the key.
        last[:-5] + ("A" if last[-5] != "A" else "B") + last[-4:] + body[len(last) :]: "on this very statement",
        body[:60] + ("A" if body[60] != "A" else "B") + body[61:]: "found that of the key",
        "T" + body[1:]: "within its armor, found something else: it starts with b'OSHSIG",
        body[:-8]: "within its armor, found something else: it is cut short",
        body[:-4] + "=" * 4: "within its armor, found something else",
    }
    texts = {
        begin + "\n" + "\n".join(text[i : i + 70] for i in range(0, len(text), 70)) + f"\n{end}\n": words
        for text, words in forged.items()
    }
    texts |= {
        "": armor,
        body: armor,
        " " + signature: armor,
        signature + "more": armor,
        signature + signature: armor,
        signature.replace("\n", "\r\n"): armor,
        signature.replace("SSH SIGNATURE", "PGP SIGNATURE"): armor,
        signature.replace(lines[0], lines[0] + "\N{LATIN SMALL LETTER E WITH ACUTE}"): armor,
        f"{begin}\n" + ("A" * 70 + "\n") * 300 + end: "at most 16384 characters",
    }
    for text, words in texts.items():
        with pytest.raises(GateError, match=words):
            verify(statement, text, signers, noon)


@pytest.mark.parametrize("zone", ["UTC0", "LINT-14", "PST8PDT,M3.2.0,M11.1.0", ":/nonsense"])
def test_validity_ends_to_the_second_in_any_time_zone_and_language(
    make: Make, keys: Path, signers: list[Signer], noon: datetime, monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    monkeypatch.setenv("TZ", zone)
    monkeypatch.setenv("LC_ALL", "tr_TR.UTF-8")
    for at, when in (
        (noon - HOUR - SECOND, "when it was signed"),
        (noon - HOUR, None),
        (noon + HOUR, None),
        (noon + HOUR + SECOND, "when it was signed"),
    ):
        data = make(at=at).to_bytes()
        signature = sign(data, keys / "alice")
        if when is None:
            assert verify(data, signature, signers, at).principal == "alice"
        else:
            with pytest.raises(GateError, match=f"expected a key that is valid {when}, .*, found one valid from"):
                verify(data, signature, signers, at)


def test_the_moment_is_the_one_that_is_given_and_not_the_clocks(make: Make, keys: Path, signers: list[Signer]) -> None:
    for year in (2008, 2037):
        at = datetime(year, 9, 15, 12, 0, tzinfo=UTC)
        alice = replace(signers[0], valid_after=at, valid_before=at + HOUR)
        data = make(at=at, expires=at + HOUR).to_bytes()
        assert verify(data, sign(data, keys / "alice"), [alice], at) == alice


def test_dating_a_decision_back_does_not_bring_an_expired_key_into_use(
    make: Make, keys: Path, signers: list[Signer], noon: datetime
) -> None:
    """Signed after the key's end, dated before it: its arrival tells."""
    data = make(at=noon).to_bytes()
    signature = sign(data, keys / "alice")
    with pytest.raises(GateError, match="valid when it arrived, 2026-11-25 13:00:01"):
        verify(data, signature, signers, noon + HOUR + SECOND)
    # What arrived in time stays good for ever: it is verified at its arrival.
    assert verify(data, signature, signers, noon + HOUR).principal == "alice"


def test_a_decision_from_before_the_key_was_valid_is_refused_though_it_arrives_later(
    make: Make, keys: Path, signers: list[Signer], noon: datetime
) -> None:
    data = make(at=noon - 2 * HOUR).to_bytes()
    with pytest.raises(GateError, match="valid when it was signed, 2026-11-25 10:00:00"):
        verify(data, sign(data, keys / "alice"), signers, noon)


def test_a_decision_dated_ahead_is_refused_but_for_clocks_that_differ(
    statement: bytes, signature: str, signers: list[Signer], noon: datetime
) -> None:
    assert verify(statement, signature, signers, noon - CLOCK_SKEW).principal == "alice"
    with pytest.raises(GateError, match="Correct the signer's clock"):
        verify(statement, signature, signers, noon - CLOCK_SKEW - SECOND)


def test_an_expired_decision_is_refused(make: Make, keys: Path, signers: list[Signer], noon: datetime) -> None:
    data = make(expires=noon + timedelta(minutes=1)).to_bytes()
    signature = sign(data, keys / "alice")
    assert verify(data, signature, signers, noon + timedelta(seconds=59)).principal == "alice"
    with pytest.raises(GateError, match=r"found that it expired at 2026-11-25 12:01:00"):
        verify(data, signature, signers, noon + timedelta(seconds=60))


def test_nothing_is_left_behind(
    statement: bytes,
    signature: str,
    signers: list[Signer],
    noon: datetime,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "temporary files").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary files"))
    verify(statement, signature, signers, noon)
    with pytest.raises(GateError):
        verify(statement, signature.replace("A", "B", 1), signers, noon)
    assert list((tmp_path / "temporary files").iterdir()) == []


def test_without_ssh_keygen_it_is_said_what_to_install(
    keys: Path,
    statement: bytes,
    signature: str,
    signers: list[Signer],
    noon: datetime,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for attempt in (lambda: sign(statement, keys / "alice"), lambda: verify(statement, signature, signers, noon)):
        with pytest.raises(GateError, match="expected ssh-keygen on the PATH, found none: install OpenSSH"):
            attempt()


def test_a_key_that_is_not_there_or_is_none_does_not_sign(keys: Path, statement: bytes, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no key")
    (tmp_path / "text").chmod(0o600)
    (tmp_path / "open").write_bytes((keys / "alice").read_bytes())
    (tmp_path / "open").chmod(0o644)
    for name, words in (("none", "No such file"), ("text", ""), ("open", "permissions"), (".", "")):
        with pytest.raises(GateError, match=f"did not sign: expected a private key .*ssh-keygen says: .*(?i:{words})"):
            sign(statement, tmp_path / name)


@pytest.fixture
def agent(keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of an agent that holds alice's key, and ``alice.pub`` alone."""
    socket = tmp_path / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        subprocess.run(["ssh-add", "-q", keys / "alice"], check=True)
        (tmp_path / "alice.pub").write_text(public(keys, "alice"))
        yield tmp_path
    finally:
        process.terminate()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_the_agent_signs_where_only_the_public_key_is_at_hand_and_a_refusal_of_its_is_said(
    agent: Path, statement: bytes, signers: list[Signer], noon: datetime
) -> None:
    assert verify(statement, sign(statement, agent / "alice.pub"), signers, noon).principal == "alice"
    subprocess.run(["ssh-add", "-q", "-D"], check=True, stderr=subprocess.DEVNULL)
    with pytest.raises(GateError, match=r"alice\.pub did not sign: .* agent.*ssh-keygen says: \S"):
        sign(statement, agent / "alice.pub")


TYPED = """
import fcntl
import sys
import termios
fcntl.ioctl(1, termios.TIOCSCTTY, 0)
from pathlib import Path
from countersign.gate.signature import sign
from countersign.gate.signers import init_key
key = Path(sys.argv[1])
if sys.argv[2] == "make":
    init_key(key, "carol")
else:
    Path(sys.argv[3]).write_text(sign(sys.stdin.buffer.read(), key))
"""


def typed(arguments: list[str], passphrase: str, data: Path) -> tuple[int, str]:
    """Run ``TYPED`` on a terminal on which a person types ``passphrase`` whenever asked: exit code, what was shown."""
    ours, theirs = pty.openpty()
    shown = ""
    with data.open("rb") as file:
        command = [sys.executable, "-c", TYPED, *arguments]
        process = subprocess.Popen(command, stdin=file, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    try:
        while select.select([ours], [], [], 30)[0]:
            try:
                part = os.read(ours, 1024).decode()
            except OSError:  # Linux's way to say that the other end is closed.
                break
            shown += part
            if re.search(r"passphrase[^\n]*: ?$", shown):
                os.write(ours, passphrase.encode() + b"\n")
    finally:
        os.close(ours)
        code = process.wait(30)
    return code, shown


def test_the_passphrase_is_asked_for_on_the_terminal(keys: Path, make: Make, noon: datetime, tmp_path: Path) -> None:
    """A key made and used by a person at a terminal, while the statement comes from elsewhere."""
    key, data, signature = tmp_path / "my key", tmp_path / "statement", tmp_path / "signature"
    data.write_bytes(make(signer="carol").to_bytes())
    code, shown = typed([str(key), "make"], "correct horse", data)
    assert (code, shown.count("Enter ")) == (0, 2), shown
    carol = add_signer(tmp_path / "allowed_signers", "carol", (tmp_path / "my key.pub").read_text(), noon, noon + HOUR)
    code, shown = typed([str(key), "sign", str(signature)], "wrong", data)
    assert code
    assert "did not sign" in shown
    assert not signature.exists()
    code, shown = typed([str(key), "sign", str(signature)], "correct horse", data)
    assert code == 0, shown
    assert verify(data.read_bytes(), signature.read_text(), [carol], noon) == carol
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
