"""Weekly review: what risk people read before they change a threshold, as a page.

Belongs here: words, tables and figures of one week and the quarter up to it, and the rules of suggestions, as pure
functions of facts. Does not belong here: reading (``steps.weekly``), measures, the form of a page (``page``).

No suggestion is acted upon by code: thresholds belong to people.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from countersign.gate.state import BOOTSTRAP
from countersign.monitoring.replay import NOT_REPLAYED, replay_text
from countersign.pages.page import (
    Block,
    Cell,
    Figure,
    Figures,
    Light,
    Page,
    Section,
    Table,
    Verbatim,
    Words,
)
from countersign.pages.plots import heat_map
from countersign.pages.quarter import (
    COURSE_KEY,
    LAYERS,
    QUARTER,
    calibration_blocks,
    layer_light,
    measure_course,
    measure_figure,
    number_text,
    rates_blocks,
    status_light,
    validation_table,
)

if TYPE_CHECKING:
    import pandas as pd

    from countersign.monitoring.alerts import Alert
    from countersign.monitoring.replay import MeasureReplay, Replay
    from countersign.thresholds import Thresholds

CALM_YEARS: Final = ("2004", "2005", "2006", "2012")
"""Years in which nothing happened on the US market that a threshold should have noticed (docs/false-alarms.md)."""

_ROWS: Final = 40
"""Rows of a table before the rest is counted."""

_POINTS: Final = 12
"""Characters that stand for the quarter's course in the text form."""


@dataclass(frozen=True)
class Standing:
    """The model that made the scores of ``session``, the week's last.

    ``decision``, ``why`` and ``since`` are of the deployment by which it was in service then, from the journal.
    ``revoked`` has a sentence on each model of the week that a person has revoked since.
    """

    session: str
    sha256: str
    decision: str
    why: str
    since: str
    training: Mapping[str, Any]
    evaluation: Mapping[str, Any]
    revoked: Sequence[str]


@dataclass(frozen=True)
class WeekFacts:
    """All that a review is made from. Dates are ``YYYY-MM-DD``, those of tables datetime64.

    ``sessions`` are those of the week, ``missing`` the ones of them that are not in the store, ``quarter`` all up to
    its last. ``metrics``, ``drift``, ``scores``, ``outcomes`` and ``rejected`` are the tables of the quarter's sessions
    one below the other; ``rejected`` has the ``session`` as well. ``judged_by`` has the thresholds' digest of each
    session in the store; ``thresholds`` and ``thresholds_sha256`` are those of now. ``alerts`` are as the week left
    them, ``needs`` what its last report says of a person, and what the models need now.
    """

    week: str
    calendar: str
    sessions: tuple[str, ...]
    missing: tuple[str, ...]
    quarter: tuple[str, ...]
    metrics: pd.DataFrame
    drift: pd.DataFrame
    scores: pd.DataFrame
    outcomes: pd.DataFrame
    rejected: pd.DataFrame
    judged_by: Mapping[str, str]
    standing: Standing
    alerts: Sequence[Alert]
    needs: Sequence[str]
    reviews_due: Sequence[str]
    thresholds: Thresholds
    thresholds_sha256: str
    replay: Replay
    commentary: str | None


def weekly_page(facts: WeekFacts) -> Page:
    """The whole review. The same facts make the same page: no clock, no path of the machine."""
    held = [s for s in facts.sessions if s not in facts.missing]
    first, final = date.fromisoformat(facts.sessions[0]), date.fromisoformat(facts.sessions[-1])
    return Page(
        title=f"Weekly review {facts.week}",
        subtitle=f"{first.day} {first:%B} {first.year} to {final.day} {final:%B} {final.year}, {facts.calendar}: "
        f"{len(held)} of {len(facts.sessions)} sessions, and the quarter up to them ({_stretch(facts)})",
        lights=[(layer, *(_system_light(facts) if layer == "system" else _light(facts, layer))) for layer in LAYERS],
        sections=[
            Section("Needs a person", _waits(facts), half=True),
            Section("Commentary", _commentary(facts), half=True),
            Section("Alerts of the quarter", _alerts(facts)),
            *_measures(facts),
            Section("PSI by subject over the quarter", _psi(facts)),
            Section(
                "Approved and held",
                rates_blocks(facts.scores, facts.outcomes, facts.quarter, facts.standing.evaluation),
            ),
            Section(
                "Calibration of the quarter's matured outcomes",
                calibration_blocks(facts.outcomes, facts.thresholds.business),
                half=True,
            ),
            Section("Model standing", _standing(facts), half=True),
            Section("Rejected rows", _rejected(facts)),
            Section("False alarms: the thresholds replayed over history", _replay(facts), folded=True),
            Section("Suggestions", _suggestions(facts)),
        ],
        foot=_foot(facts),
    )


