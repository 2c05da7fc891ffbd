"""Configuration: what is shipped says every setting, and what is wrong is told by key, value and what is allowed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from countersign.config import PipelineConfig, load_config
from countersign.errors import ConfigError

SHIPPED_WITHOUT_DEFAULTS = {"first_session", "history.start", "source.path"}
TOP = (
    "calendar, symbols, first_session, last_session, missing_sessions, history, source, model, artifacts, schedule, "
    "gate, push, executor"
)
SOURCE = "adjustment, live, kind, path, profile, symbol, rename, dates, decimal, max_bars"

Settings = dict[str, Any]


def settings_of(section: BaseModel, prefix: str = "") -> Iterator[tuple[str, object, object]]:
    """Key, value and default of every setting of a section and of those within it."""
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from settings_of(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value, field.get_default(call_default_factory=True)


def keys_of(settings: Settings, prefix: str = "") -> Iterator[str]:
    for name, value in settings.items():
        # An empty one is the value of a setting that holds names of the user's own.
        if isinstance(value, dict) and value:
            yield from keys_of(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


MINIMAL = """
first_session: 2008-09-02
history:
  start: 2000-03-01
source:
  path: prices.csv
"""


def home_with(folder: Path, text: str | bytes) -> Path:
    """A project folder with this configuration."""
    (folder / "config").mkdir()
    (folder / "config" / "pipeline.yaml").write_bytes(text.encode() if isinstance(text, str) else text)
    return folder


def loaded(folder: Path, changes: str) -> PipelineConfig:
    """The minimal configuration with ``changes``, whose keys replace those that are there."""
    first_lines = {line.partition(":")[0] for line in changes.splitlines()}
    kept, keep = [], True
    for line in MINIMAL.strip().splitlines():
        keep = keep if line.startswith(" ") else line.partition(":")[0] not in first_lines
        kept += [line] * keep
    return load_config(home_with(folder, "\n".join([*kept, changes])))


def refusal(folder: Path, changes: str) -> list[str]:
    """The problems that are found, one a line; each message names the file."""
    with pytest.raises(ConfigError) as caught:
        loaded(folder, changes)
    heading, *problems = str(caught.value).splitlines()
    assert heading == f"{folder / 'config' / 'pipeline.yaml'}: {len(problems)} setting(s) to correct:"
    return [problem.strip() for problem in problems]


# --- what is shipped


def test_the_shipped_file_shows_every_setting_and_its_defaults(root: Path) -> None:
    config = load_config(root)
    found = {key: (value, default) for key, value, default in settings_of(config)}
    shown = set(keys_of(yaml.safe_load((root / "config" / "pipeline.yaml").read_text())))
    assert shown == set(found)
    chosen = {key for key, (value, default) in found.items() if value != default}
    # Those that every project must set, and the symbols and the end of the bundled prices.
    assert chosen == SHIPPED_WITHOUT_DEFAULTS | {"symbols", "last_session"}


def test_only_the_dates_and_the_source_must_be_set(tmp_path: Path) -> None:
    config = load_config(home_with(tmp_path, MINIMAL))
    required = {key for key, _, default in settings_of(config) if repr(default) == "PydanticUndefined"}
    assert required == SHIPPED_WITHOUT_DEFAULTS
    assert (config.first_session, config.history.start) == (date(2008, 9, 2), date(2000, 3, 1))
    assert config.symbols is None


def test_a_loaded_configuration_cannot_be_changed(root: Path) -> None:
    config = load_config(root)
    with pytest.raises(ValueError, match="frozen"):
        config.model.cutoff = 0.5


# --- what a person may write


def test_what_yaml_would_misread_is_taken_as_it_is_written(tmp_path: Path) -> None:
    """YAML's own types: 18:00 is the number 1080, ON and NO are truth values, 0700 is octal."""
    config = loaded(tmp_path, "symbols: [ON, NO, 0700, 1e5, 2008-09-02]\nschedule: {time: 18:30}")
    assert config.symbols == ["ON", "NO", "0700", "1e5", "2008-09-02"]
    assert config.schedule.time == "18:30"


def test_numbers_and_truth_values_are_read_in_their_usual_spellings(tmp_path: Path) -> None:
    config = loaded(
        tmp_path, 'model: {ridge_penalty: 1e-3, cutoff: "0.3", seed: -1}\nsource: {path: a.csv, live: true}'
    )
    assert (config.model.ridge_penalty, config.model.cutoff, config.model.seed) == (0.001, 0.3, -1)
    assert config.source.live is True


