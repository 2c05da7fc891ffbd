"""Steps on the data contract: bars read by it, and its differences from what arrives.

Belongs here: reading the source by the contract. Does not belong here: what differs (``prices.schema``), a new contract
(``steps.amendment``), the form of the file (``countersign.contract``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from countersign import checks
from countersign.contract import Contract, load_contract, schema_hash
from countersign.errors import SchemaError
from countersign.prices.schema import TEXT, Difference, acceptance, arrived_in, differences, mapped
from countersign.prices.sources import PriceSource
from countersign.prices.sources.shapes import Arrived, plain
from countersign.project import Project
from countersign.tables import SOURCE_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

_OURS = frozenset(column.name for column in SOURCE_COLUMNS)


@dataclass(frozen=True)
class Delivery:
    """What the source delivers now: ``bars`` in the contract's columns, None where its columns cannot be read.

    What arrived, and how it differs, is of the last day that was asked for.
    """

    contract: Contract
    bars: pd.DataFrame | None
    arrived: Arrived
    found: list[Difference]
    problem: str = ""

    def has(self, name: str) -> bool:
        """Whether anything arrived in the column ``name`` of the contract."""
        return name in self.arrived.columns and (self.bars is None or bool(self.bars[name].notna().any()))


def deliver(project: Project, first: str, last: str) -> Delivery:
    """Bars of ``first`` … ``last`` by the contract, and how they differ from it.

    Raises as ``PriceSource.read`` does, but for columns that do not fit, and ``ConfigError`` as ``load_contract``.
    """
    return delivered(project.source, load_contract(project.home), first, last)


def delivered(source: PriceSource, contract: Contract, first: str, last: str) -> Delivery:
    """The same of ``source``, which renames as ``contract`` says; that one need not be in force yet."""
    try:
        bars = source.read(first, last)
    except SchemaError as error:
        names = {plain(name) for name in error.header}
        arrived = Arrived(frozenset(names & set(contract.columns)), frozenset(names - _OURS - {""}))
        return Delivery(contract, None, arrived, differences(contract, arrived), str(error))
    arrived = arrived_in(bars).on(last)
    return Delivery(contract, mapped(bars, contract.mapping), arrived, differences(contract, arrived, bars))


def agreed(project: Project, what: str, first: str, last: str) -> tuple[pd.DataFrame, checks.CheckResult]:
    """The bars of ``what``, and the verdict on their columns. Raises ``RefusedError`` where they break the contract."""
    found = deliver(project, first, last)
    verdict, remedy = _verdict(found), _remedy(found)
    if found.bars is None:
        # Its header alone may look right: the bars could not be read all the same.
        problem = found.problem.removeprefix(f"{what}: ")
        raise checks.RefusedError(f"{what} is refused: {problem}. {remedy}", (checks.schema_unread(verdict),))
    checks.require(what, remedy, verdict)
    return found.bars, verdict


def agreed_on(project: Project, what: str, session: str, bars: pd.DataFrame) -> checks.CheckResult:
    """The same verdict on ``what``: the rows of ``session`` among ``bars``, whose last session was agreed on."""
    contract, arrived = load_contract(project.home), arrived_in(bars).on(session)
    found = Delivery(contract, bars, arrived, differences(contract, arrived, bars))
    return checks.require(what, _remedy(found), _verdict(found))[0]


def _verdict(found: Delivery) -> checks.CheckResult:
    verdict = checks.schema(found.found, schema_hash(found.contract.schema_columns))
    return replace(verdict, numbers={**verdict.numbers, "contract": found.contract.digest})


def _remedy(found: Delivery) -> str:
    as_text = any(one.arrived == TEXT for one in found.found)
    if as_text and found.bars is not None and found.bars["unreadable"].str.contains(r"\d,\d").any():
        return (
            "Numbers arrive with commas: say what these are in source.decimal (docs/sources.md), or correct the source"
        )
    command = acceptance(found.found)
    return "Correct the source, or look with countersign schema diff" + (f" and decide: {command}" if command else "")
