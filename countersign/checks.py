"""Checks: verdicts on data, scores and models, each a pure function with one sentence for a person.

Belongs here: evaluators (data and thresholds in, a frozen result out). Does not belong here: Dagster, whose mapper
lives in ``assets``; rules on single rows (``clean``). The asset that makes a table and the asset that reads it use
the same evaluator, since Dagster's blocking checks do not hold back a run of the downstream asset alone.

A check has three answers. ``insufficient`` means that there was too little to judge by: it is never a pass.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from countersign.errors import QualityError
from countersign.features import FEATURES, MIN_HISTORY
from countersign.prices.restatements import change_in_words, close_changes
from countersign.prices.rules import places
from countersign.prices.schema import Difference, breaks
from countersign.quality import RULES, Restated, Rule
from countersign.words import counted, listed

if TYPE_CHECKING:
    import pandas as pd

    from countersign.model.evaluation import Measure
    from countersign.prices.clean import Finding

Status = Literal["pass", "fail", "insufficient"]
Layer = Literal["data", "drift", "model", "system", "business"]
"""What a verdict is on; each layer has its own light in the report."""

EXAMPLES: Final = 10
"""Rows shown with a check, at the most."""


@dataclass(frozen=True)
class CheckResult:
    """One verdict. ``blocking`` says whether a failure must stop what comes after."""

    name: str
    status: Status
    sentence: str
    blocking: bool = False
    numbers: Mapping[str, float | int | str] = field(default_factory=dict)
    """``value`` is what was judged and ``threshold`` what it was judged by, where a verdict has these."""
    examples: tuple[Mapping[str, str], ...] = ()
    layer: Layer = "data"

    @property
    def refuses(self) -> bool:
        """Whether nothing may be built on the data."""
        return self.blocking and self.status == "fail"


class RefusedError(QualityError):
    """Raised instead of writing: ``results`` are the verdicts, at least one of them refusing."""

    def __init__(self, message: str, results: tuple[CheckResult, ...]) -> None:
        super().__init__(message)
        self.results = results


def require(what: str, remedy: str, *results: CheckResult) -> tuple[CheckResult, ...]:
    """Pass ``results`` on, or raise ``RefusedError`` with the sentences of those that refuse."""
    refusing = [r.sentence for r in results if r.refuses]
    if refusing:
        raise RefusedError(f"{what} is refused: {'; '.join(refusing)}. {remedy}", results)
    return results


def schema(found: Sequence[Difference], digest: str) -> CheckResult:
    """What arrives has the columns of the data contract. Blocking where one is missing or of another type."""
    broken = breaks(found)
    shown = [str(one) for one in found]
    sentence = f"what arrives has the columns of the contract (schema {digest[:12]})"
    if found:
        sentence = (
            f"{counted(len(found), 'difference')} from config/contracts/prices.yaml: {'; '.join(shown[:EXAMPLES])}"
        )
    return CheckResult(
        "schema",
        "fail" if found else "pass",
        sentence,
        blocking=bool(broken),
        numbers={"value": len(found), "threshold": 0, "breaking": len(broken)},
        examples=tuple(
            {"column": one.column, "contract": one.contract, "arrived": one.arrived} for one in found[:EXAMPLES]
        ),
    )


def schema_unread(verdict: CheckResult) -> CheckResult:
    """The same of columns that no bars could be read from."""
    return replace(verdict, status="fail", blocking=True)


def dates(reply: pd.DataFrame, newest: str, latest: str = "") -> CheckResult:
    """Every row of the reply is dated, and none after ``newest``, the newest session that has closed. Blocking.

    ``latest`` is the newest day of all that was delivered, where more was than was asked for.
    """
    import pandas as pd

    number, days = pd.factorize(reply["date"])
    # What is no day, or none at all, is NaT, which is equal to nothing.
    day = pd.to_datetime(pd.Series(days), errors="coerce", format="%Y-%m-%d").to_numpy().astype("datetime64[D]")
    day = np.append(day, np.datetime64("NaT"))[number]
    undated, future = np.isnat(day), day > np.datetime64(newest)
    sentence = f"all {len(reply)} rows are dated, none after {newest}"
    if latest > newest:
        sentence = (
            f"expected bars up to {newest}, the newest session that has closed; found some of {latest}: of a session "
            "that is not over, or dated by another time zone"
        )
    if undated.any() or future.any():
        row = reply.iloc[int(np.argmax(undated | future))]
        sentence = (
            f"expected rows dated up to {newest}, the newest session that has closed; found {int(undated.sum())} "
            f"without a date and {int(future.sum())} of later days (such as {row['symbol']}: {row['date']})"
        )
    return CheckResult(
        "dates",
        "fail" if undated.any() or future.any() or latest > newest else "pass",
        sentence,
        blocking=True,
        numbers={"rows": len(reply), "undated": int(undated.sum()), "future": int(future.sum())},
    )


def off_calendar(raw: pd.DataFrame, sessions: np.ndarray, limit: float, least: int) -> CheckResult:
    """Not more than ``limit`` of the rows, or fewer than ``least``, are on no session of ``sessions``. Blocking."""
    off = places(raw["date"], sessions) < 0
    count, share = int(off.sum()), float(off.mean()) if len(off) else 0.0
    sentence = f"{count} of {len(raw)} rows are dated on days that are no session ({share:.1%}; limit {limit:.1%})"
    if count:
        sentence += f", such as {raw['date'].iloc[int(np.argmax(off))]}"
    return CheckResult(
        "off_calendar",
        "fail" if share > limit and count >= least else "pass",
        sentence,
        blocking=True,
        numbers={"rows": len(raw), "off_calendar": count, "value": share, "threshold": limit},
    )


def rule_kept(name: str, rule: Rule, found: Finding, rows: int, what: str = "rows") -> CheckResult:
    """What the rule ``name`` found among ``rows``, with examples and the rule's reason. Blocking where it refuses."""
    sentence = f"{RULES[name]}: true of all {rows} {what}"
    if found.count:
        first = found.examples[0]
        sentence = (
            f"{found.count} of {rows} {what} broke the rule '{name}' (such as {first['symbol']}: {first['reason']})"
        )
    elif found.unknown:
        sentence = f"not judged: {found.unknown}"
    return CheckResult(
        name,
        "fail" if found.count else "insufficient" if found.unknown else "pass",
        sentence,
        blocking=rule.severity == "refuse",
        numbers={"rows": rows, "value": found.count, "severity": rule.severity, "reason": rule.reason},
        examples=found.examples,
    )


