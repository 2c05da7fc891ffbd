"""``--help`` of every command, as it stands in ``tests/fixtures/help.txt``.

After a change that is meant, make it anew and read the diff:
``python tests/integration/test_cli_help.py > tests/fixtures/help.txt``.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from countersign.cli import main

SNAPSHOT = Path(__file__).parents[1] / "fixtures" / "help.txt"


def commands(group: click.Group = main, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command of the tree, its groups too, with the words that one types."""
    yield path, group
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


def help_of(path: tuple[str, ...]) -> str:
    result = CliRunner().invoke(main, [*path, "--help"], prog_name="countersign", terminal_width=80, color=False)
    assert result.exit_code == 0
    return result.stdout


def all_help() -> str:
    return "\n".join(f"$ {' '.join(('countersign', *path, '--help'))}\n{help_of(path)}" for path, _ in commands())


LEAVES = [(path, command) for path, command in commands() if not isinstance(command, click.Group)]


def test_help_of_every_command_is_the_one_that_was_looked_at(root: Path) -> None:
    # In a process of its own: click keeps a command's first help option, and other tests ask for it without `main`.
    code = "from tests.integration.test_cli_help import all_help; print(all_help(), end='')"
    done = subprocess.run([sys.executable, "-c", code], cwd=root, check=True, capture_output=True, encoding="utf-8")
    assert done.stdout == SNAPSHOT.read_text(encoding="utf-8")
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_the_first_help_names_every_command_once() -> None:
    named = re.findall(r"^  ([a-z-]+) {2,}\S", help_of(()).partition("\nSessions:")[2], flags=re.M)
    assert sorted(named) == sorted(main.commands)


@pytest.mark.parametrize(("path", "command"), LEAVES, ids=[" ".join(path) for path, _ in LEAVES])
def test_the_example_in_the_help_of_a_command_is_one_that_it_understands(
    path: tuple[str, ...], command: click.Command
) -> None:
    _, example = " ".join(help_of(path).split()).split(" Example: countersign ")
    words = shlex.split(example.split(" Options: ")[0])
    assert tuple(words[: len(path)]) == path
    # Raises for an option that there is not; whether a file is there is another matter.
    _, left, _ = command.make_parser(click.Context(command)).parse_args(words[len(path) :])
    assert left == []


if __name__ == "__main__":
    print(all_help(), end="")
