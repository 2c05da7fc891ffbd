"""The command line: what it prints, where, and its exit code."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from countersign.checks import CheckResult
from countersign.cli import main
from countersign.project import Project
from countersign.steps.alerts import note_checks
from countersign.tables import METRICS
from tests.steps import run_sessions

SESSIONS = ["2008-09-02", "2008-09-03"]


def countersign(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--home", str(home), *arguments])


def snapshot(home: Path) -> dict[str, bytes]:
    """Every file but the cache of the calendar, which may be made anew at any time."""
    files = (p for p in home.rglob("*") if p.is_file() and ".cache" not in p.parts)
    return {str(p): p.read_bytes() for p in files}


def test_status_of_a_new_project_says_how_to_make_the_first_model(empty_home: Path) -> None:
    result = countersign(empty_home, "status")
    assert result.exit_code == 0
    assert "none in service" in result.stdout
    assert "Train the first one: countersign run" in " ".join(result.stdout.split())
    # That would be on another project where it is typed without --home.
    assert result.stdout.endswith(f"To type what is named here: export COUNTERSIGN_HOME={empty_home}\n")
    at_home = CliRunner(env={"COUNTERSIGN_HOME": str(empty_home)}).invoke(main, ["status"])
    assert "Train the first one" in " ".join(at_home.stdout.split())
    assert "export" not in at_home.stdout


def test_status_shows_the_model_in_service_the_last_session_and_what_needs_a_person(
    project: Project, now: datetime
) -> None:
    run_sessions(project, SESSIONS, now)
    text = countersign(project.home, "status").stdout
    found = json.loads(countersign(project.home, "status", "--json").stdout)
    document = json.loads((project.home / "artifacts" / "model.json").read_bytes())
    assert found["model"]["sha256"] == document["sha256"]
    assert found["model"]["training"]["last_session"] == "2008-08-29"
    assert found["sessions"] == 2
    assert found["last_session"]["session"] == "2008-09-03"
    scores = json.loads((project.home / "artifacts/sessions/2008-09-03/scores.json").read_bytes())["data"]
    assert found["last_session"]["symbols"] == len(scores)
    assert found["last_session"]["held"] == sum(row["decision"] == "hold" for row in scores)
    assert any("without a signature" in line for line in found["needs_a_person"])
    assert document["sha256"][:12] in text
    judged = [
        row["status"]
        for name in ("metrics", "drift")
        for row in json.loads((project.home / f"artifacts/sessions/2008-09-03/{name}.json").read_bytes())["data"]
    ]
    counts = {status: judged.count(status) for status in ("pass", "fail", "insufficient")}
    assert found["checks"] == counts | {"failing": []}
    assert f"{counts['pass']} pass, 0 fail, {counts['insufficient']} without enough evidence" in text
    assert "Last session  2008-09-03" in text
    assert found["alerts"] == []
    assert "No alert is open." in text


def test_status_shows_the_alerts_that_are_open(project: Project, now: datetime) -> None:
    failed = CheckResult("auc", "fail", "AUC 0.510 is low")
    note_checks(project, "metrics", [("2008-09-02", failed)], now)
    assert "warning since session 2008-09-02: AUC 0.510 is low [metrics:auc@2008-09-02]" in " ".join(
        countersign(project.home, "status").stdout.split()
    )
    (alert,) = json.loads(countersign(project.home, "status", "--json").stdout)["alerts"]
    assert alert == {
        "id": "metrics:auc@2008-09-02",
        "severity": "warning",
        "since": "2008-09-02",
        "sentence": "AUC 0.510 is low",
    }


def test_status_names_each_measure_that_failed_in_the_last_session(project: Project, now: datetime) -> None:
    run_sessions(project, SESSIONS, now)
    metrics = project.store.read_table("metrics", SESSIONS[-1], METRICS).frame
    metrics.loc[metrics["measure"] == "rejected_share", "status"] = "fail"
    project.store.write_table("metrics", SESSIONS[-1], metrics, METRICS, {})
    found = json.loads(countersign(project.home, "status", "--json").stdout)["checks"]
    assert (found["fail"], found["failing"]) == (1, ["data rejected_share"])
    text = " ".join(countersign(project.home, "status").stdout.split())
    # A closed session of today is nothing to a project whose prices end in 2013.
    assert "without enough evidence; failing: data rejected_share Needs a person" in text


def test_status_answers_without_the_libraries_that_take_longest_to_load(project: Project, now: datetime) -> None:
    run_sessions(project, SESSIONS, now)
    # The first command of a day may have to make the exchange's calendar.
    countersign(project.home, "status")
    code = (
        "import sys; from countersign.cli import main; main(standalone_mode=False); "
        "print(sorted({'dagster', 'pandas', 'pyarrow', 'scipy', 'sklearn'} & {*sys.modules}), file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, "--home", str(project.home), "status"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Last session  2008-09-03" in done.stdout
    assert done.stderr == "[]\n"


def test_status_names_a_damaged_log_of_alerts_and_goes_on(project: Project) -> None:
    project.alerts.path.write_text("nonsense\n")
    result = countersign(project.home, "status")
    assert result.exit_code == 0
    assert "alerts.jsonl, line 1" in " ".join(result.stdout.split())


@pytest.mark.parametrize("artifact", ["model.json", "sessions/2008-09-03/scores.json"])
def test_status_names_a_damaged_artifact_and_goes_on(artifact: str, project: Project, now: datetime) -> None:
    run_sessions(project, SESSIONS, now)
    places = [project.home / "artifacts" / artifact]
    if artifact == "model.json":
        places = list((project.home / "artifacts" / "models").rglob("model.json"))
    for place in places:
        place.write_bytes(place.read_bytes()[:-20])
    result = countersign(project.home, "status")
    assert result.exit_code == 0
    assert "truncated or altered" in result.stdout


def test_status_of_a_live_project_says_which_closed_session_is_due(project: Project) -> None:
    path = project.home / "config" / "pipeline.yaml"
    text = path.read_text(encoding="utf-8").replace("live: false", "live: true").replace("last_session:", "# was:")
    path.write_text(text, encoding="utf-8")
    found = json.loads(countersign(project.home, "status", "--json").stdout)
    assert any(found["last_closed_session"] in line for line in found["needs_a_person"])
    assert f"Closed        {found['last_closed_session']}" in countersign(project.home, "status").stdout


def test_evaluate_prints_json_that_agrees_with_its_table_and_changes_nothing(home: Path) -> None:
    before = snapshot(home)
    arguments = ("evaluate", "--to", "2004-12-31")
    table, found = countersign(home, *arguments).stdout, json.loads(countersign(home, *arguments, "--json").stdout)
    shown = next(line for line in table.splitlines() if line.startswith("auc")).split()
    assert float(shown[1]) == pytest.approx(found["table"]["auc"]["model"], abs=1e-3)
    assert float(shown[2]) == pytest.approx(found["table"]["auc"]["baseline"], abs=1e-3)
    assert snapshot(home) == before


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("evaluate", "--from", "2030-01-02"), "2030-01-02"),
        (("evaluate", "--to", "2000-06-01"), "756"),
        (("evaluate", "--from", "soon"), "soon"),
    ],
    ids=["nothing there", "too short", "no date"],
)
def test_evaluate_of_sessions_that_cannot_be_evaluated_says_why_on_stderr(
    arguments: tuple[str, ...], named: str, home: Path
) -> None:
    result = countersign(home, *arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert named in result.stderr


def test_replay_prints_json_that_agrees_with_its_table_and_changes_nothing(empty_home: Path) -> None:
    before = snapshot(empty_home)
    arguments = ("replay", "--from", "2004-01-01", "--to", "2004-12-31")
    table, found = countersign(empty_home, *arguments), json.loads(countersign(empty_home, *arguments, "--json").stdout)
    assert table.exit_code == 0
    assert (found["first"], found["last"], found["sessions"]) == ("2004-01-02", "2004-12-31", 252)
    digest = hashlib.sha256((empty_home / "config" / "thresholds.yaml").read_bytes()).hexdigest()
    assert found["thresholds"] == digest
    assert digest[:12] in table.stdout
    rows = [line.split() for line in table.stdout.splitlines()]
    for measure in found["measures"]:
        counts = measure["alarms"]
        assert sum(n or 0 for n in measure["by_year"].values()) == len(counts["stretches"])
        if counts["stretches"]:
            shown = [row for row in rows if row[:1] == [measure["measure"]]]
            expected = [str(measure["judged"]), str(len(counts["stretches"])), f"({counts['failing']})"]
            assert shown[0][1:4] == expected
        else:
            assert measure["measure"] in table.stdout
    assert snapshot(empty_home) == before


def test_the_table_in_the_docs_is_what_replay_prints_of_the_bundled_prices_and_the_shipped_thresholds(
    empty_home: Path, root: Path
) -> None:
    printed = countersign(empty_home, "replay").stdout.splitlines()
    shown = (root / "docs" / "false-alarms.md").read_text(encoding="utf-8").split("```")[1].splitlines()[1:]
    # The first line has the digest of the thresholds, which a comment changes, too.
    assert shown[1:] == printed[1:]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("replay", "--from", "2030-01-02"), "2030-01-02"),
        (("replay", "--from", "2008-01-02", "--to", "2007-01-03"), "2008-01-02 … 2007-01-03"),
        (("replay", "--to", "2000-06-01"), "756"),
        (("replay", "--to", "soon"), "soon"),
    ],
    ids=["nothing there", "backwards", "too short", "no date"],
)
def test_replay_of_sessions_that_cannot_be_replayed_says_why_on_stderr(
    arguments: tuple[str, ...], named: str, empty_home: Path
) -> None:
    result = countersign(empty_home, *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert named in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("command", ["status", "evaluate", "replay"])
def test_a_broken_configuration_is_one_message_on_stderr_and_exit_code_2(command: str, empty_home: Path) -> None:
    path = empty_home / "config" / "pipeline.yaml"
    path.write_text(path.read_text(encoding="utf-8") + "\ncutof: 0.3\n", encoding="utf-8")
    before = snapshot(empty_home)
    result = countersign(empty_home, command)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "cutof" in result.stderr
    assert "Traceback" not in result.stderr
    assert snapshot(empty_home) == before


def test_thresholds_check_shows_each_with_its_owner_and_review_and_the_digest_of_the_file(empty_home: Path) -> None:
    path = empty_home / "config" / "thresholds.yaml"
    table = countersign(empty_home, "thresholds", "check")
    found = json.loads(countersign(empty_home, "thresholds", "check", "--json").stdout)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert (table.exit_code, found["sha256"]) == (0, digest)
    assert digest[:12] in table.stdout
    rows = [line.split() for line in table.stdout.splitlines()]
    for threshold in found["thresholds"]:
        [row] = [row for row in rows if row[:1] == [threshold["name"]]]
        assert float(row[1]) == threshold["value"]
        assert " ".join(row[2:]) == f"{threshold['owner']} {threshold['reviewed']}"


def test_thresholds_check_says_whose_review_is_due_and_is_no_error(empty_home: Path) -> None:
    path = empty_home / "config" / "thresholds.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("2026-11-25", "2020-01-02", 1), encoding="utf-8")
    table = countersign(empty_home, "thresholds", "check")
    [due, *_] = json.loads(countersign(empty_home, "thresholds", "check", "--json").stdout)["needs_a_person"]
    assert table.exit_code == 0
    assert due.startswith("data: reviewed ")
    assert f"Needs a person\n  - {due}" in table.stdout


def test_thresholds_check_refuses_a_file_that_cannot_be_used_with_one_message(empty_home: Path) -> None:
    path = empty_home / "config" / "thresholds.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("psi: 0.2 ", "psi: nan "), encoding="utf-8")
    broken = countersign(empty_home, "thresholds", "check")
    path.unlink()
    gone = countersign(empty_home, "thresholds", "check", "--json")
    for result, named in ((broken, "drift.psi: "), (gone, "Copy config/thresholds.yaml")):
        assert (result.exit_code, result.stdout) == (2, "")
        assert named in result.stderr
        assert "Traceback" not in result.stderr


def test_show_prints_each_score_as_it_is_stored_and_what_came_once_that_is_known(
    project: Project, now: datetime
) -> None:
    week = ["2008-09-02", "2008-09-03", "2008-09-04", "2008-09-05", "2008-09-08", "2008-09-09"]
    run_sessions(project, week, now)
    stored = json.loads((project.home / "artifacts/sessions/2008-09-02/scores.json").read_bytes())
    outcomes = json.loads((project.home / "artifacts/sessions/2008-09-09/outcomes.json").read_bytes())["data"]
    came = {row["symbol"]: row["bad_week"] for row in outcomes}
    result = countersign(project.home, "show", "2008-09-02")
    lines = result.stdout.partition(" symbol ")[2].splitlines()
    rows = {
        words[0]: words[1:] for line in lines if len(words := line.split()) == 9 and words[1] in ("approve", "hold")
    }
    riskiest = sorted(stored["data"], key=lambda row: -row["bad_week_probability"])
    assert list(rows) == [row["symbol"] for row in riskiest]
    for row in stored["data"]:
        shown = rows[row["symbol"]]
        assert shown[:2] == [row["decision"], f"{row['bad_week_probability']:.1%}"]
        assert shown[3] == f"{row['volatility_forecast']:.2%}"
        assert shown[6] == {1: "bad", 0: "fine"}[came[row["symbol"]]]
    assert f"Model {stored['artifact']['inputs']['model'][:12]}" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80

    found = json.loads(countersign(project.home, "show", "2008-09-02", "--json").stdout)
    assert {row["symbol"]: row["bad_week"] for row in found["scores"]} == came
    newest = json.loads(countersign(project.home, "show", "--json").stdout)
    assert (newest["session"], newest["horizon_end"]) == ("2008-09-09", "2008-09-16")
    assert {row["bad_week"] for row in newest["scores"]} == {None}
    assert "will be known once 2008-09-16 was run" in countersign(project.home, "show").stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("show",), "found none. Run one: countersign run"),
        (("show", "2008-09-02"), "Make them: countersign run --session 2008-09-02"),
        (("show", "2008-09-06"), "2008-09-06 is no session of XNYS"),
        (("show", "today"), "expected a date such as 2008-09-30, found 'today'"),
        (("run", "--session", "2008-09-02", "--to", "2008-09-03"), "--session, or --from and --to; found both"),
    ],
)
def test_a_session_that_is_not_there_is_one_message_that_says_what_to_do(
    arguments: tuple[str, ...], says: str, empty_home: Path
) -> None:
    result = countersign(empty_home, *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert says in result.stderr


def test_help_loads_nothing_heavy() -> None:
    heavy = ["pandas", "numpy", "rich", "dagster", "sklearn", "pyarrow", "exchange_calendars", "scipy", "pydantic"]
    program = (
        "import sys\nfrom countersign.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        f"print('loaded:', [name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "loaded: []" in done.stdout
