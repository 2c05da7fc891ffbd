"""Panel: a long table of bars becomes matrices in which no bar is lost, moved or made up."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from countersign.prices.panel import Panel

SESSIONS = np.array(["2008-09-11", "2008-09-12", "2008-09-15", "2008-09-16"], dtype="datetime64[D]")

Key = tuple[int, str]
keys = st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["MSFT", "AAPL", "IBM", "BRK.B"])), unique=True)


def bars(found: list[Key]) -> pd.DataFrame:
    """Bars with a number of their own in every cell."""
    count = np.arange(len(found), dtype=float)
    return pd.DataFrame(
        {
            "date": np.array([SESSIONS[day] for day, _ in found], dtype="datetime64[s]"),
            "symbol": pd.Series([symbol for _, symbol in found], dtype="str"),
            "log_return": count / 100,
            "daily_variance": count / 1000,
            "volume": count + 1,
        }
    )


@settings(deadline=None, max_examples=100, derandomize=True)
@given(found=keys)
def test_every_bar_lands_at_its_session_and_symbol_whatever_the_order_of_the_table(found: list[Key]) -> None:
    table = bars(found)
    panel = Panel.from_bars(table, SESSIONS)
    assert list(panel.symbols) == sorted({symbol for _, symbol in found})
    assert panel.present.sum() == len(found)
    for bar, (day, symbol) in zip(table.itertuples(), found, strict=True):
        cell = day, panel.symbols.index(symbol)
        assert panel.present[cell]
        assert (panel.log_return[cell], panel.variance[cell], panel.volume[cell]) == (
            bar.log_return,
            bar.daily_variance,
            bar.volume,
        )


@settings(deadline=None, max_examples=50, derandomize=True)
@given(found=keys)
def test_where_there_is_no_bar_there_is_no_number(found: list[Key]) -> None:
    panel = Panel.from_bars(bars(found), SESSIONS)
    for matrix in (panel.log_return, panel.variance, panel.volume):
        assert matrix.shape == (len(SESSIONS), len(panel.symbols))
        np.testing.assert_array_equal(np.isnan(matrix), ~panel.present)


def test_a_bar_without_a_return_or_volume_is_still_present() -> None:
    first = bars([(0, "GOOG")]).assign(log_return=np.nan, daily_variance=np.nan, volume=np.nan)
    panel = Panel.from_bars(first, SESSIONS)
    assert panel.present[:, 0].tolist() == [True, False, False, False]
    assert np.isnan(panel.volume).all()


def test_the_newest_sessions_keep_every_symbol_and_where_it_is_present() -> None:
    panel = Panel.from_bars(bars([(0, "IBM"), (2, "IBM"), (3, "AAPL")]), SESSIONS)
    newest = panel.rows(slice(-2, None))
    assert newest.sessions.astype(str).tolist() == ["2008-09-15", "2008-09-16"]
    assert newest.symbols == ("AAPL", "IBM")
    assert newest.present.tolist() == [[False, True], [True, False]]


def test_a_span_of_rows_cuts_every_matrix_alike() -> None:
    panel = Panel.from_bars(bars([(day, "IBM") for day in range(4)]), SESSIONS)
    middle = panel.rows(slice(1, 3))
    assert middle.sessions.tolist() == SESSIONS[1:3].tolist()
    for cut, full in zip(
        (middle.log_return, middle.variance, middle.volume, middle.present),
        (panel.log_return, panel.variance, panel.volume, panel.present),
        strict=True,
    ):
        np.testing.assert_array_equal(cut, full[1:3])


def test_a_made_up_panel_names_its_symbols_and_has_a_bar_wherever_there_is_a_variance() -> None:
    variance = np.array([[1e-4, np.nan], [2e-4, 3e-4]])
    panel = Panel.from_arrays(np.sqrt(variance), variance=variance, volume=variance)
    assert panel.present.tolist() == [[True, False], [True, True]]
    assert len(set(panel.symbols)) == 2
    assert (np.diff(panel.sessions) == np.timedelta64(1, "D")).all()
    assert Panel.from_arrays(variance, variance=variance, volume=variance, symbols=("A", "B")).symbols == ("A", "B")
