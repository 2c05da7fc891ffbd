"""The tasks as plain commands: a file in, a file out, the same numbers as the runs', and nothing in service."""

from __future__ import annotations

import gzip
import json
import shutil
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from countersign.cli import main
from countersign.project import open_project
from tests.steps import run_sessions

SESSION = "2008-09-02"
LAST = "2008-08-29"
"""The last session of the history: on it the first model was trained."""


def countersign(home: Path, *arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["--home", str(home), *map(str, arguments)])


def done(home: Path, *arguments: str | Path) -> Result:
    result = countersign(home, *arguments)
    assert result.exit_code == 0, result.stderr
    return result


def snapshot(folder: Path) -> dict[str, bytes]:
    files = (p for p in folder.rglob("*") if p.is_file() and ".cache" not in p.parts)
    return {str(p): p.read_bytes() for p in files}


def table(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(path.read_bytes())["data"]
    return rows


def bundled_lines(root: Path, last: str) -> list[str]:
    """The bundled CSV up to ``last``."""
    head, *rows = gzip.decompress((root / "data" / "sample" / "prices.csv.gz").read_bytes()).decode().splitlines()
    return [head, *(row for row in rows if row[:10] <= last)]


def without_fb(home: Path) -> None:
    """FB was not listed yet, and a configured symbol that a file has never heard of is refused."""
    path = home / "config" / "pipeline.yaml"
    path.write_text(path.read_text().replace("symbols: [AAPL, FB, ", "symbols: [AAPL, "))


@pytest.fixture(scope="module")
def run_home(bootstrapped_home: Path, tmp_path_factory: pytest.TempPathFactory, now: datetime) -> Path:
    """A project whose first model is in service and scored ``SESSION``. Read only."""
    home = Path(shutil.copytree(bootstrapped_home, tmp_path_factory.mktemp("run") / "home"))
    without_fb(home)
    run_sessions(open_project(home, date(2013, 3, 4)), [SESSION], now)
    return home


@pytest.fixture(scope="module")
def made(run_home: Path, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the five commands made of the history, and of the history and ``SESSION``. Read only."""
    work = tmp_path_factory.mktemp("work")
    before = snapshot(run_home)
    for name, last in (("history", LAST), ("session", SESSION)):
        folder = work / name
        folder.mkdir()
        (folder / "raw.ext").write_text("\n".join(bundled_lines(root, last)) + "\n")
        done(run_home, "ingest", "--input", folder / "raw.ext", "--output", folder / "prices_raw.json")
        done(run_home, "clean", "--input", folder / "prices_raw.json", "--output", folder / "prices_clean.json")
    model, clean, scores = work / "model.json", work / "session" / "prices_clean.json", work / "scores.json"
    done(run_home, "train", "--input", work / "history" / "prices_clean.json", "--output", model)
    done(run_home, "score", "--input", clean, "--model", model, "--output", scores)
    done(run_home, "report", "--input", scores, "--model", model, "--output", work / "report.txt")
    done(run_home, "score", "--input", clean, "--output", work / "in_service.json")
    assert snapshot(run_home) == before
    return work


def test_the_commands_make_the_model_the_bars_and_the_scores_that_runs_make(made: Path, run_home: Path) -> None:
    artifacts = run_home / "artifacts"
    champion, model = (json.loads(path.read_bytes()) for path in (artifacts / "model.json", made / "model.json"))
    for part in ("model", "training", "evaluation", "reference"):
        assert model[part] == champion[part]
    session = artifacts / "sessions" / SESSION
    for name in ("prices_raw", "prices_clean"):
        assert [row for row in table(made / "session" / f"{name}.json") if row["date"] == SESSION] == table(
            session / f"{name}.json"
        )
    assert table(made / "scores.json") == table(made / "in_service.json") == table(session / "scores.json")


def test_the_same_file_gives_the_same_bytes_whatever_it_is_called(made: Path, run_home: Path, tmp_path: Path) -> None:
    shutil.copy(made / "history" / "raw.ext", tmp_path / "bars.json")
    done(run_home, "ingest", "--input", tmp_path / "bars.json", "--output", tmp_path / "raw.json")
    done(run_home, "clean", "--input", tmp_path / "raw.json", "--output", tmp_path / "clean.json")
    for name, again in (("prices_raw", "raw"), ("prices_clean", "clean"), ("prices_rejected", "prices_rejected")):
        assert (tmp_path / f"{again}.json").read_bytes() == (made / "history" / f"{name}.json").read_bytes()


def test_in_which_order_a_file_has_its_rows_makes_no_difference(made: Path, run_home: Path, tmp_path: Path) -> None:
    head, *rows = (made / "history" / "raw.ext").read_text().splitlines()
    (tmp_path / "bars").write_text("\n".join([head, *reversed(rows)]))
    done(run_home, "ingest", "--input", tmp_path / "bars", "--output", tmp_path / "raw.json")
    assert table(tmp_path / "raw.json") == table(made / "history" / "prices_raw.json")


def test_the_log_is_on_stderr_and_json_on_stdout_says_the_same(made: Path, run_home: Path, tmp_path: Path) -> None:
    raw, output = made / "session" / "prices_raw.json", tmp_path / "clean.json"
    result = done(run_home, "clean", "--input", raw, "--output", output, "--json")
    found, rows = json.loads(result.stdout), len(table(raw))
    assert (found["rows_in"], found["rows"], found["rejected_rows"]) == (rows, len(table(output)), 0)
    assert found["sha256"] == json.loads(output.read_bytes())["sha256"]
    lines = [line.split()[1:3] for line in result.stderr.splitlines()]
    assert [line for line in lines if line[1] != "warning"] == [["clean", w] for w in ("start", "wrote", "end")]
    assert f"rows_in={rows} rows={rows} " in result.stderr


def test_rejected_rows_lie_beside_the_bars_each_with_its_reason(root: Path, empty_home: Path, tmp_path: Path) -> None:
    without_fb(empty_home)
    head, *rows = bundled_lines(root, LAST)
    # date, symbol, open, high, low, close …: a high below the low.
    cells = rows[-1].split(",")
    at = head.split(",").index("high")
    rows[-1] = ",".join([*cells[:at], "0.01", *cells[at + 1 :]])
    (tmp_path / "raw").write_text("\n".join([head, *rows]))
    done(empty_home, "ingest", "--input", tmp_path / "raw", "--output", tmp_path / "prices_raw.json")
    cleaning = ("clean", "--input", tmp_path / "prices_raw.json", "--output", tmp_path / "prices_clean.json")
    done(empty_home, *cleaning)
    done(empty_home, *cleaning, "--rejected", tmp_path / "aside.json")
    (rejected,) = table(tmp_path / "prices_rejected.json")
    assert (rejected["rule"], rejected["symbol"], rejected["date"]) == ("range", cells[1], cells[0])
    assert table(tmp_path / "aside.json") == [rejected]
    assert len(table(tmp_path / "prices_clean.json")) == len(rows) - 1


def test_a_trained_model_is_in_service_nowhere_whatever_is_done_with_its_file(
    made: Path, run_home: Path, tmp_path: Path
) -> None:
    home = Path(shutil.copytree(run_home, tmp_path / "home"))
    trained, artifacts = made / "model.json", home / "artifacts"
    champion, digest = (json.loads(p.read_bytes())["sha256"] for p in (artifacts / "model.json", trained))
    assert digest != champion
    (artifacts / "models" / digest).mkdir()
    shutil.copy(trained, artifacts / "models" / digest / "model.json")
    shutil.copy(trained, artifacts / "model.json")
    status = json.loads(done(home, "status", "--json").stdout)
    assert status["model"]["sha256"] == champion
    assert any("model.json is not the model in service" in need for need in status["needs_a_person"])
    words = " ".join((made / "report.txt").read_text().split())
    assert f"{digest[:12]}, taken from a file: no signature and no journal puts it into service" in words
    assert "nothing here was monitored, put on record or signed" in words


def test_a_model_scores_the_session_that_it_was_trained_up_to_and_none_before(
    made: Path, run_home: Path, tmp_path: Path
) -> None:
    asked = ("score", "--input", made / "session" / "prices_clean.json", "--model", made / "model.json")
    done(run_home, *asked, "--output", tmp_path / "last.json", "--session", LAST)
    early = countersign(run_home, *asked, "--output", tmp_path / "early.json", "--session", "2008-08-28")
    in_service = countersign(run_home, *asked[:3], "--output", tmp_path / "early.json", "--session", LAST)
    for result in (early, in_service):
        assert result.exit_code == 2
        assert "it would look ahead" in result.stderr
        assert "Score a later session" in result.stderr
    assert {row["date"] for row in table(tmp_path / "last.json")} == {LAST}
    assert not (tmp_path / "early.json").exists()


def test_a_report_is_of_the_model_that_made_the_scores_and_names_every_symbol(made: Path, run_home: Path) -> None:
    text = (made / "report.txt").read_text().split("\n-- artifact")[0]
    assert all(f"  {row['symbol']}  " in text for row in table(made / "scores.json"))
    assert max(map(len, text.splitlines())) <= 80
    mixed = countersign(run_home, "report", "--input", made / "scores.json", "--output", made / "mixed.txt")
    assert mixed.exit_code == 2
    assert "Name the file of that one with --model" in mixed.stderr
    assert not (made / "mixed.txt").exists()


def damaged(made: Path, path: Path) -> Path:
    path.write_bytes((made / "session" / "prices_raw.json").read_bytes().replace(b'"MSFT"', b'"MSFX"', 1))
    return path


@pytest.mark.parametrize(
    ("task", "content", "says"),
    [
        ("ingest", '{"bars": [{"date": "2008-09-02", ', "expected whole JSON"),
        ("ingest", "a letter, and no prices\n", "expected each of the columns"),
        ("ingest", "", "found an empty file"),
        ("ingest", "<html><body>Too many requests</body></html>", "raw.json"),
        ("ingest", "scores.json", "raw.json"),
        ("clean", "scores.json", "expected prices_raw as countersign ingest writes it"),
        ("clean", "damaged", "truncated or altered"),
        ("clean", "date,symbol\n", "no artifact of Countersign"),
        ("train", "session/prices_raw.json", "expected prices_clean as countersign clean writes it"),
        ("score", "model.json", "expected prices_clean as countersign clean writes it"),
        ("report", "session/prices_clean.json", "expected scores as countersign score writes it"),
    ],
)
def test_wrong_input_is_one_message_exit_code_2_and_leaves_the_output_as_it_was(
    task: str, content: str, says: str, made: Path, run_home: Path, tmp_path: Path
) -> None:
    source, output = tmp_path / "raw.json", tmp_path / "out.json"
    if content == "damaged":
        damaged(made, source)
    elif (made / content).is_file():
        shutil.copy(made / content, source)
    else:
        source.write_text(content)
    output.write_text("as it was")
    before = snapshot(tmp_path)
    result = countersign(run_home, task, "--input", source, "--output", output)
    assert (result.exit_code, result.stdout) == (2, "")
    assert says in result.stderr
    assert [line[:6] for line in result.stderr.splitlines() if line.startswith(("Error:", "Traceback"))] == ["Error:"]
    assert snapshot(tmp_path) == before


def test_an_output_never_lies_among_artifacts_nor_over_what_is_read(made: Path, run_home: Path, tmp_path: Path) -> None:
    home = Path(shutil.copytree(run_home, tmp_path / "home"))
    (tmp_path / "link").symlink_to(home / "artifacts")
    raw = shutil.copy(made / "session" / "prices_raw.json", tmp_path / "prices_raw.json")
    before = snapshot(tmp_path)
    for output, more in (
        (home / "artifacts" / "model.json", ()),
        (tmp_path / "link" / "sessions" / SESSION / "prices_clean.json", ()),
        (Path(raw), ()),
        (tmp_path / "clean.json", ("--rejected", tmp_path / "clean.json")),
        (tmp_path, ()),
        (Path(raw) / "clean.json", ()),
    ):
        result = countersign(home, "clean", "--input", raw, "--output", output, *more)
        assert result.exit_code == 2, output
        assert "Error: " in result.stderr
        assert snapshot(tmp_path) == before