def closes_agreed(verdict: CheckResult) -> CheckResult:
    """``ranges_known`` where the contract has no open, high and low: nothing is missing of what was agreed on."""
    if verdict.status != "fail":
        return verdict
    sentence = "the contract has closes alone: the day's variance is the squared return, which is far noisier"
    return replace(verdict, status="pass", sentence=sentence, examples=())


def restated(found: pd.DataFrame, rule: Restated, users: list[str], unknown: str = "") -> CheckResult:
    """What the source said before it says again; no close differs by more than ``rule.max_change``.

    ``found`` are the differences (table ``RESTATEMENTS``), ``users`` the later stored sessions that were made from the
    old version, ``unknown`` why there is nothing to compare with.
    """
    limit, changes = rule.max_change, close_changes(found)
    unknown = unknown or ("switched off in config/quality.yaml" if rule.severity == "off" else "")
    large = np.flatnonzero(changes > limit)
    sentence = unknown or "the source says what it said before"
    if len(found):
        sentence = (
            f"the source has restated {counted(len(found), 'value')} of "
            f"{counted(found['symbol'].nunique(), 'symbol')}, {change_in_words(changes)} (limit {limit:.1%}); the old "
            "version is kept. "
            + (
                f"Made from it: {listed(users)}. countersign status names those that are to be run again"
                if users
                else "No later session in the store was made from it"
            )
        )
    return CheckResult(
        "restated",
        "insufficient" if unknown else "fail" if len(large) else "pass",
        sentence,
        numbers={
            "restated": len(found),
            "value": len(large),
            "threshold": limit,
            "sessions": len(users),
            "reason": rule.reason,
        },
        examples=tuple(
            {k: str(row[k])[:10] if k == "date" else str(row[k]) for k in ("date", "symbol", "field", "old", "new")}
            for row in found.assign(change=changes)
            .sort_values("change", ascending=False, kind="stable")
            .head(EXAMPLES)
            .to_dict(orient="records")
        ),
    )


