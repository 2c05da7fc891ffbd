"""The import rule of docs/architecture.md: every import, every read of clock or environment, from the syntax."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("countersign", "resources", "assets", "sensors", "definitions")
"""Inner to outer: each may import itself and what stands before it."""

MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for room in ROOMS
    for path in sorted([*(ROOT / room).rglob("*.py"), *ROOT.glob(f"{room}.py")])
}
DOMAIN = {name for name in MODULES if name.split(".")[0] == "countersign"}
DOORS = {"countersign.cli", "countersign.api"}
"""From a shell and from Python: the modules of the domain that may ask for the time and the environment."""
FRONT = "countersign"
"""The package itself, which opens ``countersign.api`` for users and is imported with any part of it."""


def syntax(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text(encoding="utf-8"))


def nodes(tree: ast.AST, *, with_types: bool) -> Iterator[ast.AST]:
    """Every node, those inside functions too; what stands under ``if TYPE_CHECKING`` where it is asked for."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING" and not with_types:
            continue
        yield child
        yield from nodes(child, with_types=with_types)


def imports_of(tree: ast.Module, *, with_types: bool = True) -> set[str]:
    """Full names of what is imported, wherever it stands; ``from a import b`` is both ``a`` and ``a.b``."""
    found: set[str] = set()
    for node in nodes(tree, with_types=with_types):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            # A relative import leads nowhere that the rule knows: it would be found as a room of its own.
            module = "." * node.level + (node.module or "")
            found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in {"import_module", "__import__"}:
            found.add("a name made at run time")
    return found


def packages(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


def mentions(tree: ast.Module, names: set[str]) -> set[str]:
    """Which of ``names`` the module reaches: as an attribute (``os.environ``), or imported by name."""
    attributes = {(n.attr, ast.unparse(n)) for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
    imported = {name.split(".")[-1] for name in imports_of(tree)}
    return {whole for last, whole in attributes if {last, whole} & names} | (imported & names)


def clock_reads(tree: ast.Module) -> set[str]:
    texts = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    # numpy.datetime64("now") and pandas.Timestamp("today") ask the clock in words.
    return (
        mentions(tree, {"now", "utcnow", "today"})
        | (packages(imports_of(tree)) & {"time"})
        | (texts & {"now", "today"})
    )


def environment_reads(tree: ast.Module) -> set[str]:
    return mentions(tree, {"environ", "getenv", "getcwd", "cwd", "Path.home", "expanduser", "getuser", "gethostname"})


def reached_from(start: str) -> set[str]:
    """Everything that runs when ``start`` does: its imports, those inside its functions, and theirs in turn."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        name = waiting.pop()
        for reached in {name.rsplit(".", depth)[0] for depth in range(name.count(".") + 1)} - found:
            found.add(reached)
            # Nothing inside calls what the front gives to users: a test below.
            if reached in MODULES and reached != FRONT:
                waiting += imports_of(syntax(reached), with_types=False)
    return found


def test_every_room_is_read() -> None:
    assert {"countersign.model.scoring", *DOORS, "assets.scoring", "resources", "sensors.launch", "definitions"} <= set(
        MODULES
    )


def test_no_module_imports_from_a_room_further_out_than_its_own() -> None:
    outward = {
        name: packages(imports_of(syntax(name))) & set(ROOMS[ROOMS.index(name.split(".")[0]) + 1 :]) for name in MODULES
    }
    assert {name: found for name, found in outward.items() if found} == {}


def test_the_domain_imports_no_dagster_and_nothing_relative_or_by_a_name_made_at_run_time() -> None:
    forbidden = {
        name: {
            package
            for package in packages(imports_of(syntax(name)))
            if package.startswith("dagster") or package in {"", "a name made at run time"}
        }
        for name in DOMAIN
    }
    assert {name: found for name, found in forbidden.items() if found} == {}


def test_only_the_doors_read_the_clock() -> None:
    assert {name for name in DOMAIN if clock_reads(syntax(name))} == DOORS


def test_only_the_doors_read_the_environment() -> None:
    assert {name for name in DOMAIN if environment_reads(syntax(name))} == DOORS


def test_importing_the_package_loads_nothing_and_nothing_inside_uses_its_door_for_users() -> None:
    loaded = "import sys; before = set(sys.modules); import countersign; print(set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert not {"numpy", "pandas", "click", "pydantic", "countersign.api"} & set(ast.literal_eval(done.stdout))
    assert {name for name in MODULES if imports_of(syntax(name)) & {"countersign.open_project"}} == set()


def test_only_training_imports_scikit_learn() -> None:
    assert {name for name in MODULES if "sklearn" in packages(imports_of(syntax(name)))} == {
        "countersign.model.training"
    }


def test_the_server_runs_without_dagster_and_only_its_command_imports_it() -> None:
    assert packages(reached_from("countersign.serving.server")) & {"dagster", *ROOMS[1:]} == set()
    users = {name for name in MODULES if any(i.startswith("countersign.serving") for i in imports_of(syntax(name)))}
    assert {name for name in users if not name.startswith("countersign.serving.")} == {"countersign.cli_serve"}


@pytest.mark.parametrize("start", ["countersign.model.scoring", "countersign.steps.scoring"])
def test_nothing_that_scoring_runs_is_training_scikit_learn_or_dagster(start: str) -> None:
    found = reached_from(start)
    assert "countersign.features" in found
    assert packages(found) & {"sklearn", "dagster", *ROOMS[1:]} == set()
    assert "countersign.model.training" not in found


@pytest.mark.parametrize(
    ("source", "package"),
    [
        ("import dagster as dg", "dagster"),
        ("def f():\n    from dagster import asset", "dagster"),
        ("if True:\n    import assets.prices", "assets"),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from sensors.jobs import job", "sensors"),
        ("from ..assets import prices", ""),
        ("import importlib\nimportlib.import_module('dagster')", "a name made at run time"),
    ],
)
def test_an_import_is_seen_wherever_it_stands(source: str, package: str) -> None:
    assert package in packages(imports_of(ast.parse(source)))


@pytest.mark.parametrize(
    "source",
    [
        "datetime.now(UTC)",
        "from datetime import date as d\nd.today()",
        "pd.Timestamp.now()",
        "np.datetime64('now')",
        "from time import monotonic",
    ],
)
def test_a_read_of_the_clock_is_seen(source: str) -> None:
    assert clock_reads(ast.parse(source))


@pytest.mark.parametrize("source", ["os.environ['HOME']", "os.getenv('X')", "from os import environ", "Path.cwd()"])
def test_a_read_of_the_environment_is_seen(source: str) -> None:
    assert environment_reads(ast.parse(source))
