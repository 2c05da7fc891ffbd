"""The steps on a project folder with the bundled prices: what a session stores, and what it refuses to."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import math
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path

import fsspec
import pandas as pd
import pytest

from countersign.errors import (
    ArtifactError,
    ConfigError,
    CountersignError,
    JournalError,
    ModelError,
    QualityError,
    SessionError,
    SourceError,
)
from countersign.features import MIN_HISTORY
from countersign.monitoring.latency import no_runs
from countersign.project import Project, open_project
from countersign.steps.complete import session_is_done
from countersign.steps.made import Made
from countersign.steps.metrics import metric_sessions
from countersign.steps.model import evaluate_source, train_first_model
from countersign.steps.monitoring import drift_sessions, outcome_sessions
from countersign.steps.prices import clean_sessions, ingest_sessions, load_history
from countersign.steps.reports import report_sessions
from countersign.steps.scoring import feature_sessions, score_sessions
from countersign.tables import FEATURE_TABLE, OUTCOMES, PRICES_REJECTED, SCORES, Column

TODAY = date(2013, 3, 4)
NOW = datetime(2013, 3, 4, 12, tzinfo=UTC)
SESSIONS = ["2008-09-02", "2008-09-03", "2008-09-04", "2008-09-05", "2008-09-08", "2008-09-09", "2008-09-10"]
ARTIFACTS = {
    "prices_raw",
    "prices_clean",
    "prices_rejected",
    "features",
    "scores",
    "outcomes",
    "drift",
    "metrics",
    "report.html",
    "report.txt",
}


@pytest.fixture(scope="module", params=["json", "parquet"])
def nothing_run(
    request: pytest.FixtureRequest, bootstrapped_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A bootstrapped project folder with each format of tables. Read only, as is the next."""
    home = Path(shutil.copytree(bootstrapped_home, tmp_path_factory.mktemp("nothing_run") / "home"))
    configure(home, "format: json", f"format: {request.param}")
    return home


@pytest.fixture(scope="module")
def two_run(nothing_run: Path, tmp_path_factory: pytest.TempPathFactory, now: datetime) -> Path:
    """The same after the first two sessions."""
    home = Path(shutil.copytree(nothing_run, tmp_path_factory.mktemp("two_run") / "home"))
    run(open_project(home, TODAY), SESSIONS[:2], now)
    return home


@pytest.fixture
def home(nothing_run: Path, tmp_path: Path) -> Path:
    """A bootstrapped project folder that the test may change, with each format of tables."""
    return Path(shutil.copytree(nothing_run, tmp_path / "home"))


@pytest.fixture
def json_home(bootstrapped_home: Path, tmp_path: Path) -> Path:
    """The same with the shipped format alone, for what does not depend on it."""
    return Path(shutil.copytree(bootstrapped_home, tmp_path / "home"))


@pytest.fixture
def json_project(json_home: Path) -> Project:
    return open_project(json_home, TODAY)


@pytest.fixture
def home_after_two(two_run: Path, tmp_path: Path) -> Path:
    """A project folder that holds the first two sessions, and that the test may change."""
    return Path(shutil.copytree(two_run, tmp_path / "home"))


def configure(home: Path, old: str, new: str, file: str = "pipeline.yaml") -> None:
    path = home / "config" / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def source_lines(home: Path) -> list[str]:
    return gzip.decompress((home / "data/sample/prices.csv.gz").read_bytes()).decode().splitlines()


def deliver(home: Path, lines: list[str]) -> None:
    """Have the source say ``lines`` from now on."""
    (home / "data/sample/prices.csv.gz").write_bytes(gzip.compress("\n".join(lines).encode(), 1))


def without(home: Path, start: str) -> None:
    """Have the source lack the lines that start so."""
    deliver(home, [line for line in source_lines(home) if not line.startswith(start)])


def raise_high(home: Path, start: str) -> None:
    """Have the source say a high 1 % above the one it said, for the bars whose lines start so."""
    rows = [line.split(",") for line in source_lines(home)]
    changed = [[*r[:3], str(float(r[3]) * 1.01), *r[4:]] if ",".join(r).startswith(start) else r for r in rows]
    assert changed != rows
    deliver(home, [",".join(row) for row in changed])


