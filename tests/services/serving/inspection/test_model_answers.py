"""What the InspectionService says of a model version, and of who changed what serves."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from springtide.errors import ModelError
from springtide.model.curves import Curve
from springtide.model.manifest import ModelManifest
from springtide.model.registry import ModelArtifact, ModelStore
from springtide_services.serving.inspection.models import whole_model
from springtide_services.serving.statuses import NotFoundError

CURVE = Curve("loss of learn", "step", (1.0, 2.0), (0.5, 0.25))


def publish(store: ModelStore, curves: tuple[Curve, ...] = (), **changes: Any) -> str:
    fields: dict[str, Any] = {
        "version": "",
        "created_ms": 1_700_000_000_000,
        "training": "retrain",
        "parts": {
            "loss": {"name": "bpr", "origin": "springtide 0.1", "options": {"b": 2, "a": 1}},
            "encoder": {"name": "lightgcn", "origin": "springtide 0.1", "options": {}},
        },
        "settings": {},
        "graph_cut": {"num_interactions": 7, "checkpoint": "000000000003", "newest_ms": 1_600_000_000_000},
        **changes,
    }
    tensors, ids = {"items": np.ones(1, np.float32)}, {"user": [], "item": ["a"]}
    return store.publish(ModelArtifact(ModelManifest(**fields), tensors, ids, curves=curves))


def test_a_model_comes_with_its_parts_and_their_options(tmp_path: Path) -> None:
    store = ModelStore(str(tmp_path))
    publish(store, request_id="r1", temperature=0.5)
    answer = whole_model(store, "000001")

    assert (answer.model.version, answer.model.is_current, answer.model.num_interactions) == ("000001", True, 7)
    assert [(part.kind, part.name, part.origin, part.options_json) for part in answer.parts] == [
        ("encoder", "lightgcn", "springtide 0.1", "{}"),
        ("loss", "bpr", "springtide 0.1", '{"a": 1, "b": 2}'),
    ]
    assert (answer.request_id, answer.temperature, answer.checkpoint) == ("r1", 0.5, "000000000003")
    assert answer.newest_event_time.seconds == 1_600_000_000


def test_an_exponent_comes_with_its_error_if_it_was_learned(tmp_path: Path) -> None:
    store = ModelStore(str(tmp_path))
    exponents = {"calendar": {"year": 0.5, "own:year": 0.25}, "cosine": {"cosine": 8.0, "own:cosine": 4.0}}
    publish(store, exponents=exponents, exponent_errors={"calendar": {"year": 0.125}})
    found = whole_model(store, "000001").exponents

    assert [
        (each.weight, each.factor, each.value, each.error if each.HasField("error") else None) for each in found
    ] == [
        ("calendar", "own:year", 0.25, None),
        ("calendar", "year", 0.5, 0.125),
        ("cosine", "cosine", 8.0, None),
        ("cosine", "own:cosine", 4.0, None),
    ]


def test_the_table_of_the_gate_has_the_best_first(tmp_path: Path) -> None:
    store = ModelStore(str(tmp_path))
    contestants = {
        "tifu_knn": {"questions": 175, "all": 0.3, "error": 0.02},
        "candidate": {"questions": 900, "all": 0.35, "error": 0.01},
        "champion": {"all": 0.1},  # As earlier releases wrote it.
    }
    publish(store, gate={"verdict": "promoted", "questions": 900, "contestants": contestants})
    found = whole_model(store, "000001").gate

    assert [(row.name, row.ndcg_at_20, row.num_questions, row.HasField("error")) for row in found] == [
        ("candidate", 0.35, 900, True),
        ("tifu_knn", 0.3, 175, True),
        ("champion", 0.1, 900, False),
    ]


def test_curves_are_those_that_were_published(tmp_path: Path) -> None:
    store = ModelStore(str(tmp_path))
    publish(store, curves=(CURVE,))
    publish(store)
    [curve] = whole_model(store, "000001").curves

    assert (curve.name, curve.step, list(curve.steps), list(curve.values)) == (
        "loss of learn",
        "step",
        [1, 2],
        [0.5, 0.25],
    )
    assert not whole_model(store, "000002").curves, "as of a version of an earlier release"


def test_a_model_whose_curves_are_damaged_is_shown_without_them(tmp_path: Path) -> None:
    store = ModelStore(str(tmp_path))
    publish(store, curves=(CURVE,))
    (tmp_path / "000001" / "curves.json").write_text("[")

    assert not whole_model(store, "000001").curves
    assert store.load("000001").manifest.version == "000001"


def test_what_is_not_there_or_cannot_be_read_is_told(tmp_path: Path) -> None:
    store = ModelStore(str(tmp_path))
    publish(store)
    with pytest.raises(NotFoundError, match=r"no model version '7' \(choices: 000001\)"):
        whole_model(store, "7")
    path = tmp_path / "000001" / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "quantization": "int8"}))
    with pytest.raises(ModelError, match="unknown keys: quantization"):
        whole_model(ModelStore(str(tmp_path)), "000001")
