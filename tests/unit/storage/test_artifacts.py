"""The artifact store: what was written comes back verified, and whatever else lies in its place is refused by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import fsspec
import pandas as pd
import pytest

from countersign.errors import ArtifactError
from countersign.storage.artifacts import ArtifactStore, Stored, TextFormat
from countersign.tables import DATE, SYMBOL, Column, conform

COLUMNS = (DATE, SYMBOL, Column("close", "number", "price", "Last price", nullable=True))
OTHER = (SYMBOL, Column("rule", "string", "", "The rule that refused the row"))
FRAME = conform(
    pd.DataFrame({"date": ["2008-09-15"] * 2, "symbol": ["IBM", "MSFT"], "close": [115.5, None]}),
    COLUMNS,
)
SESSION = "2008-09-15"
INPUTS = {"source": "prices.csv"}
MODEL = {"model": {"intercept": -0.1}}


@pytest.fixture(params=["folder", "memory"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where a store lies: a local folder, or one behind an fsspec URL."""
    if request.param == "folder":
        yield str(tmp_path / "artifacts")
        return
    yield f"memory://{tmp_path.name}"
    fsspec.filesystem("memory").store.clear()


@pytest.fixture(params=["json", "parquet"])
def store(request: pytest.FixtureRequest, root: str) -> ArtifactStore:
    """A store of each form of tables."""
    return ArtifactStore(root, request.param)


def content(location: str) -> bytes:
    with fsspec.open(location, "rb") as file:
        return bytes(file.read())


def put(location: str, data: bytes) -> None:
    with fsspec.open(location, "wb") as file:
        file.write(data)


def write(store: ArtifactStore, name: str = "prices_clean", session: str = SESSION) -> Stored:
    return store.write_table(name, session, FRAME, COLUMNS, INPUTS)


def test_a_table_comes_back_as_it_was_written_with_its_digest_and_inputs(store: ArtifactStore) -> None:
    stored = write(store)
    read = store.read_table("prices_clean", SESSION, COLUMNS)
    pd.testing.assert_frame_equal(read.frame, FRAME)
    assert read.stored == stored
    assert (stored.rows, stored.inputs) == (2, INPUTS)
    assert store.digest("prices_clean", SESSION) == stored.sha256


def test_only_the_columns_that_are_named_are_read(store: ArtifactStore) -> None:
    write(store)
    frame = store.read_table("prices_clean", SESSION, COLUMNS, ("close",)).frame
    pd.testing.assert_frame_equal(frame, FRAME[["close"]])


def test_a_text_and_a_document_come_back_as_they_were_written(store: ArtifactStore) -> None:
    text = store.write_text("report", SESSION, "COUNTERSIGN\nwords\n", {"scores": "a" * 64})
    model = store.write_addressed("models", "model", MODEL, {"history/prices": "b" * 64})
    assert store.read_text("report", SESSION)[0] == "COUNTERSIGN\nwords\n"
    assert store.read_text("report", SESSION)[1].inputs == {"scores": "a" * 16}
    document, stored = store.read_document(f"models/{model.sha256}/model")
    assert document["model"] == MODEL["model"]
    assert stored == model
    assert text.location.endswith(f"/sessions/{SESSION}/report.txt")


def test_an_artifact_lies_where_its_session_and_name_say(store: ArtifactStore) -> None:
    assert write(store).location == f"{store.root}/sessions/{SESSION}/prices_clean.{store.form}"
    recent = store.write_table("history/recent", None, FRAME, COLUMNS, INPUTS, form="parquet")
    assert recent.location == f"{store.root}/history/recent.parquet"


def test_a_model_lies_under_its_own_digest_and_is_published_with_the_same_bytes(store: ArtifactStore) -> None:
    model = store.write_addressed("models", "model", MODEL, {})
    published = store.copy_document(f"models/{model.sha256}/model", "model", model.sha256)
    assert model.location == f"{store.root}/models/{model.sha256}/model.json"
    assert published.location == f"{store.root}/model.json"
    assert published.sha256 == model.sha256
    assert content(published.location) == content(model.location)


@pytest.mark.parametrize("form", ["json", "parquet"])
def test_a_folder_and_a_url_hold_the_same_bytes(tmp_path: Path, form: Literal["json", "parquet"]) -> None:
    here, there = ArtifactStore(str(tmp_path), form), ArtifactStore("memory://", form)
    one, other = write(here), write(there)
    assert one.sha256 == other.sha256
    assert Path(one.location).read_bytes() == fsspec.filesystem("memory").cat_file(
        f"/sessions/{SESSION}/prices_clean.{form}"
    )
    fsspec.filesystem("memory").store.clear()


