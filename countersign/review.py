"""Review: what a person reads before deciding on a candidate, from the journal and the evidence alone.

Belongs here: what ``countersign review`` answers, and what it says of a decision that was just signed. Does not belong
here: the page with plots, deciding (``gate``).
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from countersign.errors import GateError
from countersign.gate.rules import Due, require_open
from countersign.gate.signers import list_signers
from countersign.gate.state import Line, Request, State
from countersign.project import Project
from countersign.steps.gate import evidence_path, missing_words, read_evidence
from countersign.steps.standing import shadow

WIDTH: Final = 100

_SYMBOLS: Final = 40
_COEFFICIENTS: Final = 10
_WHO: Final = ("candidate", "champion", "baseline")
_STRETCHES: Final = {
    "overall": "Overall",
    "last_quarter": "Last quarter",
    "worst_month": "Worst month beside the champion",
    "inside_trigger": "Inside the stretch that triggered it",
    "outside_trigger": "Outside that stretch",
}


def review(project: Project, state: State, request: Request, now: datetime) -> dict[str, Any]:
    """Everything that there is to know of ``request``. Raises ``ArtifactError`` where its evidence is damaged."""
    evidence = read_evidence(project, request)
    retrain = next((one for one in state.retrains if one.id == request.retrain), None)
    in_force = [approval for approval in request.approvals if approval.counts(now)]
    valid = [signer.principal for signer in list_signers(project.signers) if signer.is_valid(now)]
    kept_out = {name.casefold() for name in (*(one.signer for one in in_force), request.asked_by or "")}
    page = Path(project.store.location(evidence_path(request), None, "json")).with_name("review.html")
    beside = shadow(project, request, now)
    comparison = evidence.get("comparison")
    return {
        "request": request.id,
        "standing": _standing(state, request, now),
        "asked_at": request.at.isoformat(),
        "expires": request.expires.isoformat(),
        "asked_by": request.asked_by,
        "because": retrain.reason if retrain else "it is the first model",
        "cause": retrain.cause if retrain else None,
        "closed_by": request.closed_by or None,
        "closing_reason": request.closing_reason or None,
        "rejected_before": [
            {"request": one.id, "by": one.closed_by, "reason": one.closing_reason}
            for one in state.requests[: state.requests.index(request)]
            if one.candidate == request.candidate and one.outcome == "rejected"
        ],
        "candidate": request.candidate,
        "champion": request.champion,
        "evidence": request.evidence,
        "quorum": request.quorum,
        "signatures": [
            {
                "signer": approval.signer,
                "key": approval.key,
                "at": approval.at.isoformat(),
                "expires": approval.expires.isoformat(),
                "in_force": approval.counts(now),
                "break_glass": approval.break_glass,
                "conditions": list(approval.conditions),
            }
            for approval in request.approvals
        ],
        "signatures_missing": max(request.quorum - len(in_force), 0),
        "may_sign": [name for name in dict.fromkeys(valid) if name.casefold() not in kept_out],
        "comparison": {name: value for name, value in comparison.items() if name != "series"} if comparison else None,
        # Of the first model, which has nothing to be compared with.
        "evaluation": evidence.get("evaluation"),
        "checks": evidence.get("checks", []),
        "digests": evidence.get("digests", {}),
        "code_version": evidence.get("code_version"),
        "training": evidence["training"],
        "shadow": asdict(beside) if beside else None,
        "evidence_file": project.store.location(evidence_path(request), None, "json"),
        "page": str(page) if page.exists() else None,
    }


def _standing(state: State, request: Request, now: datetime) -> str:
    if request.outcome:
        return request.outcome
    if now >= request.expires:
        return "expired"
    try:
        require_open(state, request, now)
    except GateError as error:
        return f"closed; {error}"
    return "approved, waits for its deployment" if request.approving(now) else "waits for a signature"


def review_text(found: Mapping[str, Any]) -> str:
    """``review`` in words."""
    lines = [*_head(found), "", *_verdict(found), "", *_checks(found)]
    if comparison := found["comparison"]:
        lines += ["", *_measures(comparison["stretches"]), *_by_symbol(comparison), "", *_coefficients(comparison)]
    elif found["evaluation"]:
        lines += ["", *_first_model(found["evaluation"])]
    if found["shadow"]:
        lines += ["", *_shadow(found["shadow"])]
    lines += ["", *_digests(found), "", *_signatures(found), "", *_next(found)]
    return "\n".join(lines)


def summary_text(found: Mapping[str, Any]) -> str:
    """What a person sees before signing: who asked, the verdict, what did not pass, the measures over all sessions, the
    digests. The rest stands in ``review_text``."""
    passed = sum(check["status"] == "pass" for check in found["checks"])
    doubtful = [f"  {c['status']}: {c['name']}: {c['sentence']}" for c in found["checks"] if c["status"] != "pass"]
    lines = [*_head(found), "", *_verdict(found), ""]
    lines += [
        f"Checks        {passed} of {len(found['checks'])} passed",
        *(line for d in doubtful for line in _wrap(d)),
    ]
    if comparison := found["comparison"]:
        lines += ["", *_measures(comparison["stretches"][:1])]
    elif found["evaluation"]:
        lines += ["", *_first_model(found["evaluation"])]
    lines += ["", *_digests(found)[:4], "", *_signatures(found)]
    lines += ["", f"All of it: countersign review {found['request']}"]
    return "\n".join(lines)


def _head(found: Mapping[str, Any]) -> list[str]:
    asked_by = found["asked_by"] or ("monitoring" if found["cause"] else "bootstrap_job")
    lines = [
        f"Request       {found['request']}: {found['standing']}",
        f"Asked         {_minute(found['asked_at'])} by {asked_by}",
        f"Expires       {_minute(found['expires'])}",
    ]
    if found["closed_by"]:
        lines.append(f"Closed        by {found['closed_by']}")
    if found["closing_reason"]:
        lines += _wrap(f"              {found['closing_reason']}")
    if found["standing"] == "waits for a signature":
        lines += _wrap(f"Waits for     {missing_words(found['signatures_missing'], found['may_sign'])}")
    lines += _wrap(f"Because       {found['because']}")
    for one in found["rejected_before"]:
        lines += _wrap(f"Before        the same model was rejected as {one['request']} by {one['by']}: {one['reason']}")
    training = found["training"]
    lines.append(f"Trained on    {training['first_session']} … {training['last_session']}, {training['rows']} rows")
    return lines


def _verdict(found: Mapping[str, Any]) -> list[str]:
    comparison = found["comparison"]
    if not comparison:
        return ["Verdict       none: the first model has nothing to be compared with"]
    only = ", and wins only in the stretch that triggered it" if comparison["wins_only_in_trigger"] else ""
    lines = [f"Verdict       {comparison['verdict']}{only}"]
    for sentence in comparison["sentences"]:
        lines += _wrap(f"  - {sentence}")
    return lines


def _checks(found: Mapping[str, Any]) -> list[str]:
    lines = ["Automatic checks"]
    for check in found["checks"]:
        lines += _wrap(f"  {check['status']:<12}  {check['name']}: {check['sentence']}", 16)
    return lines if found["checks"] else ["Automatic checks: a first model has none"]


def _measures(stretches: Sequence[Mapping[str, Any]]) -> list[str]:
    if not stretches:
        return ["Measures: none, no session after the champion's last one has a known outcome"]
    lines = [
        f"{'Measures':<19}{'candidate':>9}{'champion':>10}{'baseline':>10}  "
        f"{'minus champion [95 %]':<25} minus baseline [95 %]"
    ]
    for stretch in stretches:
        name = _STRETCHES.get(stretch["name"], stretch["name"])
        lines.append(
            f"{name}, {stretch['first']} … {stretch['last']}: {stretch['sessions']} sessions, {stretch['rows']} rows"
        )
        for measure, one in stretch["measures"].items():
            who = "".join(f"{_number(one[who]):>{width}}" for who, width in zip(_WHO, (8, 10, 10), strict=True))
            over = [_difference(one[f"over_{rival}"]) for rival in ("champion", "baseline")]
            lines.append(f"  {measure:<18}{who}  {over[0]:<25} {over[1]}".rstrip())
    return lines


def _by_symbol(comparison: Mapping[str, Any]) -> list[str]:
    lines, symbols = list[str](), comparison["symbols"]
    if symbols:
        lines += ["", f"{'':<14}{'':>6}{'QLIKE':>30}{'Brier loss':>30}"]
        lines.append(f"{'By symbol':<14}{'rows':>6}" + "".join(f"{who:>10}" for who in _WHO * 2))
        for symbol in symbols[:_SYMBOLS]:
            numbers = [symbol["measures"][loss][who] for loss in ("qlike", "brier_loss") for who in _WHO]
            lines.append(
                f"  {symbol['name']:<12}{symbol['rows']:>6}" + "".join(f"{_number(one):>10}" for one in numbers)
            )
        if len(symbols) > _SYMBOLS:
            lines.append(f"  and {len(symbols) - _SYMBOLS} more: --json has them all")
    return lines


def _coefficients(comparison: Mapping[str, Any]) -> list[str]:
    lines = [f"{'Coefficients':<12}  {'for one standard deviation':<30}{'champion':>10}{'candidate':>11}{'change':>10}"]
    changes = comparison["coefficients"]
    for one in changes[:_COEFFICIENTS]:
        change = None if None in (one["candidate"], one["champion"]) else one["candidate"] - one["champion"]
        lines.append(
            f"  {one['head']:<12}{one['feature']:<30}{_number(one['champion']):>10}{_number(one['candidate']):>11}"
            f"{_number(change, '+.4f'):>10}"
        )
    if len(changes) > _COEFFICIENTS:
        lines.append(f"  and {len(changes) - _COEFFICIENTS} that changed less")
    lines += [
        f"  range of {one['feature']}: {_range(one, 'champion')}, now {_range(one, 'candidate')}"
        for one in comparison["training_ranges"][:_COEFFICIENTS]
    ]
    return lines


def _range(one: Mapping[str, Any], who: str) -> str:
    return f"{_number(one[f'{who}_low'], '.4g')} … {_number(one[f'{who}_high'], '.4g')}"


def _first_model(evaluation: Mapping[str, Any]) -> list[str]:
    lines = [f"{'Walk-forward':<19}{'model':>9}{'baseline':>10}"]
    for name, one in evaluation["table"].items():
        lines.append(f"  {name:<18}{_number(one['model']):>8}{_number(one['baseline']):>10}")
    return lines


def _shadow(shadow: Mapping[str, Any]) -> list[str]:
    text = (
        f"In the shadow of the champion since {shadow['first']}: {shadow['sessions']} sessions, {shadow['rows']} "
        f"scores, {shadow['decided_alike']:.1%} decided alike; {shadow['matured_rows']} have matured"
    )
    if shadow["matured_rows"]:
        text += (
            f": QLIKE {shadow['candidate_qlike']:.4f} against {shadow['champion_qlike']:.4f}, Brier loss "
            f"{shadow['candidate_brier']:.4f} against {shadow['champion_brier']:.4f}"
        )
    return _wrap(text, 2)


def _digests(found: Mapping[str, Any]) -> list[str]:
    lines = [
        "What a signature binds",
        f"  candidate   {found['candidate']}",
        f"  evidence    {found['evidence']}",
        f"  champion    {found['champion'] or 'none'}",
    ]
    lines += [
        f"  {name:<10}  {digest}" for name, digest in found["digests"].items() if name not in ("candidate", "champion")
    ]
    return [*lines, f"  code        {found['code_version']}"] if found["code_version"] else lines


def _signatures(found: Mapping[str, Any]) -> list[str]:
    lines = [f"Signatures    {sum(one['in_force'] for one in found['signatures'])} of {found['quorum']}"]
    for one in found["signatures"]:
        extra = " break-glass" if one["break_glass"] else ""
        ended = "" if one["in_force"] else ", no longer in force"
        lines.append(f"  {one['signer']} at {_minute(one['at'])}{extra}{ended}")
        lines += [f"    leaves service again once {condition}" for condition in one["conditions"]]
    return lines


def _next(found: Mapping[str, Any]) -> list[str]:
    lines = [f"Plots         {found['page']}"] if found["page"] else []
    lines.append(f"Evidence      {found['evidence_file']}")
    if found["standing"] == "waits for a signature":
        name = found["request"]
        lines.append(f"Decide        countersign approve {name}")
        lines.append(f"              countersign reject {name} --reason …, or request-changes {name} --reason …")
    return lines


def decision_text(line: Line, state: State, next_due: Due | None, on_revoke: str) -> str:
    """What was put on record, and what happens next."""
    said = [f"{line['signer']} signed {line['decision']}, line {line['sha256'][:12]} of the journal."]
    request = state.request(line["request"]) if line["request"] else None
    if line["decision"] == "approve" and request:
        said.append(f"{request.id} has {len(request.approvals)} of {request.quorum} signatures.")
        if next_due is None:
            said.append(f"Another signer's is needed: countersign approve {request.id}")
    elif line["decision"] == "ratify" and request:
        said.append(f"{request.id}, deployed by break-glass, is ratified.")
    elif request:
        said.append(f"{request.id} is closed ({request.outcome}), and the model in service stays.")
        said.append("A new candidate takes a new retrain: countersign retrain --reason … --by NAME")
    elif line["decision"] == "revoke" and next_due is None:
        why = "gate.on_revoke is stop" if on_revoke == "stop" else "there is no earlier model"
        said.append(f"{line['model'][:12]} is out of service, and nothing is scored ({why}).")
        if state.earlier():
            said.append("Return to an earlier model with: countersign rollback --reason …")
        else:
            said.append("No earlier one can come back. A new candidate: countersign retrain --reason … --by NAME")
    if next_due:
        said.append(f"{next_due.model[:12]} is due: {next_due.why}.")
        said.append("sign_off_sensor deploys it within half a minute, or now: countersign deploy")
    return "\n".join(said)


def _difference(one: Mapping[str, Any]) -> str:
    if one["value"] is None:
        return "-"
    interval = "" if one["low"] is None else f" [{one['low']:+.4f}, {one['high']:+.4f}]"
    return f"{one['value']:+.4f}{interval}"


def _number(value: float | None, style: str = ".4f") -> str:
    return "-" if value is None else format(value, style)


def _minute(moment: str) -> str:
    return f"{datetime.fromisoformat(moment):%Y-%m-%d %H:%M} UTC"


def _wrap(text: str, indent: int | None = None) -> list[str]:
    """Lines of at most ``WIDTH``; the following ones stand under the first one's words."""
    depth = indent if indent is not None else 14 if text[0] != " " else 4
    return textwrap.wrap(text, WIDTH, subsequent_indent=" " * depth, break_on_hyphens=False, break_long_words=False)