def test_a_calendar_named_with_a_slash_needs_no_quotes(tmp_path: Path) -> None:
    assert loaded(tmp_path, "calendar: 24/7").calendar == "24/7"


# --- what is refused


@pytest.mark.parametrize(
    ("changes", "key", "value", "allowed"),
    [
        ("calendar: [XNYS]", "calendar", "['XNYS']", "valid string"),
        ("symbols: AAPL", "symbols", "'AAPL'", "valid list"),
        ("symbols: []", "symbols", "[]", "at least 1 item"),
        ("symbols: [AAPL, {name: IBM}]", "symbols.1", "{'name': 'IBM'}", "valid string"),
        ("first_session: 02.09.2008", "first_session", "'02.09.2008'", "a date as YYYY-MM-DD"),
        ("first_session: 2008-02-31", "first_session", "'2008-02-31'", "a date as YYYY-MM-DD"),
        ("first_session: 20080902", "first_session", "'20080902'", "a date as YYYY-MM-DD"),
        ("history: {start: yesterday}", "history.start", "'yesterday'", "a date as YYYY-MM-DD"),
        ("history: 2000-03-01", "history", "'2000-03-01'", "a section with the settings start"),
        ("push:", "push", "''", "a section with the settings gateway, textfile"),
        ("source: {path: a.csv, live: perhaps}", "source.live", "'perhaps'", "valid boolean"),
        (
            "source: {kind: ftp, path: a.csv}",
            "source.kind",
            "'ftp'",
            "one of 'files', 'http', 'sql', 'yfinance', 'own'",
        ),
        ("source: {path: a.csv, adjustment: none}", "source.adjustment", "'none'", "'splits', 'full' or 'both'"),
        ("source: {path: a.csv, profile: yahoo}", "source.profile", "'yahoo'", "auto or one of long, per_symbol, wide"),
        ("source: {path: a.csv, rename: {px: price}}", "source.rename.px", "'price'", "'adj_close' or 'volume'"),
        ("source: {path: a.csv, max_bars: 0}", "source.max_bars", "'0'", "greater than or equal to 1"),
        ("source: {kind: own, object: my_prices}", "source.object", "'my_prices'", "match pattern"),
        ("model: {ridge_penalty: 0}", "model.ridge_penalty", "'0'", "greater than 0"),
        ("model: {cutoff: 1}", "model.cutoff", "'1'", "less than 1"),
        ("model: {cutoff: 20 %}", "model.cutoff", "'20 %'", "valid number"),
        ("model: {seed: 1.5}", "model.seed", "'1.5'", "valid integer"),
        ("model: {min_training_sessions: 125}", "model.min_training_sessions", "'125'", "equal to 126"),
        ("model: {fold_sessions: 20}", "model.fold_sessions", "'20'", "equal to 21"),
        ("model: {bootstrap_replications: 99}", "model.bootstrap_replications", "'99'", "equal to 100"),
        ("model: {bootstrap_block_sessions: 4}", "model.bootstrap_block_sessions", "'4'", "equal to 5"),
        ("artifacts: {format: csv}", "artifacts.format", "'csv'", "'json' or 'parquet'"),
        ("schedule: {time: 24:00}", "schedule.time", "'24:00'", "match pattern"),
        ("schedule: {time: 6:30}", "schedule.time", "'6:30'", "match pattern"),
        ("executor: dask", "executor", "'dask'", "'in_process' or 'multiprocess'"),
    ],
)
def test_a_wrong_setting_is_told_by_its_key_its_value_and_what_is_allowed(
    tmp_path: Path, changes: str, key: str, value: str, allowed: str
) -> None:
    [problem] = refusal(tmp_path, changes)
    assert problem.startswith(f"{key}: ")
    assert allowed in problem
    assert problem.endswith(f"(value {value})")


@pytest.mark.parametrize("number", ["nan", ".nan", "inf", ".inf", "-inf", "1e999"])
@pytest.mark.parametrize("key", ["model.ridge_penalty", "model.logistic_penalty", "model.cutoff"])
def test_a_number_that_is_not_finite_is_refused(tmp_path: Path, key: str, number: str) -> None:
    section, name = key.split(".")
    [problem] = refusal(tmp_path, f"{section}: {{{name}: {number}}}")
    assert problem.startswith(f"{key}: ")
    assert problem.endswith(f"(value {number!r})")