def run(project: Project, sessions: list[str], now: datetime) -> dict[str, list[Made]]:
    """Every daily step of ``sessions``, and what each made."""
    return {
        "prices_raw": list(ingest_sessions(project, sessions, now)),
        "prices_clean": list(clean_sessions(project, sessions)),
        "features": list(feature_sessions(project, sessions)),
        "scores": list(score_sessions(project, sessions, now)),
        "outcomes": list(outcome_sessions(project, sessions)),
        "drift": list(drift_sessions(project, sessions)),
        "metrics": list(metric_sessions(project, sessions, no_runs, now)),
        "report": list(report_sessions(project, sessions)),
    }


def snapshot(home: Path) -> dict[str, bytes]:
    """Every file of the project folder."""
    return {str(p.relative_to(home)): p.read_bytes() for p in sorted(home.rglob("*")) if p.is_file()}


def of_session(files: dict[str, bytes], session: str) -> dict[str, bytes]:
    own = {Path(name): data for name, data in files.items() if f"/{session}/" in name}
    return {path.name if path.stem == "report" else path.stem: data for path, data in own.items()}


def test_a_session_run_twice_is_stored_in_the_same_bytes(project: Project, now: datetime) -> None:
    first = run(project, SESSIONS[:2], now)
    before = snapshot(project.home)
    second = run(project, SESSIONS[:2], now)
    assert snapshot(project.home) == before
    assert [m.stored for made in first.values() for m in made] == [m.stored for made in second.values() for m in made]
    assert set(of_session(before, SESSIONS[0])) == ARTIFACTS


def test_a_range_stores_the_same_bytes_as_its_sessions_one_by_one(project: Project, now: datetime) -> None:
    untouched = Path(shutil.copytree(project.home, project.home.with_name("other")))
    run(project, SESSIONS, now)
    one_by_one = open_project(untouched, TODAY)
    for session in SESSIONS:
        run(one_by_one, [session], now)
    assert snapshot(untouched) == snapshot(project.home)


def test_a_project_behind_a_url_stores_the_same_bytes_as_a_folder(project: Project, now: datetime) -> None:
    run(project, SESSIONS[:2], now)
    remote = Path(shutil.copytree(project.home, project.home.with_name("remote")))
    memory = fsspec.filesystem("memory")
    for name, data in snapshot(remote / "artifacts").items():
        if name.startswith(("history", "model")):
            memory.pipe_file(f"/bucket/{name}", data)
    configure(remote, "root: artifacts ", "root: memory://bucket ")
    there = open_project(remote, TODAY)
    run(there, SESSIONS[:2], now)
    here = {n: d for n, d in snapshot(project.home / "artifacts").items() if n.startswith("sessions")}
    assert {n.removeprefix("/bucket/"): memory.cat_file(n) for n in memory.find("/bucket/sessions")} == here
    assert session_is_done(there, SECOND)
    memory.store.clear()


def test_one_changed_bar_changes_every_digest_of_its_session_and_nothing_earlier(
    project: Project, now: datetime
) -> None:
    run(project, SESSIONS, now)
    before, session = snapshot(project.home), SESSIONS[5]
    raise_high(project.home, f"{session},MSFT,")
    run(project, SESSIONS, now)
    after = snapshot(project.home)
    old, new = of_session(before, session), of_session(after, session)
    assert {name for name in old if old[name] != new[name]} == ARTIFACTS
    log = "artifacts/predictions/2008-09.jsonl"
    # What was said first stays on record, whatever is said later.
    assert after[log].startswith(before[log])
    assert len(after[log]) > len(before[log])
    for name in before.keys() - {"data/sample/prices.csv.gz", log}:
        place = re.search(r"\d{4}-\d\d-\d\d", name)
        assert before[name] == after[name] or (place and place[0] >= session), name


@dataclass(frozen=True)
class Bad:
    """Something wrong in a project folder that holds the first two sessions, and what says so."""

    spoil: Callable[[Path], None]
    act: Callable[[Project, datetime], object]
    error: type[CountersignError]
    words: str


def flip(home: Path, pattern: str) -> None:
    """Change one bit in the middle of the artifact that matches."""
    (path,) = (home / "artifacts").glob(pattern)
    data = path.read_bytes()
    half = len(data) // 2
    path.write_bytes(data[:half] + bytes([data[half] ^ 1]) + data[half + 1 :])


def third(project: Project, now: datetime) -> object:
    return list(ingest_sessions(project, [SESSIONS[2]], now))


