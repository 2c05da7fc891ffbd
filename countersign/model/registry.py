"""Registry: which model is in service, and the only ways to change or use it.

Belongs here: the first deployment, and loading the champion by digest. Does not belong here: training, the journal's
form.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from countersign.errors import JournalError, ModelError
from countersign.model.scoring import FittedModel
from countersign.storage.artifacts import ArtifactStore, Stored
from countersign.storage.codec import Header, encode_document
from countersign.storage.files import reached
from countersign.storage.journal import Champion, Journal, champion, head

BOOTSTRAP: Final = "bootstrap"
"""The decision on record for the first model, which nobody signed."""


@dataclass(frozen=True)
class InService:
    """The champion, verified: its numbers, its whole document, and what the journal says of it."""

    model: FittedModel
    document: Mapping[str, Any]
    champion: Champion


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
    current = champion(lines)
    if not lines and store.has("model", None, "json"):
        # Once a model was published the journal had a line.
        raise JournalError(
            f"expected the journal that put {store.location('model', None, 'json')} into service at {journal.path}, "
            "found none: restore it from a backup, or, to begin anew, move the artifacts folder away"
        )
    if current and current.sha256 != sha256:
        raise ModelError(
            f"expected no model in service, or the same one; {current.sha256[:12]} is in service and stays. This "
            f"training made {sha256[:12]} (other data, settings or code). Replacing a model takes a person's "
            "decision; to begin anew instead, move the artifacts folder away"
        )
    store.write_addressed("models", "model", body, inputs)
    if not current:
        reached("model: before journal")
        journal.append("deployed", now, head(lines), model=sha256, decision=BOOTSTRAP, inputs=dict(inputs))
    reached("model: before publishing")
    return store.copy_document(f"models/{sha256}/model", "model"), current is None


def load_champion(store: ArtifactStore, journal: Journal) -> InService:
    """The model that the journal says is in service, read by its digest.

    Raises ``ModelError`` where none is deployed, or its bytes are not the deployed ones; ``JournalError`` where the
    record itself is broken.
    """
    current = champion(journal.read())
    if not current:
        raise ModelError(
            "expected a model in service, found none in the journal. Train the first one: "
            "dagster job execute -m definitions -j bootstrap_job"
        )
    document, stored = store.read_document(f"models/{current.sha256}/model")
    if stored.sha256 != current.sha256:
        raise ModelError(
            f"expected the deployed model {current.sha256[:12]} at {stored.location}, found {stored.sha256[:12]}: the "
            "file was replaced. It is not used; restore it from a backup"
        )
    return InService(FittedModel.from_dict(document["model"]), document, current)
