"""Service: the model that a session is scored with, verified.

Belongs here: which of the deployed models a session is for. Does not belong here: how one gets into service
(``steps.gate``), reading and verifying it (``model.registry``).
"""

from __future__ import annotations

from countersign.errors import LookAheadError
from countersign.gate.state import state_of
from countersign.model.registry import InService, load_champion, load_deployed
from countersign.project import Project


def in_service(project: Project) -> InService:
    """The model in service, by the project's policy. Raises as ``load_champion`` does."""
    unsigned = project.config.gate.bootstrap == "auto"
    return load_champion(project.store, project.journal, project.signers, allow_unsigned=unsigned)


def without_looking_ahead(project: Project, service: InService, session: str) -> InService:
    """``service``; of a session that it was trained on, the newest model that was in service before and was not.

    So a session that arrives late, or is run again after a restatement, can be scored. Raises ``LookAheadError`` where
    every one of them learned from it.
    """
    learned_to = service.document["training"]["last_session"]
    if session > learned_to:
        return service
    lines = project.journal.read()
    for earlier in state_of(lines).earlier():
        other = load_deployed(project.store, lines, earlier, project.signers)
        if session > other.document["training"]["last_session"]:
            return other
    raise LookAheadError(
        f"expected a session after {learned_to}, to which the model in service was trained, found {session}, which no "
        "earlier model in service could score either: it would look ahead. Score a later session (runs begin with "
        "first_session in config/pipeline.yaml)"
    )