def bars_arrived(raw: pd.DataFrame, session: str, previous: str, silent: Sequence[str] = ()) -> CheckResult:
    """``prices_raw`` holds bars of its own session, and none of another: of ``previous``, say. Blocking.

    ``silent`` are symbols that were asked for and brought nothing; that alone does not block.
    """
    date = raw["date"].astype(str)
    own, between = int((date == session).sum()), int(((date > previous) & (date < session)).sum())
    strays = date[(date <= previous) | (date > session)]
    sentence = f"{counted(own, 'bar')} of {counted(raw['symbol'].nunique(), 'symbol')} arrived for {session}"
    if len(strays):
        sentence = f"expected bars of {session} only, found {len(strays)} dated {strays.iloc[0]}"
    elif not own:
        sentence = f"no bar arrived for {session}"
    elif between:
        sentence += f", and {between} dated on days that are no session"
    is_broken = not own or len(strays) > 0
    if silent and not is_broken:
        sentence += f"; nothing came of {listed(list(silent))}, which does not say that these were delisted"
    return CheckResult(
        "bars_arrived",
        "fail" if is_broken or silent else "pass",
        sentence,
        blocking=is_broken or not silent,
        numbers={
            "rows": len(raw),
            "symbols": int(raw["symbol"].nunique()),
            "unreadable_rows": int(raw["unreadable"].notna().sum()),
            "rows_between_sessions": between,
        },
    )


def previous_close_known(raw: pd.DataFrame) -> CheckResult:
    """Each bar's session before is in the same reply, so that it has a return."""
    half = raw["adj_close"].notna() != raw["prev_adj_close"].notna()
    missing = raw[raw["prev_close"].isna() | half]
    known = len(raw) - len(missing)
    names = ", ".join(missing["symbol"].astype(str).head(EXAMPLES))
    return CheckResult(
        "previous_close_known",
        "pass" if missing.empty else "fail",
        f"{known} of {len(raw)} bars have the session before in the same reply" + (f"; not {names}" if names else ""),
        numbers={"rows": len(raw), "without_previous": len(missing)},
    )


def rejected_share(kept: int, rejected: pd.DataFrame, limit: float, least: int) -> CheckResult:
    """Not more than ``limit`` of a table's rows, or fewer than ``least``, were rejected, and some were kept. Blocking.

    A row that came twice does not count: nothing of it is lost.
    """
    rejected = rejected[rejected["rule"] != "duplicate"]
    rows = kept + len(rejected)
    share = len(rejected) / rows if rows else 1.0
    counts = rejected["rule"].value_counts()
    broken = ", ".join(f"{count} broke the rule '{rule}'" for rule, count in zip(counts.index, counts, strict=True))
    first = "" if rejected.empty else f" (such as {rejected['symbol'].iloc[0]}: {rejected['reason'].iloc[0]})"
    return CheckResult(
        "rejected_share",
        "fail" if (share > limit and len(rejected) >= least) or not kept else "pass",
        f"{len(rejected)} of {rows} rows rejected ({share:.1%}; limit {limit:.1%})"
        + (f": {broken}{first}" if broken else ""),
        blocking=True,
        numbers={"rejected": len(rejected), "rows": rows, "value": share, "threshold": limit},
        examples=tuple(
            {str(k): str(v) for k, v in row.items()} for row in rejected.head(EXAMPLES).to_dict(orient="records")
        ),
    )


def symbols_complete(today: Collection[str], before: Collection[str] | None, limit: float) -> CheckResult:
    """Every symbol of the session before is here. Blocking where more than ``limit`` of them are missing."""
    if not before:
        return CheckResult(
            "symbols_complete", "insufficient", "the session before is not in the store: nothing to compare with"
        )
    gone, new = sorted(set(before) - set(today)), sorted(set(today) - set(before))
    share = len(gone) / len(before)
    sentence = f"{len(today)} symbols, {len(gone)} fewer and {len(new)} more than the session before"
    if gone:
        sentence = f"missing since the session before: {listed(gone)} ({share:.0%}; limit {limit:.0%})"
    return CheckResult(
        "symbols_complete",
        "fail" if gone else "pass",
        sentence + (f"; new: {listed(new)}" if new else ""),
        blocking=share > limit,
        numbers={"symbols": len(today), "missing": len(gone), "value": share, "threshold": limit, "new": len(new)},
    )


