"""The data contract at ingest: what no longer fits stops, a person accepts it, and what came before stays readable."""

from __future__ import annotations

import gzip
import re
import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from countersign.checks import RefusedError
from countersign.cli import main
from countersign.cli_schema import schema
from countersign.cli_terminal import Terminal
from countersign.contract import SchemaMapping, UnitFactor, contract_path, contract_text, load_contract
from countersign.errors import ConfigError, SessionError, SourceError
from countersign.history import life, life_text
from countersign.project import Project, open_project
from countersign.settings import parse_settings
from countersign.steps.amendment import Changes, accept, unrecorded
from countersign.steps.gate import verify_project
from countersign.steps.model import train_first_model
from countersign.steps.prices import clean_sessions, ingest_sessions, load_history
from countersign.steps.schema import deliver
from countersign.tables import PRICES_RAW

SESSION = "2008-09-03"
TODAY = date(2013, 3, 4)
Rows = list[list[str]]


def source(home: Path) -> Path:
    return home / "data" / "sample" / "prices.csv.gz"


def rows_of(home: Path) -> Rows:
    return [line.split(",") for line in gzip.decompress(source(home).read_bytes()).decode().splitlines()]


def change(home: Path, edit: Callable[[Rows], Rows]) -> None:
    """Have the source deliver its table as ``edit`` makes it."""
    source(home).write_bytes(gzip.compress("\n".join(map(",".join, edit(rows_of(home)))).encode(), 1))


def header(old: str, new: str) -> Callable[[Rows], Rows]:
    return lambda rows: [[new if name == old else name for name in rows[0]], *rows[1:]]


def without(name: str) -> Callable[[Rows], Rows]:
    def edit(rows: Rows) -> Rows:
        place = rows[0].index(name)
        return [[*row[:place], *row[place + 1 :]] for row in rows]

    return edit


def with_column(name: str, value: str) -> Callable[[Rows], Rows]:
    return lambda rows: [[*rows[0], name], *([*row, value] for row in rows[1:])]


def times(name: str, factor: float, since: str) -> Callable[[Rows], Rows]:
    def edit(rows: Rows) -> Rows:
        place, day = rows[0].index(name), rows[0].index("date")
        return [
            rows[0],
            *(
                [*r[:place], repr(float(r[place]) * factor), *r[place + 1 :]] if r[day] >= since and r[place] else r
                for r in rows[1:]
            ),
        ]

    return edit


def ingest(project: Project, now: datetime) -> Any:
    # As each run does: the contract may have changed since.
    (made,) = ingest_sessions(open_project(project.home, TODAY), [SESSION], now)
    return made


def bars(project: Project) -> dict[str, list[Any]]:
    frame = project.store.read_table("prices_raw", SESSION, PRICES_RAW).frame
    return {name: frame[name].tolist() for name in ("symbol", "open", "close", "volume")}


def agree(project: Project, now: datetime, **changes: Any) -> None:
    nothing: dict[str, Any] = {"rename": {}, "drop": (), "default": {}, "factor": {}}
    accept(project, SESSION, "ann", "the vendor's new file", now, Changes(**(nothing | changes)))


def snapshot(project: Project) -> dict[str, bytes]:
    files = [*(project.home / "artifacts").rglob("*"), *(project.home / "config").rglob("*")]
    return {str(path): path.read_bytes() for path in files if path.is_file()}


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (header("close", "px_last"), ["close: number in the contract, missing", "px_last: not in it"]),
        (without("volume"), ["volume: number in the contract, missing"]),
        (
            lambda rows: [rows[0], *([*r[:-1], "many"] for r in rows[1:])],
            ["volume: number in the contract, text in what arrived"],
        ),
    ],
    ids=["renamed", "missing", "another type"],
)
def test_a_source_that_no_longer_fits_stops_with_the_difference_column_by_column_and_writes_nothing(
    edit: Callable[[Rows], Rows], said: list[str], project: Project, now: datetime
) -> None:
    change(project.home, edit)
    before = snapshot(project)
    with pytest.raises(RefusedError, match="countersign schema diff") as caught:
        ingest(project, now)
    (verdict,) = [result for result in caught.value.results if result.name == "schema"]
    assert verdict.refuses
    assert all(words in verdict.sentence for words in said)
    assert [row["column"] for row in verdict.examples] == [words.split(":")[0] for words in said]
    assert snapshot(project) == before


