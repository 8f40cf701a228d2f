"""Writing the models that earlier releases have published in the format of now; readers see either whole."""

from springtide.errors import ModelError
from springtide.model.artifact_files import NODE_IDS_ARROW, file_of
from springtide.model.manifest import ModelManifest
from springtide.model.pointer import Pointer
from springtide.model.registry import ModelStore
from springtide.storage import Storage

_REASON = "written in the format of now"


class ModelMigration:
    """The migration of one registry. Servers and trainers may run meanwhile: they read a rewritten version anew.

    Args:
        url: Where the registry is.
    """

    def __init__(self, url: str) -> None:
        self._store = ModelStore(url)
        self._pointer = Pointer(Storage(url), self._store.audit)

    def outdated(self) -> dict[str, str]:
        """Return the versions that have something of an earlier format, newest first, and what; no name is the pointer.

        Raises:
            ModelError: If the pointer cannot be read.
        """
        manifests = (each for each in self._store.manifests() if isinstance(each, ModelManifest))
        found = {each.version: self._what_is_old(each) for each in manifests}
        found[""] = self._pointer.what_is_old()
        return {version: reason for version, reason in found.items() if reason}

    def unreadable(self) -> dict[str, str]:
        """Return the versions whose manifest cannot be read, and why."""
        return {each.version: each.reason for each in self._store.manifests() if not isinstance(each, ModelManifest)}

    def migrate(self, version: str) -> None:
        """Write a version, or the pointer if it has no name, in the format of now.

        Raises:
            ModelError: If it is damaged, or what was written is not what was read: the former is there then.
        """
        if not version:
            self._pointer.change("migrate", lambda promotions: promotions, reason=_REASON)
            return
        before = self._store.load(version)
        self._store.rewrite(before, _REASON, "migrate")
        after = self._store.load(version)
        if {name: list(ids) for name, ids in after.node_ids.items()} != {
            name: list(ids) for name, ids in before.node_ids.items()
        }:
            raise ModelError(f"model {version}: its ids are not what was read")

    def _what_is_old(self, manifest: ModelManifest) -> str:
        old = []
        if file_of(NODE_IDS_ARROW, manifest.files) in manifest.files:
            old.append("ids in an Arrow file")
        if not self._store.revision(manifest.version):
            old.append("a manifest without a checksum")
        return ", ".join(old)
