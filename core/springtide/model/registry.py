"""The model registry: versions in folders, each with its manifest, and a pointer to the version that serves."""

import contextlib
import dataclasses
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog

from springtide.clock import MS_PER_HOUR, wall_ms
from springtide.errors import ModelError
from springtide.extras import missing_words
from springtide.model.audit import FOLDER as AUDIT_FOLDER
from springtide.model.audit import AuditLog, this_actor
from springtide.model.curves import Curve, curves_from_json, curves_to_json
from springtide.model.manifest import ModelManifest, UnreadableManifest, manifest_from_json, manifest_to_json
from springtide.model.pointer import FOLDER as POINTER_FOLDER
from springtide.model.pointer import Pointer
from springtide.model.version_files import MANIFEST, VersionFiles
from springtide.storage import Storage, sha256
from springtide.token_search import Token

if TYPE_CHECKING:
    import numpy.typing as npt

logger = structlog.stdlib.get_logger(__name__)

CLAIM = "claim.json"

NUM_PROMOTIONS_PROTECTED = 3  # The last ones, the current among them, are never pruned: a rollback must find them.
_CLAIM_MS = MS_PER_HOUR  # Publishing takes seconds: after this, who claimed a version number is taken for dead.
_MAX_LOST = 9  # How often a claim may be deleted as it is made: it takes two processes in the same millisecond.


@dataclass(frozen=True, slots=True)
class ModelArtifact:
    """A trained model.

    Attributes:
        manifest: What it is, and how it was made.
        tensors: Weights and vectors by name, as arrays.
        node_ids: For each node type, the ids of its nodes in the order of their vectors; an empty string for a node
            that was forgotten.
        attribute_values: For each node type, its attribute values (``department=GROCERY``) in the order of their
            vectors.
        curves: How the training went, to be published with it; ``ModelStore.curves`` reads those of a version.
    """

    manifest: ModelManifest
    tensors: Mapping[str, "npt.NDArray[Any]"]
    node_ids: Mapping[str, Sequence[str]]
    attribute_values: Mapping[str, list[str]] = field(default_factory=dict)
    curves: tuple[Curve, ...] = ()


@dataclass(frozen=True, slots=True)
class Champion:
    """The model that trainings start from and compare with.

    Attributes:
        artifact: The model.
        faults: What is wrong with each version that was promoted after it, by version.
    """

    artifact: ModelArtifact
    faults: Mapping[str, str]


