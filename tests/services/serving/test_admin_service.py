"""AdminService: what it lists of a registry, and how its training modes are named."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from springtide.errors import InvalidRequestError
from springtide.model.manifest import TRAINING_MODES, ModelManifest
from springtide.model.registry import ModelArtifact, ModelStore
from springtide.v1 import admin_pb2 as pb
from springtide_services.serving.admin_answers import page_of_models
from springtide_services.serving.admin_service import _MODES


class CountingStore(ModelStore):
    """Counts how often the pointer is read."""

    num_pointer_reads = 0

    def promotions(self) -> list[str]:
        self.num_pointer_reads += 1
        return super().promotions()


def publish(store: ModelStore, **changes: Any) -> str:
    fields: dict[str, Any] = {
        "version": "",
        "created_ms": 1_700_000_000_000,
        "training": "retrain",
        "parts": {"encoder": {"name": "lightgcn", "origin": "springtide 0.1", "options": {}}},
        "settings": {},
        "graph_cut": {"num_interactions": 7},
        **changes,
    }
    return store.publish(
        ModelArtifact(ModelManifest(**fields), {"items": np.ones(1, np.float32)}, {"user": [], "item": ["a"]})
    )


def test_apage_of_models_reads_the_pointer_once(tmp_path: Path) -> None:
    for _ in range(4):
        publish(ModelStore(str(tmp_path)))
    store = CountingStore(str(tmp_path))
    page = page_of_models(store, pb.ListModelsRequest(page_size=3))
    assert [(model.version, model.is_current) for model in page.models] == [
        ("000004", True),
        ("000003", False),
        ("000002", False),
    ]
    assert store.num_pointer_reads == 1
    last = page_of_models(store, pb.ListModelsRequest(page_size=3, page_token=page.next_page_token))
    assert ([model.version for model in last.models], last.next_page_token) == (["000001"], "")


def test_a_model_is_listed_with_its_gate_and_parts(tmp_path: Path) -> None:
    store = ModelStore(str(tmp_path))
    gate = {"verdict": "promoted", "reason": "better", "contestants": {"candidate": {"all": 0.25, "new": 0.125}}}
    publish(store, gate=gate, metrics={"loss": 0.5})
    (model,) = page_of_models(store, pb.ListModelsRequest()).models
    assert (model.training, model.num_interactions, model.create_time.seconds) == ("retrain", 7, 1_700_000_000)
    assert (dict(model.parts), dict(model.metrics)) == ({"encoder": "lightgcn (springtide 0.1)"}, {"loss": 0.5})
    assert (model.verdict, model.verdict_reason, dict(model.gate_ndcg_at_20)) == (
        "promoted",
        "better",
        {"candidate": 0.25},
    )
    assert model.unreadable_reason == ""


def test_a_model_says_over_how_many_questions_each_mean_of_the_gate_is(tmp_path: Path) -> None:
    store = ModelStore(str(tmp_path))
    asked_in_parts = {"candidate": {"questions": 900, "all": 0.25}, "tifu_knn": {"questions": 175, "all": 0.2}}
    publish(store, gate={"verdict": "promoted", "questions": 900, "contestants": asked_in_parts})
    # As releases wrote it that asked every contestant all questions.
    publish(store, gate={"verdict": "promoted", "questions": 800, "contestants": {"tifu_knn": {"all": 0.2}}})
    before, in_parts = page_of_models(store, pb.ListModelsRequest()).models
    assert dict(in_parts.gate_num_questions) == {"candidate": 900, "tifu_knn": 175}
    assert dict(before.gate_num_questions) == {"tifu_knn": 800}


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        ("{", "not JSON"),
        ('{"version": "000002"}', "missing keys: created_ms"),
        (None, "unknown keys: quantization (written by a newer version of Springtide?)"),
    ],
)
def test_a_version_that_cannot_be_read_is_listed_with_the_reason(
    tmp_path: Path, manifest: str | None, reason: str
) -> None:
    store = ModelStore(str(tmp_path))
    for _ in range(3):
        publish(store)
    store.promote("000002")
    path = tmp_path / "000002" / "manifest.json"
    path.write_text(manifest or json.dumps({**json.loads(path.read_bytes()), "quantization": "int8"}))
    page = page_of_models(ModelStore(str(tmp_path)), pb.ListModelsRequest())
    assert [(model.version, model.is_current, bool(model.unreadable_reason)) for model in page.models] == [
        ("000003", False, False),
        ("000002", True, True),
        ("000001", False, False),
    ]
    assert reason in page.models[1].unreadable_reason
    assert not page.models[1].HasField("create_time")


@pytest.mark.parametrize("request_", [pb.ListModelsRequest(page_size=-1), pb.ListModelsRequest(page_token="?")])
def test_a_page_that_cannot_be_is_refused(tmp_path: Path, request_: pb.ListModelsRequest) -> None:
    with pytest.raises(InvalidRequestError, match=r"^page_"):
        page_of_models(ModelStore(str(tmp_path)), request_)


def test_the_protos_name_all_training_modes_and_no_others() -> None:
    assert {pb.TrainingMode.Name(number): mode for number, mode in _MODES.items()} == {
        "TRAINING_MODE_UNSPECIFIED": None,
        "TRAINING_MODE_RETRAIN": "retrain",
        "TRAINING_MODE_FINE_TUNE": "fine_tune",
        "TRAINING_MODE_REFIT": "refit",
    }
    assert set(_MODES) == set(pb.TrainingMode.values())
    assert set(_MODES.values()) == {None, *TRAINING_MODES}