@pytest.mark.parametrize("sessions", [["2008-09-03"], ["2008-09-02", "2008-09-03", "2008-09-04"]], ids=["one", "range"])
@pytest.mark.parametrize(
    ("lost", "stand_in"), [(("volume",), 7.0), (("open", "high", "low"), None)], ids=["volume", "ranges"]
)
def test_of_a_folder_with_a_file_a_day_the_session_whose_file_lacks_a_column_is_refused(
    lost: tuple[str, ...], stand_in: float | None, sessions: list[str], project: Project, now: datetime
) -> None:
    rows = rows_of(project.home)
    # The last one, for FB, which is configured.
    for day in ("2008-08-29", "2008-09-02", "2008-09-03", "2008-09-04", "2013-03-01"):
        kept = [n for n, name in enumerate(rows[0]) if day != SESSION or name not in lost]
        text = "\n".join(",".join(row[n] for n in kept) for row in rows if row[0] in ("date", day))
        (project.home / "data" / f"{day}.csv").write_text(text)
    shutil.rmtree(source(project.home).parent)
    settings = project.home / "config" / "pipeline.yaml"
    settings.write_text(settings.read_text().replace("data/sample/prices.csv.gz", "data"))
    daily = open_project(project.home, TODAY)
    with pytest.raises(RefusedError, match=f"{lost[0]}: number in the contract, missing .* --drop {lost[0]} "):
        list(ingest_sessions(daily, sessions, now))
    # What came before it in the range is as whole as ever.
    assert [day for day in sessions if daily.store.has("prices_raw", day)] == sessions[: sessions.index(SESSION)]
    agree(daily, now, default=dict.fromkeys(lost, stand_in))
    list(ingest_sessions(open_project(project.home, TODAY), sessions, now))
    for day in sessions:
        cells = daily.store.read_table("prices_raw", day, PRICES_RAW).frame[lost[0]]
        assert (cells.isna() if stand_in is None else cells == stand_in).tolist() == [day == SESSION] * 4


def test_a_further_column_is_told_of_and_stops_nothing_until_a_person_knows_it(project: Project, now: datetime) -> None:
    change(project.home, with_column("exchange", "N"))

    def schema() -> Any:
        return next(check for check in ingest(project, now).checks if check.name == "schema")

    assert (schema().status, schema().blocking) == ("fail", False)
    agree(project, now, drop=["exchange"])
    assert schema().status == "pass"


def test_a_renamed_column_is_read_once_a_person_accepted_it_and_the_old_file_still_is(
    project: Project, now: datetime
) -> None:
    ingest(project, now)
    expected, old = bars(project), source(project.home).read_bytes()
    change(project.home, header("close", "Px.Last"))
    agree(project, now, rename={"Px.Last": "close"})
    ingest(project, now)
    assert bars(project) == expected
    source(project.home).write_bytes(old)
    ingest(project, now)
    assert bars(project) == expected


def test_a_column_that_no_longer_arrives_is_filled_as_accepted_and_counts_for_nobody_as_missing(
    project: Project, now: datetime
) -> None:
    change(project.home, without("volume"))
    agree(project, now, default={"volume": None})
    assert ingest(project, now).checks[0].status == "pass"
    assert all(value != value for value in bars(project)["volume"]), "null, and not 0"
    assert "volume" not in {column.name for column in load_contract(project.home).measured_columns}
    agree(project, now, default={"volume": 7.0})
    ingest(project, now)
    assert set(bars(project)["volume"]) == {7.0}


def test_another_unit_is_multiplied_from_its_first_session_on_and_before_it_not(
    project: Project, now: datetime
) -> None:
    ingest(project, now)
    expected = bars(project)
    change(project.home, times("open", 100, SESSION))
    agree(project, now, factor={"open": (0.01, date.fromisoformat(SESSION))})
    ingest(project, now)
    assert bars(project)["open"] == pytest.approx(expected["open"], rel=1e-12)
    before = deliver(project, "2008-09-02", "2008-09-02").bars
    assert before is not None
    price = dict(zip(before["symbol"], before["open"], strict=True))
    raw = {row[1]: float(row[2]) for row in rows_of(project.home) if row[0] == "2008-09-02"}
    assert {symbol: raw[symbol] for symbol in price} == price


