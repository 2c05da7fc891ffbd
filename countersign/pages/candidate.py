"""Candidate: the page that a person reads before signing: ``review.html`` beside the evidence that it shows.

Belongs here: the evidence in words, tables and figures. Does not belong here: computing it (``model.comparison``), what
is decided (``gate``). The page is made from the evidence alone, so that it says tomorrow what it said today; who has
signed since, the command line and the journal say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from countersign.pages.page import Block, Cell, Figure, Figures, Light, LightStatus, Page, Section, Table, Words
from countersign.pages.plots import change_plot, lead_plot
from countersign.words import counted

_WHO: Final = ("candidate", "champion", "baseline")
_OVER: Final = ("over_champion", "over_baseline")
_NAMES: Final = {
    "overall": "All sessions",
    "last_quarter": "The last quarter",
    "worst_month": "The worst month beside the champion",
    "inside_trigger": "Inside the stretch that triggered it",
    "outside_trigger": "Outside that stretch",
}
_UNITS: Final = {
    "auc": "AUC",
    "brier_loss": "Brier loss",
    "calibration_error": "Calibration error",
    "qlike": "QLIKE",
    "volatility_mae": "Volatility error, log return a day",
    "approval_rate": "Approval rate",
    "bad_rate_approved": "Bad rate of approved",
}
_LIGHTS: Final[dict[str, LightStatus]] = {
    "better": "ok",
    "not distinguishable": "partly",
    "worse": "fail",
    "insufficient evidence": "unknown",
    "pass": "ok",
    "fail": "fail",
    "insufficient": "unknown",
}
_DIGITS: Final = {"volatility_mae": 6}
"""Digits of a difference where four say nothing: of a volatility of 1 % a day."""
_COEFFICIENTS: Final = 12
_SYMBOLS: Final = 60


def candidate_page(evidence: Mapping[str, Any], candidate: str) -> Page:
    """The evidence on the model whose digest is ``candidate``, as ``evidence.json`` has it."""
    comparison, retrain, training = evidence["comparison"], evidence["retrain"], evidence["training"]
    asked = retrain["asked_by"] or "monitoring"
    return Page(
        title=f"Candidate {candidate[:12]}",
        subtitle=f"Asked for by {asked}; trained on {training['first_session']} to {training['last_session']}, "
        f"{training['rows']} rows of {counted(len(training['symbols']), 'symbol')}. It waits for a signature unless "
        "the journal says otherwise.",
        lights=_lights(comparison, evidence["checks"]),
        sections=[
            Section("Verdict", [Words(_sentences(comparison["sentences"]), bullets=True)], half=True),
            Section("What asked for it", [Words([_cause(retrain)])], half=True),
            Section("Automatic checks", [_checks(evidence["checks"])]),
            Section("Session by session", _series(comparison["series"])),
            *_stretches(comparison["stretches"]),
            Section("By symbol", _symbols(comparison["symbols"])),
            Section("What changed in the model", _changes(comparison), half=True),
            Section("What a signature binds", [_digests(evidence)], half=True),
            Section("To decide", [Words(_HOW_TO)]),
        ],
        foot=[
            "Candidate, champion and baseline forecast the same rows, none of whose outcomes any of them has seen: "
            "the candidate's procedure is refitted walk-forward after the champion's last training session. "
            "Differences are candidate minus rival; intervals are 95 %, by block bootstrap over dates, and wider where "
            "sessions are few.",
        ],
    )


_HOW_TO: Final = (
    "countersign review shows who has signed and who may. countersign approve signs, with --condition to bound it; "
    "countersign reject, or request-changes, with --reason, closes the request for good.",
    "Whoever asked for the retrain may not sign. Launching a job in Dagster is no approval.",
)


def _lights(comparison: Mapping[str, Any], checks: Sequence[Mapping[str, str]]) -> list[tuple[str, Light, str]]:
    passed = sum(check["status"] == "pass" for check in checks)
    failed = any(check["status"] == "fail" for check in checks)
    only = " It wins only in the stretch that triggered it." if comparison["wins_only_in_trigger"] else ""
    verdict = comparison["verdict"]
    lights = [("verdict", Light(_LIGHTS[verdict], verdict), f"{comparison['sentences'][0]}.{only}")]
    overall = next((s for s in comparison["stretches"] if s["name"] == "overall"), None)
    for name, loss in (("volatility", "qlike"), ("bad weeks", "brier_loss")):
        if overall:
            found = overall["measures"][loss]
            said = found["over_champion"]["verdict"] or "insufficient evidence"
            words = f"{_UNITS[loss]} {_number(found['candidate'])} against the champion's {_number(found['champion'])}."
            lights.append((name, Light(_LIGHTS[said], said), words))
    word = "fail" if failed else "pass" if passed == len(checks) else "partly"
    light = Light("fail" if failed else "ok" if passed == len(checks) else "partly", word)
    lights.append(("checks", light, f"{passed} of {len(checks)} automatic checks passed."))
    return lights


def _sentences(sentences: Sequence[str]) -> list[str]:
    return [f"{sentence}." for sentence in sentences]


def _cause(retrain: Mapping[str, Any]) -> str:
    stretch = f" ({retrain['first']} to {retrain['last']})" if retrain["first"] else ""
    return f"{retrain['cause'].capitalize()}{stretch}: {retrain['reason']}."


def _checks(checks: Sequence[Mapping[str, str]]) -> Table:
    rows: list[list[Cell]] = [
        [check["name"], Light(_LIGHTS[check["status"]], check["status"]), check["sentence"]] for check in checks
    ]
    return Table(["check", "answer", "in words"], rows, "lll")


def _series(series: Mapping[str, Any]) -> list[Block]:
    """How far the candidate has got ahead, in each head's loss, since the champion was trained."""
    if not series:
        return [Words(["No session after the champion's last one has a known outcome yet."])]
    figures = []
    for loss in ("qlike", "brier_loss"):
        lead = {
            rival: np.cumsum(_floats(series[loss][rival]) - _floats(series[loss]["candidate"]))
            for rival in ("champion", "baseline")
        }
        figures.append(
            Figure(
                lead_plot(loss, series["session"], lead["champion"], lead["baseline"], f"sum of {_UNITS[loss]}"),
                f"{_UNITS[loss]}: how far the candidate is ahead",
                "Sum over the sessions of the rival's mean loss minus the candidate's: rising where the candidate is "
                "better.",
            )
        )
    return [Figures(figures, key=[("line", "ahead of the champion"), ("other", "ahead of the baseline")])]


