"""Models that earlier releases have published are read, with pointer and audit log.

``tests/fixtures/make.py`` wrote them.

Release 1 has one pointer and ids in Arrow; 2 a pointer of numbered states; 3 ids without Arrow; 4 checksums of manifest
and pointer.
"""

import json
import shutil
from pathlib import Path

import pytest

from springtide.errors import ModelError
from springtide.model.registry import ModelStore

FIXTURES = Path(__file__).parents[2] / "fixtures" / "models"
RELEASES = sorted(FIXTURES.glob("*.zip"))


@pytest.fixture(params=RELEASES, ids=lambda path: path.stem)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    shutil.unpack_archive(request.param, tmp_path / "models")
    return tmp_path / "models"


def assert_is_what_was_published(store: ModelStore) -> None:
    assert store.current() == "000001"
    assert [(each.action, each.from_version, each.to_version, each.actor) for each in store.audit.entries()][:3] == [
        ("promote", "", "000001", "ann"),
        ("promote", "000001", "000002", "ann"),
        ("roll_back", "000002", "000001", "ann"),
    ]
    for number in (1, 2):
        model = store.load(f"00000{number}")
        assert model.tensors["users"].tolist() == [[0.0, 1.0 * number], [2.0 * number, 3.0 * number]]
        assert {name: list(ids) for name, ids in model.node_ids.items()} == {"user": ["ann", "bö"], "item": ["x"]}
        assert model.attribute_values == {"item": ["brand=ü"]}
        assert model.manifest.exponents == {"trend": {"lift": 0.5 * number}}
        assert (model.manifest.temperature, model.manifest.created_ms) == (0.5, 1_700_000_000_000 + number)


def test_every_release_has_a_small_fixture():
    assert [path.stem for path in RELEASES] == [f"release_{number}" for number in (1, 2, 3, 4)]
    assert max(path.stat().st_size for path in RELEASES) < 50_000


def test_models_are_read_and_promoted_as_those_of_now(folder: Path):
    store = ModelStore(str(folder))
    assert_is_what_was_published(store)
    store.promote("000002")
    assert ModelStore(str(folder)).promotions() == ["000001", "000002"]


def test_what_a_later_release_would_write_is_refused_clearly(folder: Path):
    path = folder / "000002" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"shards": 4}))
    with pytest.raises(ModelError, match=r"unknown keys: shards \(written by a newer version of Springtide\?\)"):
        ModelStore(str(folder)).load("000002")
