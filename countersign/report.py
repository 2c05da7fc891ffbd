"""Report: what a person reads in the morning, as plain text of 80 columns.

Belongs here: words and layout, from facts that were computed elsewhere. Does not belong here: reading, computing.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from countersign.model.targets import BAD_SESSION, HORIZON
from countersign.prices.restatements import change_in_words, close_changes, since_first
from countersign.words import as_sentence, counted, listed

if TYPE_CHECKING:
    import pandas as pd

    from countersign.prices.quarantine import Release

WIDTH: Final = 80
_ROWS: Final = 40
"""Symbols listed in a table before the rest is summed up; held ones come first."""
_ANOTHER: Final = "Have another made (countersign retrain) or take it out (countersign revoke)."
_OF_MODELS: Final = ("The model in service ", "A new model ")
"""How a sentence on what needs a person begins that is not of the session but of the models, and no other one does."""


@dataclass(frozen=True)
class Matured:
    """Scores of the session ``scored`` beside what came: ``table`` has ``came_volatility`` and ``bad_week`` too."""

    scored: str
    table: pd.DataFrame


@dataclass(frozen=True)
class Restated:
    """Numbers that the source said otherwise before (table ``RESTATEMENTS``); features up to ``until`` read them.

    A close that changed by more than ``limit``, a share of it, needs a person.
    """

    table: pd.DataFrame
    limit: float
    until: str | None


@dataclass(frozen=True)
class ReportFacts:
    """All that a report is made from."""

    session: str
    calendar: str
    horizon_end: str | None
    source: str
    clean: pd.DataFrame
    closes_alone: bool
    rejected: pd.DataFrame
    released: tuple[Release, ...]
    restated: Restated | None
    missing: list[str] | None
    aside: list[str]
    """Symbols that came, with no row that was kept."""
    jump: str | None
    """What the check of that name says of prices that were kept, where it failed."""
    scores: pd.DataFrame
    matured: Matured | None
    metrics: pd.DataFrame
    drift: pd.DataFrame
    model_sha256: str
    champion_sha256: str
    standing: str
    """How the champion got into service."""
    gate_needs: tuple[str, ...]
    """What of the models needs a person."""
    gate_news: tuple[str, ...]
    training: Mapping[str, Any]
    evaluation: Mapping[str, Any]
    min_auc: float
    cutoff: float
    stale: str | None
    commentary: str | None


def report_text(facts: ReportFacts) -> str:
    """The whole report. The same facts make the same text: no clock, no path of the machine."""
    person = person_needs(facts)
    held = int((facts.scores["decision"] == "hold").sum())
    lines = [
        *_head(facts.session, facts.calendar),
        f"{len(facts.scores) - held} of {len(facts.scores)} symbols approved, {held} held; "
        f"{len(person) or 'nothing'} {'thing needs' if len(person) == 1 else 'things need' if person else 'needs'} "
        "a person.",
        "",
        *_section("NEEDS A PERSON", person or ["Nothing today."], bullet=bool(person)),
        *_section("DATA", data_words(facts)),
        "",
        _scores_title(facts.horizon_end),
        *_scores(facts.scores, facts.cutoff),
        "",
        "MATURED SINCE YESTERDAY",
        *_matured(facts),
        "",
        "MONITORING",
        *_monitoring(facts),
        "",
        *_section("MODEL", model_words(facts)),
        "",
        "COMMENTARY",
    ]
    words = facts.commentary
    if words is None:
        lines += _wrap(
            f"None has been written. To add one: write commentary/{facts.session}.md, then materialize report again."
        )
        return "\n".join(lines) + "\n"
    return "\n".join(lines) + "\n" + words + ("" if words.endswith("\n") else "\n")


def plain_report_text(
    session: str,
    calendar: str,
    horizon_end: str | None,
    scores: pd.DataFrame,
    *,
    cutoff: float,
    sha256: str,
    standing: str,
    training: Mapping[str, Any],
    evaluation: Mapping[str, Any],
) -> str:
    """The report of scores that were made from files: of what was neither monitored nor put on record it says so."""
    held = int((scores["decision"] == "hold").sum())
    fallen = scores[scores["fallback_reason"].notna()]
    by_reason = {
        str(reason): listed(rows["symbol"].tolist()) for reason, rows in fallen.groupby("fallback_reason", sort=True)
    }
    lines = [
        *_head(session, calendar),
        f"{len(scores) - held} of {len(scores)} symbols approved, {held} held.",
        *_wrap("Made from files: nothing here was monitored, put on record or signed.", ""),
        "",
        _scores_title(horizon_end),
        *_scores(scores, cutoff),
    ]
    for reason, names in by_reason.items():
        lines += _wrap(f"Scored by the baseline: {names} ({reason}).")
    return "\n".join([*lines, "", *_section("MODEL", _training_words(sha256, standing, training, evaluation))]) + "\n"


def _head(session: str, calendar: str) -> list[str]:
    weekday = date.fromisoformat(session).strftime("%A")
    return [f"COUNTERSIGN   session {session} ({weekday})   {calendar}", "=" * WIDTH]


def _scores_title(horizon_end: str | None) -> str:
    return f"SCORES   risk over the next 5 sessions{', to ' + horizon_end if horizon_end else ''}"


def needs_a_person(text: str) -> list[str]:
    """What a report says needs a person, one sentence or paragraph each."""
    section = text.partition("\nNEEDS A PERSON\n")[2].partition("\n\n")[0]
    return [" ".join(part.split()) for part in f"\n{section}".split("\n  - ")[1:]]


def session_needs(text: str) -> list[str]:
    """Those of ``needs_a_person`` that are of the session itself. What a report says of the model in service, or of one
    that waits, a decision may have changed since."""
    return [need for need in needs_a_person(text) if not need.startswith(_OF_MODELS)]


def _section(title: str, paragraphs: list[str], bullet: bool = False) -> list[str]:
    lines = [title]
    for paragraph in paragraphs:
        lines += _wrap(paragraph, "  - " if bullet else "  ")
    return [*lines, ""] if bullet or title == "NEEDS A PERSON" else lines


def _wrap(text: str, first: str = "  ") -> list[str]:
    # A symbol such as BTC-USD stays whole, so that a search finds it.
    return textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=" " * len(first), break_on_hyphens=False)


def person_needs(facts: ReportFacts) -> list[str]:
    """What needs a person, a sentence each."""
    found = []
    if facts.missing:
        found.append(
            f"No bar of {listed(facts.missing)}, which traded the session before: halted, or a failed delivery?"
        )
    # A row that came twice is no fault of the bar: the first one is kept.
    doubtful = facts.rejected[facts.rejected["rule"] != "duplicate"]
    if len(doubtful):
        found.append(
            f"{counted(len(doubtful), 'row')} in quarantine, of {listed(sorted(set(doubtful['symbol'])))}: "
            f"countersign quarantine list {facts.session}."
        )
    if facts.jump:
        found.append(f"{as_sentence(facts.jump)} Where a price is wrong, correct the source and run the session again.")
    # What the source has taken back needs nobody: it stays on record, under DATA.
    left = since_first(facts.restated.table) if facts.restated else None
    if facts.restated and left is not None and (close_changes(left) > facts.restated.limit).any():
        until = f" to {facts.restated.until}" if facts.restated.until else " on"
        found.append(
            f"{_restated_words(left)} Sessions from {facts.session}{until} read it: countersign status names "
            "those that are to be run again."
        )
    if facts.stale:
        found.append(f"{facts.stale} Run the session again from there.")
    failed = [*facts.metrics["sentence"][facts.metrics["status"] == "fail"]]
    failed += facts.drift["sentence"][facts.drift["status"] == "fail"].tolist()
    found += [as_sentence(sentence) for sentence in failed]
    found += evaluation_needs(facts.evaluation, facts.min_auc)
    fallen = facts.scores[facts.scores["fallback_reason"].notna()]
    if len(fallen):
        reasons = sorted({str(r).split(":")[0] for r in fallen["fallback_reason"]})
        found.append(f"{listed(fallen['symbol'].tolist())} scored by the baseline ({'; '.join(reasons)}).")
    return [*found, *facts.gate_needs]


def evaluation_needs(evaluation: Mapping[str, Any], min_auc: float) -> list[str]:
    """What of the evaluation of the model in service needs a person: an AUC below ``min_auc``, a better baseline."""
    found = []
    auc = evaluation["table"]["auc"]["model"]
    if auc is None or not auc >= min_auc:
        found.append(
            f"The model in service is not known to tell bad weeks from fine ones: AUC {_number(auc)} in its "
            f"evaluation, {min_auc:g} is the least (min_auc in config/thresholds.yaml; 0.5 is chance). {_ANOTHER}"
        )
    for name in ("auc", "qlike"):
        measure = evaluation["table"][name]
        if measure["lead_high"] is not None and measure["lead_high"] < 0:
            found.append(
                f"The model in service was worse than the baseline in its evaluation: {name.upper()} "
                f"{_number(measure['model'])} against {_number(measure['baseline'])}, with the whole 95 % interval. "
                f"{_ANOTHER}"
            )
    return found


def data_words(facts: ReportFacts) -> list[str]:
    """What came from the source."""
    text = f"{counted(len(facts.clean), 'bar')} from {facts.source}, {len(facts.rejected)} rejected."
    if len(facts.rejected):
        counts = facts.rejected["rule"].value_counts()
        text += " " + ", ".join(f"{rule}: {n}" for rule, n in zip(counts.index, counts, strict=True)) + "."
    if facts.aside:
        text += f" In quarantine, and so without a bar: {listed(facts.aside)}."
    if facts.missing is None:
        text += " Insufficient evidence on missing symbols: the session before is not in the store."
    elif facts.missing:
        text += f" Missing since the session before: {listed(facts.missing)}."
    else:
        text += f" No {'other ' if facts.aside else ''}symbol is missing since the session before."
    if facts.closes_alone:
        text += " Closes alone: variances are squared returns, as open, high and low are not known."
    return [text, *_people_and_source(facts)]


def _people_and_source(facts: ReportFacts) -> list[str]:
    """What people let through, and what the source has said otherwise since."""
    found = []
    if facts.released:
        rows = "; ".join(f"{one.symbol} ({one.rule}) by {one.by}: {one.reason}" for one in facts.released)
        found.append(f"{counted(len(facts.released), 'row')} released from quarantine: {rows}.")
    if facts.restated:
        until = facts.restated.until
        read = f"Features up to {until} read this session." if until else "Later features read this session."
        found.append(f"{_restated_words(facts.restated.table)} The old versions are kept. {read}")
    return found


def _restated_words(table: pd.DataFrame) -> str:
    return (
        f"Restated by the source: {counted(len(table), 'value')} of {listed(sorted(set(table['symbol'])))}, "
        f"{change_in_words(close_changes(table))}."
    )


def _scores(scores: pd.DataFrame, cutoff: float) -> list[str]:
    table = scores.sort_values(["bad_week_probability", "symbol"], ascending=[False, True])
    lines = [f"  {'symbol':<24} decision   bad week  vol. a day  baseline's  by", "  " + "-" * (WIDTH - 2)]
    lines += [
        f"  {row['symbol']:<24} {row['decision']:<9} {row['bad_week_probability']:>8.1%}  "
        f"{row['volatility_forecast']:>10.2%}  {row['baseline_volatility']:>10.2%}  {row['volatility_by']}"
        for row in table.head(_ROWS).to_dict(orient="records")
    ]
    if len(table) > _ROWS:
        rest = table.iloc[_ROWS:]
        lines += _wrap(f"and {len(rest)} more, bad week at most {rest['bad_week_probability'].iloc[0]:.1%}:")
        for decision, word in (("hold", "held"), ("approve", "approved")):
            names = rest["symbol"][rest["decision"] == decision]
            lines += _wrap(f"{len(names)} {word}: {', '.join(names)}") if len(names) else []
    return lines + _wrap(cutoff_words(cutoff))


def cutoff_words(cutoff: float) -> str:
    """From when a symbol is held, and what a bad week is."""
    return (
        f"Held from a bad-week probability of {cutoff:.0%}. A week is bad where one of its {HORIZON} sessions closes "
        f"{-BAD_SESSION:.0%} or more below the one before."
    )


def _matured(facts: ReportFacts) -> list[str]:
    if facts.matured is None:
        return _wrap("Nothing: outcomes come 5 sessions after a scored session, and that one was not scored.")
    table = facts.matured.table.sort_values(["bad_week_probability", "symbol"], ascending=[False, True])
    known = table[table["bad_week"].notna()]
    scored = f"scored {facts.matured.scored}"
    lines = [f"  {scored:<24} decision   bad week  came     vol. a day     came", "  " + "-" * (WIDTH - 2)]
    for row in table.head(_ROWS).to_dict(orient="records"):
        came = {1.0: "bad", 0.0: "fine"}.get(row["bad_week"], "unknown")
        volatility = f"{row['came_volatility']:.2%}" if np.isfinite(row["came_volatility"]) else "unknown"
        lines.append(
            f"  {row['symbol']:<24} {row['decision']:<9} {row['bad_week_probability']:>8.1%}  {came:<7}  "
            f"{row['volatility_forecast']:>10.2%}  {volatility:>7}"
        )
    approved = known[known["decision"] == "approve"]
    bad = int((approved["bad_week"] == 1).sum())
    text = f"The {_ROWS} riskiest of {len(table)} are listed. " if len(table) > _ROWS else ""
    text += f"{len(known)} of {len(table)} outcomes known"
    text += f"; {bad} of {len(approved)} approved had a bad week." if len(approved) else "; none had been approved."
    return lines + _wrap(text)


def _monitoring(facts: ReportFacts) -> list[str]:
    """A line a layer: FAIL where a measure does, ok where all pass, partly and unknown where evidence is missing."""
    lines = []
    for layer in ("data", "drift", "model", "system", "business"):
        drift = layer == "drift"
        status = (facts.drift if drift else facts.metrics[facts.metrics["layer"] == layer])["status"]
        passed, failed, unsure = ((status == s).sum() for s in ("pass", "fail", "insufficient"))
        light = "FAIL" if failed else "unknown" if not passed else "partly" if unsure else "ok"
        what = "distributions as in training" if drift else "measures as they should be"
        said = f"{passed} of {len(status)} {what}" if len(status) else "not measured"
        said += f", {failed} {'drifted' if drift else 'failed'}" if failed else ""
        said += f", {unsure} without evidence" if unsure else ""
        lines += _layer(layer, light, said)
    return lines


def _layer(name: str, light: str, said: str) -> list[str]:
    return textwrap.wrap(said, WIDTH, initial_indent=f"  {name:<9} {light:<8} ", subsequent_indent=" " * 21)


def model_words(facts: ReportFacts) -> list[str]:
    """The champion's standing."""
    replaced = f"These scores were made by {facts.model_sha256[:12]}, in service at the time."
    return [
        *([replaced] if facts.model_sha256 != facts.champion_sha256 else []),
        *_training_words(facts.champion_sha256, facts.standing, facts.training, facts.evaluation),
        *facts.gate_news,
    ]