def _stretches(stretches: Sequence[Mapping[str, Any]]) -> list[Section]:
    """A section for each stretch of sessions; those that are all sessions are named with these."""
    same = [s for s in stretches[1:] if all(s[key] == stretches[0][key] for key in ("first", "last", "sessions"))]
    sections = [Section(f"Measures: {_NAMES[s['name']].lower()}", _measures(s)) for s in stretches if s not in same]
    if same:
        names = " and ".join(_NAMES[s["name"]].lower() for s in same)
        sections[0] = replace(
            sections[0],
            blocks=[*sections[0].blocks, Words([f"Not shown, since they would be these same sessions: {names}."])],
        )
    return sections


def _measures(stretch: Mapping[str, Any]) -> list[Block]:
    rows: list[list[Cell]] = []
    for name, found in stretch["measures"].items():
        over = found["over_champion"]
        verdict: Cell = Light(_LIGHTS[over["verdict"]], over["verdict"]) if over["verdict"] else ""
        rows.append(
            [
                _UNITS[name],
                *(_number(found[who]) for who in _WHO),
                _difference(over, _DIGITS.get(name, 4)),
                _difference(found["over_baseline"], _DIGITS.get(name, 4)),
                verdict,
            ]
        )
    known = any(found[over]["low"] is not None for found in stretch["measures"].values() for over in _OVER)
    interval = " [95 %]" if known else ""
    head = ["measure", *_WHO, f"minus champion{interval}", f"minus baseline{interval}", "against the champion"]
    words = f"{stretch['first']} to {stretch['last']}: {stretch['sessions']} sessions, {stretch['rows']} rows."
    if not known:
        words += " They are too few for intervals."
    return [Words([words]), Table(head, rows, "lrrrlll")]


def _symbols(symbols: Sequence[Mapping[str, Any]]) -> list[Block]:
    if not symbols:
        return [Words(["None has a known outcome yet."])]
    rows: list[list[Cell]] = [
        [
            symbol["name"],
            str(symbol["rows"]),
            *(_number(symbol["measures"][loss][who]) for loss in ("qlike", "brier_loss") for who in _WHO),
        ]
        for symbol in symbols[:_SYMBOLS]
    ]
    head = ["symbol", "rows", *(f"{loss}, {who}" for loss in ("QLIKE", "Brier") for who in _WHO)]
    more = [Words([f"And {len(symbols) - _SYMBOLS} more, in evidence.json."])] if len(symbols) > _SYMBOLS else []
    return [Table(head, rows, "lrrrrrrr"), *more]


def _changes(comparison: Mapping[str, Any]) -> list[Block]:
    coefficients = comparison["coefficients"][:_COEFFICIENTS]
    names = [f"{c['feature']} ({c['head'].replace('_', ' ')})" for c in coefficients]
    found = [np.array([_float(c[who]) for c in coefficients]) for who in ("champion", "candidate")]
    figure = Figure(
        change_plot(names, *found),
        "Coefficients that changed most",
        "For one standard deviation of the feature; the ring is the champion's, the dot the candidate's.",
    )
    rows: list[list[Cell]] = [
        [
            r["feature"],
            f"{_number(r['champion_low'])} to {_number(r['champion_high'])}",
            f"{_number(r['candidate_low'])} to {_number(r['candidate_high'])}",
        ]
        for r in comparison["training_ranges"]
    ]
    ranges: list[Block] = [Words(["No feature's range in training changed."])]
    if rows:
        ranges = [
            Words(["Ranges that changed; outside its range the baseline scores."]),
            Table(["feature", "champion's range", "candidate's range"], rows, "lll"),
        ]
    return [Figures([figure]), *ranges]


def _digests(evidence: Mapping[str, Any]) -> Table:
    rows: list[list[Cell]] = [[name, digest] for name, digest in evidence["digests"].items()]
    rows.append(["code version", evidence["code_version"]])
    return Table(["what", "SHA-256"], rows, "lw", caption="The signature binds this page's evidence by its own digest.")


def _difference(found: Mapping[str, Any], digits: int) -> str:
    if found["value"] is None:
        return "unknown"
    value, *ends = (f"{found[end]:+z.{digits}f}" for end in ("value", "low", "high") if found[end] is not None)
    return f"{value} [{', '.join(ends)}]" if ends else value


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4g}"


def _float(value: float | None) -> float:
    return np.nan if value is None else value


def _floats(values: Sequence[float | None]) -> np.ndarray:
    return np.array([_float(value) for value in values])
