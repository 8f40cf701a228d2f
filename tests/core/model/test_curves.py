"""Training curves: kept beside a model, whatever is done to it later."""

from pathlib import Path

import numpy as np
import pytest

from springtide.errors import ModelError
from springtide.model.curves import Curve, curves_from_json, curves_to_json
from springtide.model.manifest import ModelManifest
from springtide.model.registry import ModelArtifact, ModelStore

CURVES = (Curve("loss of learn", "step", (1.0, 2.0), (0.5, 0.25)), Curve("loss of learn the latest", "step", (), ()))


def test_curves_are_read_as_they_were_written() -> None:
    assert curves_from_json(curves_to_json(CURVES)) == CURVES


@pytest.mark.parametrize("content", [b"[", b"{}x", b'[{"name": "loss"}]', b"[1]", b"3"])
def test_something_else_is_refused(content: bytes) -> None:
    with pytest.raises(ModelError, match="no training curves"):
        curves_from_json(content)


def test_a_curve_has_as_many_finite_values_as_steps() -> None:
    with pytest.raises(ValueError, match="as many steps as values, got 1 and 2"):
        Curve("loss", "step", (1.0,), (0.5, 0.25))
    with pytest.raises(ValueError, match="finite"):
        Curve("loss", "step", (1.0,), (float("nan"),))


def test_a_version_that_is_rewritten_keeps_its_curves(tmp_path: Path) -> None:
    store = ModelStore(str(tmp_path))
    manifest = ModelManifest("", 0, "retrain", parts={}, settings={}, graph_cut={})
    tensors, ids = {"items": np.ones(1, np.float32)}, {"user": ["u"], "item": ["a"]}
    version = store.publish(ModelArtifact(manifest, tensors, ids, curves=CURVES))
    store.rewrite(store.load(version), "somebody was deleted")
    store.delete_unfinished()

    assert store.curves(version) == CURVES
    assert list(store.load(version).node_ids["user"]) == ["u"]