def suggestions(facts: WeekFacts) -> list[str]:
    """What the rules of ``RULES`` say of the facts, each by the number of its rule."""
    found = []
    for m in facts.replay.measures:
        often = {year: m.by_year[year] or 0 for year in CALM_YEARS if (m.by_year.get(year) or 0) > 1}
        if often:
            years = ", ".join(f"{count} times in {year}" for year, count in often.items())
            limits = "; ".join(
                f"{t.name} is {t.value:g}, with {len(m.alarms.stretches)} alarms in all; doubled it would have had "
                f"{len(t.doubled.stretches)}, halved {len(t.halved.stretches)}"
                for t in m.thresholds
            )
            found.append(f"Rule 1: look at what {m.measure} is judged by. It alarmed {years}. {limits}.")
    found += [f"Rule 2: {sentence}." for sentence in facts.reviews_due]
    if len(facts.judged_by) == QUARTER:
        for measure, rows in facts.metrics.groupby("measure", sort=False):
            if (rows["status"] == "insufficient").all():
                found.append(
                    f"Rule 3: decide whether {measure} can be judged here at all. It had too little evidence in every "
                    f"session of the quarter; in the last: {rows['sentence'].iloc[-1]}."
                )
    return found


RULES: Final = (
    f"more than one alarm under replay in a calm year of the US market ({', '.join(CALM_YEARS)}), where it was judged",
    "a review of thresholds that was due at the end of the week",
    f"a measure without sufficient evidence in every one of the quarter's {QUARTER} sessions",
)
"""When a suggestion is made."""


def _stretch(facts: WeekFacts) -> str:
    have, due = len(facts.judged_by), len(facts.quarter)
    return f"{have} sessions" if have == due else f"{have} of {due} sessions in the store"


def _light(facts: WeekFacts, layer: str) -> tuple[Light, str]:
    """The layer as the last session of the week left it: failed where one measure did, ok where all passed."""
    table = facts.drift if layer == "drift" else facts.metrics[facts.metrics["layer"] == layer]
    week = table[table["date"] >= np.datetime64(facts.sessions[0])]
    last = week[week["date"] == week["date"].max()]["status"]
    light, passed, failed, unsure = layer_light(last)
    what = "distributions as in training" if layer == "drift" else "measures as they should be"
    day = str(week["date"].max())[:10] if len(week) else "The week"
    said = f"{day}: {passed} of {len(last)} {what}, {failed} failed, {unsure} without evidence."
    days = week[week["status"] == "fail"]["date"].nunique()
    if days:
        said += f" Something failed in {days} of {week['date'].nunique()} sessions."
    return light, said


def _system_light(facts: WeekFacts) -> tuple[Light, str]:
    """Measures of the runs, and the alerts on runs, sensors and channels, which no artifact has."""
    light, measured = _light(facts, "system")
    begin = facts.quarter[0]
    system = [a for a in facts.alerts if a.layer == "system" and (a.ended_session or a.last_session) >= begin]
    still = [alert for alert in system if alert.ended_session is None]
    said = f"{measured} Runs, sensors and channels: {len(still)} of {len(system)} alerts of the quarter are open."
    # No alert is no proof: where no daemon watches, runs and sensors are silent.
    return (Light("fail", "FAIL") if still else light), said