def unspoiled(home: Path) -> None:
    """Nothing is wrong with the folder: what is asked for is."""


FIRST, SECOND = SESSIONS[:2]
BAD = {
    "missing column": Bad(
        lambda home: deliver(home, [source_lines(home)[0].replace("close,adj", "clos,adj"), *source_lines(home)[1:]]),
        third,
        QualityError,
        "prices.csv.gz: expected .* columns .* missing close",
    ),
    "empty file": Bad(lambda home: deliver(home, []), third, SourceError, "prices.csv.gz: .* found an empty file"),
    "header only": Bad(lambda home: deliver(home, source_lines(home)[:1]), third, SourceError, "expected bars"),
    "no bars that session": Bad(
        lambda home: without(home, SESSIONS[2]), third, SourceError, f"expected bars of session {SESSIONS[2]}"
    ),
    "unknown symbol": Bad(
        lambda home: configure(home, "IBM, MSFT]", "IBM, MSTF]"), third, SourceError, "'MSTF' is not in .*MSFT"
    ),
    "unknown symbol in the history": Bad(
        lambda home: configure(home, "IBM, MSFT]", "IBM, MSTF]"), load_history, SourceError, "'MSTF' is not in .*MSFT"
    ),
    "unknown symbol in an evaluation": Bad(
        lambda home: configure(home, "IBM, MSFT]", "IBM, MSTF]"),
        lambda project, now: evaluate_source(project, None, None, now),
        SourceError,
        "'MSTF' is not in .*MSFT",
    ),
    "unknown session": Bad(
        unspoiled,
        lambda project, now: list(ingest_sessions(project, ["2008-09-06"], now)),
        SessionError,
        "2008-09-06 is no session of XNYS .* nearest are 2008-09-05 and 2008-09-08",
    ),
    "future session": Bad(
        unspoiled,
        lambda project, _: third(project, datetime(2008, 9, 4, 19, 59, tzinfo=UTC)),
        SessionError,
        "2008-09-04 closes at 2008-09-04 20:00 UTC .* newest closed session is 2008-09-03",
    ),
    "future session in a range": Bad(
        unspoiled,
        lambda project, _: list(ingest_sessions(project, SESSIONS, datetime(2008, 9, 10, 19, 59, tzinfo=UTC))),
        SessionError,
        "2008-09-10 closes at",
    ),
    "corrupt prices_raw": Bad(
        lambda home: flip(home, f"sessions/{SECOND}/prices_raw.*"),
        lambda project, _: list(clean_sessions(project, [SECOND])),
        ArtifactError,
        f"prices_raw of {SECOND} .* --select prices_raw --partition {SECOND}",
    ),
    "corrupt session before": Bad(
        lambda home: flip(home, f"sessions/{FIRST}/prices_clean.*"),
        lambda project, _: list(clean_sessions(project, [SECOND])),
        ArtifactError,
        f"prices_clean of {FIRST} .* --select prices_clean --partition {FIRST}",
    ),
    "corrupt prices_clean": Bad(
        lambda home: flip(home, f"sessions/{FIRST}/prices_clean.*"),
        lambda project, _: list(feature_sessions(project, [SECOND])),
        ArtifactError,
        f"prices_clean of {FIRST} .* --select prices_clean --partition {FIRST}",
    ),
    "corrupt history": Bad(
        lambda home: flip(home, "history/before_2008-09-02.parquet"),
        lambda project, _: list(feature_sessions(project, [SECOND])),
        ArtifactError,
        "history/before_2008-09-02 .* --select price_history",
    ),
    "corrupt features": Bad(
        lambda home: flip(home, f"sessions/{SECOND}/features.*"),
        lambda project, now: list(score_sessions(project, [SECOND], now)),
        ArtifactError,
        f"features of {SECOND} .* --select features --partition {SECOND}",
    ),
    "corrupt scores": Bad(
        lambda home: flip(home, f"sessions/{SECOND}/scores.*"),
        lambda project, _: list(report_sessions(project, [SECOND])),
        ArtifactError,
        f"scores of {SECOND} .* --select scores --partition {SECOND}",
    ),
    "corrupt rejected rows": Bad(
        lambda home: flip(home, f"sessions/{SECOND}/prices_rejected.*"),
        lambda project, _: list(report_sessions(project, [SECOND])),
        ArtifactError,
        f"prices_rejected of {SECOND} .* --select prices_clean --partition {SECOND}",
    ),
    "corrupt model": Bad(
        lambda home: flip(home, "models/*/model.json"),
        lambda project, now: list(score_sessions(project, [SECOND], now)),
        ArtifactError,
        "models/.*/model at .* truncated or altered",
    ),
    "changed journal": Bad(
        lambda home: flip(home, "journal.jsonl"),
        lambda project, now: list(score_sessions(project, [SECOND], now)),
        JournalError,
        "journal.jsonl, line 1: .* changed",
    ),
    "sessions before were not run": Bad(
        unspoiled,
        lambda project, _: list(feature_sessions(project, [SESSIONS[4]])),
        ArtifactError,
        rf"none for 3 sessions \({SESSIONS[2]} … {SESSIONS[4]}\).*--partition-range {SESSIONS[2]}...{SESSIONS[4]}",
    ),
    "commentary that is no UTF-8": Bad(
        lambda home: note(home, SECOND, "Käufe".encode("latin-1")),
        lambda project, _: list(report_sessions(project, [SECOND])),
        QualityError,
        f"{SECOND}.md: expected a text in UTF-8",
    ),
}