def test_what_was_accepted_by_whom_and_why_is_on_record_and_the_journal_verifies(
    project: Project, now: datetime
) -> None:
    change(project.home, header("close", "px_last"))
    agree(project, now, rename={"px_last": "close"})
    line = project.journal.read()[-1]
    assert (line["event"], line["by"], line["reason"]) == ("schema_accepted", "ann", "the vendor's new file")
    assert line["mapping"]["rename"] == {"px_last": "close"}
    assert line["contract_before"] != line["contract_after"]
    (*_, told) = life_text(life(project.journal.read())).splitlines()
    assert "ann  the vendor's new file; rename" in told
    assert "px_last" in told
    assert verify_project(project)[1:] == ([], [])


def test_a_source_that_never_had_volumes_is_accepted_before_the_first_model(empty_home: Path, now: datetime) -> None:
    change(empty_home, without("volume"))
    with pytest.raises(RefusedError, match="volume: number in the contract, missing"):
        load_history(open_project(empty_home, TODAY), now)
    agree(open_project(empty_home, TODAY), now, drop=["volume"])
    assert load_contract(empty_home).mapping == SchemaMapping(), "should it come one day, that is another difference"
    project = open_project(empty_home, TODAY)
    load_history(project, now)
    train_first_model(project, now)
    assert [line["event"] for line in project.journal.read()] == ["schema_accepted", "deployed"]
    assert verify_project(project)[1:] == ([], [])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "expected a change"),
        ({"rename": {"px_last": "price"}}, "expected one of the columns"),
        ({"rename": {"px_first": "close"}}, "expected that what arrives of 2008-09-03 then fits"),
        ({"drop": ["volume"]}, "expected that what arrives of 2008-09-03 then fits"),
        ({"drop": ["close"]}, "expected columns that bars can do without, found close"),
        ({"factor": {"open": (float("inf"), None)}}, "expected factors and defaults as finite numbers"),
        ({"default": {"symbol": 3.0}}, "expected factors and defaults as finite numbers"),
    ],
    ids=["nothing", "no such column", "another name", "not what differs", "the close", "no number", "of a name"],
)
def test_what_would_not_make_the_delivery_fit_is_refused_and_writes_nothing(
    changes: dict[str, Any], said: str, project: Project, now: datetime
) -> None:
    change(project.home, header("close", "px_last"))
    before = snapshot(project)
    with pytest.raises(ConfigError, match=said):
        agree(project, now, **changes)
    assert snapshot(project) == before


@pytest.mark.parametrize(("by", "reason"), [("ann", " "), ("", "new file"), ("ann\x1b[31m", "new file")])
def test_nobody_accepts_a_schema_without_a_name_and_a_reason(
    by: str, reason: str, project: Project, now: datetime
) -> None:
    with pytest.raises(ConfigError, match="Nothing was accepted"):
        accept(project, SESSION, by, reason, now, Changes({}, ["x"], {}, {}))


def test_a_column_that_arrives_and_is_dropped_is_read_as_missing_in_the_history_too(
    empty_home: Path, now: datetime
) -> None:
    agree(open_project(empty_home, TODAY), now, drop=["volume"])
    load_history(open_project(empty_home, TODAY), now)
    assert ingest(open_project(empty_home, TODAY), now).checks[0].status == "pass"


def test_what_stands_in_a_column_that_is_not_read_makes_no_row_unreadable_and_in_another_one_it_does(
    project: Project, now: datetime
) -> None:
    ingest(project, now)
    expected = bars(project) | {"volume": [None] * 4}
    change(project.home, lambda rows: [rows[0], *([*r[:-1], "n.v. 'low='"] for r in rows[1:])])
    agree(project, now, drop=["volume"])
    ingest(project, now)
    assert {name: [None if v != v else v for v in found] for name, found in bars(project).items()} == expected
    (made,) = clean_sessions(project, [SESSION])
    assert made.numbers["rejected_rows"] == 0

    place = rows_of(project.home)[0].index("open")
    odd = [SESSION, "IBM"]
    change(
        project.home, lambda rows: [[*r[:place], "volume='1'", *r[place + 1 :]] if r[:2] == odd else r for r in rows]
    )
    ingest(project, now)
    notes = project.store.read_table("prices_raw", SESSION, PRICES_RAW).frame.set_index("symbol")["unreadable"].dropna()
    assert notes.to_dict() == {"IBM": "open=\"volume='1'\""}


