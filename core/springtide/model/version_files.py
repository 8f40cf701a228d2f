"""The files of one version: read and verified, and put in the place of former ones so that readers see either whole."""

import dataclasses
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from springtide.checksums import SHA256, checksum
from springtide.errors import ModelError
from springtide.model.manifest import ModelManifest, manifest_to_json
from springtide.storage import Storage, sha256

if TYPE_CHECKING:
    import numpy.typing as npt

MANIFEST = "manifest.json"
# The SHA-256 of the manifest's file, of two while a version is rewritten; versions of before 0.9 have none.
MANIFEST_SUM = "manifest.sha256"

T = TypeVar("T")


class VersionFiles:
    """The files of the versions of a registry.

    Args:
        storage: The registry's storage.
        read_manifest: Returns the content of a version's manifest; raises ModelError if there is no such version.
        parsed: Returns the manifest that such content holds.
    """

    def __init__(
        self,
        storage: Storage,
        read_manifest: Callable[[str], bytes],
        parsed: Callable[[str, bytes], ModelManifest],
    ) -> None:
        self._storage = storage
        self._read_manifest = read_manifest
        self._parsed = parsed

    def read(
        self, version: str, read: Callable[[Collection[str], Callable[[str], memoryview]], T]
    ) -> tuple[ModelManifest, T]:
        """Return the manifest of a version, and what ``read`` makes of the names of its files and a way to read one.

        Raises:
            ModelError: If there is no such version, or a file is missing or damaged.
        """
        while True:
            content = self._read_manifest(version)
            manifest = self._parsed(version, content)
            try:
                self._verify_manifest(version, content)
                return manifest, read(manifest.files, partial(self._read_verified, manifest))
            except ModelError:
                if self._read_manifest(version) == content:  # Else it was rewritten meanwhile.
                    raise

    def revision(self, version: str) -> str:
        """Return a text that changes when a version is rewritten; empty if there is none."""
        try:
            sums = self._storage.read(f"{version}/{MANIFEST_SUM}").decode(errors="replace").split()
        except FileNotFoundError:
            return ""
        return sums[-1] if sums else ""

    def write_manifest(self, version: str, content: bytes) -> None:
        """Write the manifest of a new version, after all its files: from here on it is one."""
        self._storage.write(f"{version}/{MANIFEST_SUM}", sha256(content).encode())
        self._storage.create(f"{version}/{MANIFEST}", content)

    def replace(
        self,
        manifest: ModelManifest,
        tensors: Mapping[str, "npt.NDArray[Any]"],
        node_ids: Mapping[str, Sequence[str]],
        attribute_values: Mapping[str, list[str]],
    ) -> bool:
        """Put other content in the place of a version's; return False if it was pruned or rewritten meanwhile.

        New files are written beside the former ones and read again, and then the manifest that names them; the former
        ones go last.

        Raises:
            ModelError: If a file is not what was written; the former ones are there then.
        """
        from springtide.model import artifact_files

        version, revision, sums = manifest.version, secrets.token_hex(4), dict[str, str]()
        names = artifact_files.to_name_files(node_ids, attribute_values)
        for name, content in names.items():
            file = artifact_files.renamed(name, revision)
            self._storage.write(f"{version}/{file}", content)
            sums[file] = sha256(content)
        file = artifact_files.renamed(artifact_files.TENSORS, revision)

        def produce(sink: BinaryIO) -> None:
            sums[file] = artifact_files.save_tensors(sink, tensors)

        self._storage.write_from(f"{version}/{file}", produce)
        # The curves name nobody: their file stays as it is, even if it is damaged.
        kept = {name: value for name, value in manifest.files.items() if name == artifact_files.CURVES}
        changed = dataclasses.replace(manifest, files={**sums, **kept})
        for name in sums:
            self._read_verified(changed, name)
        content, former = manifest_to_json(changed), self._read_manifest(version)
        if self._parsed(version, former) != manifest:
            return False  # Another process has rewritten it.
        before, after = sha256(former), sha256(content)
        self._storage.write(f"{version}/{MANIFEST_SUM}", f"{before} {after}".encode())  # Until the next two are done.
        self._storage.write(f"{version}/{MANIFEST}", content)
        self._storage.write(f"{version}/{MANIFEST_SUM}", after.encode())
        if not self._has(version, sums):  # Pruned between the last look and now: it must not come back.
            self._storage.delete(f"{version}/{MANIFEST}")
            self._storage.delete_folder(version)
            return False
        self.tidy(version)
        return True

    def tidy(self, version: str) -> None:
        """Delete files that the manifest does not name: of an earlier revision, or of one that was broken off.

        Raises:
            ModelError: If there is no such version.
        """
        named = self._parsed(version, self._read_manifest(version)).files
        stems = {_stem(file) for file in named}
        for name in self._storage.list(version):
            if _stem(name) in stems and name not in named:
                self._storage.delete(f"{version}/{name}")
        self._storage.delete_unfinished(version)

    def _has(self, version: str, files: Collection[str]) -> bool:
        return all(self._storage.exists(f"{version}/{name}") for name in files)

    def _verify_manifest(self, version: str, content: bytes) -> None:
        try:
            wanted = self._storage.read(f"{version}/{MANIFEST_SUM}").decode(errors="replace")
        except FileNotFoundError:
            return
        if (found := sha256(content)) not in wanted.split():
            path = self._storage.path(f"{version}/{MANIFEST}")
            raise ModelError(f"{path}: damaged: wanted SHA-256 {wanted}, got {found}")

    def _read_verified(self, manifest: ModelManifest, name: str) -> memoryview:
        path = self._storage.path(f"{manifest.version}/{name}")
        digest = checksum(SHA256)
        try:
            content = self._storage.map(f"{manifest.version}/{name}", digest)
        except FileNotFoundError:
            raise ModelError(f"{path}: the manifest names this file, and it is missing") from None
        if (found := digest.hexdigest()) != (wanted := manifest.files.get(name)):
            raise ModelError(f"{path}: damaged: wanted SHA-256 {wanted}, got {found}")
        return content


def _stem(file: str) -> str:
    """Return what a file has in common with itself in another revision: `tensors` of `tensors-1f2e.safetensors`."""
    return file.partition(".")[0].partition("-")[0]