def note(home: Path, session: str, words: bytes) -> None:
    """Write a person's words on a session."""
    (home / "commentary").mkdir(exist_ok=True)
    (home / "commentary" / f"{session}.md").write_bytes(words)


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_wrong_input_raises_one_clear_message_and_changes_no_file(
    home_after_two: Path, now: datetime, bad: Bad
) -> None:
    bad.spoil(home_after_two)
    project, before = open_project(home_after_two, TODAY), snapshot(home_after_two)
    with pytest.raises(bad.error, match=bad.words) as refusal:
        bad.act(project, now)
    assert len(str(refusal.value).splitlines()) == 1
    assert snapshot(home_after_two) == before


def test_a_range_stops_at_the_session_that_is_refused_and_stores_nothing_of_it(
    json_project: Project, now: datetime
) -> None:
    without(json_project.home, SESSIONS[2])
    stored: list[str | None] = []
    with pytest.raises(SourceError, match=SESSIONS[2]):
        stored += (made.session for made in ingest_sessions(json_project, SESSIONS[:4], now))
    assert sorted(json_project.store.partitions()) == SESSIONS[:2]


def test_a_session_of_mostly_broken_bars_is_refused_by_cleaning_and_nothing_is_built_on_it(
    json_project: Project, now: datetime
) -> None:
    lines = [line.split(",") for line in source_lines(json_project.home)]
    deliver(
        json_project.home,
        [",".join([*r[:2], "-1", *r[3:]] if r[0] == SESSIONS[1] and r[1] != "AAPL" else r) for r in lines],
    )
    run(json_project, SESSIONS[:1], now)
    list(ingest_sessions(json_project, [SESSIONS[1]], now))
    before = snapshot(json_project.home)
    with pytest.raises(QualityError, match=f"prices_clean of {SESSIONS[1]} is refused: 3 of 4 rows rejected"):
        list(clean_sessions(json_project, [SESSIONS[1]]))
    assert snapshot(json_project.home) == before


def test_a_symbol_that_disappears_stops_the_session_where_it_is_too_large_a_share(
    json_project: Project, now: datetime
) -> None:
    without(json_project.home, f"{SESSIONS[1]},IBM,")
    run(json_project, SESSIONS[:1], now)
    before = snapshot(json_project.home)
    # One of the four symbols that traded in 2008; the shipped limit is 20 %.
    with pytest.raises(
        SourceError, match=r"of the 4 symbols of the session before, found none of IBM \(25%; limit 20%"
    ):
        list(ingest_sessions(json_project, [SESSIONS[1]], now))
    assert snapshot(json_project.home) == before


def test_a_damaged_table_of_the_quarter_is_refused_by_name_and_the_report_stays(
    home_after_two: Path,
) -> None:
    project = open_project(home_after_two, TODAY)
    flip(home_after_two, f"sessions/{FIRST}/drift.*")
    before = snapshot(home_after_two)
    with pytest.raises(ArtifactError, match=rf"drift of {FIRST} .* --select drift --partition {FIRST}"):
        list(report_sessions(project, [SECOND]))
    assert snapshot(home_after_two) == before


