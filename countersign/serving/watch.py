"""Watch: the champion that is served, looked for again and again, and swapped once it is verified.

Belongs here: when to look, what to serve, why not. Does not belong here: verifying (``steps.service``), answering
(``predictor``). All of ``look`` runs in one thread; a request reads ``served`` once, which is one attribute.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import orjson

from countersign.delivery import Gauge
from countersign.errors import CountersignError, ModelError
from countersign.gate.state import State, state_of
from countersign.model.registry import InService
from countersign.project import Project
from countersign.serving.answers import known, standing_of
from countersign.serving.predictor import Served, keep, stamp
from countersign.serving.problems import Problem
from countersign.steps.alerts import gauges
from countersign.steps.gate import gate_state, standing
from countersign.steps.service import in_service

LOOK_SECONDS: Final = 1.0
"""Between two looks: a deployment is served within this and the time that its signatures take to be verified."""
_AGAIN: Final = 10
"""Looks after which what could not be verified is tried again, though no file has changed."""


class Watch:
    """``served`` is None where no model may be used; ``trouble`` is empty where the champion is the one that is served.

    ``say`` takes a sentence for the server's log.
    """

    def __init__(self, project: Project, clock: Callable[[], datetime], say: Callable[[str], None]) -> None:
        self.served: Served | None = None
        self.trouble = "the model has not been looked for yet"
        self.gauges: list[Gauge] = []
        self.state = State()
        self._project, self._clock, self._say = project, clock, say
        self._seen: Any = None
        self._measured: Any = None
        self._looks = 0
        self._unready = ""

    def look(self) -> None:
        """Look whether anything has changed, and serve what may be served now. Raises nothing."""
        try:
            # Before they are read: what changes meanwhile is seen the next time.
            seen = self._stamps()
            self._looks += 1
            if seen != self._seen or (self.trouble and self._looks % _AGAIN == 0):
                self._seen = seen
                self._verify()
            self._renew()
            self._measure()
        except Exception as error:
            # The thread has to go on, and what is served stays.
            self._fail(f"the model could not be looked for: {type(error).__name__}: {error}")

    def age_seconds(self) -> float | None:
        """Seconds since the served model was deployed."""
        served = self.served
        return (self._clock() - served.service.champion.at).total_seconds() if served else None

    def _stamps(self) -> Any:
        project = self._project
        folder = Path(project.store.root) if "://" not in project.store.root else None
        model = self.state.last_model
        files = [str(project.journal.path), str(project.signers)]
        if folder and model:
            files.append(project.store.location(f"models/{model}/model", None, "json"))
        return [stamp(file) for file in files]

    def _verify(self) -> None:
        try:
            lines = self._project.journal.read()
            self._require_continued([line["sha256"] for line in lines])
            service = in_service(self._project)
            state = state_of(lines)
            served = self._prepare(service, state)
        except (CountersignError, OSError) as error:
            self._withdraw()
            self._fail(str(error))
            return
        before, self.served, self.state = self.served, served, state
        if self.trouble or before is None or before.model != served.model:
            self._say(f"serving the model {served.model[:12]}, in service since {service.champion.at.isoformat()}")
        self.trouble = ""

    def _require_continued(self, heads: list[str]) -> None:
        """Raise ``ModelError`` where the journal no longer has the line that was its last one before."""
        before = self.state.heads[-1:]
        if before and before[0] not in heads:
            raise ModelError(
                f"expected the journal to go on after its line {before[0][:12]}, found that it is gone: lines were "
                "removed, or the project was begun anew. Restore the journal, or start the server again"
            )

    def _prepare(self, service: InService, state: State) -> Served:
        """What is served of ``service``, its newest session ready, so that no request waits for it."""
        old = self.served
        newest = self._newest()
        served = Served(
            service,
            state.heads[-1],
            self._card(service),
            newest,
            standing_of(service.champion),
            # The same champion says the same of a session; an earlier one, which had to, may have left since.
            {session: kept for session, kept in list(old.sessions.items()) if kept.model == old.standing}
            if old and old.service.champion == service.champion
            else {},
        )
        if newest and newest not in served.sessions:
            self._keep(served, newest)
        return served

    def _keep(self, served: Served, session: str) -> None:
        try:
            keep(self._project, served, session, "session")
            unready = ""
        except Problem as error:
            # A session that cannot be scored takes no model out of service: who asks for it is told.
            unready = f"{session} is not ready: {getattr(error, 'cause', error.detail)}"
        if unready and unready != self._unready:
            self._say(unready)
        self._unready = unready

    def _newest(self) -> str:
        store = self._project.store
        return next((s for s in reversed(store.partitions()) if store.has("features", s)), "")

    def _renew(self) -> None:
        """Forget rows whose features were made again, and go on to a session that is new."""
        served, store = self.served, self._project.store
        if served is None:
            return
        for session, kept in list(served.sessions.items()):
            if stamp(store.location("features", session, store.form)) != kept.features:
                served.sessions.pop(session, None)
        newest = self._newest()
        if newest != served.newest or (newest and newest not in served.sessions):
            fresh = Served(served.service, served.head, served.card, newest, served.standing, served.sessions)
            if newest:
                self._keep(fresh, newest)
            self.served = fresh

    def _withdraw(self) -> None:
        """Serve nothing where the journal says that the served model has left service, whatever else is wrong."""
        served = self.served
        try:
            state = state_of(self._project.journal.read())
        except (CountersignError, OSError):
            return
        left = bool(state.deployments) and state.champion is None
        if served and (left or served.model in state.revoked):
            self.served = None

    def _fail(self, trouble: str) -> None:
        if trouble != self.trouble:
            kept = f"; {self.served.model[:12]} is served on" if self.served else "; no model is served"
            self._say(trouble + kept)
        self.trouble = trouble

    def _card(self, service: InService) -> bytes:
        document, champion = service.document, service.champion
        stands = standing(gate_state(self._project))
        card = {
            "sha256": champion.model,
            "decision": champion.decision,
            "deployed_at": champion.at.isoformat(),
            "standing": stands.sentence,
            "needs_a_person": list(stands.needs),
            "training": known(document["training"]),
            "evaluation": known(document["evaluation"]),
            "model": document["model"],
        }
        return orjson.dumps(card)

    def _measure(self) -> None:
        """What monitoring said of the newest session that it has judged, for ``/metrics``."""
        store, project = self._project.store, self._project
        session = next((s for s in reversed(store.partitions()) if store.has("metrics", s)), "")
        if not session:
            return
        places = [store.location(name, session, store.form) for name in ("metrics", "drift")]
        measured = [session, *map(stamp, [*places, str(project.alerts.path)])]
        if measured == self._measured:
            return
        self._measured = measured
        try:
            self.gauges = gauges(project, session)
        except CountersignError as error:
            self.gauges = []
            self._say(f"/metrics is without monitoring: {error}")
