"""Tags of converted models: published cleaning, the table of vectors, and its safe reading."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from conftest import shared, tiny_config, tiny_model
from hypothesis import given, settings
from hypothesis import strategies as st

from audiogpt.checkpoint_parts import load_tag_table
from audiogpt.checkpoints import CheckpointError, checkpoint_hash, save_pretrained
from audiogpt.config import BranchConfig
from audiogpt.tags import TagTable, published_tags, tag_words


@pytest.fixture
def table() -> TagTable:
    words = ["rock", "pop", "rnb", "hip", "hop", "folk", "world", "country", "għana"]
    return TagTable(words, np.arange(18, dtype=np.float32).reshape(9, 2))


@pytest.mark.parametrize(
    ("tag", "words"),
    [
        ("Rock", ["rock"]),
        ("R&B", ["rnb"]),
        ("Contemporary R&B", ["contemporary"]),  # only "r&b" alone is known to the published code
        ("Folk, World, & Country", ["folk", "world", "country"]),
        ("Hip-Hop/Rap", ["hip", "hop", "rap"]),
        ("Rock'n'Roll (Early)", ["rock", "roll", "early"]),
        ("U.K. Garage", ["garage"]),
        ("  ", []),
        ("Għana", ["għana"]),
        ("80s", ["80s"]),
    ],
)
def test_tags_are_cleaned_as_published(tag: str, words: list[str]) -> None:
    assert tag_words(tag) == words


def test_several_tags_are_a_set_of_words() -> None:
    assert published_tags(["Pop Rock", "Rock", "Hip Hop"]) == ["pop", "rock", "hip", "hop"]


def test_rows_weights_and_unknown_tags(table: TagTable) -> None:
    rows = table.lookup([("Pop Rock", 0.5), ("rock", 0.8), ("xyzzy", 1.0), ("folk metal", 0.3)])
    assert rows.words == ("pop", "rock", "folk")
    np.testing.assert_allclose(rows.weights, [0.5, 0.8, 0.3])
    np.testing.assert_array_equal(rows.vectors, [[2, 3], [0, 1], [10, 11]])
    assert rows.unknown == ("xyzzy",) and rows.unknown_words == ("metal",)


def test_no_tags_are_no_rows(table: TagTable) -> None:
    rows = table.lookup([("xyzzy", 1.0)])
    assert rows.vectors.shape == (0, 2) and rows.weights.shape == (0,) and rows.words == ()


def test_saving_and_loading_changes_nothing(table: TagTable, tmp_path: Path) -> None:
    table.save(tmp_path)
    again = TagTable.load(tmp_path)
    assert again.words == table.words
    np.testing.assert_array_equal(again.vectors, table.vectors)


def test_files_that_disagree_are_refused(table: TagTable, tmp_path: Path) -> None:
    table.save(tmp_path)
    (tmp_path / "tags.txt").write_text("rock\n")
    with pytest.raises(ValueError, match="one vector a word"):
        TagTable.load(tmp_path)
    (tmp_path / "tags.txt").unlink()
    with pytest.raises(ValueError, match=r"tags\.txt is missing"):
        TagTable.load(tmp_path)


@pytest.mark.parametrize(
    ("words", "vectors", "message"),
    [
        (["a", "a"], np.zeros((2, 3)), "twice"),
        (["a"], np.zeros(3), "one vector a word"),
        (["a"], np.array([[np.nan]]), "undefined"),
    ],
)
def test_tables_that_make_no_sense_are_refused(words, vectors, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TagTable(words, vectors)


def test_a_word_that_breaks_the_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="line of its own"):
        TagTable(["a\nb"], np.zeros((1, 2))).save(tmp_path)


def test_the_published_table_is_read() -> None:
    path = shared("oracle", "playntell", "discogs_tags_embeddings.npy")
    table = TagTable.from_published(path)
    assert len(table.words) == 844 and table.width == 300
    reference = np.load(path, allow_pickle=True).item()  # this file is known to be harmless
    assert table.words == tuple(reference)
    np.testing.assert_array_equal(table.vectors, np.stack(list(reference.values())))


def test_a_table_written_by_any_numpy_is_read(tmp_path: Path) -> None:
    """numpy 1 called the module of its array builder otherwise than numpy 2."""
    table = {"rock": np.ones(4, np.float32), "pop": np.zeros(4, np.float32)}
    path = tmp_path / "tags.npy"
    np.save(path, table)  # type: ignore[arg-type]
    assert TagTable.from_published(path).words == ("rock", "pop")
    header = path.read_bytes()[:128]
    body = pickle.dumps(np.array(table, dtype=object), protocol=3)
    assert b"numpy._core.multiarray" in body
    path.write_bytes(header + body.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert TagTable.from_published(path).words == ("rock", "pop")


class Mischief:
    """Unpickled, this would create a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