def test_a_page_says_what_it_is_made_from_beside_the_text_and_names_no_path_of_the_machine(two_run: Path) -> None:
    store = open_project(two_run, TODAY).store
    html, page = store.read_text("report", SECOND, "html")
    _, text = store.read_text("report", SECOND)
    assert set(page.inputs) - set(text.inputs) == {"quarter"}
    assert page.inputs["quarter"] != store.read_text("report", FIRST, "html")[1].inputs["quarter"]
    assert str(two_run) not in html
    assert f"<title>Session {SECOND} – Countersign</title>" in html
    assert html.endswith("</html>")


def test_a_symbol_that_disappears_is_reported_where_the_session_goes_on(json_home: Path, now: datetime) -> None:
    configure(json_home, "max_share: 0.2 ", "max_share: 0.3 ", "quality.yaml")
    without(json_home, f"{SESSIONS[1]},IBM,")
    project = open_project(json_home, TODAY)
    made = run(project, SESSIONS[:2], now)
    check = {c.name: c for c in made["prices_clean"][1].checks}["symbols_complete"]
    assert (check.status, check.refuses) == ("fail", False)
    text, _ = project.store.read_text("report", SESSIONS[1])
    assert "No bar of IBM, which traded the session before" in text
    assert "Missing since the session before: IBM." in " ".join(text.split())
    assert "IBM" not in project.store.read_table("scores", SESSIONS[1], SCORES).frame["symbol"].tolist()
    assert "IBM" not in project.store.read_text("report", SESSIONS[0])[0].split("NEEDS A PERSON")[1].split("DATA")[0]


@pytest.mark.parametrize(
    ("name", "columns", "edit", "step", "words"),
    [
        ("features", FEATURE_TABLE, lambda t: t.iloc[:0], partial(score_sessions, now=NOW), "0 rows"),
        ("scores", SCORES, lambda t: t.assign(bad_week_probability=1.5), report_sessions, "out of range: AAPL"),
    ],
    ids=["no features", "probabilities above one"],
)
def test_a_step_alone_refuses_a_whole_artifact_whose_numbers_its_maker_would_block(
    home_after_two: Path,
    name: str,
    columns: tuple[Column, ...],
    edit: Callable[[pd.DataFrame], pd.DataFrame],
    step: Callable[[Project, list[str]], Iterator[Made]],
    words: str,
) -> None:
    project = open_project(home_after_two, TODAY)
    table = project.store.read_table(name, SECOND, columns)
    project.store.write_table(name, SECOND, edit(table.frame), columns, table.stored.inputs)
    before = snapshot(home_after_two)
    with pytest.raises(QualityError, match=f"{name} of {SECOND} is refused: .*{words}"):
        list(step(project, [SECOND]))
    assert snapshot(home_after_two) == before


def test_a_symbol_with_a_short_history_is_flagged_and_scored_by_the_baseline_until_it_has_enough(
    empty_home: Path, now: datetime
) -> None:
    # GOOG lists on 2004-08-19: its first bar has no return, so that it has n returns n sessions later.
    configure(empty_home, "first_session: 2008-09-02", "first_session: 2004-08-19")
    for usual, quick in (
        ("start: 2000-03-01", "start: 2002-06-03"),
        ("min_training_sessions: 756", "min_training_sessions: 252"),
        ("bootstrap_replications: 500", "bootstrap_replications: 100"),
    ):
        configure(empty_home, usual, quick)
    project = open_project(empty_home, TODAY)
    load_history(project, now)
    train_first_model(project, now)
    sessions = project.calendar.lookback("2004-11-15", MIN_HISTORY + 2)
    assert sessions[0] == "2004-08-19"
    list(ingest_sessions(project, sessions, now))
    list(clean_sessions(project, sessions))
    features = list(feature_sessions(project, sessions))
    for age in (0, 1, MIN_HISTORY - 1, MIN_HISTORY, MIN_HISTORY + 1):
        session, checks = sessions[age], {c.name: c for c in features[age].checks}
        list(score_sessions(project, [session], now))
        list(outcome_sessions(project, [session]))
        list(drift_sessions(project, [session]))
        list(metric_sessions(project, [session], no_runs, now))
        list(report_sessions(project, [session]))
        scores = project.store.read_table("scores", session, SCORES).frame.set_index("symbol").loc["GOOG"]
        report, _ = project.store.read_text("report", session)
        assert scores["history_sessions"] == age
        if age < MIN_HISTORY:
            assert f"GOOG ({age})" in checks["history_sufficient"].sentence
            assert checks["history_sufficient"].status == "fail"
            assert scores["fallback_reason"] == f"short history: {age} of {MIN_HISTORY} sessions"
            assert scores["bad_week_probability"] == scores["baseline_probability"]
            assert scores["volatility_forecast"] == scores["baseline_volatility"]
            assert re.search(r"^ *GOOG +(approve|hold) .* baseline$", report, flags=re.M)
        else:
            assert checks["history_sufficient"].status == "pass"
            assert "short history" not in str(scores["fallback_reason"])
    kept = [project.store.read_table("features", s, FEATURE_TABLE, ("symbol",)).frame["symbol"] for s in sessions]
    assert all("GOOG" in symbols.tolist() for symbols in kept)


