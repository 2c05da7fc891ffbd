"""Service: the model that a session is scored with, verified.

Belongs here: which of the deployed models a session is for. Does not belong here: how one gets into service
(``steps.gate``), reading and verifying it (``model.registry``).
"""

from __future__ import annotations

from contextlib import suppress

from countersign.errors import CountersignError, LookAheadError
from countersign.gate.state import State, state_of
from countersign.model.registry import InService, load_champion, load_deployed, read_model
from countersign.project import Project
from countersign.words import listed


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
    state = state_of(lines)
    for earlier in state.earlier():
        other = load_deployed(project.store, lines, earlier, project.signers)
        if session > other.document["training"]["last_session"]:
            return other
    raise LookAheadError(
        f"expected a session after {learned_to}, to which the model in service was trained, found {session}, which no "
        f"earlier model in service could score either: it would look ahead. {_revoked_words(project, state, session)}"
        "Score a later session (runs begin with first_session in config/pipeline.yaml)"
    )


def learned_by_all(project: Project) -> str:
    """The session up to which every model in force was trained: none of them may score it, or one before it.

    In force are the model in service and those that can be returned to. Empty where there is none, or one cannot be
    read: it may be restored.
    """
    state = state_of(project.journal.read())
    try:
        learned = [_learned_to(project, one.model) for one in (state.champion, *state.earlier()) if one]
    except CountersignError:
        return ""
    return min(learned, default="")


def _learned_to(project: Project, model: str) -> str:
    return str(read_model(project.store, model).document["training"]["last_session"])


def _revoked_words(project: Project, state: State, session: str) -> str:
    """Which models could have scored ``session`` had they not been revoked; nothing where none could."""
    found = []
    for model, order in state.revoked.items():
        # One whose file is gone could not either.
        with suppress(CountersignError):
            if session > _learned_to(project, model):
                found.append(f"{model[:12]} (by {order.signer})")
    return f"Revoked, and so not used: {listed(found)}. What was said of the session stays as it is. " if found else ""
