"""The registry: one first model, and no other is ever used without the journal's word."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from countersign.errors import ArtifactError, JournalError, ModelError
from countersign.gate.state import BOOTSTRAP
from countersign.model.registry import deploy_first, load_champion
from countersign.model.scoring import FittedModel
from countersign.storage.artifacts import ArtifactStore
from countersign.storage.journal import Journal

NOW = datetime(2008, 8, 29, 21, 0, tzinfo=UTC)
INPUTS = {"history/prices": "b" * 64}
SIGNERS = Path("nobody-signs-here")


@pytest.fixture
def body(fitted: FittedModel) -> dict[str, Any]:
    """What of a model's document the registry reads."""
    return {"model": fitted.as_dict()}


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path / "artifacts"))


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "artifacts" / "journal.jsonl")


def other(body: Mapping[str, Any]) -> dict[str, Any]:
    """Another sound model."""
    return {**body, "training": {"rows": 1}}


def files(store: ArtifactStore) -> dict[str, bytes]:
    root = Path(store.root)
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_without_a_model_nothing_is_loaded_and_the_message_says_how_to_train_one(
    store: ArtifactStore, journal: Journal
) -> None:
    with pytest.raises(ModelError, match=r"found none in the journal.*bootstrap_job"):
        load_champion(store, journal, SIGNERS, allow_unsigned=True)


def test_the_first_model_is_deployed_published_and_on_record_as_unsigned(
    store: ArtifactStore, journal: Journal, body: dict[str, Any], fitted: FittedModel
) -> None:
    stored, new = deploy_first(store, journal, body, INPUTS, NOW)
    assert new
    (line,) = journal.read()
    assert (line["event"], line["model"], line["decision"]) == ("deployed", stored.sha256, "bootstrap")
    assert line["inputs"] == INPUTS
    service = load_champion(store, journal, SIGNERS, allow_unsigned=True)
    assert (service.champion.model, service.champion.at, service.champion.decision) == (stored.sha256, NOW, BOOTSTRAP)
    assert service.model.as_dict() == fitted.as_dict()
    found = files(store)
    assert found["model.json"] == found[f"models/{stored.sha256}/model.json"]


def test_the_same_model_again_is_no_new_deployment(
    store: ArtifactStore, journal: Journal, body: dict[str, Any]
) -> None:
    first, _ = deploy_first(store, journal, body, INPUTS, NOW)
    before = files(store)
    second, new = deploy_first(store, journal, body, INPUTS, NOW + timedelta(days=1))
    assert (second, new) == (first, False)
    assert files(store) == before


def test_another_model_is_refused_while_one_is_in_service_and_no_file_changes(
    store: ArtifactStore, journal: Journal, body: dict[str, Any]
) -> None:
    first, _ = deploy_first(store, journal, body, INPUTS, NOW)
    before = files(store)
    with pytest.raises(ModelError, match=f"{first.sha256[:12]} is in service and stays"):
        deploy_first(store, journal, other(body), INPUTS, NOW)
    assert files(store) == before


def test_of_two_first_models_at_the_same_time_only_one_comes_into_service(
    store: ArtifactStore, journal: Journal, body: dict[str, Any]
) -> None:
    class Slow(ArtifactStore):
        """A store behind which another process deploys while this one still writes its model."""

        def write_addressed(self, *args: Any) -> Any:
            deploy_first(store, journal, body, INPUTS, NOW)
            return super().write_addressed(*args)

    with pytest.raises(JournalError, match="another process"):
        deploy_first(Slow(store.root), journal, other(body), INPUTS, NOW)
    assert len(journal.read()) == 1
    assert load_champion(store, journal, SIGNERS, allow_unsigned=True).document.keys() == {"sha256", "artifact", *body}


def test_a_champion_whose_bytes_were_changed_is_refused(
    store: ArtifactStore, journal: Journal, body: dict[str, Any]
) -> None:
    stored, _ = deploy_first(store, journal, body, INPUTS, NOW)
    path = Path(stored.location).parent / "models" / stored.sha256 / "model.json"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"cutoff": 0.2', '"cutoff": 0.9'), encoding="utf-8")
    assert path.read_text(encoding="utf-8") != text
    with pytest.raises(ArtifactError, match=r"truncated or altered.*--select model"):
        load_champion(store, journal, SIGNERS, allow_unsigned=True)


def test_a_champion_that_was_replaced_by_another_whole_model_is_refused(
    store: ArtifactStore, journal: Journal, body: dict[str, Any]
) -> None:
    stored, _ = deploy_first(store, journal, body, INPUTS, NOW)
    intruder = store.write_addressed("models", "model", other(body), INPUTS)
    deployed = Path(store.root) / "models" / stored.sha256 / "model.json"
    deployed.write_bytes(Path(intruder.location).read_bytes())
    with pytest.raises(ModelError, match=f"expected the model {stored.sha256[:12]} .*found {intruder.sha256[:12]}"):
        load_champion(store, journal, SIGNERS, allow_unsigned=True)


def test_a_model_that_the_journal_does_not_name_is_never_used(
    store: ArtifactStore, journal: Journal, body: dict[str, Any]
) -> None:
    stored, _ = deploy_first(store, journal, body, INPUTS, NOW)
    intruder = store.write_addressed("models", "model", other(body), INPUTS)
    store.copy_document(f"models/{intruder.sha256}/model", "model", intruder.sha256)
    assert load_champion(store, journal, SIGNERS, allow_unsigned=True).champion.model == stored.sha256
    journal.path.unlink()
    with pytest.raises(ModelError, match="found none in the journal"):
        load_champion(store, journal, SIGNERS, allow_unsigned=True)


def test_a_published_model_whose_journal_is_gone_keeps_another_from_coming_into_service(
    store: ArtifactStore, journal: Journal, body: dict[str, Any]
) -> None:
    deploy_first(store, journal, body, INPUTS, NOW)
    journal.path.unlink()
    before = files(store)
    for again in (body, other(body)):
        with pytest.raises(JournalError, match="restore it from a backup"):
            deploy_first(store, journal, again, INPUTS, NOW)
    assert files(store) == before


def test_a_journal_that_names_another_model_by_a_changed_line_is_refused(
    store: ArtifactStore, journal: Journal, body: dict[str, Any]
) -> None:
    stored, _ = deploy_first(store, journal, body, INPUTS, NOW)
    intruder = store.write_addressed("models", "model", other(body), INPUTS)
    text = journal.path.read_text(encoding="utf-8")
    journal.path.write_text(text.replace(stored.sha256, intruder.sha256), encoding="utf-8")
    with pytest.raises(JournalError, match="line 1"):
        load_champion(store, journal, SIGNERS, allow_unsigned=True)