WORDS = """Lehman filed this morning; read the scores with that in mind.

| a table | of one hundred columns | that is not wrapped, since it is a person's and not the pipeline's |
-- artifact 0000000000000000000000000000000000000000000000000000000000000000
\tŽluťoučký kůň 株 — the end"""


@pytest.mark.parametrize("words", [WORDS, WORDS + "\n\n\n"], ids=["plain", "blank lines at the end"])
def test_a_persons_commentary_is_included_word_for_word(json_project: Project, now: datetime, words: str) -> None:
    run(json_project, SESSIONS[:1], now)
    assert "None has been written" in json_project.store.read_text("report", SESSIONS[0])[0]
    note(json_project.home, SESSIONS[0], words.encode())
    list(report_sessions(json_project, SESSIONS[:1]))
    text, _ = json_project.store.read_text("report", SESSIONS[0])
    assert text.partition("\nCOMMENTARY\n")[2].removesuffix("\n") == words.removesuffix("\n")


def outcomes(home: Path, sessions: list[str]) -> dict[str, tuple[str, str]]:
    """What came of each symbol after ``sessions[0]``, from the source's own lines: bad or fine, and the volatility."""
    bars = {(row["date"], row["symbol"]): row for row in csv.DictReader(io.StringIO("\n".join(source_lines(home))))}
    found = {}
    for symbol in ("AAPL", "GOOG", "IBM", "MSFT"):
        returns, variances = [], []
        for before, day in itertools.pairwise(sessions):
            bar, previous = bars[day, symbol], bars[before, symbol]
            o, h, low, c = (float(bar[name]) for name in ("open", "high", "low", "close"))
            returns.append(float(bar["adj_close"]) / float(previous["adj_close"]) - 1)
            gap = math.log1p(returns[-1]) - math.log(c / o)
            garman_klass = math.log(h / low) ** 2 / 2 - (2 * math.log(2) - 1) * math.log(c / o) ** 2
            variances.append(gap**2 + garman_klass)
        came = "bad" if min(returns) <= -0.03 else "fine"
        found[symbol] = came, f"{math.sqrt(sum(variances) / len(variances)):.2%}"
    return found


def test_outcomes_that_matured_agree_with_the_prices_that_followed(json_project: Project, now: datetime) -> None:
    sessions = json_project.calendar.between("2008-09-02", "2008-09-19")
    run(json_project, sessions, now)
    seen = set()
    for place, session in enumerate(sessions):
        part = json_project.store.read_text("report", session)[0].split("MATURED SINCE YESTERDAY\n")[1].split("\n\n")[0]
        if place < 5:
            assert "that one was not" in part
            continue
        title, *rows = [line.split() for line in part.splitlines()]
        assert title[:2] == ["scored", sessions[place - 5]]
        came = {row[0]: (row[3], row[5]) for row in rows if len(row) == 6 and row[1] in {"approve", "hold"}}
        assert came == outcomes(json_project.home, sessions[place - 5 : place + 1])
        seen |= {bad_or_fine for bad_or_fine, _ in came.values()}
    assert seen == {"bad", "fine"}


def daily_steps(project: Project, session: str, now: datetime) -> list[Callable[[], object]]:
    """The steps of ``session``, in order, for tests that stop between two of them."""
    return [
        lambda: list(ingest_sessions(project, [session], now)),
        lambda: list(clean_sessions(project, [session])),
        lambda: list(feature_sessions(project, [session])),
        lambda: list(score_sessions(project, [session], now)),
        lambda: list(outcome_sessions(project, [session])),
        lambda: list(drift_sessions(project, [session])),
        lambda: list(metric_sessions(project, [session], no_runs, now)),
        lambda: list(report_sessions(project, [session])),
    ]


