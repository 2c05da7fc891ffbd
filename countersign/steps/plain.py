"""The seed's tasks from a file to a file: ingest, clean, train, score, report, by the project's settings.

Belongs here: reading a file and verifying it, calling what the other steps call, writing. Does not belong here: the
project's store and journal, of which nothing is changed. No session stands in the headers of these files, and the
journal knows none of them: they cannot be taken for the artifacts of a session, nor the model for one in service.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from countersign.checks import CheckResult
from countersign.config import FileSourceConfig
from countersign.contract import renamed
from countersign.errors import ArtifactError, ConfigError, ModelError, SourceError
from countersign.features import LOOKBACK
from countersign.model.document import train_model
from countersign.model.scoring import FittedModel
from countersign.model.targets import HORIZON
from countersign.prices.ingest import in_order
from countersign.prices.panel import PANEL_COLUMNS, Panel
from countersign.prices.sources import open_source
from countersign.project import Project
from countersign.quality import load_quality
from countersign.report import plain_report_text
from countersign.steps.gate import gate_state, standing
from countersign.steps.made import Numbers
from countersign.steps.prices import clean_history, newest_session, read_bars
from countersign.steps.scoring import score_bars
from countersign.steps.service import in_service, without_looking_ahead
from countersign.storage import codec
from countersign.storage.artifacts import require_no_infinity
from countersign.storage.codec import Header
from countersign.storage.files import write_atomically
from countersign.tables import PRICES_CLEAN, PRICES_RAW, PRICES_REJECTED, SCORES, Column, conform
from countersign.version import code_version

if TYPE_CHECKING:
    import pandas as pd

FROM_FILE: Final = "taken from a file: no signature and no journal puts it into service"
"""The standing of a model that is not the one in service."""


@dataclass(frozen=True)
class Written:
    """A file that a task wrote, numbers that describe it, and the verdicts on what is in it."""

    path: Path
    sha256: str
    numbers: Numbers
    checks: tuple[CheckResult, ...] = field(default=())


def ingest_file(project: Project, prices: Path, output: Path, now: datetime) -> Written:
    """``prices_raw``: the bars of the file ``prices``, from ``history.start`` on, as its supplier says them."""
    _require_place(project, output, prices)
    config = project.config
    source = FileSourceConfig(kind="files", path=str(prices), adjustment=config.source.adjustment)
    if isinstance(config.source, FileSourceConfig):
        source = config.source.model_copy(update={"path": str(prices)})
    opened = open_source(source, Path(), project.calendar, config.symbols or (), {}, renamed(project.home))
    first, last = config.history.start.isoformat(), newest_session(project, now)
    raw, contract, _ = read_bars(replace(project, source=opened), str(prices), first, last, now)
    with prices.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    raw = conform(in_order(raw), PRICES_RAW)
    inputs = {"source": digest, "adjustment": source.adjustment, "contract": contract}
    sha256 = _write_table(output, "prices_raw", raw, PRICES_RAW, inputs)
    return Written(output, sha256, {"source": str(prices), **_panel_numbers(raw)})


def clean_file(project: Project, raw: Path, output: Path, rejected: Path) -> Written:
    """``prices_clean`` and ``prices_rejected``: bars with one return each; other rows, each with its reason."""
    for place, others in ((output, (raw, rejected)), (rejected, (raw, output))):
        _require_place(project, place, *others)
    frame, digest, _ = _read(raw, "prices_raw", PRICES_RAW, "ingest")
    quality = load_quality(project.home)
    days = frame["date"].astype(str)
    cleaned, verdicts = clean_history(
        project, str(raw), frame, quality, days.min(), days.max(), "Correct what it was made from, then ingest it again"
    )
    inputs = {"prices_raw": digest, "quality": quality.sha256}
    aside = _write_table(rejected, "prices_rejected", cleaned.rejected, PRICES_REJECTED, inputs)
    inputs |= {"prices_rejected": aside}
    sha256 = _write_table(output, "prices_clean", cleaned.bars, PRICES_CLEAN, inputs)
    numbers: Numbers = {
        "rows_in": len(frame),
        **_panel_numbers(cleaned.bars),
        "rejected_rows": len(cleaned.rejected),
        "rejected": str(rejected),
    }
    return Written(output, sha256, numbers, verdicts)


def train_file(
    project: Project, prices: Path, output: Path, progress: Callable[[int, int], None] | None = None
) -> Written:
    """``model``: trained on all bars of the file ``prices`` and evaluated walk-forward on them. Not in service."""
    _require_place(project, output, prices)
    bars, digest, _ = _read(prices, "prices_clean", PRICES_CLEAN, "clean", PANEL_COLUMNS)
    panel = Panel.from_bars(bars, np.unique(bars["date"].to_numpy().astype("datetime64[D]")))
    body, evaluation = train_model(panel, project.config.model, code_version(), progress)
    inputs = {"prices_clean": digest}
    data, sha256 = codec.encode_document(body | {"standing": FROM_FILE}, Header("model", None, inputs))
    _write(output, data)
    auc, qlike = evaluation.measure("auc"), evaluation.measure("qlike")
    numbers: Numbers = {
        "rows": body["training"]["rows"],
        "first": body["training"]["first_session"],
        "last": body["training"]["last_session"],
        "parameters": project.config.model.model_dump(),
        "auc": auc.model,
        "auc_baseline": auc.baseline,
        "qlike": qlike.model,
        "qlike_baseline": qlike.baseline,
        "bad_rate_approved": evaluation.bad_rate_approved,
        "bad_rate_held": evaluation.bad_rate_held,
    }
    return Written(output, sha256, numbers)


def score_file(project: Project, prices: Path, output: Path, model: Path | None, session: str | None) -> Written:
    """``scores`` of ``session``, or of the newest in the file ``prices``, by ``model``, or by the one in service."""
    _require_place(project, output, prices, *([model] if model else []))
    bars, digest, _ = _read(prices, "prices_clean", PRICES_CLEAN, "clean", PANEL_COLUMNS)
    session = session or str(bars["date"].max())[:10]
    chosen = _chosen(project, model, session)
    remedy = f"Give it the bars of that session and of the {LOOKBACK - 1} before it"
    table, verdicts = score_bars(project, bars, session, chosen.fitted, str(prices), remedy)
    sha256 = _write_table(output, "scores", table, SCORES, {"prices_clean": digest, "model": chosen.sha256})
    approved = int((table["decision"] == "approve").sum())
    numbers: Numbers = {
        "session": session,
        "rows": len(table),
        "approved": approved,
        "held": len(table) - approved,
        "model": chosen.sha256[:12],
    }
    return Written(output, sha256, numbers, verdicts)


def report_file(project: Project, scores: Path, output: Path, model: Path | None) -> Written:
    """``report``: the scores of a file in words, and the model that made them: ``model``, or the one in service."""
    _require_place(project, output, scores, *([model] if model else []))
    table, digest, made_from = _read(scores, "scores", SCORES, "score")
    session = str(table["date"].max())[:10]
    chosen = _chosen(project, model, session)
    if made_from["model"] != chosen.sha256:
        raise ModelError(
            f"{scores}: expected scores made by the model {chosen.sha256[:12]} ({model or 'in service'}), found "
            f"those of {made_from['model'][:12]}. Name the file of that one with --model"
        )
    text = plain_report_text(
        session,
        project.calendar.code,
        project.calendar.after(session, HORIZON),
        table,
        cutoff=chosen.fitted.cutoff,
        sha256=chosen.sha256,
        standing=chosen.standing,
        training=chosen.document["training"],
        evaluation=chosen.document["evaluation"],
    )
    inputs = {"scores": digest, "model": chosen.sha256}
    data, sha256 = codec.encode_text(text, Header("report", None, inputs))
    _write(output, data)
    return Written(output, sha256, {"session": session, "lines": text.count("\n"), "model": chosen.sha256[:12]})


@dataclass(frozen=True)
class _Chosen:
    fitted: FittedModel
    document: Mapping[str, Any]
    sha256: str
    standing: str


def _chosen(project: Project, path: Path | None, session: str) -> _Chosen:
    """The model of the file ``path``, or the one in service, which may score ``session``.

    One in service has never seen a session that it scores. A file's may have been trained up to it: it learned from
    outcomes that were known at that session's close.
    """
    if path is None:
        try:
            found = without_looking_ahead(project, in_service(project), session)
        except ModelError as error:
            raise ModelError(f"{error}. Or name the file of a model with --model") from error
        stands = standing(gate_state(project)).sentence
        return _Chosen(found.model, found.document, found.champion.model, stands)
    data = _bytes(path)
    try:
        sha256 = codec.verify(data)
        _, document = codec.decode_json(data, "model", None)
        fitted, learned_to = FittedModel.from_dict(document["model"]), document["training"]["last_session"]
    except (ArtifactError, KeyError, TypeError) as error:
        raise _unlike(path, "model", "train", error) from error
    if session < learned_to:
        raise ModelError(
            f"{path}: expected a model that was trained up to {session} or less, found one trained up to {learned_to}: "
            "it would look ahead. Score a later session, or train on fewer"
        )
    return _Chosen(fitted, document, sha256, FROM_FILE)


def _panel_numbers(bars: pd.DataFrame) -> dict[str, int | str]:
    days = bars["date"].astype(str)
    return {
        "rows": len(bars),
        "symbols": int(bars["symbol"].nunique()),
        "sessions": int(days.nunique()),
        "first": days.min(),
        "last": days.max(),
    }


def _require_place(project: Project, output: Path, *others: Path) -> None:
    """Raise ``ConfigError`` where ``output`` lies among the artifacts of runs, or is one of the ``others``."""
    place, root = output.resolve(), project.store.root
    if "://" not in root and place.is_relative_to(Path(root).resolve()):
        raise ConfigError(
            f"expected to write outside {root}, found {output}: what lies there is written by runs alone. Name another "
            "file. Nothing was written"
        )
    if any(place == other.resolve() for other in others):
        raise ConfigError(f"expected files of their own to read and to write, found {output} twice. Name another")


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path}: expected a file that can be read: {error.strerror or error}") from error


def _read(
    path: Path, name: str, columns: tuple[Column, ...], task: str, names: Sequence[str] | None = None
) -> tuple[pd.DataFrame, str, Mapping[str, str]]:
    """The table ``name`` that the task ``task`` wrote, its digest and those of its inputs. Raises ``ArtifactError``."""
    wanted = tuple(c for c in columns if names is None or c.name in names)
    data = _bytes(path)
    try:
        digest = codec.verify(data)
        header, found = codec.decode_json_table(data, name, None, [c.name for c in wanted])
    except ArtifactError as error:
        raise _unlike(path, name, task, error) from error
    if not header.rows:
        raise ArtifactError(f"{path}: expected rows of {name}, found none")
    return conform(found, wanted), digest, header.inputs


def _unlike(path: Path, name: str, task: str, error: Exception) -> ArtifactError:
    said = str(error) if isinstance(error, ArtifactError) else "it says less than a model does"
    return ArtifactError(
        f"{path}: expected {name} as countersign {task} writes it, found that {said}. "
        f"Make it with: countersign {task} --input FILE --output {name}.json"
    )


def _write_table(
    path: Path, name: str, frame: pd.DataFrame, columns: Sequence[Column], inputs: Mapping[str, str]
) -> str:
    require_no_infinity(name, frame, columns)
    data, sha256 = codec.encode_json_table(frame, columns, Header(name, None, inputs, len(frame)))
    _write(path, data)
    return sha256


def _write(path: Path, data: bytes) -> None:
    try:
        write_atomically(path, data)
    except OSError as error:
        raise ArtifactError(
            f"{path}: expected a place to write to: {error.strerror or error}. It was left as it was"
        ) from error