def test_nothing_in_the_pickle_is_executed(tmp_path: Path) -> None:
    path, victim = tmp_path / "tags.npy", tmp_path / "victim"
    np.save(path, {"rock": Mischief(victim)})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="mkdir, which is not allowed"):
        TagTable.from_published(path)
    assert not victim.exists()


@pytest.mark.parametrize(
    "content",
    [np.zeros(3), {"rock": "loud"}, {"a": np.zeros(2), "b": np.zeros(3)}, {}, ["rock"]],
    ids=["numbers", "texts", "lengths", "empty", "list"],
)
def test_other_arrays_are_refused(tmp_path: Path, content) -> None:
    np.save(tmp_path / "tags.npy", content)
    with pytest.raises(ValueError, match=r"tags\.npy"):
        TagTable.from_published(tmp_path / "tags.npy")


@settings(max_examples=300, deadline=None)
@given(edits=st.lists(st.tuples(st.integers(100, 420), st.integers(0, 255)), max_size=4))
def test_damage_anywhere_gives_a_table_or_one_sentence(tmp_path_factory, edits) -> None:
    """Built by numpy itself, some of these crash the process."""
    path = tmp_path_factory.mktemp("damaged", numbered=True) / "tags.npy"
    np.save(path, {"rock": np.ones(4, np.float32), "pop": np.zeros(4, np.float32)})  # type: ignore[arg-type]
    data = bytearray(path.read_bytes())
    for place, value in edits:
        data[min(place, len(data) - 1)] = value
    path.write_bytes(data)
    try:
        assert TagTable.from_published(path).vectors.dtype == np.float32
    except ValueError as error:
        assert "tag" in str(error)


def test_arrays_of_any_float_type_and_order_are_read(tmp_path: Path) -> None:
    vectors = {
        "half": np.arange(4, dtype="f2"),
        "big": np.arange(4, dtype=">f4"),
        "double": np.arange(8, dtype="f8")[::2] / 2,
    }
    np.save(tmp_path / "tags.npy", vectors)  # type: ignore[arg-type]
    table = TagTable.from_published(tmp_path / "tags.npy")
    np.testing.assert_array_equal(table.vectors, [[0, 1, 2, 3]] * 3)


@pytest.mark.parametrize("content", [b"", b"hello", pickle.dumps({"rock": 1})])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tags.npy").write_bytes(content)
    with pytest.raises(ValueError, match="not the published tag table"):
        TagTable.from_published(tmp_path / "tags.npy")


def test_a_tag_that_the_table_has_as_a_whole_is_one_row() -> None:
    table = TagTable(["slow waltz", "slow", "waltz", "Early Music"], np.eye(4, 3))
    rows = table.lookup([("Slow Waltz", 0.4), ("waltz slow", 0.7), ("Early Music", 1.0)])
    assert rows.words == ("slow waltz", "waltz", "slow", "Early Music")
    np.testing.assert_allclose(rows.weights, [0.4, 0.7, 0.7, 1.0])
    assert rows.unknown == () and rows.unknown_words == ()


def test_a_checkpoint_loads_the_table_that_its_branch_reads(table: TagTable, tmp_path) -> None:
    table.save(tmp_path)
    fitting = tiny_config(branches=(BranchConfig(name="tags", width=2),))
    loaded = load_tag_table(tmp_path, fitting)
    assert loaded is not None and loaded.words == table.words
    with pytest.raises(CheckpointError, match="vectors of 2 numbers, but the tags branch reads 3"):
        load_tag_table(tmp_path, tiny_config(branches=(BranchConfig(name="tags", width=3),)))
    assert load_tag_table(tmp_path, tiny_config()) is None  # its tags are text
    save_pretrained(tiny_model(fitting), tmp_path)
    before = checkpoint_hash(tmp_path)
    TagTable(table.words, table.vectors + 1).save(tmp_path)
    with_table = checkpoint_hash(tmp_path)
    assert with_table != before
    (tmp_path / "tokenizer.json").write_text("{}")
    assert checkpoint_hash(tmp_path) != with_table