def bars_moved(bars: pd.DataFrame, before: pd.DataFrame | None, limit: float) -> CheckResult:
    """Not more than ``limit`` of the bars, and two at least, repeat those of the session before. Blocking.

    Both are tables with symbol, open, high, low and close; all four must be the same.
    """
    prices = ["symbol", "open", "high", "low", "close"]
    both = None if before is None else bars[prices].merge(before[prices], on="symbol", suffixes=("", "_before"))
    if both is None or both.empty:
        return CheckResult("bars_moved", "insufficient", "no bar of the session before is in the store to compare with")
    now, then = both[prices[1:]].to_numpy(float), both[[f"{name}_before" for name in prices[1:]]].to_numpy(float)
    same = ((now == then) | (np.isnan(now) & np.isnan(then))).all(axis=1)
    count, share = int(same.sum()), float(same.mean())
    names = both["symbol"].to_numpy()[same].tolist()
    alone = len(both) == count == 1
    return CheckResult(
        "bars_moved",
        "insufficient" if alone else "fail" if share > limit else "pass",
        f"{count} of {len(both)} bars are those of the session before ({share:.0%}; limit {limit:.0%})"
        + (f": {listed(names)}" if names else "")
        + (": too few to tell a feed that hangs from a quiet day" if alone else ""),
        blocking=True,
        numbers={"bars": len(both), "repeated": count, "value": share, "threshold": limit},
    )


def features_computed(features: pd.DataFrame) -> CheckResult:
    """No feature is infinite, and every symbol with enough history has all of them. Infinity blocks."""
    values = features[list(FEATURES)].to_numpy(dtype=float)
    infinite = int(np.isinf(values).sum())
    enough = features["history_sessions"].to_numpy() >= MIN_HISTORY
    gaps = np.isnan(values) & enough[:, None]
    incomplete = features["symbol"].to_numpy()[gaps.any(axis=1)]
    sentence = f"all {len(FEATURES)} features computed for the {int(enough.sum())} symbols with enough history"
    if infinite or features.empty:
        sentence = f"expected finite features, found {infinite} infinite numbers in {len(features)} rows"
    elif len(incomplete):
        names = [n for n, gap in zip(FEATURES, gaps.any(axis=0), strict=True) if gap]
        sentence = f"{len(incomplete)} symbols lack features ({', '.join(names)}): {listed(incomplete.tolist())}"
    elif not enough.any():
        sentence = f"no symbol has the {MIN_HISTORY} sessions of history that features need"
    failed = bool(infinite) or features.empty or len(incomplete) > 0
    return CheckResult(
        "features_computed",
        "fail" if failed else "pass" if enough.any() else "insufficient",
        sentence,
        blocking=bool(infinite) or features.empty,
        numbers={"rows": len(features), "infinite": infinite, "incomplete_symbols": len(incomplete)},
    )


def history_sufficient(features: pd.DataFrame) -> CheckResult:
    """Every symbol has the history that the model needs; those that have not are scored by the baseline."""
    short = features[features["history_sessions"] < MIN_HISTORY]
    found = [f"{s} ({n})" for s, n in zip(short["symbol"], short["history_sessions"], strict=True)]
    return CheckResult(
        "history_sufficient",
        "fail" if found else "pass",
        f"short history, scored by the baseline ({MIN_HISTORY} sessions needed): {listed(found)}"
        if found
        else f"all {len(features)} symbols have at least {MIN_HISTORY} sessions of history",
        numbers={"short": len(found), "needed_sessions": MIN_HISTORY},
    )


def scores_in_range(scores: pd.DataFrame, symbols: int) -> CheckResult:
    """Every symbol has one score; volatilities are positive and finite, probabilities within [0, 1]. Blocking."""
    volatility = scores[["volatility_forecast", "baseline_volatility"]].to_numpy(dtype=float)
    probability = scores[["bad_week_probability", "baseline_probability"]].to_numpy(dtype=float)
    bad = ~(np.isfinite(volatility) & (volatility > 0)).all(axis=1)
    bad |= ~(np.isfinite(probability) & (probability >= 0) & (probability <= 1)).all(axis=1)
    complete = len(scores) == symbols == scores["symbol"].nunique()
    sentence = f"all {len(scores)} scores are finite and in range"
    if bad.any():
        sentence = f"{int(bad.sum())} scores are not finite or out of range: {listed(scores['symbol'][bad].tolist())}"
    elif not complete:
        sentence = f"expected one score for each of {symbols} symbols, found {len(scores)}"
    return CheckResult(
        "scores_in_range",
        "fail" if bad.any() or not complete or scores.empty else "pass",
        sentence,
        blocking=True,
        numbers={"rows": len(scores), "out_of_range": int(bad.sum())},
        layer="model",
    )