def _training_words(
    sha256: str, standing: str, training: Mapping[str, Any], evaluation: Mapping[str, Any]
) -> list[str]:
    table = evaluation["table"]
    auc, qlike = (
        f"{name.upper()} {_number(table[name]['model'])} (baseline {_number(table[name]['baseline'])})"
        for name in ("auc", "qlike")
    )
    return [
        f"{sha256[:12]}, {standing}. Trained on {training['first_session']} … "
        f"{training['last_session']}, {training['rows']} rows of {counted(len(training['symbols']), 'symbol')}.",
        f"Walk-forward {evaluation['first']} … {evaluation['last']}: {auc}, {qlike}, bad rate "
        f"{_share(evaluation['bad_rate_approved'])} of approved against "
        f"{_share(evaluation['bad_rate_held'])} of held.",
    ]


def scores_preview(scores: pd.DataFrame) -> str:
    """The riskiest symbols of a session as a table in Markdown."""
    lines = ["| symbol | decision | bad week | volatility a day | by |", "|---|---|---:|---:|---|"]
    riskiest = scores.sort_values("bad_week_probability", ascending=False).head(_ROWS)
    lines += [
        f"| {row['symbol']} | {row['decision']} | {row['bad_week_probability']:.1%} | "
        f"{row['volatility_forecast']:.2%} | {row['volatility_by']} |"
        for row in riskiest.to_dict(orient="records")
    ]
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "unknown" if value is None or value != value else f"{value:.3f}"


def _share(value: float | None) -> str:
    return "unknown" if value is None or value != value else f"{value:.1%}"
