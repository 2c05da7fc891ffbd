"""Signers: who is taken into ``allowed_signers``, and which lines there count for nobody."""

from __future__ import annotations

import base64
import subprocess
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from countersign.errors import GateError
from countersign.gate.signers import Signer, add_signer, init_key, list_signers

START = datetime(2026, 1, 1, tzinfo=UTC)
END = datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)


def ssh_string(data: bytes) -> bytes:
    return len(data).to_bytes(4) + data


def public_key(key_type: bytes, *parts: bytes) -> str:
    """As in a ``.pub`` file (RFC 4253, section 6.6)."""
    key = b"".join(ssh_string(part) for part in (key_type, *parts))
    return f"{key_type.decode()} {base64.b64encode(key).decode()}"


def ed25519(number: int) -> str:
    return public_key(b"ssh-ed25519", number.to_bytes(32))


def rsa(bits: int) -> str:
    return public_key(b"ssh-rsa", b"\x01\x00\x01", (2 ** (bits - 1) + 1).to_bytes(bits // 8 + 1))


@pytest.fixture
def signers_file(tmp_path: Path) -> Path:
    return tmp_path / "config of mine" / "allowed_signers"


def test_a_signer_is_listed_as_added(signers_file: Path) -> None:
    add_signer(signers_file, "alice@example.com", ed25519(1) + " alice's laptop\n", START, END)
    (signer,) = list_signers(signers_file)
    assert signer == Signer(
        "alice@example.com", "ssh-ed25519", signer.key, START, END, ("countersign",), "alice's laptop"
    )


def test_without_a_file_there_is_no_signer(signers_file: Path) -> None:
    assert list_signers(signers_file) == []


def test_fingerprint_and_validity_are_those_that_ssh_keygen_reads_in_any_time_zone(
    keys: Path, signers_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is OpenSSH's own: valid to the last second of the year, in UTC."""
    monkeypatch.setenv("TZ", "LINT-14")
    public = (keys / "alice.pub").read_text()
    signer = add_signer(signers_file, "alice", public, START, END)
    listed = subprocess.run(["ssh-keygen", "-l", "-f", keys / "alice.pub"], capture_output=True, text=True, check=True)
    assert listed.stdout.split()[1] == signer.fingerprint
    (keys / "alice text").write_bytes(b"text")
    command = ["ssh-keygen", "-Y", "sign", "-n", "countersign", "-f", str(keys / "alice"), str(keys / "alice text")]
    subprocess.run(command, check=True, capture_output=True)
    for moment, code in (("20261231235959Z", 0), ("20270101000000Z", 255), ("20251231235959Z", 255)):
        command = ["ssh-keygen", "-Y", "find-principals", "-f", str(signers_file), "-s", str(keys / "alice text.sig")]
        found = subprocess.run([*command, "-O", f"verify-time={moment}"], capture_output=True, check=False)
        assert found.returncode == code, moment


def test_what_stands_in_the_file_stays_and_a_key_ends_by_its_date(signers_file: Path) -> None:
    signers_file.parent.mkdir()
    before = f'# Approvers\n\nbob  valid-before="20261101Z",namespaces="git,countersign"\t{ed25519(2)} bob at work'
    signers_file.write_text(before)
    add_signer(signers_file, "alice", ed25519(1), START, END)
    assert signers_file.read_text().startswith(before + "\nalice ")
    bob, alice = list_signers(signers_file)
    assert (bob.principal, bob.namespaces, bob.comment) == ("bob", ("git", "countersign"), "bob at work")
    assert bob.is_valid(datetime(2026, 11, 1, tzinfo=UTC))
    assert not bob.is_valid(datetime(2026, 11, 1, 0, 0, 1, tzinfo=UTC))
    assert [alice.is_valid(at) for at in (START - timedelta(seconds=1), START, END)] == [False, True, True]


def test_one_person_may_have_several_keys(signers_file: Path) -> None:
    for number in (1, 2):
        add_signer(signers_file, "alice", ed25519(number), START, END)
    assert [signer.principal for signer in list_signers(signers_file)] == ["alice", "alice"]


@pytest.mark.parametrize("principal", ["alice", "bob"])
def test_a_key_stands_once_whatever_the_name(signers_file: Path, principal: str) -> None:
    add_signer(signers_file, "alice", ed25519(1), START, END)
    before = signers_file.read_bytes()
    with pytest.raises(GateError, match=r"not listed yet, found that of alice \(SHA256:.*Nothing was added"):
        add_signer(signers_file, principal, ed25519(1) + " another comment", START, END)
    assert signers_file.read_bytes() == before


@pytest.mark.parametrize("principal", ["", "*", "alice bob", "alice,bob", "al?ce", "!alice", '"alice"', "-I", "#alice"])
def test_a_signer_is_one_person_by_a_plain_name(signers_file: Path, principal: str) -> None:
    with pytest.raises(GateError, match="expected a signer's name of letters, digits and"):
        add_signer(signers_file, principal, ed25519(1), START, END)
    assert not signers_file.exists()


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("", "expected a key of type ssh-ed25519"),
        ("ssh-dss AAAAB3NzaC1kc3MAAACB", "expected a key of type .*, found 'ssh-dss'"),
        (rsa(2048), "an RSA key of at least 3072 bits, found 2048"),
        ("ssh-ed25519-cert-v01@openssh.com AAAA", "expected a key of type .*, found 'ssh-ed25519-cert"),
        (ed25519(1)[:-8], "expected a key in base64 .*cut short"),
        (ed25519(1) + "!", "expected a key in base64"),
        (ed25519(1).replace("ssh-ed25519", "ssh-rsa"), "a key of type ssh-rsa, found another one behind that word"),
        (rsa(3072).replace("ssh-rsa", "ecdsa-sha2-nistp256"), "a key of type ecdsa-sha2-nistp256, found another one"),
        (public_key(b"ssh-ed25519", bytes(32), b"more"), "a key of type ssh-ed25519, found another one"),
        (ed25519(1) + " me\n" + ed25519(2), "one line of printable characters"),
        (ed25519(1) + " me\x1b[2J", "one line of printable characters"),
    ],
)
def test_a_key_that_is_weak_or_none_is_refused(signers_file: Path, key: str, words: str) -> None:
    with pytest.raises(GateError, match=f"the key of alice: .*{words}.*Expected the text of a .pub file"):
        add_signer(signers_file, "alice", key, START, END)
    assert not signers_file.exists()


def test_an_rsa_key_of_3072_bits_is_taken(signers_file: Path) -> None:
    assert add_signer(signers_file, "alice", rsa(3072), START, END).key_type == "ssh-rsa"


def test_a_private_key_is_refused_without_repeating_any_of_it(keys: Path, signers_file: Path) -> None:
    private = (keys / "alice").read_text()
    _, *body, _, _ = private.split("\n")
    for pasted, words in ((private, "it is a private key"), ("\n".join(body), "found something else")):
        with pytest.raises(GateError, match=words) as refused:
            add_signer(signers_file, "alice", pasted, START, END)
        assert not any(line in str(refused.value) for line in body)
    assert not signers_file.exists()


def test_a_key_that_is_never_valid_is_refused(signers_file: Path) -> None:
    with pytest.raises(GateError, match="alice: expected a key that is valid until after"):
        add_signer(signers_file, "alice", ed25519(1), END, START)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (f"* {ed25519(1)}", r"expected one signer's name .*, found '\*'"),
        (f"alice,bob {ed25519(1)}", "expected one signer's name .*, found 'alice,bob'"),
        (f"*@example.com {ed25519(1)}", "expected one signer's name"),
        (f"alice cert-authority {ed25519(1)}", "certificates are not taken"),
        (f'alice cert-authority,namespaces="countersign" {ed25519(1)}', "certificates are not taken"),
        (f'alice namespaces="*" {ed25519(1)}', r"namespaces by name, .*, found '\*'"),
        (f'alice namespaces="!git" {ed25519(1)}', "namespaces by name, .*, found '!git'"),
        (f'alice namespaces="" {ed25519(1)}', "namespaces by name, .*, found ''"),
        (f"alice namespaces=countersign {ed25519(1)}", "expected options such as namespaces="),
        (f'alice valid-after="20260101" {ed25519(1)}', "a time in UTC as YYYYMMDDZ .*, found '20260101'"),
        (f'alice valid-before="20261301Z" {ed25519(1)}', "a time in UTC as YYYYMMDDZ .*, found '20261301Z'"),
        (f'alice valid-after="20260101Z",valid-after="20250101Z" {ed25519(1)}', "each of namespaces, .* once"),
        (f"alice valid-after {ed25519(1)}", "with a value in quotes, found 'valid-after'"),
        (f'alice verify-required="" {ed25519(1)}', "each of namespaces, valid-after and valid-before"),
        (f"alice {rsa(1024)}", "an RSA key of at least 3072 bits, found 1024"),
        ("alice", "expected a key of type"),
        ("garbage", "expected a key of type"),
        ("<<<<<<< HEAD", "expected one signer's name"),
        (f"{ed25519(1)}", "expected"),
        (f"bob {ed25519(9)}", "not listed yet, found that of zoe"),
        ("alice ssh-ed25519 ÿ", "expected a key in base64"),
    ],
)
def test_one_line_that_cannot_be_taken_is_named_and_nobody_counts(signers_file: Path, line: str, words: str) -> None:
    signers_file.parent.mkdir()
    signers_file.write_text(f"# Approvers\nzoe {ed25519(9)}\n{line}\n", encoding="utf-8")
    with pytest.raises(GateError, match=f"allowed_signers, line 3: .*{words}.*until then no signature counts"):
        list_signers(signers_file)
    before = signers_file.read_bytes()
    with pytest.raises(GateError, match="line 3"):
        add_signer(signers_file, "carol", ed25519(3), START, END)
    assert signers_file.read_bytes() == before