def test_a_missing_artifact_is_named_with_the_place_and_the_command_that_makes_it(store: ArtifactStore) -> None:
    with pytest.raises(ArtifactError) as refusal:
        store.read_table("prices_clean", SESSION, COLUMNS)
    assert str(refusal.value) == (
        f"prices_clean of {SESSION} is not there yet (looked at {store.root}/sessions/{SESSION}/prices_clean."
        f"{store.form}). Make it with: dagster asset materialize -m definitions --select prices_clean "
        f"--partition {SESSION}"
    )
    assert not store.has("prices_clean", SESSION)


@pytest.mark.parametrize(
    ("name", "partition", "command"),
    [
        ("prices_rejected", SESSION, f"--select prices_clean --partition {SESSION}"),
        ("history/prices", None, "--select price_history"),
        ("history/recent", None, "--select price_history"),
        ("history/rejected", None, "--select price_history"),
    ],
)
def test_an_artifact_that_another_asset_makes_too_names_that_asset(
    store: ArtifactStore, name: str, partition: str | None, command: str
) -> None:
    with pytest.raises(ArtifactError) as refusal:
        store.read_table(name, partition, COLUMNS)
    assert str(refusal.value).endswith(f"Make it with: dagster asset materialize -m definitions {command}")


def test_a_model_that_is_not_there_names_the_asset_that_trains_it(store: ArtifactStore) -> None:
    with pytest.raises(ArtifactError, match=r"--select model$"):
        store.read_document(f"models/{'a' * 64}/model")


def test_a_truncated_or_altered_artifact_is_refused_by_name_with_the_command_that_makes_it(
    store: ArtifactStore,
) -> None:
    table, text = write(store), store.write_text("report", SESSION, "words\n", {})
    model = store.write_addressed("models", "model", MODEL, {})
    cases: list[tuple[Stored, Callable[[], object], str, str]] = [
        (
            table,
            lambda: store.read_table("prices_clean", SESSION, COLUMNS),
            f"prices_clean of {SESSION} at {table.location} cannot be used",
            f"--select prices_clean --partition {SESSION}",
        ),
        (
            text,
            lambda: store.read_text("report", SESSION),
            f"report of {SESSION} at {text.location} cannot be used",
            f"--select report --partition {SESSION}",
        ),
        (
            model,
            lambda: store.read_document(f"models/{model.sha256}/model"),
            f"models/{model.sha256}/model at {model.location} cannot be used",
            "--select model",
        ),
    ]
    for stored, read, what, command in cases:
        data = content(stored.location)
        half = len(data) // 2
        for wrong in (b"", data[:half], data[:-1], data[:half] + bytes([data[half] ^ 1]) + data[half + 1 :]):
            put(stored.location, wrong)
            with pytest.raises(ArtifactError, match="truncated") as refusal:
                read()
            assert str(refusal.value).startswith(what)
            assert str(refusal.value).endswith(command)


def test_a_table_that_was_moved_to_the_place_of_another_is_refused(store: ArtifactStore) -> None:
    asked = write(store)
    rejected = store.write_table("prices_rejected", SESSION, FRAME.assign(rule="range"), OTHER, {})
    yesterday = write(store, session="2008-09-12")
    for moved, title in ((rejected, f"prices_rejected of {SESSION}"), (yesterday, "prices_clean of 2008-09-12")):
        put(asked.location, content(moved.location))
        with pytest.raises(ArtifactError, match=f"it is {title}, so a file was moved") as refusal:
            store.read_table("prices_clean", SESSION, COLUMNS)
        assert f"prices_clean of {SESSION} at {asked.location}" in str(refusal.value)


def test_a_text_or_document_that_was_moved_is_refused(store: ArtifactStore) -> None:
    today = store.write_text("report", SESSION, "words\n", {})
    yesterday = store.write_text("report", "2008-09-12", "words\n", {})
    put(today.location, content(yesterday.location))
    with pytest.raises(ArtifactError, match=r"it is report of 2008-09-12, so a file was moved"):
        store.read_text("report", SESSION)

    scores = store.write_table("scores", SESSION, FRAME, COLUMNS, {}, form="json")
    put(f"{store.root}/model.json", content(scores.location))
    with pytest.raises(ArtifactError, match=f"it is scores of {SESSION}, so a file was moved"):
        store.read_document("model")