def test_outcomes_hold_the_model_to_what_it_said_first_even_when_the_scores_were_made_again(
    json_home: Path, now: datetime
) -> None:
    project = open_project(json_home, TODAY)
    run(project, SESSIONS[:5], now)
    said = project.store.read_table("scores", FIRST, SCORES).frame.set_index("symbol")["bad_week_probability"]
    # The bars of the days before are restated, so the first session is scored again, otherwise than before.
    raise_high(json_home, f"{FIRST},MSFT,")
    run(project, SESSIONS[:6], now)
    again = project.store.read_table("scores", FIRST, SCORES).frame.set_index("symbol")["bad_week_probability"]
    assert again["MSFT"] != said["MSFT"]
    outcomes = project.store.read_table("outcomes", SESSIONS[5], OUTCOMES).frame.set_index("symbol")
    assert outcomes["bad_week_probability"].to_dict() == said.to_dict()


def test_a_session_is_done_once_its_whole_chain_is_there(project: Project, now: datetime) -> None:
    for step in daily_steps(project, FIRST, now):
        assert not session_is_done(project, FIRST)
        step()
    assert session_is_done(project, FIRST)
    assert not session_is_done(project, SECOND)


def test_a_session_with_an_altered_or_missing_artifact_is_not_done(home_after_two: Path, now: datetime) -> None:
    project = open_project(home_after_two, TODAY)
    for name in ARTIFACTS:
        (path,) = (home_after_two / "artifacts" / "sessions" / SECOND).glob(f"{name}*")
        whole = path.read_bytes()
        assert session_is_done(project, SECOND)
        flip(home_after_two, f"sessions/{SECOND}/{name}*")
        assert not session_is_done(project, SECOND), name
        path.unlink()
        assert not session_is_done(project, SECOND), name
        path.write_bytes(whole)


def test_a_session_whose_steps_were_run_again_in_part_is_not_done(home_after_two: Path, now: datetime) -> None:
    project = open_project(home_after_two, TODAY)
    raise_high(home_after_two, f"{FIRST},MSFT,")
    steps = daily_steps(project, FIRST, now)
    for number, step in enumerate(steps, start=1):
        step()
        assert session_is_done(project, FIRST) == (number == len(steps))
        # The session after was made from the bars of this one, which are others once these were cleaned again.
        assert session_is_done(project, SECOND) == (number < 2)


def test_a_session_is_done_only_with_the_words_that_a_person_has_written_on_it(
    home_after_two: Path, now: datetime
) -> None:
    project = open_project(home_after_two, TODAY)
    (home_after_two / "commentary").mkdir()
    (home_after_two / "commentary" / f"{SECOND}.md").write_text("Quiet.\n", encoding="utf-8")
    assert session_is_done(project, FIRST)
    assert not session_is_done(project, SECOND)
    list(report_sessions(project, [SECOND]))
    assert session_is_done(project, SECOND)


def test_a_report_of_scores_that_were_made_from_older_bars_says_that_they_are_stale(
    home_after_two: Path, now: datetime
) -> None:
    project = open_project(home_after_two, TODAY)
    raise_high(home_after_two, f"{SECOND},MSFT,")
    list(ingest_sessions(project, [SECOND], now))
    list(clean_sessions(project, [SECOND]))
    list(report_sessions(project, [SECOND]))
    person = project.store.read_text("report", SECOND)[0].split("NEEDS A PERSON")[1].split("\n\n")[0]
    assert "features were made from other bars than are there now" in " ".join(person.split())


def test_a_first_session_that_was_moved_later_leaves_no_gap_unnoticed(home_after_two: Path, now: datetime) -> None:
    configure(home_after_two, f"first_session: {FIRST}", f"first_session: {SESSIONS[2]}")
    project = open_project(home_after_two, TODAY)
    list(ingest_sessions(project, [SESSIONS[2]], now))
    list(clean_sessions(project, [SESSIONS[2]]))
    with pytest.raises(ArtifactError, match=f"history/before_{SESSIONS[2]} is not there yet .* --select price_history"):
        list(feature_sessions(project, [SESSIONS[2]]))
    load_history(project, now)
    list(feature_sessions(project, [SESSIONS[2]]))