@pytest.mark.parametrize("data", [b"\xff\xfe", b"#" * 1_000_001])
def test_a_file_that_is_no_text_of_that_kind_is_refused(signers_file: Path, data: bytes) -> None:
    signers_file.parent.mkdir()
    signers_file.write_bytes(data)
    with pytest.raises(GateError, match="allowed_signers: expected"):
        list_signers(signers_file)


def test_a_folder_in_the_files_place_is_refused(signers_file: Path) -> None:
    signers_file.mkdir(parents=True)
    with pytest.raises(GateError, match="expected a file of signers: Is a directory"):
        list_signers(signers_file)


def test_signers_added_at_the_same_moment_are_all_kept(signers_file: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: add_signer(signers_file, f"p{n}", ed25519(n), START, END), range(16)))
    assert sorted(signer.principal for signer in list_signers(signers_file)) == sorted(f"p{n}" for n in range(16))


@pytest.mark.parametrize("there", ["key", "key.pub"])
def test_a_key_is_never_written_over(keys: Path, tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("mine")
    with pytest.raises(GateError, match=f"expected no file at .*{there}, found one"):
        init_key(tmp_path / "key", "alice", passphrase=False)
    assert [file.name for file in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "mine"


def test_a_new_key_is_for_its_owner_alone_and_can_be_added(keys: Path, tmp_path: Path, signers_file: Path) -> None:
    public = init_key(tmp_path / "new folder" / "key", "alice", passphrase=False)
    assert (tmp_path / "new folder" / "key").stat().st_mode & 0o077 == 0
    assert (tmp_path / "new folder").stat().st_mode & 0o077 == 0
    assert add_signer(signers_file, "alice", public, START, END).comment == "alice"


def test_where_no_key_can_be_made_it_is_said(keys: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(GateError, match=r"expected a folder .*file"):
        init_key(tmp_path / "file" / "key", "alice", passphrase=False)
    with pytest.raises(GateError, match="expected a comment of printable characters"):
        init_key(tmp_path / "key", "alice\n", passphrase=False)