class ModelStore:
    """Published models at one URL.

    A version's files are written first, then its manifest, then the pointer: a reader finds whole versions only.
    Any number of processes may publish, promote, roll back and read at once.

    Args:
        url: A local folder, or an fsspec URL.
        keep: How many versions to keep, at least 1; the current one and the last promoted ones are kept besides.

    Attributes:
        audit: Every promotion, rollback and rejection.

    Raises:
        ModelError: If ``keep`` is below 1.
    """

    def __init__(self, url: str, keep: int = 10) -> None:
        if keep < 1:
            raise ModelError(f"keep: wanted at least 1 version, got {keep}")
        self._storage = Storage(url)
        self._keep = keep
        self._manifests: dict[str, ModelManifest] = {}  # Read by `manifests`; a manifest never changes.
        self.audit = AuditLog(self._storage)
        self._pointer = Pointer(self._storage, self.audit)
        self._files = VersionFiles(self._storage, self._read_manifest, self._parsed)

    def publish(self, artifact: ModelArtifact, promote: bool = True, *, actor: str = "", reason: str = "") -> str:
        """Write a model as the next version, and prune old ones.

        Args:
            artifact: The model; its manifest's ``version`` and ``files`` are filled here.
            promote: Whether it becomes the current version.
            actor: Who publishes it, for the audit log; whoever runs this process if empty.
            reason: Why it is promoted, for the audit log.

        Returns:
            The version.

        Raises:
            ModelError: If the manifest holds what JSON does not, such as NaN.
        """
        # Slow to import, and listing models takes none of it.
        from springtide.model.artifact_files import CURVES, to_files

        files = to_files(artifact.tensors, artifact.node_ids, artifact.attribute_values)
        if artifact.curves:
            files[CURVES] = curves_to_json(artifact.curves)
        sums = {name: sha256(content) for name, content in files.items()}
        manifest_to_json(artifact.manifest)  # Refused before a version number is claimed.
        version = self._claim_version()
        manifest = dataclasses.replace(artifact.manifest, version=version, files=sums)
        for name, content in files.items():
            self._storage.write(f"{version}/{name}", content)
        self._files.write_manifest(version, manifest_to_json(manifest))
        if promote:
            self.promote(version, actor=actor, reason=reason)
        self._storage.delete(f"{version}/{CLAIM}")
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
        return self._parsed(version, self._read_manifest(version))

    def manifests(self, versions: Sequence[str] | None = None) -> list[ModelManifest | UnreadableManifest]:
        """Return the manifests of some versions in their order, or of all, newest first.

        A version that this version of Springtide cannot read stands in the list as such, and the others are not
        affected. A version that has been pruned meanwhile is left out. Each manifest is read from storage once.
        """
        wanted = self.versions() if versions is None else versions
        found: list[ModelManifest | UnreadableManifest] = []
        for version in wanted:
            manifest = self._manifests.get(version)
            if manifest is None:
                try:
                    content = self._storage.read(f"{version}/{MANIFEST}")
                except FileNotFoundError:
                    continue
                try:
                    manifest = self._manifests[version] = self._parsed(version, content)
                except ModelError as error:
                    found.append(UnreadableManifest(version, str(error)))
                    continue
            found.append(manifest)
        if versions is None:
            self._manifests = {version: self._manifests[version] for version in wanted if version in self._manifests}
        return found

    def load(self, version: str) -> ModelArtifact:
        """Return a version whole, its checksums verified; arrays of a file on this machine are pages of the file.

        Raises:
            ModelError: If there is no such version, or a file is missing or damaged.
        """
        from springtide.model.artifact_files import from_files

        try:
            manifest, files = self._files.read(version, from_files)
        except ModuleNotFoundError as error:
            raise ModelError(f"model {version} is of an earlier release: {missing_words(error) or error}") from error
        return ModelArtifact(manifest, *files)

    def names_in(self, version: str) -> tuple[Mapping[str, Sequence[str]], Mapping[str, list[str]]]:
        """Return the node ids and the attribute values of a version, as ``load`` does, without its tensors.

        Raises:
            ModelError: If there is no such version, or a file is missing or damaged.
        """
        from springtide.model.artifact_files import names_from_files

        return self._files.read(version, names_from_files)[1]

    def curves(self, version: str) -> tuple[Curve, ...]:
        """Return how the training of a version went; none if it was not kept, as by earlier releases.

        Raises:
            ModelError: If there is no such version, or the file is missing or damaged.
        """
        from springtide.model.artifact_files import CURVES

        def read(names: Collection[str], content_of: Callable[[str], memoryview]) -> tuple[Curve, ...]:
            return curves_from_json(bytes(content_of(CURVES))) if CURVES in names else ()

        return self._files.read(version, read)[1]

    def revision(self, version: str) -> str:
        """Return a text that changes when a version is rewritten; empty if there is none."""
        return self._files.revision(version)

    def rewrite(self, artifact: ModelArtifact, reason: str, action: str = "forget") -> None:
        """Put an artifact in the place of the version that it was loaded from; readers see either whole.

        Args:
            artifact: What the version shall be; its manifest is that of the version.
            reason: Why, for the audit log; it must not say what was taken out.
            action: ``forget``, or ``migrate``; for the audit log.

        Raises:
            ModelError: If the version was pruned meanwhile, or what was written cannot be read.
        """
        version = artifact.manifest.version
        if not self._files.replace(
            artifact.manifest, artifact.tensors, artifact.node_ids, dict(artifact.attribute_values)
        ):
            raise self._unknown(version)
        self._manifests.pop(version, None)
        self.audit.append(action, from_version=version, to_version=version, reason=reason)

    def forget_text(self, token: Token) -> int:
        """Take an id out of the reasons that people gave for promotions; return in how many entries it was."""
        self._pointer.forget(token)  # First: its newest state is what a lost entry is written from again.
        return self.audit.forget(token)

    def drop(self, version: str, *, reason: str) -> bool:
        """Delete a version that does not serve; return whether it is gone.

        Raises:
            ModelError: If the pointer cannot be read.
        """
        if version == self.current():
            return False
        self._storage.delete(f"{version}/{MANIFEST}")  # First: what has no manifest is no version.
        self._storage.delete_folder(version)
        self.audit.append("forget", from_version=version, to_version="", reason=reason)
        return True

    def delete_unfinished(self) -> None:
        """Delete what processes that died have left: versions without a manifest, files that no manifest names."""
        for version in self._folders():
            if not self._is_version(version) and self._takes_over(version):
                if self._is_version(version):  # It was published between the two looks.
                    self._storage.delete(f"{version}/{CLAIM}")
                else:
                    self._storage.delete_folder(version)
            elif self._is_version(version):
                with contextlib.suppress(ModelError):
                    self._files.tidy(version)

    def load_champion(self) -> Champion | None:
        """Return the current version whole; if it is damaged, the one promoted before it that is whole.

        The pointer stays: what cannot be read here may be whole for others, and only a person rolls back.

        Returns:
            None before the first promotion, and if no promoted version is whole.

        Raises:
            ModelError: If the pointer cannot be read.
        """
        faults: dict[str, str] = {}
        for version in dict.fromkeys(reversed(self.promotions())):
            try:
                return Champion(self.load(version), faults)
            except ModelError as error:
                faults[version] = str(error)
                logger.error("model_damaged", version=version, fault=str(error))
        return None

    def note_bypass(self, version: str, instead: str, *, actor: str = "", reason: str = "") -> None:
        """Add to the audit log that the current version cannot be used here, and which one serves instead."""
        self.audit.append("bypass", from_version=version, to_version=instead, actor=actor, reason=reason)

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
        return self._pointer.promotions()

    def promote(self, version: str, *, actor: str = "", reason: str = "") -> None:
        """Make a version the current one; nothing happens if it is.

        Args:
            version: Registry version.
            actor: Who wants it, for the audit log; whoever runs this process if empty.
            reason: Why, for the audit log.

        Raises:
            ModelError: If there is no such version, its manifest cannot be read, or the pointer cannot be read.
        """
        self.manifest(version)

        def promoted(promotions: Sequence[str]) -> Sequence[str] | None:
            return None if promotions[-1:] == (version,) else (*promotions, version)

        self._pointer.change("promote", promoted, actor=actor, reason=reason)

    def rollback(self, *, actor: str = "", reason: str = "") -> str:
        """Make the version that was promoted before the current one current again, and return it.

        Versions that have been pruned since, or whose manifest cannot be read, are passed over.

        Args:
            actor: Who wants it, for the audit log; whoever runs this process if empty.
            reason: Why, for the audit log.

        Raises:
            ModelError: If no earlier version is left to roll back to, or the pointer cannot be read.
        """
        target = ""

        def rolled_back(promotions: Sequence[str]) -> Sequence[str]:
            nonlocal target
            current = promotions[-1] if promotions else ""
            unreadable = []
            for num_left in range(len(promotions) - 1, 0, -1):
                target = promotions[num_left - 1]
                if target == current or not self._is_version(target):
                    continue
                try:
                    self.manifest(target)
                except ModelError as error:
                    unreadable.append(str(error))
                else:
                    return [name for name in promotions[:num_left] if name != current and self._is_version(name)]
            faults = f"; passed over: {'; '.join(unreadable)}" if unreadable else ""
            raise ModelError(
                f"nothing to roll back to: no version was promoted before {current or 'the first'}{faults}"
            )

        self._pointer.change("roll_back", rolled_back, actor=actor, reason=reason)
        return target

    def reject(self, version: str, *, actor: str = "", reason: str = "") -> None:
        """Add to the audit log that a version was published and must not serve; nothing else changes."""
        self.audit.append("reject", from_version=self.current() or "", to_version=version, actor=actor, reason=reason)

    def _read_manifest(self, version: str) -> bytes:
        if not self._is_version(version):
            raise self._unknown(version)
        try:
            return self._storage.read(f"{version}/{MANIFEST}")
        except FileNotFoundError:  # Pruned since.
            raise self._unknown(version) from None

    def _parsed(self, version: str, content: bytes) -> ModelManifest:
        try:
            manifest = manifest_from_json(content)
            if manifest.version != version:
                raise ModelError(f"version: wanted {version}, got {manifest.version}")
        except ModelError as error:
            path = self._storage.path(f"{version}/{MANIFEST}")
            raise ModelError(f"{path}: not a model manifest: {error}") from error
        return manifest

    def _is_version(self, name: str) -> bool:
        return name.isdecimal() and self._storage.exists(f"{name}/{MANIFEST}")

    def _folders(self) -> list[str]:
        return sorted((name for name in self._storage.list() if name.isdecimal()), key=int, reverse=True)

    def _claim_version(self) -> str:
        """Claim the next version number, and return it; no other process gets the same one."""
        folders = self._folders()  # Those of a publisher that died count too: its number is not used again.
        number = int(folders[0]) + 1 if folders else 1
        claim = _new_claim()
        num_lost = 0
        while True:
            version = f"{number:06d}"
            try:
                self._storage.create(f"{version}/{CLAIM}", claim)
            except FileExistsError:  # Another process publishes at the same time.
                number += 1
                continue
            except FileNotFoundError:  # Another one took the new folder for one that was left, and deleted it.
                if (num_lost := num_lost + 1) > _MAX_LOST:
                    raise
                continue
            if not set(self._storage.list(version)) - {CLAIM}:
                return version
            self._storage.delete(f"{version}/{CLAIM}")  # Published by another process just now.
            number += 1

    def _prune(self) -> None:
        versions = self.versions()
        oldest_kept = versions[min(self._keep, len(versions)) - 1]
        for version in self._folders():
            if int(version) >= int(oldest_kept) or self._is_being_published(version):
                continue
            if version in self.promotions()[-NUM_PROMOTIONS_PROTECTED:]:  # Read again: it may just have been promoted.
                continue
            self._storage.delete(f"{version}/{MANIFEST}")  # First: what has no manifest is no version.
            self._storage.delete_folder(version)
        for folder in ("", POINTER_FOLDER, AUDIT_FOLDER):  # Those in a version's folder go with it.
            self._storage.delete_unfinished(folder, _CLAIM_MS / 1e3)

    def _is_being_published(self, version: str) -> bool:
        """Return whether a process works on a version, which the newer ones of others must not push out meanwhile."""
        try:
            claimed_ms = int(json.loads(self._storage.read(f"{version}/{CLAIM}"))["created_ms"])
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return False
        return abs(wall_ms() - claimed_ms) < _CLAIM_MS  # The clock may have been set back meanwhile.

    def _takes_over(self, version: str) -> bool:
        """Claim a folder that nobody works on, so that nobody begins to; return whether it may be deleted."""
        if self._storage.exists(f"{version}/{CLAIM}"):
            return not self._is_being_published(version)
        try:
            self._storage.create(f"{version}/{CLAIM}", _new_claim())
        except FileExistsError:  # Its publisher had just made the folder.
            return False
        return True

    def _unknown(self, version: str) -> ModelError:
        return ModelError(f"no model version {version!r} (choices: {', '.join(self.versions()) or 'none'})")


def _new_claim() -> bytes:
    return _to_json({"actor": this_actor(), "created_ms": wall_ms()})


def _to_json(content: Any) -> bytes:
    return json.dumps(content, indent=2, sort_keys=True, allow_nan=False).encode()