def test_the_column_of_symbols_is_read_by_another_name_once_a_person_accepted_it(
    project: Project, now: datetime
) -> None:
    ingest(project, now)
    expected = bars(project)
    change(project.home, header("symbol", "isin code"))
    agree(project, now, rename={"isin code": "symbol"})
    ingest(project, now)
    assert bars(project) == expected
    change(project.home, with_column("symbol", "IBM"))
    with pytest.raises(RefusedError, match="symbol: string in the contract, twice in what arrived"):
        ingest(project, now)


def test_a_contract_is_read_as_it_is_written_with_its_comment(project: Project) -> None:
    path = contract_path(project.home)
    text, contract = path.read_text(encoding="utf-8"), load_contract(project.home)
    mapping = SchemaMapping(
        rename={'Px: "last"': "close", "vol": "volume"},
        drop=("exchange", "a b"),
        default={"volume": None, "adj_close": 1e-7},
        factor={
            "open": (UnitFactor(by=0.01, since=date(2013, 1, 2)),),
            "close": (UnitFactor(by=100.0), UnitFactor(by=1.0, since=date(2013, 1, 2))),
        },
    )
    changed = contract.model_copy(update={"mapping": mapping})
    written = contract_text(changed, text)
    assert parse_settings(written.encode(), path, type(contract)) == changed
    assert written.splitlines()[0] == text.splitlines()[0]
    assert contract_text(contract, text).count("mapping") == 0


# --- what an amendment is tried on


PRICES = ("open", "high", "low", "close", "adj_close")


def by(factor: float, *names: str) -> dict[str, tuple[float, date | None]]:
    return dict.fromkeys(names, (factor, None))


@pytest.mark.parametrize(
    ("factor", "said"),
    [
        (by(1e-5, "open"), r"4 of 4 rows rejected \(100\.0%; limit 5\.0%\): 4 broke the rule 'range'"),
        (by(1e-15, *PRICES), "4 broke the rule 'positive'"),
        ({name: (0.01, date(2008, 9, 3)) for name in PRICES}, "4 broke the rule 'unit_change'"),
        (by(100, *PRICES[:4]), "closes and adjusted closes in one unit"),
        (by(100, "adj_close"), "closes and adjusted closes in one unit"),
    ],
    ids=["one price", "too small", "a step", "quoted alone", "adjusted alone"],
)
def test_a_factor_with_which_the_bars_break_the_rules_or_their_adjustment_is_refused_and_writes_nothing(
    factor: dict[str, Any], said: str, project: Project, now: datetime
) -> None:
    before = snapshot(project)
    with pytest.raises(ConfigError, match=said):
        agree(project, now, factor=factor)
    assert snapshot(project) == before


def test_adjusted_closes_in_another_unit_than_the_closes_are_brought_to_it_with_and_without_a_history(
    empty_home: Path, now: datetime
) -> None:
    for name in PRICES[:4]:
        change(empty_home, times(name, 100, "2000-01-01"))
    with pytest.raises(ConfigError, match=r"in one unit: adj_close is .* of close with these factors"):
        agree(open_project(empty_home, TODAY), now, factor=by(0.01, "adj_close"))
    agree(open_project(empty_home, TODAY), now, factor=by(0.01, *PRICES[:4]))
    load_history(open_project(empty_home, TODAY), now)
    with pytest.raises(ConfigError, match="in what is stored"):
        agree(open_project(empty_home, TODAY), now, factor={"adj_close": (100.0, None)})


def test_a_mapping_that_takes_away_the_declared_adjusted_closes_is_refused(project: Project, now: datetime) -> None:
    with pytest.raises(SourceError, match=r"source\.adjustment is both: expected adjusted closes"):
        agree(project, now, drop=["adj_close"])


def test_another_unit_for_the_second_time_leaves_sessions_of_the_first_as_they_were_read(
    project: Project, now: datetime
) -> None:
    """Open comes times 100, and from 2008-09-03 on as it once did."""
    expected = {day: opens(project, day) for day in ("2008-09-02", SESSION)}
    change(project.home, times("open", 100, "2000-01-01"))
    agree(project, now, factor=by(0.01, "open"))
    assert opens(project, SESSION) == pytest.approx(expected[SESSION], rel=1e-12)
    change(project.home, times("open", 0.01, SESSION))
    with pytest.raises(ConfigError, match=r"has one \(0\.01\), without its first session: write --factor open=NUMBER@"):
        agree(project, now, factor=by(1, "open"))
    agree(project, now, factor={"open": (1.0, date.fromisoformat(SESSION))})
    for day, prices in expected.items():
        assert opens(project, day) == pytest.approx(prices, rel=1e-12)
    assert project.journal.read()[-1]["changed"] == ["factor of open: 0.01 → 0.01, 1 from 2008-09-03 on"]


