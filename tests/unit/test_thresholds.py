"""Thresholds: what is shipped, what a person may write, and whose review is due."""

from __future__ import annotations

import hashlib
import shutil
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from countersign.errors import ConfigError
from countersign.thresholds import Thresholds, each_threshold, load_thresholds, reviews_due

SECTIONS: dict[str, dict[str, Any]] = yaml.safe_load(
    (Path(__file__).parents[2] / "config" / "thresholds.yaml").read_text(encoding="utf-8")
)
KEYS = [f"{section}.{key}" for section, settings in SECTIONS.items() for key in settings]
NUMBERS = [key for key in KEYS if not key.endswith((".owner", ".reviewed"))]


@pytest.fixture
def home(root: Path, tmp_path: Path) -> Path:
    """A project folder with the shipped thresholds."""
    (tmp_path / "config").mkdir()
    shutil.copy(root / "config" / "thresholds.yaml", tmp_path / "config")
    return tmp_path


def write(home: Path, key: str, value: Any) -> None:
    """Change one setting; None takes it out."""
    path = home / "config" / "thresholds.yaml"
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    section, name = key.split(".")
    found[section][name] = value
    if value is None:
        del found[section][name]
    path.write_text(yaml.safe_dump(found), encoding="utf-8")


def refusal(home: Path) -> str:
    """The one problem that is found."""
    with pytest.raises(ConfigError) as caught:
        load_thresholds(home)
    heading, problem = str(caught.value).splitlines()
    assert heading == f"{home / 'config' / 'thresholds.yaml'}: 1 setting(s) to correct:"
    return problem.strip()


def test_the_shipped_numbers_are_those_that_were_agreed_on(root: Path) -> None:
    found, _ = load_thresholds(root)
    drift, model, business = found.drift, found.model, found.business
    assert (drift.psi, drift.significance, drift.sessions_in_a_row, drift.window_sessions) == (0.2, 0.001, 3, 63)
    assert (model.error_rise, model.loss_rise, model.sessions_in_a_row, model.window_sessions) == (0.20, 1.1, 3, 60)
    assert (model.calibration_level, business.quarter_sessions) == (0.995, 63)


def test_a_half_day_is_not_late_by_the_shipped_numbers(root: Path) -> None:
    """XNYS closes at 13:00 before a holiday; the daily run starts at 18:00."""
    assert load_thresholds(root)[0].data.max_arrival_minutes > 5 * 60


def test_every_number_in_the_shipped_file_says_what_it_means(root: Path) -> None:
    lines = (root / "config" / "thresholds.yaml").read_text(encoding="utf-8").splitlines()
    settings = [line for line in lines if line.startswith("  ")]
    assert len(settings) == len(KEYS)
    silent = [line for line in settings if "#" not in line and line.split(":")[0].strip() not in {"owner", "reviewed"}]
    assert silent == []


def test_the_digest_is_that_of_the_files_bytes_so_that_a_changed_comment_changes_it(home: Path) -> None:
    path = home / "config" / "thresholds.yaml"
    found, digest = load_thresholds(home)
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(path.read_bytes() + b"# looked at again\n")
    again, changed = load_thresholds(home)
    assert again == found
    assert changed == hashlib.sha256(path.read_bytes()).hexdigest() != digest


@pytest.mark.parametrize("key", KEYS)
def test_nothing_has_a_default_in_code(home: Path, key: str) -> None:
    write(home, key, None)
    assert refusal(home) == f"{key}: is required and is not set"


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "1e999", "-1", "", "two"])
@pytest.mark.parametrize("key", NUMBERS)
def test_a_threshold_that_is_no_number_or_below_zero_is_refused(home: Path, key: str, number: str) -> None:
    write(home, key, number)
    problem = refusal(home)
    assert problem.startswith(f"{key}: ")
    assert problem.endswith(f"(value {number!r})")