@pytest.mark.parametrize(
    ("changes", "key", "allowed"),
    [
        ("callendar: XNYS", "callendar", TOP),
        ("1: x", "1", TOP),
        ("history: {start: 2000-03-01, end: 2008-01-01}", "history.end", "start"),
        ("source: {path: a.csv, password: x}", "source.password", SOURCE),
        ("source: {kind: own, object: m:C, path: a.csv}", "source.path", "adjustment, live, kind, object, options"),
        ("push: {url: [1, 2]}", "push.url", "gateway, textfile"),
    ],
)
def test_an_unknown_setting_is_refused_with_those_that_there_are_and_its_value_is_not_repeated(
    tmp_path: Path, changes: str, key: str, allowed: str
) -> None:
    assert refusal(tmp_path, changes) == [f"{key}: there is no such setting; allowed are {allowed}"]


HTTP, SQL = "source: {kind: http, url: ", "source: {kind: sql, url: "


@pytest.mark.parametrize(
    ("changes", "key", "allowed"),
    [
        (HTTP + "ftp://hush.example/}", "source.url", "expected http(s)://host/"),
        (HTTP + "https://me:hush@host/}", "source.url", "without a user"),
        (HTTP + '"https://{symbol}.hush/"}', "source.url", "placeholders in the host"),
        (HTTP + '"https://${HUSH}/"}', "source.url", "placeholders in the host"),
        (HTTP + '"https://host/{hush}"}', "source.url", "{session}, {start}, {end}, {symbol}"),
        (HTTP + '"https://host/?k=$hush{HUSH}{"}', "source.url", "{session}, {start}, {end}, {symbol}"),
        (HTTP + '"https://host/hush hush"}', "source.url", "without a user, spaces"),
        (HTTP + "https://host:hush/}", "source.url", "expected http(s)://host/"),
        (HTTP + "[hush]}", "source.url", "expected http(s)://host/"),
        (HTTP + "https://host/, headers: hush}", "source.headers", "names with values"),
        (HTTP + "https://host/, headers: {A: [hush]}}", "source.headers", "names with values"),
        (HTTP + 'https://host/, headers: {A: "hush\\r\\nB: c"}}', "source.headers", "names with values"),
        (HTTP + "https://host/, headers: {A: hush…}}", "source.headers", "names with values"),
        (HTTP + "https://host/, headers: {host: hush}}", "source.headers", "other than accept-encoding, connection"),
        (SQL + "hush, query: ':start :end'}", "source.url", "expected a URL of SQLAlchemy"),
        (SQL + "[hush], query: ':start :end'}", "source.url", "expected a URL of SQLAlchemy"),
        (SQL + "sqlite:///a.db, query: SELECT 1 WHERE day > :start}", "source.query", "expected :start and :end"),
        (SQL + "sqlite:///a.db, query: 'SELECT day::start, x:end'}", "source.query", "expected :start and :end"),
        ("source: {kind: yfinance}", "symbols", "must be set"),
        (HTTP + '"https://host/{symbol}"}', "symbols", "must be set"),
    ],
)
def test_a_setting_that_may_hold_a_key_is_told_without_its_value(
    tmp_path: Path, changes: str, key: str, allowed: str
) -> None:
    [problem] = refusal(tmp_path, changes)
    assert problem.startswith(f"{key}: ")
    assert allowed in problem
    assert "hush" not in problem.lower()


@pytest.mark.parametrize(
    ("changes", "key"), [("source: {live: false}", "source.path"), ("history: {}", "history.start")]
)
def test_a_setting_that_must_be_there_is_named(tmp_path: Path, changes: str, key: str) -> None:
    assert refusal(tmp_path, changes) == [f"{key}: is required and is not set"]