def _waits(facts: WeekFacts) -> list[Block]:
    waits = [
        *(f"{session} is not in the store, or not whole: make run SESSION={session}." for session in facts.missing),
        *facts.needs,
        *(f"Thresholds of {sentence}." for sentence in facts.reviews_due),
        *(
            f"Alert since {a.first_session} ({a.layer}, {a.severity}): {a.sentence}."
            for a in facts.alerts
            if a.ended_session is None and not any(a.sentence[1:] in need for need in facts.needs)
        ),
    ]
    return [Words(waits, bullets=True) if waits else Words(["Nothing at the end of this week."])]


THEIR_WORDS: Final = "A person's words, as they were written:"


def _commentary(facts: WeekFacts) -> list[Block]:
    if facts.commentary is None or not facts.commentary.strip():
        words = f"None has been written. To add one: write commentary/{facts.week}.md, then materialize weekly_review."
        return [Words([words])]
    return [Words([THEIR_WORDS]), Verbatim(facts.commentary)]


def _alerts(facts: WeekFacts) -> list[Block]:
    since = facts.quarter[0]
    shown = [a for a in facts.alerts if a.ended_session is None or a.ended_session >= since]
    if not shown:
        return [Words(["None was open in this quarter."])]
    shown.sort(key=lambda a: (a.ended_session is not None, a.first_session, a.id))
    rows: list[list[Cell]] = [
        [
            a.first_session,
            a.id.partition("@")[0].partition(":")[2],
            Light(
                "fail" if a.ended_session is None else "ok", f"ended {a.ended_session}" if a.ended_session else "open"
            ),
            number_text(a.value),
            number_text(a.threshold),
        ]
        for a in shown
    ]
    words = [f"{a.measure}, {a.first_session} to {a.last_session}: {a.sentence}." for a in shown[:_ROWS]]
    lasting = sum(a.ended_session is None for a in shown)
    return [
        Words([f"{len(shown)} in all: {lasting} open at the end of the week, {len(shown) - lasting} ended by then."]),
        Table(("since", "measure", "what became", "value", "limit"), rows[:_ROWS], "lllrr"),
        *_more(len(shown)),
        Words(["As of the last session that failed:"]),
        Words(words, bullets=True),
    ]


def _measures(facts: WeekFacts) -> Iterator[Section]:
    """A section a layer: figures of what has a value, and words on what has none; as text, a table."""
    for layer in (name for name in LAYERS if name != "drift"):
        own = facts.metrics["layer"] == layer
        figures, unknown, rows = [], [], []
        for measure in facts.metrics["measure"][own].unique():
            course = measure_course(facts.metrics, measure, facts.quarter)
            last = facts.metrics[facts.metrics["measure"] == measure].iloc[-1].to_dict()
            if np.isnan(course.value).all():
                unknown.append(f"{measure}: {last['sentence']}.")
            else:
                figures.append(measure_figure(course, last, facts.sessions))
            light = status_light(last["status"])
            rows.append(
                [measure, light, number_text(last["value"]), number_text(last["threshold"]), _spark(course.value)]
            )
        blocks: list[Block] = [
            Table(("measure", "status", "value", "limit", "the quarter"), rows, "llrrl", form="text")
        ]
        if figures:
            blocks.append(Figures(figures, [*COURSE_KEY, ("band", "the week under review")]))
        if unknown:
            blocks += [Words(["Without a value all quarter:"]), Words(unknown, bullets=True)]
        yield Section(f"Measures: {layer}", blocks, half=not figures)