def opens(project: Project, day: str) -> list[float]:
    found = deliver(open_project(project.home, TODAY), day, day).bars
    assert found is not None
    return list(found["open"])


def test_what_stands_in_for_a_column_is_in_the_unit_of_the_contract(project: Project, now: datetime) -> None:
    agree(project, now, factor=by(0.01, "volume"))
    change(project.home, without("volume"))
    agree(project, now, default={"volume": 7.0})
    ingest(project, now)
    assert set(bars(project)["volume"]) == {7.0}


def test_a_column_that_arrives_beside_the_one_that_took_its_place_is_neither_accepted_nor_read(
    project: Project, now: datetime
) -> None:
    both = with_column("px_last", "1")
    original = source(project.home).read_bytes()
    change(project.home, both)
    with pytest.raises(ConfigError, match="px_last renamed to close, which arrives already: leave one of the two out"):
        agree(project, now, rename={"px_last": "close"})
    source(project.home).write_bytes(original)
    change(project.home, header("close", "px_last"))
    agree(project, now, rename={"px_last": "close"})
    source(project.home).write_bytes(original)
    change(project.home, both)
    with pytest.raises(RefusedError, match="close: number in the contract, twice in what arrived"):
        ingest(project, now)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rename": {"Open": "close"}}, "Open renamed, which is itself a column of the contract"),
        ({"rename": {"": "close"}}, "'', which names no column"),
        ({"rename": {"px_last": ""}}, "expected one of the columns .*, found ''"),
        ({"rename": {"px_last": "close"}, "drop": ["Px Last"]}, "px_last dropped and renamed"),
        ({"drop": [""]}, "'', which names no column"),
        ({"drop": ["exchnage"]}, "exchnage dropped, which nobody delivers"),
        ({"drop": ["volume"], "default": {"volume": 0.0}}, "volume dropped and given a default"),
        ({"drop": ["volume"], "factor": by(2, "volume")}, "volume, which the contract does not have: take it in with"),
        ({"default": {"volume": 0.0}}, "a default of volume, which arrives"),
        ({"factor": {"open": (0.01, date(2008, 9, 4))}}, "a factor of open from 2008-09-04 on, which no bar shows yet"),
        ({"factor": by(1, "open")}, "expected a change of the contract"),
    ],
)
def test_what_contradicts_itself_or_is_about_nothing_that_arrives_is_refused_by_name(
    changes: dict[str, Any], said: str, project: Project, now: datetime
) -> None:
    before = snapshot(project)
    with pytest.raises(ConfigError, match=said):
        agree(project, now, **changes)
    assert snapshot(project) == before


@pytest.mark.parametrize("name", ["Цена", "終値", "Κλείσιμο"])
def test_names_in_other_scripts_are_told_apart_and_can_be_renamed(name: str, project: Project, now: datetime) -> None:
    ingest(project, now)
    expected = bars(project)
    change(project.home, header("close", name))
    change(project.home, with_column("市場", "T"))
    agree(project, now, rename={name: "close"}, drop=["市場"])
    assert ingest(project, now).checks[0].status == "pass"
    assert bars(project) == expected


def test_a_name_that_was_accepted_for_one_column_is_not_given_to_another(project: Project, now: datetime) -> None:
    change(project.home, header("close", "px"))
    agree(project, now, rename={"px": "close"})
    for changes in ({"rename": {"px": "open"}}, {"drop": ["px"]}):
        with pytest.raises(ConfigError, match=r"which (was accepted|is read) as close"):
            agree(open_project(project.home, TODAY), now, **changes)


