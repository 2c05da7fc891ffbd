"""A project folder begun from a user's own prices: what is guessed, what is written, and what refuses it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from countersign.cli import main
from countersign.config import FileSourceConfig, load_config
from countersign.contract import load_contract
from countersign.errors import ConfigError, SourceError
from countersign.guesses import adjustment_guess, span_guesses
from countersign.prices.sources.shapes import Arrived
from countersign.project import open_project
from countersign.sessions import load_calendar
from countersign.steps.init import Layout, Started, init_project

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def panel(code: str, symbols: list[str], tmp_path: Path, first: str = "2009-01-02", last: str = "2013-03-01") -> Any:
    """A random walk on the sessions of the exchange ``code``, high and low half a percent away."""
    days = load_calendar(code, "2008-01-02", "2013-12-31", tmp_path / "calendars").between(first, last)
    random = np.random.default_rng(7)
    close = 100 * np.exp(np.cumsum(random.normal(0, 0.015, (len(days), len(symbols))), axis=0))
    opened = np.vstack([close[:1], close[:-1]])
    values = {"open": opened, "high": np.maximum(opened, close) * 1.005, "low": np.minimum(opened, close) * 0.995}
    index = pd.MultiIndex.from_product([days, symbols], names=["date", "symbol"])
    columns = {name: value.ravel() for name, value in (values | {"close": close}).items()}
    return pd.DataFrame(columns, index=index).round(4).assign(volume=1000).reset_index()


def begun(tmp_path: Path, prices: Path, **given: Any) -> tuple[dict[str, str], Started]:
    found = init_project(tmp_path / "project", str(prices), NOW, **given)
    return {guess.setting: guess.value for guess in found.guesses}, found


def test_a_bulk_file_of_stooq_from_london_becomes_a_project_on_londons_sessions(tmp_path: Path) -> None:
    bars = panel("XLON", ["VOD.UK", "BP.UK"], tmp_path)
    stooq = pd.DataFrame(
        {
            "<TICKER>": bars["symbol"],
            "<PER>": "D",
            "<DATE>": bars["date"].str.replace("-", ""),
            "<TIME>": "000000",
            **{f"<{name.upper()}>": bars[name] for name in ("open", "high", "low", "close")},
            "<VOL>": bars["volume"],
            "<OPENINT>": 0,
        }
    )
    prices = tmp_path / "uk.txt"
    stooq.to_csv(prices, index=False)
    guessed, found = begun(tmp_path, prices)
    days = sorted(bars["date"].unique())
    assert guessed == {
        "source.path": str(prices),
        "source.adjustment": "splits",
        "calendar": "XLON",
        "symbols": "[BP.UK, VOD.UK]",
        "history.start": "2009-01-02",
        "first_session": days[-21],
        "last_session": "2013-03-01",
        "model.min_training_sessions": "756",
    }
    assert (found.lacking, found.further) == (("adj_close",), ())
    home = tmp_path / "project"
    config = load_config(home)
    assert (config.calendar, config.symbols, config.source.adjustment) == ("XLON", ["BP.UK", "VOD.UK"], "splits")
    assert (config.first_session.isoformat(), config.model.min_training_sessions) == (days[-21], 756)
    assert list(load_contract(home).columns) == ["date", "symbol", "open", "high", "low", "close", "volume"]
    text = (home / "config" / "pipeline.yaml").read_text(encoding="utf-8")
    assert f"first_session: {days[-21]}     # first daily session" in text, "comments of the shipped file stay"
    assert sorted(p.name for p in home.iterdir()) == ["config"]


@pytest.mark.parametrize(
    ("code", "write"),
    [
        pytest.param("24/7", lambda b: pd.to_datetime(b["date"]).astype("datetime64[ms]").astype("int64"), id="epochs"),
        pytest.param("XTKS", lambda b: b["date"] + "T00:00:00+09:00", id="midnights in Tokyo: the day before in UTC"),
        pytest.param("XASX", lambda b: b["date"] + "T00:00:00+11:00", id="midnights in Sydney"),
        pytest.param("XNYS", lambda b: b["date"] + "T16:00:00-05:00", id="the close in New York"),
    ],
)
def test_the_calendar_is_the_one_whose_sessions_have_the_bars_whatever_the_dates_look_like(
    code: str, write: Any, tmp_path: Path
) -> None:
    bars = panel(code, ["A", "B"], tmp_path, "2011-01-03")
    prices = tmp_path / "bars.ndjson"
    bars.assign(date=write(bars)).to_json(prices, orient="records", lines=True)
    guessed, found = begun(tmp_path, prices)
    assert (guessed["calendar"], found.first, found.last) == (code, bars["date"].min(), bars["date"].max())


@pytest.mark.parametrize(("form", "order"), [("%d/%m/%Y", "day_first"), ("%m/%d/%Y", "month_first")])
def test_what_comes_first_in_dates_is_the_one_that_every_date_fits(form: str, order: str, tmp_path: Path) -> None:
    bars = panel("XNYS", ["A", "B"], tmp_path, "2011-01-03")
    prices = tmp_path / "bars.csv"
    bars.assign(date=pd.to_datetime(bars["date"]).dt.strftime(form)).to_csv(prices, index=False)
    guessed, found = begun(tmp_path, prices)
    assert (guessed["source.dates"], found.first, found.last) == (order, bars["date"].min(), bars["date"].max())
    source = open_project(tmp_path / "project", NOW.date()).source
    assert source.read("2011-01-01", "2014-01-01")["date"].tolist() == bars["date"].tolist()


def test_dates_that_fit_both_orders_are_asked_for(tmp_path: Path) -> None:
    prices = tmp_path / "bars.csv"
    prices.write_text("date,symbol,close\n01/02/2012,A,1\n02/03/2012,A,1\n")
    with pytest.raises(ConfigError, match=r"found '01/02/2012'.*countersign init … --dates day_first, or month_first"):
        begun(tmp_path, prices)
    # Two bars make no project, but they are read.
    with pytest.raises(ConfigError, match=r"sessions with bars.* found 2 \(2012-02-01 … 2012-03-02\)"):
        begun(tmp_path, prices, calendar="XNYS", layout=Layout(dates="day_first"))


def with_commas(bars: pd.DataFrame) -> pd.DataFrame:
    prices = {name: bars[name].map("{:.2f}".format).str.replace(".", ",") for name in ("open", "high", "low", "close")}
    return bars.assign(**prices)


def with_thousands(bars: pd.DataFrame) -> pd.DataFrame:
    return bars.assign(volume=[f"{1000 * (row % 2000 + 1):,}" for row in range(len(bars))])


@pytest.mark.parametrize(
    ("written", "decimal"),
    [pytest.param(with_commas, ",", id="decimal commas"), pytest.param(with_thousands, ".", id="thousands set apart")],
)
def test_what_begins_decimals_is_the_sign_that_leaves_the_fewest_cells_unread(
    written: Any, decimal: str, tmp_path: Path
) -> None:
    bars = panel("XNYS", ["A", "B"], tmp_path, "2011-01-03")
    prices = tmp_path / "bars.csv"
    written(bars).to_csv(prices, index=False, sep=";")
    begun(tmp_path, prices)
    source = load_config(tmp_path / "project").source
    assert isinstance(source, FileSourceConfig)
    assert source.decimal == decimal
    read = open_project(tmp_path / "project", NOW.date()).source.read("2011-01-01", "2014-01-01")
    assert read["unreadable"].isna().all()
    np.testing.assert_allclose(read["close"], bars["close"], atol=0.005)


def test_commas_that_may_be_either_are_asked_for(tmp_path: Path) -> None:
    bars = panel("XNYS", ["A"], tmp_path, "2011-01-03").drop(columns=["open", "high", "low", "volume"])
    prices = tmp_path / "bars.csv"
    bars.assign(close=[f"{number % 9 + 1},250" for number in range(len(bars))]).to_csv(prices, index=False, sep=";")
    with pytest.raises(ConfigError, match=r"may begin decimals or set thousands apart.* --decimal , or --decimal \."):
        begun(tmp_path, prices)
    guessed, _ = begun(tmp_path, prices, layout=Layout(decimal=","))
    assert guessed["source.decimal"] == '","'


def test_what_is_given_is_not_guessed(tmp_path: Path) -> None:
    prices = tmp_path / "bars.csv"
    panel("XNYS", ["A"], tmp_path).to_csv(prices, index=False)
    guessed, _ = begun(tmp_path, prices, calendar="24/5", adjustment="full")
    assert (guessed["calendar"], guessed["source.adjustment"]) == ("24/5", "full")


def test_a_calendar_that_does_not_exist_is_refused_by_its_option_and_nothing_is_written(tmp_path: Path) -> None:
    prices = tmp_path / "bars.csv"
    panel("XNYS", ["A"], tmp_path).to_csv(prices, index=False)
    with pytest.raises(ConfigError, match=r"'FOO' is not an exchange .*: write one of them behind --calendar$"):
        begun(tmp_path, prices, calendar="FOO")
    assert not (tmp_path / "project").exists()


def test_many_symbols_are_not_named_and_names_that_yaml_would_misread_are_quoted(tmp_path: Path) -> None:
    prices = tmp_path / "my bars #1.csv"
    panel("XNYS", [f"S{n}" for n in range(21)], tmp_path, "2011-01-03").to_csv(prices, index=False)
    guessed, _ = begun(tmp_path, prices)
    config = load_config(tmp_path / "project")
    assert (guessed["symbols"], config.symbols) == ("", None)
    assert config.source.model_dump()["path"] == str(prices)


def test_prices_within_the_folder_are_named_from_it_and_columns_that_nothing_reads_are_known(tmp_path: Path) -> None:
    home = tmp_path / "project"
    home.mkdir()
    prices = home / "bars.csv"
    panel("XNYS", ["A"], tmp_path).assign(exchange="N").to_csv(prices, index=False)
    _, found = begun(tmp_path, prices)
    config = load_config(home)
    assert config.source.model_dump()["path"] == "bars.csv"
    assert found.further == ("exchange",)
    assert load_contract(home).mapping.drop == ("exchange",)


def test_a_daily_session_without_any_bar_is_named_as_missing(tmp_path: Path) -> None:
    bars = panel("XNYS", ["A", "B"], tmp_path)
    days = sorted(bars["date"].unique())
    prices = tmp_path / "bars.csv"
    bars[bars["date"] != days[-5]].to_csv(prices, index=False)
    guessed, _ = begun(tmp_path, prices)
    assert guessed["missing_sessions"] == f"[{days[-5]}]"
    assert [str(day) for day in load_config(tmp_path / "project").missing_sessions] == [days[-5]]


@pytest.mark.parametrize(
    ("opened", "arrived", "basis"),
    [
        ([100.0, 100.5, 50.2], (), "raw"),
        ([100.0, 100.5, 53.0], (), "splits"),
        ([100.0, 100.5, 50.2], ("adj_close",), "both"),
    ],
)
def test_an_open_that_jumps_as_in_a_split_says_that_prices_are_as_quoted(
    opened: list[float], arrived: tuple[str, ...], basis: str
) -> None:
    bars = pd.DataFrame({"symbol": "A", "date": ["1", "2", "3"], "open": opened, "close": [100.0, 100.0, 50.0]})
    assert adjustment_guess(bars, Arrived(frozenset(arrived))).value == basis


@pytest.mark.parametrize("sessions", [3000, 1100, 400, 260])
def test_a_short_history_leaves_sessions_to_measure_the_model_on(sessions: int) -> None:
    days = np.arange("2000-01-01", "2012-01-01", dtype="datetime64[D]")[:sessions]
    guessed = {guess.setting: guess.value for guess in span_guesses(days, days, 3)}
    history = int((days < np.datetime64(guessed["first_session"])).sum())
    training = int(guessed["model.min_training_sessions"])
    assert 126 <= training <= 756
    assert history - training >= 63, "a quarter of walk-forward at the least"


# --- what refuses it, and leaves nothing


def files(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_folder_that_has_settings_is_left_as_it_is(tmp_path: Path) -> None:
    prices = tmp_path / "bars.csv"
    panel("XNYS", ["A"], tmp_path).to_csv(prices, index=False)
    begun(tmp_path, prices)
    before = files(tmp_path / "project")
    with pytest.raises(ConfigError, match=r"expected a new folder, found settings in .*config"):
        begun(tmp_path, prices)
    assert files(tmp_path / "project") == before


@pytest.mark.parametrize(
    ("kept", "error", "said"),
    [
        pytest.param(
            lambda b: b.tail(150), ConfigError, r"expected more than \d+ sessions with bars.*found 150", id="short"
        ),
        pytest.param(lambda b: b.iloc[::9], ConfigError, "none that fits", id="every ninth day"),
        pytest.param(lambda b: b.drop(columns="close"), SourceError, "close", id="no close"),
        pytest.param(lambda b: b.head(0), SourceError, "no rows", id="no rows"),
        pytest.param(
            lambda b: b.assign(close="$" + b["close"].astype(str)),
            SourceError,
            r"expected numbers in close, found text alone, such as close='\$.*Correct the file",
            id="prices with their currency",
        ),
    ],
)
def test_prices_that_no_project_can_be_made_of_leave_no_settings(
    kept: Any, error: type[Exception], said: str, tmp_path: Path
) -> None:
    prices = tmp_path / "bars.csv"
    kept(panel("XNYS", ["A"], tmp_path)).to_csv(prices, index=False)
    with pytest.raises(error, match=said):
        begun(tmp_path, prices)
    assert not (tmp_path / "project" / "config").exists()
    assert not files(tmp_path / "project")


def countersign(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def test_the_key_in_a_url_stands_in_the_settings_and_is_shown_nowhere(tmp_path: Path) -> None:
    url = "memory://bars.csv?token=geheim"
    prices = panel("XNYS", ["A"], tmp_path).to_csv(index=False)
    fsspec.filesystem("memory").pipe(url.removeprefix("memory:/"), prices.encode())
    for option in ("--no-run", "--json"):
        home = tmp_path / option
        result = countersign("init", str(home), "--prices", url, option)
        assert (result.exit_code, "memory://bars.csv" in result.stdout, "geheim" in result.output) == (0, True, False)
        assert load_config(home).source.model_dump()["path"] == url


def test_the_command_shows_each_guess_with_its_reason_and_fails_in_one_line(tmp_path: Path) -> None:
    prices = tmp_path / "bars.csv"
    panel("XNYS", ["A", "B"], tmp_path).to_csv(prices, index=False)
    home = tmp_path / "project"
    result = countersign("init", str(home), "--prices", str(prices), "--no-run")
    assert result.exit_code == 0
    assert "2,094 bars, 2009-01-02 … 2013-03-01" in result.stdout
    assert "0 days with bars are no session of it, 0 sessions have none" in result.stdout
    assert f"export COUNTERSIGN_HOME={home} DAGSTER_HOME={home}/.dagster" in result.stdout
    again = countersign("init", str(home), "--prices", str(prices), "--no-run")
    assert (again.exit_code, again.stdout, len(again.stderr.splitlines())) == (2, "", 1)
    other = countersign("init", str(tmp_path / "other"), "--prices", str(prices), "--json")
    assert json.loads(other.stdout)["guesses"][2]["value"] == "XNYS"


def test_columns_of_names_that_are_not_known_are_read_as_a_person_says(tmp_path: Path) -> None:
    prices = tmp_path / "panel.csv"
    bars = panel("XNYS", ["A", "B"], tmp_path)
    bars.rename(columns={"date": "Tag", "close": "Schluss"}).to_csv(prices, index=False)
    with pytest.raises(SourceError, match=r"missing date, missing close.* countersign init … --rename THEIRS=OURS"):
        begun(tmp_path, prices)
    assert not (tmp_path / "project").exists()
    guessed, found = begun(tmp_path, prices, layout=Layout(rename={"Tag": "date", "Schluss": "close"}))
    assert found.bars == len(bars)
    source = load_config(tmp_path / "project").source
    assert isinstance(source, FileSourceConfig)
    assert source.rename == {"Tag": "date", "Schluss": "close"}
    assert guessed["source.rename"]


@pytest.mark.parametrize(
    ("layout", "said"),
    [
        (Layout(rename={"Datum": "day"}), "--rename: expected one of date, symbol"),
        (Layout(profile="bloomberg"), "--profile: expected auto or one of long"),
        (Layout(), "--prices: expected a file, folder or glob of bars, found nothing at"),
    ],
    ids=["column", "profile", "file"],
)
def test_what_a_person_says_of_files_that_cannot_be_is_refused_by_its_option(
    layout: Layout, said: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=said):
        begun(tmp_path, tmp_path / "nope.csv", layout=layout)
    assert not (tmp_path / "project").exists()
