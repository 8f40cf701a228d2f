"""What a model version is and how it was made, as the registry keeps it in ``manifest.json``."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from springtide.errors import ModelError

VectorTrainingMode = Literal["retrain", "fine_tune"]
"""How vectors are trained: from scratch, or on from the current model."""

TrainingMode = Literal[VectorTrainingMode, "refit"]
"""How a model is trained; ``refit`` learns the exponents alone and keeps the vectors."""

TRAINING_MODES: tuple[TrainingMode, ...] = get_args(TrainingMode)

ModelOrigin = Literal[TrainingMode, "baseline"]
"""How a model version came to be: by a training, or as a fitted baseline."""

MODEL_ORIGINS: tuple[ModelOrigin, ...] = get_args(ModelOrigin)


_TEXTS = ("version", "request_id", "training")
_OBJECTS = ("parts", "settings", "graph_cut", "metrics", "exponents", "exponent_errors", "schema", "gate", "files")


@dataclass(frozen=True, slots=True)
class ModelManifest:
    """What a model is, and how it was made.

    Attributes:
        version: Registry version, such as ``000012``; filled when the model is published.
        created_ms: When it was made, milliseconds since the Unix epoch.
        training: How it was trained; ``baseline`` for a fitted baseline.
        parts: For each kind of part, its ``name``, ``origin`` (distribution and version) and ``options``.
        settings: The settings it was trained with.
        graph_cut: What it was trained on: checkpoint name, next offsets, number of interactions, newest event time.
        metrics: Metrics of the training, by name.
        exponents: For each context weight, the exponent of each factor.
        exponent_errors: The standard error of each exponent, under the same names; empty if none was fitted.
        temperature: Divisor of the cosines, above 0.
        schema: Node types in the order of their vectors, relations of a relational encoder, scales of numbers; see
            ``training.artifact``.
        request_id: The training request that it answers; empty if the schedule started the training.
        gate: Report of the promotion gate, see ``evaluation.gate``; empty if the gate was off.
        files: SHA-256 of each file; filled when the model is published.

    Raises:
        ModelError: If ``training`` is unknown, or ``temperature`` is not above 0.
    """

    version: str
    created_ms: int
    training: ModelOrigin
    parts: Mapping[str, Mapping[str, Any]]
    settings: Mapping[str, Any]
    graph_cut: Mapping[str, Any]
    metrics: Mapping[str, float] = field(default_factory=dict)
    exponents: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    exponent_errors: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    temperature: float = 1.0
    schema: Mapping[str, Any] = field(default_factory=dict)
    request_id: str = ""
    gate: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.training not in MODEL_ORIGINS:
            raise ModelError(
                f"training: no training mode {self.training!r} (choices: {', '.join(sorted(MODEL_ORIGINS))})"
            )
        if not self.temperature > 0:
            raise ModelError(f"temperature: wanted a number above 0, got {self.temperature}")


@dataclass(frozen=True, slots=True)
class UnreadableManifest:
    """A published version whose manifest this version of Springtide cannot read.

    Attributes:
        version: Registry version.
        reason: Why it cannot be read, in words.
    """

    version: str
    reason: str


def manifest_to_json(manifest: ModelManifest) -> bytes:
    """Return a manifest as JSON.

    Raises:
        ModelError: If it holds a value that JSON cannot hold, such as NaN.
    """
    fields = {part.name: getattr(manifest, part.name) for part in dataclasses.fields(manifest)}
    try:
        return json.dumps(fields, indent=2, sort_keys=True, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise ModelError(f"the model's manifest cannot be written as JSON: {error}") from error


def manifest_from_json(content: bytes) -> ModelManifest:
    """Return the manifest that JSON holds.

    An unknown key is refused: a newer version of Springtide may have given the model a meaning that this one would
    miss.

    Raises:
        ModelError: If it is not JSON, or a key is missing, unknown, or has a value of the wrong kind.
    """
    try:
        fields = json.loads(content)
    except ValueError as error:
        raise ModelError(f"not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise ModelError(f"wanted a JSON object, got {type(fields).__name__}")
    known = dataclasses.fields(ModelManifest)
    required = {part.name for part in known if part.default is part.default_factory is dataclasses.MISSING}
    if unknown := sorted(fields.keys() - {part.name for part in known}):
        raise ModelError(f"unknown keys: {', '.join(unknown)} (written by a newer version of Springtide?)")
    if missing := sorted(required - fields.keys()):
        raise ModelError(f"missing keys: {', '.join(missing)}")
    _check_kinds(fields)
    return ModelManifest(**fields)


def _check_kinds(fields: Mapping[str, Any]) -> None:
    """Check the kind of each value that the schedule, the lists of models or the gate read.

    Raises:
        ModelError: If a value has the wrong kind; it names the key.
    """
    for name in _TEXTS:
        _check(name, fields.get(name, ""), _is_text, "a string")
    _check("created_ms", fields["created_ms"], _is_whole, "a whole number")
    _check("temperature", fields.get("temperature", 1.0), _is_number, "a number")
    for name in (
        "parts",
        "settings",
        "graph_cut",
        "metrics",
        "exponents",
        "exponent_errors",
        "schema",
        "gate",
        "files",
    ):
        _check(name, fields.get(name, {}), _is_object, "an object")
    for kind, part in fields["parts"].items():
        _check(f"parts.{kind}", part, _is_object, "an object")
        for name in ("name", "origin"):
            _check(f"parts.{kind}.{name}", part.get(name), _is_text, "a string")
    for name in ("num_events", "num_interactions"):
        _check(f"graph_cut.{name}", fields["graph_cut"].get(name, 0), _is_whole, "a whole number")
    for name, value in fields.get("metrics", {}).items():
        _check(f"metrics.{name}", value, _is_number, "a number")
    gate = fields.get("gate", {})
    for name in ("verdict", "reason"):
        _check(f"gate.{name}", gate.get(name, ""), _is_text, "a string")
    _check("gate.fine_tune_gap", gate.get("fine_tune_gap", 0.0), _is_number, "a number")
    _check("gate.questions", gate.get("questions", 0), _is_whole, "a whole number")
    _check("gate.contestants", gate.get("contestants", {}), _is_object, "an object")
    for name, means in gate.get("contestants", {}).items():
        _check(f"gate.contestants.{name}", means, _is_object, "an object")
        _check(f"gate.contestants.{name}.all", means.get("all"), _is_number, "a number")
        _check(f"gate.contestants.{name}.questions", means.get("questions", 0), _is_whole, "a whole number")
        _check(f"gate.contestants.{name}.error", means.get("error", 0.0), _is_number, "a number")


def _check(name: str, value: object, is_right: Callable[[object], bool], wanted: str) -> None:
    if not is_right(value):
        raise ModelError(f"{name}: wanted {wanted}, got {value!r}")


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_object(value: object) -> bool:
    return isinstance(value, dict)