def test_a_session_that_the_model_has_learned_from_is_never_scored_by_it(json_home: Path, now: datetime) -> None:
    configure(json_home, f"first_session: {FIRST}", "first_session: 2008-08-29")
    project = open_project(json_home, TODAY)
    load_history(project, now)
    list(ingest_sessions(project, ["2008-08-29"], now))
    list(clean_sessions(project, ["2008-08-29"]))
    list(feature_sessions(project, ["2008-08-29"]))
    before = snapshot(json_home)
    with pytest.raises(ModelError, match="expected a session after 2008-08-29, to which the model in service"):
        list(score_sessions(project, ["2008-08-29"], now))
    assert snapshot(json_home) == before


def test_sessions_go_on_after_one_that_the_source_never_delivers_once_a_person_has_accepted_that(
    home: Path, now: datetime
) -> None:
    without(home, f"{SECOND},")
    project = open_project(home, TODAY)
    run(project, [FIRST], now)
    list(ingest_sessions(project, [SESSIONS[2]], now))
    list(clean_sessions(project, [SESSIONS[2]]))
    with pytest.raises(ArtifactError, match=f"none for session {SECOND}.*name in missing_sessions"):
        list(feature_sessions(project, [SESSIONS[2]]))
    configure(home, "missing_sessions: []", f"missing_sessions: [{SECOND}]")
    project = open_project(home, TODAY)
    assert SECOND not in project.daily_sessions(now)
    run(project, SESSIONS[2:], now)
    assert all(session_is_done(project, session) for session in SESSIONS[2:])
    # No return can be known across the gap, and none is made up.
    raw = {made.session: made.checks for made in ingest_sessions(project, [SESSIONS[2]], now)}
    assert [check.status for check in raw[SESSIONS[2]] if check.name == "previous_close_known"] == ["fail"]
    # A week with a session that nobody saw has no known outcome.
    report = project.store.read_text("report", SESSIONS[5])[0]
    assert "0 of 4 outcomes known" in report


def test_a_bar_dated_on_a_weekend_is_rejected_with_a_reason_and_not_dropped(json_home: Path, now: datetime) -> None:
    monday = SESSIONS[4]
    deliver(json_home, [*source_lines(json_home), "2008-09-06,MSFT,26,27,25,26,26,1000"])
    configure(json_home, "max_share: 0.05 ", "max_share: 0.25 ", "quality.yaml")
    project = open_project(json_home, TODAY)
    list(ingest_sessions(project, [monday], now))
    (made,) = clean_sessions(project, [monday])
    assert made.numbers["rejected_rows"] == 1
    rejected = project.store.read_table("prices_rejected", monday, PRICES_REJECTED).frame
    assert rejected["rule"].tolist() == ["session"]


def test_the_order_of_the_source_changes_no_byte(json_home: Path, now: datetime) -> None:
    project = open_project(json_home, TODAY)
    run(project, SESSIONS[:2], now)
    before = snapshot(json_home / "artifacts")
    header, *rows = source_lines(json_home)
    deliver(json_home, [header, *reversed(rows)])
    load_history(project, now)
    run(project, SESSIONS[:2], now)
    assert snapshot(json_home / "artifacts") == before


def test_training_on_another_history_leaves_the_model_in_service_and_every_file(json_home: Path, now: datetime) -> None:
    raise_high(json_home, "2008-08-29,MSFT,")
    project = open_project(json_home, TODAY)
    load_history(project, now)
    before = snapshot(json_home)
    with pytest.raises(ModelError, match="is in service and stays"):
        train_first_model(project, now)
    assert snapshot(json_home) == before


def test_training_again_on_the_same_history_changes_nothing(json_project: Project, now: datetime) -> None:
    before = snapshot(json_project.home)
    made = train_first_model(json_project, now + timedelta(days=1))
    assert made.numbers["in_service"] == "unchanged"
    assert snapshot(json_project.home) == before


def test_a_configuration_that_cannot_be_used_changes_no_file(json_home: Path) -> None:
    configure(json_home, "format: ", "formt: ")
    before = snapshot(json_home)
    with pytest.raises(ConfigError, match="formt"):
        open_project(json_home, TODAY)
    assert snapshot(json_home) == before
