"""The model registry: versions in folders, safetensors and a manifest, one pointer to the version that serves."""

import dataclasses
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from springtide.errors import ModelError
from springtide.model.audit import AuditLog
from springtide.storage import Storage, sha256

if TYPE_CHECKING:
    import torch

MANIFEST = "manifest.json"
TENSORS = "tensors.safetensors"
NODE_IDS = "node_ids.arrow"
ATTRIBUTE_VALUES = "attribute_values.json"
POINTER = "current.json"

MAX_PROMOTIONS = 100  # Kept in the pointer file, for rolling back and for the record.
NUM_PROMOTIONS_PROTECTED = 3  # The last ones, the current among them, are never pruned: a rollback must find them.


@dataclass(frozen=True, slots=True)
class ModelManifest:
    """What a model is, and how it came to be.

    Attributes:
        version: Such as ``000012``; given when it is published.
        created_ms: Milliseconds since the Unix epoch.
        training: From scratch, on from the model before, or its exponents alone; ``baseline`` is a fitted baseline.
        parts: For each kind of part, its ``name``, ``origin`` (distribution and version) and ``options``.
        settings: The settings it was trained with.
        graph_cut: What it was trained on: checkpoint name, next offsets, number of interactions, newest event time.
        metrics: By name.
        exponents: For each context weight, the exponent of each factor.
        exponent_errors: The standard error of each, under the same names; empty if none was fitted.
        temperature: What cosines are divided by, above 0.
        schema: Types of nodes in the order of its vectors, relations of a relational encoder, scales of numbers; see
            ``training.artifact``.
        request_id: The training request that it answers; empty if the schedule asked for it.
        gate: What the promotion gate found, see ``training.gate``; empty where it was not asked.
        files: SHA-256 of each file; given when it is published.
    """

    version: str
    created_ms: int
    training: Literal["retrain", "fine_tune", "refit", "baseline"]
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
        if self.training not in ("retrain", "fine_tune", "refit", "baseline"):
            raise ModelError(f"training: no such kind {self.training!r} (choices: baseline, fine_tune, refit, retrain)")
        if not self.temperature > 0:
            raise ModelError(f"temperature: wanted a number above 0, got {self.temperature}")


@dataclass(frozen=True, slots=True)
class ModelArtifact:
    """A trained model.

    Attributes:
        manifest: What it is.
        tensors: Its weights and vectors by name.
        node_ids: For each node type, the nodes it knows, in the order of their vectors; empty where forgotten.
        attribute_values: For each node type, the attribute values it knows (``department=GROCERY``), in the order of
            their vectors.
    """

    manifest: ModelManifest
    tensors: Mapping[str, "torch.Tensor"]
    node_ids: Mapping[str, list[str]]
    attribute_values: Mapping[str, list[str]] = field(default_factory=dict)