def test_a_file_of_another_form_in_the_place_of_a_table_is_refused_by_name(root: str) -> None:
    as_json, as_parquet = ArtifactStore(root, "json"), ArtifactStore(root, "parquet")
    one, other = write(as_json), write(as_parquet)
    first, second = content(one.location), content(other.location)
    put(one.location, second)
    put(other.location, first)
    with pytest.raises(ArtifactError, match=f"^prices_clean of {SESSION} at .* cannot be used: it is no JSON"):
        as_json.read_table("prices_clean", SESSION, COLUMNS)
    with pytest.raises(ArtifactError, match=f"^prices_clean of {SESSION} at .* cannot be used: it is no Parquet"):
        as_parquet.read_table("prices_clean", SESSION, COLUMNS)


def test_a_table_of_another_version_that_lacks_a_column_is_refused_with_the_columns_it_has(
    store: ArtifactStore,
) -> None:
    write(store)
    newer = (*COLUMNS, Column("dividend", "number", "price", "Paid that day", nullable=True))
    with pytest.raises(ArtifactError, match=r"lacks the columns dividend \(found date, symbol, close\)") as refusal:
        store.read_table("prices_clean", SESSION, newer)
    assert f"--select prices_clean --partition {SESSION}" in str(refusal.value)


def test_infinity_is_refused_rather_than_stored_as_a_missing_number(store: ArtifactStore) -> None:
    for infinite in (float("inf"), float("-inf")):
        with pytest.raises(ArtifactError, match=f"prices_clean of {SESSION} is not stored: .* infinity in close"):
            store.write_table("prices_clean", SESSION, FRAME.assign(close=[1.0, infinite]), COLUMNS, INPUTS)
    assert not store.has("prices_clean", SESSION)


def test_sessions_are_listed_in_order_and_none_before_the_first_write(store: ArtifactStore) -> None:
    assert store.partitions() == []
    for session in ("2008-09-16", "2008-09-12", "2008-09-15"):
        write(store, session=session)
    assert store.partitions() == ["2008-09-12", "2008-09-15", "2008-09-16"]


def test_what_a_killed_writer_left_is_no_artifact(tmp_path: Path) -> None:
    store = ArtifactStore(str(tmp_path))
    stored = write(store)
    whole = Path(stored.location)
    whole.rename(whole.with_name(f".{whole.name}.x1y2z3.tmp"))
    assert not store.has("prices_clean", SESSION)
    with pytest.raises(ArtifactError, match="is not there yet"):
        store.read_table("prices_clean", SESSION, COLUMNS)


def test_a_root_may_end_with_a_slash(tmp_path: Path) -> None:
    assert write(ArtifactStore(f"{tmp_path}/")).location == write(ArtifactStore(str(tmp_path))).location


@pytest.mark.parametrize("form", ["txt", "html"])
@pytest.mark.parametrize("page", ["<p>words</p>\n", "<p>\n-- artifact " + "0" * 64 + "\n-->\n", "ends with <!--", ""])
def test_a_page_or_text_of_a_week_comes_back_word_for_word_and_is_refused_once_altered(
    page: str, form: TextFormat, store: ArtifactStore
) -> None:
    stored = store.write_text("weekly_review", "2008-W38", page, {"metrics": "a" * 64}, form)
    assert stored.location.endswith(f"/reviews/2008-W38/weekly_review.{form}")
    found, read = store.read_text("weekly_review", "2008-W38", form)
    assert (found, read.sha256, read.inputs) == (page, stored.sha256, {"metrics": "a" * 16})
    put(stored.location, content(stored.location) + b"<p>more</p>")
    with pytest.raises(ArtifactError, match=r"weekly_review of 2008-W38 at .* --partition 2008-09-15"):
        store.read_text("weekly_review", "2008-W38", form)


def test_what_a_page_says_of_itself_is_a_comment_that_ends_with_the_file(store: ArtifactStore) -> None:
    stored = store.write_text("weekly_review", "2008-W38", "<p>words</p>\n", {"metrics": "a" * 64}, "html")
    shown, comment = content(stored.location).decode().split("<!--")
    assert shown == "<p>words</p>\n"
    assert comment.count("-->") == 1
    assert comment.endswith("-->\n")
