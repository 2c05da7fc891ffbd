"""The diff of pipeline.yaml: what a person reviews is what the variant had."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from countersign.config import PipelineConfig
from countersign.experiments.proposal import settings_diff
from countersign.settings import parse_settings

CHANGES: dict[str, Any] = {
    "ridge_penalty": 0.1,
    "cutoff": 0.25,
    "window_sessions": 1008,
    "features_off": ("return_1", "skew_63"),
}


def read(text: str) -> PipelineConfig:
    return parse_settings(text.encode(), Path("pipeline.yaml"), PipelineConfig)


def without(text: str, *names: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if line.split(":")[0].strip() not in names)


@pytest.mark.parametrize("leave_out", [(), ("window_sessions", "features_off", "seed")])
def test_the_diff_applies_and_makes_the_settings_that_were_tried_with_every_comment_kept(
    leave_out: tuple[str, ...], root: Path, tmp_path: Path
) -> None:
    before = without((root / "config" / "pipeline.yaml").read_text(encoding="utf-8"), *leave_out)
    path = tmp_path / "config" / "pipeline.yaml"
    path.parent.mkdir()
    path.write_text(before, encoding="utf-8")
    (tmp_path / "my.diff").write_text("# Words before it.\n" + settings_diff(before, CHANGES), encoding="utf-8")
    subprocess.run(["git", "apply", "my.diff"], cwd=tmp_path, check=True, env={"PATH": "/usr/bin:/bin", "GIT_DIR": "/"})
    after = path.read_text(encoding="utf-8")
    tried = read(before).model.model_copy(update=CHANGES)
    assert read(after) == read(before).model_copy(update={"model": tried})
    comments = [[line.partition("#")[2] for line in text.splitlines() if "#" in line] for text in (before, after)]
    assert comments[0] == comments[1]


def test_a_file_without_the_section_gets_one(root: Path) -> None:
    text = (root / "config" / "pipeline.yaml").read_text(encoding="utf-8")
    start, end = text.index("model:\n"), text.index("artifacts:\n")
    assert settings_diff(text[:start] + text[end:], {"cutoff": 0.25}).endswith("+\n+model:\n+  cutoff: 0.25\n")


def test_a_file_that_is_laid_out_otherwise_gets_what_to_set_by_hand(root: Path) -> None:
    text = (root / "config" / "pipeline.yaml").read_text(encoding="utf-8")
    start, end = text.index("model:\n"), text.index("artifacts:\n")
    said = settings_diff(text[:start] + "model: {seed: 3}\n" + text[end:], {"cutoff": 0.25, "window_sessions": "all"})
    assert said == "# To be set by hand in config/pipeline.yaml:\nmodel:\n  cutoff: 0.25\n  window_sessions: all\n"
