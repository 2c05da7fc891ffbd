"""Experiment files: what can be varied, and what is refused with file, place and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from countersign.config import ModelConfig
from countersign.errors import ConfigError
from countersign.experiments.plan import load_experiments

HEAD = "question: Does it matter?\ndecide_by: qlike\nvariants:\n"


def refused(folder: Path, text: str) -> str:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as raised:
        load_experiments([path])
    assert str(path) in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    ("variant", "place", "allowed"),
    [
        ("{name: a, ridge: 1}", "variants.0.ridge: there is no such setting", "ridge_penalty, logistic_penalty"),
        ("{name: a, fold_sessions: 21}", "variants.0.fold_sessions: there is no such setting", "window_sessions"),
        ("{name: a, features_off: [skew]}", "variants.0.features_off.0: expected one of", "skew_63 (value 'skew')"),
        ("{name: a, features_off: [skew_63, skew_63]}", "variants.0.features_off", "expected each feature once"),
        ("{name: a, horizon_sessions: 0}", "variants.0.horizon_sessions", "greater than or equal to 1"),
        ("{name: a, horizon_sessions: 22}", "variants.0.horizon_sessions", "less than or equal to 21"),
        ("{name: a, window_sessions: 60}", "variants.0.window_sessions: expected all, or a number", "from 126 on"),
        ("{name: a, ridge_penalty: 0}", "variants.0.ridge_penalty", "greater than 0"),
        ("{name: a, cutoff: 1}", "variants.0.cutoff", "less than 1"),
        ("{name: '<a>', cutoff: 0.1}", "variants.0.name", "'<a>'"),
        ("{name: a}", "expected a to vary one of", "horizon_sessions"),
        ("{cutoff: 0.1}", "variants.0.name", "is required"),
        ("a", "variants.0: expected a section with the settings name", "'a'"),
    ],
)  # fmt: skip
def test_a_variant_that_cannot_be_tried_is_refused_by_place_with_what_is_allowed(
    variant: str, place: str, allowed: str, tmp_path: Path
) -> None:
    said = refused(tmp_path, f"{HEAD}  - {variant}\n")
    assert place in said
    assert allowed in said


@pytest.mark.parametrize("names", [("a", "a"), ("as configured", "b")])
def test_variants_that_could_not_be_told_apart_are_refused(names: tuple[str, str], tmp_path: Path) -> None:
    lines = "".join(f"  - {{name: {name}, cutoff: 0.1}}\n" for name in names)
    assert f"expected names that differ, and none of 'as configured' (value '{names[0]}')" in refused(
        tmp_path, HEAD + lines
    )


def test_what_decides_is_named_before_looking(tmp_path: Path) -> None:
    said = refused(tmp_path, "question: Which?\nvariants: [{name: a, cutoff: 0.1}]\n")
    assert "decide_by: is required" in said
    said = refused(tmp_path, HEAD.replace("qlike", "auc") + "  - {name: a, cutoff: 0.1}\n")
    assert "decide_by: Input should be 'qlike' or 'brier_loss' (value 'auc')" in said


def test_two_files_of_one_name_are_refused(root: Path) -> None:
    path = root / "config" / "experiments" / "penalties.yaml"
    with pytest.raises(ConfigError, match="found penalties twice"):
        load_experiments([path, path])


def test_a_variant_changes_what_it_names_and_leaves_the_rest_as_configured(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(HEAD + "  - {name: a, ridge_penalty: 3, window_sessions: 252, features_off: [skew_63]}\n")
    (variant,) = load_experiments([path])["mine"].variants
    configured = ModelConfig(logistic_penalty=7, cutoff=0.3, fold_sessions=21)
    assert variant.applied_to(configured) == ModelConfig(
        ridge_penalty=3,
        window_sessions=252,
        features_off=("skew_63",),
        logistic_penalty=7,
        cutoff=0.3,
        fold_sessions=21,
    )


def test_the_shipped_experiments_can_be_read(root: Path) -> None:
    found = load_experiments(sorted((root / "config" / "experiments").glob("*.yaml")))
    assert {name: experiment.decide_by for name, experiment in found.items()} == {
        "features": "brier_loss",
        "penalties": "qlike",
    }
