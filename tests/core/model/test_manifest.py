"""Manifests: what is written comes back, and what this version cannot read is refused with the reason."""

import json
from typing import Any

import pytest

from springtide.errors import ModelError
from springtide.model.manifest import ModelManifest, manifest_from_json, manifest_to_json

FIELDS: dict[str, Any] = {
    "version": "000001",
    "created_ms": 1_700_000_000_000,
    "training": "retrain",
    "parts": {"encoder": {"name": "lightgcn", "origin": "springtide 0.1", "options": {}}},
    "settings": {},
    "graph_cut": {"num_events": 10, "num_interactions": 9},
}


def test_a_manifest_comes_back_as_it_was_written() -> None:
    manifest = ModelManifest(**FIELDS, metrics={"ndcg@20": 0.25}, gate={"verdict": "promoted", "reason": "better"})
    assert manifest_from_json(manifest_to_json(manifest)) == manifest


def test_a_manifest_with_the_required_keys_alone_has_the_defaults() -> None:
    manifest = manifest_from_json(json.dumps(FIELDS).encode())
    assert (manifest.temperature, manifest.gate, manifest.request_id) == (1.0, {}, "")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"{", "^not JSON: ", id="broken"),
        pytest.param(b"\xff", "^not JSON: ", id="not text"),
        pytest.param(b"[]", "^wanted a JSON object, got list", id="not an object"),
        pytest.param(b'{"version": "000001"}', "^missing keys: created_ms, graph_cut, parts, ", id="missing keys"),
    ],
)
def test_what_is_not_a_manifest_is_refused_with_the_reason(content: bytes, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        manifest_from_json(content)


def test_a_manifest_of_a_newer_version_is_refused_with_the_keys_that_are_unknown() -> None:
    newer = json.dumps({**FIELDS, "quantization": "int8", "calibration": {}}).encode()
    with pytest.raises(ModelError, match=r"^unknown keys: calibration, quantization \(written by a newer version"):
        manifest_from_json(newer)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"training": "distill"}, "training: .*'distill'.*choices: baseline, fine_tune, refit, retrain"),
        ({"created_ms": "yesterday"}, "created_ms: wanted a whole number, got 'yesterday'"),
        ({"temperature": 0}, "temperature: wanted a number above 0, got 0"),
        ({"temperature": None}, "temperature: wanted a number, got None"),
        ({"metrics": None}, "metrics: wanted an object, got None"),
        ({"metrics": {"ndcg@20": "high"}}, "metrics.ndcg@20: wanted a number, got 'high'"),
        ({"parts": {"encoder": {"name": "gcn"}}}, "parts.encoder.origin: wanted a string, got None"),
        ({"graph_cut": {"num_events": None}}, "graph_cut.num_events: wanted a whole number, got None"),
        ({"gate": {"fine_tune_gap": "wide"}}, "gate.fine_tune_gap: wanted a number, got 'wide'"),
        ({"gate": {"contestants": {"candidate": {}}}}, "gate.contestants.candidate.all: wanted a number, got None"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_with_its_key(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        manifest_from_json(json.dumps({**FIELDS, **changes}).encode())


def test_a_manifest_that_json_cannot_hold_is_refused() -> None:
    with pytest.raises(ModelError, match="cannot be written as JSON"):
        manifest_to_json(ModelManifest(**FIELDS, metrics={"ndcg@20": float("nan")}))
