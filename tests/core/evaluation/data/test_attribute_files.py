"""Attributes of items and users from files: kinds, lists, and what is refused."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from springtide.errors import DatasetError
from springtide.evaluation.data import AttributeFile, Dataset, with_attributes
from springtide.events.model import NodeUpsert
from springtide.testing import interactions_of

CSV = (
    "item_id,genre,price,title,colour\n"
    "a,Comedy|Drama,4.5,The first film,red\n"
    "b,Drama,,Another film,\n"
    "z,War,0,A film that nobody saw,blue\n"
)


@pytest.fixture
def dataset() -> Dataset:
    return Dataset("films", interactions_of([("u0", "a", 1_000), ("u1", "b", 2_000)]), [])


def by_id(dataset: Dataset) -> dict[str, NodeUpsert]:
    return {node.node_id: node for node in dataset.upserts}


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_columns_become_categories_numbers_and_texts(dataset: Dataset, tmp_path: Path) -> None:
    found = with_attributes(dataset, AttributeFile(written(tmp_path, "items.csv", CSV), "item"))
    nodes = by_id(found)
    assert nodes["a"].categories == {"genre": ("Comedy", "Drama"), "colour": ("red",)}
    assert (nodes["a"].numbers, nodes["a"].texts) == ({"price": 4.5}, {"title": "The first film"})
    assert (nodes["b"].categories, nodes["b"].numbers) == ({"genre": ("Drama",)}, {})
    assert nodes["z"].numbers == {"price": 0.0}
    assert nodes["a"].timestamp_ms == 1_000
    [note] = found.notes
    assert note.endswith("2 of 2 items have attributes (categories: genre, colour; numbers: price; texts: title)")


def test_lists_of_texts_are_categories_and_lists_of_numbers_of_one_length_are_vectors(
    dataset: Dataset, tmp_path: Path
) -> None:
    lists = {"vector": [[0.5, 1.0], None], "uneven": [[0.5, 1.0], [1.0]], "broken": [[0.5, None], [1.0, 2.0]]}
    table = pa.table({"user": ["u0", "u1"], "likes": [["x", "y"], None], **lists})
    pq.write_table(table, tmp_path / "users.parquet")
    found = with_attributes(dataset, AttributeFile(tmp_path / "users.parquet", "user"))
    assert by_id(found)["u0"].categories == {"likes": ("x", "y")}
    assert by_id(found)["u0"].node_type == "user"
    assert by_id(found)["u0"].vectors == {"vector": (0.5, 1.0)}
    assert by_id(found)["u1"].vectors == {}
    assert found.notes[0].endswith("(categories: likes; vectors: vector; not used: uneven, broken)")


def test_json_lines_have_lists_too(dataset: Dataset, tmp_path: Path) -> None:
    first = {"id": "a", "genre": ["x", "y"], "year": 1999, "image": [1, 0.25], "codes": ["1", "2"]}
    text = json.dumps(first) + "\n" + json.dumps({"id": "b", "year": 2001})
    found = with_attributes(dataset, AttributeFile(written(tmp_path, "items.jsonl", text), "item"))
    assert by_id(found)["a"].categories == {"genre": ("x", "y")}
    assert by_id(found)["b"].numbers == {"year": 2001.0}
    assert by_id(found)["a"].vectors == {"image": (1.0, 0.25)}
    assert "not used: codes" in found.notes[0], "numbers in quotes may be codes: the settings say which"


def test_kind_of_the_settings_wins(dataset: Dataset, tmp_path: Path) -> None:
    path = written(tmp_path, "items.csv", "item,aisle\na,7\nb,8\n")
    found = with_attributes(dataset, AttributeFile(path, "item", kinds={"aisle": "category"}))
    assert by_id(found)["a"].categories == {"aisle": ("7",)}


@pytest.mark.parametrize(
    ("text", "id_column", "words"),
    [
        ("name,price\nx,1\n", "", "no column of ids: wanted one called item or"),
        ("item,price\na,1\n", "sku", r"no column of ids: wanted one called sku, .*the file has: item, price"),
        ("item,price\n", "", "wanted attributes, got no rows"),
        ("item,price\nq,1\n", "", "got 1 that never occur in the events, such as 'q'; an event has 'a'"),
    ],
    ids=["no ids", "no such column", "no rows", "other ids"],
)
def test_wrong_file_is_refused_in_words(
    dataset: Dataset, tmp_path: Path, text: str, id_column: str, words: str
) -> None:
    with pytest.raises(DatasetError, match=words):
        with_attributes(dataset, AttributeFile(written(tmp_path, "items.csv", text), "item", id_column))