@pytest.mark.parametrize(
    "key",
    [
        "data.max_null_share",
        "data.max_column_null_share",
        "data.max_rejected_share",
        "data.max_drop",
        "drift.significance",
        "drift.sessions_in_a_row",
        "drift.window_sessions",
        "model.window_sessions",
        "model.calibration_level",
        "model.symbol_correlation",
        "model.max_auc_drop",
        "model.min_auc",
        "model.auc_standard_errors",
        "system.max_error_rate",
        "system.max_request_error_rate",
        "business.min_approval_change_points",
        "business.min_bad_change_points",
    ],
)
def test_a_threshold_that_could_never_be_passed_is_refused(home: Path, key: str) -> None:
    write(home, key, 2000)
    assert refusal(home).endswith("(value '2000')")


@pytest.mark.parametrize(
    "key",
    [
        "data.max_arrival_minutes",
        "drift.psi",
        "drift.significance",
        "drift.sessions_in_a_row",
        "drift.window_sessions",
        "model.error_rise",
        "model.loss_rise",
        "model.calibration_level",
        "model.min_auc",
        "model.min_each",
        "system.max_p95_seconds",
        "system.max_request_p95_ms",
        "business.min_z",
        "business.min_rows",
        "business.design_effect",
    ],
)
def test_a_threshold_that_would_judge_by_nothing_is_refused(home: Path, key: str) -> None:
    write(home, key, 0)
    assert refusal(home).endswith("(value '0')")


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("model.owner", "", "match pattern"),
        ("model.owner", "  ", "match pattern"),
        ("model.owner", "Ann\x1b[2J", "match pattern"),
        ("model.owner", "A" * 31, "at most 30 characters"),
        ("model.reviewed", "last week", "a date as YYYY-MM-DD"),
        ("model.reviewed", "2026-02-30", "a date as YYYY-MM-DD"),
        ("model.review", "2026-11-25", "there is no such setting"),
        ("drift.window_sessions", 63.5, "valid integer"),
    ],
)
def test_an_owner_a_date_and_a_key_are_held_to_what_they_are(home: Path, key: str, value: Any, allowed: str) -> None:
    write(home, key, value)
    problem = refusal(home)
    assert problem.startswith(f"{key}: ")
    assert allowed in problem


def test_a_project_without_thresholds_is_told_what_to_copy(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_thresholds(tmp_path)
    said = str(caught.value)
    assert f"expected thresholds at {tmp_path / 'config' / 'thresholds.yaml'}: No such file" in said
    assert "Copy config/thresholds.yaml of the Countersign checkout there" in said


def test_each_threshold_is_named_as_in_the_file_with_its_sections_owner_and_review(root: Path) -> None:
    found = list(each_threshold(load_thresholds(root)[0]))
    assert [threshold.name for threshold in found] == NUMBERS
    for threshold in found:
        section, name = threshold.name.split(".")
        assert threshold.value == SECTIONS[section][name]
        assert (threshold.owner, threshold.reviewed) == (SECTIONS[section]["owner"], SECTIONS[section]["reviewed"])


def reviewed(thresholds: Thresholds, day: date) -> Thresholds:
    """The same, its drift section reviewed on another day."""
    drift = thresholds.drift.model_copy(update={"reviewed": day, "owner": "Ann"})
    return thresholds.model_copy(update={"drift": drift})


def test_a_review_is_due_after_ninety_days_and_the_owner_is_named(root: Path) -> None:
    thresholds, _ = load_thresholds(root)
    today = thresholds.data.reviewed
    assert reviews_due(reviewed(thresholds, today - timedelta(days=90)), today) == []
    [due] = reviews_due(reviewed(thresholds, today - timedelta(days=91)), today)
    assert due.startswith("drift: reviewed 91 days ago")
    assert "Ann" in due


def test_a_review_that_lies_in_the_future_does_not_keep_a_section_quiet(root: Path) -> None:
    thresholds, _ = load_thresholds(root)
    today = thresholds.data.reviewed
    [due] = reviews_due(reviewed(thresholds, today + timedelta(days=1)), today)
    assert due.startswith("drift: ")
    assert "lies in the future" in due