@pytest.mark.parametrize("first", ["2000-03-01", "1999-12-31"])
def test_a_history_that_does_not_lie_before_the_first_session_is_refused(tmp_path: Path, first: str) -> None:
    assert refusal(tmp_path, f"first_session: {first}") == [
        f"history.start must lie before first_session ({first}) (value 2000-03-01)"
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ("last_session: 2008-09-01", "last_session must not lie before first_session (2008-09-02) (value 2008-09-01)"),
        (
            "last_session: 2013-03-01\nsource: {path: a.csv, live: true}",
            "last_session must not be set where source.live is true: it has no end (value 2013-03-01)",
        ),
    ],
)
def test_a_last_session_before_the_first_or_of_a_live_source_is_refused(
    tmp_path: Path, changes: str, said: str
) -> None:
    assert refusal(tmp_path, changes) == [said]


def test_a_password_in_the_place_of_artifacts_is_refused_without_being_repeated(tmp_path: Path) -> None:
    [problem] = refusal(tmp_path, "artifacts: {root: 's3://me:secret@bucket/prefix'}")
    assert problem.startswith("artifacts.root: expected a URL without user or password")
    assert "secret" not in problem


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    problems = refusal(tmp_path, "executor: dask\nmodel: {cutoff: 2, sede: 1}\nfirst_session: never")
    assert [problem.partition(":")[0] for problem in problems] == [
        "first_session",
        "model.cutoff",
        "model.sede",
        "executor",
    ]


# --- files


def said_of(home: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(home)
    said = str(caught.value)
    assert str(home / "config" / "pipeline.yaml") in said
    return said


def test_a_folder_without_a_configuration_is_told_which_variable_to_set(tmp_path: Path) -> None:
    said = said_of(tmp_path)
    assert "No such file" in said
    assert "in COUNTERSIGN_HOME, or after countersign --home" in said


def test_a_folder_in_place_of_the_file_and_a_file_in_place_of_the_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config" / "pipeline.yaml").mkdir(parents=True)
    assert "Is a directory" in said_of(tmp_path)
    shutil.rmtree(tmp_path / "config")
    (tmp_path / "config").write_text("")
    assert "Not a directory" in said_of(tmp_path)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ("source: postgresql://me:secret@host/db", "source"),
        ("source: {path: ['s3://me:secret@bucket/a.csv']}", "source.path"),
        ("source: {kind: own, object: 'm:C', options: 'token=secret'}", "source.options"),
        ("source: {kind: own, object: 'm:C', options: [secret]}", "source.options"),
    ],
)
def test_what_may_hold_a_key_is_not_repeated_where_it_is_wrong(tmp_path: Path, changes: str, key: str) -> None:
    [problem] = refusal(tmp_path, changes)
    assert problem.startswith(f"{key}: ")
    assert problem.endswith("(value not shown, since it may hold a key)")
    assert "secret" not in problem


def test_a_line_that_is_no_yaml_is_named_and_not_repeated(tmp_path: Path) -> None:
    line = "source: {kind: own, options: {token: secret, b: [}}"
    said = said_of(home_with(tmp_path, f"{line}\n"))
    assert f"line 1, column {line.index('}') + 1}:" in said
    assert "secret" not in said


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param("calendar: [XNYS\n", "line 2", id="an open bracket"),
        pytest.param("calendar: XNYS\n\texecutor: x\n", "line 2", id="a tab"),
        pytest.param("a: b: c\n", "line 1", id="two colons"),
        pytest.param("calendar: XNYS\nsource: {path: a, path: b}\n", "path stands twice", id="a key twice"),
        pytest.param(b"calendar: \xff\n", "0xff", id="no UTF-8"),
    ],
)
def test_broken_yaml_is_refused_with_where_it_breaks(tmp_path: Path, text: str | bytes, found: str) -> None:
    said = said_of(home_with(tmp_path, text))
    assert "expected YAML" in said
    assert found in said


@pytest.mark.parametrize(
    ("text", "found"),
    [("", "an empty file"), ("# nothing yet\n", "an empty file"), ("- XNYS\n", "['XNYS']"), ("XNYS\n", "XNYS")],
)
def test_a_file_without_settings_is_refused_with_the_ones_that_there_are(tmp_path: Path, text: str, found: str) -> None:
    said = said_of(home_with(tmp_path, text))
    assert f"expected settings as 'key: value', found {found}" in said
    assert TOP in said


def test_a_tag_that_would_run_code_is_only_text(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    [problem] = refusal(tmp_path, f"executor: !!python/object/apply:os.mkdir [{trap}]")
    assert problem.startswith("executor: ")
    assert not trap.exists()