def test_the_check_of_a_session_says_by_which_contract_it_was_read(project: Project, now: datetime) -> None:
    def contract() -> Any:
        return ingest(project, now).checks[0].numbers["contract"]

    first = contract()
    path = contract_path(project.home)
    path.write_text("# another comment\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    assert contract() == first == load_contract(project.home).digest
    agree(project, now, factor=by(0.01, "volume"))
    assert contract() != first


def test_prices_raw_records_its_contract_and_has_the_same_bytes_under_the_same_one(
    project: Project, now: datetime
) -> None:
    first = ingest(project, now)
    path = contract_path(project.home)
    path.write_text("# another comment\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    assert ingest(project, now).stored.sha256 == first.stored.sha256
    digest = load_contract(project.home).digest
    assert (first.stored.inputs["contract"], first.numbers["contract"]) == (digest, digest)
    agree(project, now, drop=["volume"])
    other = ingest(project, now)
    assert other.stored.inputs["contract"] == load_contract(project.home).digest != digest


def test_prices_raw_of_before_contracts_were_recorded_is_still_read(project: Project, now: datetime) -> None:
    made = ingest(project, now)
    frame = project.store.read_table("prices_raw", SESSION, PRICES_RAW).frame
    inputs = {name: value for name, value in made.stored.inputs.items() if name != "contract"}
    project.store.write_table("prices_raw", SESSION, frame, PRICES_RAW, inputs)
    (cleaned,) = clean_sessions(open_project(project.home, TODAY), [SESSION])
    assert cleaned.numbers["rows"] == 4


# --- what may come between


def test_an_acceptance_that_broke_off_before_the_file_was_written_is_told_of_and_can_be_given_again(
    project: Project, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(point: str) -> None:
        raise KeyboardInterrupt(point)

    change(project.home, header("close", "px_last"))
    before = contract_path(project.home).read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr("countersign.steps.amendment.reached", stop)
        with pytest.raises(KeyboardInterrupt, match="schema: journaled"):
            agree(project, now, rename={"px_last": "close"})
    assert contract_path(project.home).read_bytes() == before
    assert "is not the contract that ann accepted last, for 2008-09-03" in unrecorded(project)
    agree(project, now, rename={"px_last": "close"})
    assert unrecorded(project) == ""
    assert verify_project(project)[1:] == ([], [])


def test_a_mapping_that_was_edited_by_hand_is_told_of_and_a_comment_is_not(project: Project, now: datetime) -> None:
    agree(project, now, factor=by(0.01, "volume"))
    path = contract_path(project.home)
    path.write_text("# another comment\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    assert unrecorded(project) == ""
    path.write_text(path.read_text(encoding="utf-8").replace("by: 0.01", "by: 0.02"), encoding="utf-8")
    shown = shell(project.home, "diff", SESSION)
    assert "is not the contract that ann accepted last" in shown.stderr
    assert "edited by hand" in shown.stderr


def test_a_contract_that_is_a_link_stays_one(project: Project, now: datetime) -> None:
    path, kept = contract_path(project.home), project.home / "kept.yaml"
    path.rename(kept)
    path.symlink_to(kept)
    agree(project, now, factor=by(0.01, "volume"))
    assert path.is_symlink()
    assert load_contract(project.home).mapping.factor_of("volume", SESSION) == 0.01


MEANWHILE = """
import gzip, pathlib
import pandas as pd

class Source:
    uri = "own"

    def __init__(self, options):
        self.home = pathlib.Path(options["home"])

    def symbols(self):
        return ["AAPL", "FB", "GOOG", "IBM", "MSFT"]

    def read(self, first, last):
        contract = self.home / "config" / "contracts" / "prices.yaml"
        contract.write_text("# by another person\\n" + contract.read_text())
        return pd.read_csv(self.home / "data" / "sample" / "prices.csv.gz")
"""


def test_of_two_acceptances_at_the_same_time_the_second_is_refused(project: Project, now: datetime) -> None:
    (project.home / "meanwhile_source.py").write_text(MEANWHILE, encoding="utf-8")
    settings = project.home / "config" / "pipeline.yaml"
    text = settings.read_text(encoding="utf-8")
    own = f'source:\n  kind: own\n  object: "meanwhile_source:Source"\n  options: {{home: "{project.home}"}}\n'
    settings.write_text(re.sub(r"source:\n(  .*\n)+", f"{own}  adjustment: both\n", text), encoding="utf-8")
    opened = open_project(project.home, TODAY)
    with pytest.raises(ConfigError, match="has changed meanwhile"):
        agree(opened, now, factor=by(0.01, "volume"))
    assert all(line["event"] != "schema_accepted" for line in opened.journal.read())
    assert load_contract(project.home).mapping == SchemaMapping()


def test_the_refusal_of_a_source_with_closes_alone_has_the_command_that_accepts_it(
    project: Project, now: datetime
) -> None:
    dropped = ["open", "high", "low", "volume"]
    for name in dropped:
        change(project.home, without(name))
    command = f"countersign schema accept --drop {' --drop '.join(dropped)} --by NAME"
    with pytest.raises(RefusedError, match=command):
        ingest(project, now)
    agree(project, now, drop=dropped)
    ingest(project, now)


def test_numbers_with_commas_are_refused_with_the_setting_that_says_what_these_are(
    project: Project, now: datetime
) -> None:
    change(project.home, lambda rows: [rows[0], *([*r[:5], f'"{r[5]},5"', *r[6:]] for r in rows[1:])])
    with pytest.raises(
        RefusedError, match=r"close: number in the contract, text .* say what these are in source\.decim"
    ):
        ingest(project, now)


def shell(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--home", str(home), "schema", *arguments])


def test_the_commands_show_the_difference_accept_it_and_show_none_any_more(project: Project) -> None:
    home = project.home
    assert shell(home, "diff", SESSION).exit_code == 0
    change(home, header("close", "px_last"))
    shown = shell(home, "diff", SESSION)
    assert shown.exit_code == 1
    assert re.search(r"close +number +missing\npx_last +not in it +new", shown.stdout)
    assert 'countersign schema accept --rename px_last=close --by NAME --reason "…"' in shown.stderr
    done = shell(home, "accept", SESSION, "--rename", "px_last=close", "--by", "ann", "--reason", "a new file")
    assert done.exit_code == 0
    assert f"\nLook at what changed there, then: countersign run --session {SESSION}\n" in done.stdout
    assert shell(home, "diff", SESSION).exit_code == 0


def test_a_column_of_other_names_that_are_known_is_missing_alone(project: Project) -> None:
    home = project.home
    theirs = ["Datum", "Titel", "Anfang", "Hoch", "Tief", "Schluss", "Bereinigt", "Menge"]
    ours = ["date", "symbol", "open", "high", "low", "close", "adj_close", "volume"]
    pipeline = home / "config/pipeline.yaml"
    names = ", ".join(f"{their}: {our}" for their, our in zip(theirs, ours, strict=True))
    pipeline.write_text(pipeline.read_text().replace("rename: {}", f"rename: {{{names}}}"))
    change(home, lambda rows: [theirs, *rows[1:]])
    assert shell(home, "diff", SESSION).exit_code == 0
    change(home, header("Schluss", "Schlusskurs"))
    shown = shell(home, "diff", SESSION)
    assert [line.split()[0] for line in shown.stdout.splitlines()[1:]] == ["close", "schlusskurs"]
    assert "countersign schema accept --rename schlusskurs=close" in shown.stderr


@pytest.mark.parametrize(
    "argument",
    [
        ["--rename", "px_last"],
        ["--rename", "=close"],
        ["--rename", "px_last=close", "--rename", "px_last=open"],
        ["--default", "volume=many"],
        ["--factor", "open=0.01@soon"],
    ],
)
def test_a_change_that_is_none_is_a_usage_error(argument: list[str], project: Project) -> None:
    done = shell(project.home, "accept", SESSION, "--by", "ann", "--reason", "x", *argument)
    assert (done.exit_code, "expected" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("session", "said"),
    [
        (["2008-09-06"], "2008-09-06 is no session of XNYS .*; the nearest are 2008-09-05 and 2008-09-08"),
        (["2008-09-03"], "expected a session that has closed; 2008-09-03 closes at 2008-09-03 20:00 UTC"),
        ([], "no session from first_session, 2008-09-02, on has closed yet: name one"),
    ],
    ids=["a Saturday", "not over", "none so far"],
)
@pytest.mark.parametrize("command", [["diff"], ["accept", "--drop", "volume", "--by", "ann", "--reason", "x"]])
def test_a_day_that_is_no_closed_session_is_named_as_such(
    command: list[str], session: list[str], said: str, empty_home: Path
) -> None:
    morning = datetime(2008, 9, 2, 12, tzinfo=UTC)
    terminal = Terminal(empty_home, lambda: morning, None, empty_home)
    done = CliRunner().invoke(schema, [*command, *session], obj=terminal)
    assert isinstance(done.exception, SessionError)
    assert re.search(said, str(done.exception))
