"""Steps on the data contract: bars read by it, its differences from what arrives, a new one accepted by a person.

Belongs here: reading the source and the contract's file, writing that file. Does not belong here: what differs
(``prices.schema``), the form of the file (``countersign.contract``).
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

from pydantic import ValidationError

from countersign import checks
from countersign.contract import (
    Contract,
    SchemaMapping,
    Terms,
    UnitFactor,
    contract_path,
    contract_text,
    load_contract,
    schema_hash,
)
from countersign.errors import ConfigError, SchemaError
from countersign.gate.signers import PRINCIPAL
from countersign.gate.statement import is_text
from countersign.prices.schema import MISSING, Difference, arrived_in, breaks, differences, mapped
from countersign.prices.sources import PriceSource, open_source
from countersign.prices.sources.shapes import Arrived, plain
from countersign.project import Project
from countersign.settings import parse_settings
from countersign.storage.files import reached, write_atomically
from countersign.tables import SOURCE_COLUMNS, Column

if TYPE_CHECKING:
    import pandas as pd

_OURS = {column.name: column for column in SOURCE_COLUMNS}


@dataclass(frozen=True)
class Delivery:
    """What the source delivers now: ``bars`` in the contract's columns, None where its columns cannot be read."""

    contract: Contract
    bars: pd.DataFrame | None
    found: list[Difference]
    problem: str = ""


def deliver(project: Project, first: str, last: str) -> Delivery:
    """Bars of ``first`` … ``last`` by the contract, and how they differ from it.

    Raises as ``PriceSource.read`` does, but for columns that do not fit, and ``ConfigError`` as ``load_contract``.
    """
    return _delivered(project.source, load_contract(project.home), first, last)


def _delivered(source: PriceSource, contract: Contract, first: str, last: str) -> Delivery:
    try:
        bars = source.read(first, last)
    except SchemaError as error:
        names = {plain(name) for name in error.header}
        ours = {name for name in contract.columns if name in names}
        found = differences(contract, Arrived(frozenset(ours), frozenset(names - set(_OURS) - {""})))
        return Delivery(contract, None, found, str(error))
    found = differences(contract, arrived_in(bars), bars)
    return Delivery(contract, mapped(bars, contract.mapping), found)


def agreed(project: Project, what: str, first: str, last: str) -> tuple[pd.DataFrame, checks.CheckResult]:
    """The bars of ``what``, and the verdict on their columns. Raises ``RefusedError`` where they break the contract."""
    found = deliver(project, first, last)
    verdict = checks.schema(found.found, schema_hash(found.contract.schema_columns))
    remedy = "Correct the source, or look with countersign schema diff and decide with countersign schema accept"
    if found.bars is None:
        # Its header alone may look right: the bars could not be read all the same.
        raise checks.RefusedError(f"{what} is refused: {found.problem}. {remedy}", (checks.schema_unread(verdict),))
    checks.require(what, remedy, verdict)
    return found.bars, verdict


def accept(
    project: Project,
    session: str,
    by: str,
    reason: str,
    now: datetime,
    *,
    rename: Mapping[str, str],
    drop: Sequence[str],
    default: Mapping[str, float | None],
    factor: Mapping[str, tuple[float, date | None]],
) -> Contract:
    """Write the contract with these additions to its mapping, and that ``by`` accepted it to the journal.

    ``drop`` takes a column out of the contract, or makes a further one known; a ``default`` for one that the contract
    does not have takes it in. Nothing is written unless what the source delivers of ``session`` then fits. Raises
    ``ConfigError`` where it does not, and where nobody says why.
    """
    if not is_text(reason.strip()) or not reason.strip() or not PRINCIPAL.fullmatch(by.strip()):
        raise ConfigError(
            f"expected a reason in printable characters and a name, found {reason[:80]!r} by {by[:80]!r}. Nothing was "
            "accepted"
        )
    path = contract_path(project.home)
    before, text = load_contract(project.home), path.read_text(encoding="utf-8")
    missing = {one.column for one in deliver(project, session, session).found if one.arrived == MISSING}
    if needed := sorted({"date", "symbol", "close"} & set(drop)):
        raise ConfigError(f"expected columns that bars can do without, found {', '.join(needed)}. Nothing was accepted")
    try:
        contract = _changed(before, rename, drop, missing, default, factor)
    except ValidationError as error:
        said = "; ".join(f"{e['loc'][0] if e['loc'] else 'mapping'}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"expected factors and defaults as finite numbers of number columns, found {said}") from None
    if contract == before:
        raise ConfigError("expected a change of the contract (--rename, --drop, --default, --factor), found none")
    written = contract_text(contract, text)
    # As it will be read: what is refused is never written.
    contract = parse_settings(written.encode(), path, Contract)
    config = project.config
    source = open_source(
        config.source,
        project.home,
        project.calendar,
        config.symbols or (),
        project.environment,
        contract.mapping.rename,
    )
    found = _delivered(source, contract, session, session)
    if found.bars is None or breaks(found.found):
        said = found.problem or "; ".join(map(str, breaks(found.found)))
        raise ConfigError(f"expected that what arrives of {session} then fits, found {said}. Nothing was accepted")
    project.journal.append(
        "schema_accepted",
        now,
        by=by.strip(),
        reason=reason.strip(),
        session=session,
        contract_before=hashlib.sha256(text.encode()).hexdigest(),
        contract_after=hashlib.sha256(written.encode()).hexdigest(),
        mapping=contract.mapping.model_dump(mode="json"),
        columns=list(contract.columns),
        # As the first line it names the project, as no other's may.
        nonce=secrets.token_hex(16),
    )
    reached("schema: journaled")
    write_atomically(path, written.encode())
    return contract


def _changed(
    before: Contract,
    rename: Mapping[str, str],
    drop: Sequence[str],
    missing: Collection[str],
    default: Mapping[str, float | None],
    factor: Mapping[str, tuple[float, date | None]],
) -> Contract:
    """``before`` with these changes; a dropped column that is ``missing`` is no part of it any more, nor known."""
    columns = {name: terms for name, terms in before.columns.items() if name not in drop}
    for name in default:
        if name not in columns:
            ours = _known(name)
            columns[name] = Terms(type=ours.kind, nullable=True, unit=ours.unit)
    for name in (*rename.values(), *factor):
        _known(name)
    kept = before.mapping
    mapping = SchemaMapping(
        rename={**kept.rename, **{plain(theirs): ours for theirs, ours in rename.items()}},
        drop=tuple(sorted({*kept.drop, *(plain(name) for name in drop if name not in missing)})),
        default={n: v for n, v in {**kept.default, **default}.items() if n not in drop},
        factor={
            **{name: one for name, one in kept.factor.items() if name not in drop},
            **{name: UnitFactor(by=by, since=since) for name, (by, since) in factor.items()},
        },
    )
    digest = schema_hash(Column(name, t.type, t.unit, "", t.nullable) for name, t in columns.items())
    return Contract(sha256=digest, columns=columns, mapping=mapping)


def _known(name: str) -> Column:
    if name not in _OURS:
        raise ConfigError(f"expected one of the columns {', '.join(_OURS)}, found {name!r}. Nothing was accepted")
    return _OURS[name]