class ModelStore:
    """Published models at one URL.

    A version's files are written first, then its manifest, then the pointer: a reader finds whole versions only.
    One process publishes at a time; any number read.

    Args:
        url: A local folder, or an fsspec URL.
        keep: How many versions to keep; the current one and the last promoted ones are kept besides.

    Attributes:
        audit: Every promotion, rollback and rejection.
    """

    def __init__(self, url: str, keep: int = 10) -> None:
        if keep < 1:
            raise ModelError(f"keep: wanted at least 1 version, got {keep}")
        self._storage = Storage(url)
        self._keep = keep
        self.audit = AuditLog(self._storage)

    def publish(self, artifact: ModelArtifact, promote: bool = True, *, actor: str = "", reason: str = "") -> str:
        """Write a model as the next version, and prune old ones.

        Args:
            artifact: Its manifest's ``version`` and ``files`` are filled here.
            promote: Whether it becomes the current version.
            actor: Who publishes it, for the record; whoever runs this process if empty.
            reason: Why it is promoted or not, for the record.

        Returns:
            The version.

        Raises:
            ModelError: If the manifest holds what JSON does not, such as NaN.
        """
        from safetensors import torch as safetensors  # torch is heavy, and listing models needs none of it

        tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in artifact.tensors.items()}
        files = {
            TENSORS: safetensors.save(tensors),  # Clones above: safetensors refuses tensors that share memory.
            NODE_IDS: _ids_to_arrow(artifact.node_ids),
            ATTRIBUTE_VALUES: _to_json(dict(artifact.attribute_values)),
        }
        version = self._next_version()
        manifest = dataclasses.replace(
            artifact.manifest, version=version, files={name: sha256(content) for name, content in files.items()}
        )
        try:
            manifest_json = _to_json({part.name: getattr(manifest, part.name) for part in dataclasses.fields(manifest)})
        except (TypeError, ValueError) as error:
            raise ModelError(f"the model's manifest cannot be written as JSON: {error}") from error
        for name, content in files.items():
            self._storage.write(f"{version}/{name}", content)
        self._storage.create(f"{version}/{MANIFEST}", manifest_json)
        if promote:
            self.promote(version, actor=actor, reason=reason)
        self._prune()
        return version

    def versions(self) -> list[str]:
        """Return the published versions, newest first."""
        return [name for name in self._folders() if self._is_version(name)]

    def manifest(self, version: str) -> ModelManifest:
        """Return a version's manifest.

        Raises:
            ModelError: If there is no such version, or its manifest cannot be read.
        """
        name = f"{version}/{MANIFEST}"
        if not self._is_version(version):
            raise self._unknown(version)
        try:
            content = self._storage.read(name)
        except FileNotFoundError:  # Pruned since.
            raise self._unknown(version) from None
        try:
            return ModelManifest(**json.loads(content))
        except (ValueError, TypeError, ModelError) as error:
            raise ModelError(f"{self._storage.path(name)}: not a model manifest: {error}") from error

    def load(self, version: str) -> ModelArtifact:
        """Return a version whole, its checksums verified.

        Raises:
            ModelError: If there is no such version, or a file is missing or damaged.
        """
        from safetensors import torch as safetensors

        manifest = self.manifest(version)
        names = (TENSORS, NODE_IDS, ATTRIBUTE_VALUES)
        contents = {name: self._read_verified(manifest, name) for name in names}
        return ModelArtifact(
            manifest,
            safetensors.load(contents[TENSORS]),
            _ids_from_arrow(contents[NODE_IDS]),
            json.loads(contents[ATTRIBUTE_VALUES]),
        )

    def current(self) -> str | None:
        """Return the version that serves, or None before the first promotion.

        Raises:
            ModelError: If the pointer cannot be read.
        """
        promotions = self.promotions()
        return promotions[-1] if promotions else None

    def promotions(self) -> list[str]:
        """Return the versions in the order of their promotion, without those rolled back; the last is the current.

        Raises:
            ModelError: If the pointer cannot be read.
        """
        try:
            content = self._storage.read(POINTER)
        except FileNotFoundError:
            return []
        try:
            return [str(version) for version in json.loads(content)["promotions"]]
        except (ValueError, TypeError, KeyError) as error:
            raise ModelError(f"{self._storage.path(POINTER)}: not a pointer to a model: {error!r}") from error

    def promote(self, version: str, *, actor: str = "", reason: str = "") -> None:
        """Make a version the current one.

        Args:
            version: The version.
            actor: Who wants it, for the record; whoever runs this process if empty.
            reason: Why, for the record.

        Raises:
            ModelError: If there is no such version.
        """
        if not self._is_version(version):
            raise self._unknown(version)
        promotions = self.promotions()
        if promotions[-1:] != [version]:
            self._point([*promotions, version])
            before = promotions[-1] if promotions else ""
            self.audit.append("promote", from_version=before, to_version=version, actor=actor, reason=reason)

    def rollback(self, *, actor: str = "", reason: str = "") -> str:
        """Make the version before the current one current again, and return it.

        Args:
            actor: Who wants it, for the record; whoever runs this process if empty.
            reason: Why, for the record.

        Raises:
            ModelError: If no earlier promotion is left to go back to.
        """
        current = self.current()
        earlier = [name for name in self.promotions()[:-1] if name != current and self._is_version(name)]
        if not earlier:
            raise ModelError(f"nothing to roll back to: no version was promoted before {current or 'the first'}")
        self._point(earlier)
        self.audit.append("roll_back", from_version=current or "", to_version=earlier[-1], actor=actor, reason=reason)
        return earlier[-1]

    def reject(self, version: str, *, actor: str = "", reason: str = "") -> None:
        """Note that a version was published and is not to serve; nothing else changes."""
        self.audit.append("reject", from_version=self.current() or "", to_version=version, actor=actor, reason=reason)

    def _point(self, promotions: list[str]) -> None:
        content = {"current": promotions[-1], "promotions": promotions[-MAX_PROMOTIONS:]}
        self._storage.write(POINTER, _to_json(content))

    def _is_version(self, name: str) -> bool:
        return name.isdecimal() and self._storage.exists(f"{name}/{MANIFEST}")

    def _folders(self) -> list[str]:
        return sorted((name for name in self._storage.list() if name.isdecimal()), key=int, reverse=True)

    def _next_version(self) -> str:
        folders = self._folders()  # Those of a publisher that died count too: its number is not used again.
        return f"{int(folders[0]) + 1 if folders else 1:06d}"

    def _prune(self) -> None:
        protected = set(self.promotions()[-NUM_PROMOTIONS_PROTECTED:])
        versions = self.versions()
        oldest_kept = versions[min(self._keep, len(versions)) - 1]
        for version in self._folders():
            if int(version) < int(oldest_kept) and version not in protected:
                self._storage.delete(f"{version}/{MANIFEST}")  # First: what has no manifest is no version.
                self._storage.delete_folder(version)

    def _read_verified(self, manifest: ModelManifest, name: str) -> bytes:
        path = self._storage.path(f"{manifest.version}/{name}")
        try:
            content = self._storage.read(f"{manifest.version}/{name}")
        except FileNotFoundError:
            raise ModelError(f"{path}: the manifest names this file, and it is missing") from None
        if (found := sha256(content)) != (wanted := manifest.files.get(name)):
            raise ModelError(f"{path}: damaged: wanted SHA-256 {wanted}, got {found}")
        return content

    def _unknown(self, version: str) -> ModelError:
        return ModelError(f"no model version {version!r} (choices: {', '.join(self.versions()) or 'none'})")


def _to_json(content: Any) -> bytes:
    return json.dumps(content, indent=2, sort_keys=True, allow_nan=False).encode()


def _ids_to_arrow(node_ids: Mapping[str, list[str]]) -> bytes:
    """Write one row for each node type, its ids as a list."""
    sink = io.BytesIO()
    table = pa.table(
        {
            "node_type": pa.array(list(node_ids), pa.large_string()),
            "ids": pa.array(list(node_ids.values()), pa.large_list(pa.large_string())),
        }
    )
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _ids_from_arrow(content: bytes) -> dict[str, list[str]]:
    table = pa.ipc.open_file(content).read_all()
    return dict(zip(table.column("node_type").to_pylist(), table.column("ids").to_pylist(), strict=True))
