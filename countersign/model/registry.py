"""Registry: which model is in service, and the only ways to change or use it.

Belongs here: the first deployment, and loading the champion by digest. Does not belong here: training, the journal's
form.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from countersign.errors import GateError, JournalError, ModelError
from countersign.gate.audit import verify_in_service
from countersign.gate.signers import list_signers
from countersign.gate.state import BOOTSTRAP, Deployment, Line, state_of
from countersign.model.scoring import FittedModel
from countersign.storage.artifacts import ArtifactStore, Stored
from countersign.storage.codec import Header, encode_document
from countersign.storage.files import reached
from countersign.storage.journal import Journal, head


@dataclass(frozen=True)
class Model:
    """A model of the store, verified: its numbers, its whole document, and where it lies."""

    fitted: FittedModel
    document: Mapping[str, Any]
    stored: Stored


@dataclass(frozen=True)
class InService:
    """The champion, verified: its numbers, its whole document, and what the journal says of it."""

    model: FittedModel
    document: Mapping[str, Any]
    champion: Deployment


def deploy_first(
    store: ArtifactStore, journal: Journal, body: Mapping[str, Any], inputs: Mapping[str, str], now: datetime
) -> tuple[Stored, bool]:
    """Put a model into service where there is none yet; returns it, and whether it is new.

    Safe to repeat at any point: the same bytes again are no new deployment. Raises ``ModelError`` where another
    model is in service: that one stays, and nothing is written. Raises ``JournalError`` where another process deploys
    at the same time, and where the journal of a published model is gone.
    """
    _, sha256 = encode_document(body, Header("model", None, inputs))
    lines = journal.read()
    current = state_of(lines).last_model
    if not lines and store.has("model", None, "json"):
        # Once a model was published the journal had a line.
        raise JournalError(
            f"expected the journal that put {store.location('model', None, 'json')} into service at {journal.path}, "
            "found none: restore it from a backup, or, to begin anew, move the artifacts folder away"
        )
    if current and current != sha256:
        raise ModelError(
            f"expected no model in service, or the same one; {current[:12]} is in service and stays. This "
            f"training made {sha256[:12]} (other data, settings or code). Replacing a model takes a person's "
            "decision; to begin anew instead, move the artifacts folder away"
        )
    store.write_addressed("models", "model", body, inputs)
    if not current:
        reached("model: before journal")
        # Without the nonce, two projects that begin alike in the same second would have the same name.
        nonce = secrets.token_hex(16)
        journal.append("deployed", now, head(lines), model=sha256, decision=BOOTSTRAP, inputs=dict(inputs), nonce=nonce)
    reached("model: before publishing")
    return store.copy_document(f"models/{sha256}/model", "model", sha256), current is None


def read_model(store: ArtifactStore, sha256: str) -> Model:
    """The model whose digest is ``sha256``, from bytes that are read once.

    Raises ``ModelError`` where they are missing or not its bytes, or a link stands in their place; ``ArtifactError``
    where they are damaged.
    """
    path = f"models/{sha256}/model"
    location = Path(store.location(path, None, "json"))
    # A link could lead to other bytes a moment later.
    if location.is_symlink() or location.parent.is_symlink():
        raise ModelError(f"expected the model {sha256[:12]} at {location}, found a link: put the file itself there")
    if not store.has(path, None, "json"):
        raise ModelError(
            f"expected the model {sha256[:12]} at {location}, found none. Restore it from a backup; of the model in "
            "service, model.json is a copy"
        )
    document, stored = store.read_document(path)
    if stored.sha256 != sha256:
        raise ModelError(
            f"expected the model {sha256[:12]} at {stored.location}, found {stored.sha256[:12]}: the file was "
            "replaced. It is not used; restore it from a backup"
        )
    return Model(FittedModel.from_dict(document["model"]), document, stored)


def load_champion(store: ArtifactStore, journal: Journal, signers: Path, *, allow_unsigned: bool) -> InService:
    """The model that the journal says is in service, read by its digest, on decisions signed by those in ``signers``.

    Raises ``ModelError`` where none is deployed, it was revoked, its bytes are not the deployed ones, no good signature
    put it there, or nobody signed for it and ``allow_unsigned`` is false; ``JournalError`` where the record itself is
    broken.
    """
    lines = journal.read()
    state = state_of(lines)
    current, last = state.champion, state.last_deployment
    if last and not current:
        order = state.revoked[last.model]
        raise ModelError(
            f"expected a model in service, found that {order.signer} revoked {last.model[:12]}: {order.reason}. "
            + (
                'Return to an earlier one with: countersign rollback --reason "…"'
                if state.earlier()
                else "No earlier one can come back; have a new one signed: countersign retrain --reason … --by NAME"
            )
        )
    if not current:
        waiting = state.open_request
        raise ModelError(
            f"expected a model in service, found none: {waiting.id} waits for a signature (countersign review)"
            if waiting
            else "expected a model in service, found none in the journal. Train the first one: countersign run, or "
            "bootstrap_job in Dagster's pages"
        )
    if current.unsigned and not allow_unsigned:
        raise ModelError(
            f"the model {current.model[:12]} is not used: nobody signed for it, and gate.bootstrap is manual in "
            "config/pipeline.yaml. Have a new one signed (countersign retrain), or set gate.bootstrap to auto"
        )
    return load_deployed(store, lines, current, signers)


def load_deployed(store: ArtifactStore, lines: Sequence[Line], deployment: Deployment, signers: Path) -> InService:
    """The model of one deployment of the journal ``lines``, verified as the champion is.

    Raises ``ModelError`` where no good signature put it there, or its bytes are not the deployed ones.
    """
    try:
        verify_in_service(lines, deployment, list_signers(signers))
    except GateError as error:
        raise ModelError(
            f"the model {deployment.model[:12]} is not used: its place in service rests on no good signature: {error}. "
            "See: countersign verify"
        ) from error
    found = read_model(store, deployment.model)
    return InService(found.fitted, found.document, deployment)