def model_used(scores: pd.DataFrame) -> CheckResult:
    """Every symbol was scored by the model rather than by the baseline."""
    fallen = scores[scores["fallback_reason"].notna()]
    found = [f"{s} ({r})" for s, r in zip(fallen["symbol"], fallen["fallback_reason"], strict=True)]
    return CheckResult(
        "model_used",
        "fail" if found else "pass",
        f"scored by the baseline: {listed(found)}" if found else f"all {len(scores)} symbols were scored by the model",
        numbers={"baseline_rows": len(found), "rows": len(scores)},
        layer="model",
    )


def report_complete(text: str, symbols: Iterable[str]) -> CheckResult:
    """The report names every symbol that was scored, within 80 columns (a person's commentary aside)."""
    own = text.split("\nCOMMENTARY\n")[0]
    words = own.replace(",", " ").split()
    known, flat = set(words), f" {' '.join(words)} "
    missing = [s for s in symbols if s not in known and f" {s} " not in flat]
    wide = sum(len(line) > 80 for line in own.splitlines())
    return CheckResult(
        "report_complete",
        "fail" if missing or wide else "pass",
        f"the report lacks {listed(missing)} or has {wide} lines over 80 columns"
        if missing or wide
        else f"the report names every symbol, in {own.count(chr(10))} lines of at most 80 columns",
        numbers={"missing_symbols": len(missing), "wide_lines": wide},
        layer="system",
    )


def outcomes_known(known: int, rows: int, scored: str) -> CheckResult:
    """What came of the scores of the session ``scored`` is known, symbol by symbol: the labels' coverage."""
    if not rows:
        sentence = f"{scored} was not scored, so nothing came of it"
        return CheckResult("outcomes_known", "insufficient", sentence, numbers={"known": 0, "rows": 0}, layer="model")
    return CheckResult(
        "outcomes_known",
        "pass" if known == rows else "fail",
        f"{known} of {rows} outcomes of the scores of {scored} are known ({known / rows:.0%})",
        numbers={"known": known, "rows": rows, "coverage": known / rows},
        layer="model",
    )


def history_complete(missing: list[str], sessions: int, limit: float) -> CheckResult:
    """The bulk history has bars on every session. Blocking where more than ``limit`` of them are missing."""
    share = len(missing) / sessions if sessions else 1.0
    if not missing and 0 < sessions < MIN_HISTORY:
        return CheckResult("history_complete", "insufficient", f"only {sessions} sessions, {MIN_HISTORY} needed")
    return CheckResult(
        "history_complete",
        "fail" if missing or not sessions else "pass",
        f"{len(missing)} of {sessions} sessions have no bar ({share:.1%}; limit {limit:.1%}): {listed(missing)}"
        if missing
        else f"all {sessions} sessions have bars",
        blocking=share > limit,
        numbers={"sessions": sessions, "missing_sessions": len(missing), "value": share, "threshold": limit},
    )


def beats_baseline(name: str, measure: Measure) -> CheckResult:
    """The walk-forward lead over the baseline is above zero with its whole 95 % interval."""
    lead, low, high = measure.lead, measure.lead_low, measure.lead_high
    status: Status = "insufficient"
    verdict = "not distinguishable from the baseline"
    if low > 0:
        status, verdict = "pass", "better than the baseline"
    elif high < 0:
        status, verdict = "fail", "worse than the baseline"
    return CheckResult(
        name,
        status,
        f"{measure.name} {measure.model:.4f} against {measure.baseline:.4f}: {verdict} "
        f"(lead {lead:+.4f}, 95 % interval {low:+.4f} … {high:+.4f})",
        numbers={"model": measure.model, "baseline": measure.baseline, "lead": lead, "low": low, "high": high},
        layer="model",
    )
