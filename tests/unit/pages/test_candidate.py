"""The page on a candidate: what the evidence says, and nothing that could act in a browser."""

from __future__ import annotations

import re
from typing import Any

import pytest

from countersign.pages.candidate import candidate_page
from countersign.pages.page import page_html, page_text

MEASURES = ("auc", "brier_loss", "calibration_error", "qlike", "volatility_mae", "approval_rate", "bad_rate_approved")


def measured(candidate: float | None, verdict: str | None = "better") -> dict[str, Any]:
    known = {"value": -0.01, "low": -0.02, "high": -0.005, "verdict": verdict}
    unknown = {"value": None, "low": None, "high": None, "verdict": None}
    over = unknown if candidate is None else known
    return {"candidate": candidate, "champion": 0.31, "baseline": 0.4, "over_champion": over, "over_baseline": over}


@pytest.fixture
def evidence() -> dict[str, Any]:
    """As ``evidence.json`` has it, of two sessions."""
    stretch = {
        "first": "2008-10-01",
        "last": "2008-10-02",
        "sessions": 2,
        "rows": 8,
        "measures": {name: measured(0.3) for name in MEASURES},
    }
    losses = {who: [0.3, 0.2] for who in ("candidate", "champion", "baseline")}
    return {
        "retrain": {
            "cause": "error",
            "reason": "it got worse",
            "asked_by": None,
            "first": "2008-09-01",
            "last": "2008-10-02",
        },
        "comparison": {
            "verdict": "better",
            "wins_only_in_trigger": True,
            "sentences": ["The candidate is better than the champion"],
            "stretches": [{**stretch, "name": "overall"}, {**stretch, "name": "worst_month"}],
            "symbols": [{**stretch, "name": "A<script>B"}],
            "series": {"session": ["2008-10-01", "2008-10-02"], "qlike": losses, "brier_loss": losses},
            "coefficients": [{"head": "bad_week", "feature": "skew_63", "champion": 0.1, "candidate": None}],
            "training_ranges": [
                {
                    "feature": "skew_63",
                    "champion_low": -1.0,
                    "champion_high": 1.0,
                    "candidate_low": -2.0,
                    "candidate_high": 1.5,
                }
            ],
        },
        "checks": [{"name": "finite", "status": "pass", "sentence": "all finite"}],
        "digests": {"candidate": "c" * 64, "data": "d" * 64},
        "code_version": "0.1.0+abc",
        "training": {"first_session": "2000-03-01", "last_session": "2008-10-02", "rows": 7000, "symbols": ["A", "B"]},
    }


def test_the_page_says_the_verdict_what_asked_for_it_and_what_a_signature_binds(evidence: dict[str, Any]) -> None:
    text = page_text(candidate_page(evidence, "c" * 64))
    assert "CANDIDATE CCCCCCCCCCCC" in text
    assert "It wins only in the stretch that triggered it." in " ".join(text.split())
    assert "Error (2008-09-01 to 2008-10-02): it got worse." in text
    assert "d" * 64 in "".join(text.split())
    assert "-0.0100 [-0.0200, -0.0050]" in text
    assert "-1 to 1" in text
    assert "-2 to 1.5" in text


def test_the_page_is_self_contained_escapes_what_it_shows_and_is_the_same_twice(evidence: dict[str, Any]) -> None:
    html = page_html(candidate_page(evidence, "c" * 64))
    assert html == page_html(candidate_page(evidence, "c" * 64))
    assert "<script" not in html
    assert "A&lt;script&gt;B" in html
    assert not re.search(r"""(?:src|href)=["'](?!#)""", html)
    assert html.count("<svg") == 3


def test_a_candidate_without_a_known_outcome_has_a_page_that_says_so(evidence: dict[str, Any]) -> None:
    evidence["comparison"] |= {
        "verdict": "insufficient evidence",
        "wins_only_in_trigger": False,
        "sentences": ["Insufficient evidence: 0 sessions"],
        "stretches": [],
        "symbols": [],
        "series": {},
    }
    page = candidate_page(evidence, "c" * 64)
    assert [light.status for name, light, _ in page.lights if name == "verdict"] == ["unknown"]
    assert "No session after the champion's last one has a known outcome yet." in page_text(page)
    assert page_html(page)


def test_stretches_that_are_all_sessions_are_named_and_not_shown_again(evidence: dict[str, Any]) -> None:
    stretches = evidence["comparison"]["stretches"]
    stretches += [{**stretches[0], "name": "last_quarter"}, {**stretches[0], "name": "inside_trigger", "sessions": 1}]
    page = candidate_page(evidence, "c" * 64)
    shown = [section.title for section in page.sections if section.title.startswith("Measures")]
    assert shown == ["Measures: all sessions", "Measures: inside the stretch that triggered it"]
    said = "these same sessions: the worst month beside the champion and the last quarter."
    assert said in " ".join(page_text(page).split())


def test_intervals_are_promised_where_there_are_some(evidence: dict[str, Any]) -> None:
    assert "minus champion [95 %]" in page_text(candidate_page(evidence, "c" * 64))
    for found in evidence["comparison"]["stretches"][0]["measures"].values():
        for over in ("over_champion", "over_baseline"):
            found[over] = found[over] | {"low": None, "high": None}
    text = " ".join(page_text(candidate_page(evidence, "c" * 64)).split())
    assert "[95 %]" not in text
    assert "They are too few for intervals." in text


def test_a_difference_too_small_to_be_seen_has_no_sign_of_a_loss(evidence: dict[str, Any]) -> None:
    tiny = {"value": -0.00003, "low": -0.00004, "high": 0.00002, "verdict": None}
    for found in evidence["comparison"]["stretches"][0]["measures"].values():
        found["over_champion"] = tiny
    text = page_text(candidate_page(evidence, "c" * 64))
    assert "+0.0000 [+0.0000, +0.0000]" in text
    assert "-0.0000 " not in text
    # Of a volatility of 1 % a day these are digits that count.
    assert "-0.000030 [-0.000040, +0.000020]" in text


def test_a_measure_that_could_not_be_taken_is_unknown(evidence: dict[str, Any]) -> None:
    evidence["comparison"]["stretches"][0]["measures"]["auc"] = measured(None)
    row = next(
        line for line in page_text(candidate_page(evidence, "c" * 64)).splitlines() if line.strip().startswith("AUC")
    )
    assert row.count("unknown") == 3