def _psi(facts: WeekFacts) -> list[Block]:
    limit = facts.thresholds.drift.psi
    dates = facts.drift["date"].to_numpy().astype("datetime64[D]").astype(str)
    subjects = list(facts.drift["subject"].unique())
    psi = np.full((len(subjects), len(facts.quarter)), np.nan)
    failed = np.zeros(psi.shape, dtype=bool)
    row = [subjects.index(subject) for subject in facts.drift["subject"]]
    column = [facts.quarter.index(day) for day in dates]
    psi[row, column] = facts.drift["psi"].to_numpy(dtype=float)
    failed[row, column] = (facts.drift["status"] == "fail").to_numpy()
    steps = np.where(np.isnan(psi), -1, np.digitize(psi, [limit * share for share in (0.5, 1, 2, 5)]))
    maps = [heat_map(facts.quarter, subjects, steps, failed, width) for width in (1080, 360)]
    words = (
        f"PSI against the training data over {facts.thresholds.drift.window_sessions} sessions. Over {limit:g} alone "
        "is no drift: slow features pass that in most quarters (colours are by the threshold of now). A dot says that "
        "effect, significance and persistence came together."
    )
    last = facts.drift[facts.drift["date"] == facts.drift["date"].max()]
    rows = [
        [
            r["subject"],
            number_text(r["psi"]),
            number_text(r["p_value"]),
            status_light(r["status"]),
            _spark(psi[subjects.index(r["subject"])]),
        ]
        for r in last.sort_values("psi", ascending=False, kind="stable").to_dict(orient="records")
    ]
    key = [
        ("h0", f"under {limit / 2:g}"),
        ("h1", f"{limit / 2:g} to {limit:g}"),
        ("h2", f"{limit:g} (threshold) to {2 * limit:g}"),
        ("h3", f"{2 * limit:g} to {5 * limit:g}"),
        ("h4", f"{5 * limit:g} and more"),
        ("mark", "drifted"),
    ]
    return [
        Words([words]),
        Figures([Figure(maps[0], "PSI by session", narrow=maps[1])], key, wide=True),
        Table(("subject", "PSI", "p", "status", "the quarter"), rows, "lrrll", form="text"),
    ]


def _standing(facts: WeekFacts) -> list[Block]:
    s = facts.standing
    word = (
        "as the first model, without a signature"
        if s.decision == BOOTSTRAP
        else f"by decision {s.decision[:12]} ({s.why})"
    )
    said = [
        f"{s.sha256[:12]} made the scores of {s.session}. It went into service on {s.since}, {word}.",
        *(f"{sentence}." for sentence in s.revoked),
        f"Trained on {s.training['first_session']} to {s.training['last_session']}, {s.training['rows']} rows of "
        f"{len(s.training['symbols'])} symbols. Its walk-forward validation, {s.evaluation['first']} to "
        f"{s.evaluation['last']}, beside the baseline; above zero the model leads:",
    ]
    newest = facts.metrics[facts.metrics["date"] == facts.metrics["date"].max()]
    now = newest[newest["measure"].isin(["qlike", "volatility_mae", "brier", "auc"])]
    return [
        Words(said),
        validation_table(s.evaluation),
        Words(["On the outcomes that matured since:"]),
        Words([f"{sentence}." for sentence in now["sentence"]], bullets=True),
    ]


def _rejected(facts: WeekFacts) -> list[Block]:
    week = facts.rejected[facts.rejected["session"] >= facts.sessions[0]]
    counts = facts.rejected["rule"].value_counts()
    quarter = ", ".join(f"{rule}: {count}" for rule, count in zip(counts.index, counts, strict=True))
    words = f"{len(week)} in the week, {len(facts.rejected)} in the quarter{f' ({quarter})' if quarter else ''}."
    if week.empty:
        return [Words([words])]
    rows = [
        [r["session"], str(r["row"]), str(r["symbol"])[:20], r["rule"], r["reason"]]
        for r in week.head(_ROWS).to_dict(orient="records")
    ]
    return [Words([words]), Table(("session", "row", "symbol", "rule", "reason"), rows, "lrlll"), *_more(len(week))]


def _replay(facts: WeekFacts) -> list[Block]:
    r = facts.replay
    fired = [m for m in r.measures if any(len(a) for a in _stretches(m))]
    quiet = [m.measure for m in r.measures if m not in fired and m.judged]
    rows: list[list[Cell]] = []
    for m in fired:
        for t in m.thresholds:
            alarms = (m.alarms, t.halved, t.doubled)
            counts = [f"{len(a.stretches)} ({a.failing})" for a in alarms]
            rows.append([m.measure, f"{t.name} = {t.value:g}", str(m.judged), *counts])
    alarmed = [m for m in fired if m.alarms.stretches]
    years = sorted({year for m in fired for year, count in m.by_year.items() if count is not None})
    by_year: list[list[Cell]] = [[m.measure, *(_year(m, year) for year in years)] for m in alarmed]
    said = (
        f"The same code as the daily run over {r.first} to {r.last}, {r.sessions} sessions, with models as they would "
        "have been trained (countersign replay). An alarm is a stretch of sessions that fail; in brackets the failing "
        "sessions. Each threshold is halved and doubled alone."
    )
    blocks: list[Block] = [Words([said])]
    if rows:
        head = ("measure", "threshold", "judged", "as it is", "halved", "doubled")
        blocks.append(Table(head, rows, "llrrrr", form="html"))
    if by_year:
        calm = [f"{year}{' calm' if year in CALM_YEARS else ''}" for year in years]
        caption = (
            f"Alarms on the prices of this project, {r.first} to {r.last}, by the year they began in; marked: more "
            "than one in a calm year. Years left out: not judged."
        )
        blocks.append(Table(("measure", *calm), by_year, "l" + "r" * len(years), caption, form="html"))
    early = [day for day in r.breaks if all(m.alarms.delays[day] == "too early" for m in alarmed)]
    over = {day: what for day, what in r.breaks.items() if day not in early}
    if over and alarmed:
        days = "; ".join(f"{day}: {what}" for day, what in over.items())
        caption = f"Sessions from a known break to the first alarm; below 0 it had begun before. {days}."
        delays = [[m.measure, *(str(m.alarms.delays[day]) for day in over)] for m in alarmed]
        blocks.append(Table(("measure", *over), delays, "l" + "r" * len(over), caption, form="html"))
    if early and alarmed:
        days = "; ".join(f"{day} ({r.breaks[day]})" for day in early)
        names = ", ".join(m.measure for m in alarmed)
        blocks.append(Words([f"Too early to say how soon after {days} an alarm came of: {names}."], form="html"))
    blocks.append(Verbatim(replay_text(r), form="text"))
    others = [f"No alarm under any of these: {', '.join(quiet)}."] if quiet else []
    never = [m.measure for m in r.measures if not m.judged]
    others += [f"Never judged: {', '.join(never)}."] if never else []
    others += [f"Not replayed: {', '.join(NOT_REPLAYED)} (history has no arrivals and no runs)."]
    return [*blocks, Words(others, form="html")]


def _stretches(m: MeasureReplay) -> list[tuple[tuple[str, str], ...]]:
    return [a.stretches for a in (m.alarms, *(a for t in m.thresholds for a in (t.halved, t.doubled)))]


def _year(m: MeasureReplay, year: str) -> Cell:
    count = m.by_year.get(year)
    if count is None:
        return "–"
    return Light("fail", str(count)) if year in CALM_YEARS and count > 1 else str(count)


def _suggestions(facts: WeekFacts) -> list[Block]:
    rules = "; ".join(f"({number}) {rule}" for number, rule in enumerate(RULES, start=1))
    found = suggestions(facts)
    return [
        Words(
            [
                f"These are suggestions. Nothing has been changed, and no code acts upon them. They follow from the "
                f"numbers above by these rules: {rules}."
            ]
        ),
        Words([f"Suggestion. {text}" for text in found], bullets=True)
        if found
        else Words(["None of the rules applies this week."]),
    ]


def _foot(facts: WeekFacts) -> list[str]:
    others = sum(digest != facts.thresholds_sha256 for digest in facts.judged_by.values())
    said = f"Thresholds {facts.thresholds_sha256[:12]} (config/thresholds.yaml)."
    if others:
        said += (
            f" {others} of the quarter's sessions were judged by others: what was drawn is what they were judged by."
        )
    return [
        said,
        "Made from the artifacts of these sessions, as of the last of them. How long runs take, and how many fail, "
        "depends on when it is asked: see the checks of metrics in Dagster.",
    ]


def _more(count: int) -> list[Block]:
    return [Words([f"And {count - _ROWS} more."])] if count > _ROWS else []


def _spark(values: np.ndarray) -> str:
    """The course as up to ``_POINTS`` blocks, each a mean, from the least value to the largest; a dot for none."""
    known = values[~np.isnan(values)]
    low, span = (known.min(), np.ptp(known)) if len(known) else (0.0, 0.0)
    parts = [part[~np.isnan(part)] for part in np.array_split(values, min(_POINTS, len(values)))]
    return "".join("▁▂▃▄▅▆▇█"[round(7 * (p.mean() - low) / span) if span else 0] if len(p) else "·" for p in parts)
