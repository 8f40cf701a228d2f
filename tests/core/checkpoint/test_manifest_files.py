"""The files of manifests, read without what a state is made of."""

import subprocess
import sys
from pathlib import Path

from springtide.checkpoint import CheckpointStore
from springtide.checkpoint.manifest_files import ManifestFiles
from springtide.settings.model import Settings
from springtide.state import LiveState
from springtide.storage import Storage


def test_newest_manifest_is_that_of_the_newest_checkpoint(tmp_path: Path) -> None:
    manifests, store = ManifestFiles(Storage(str(tmp_path))), CheckpointStore(str(tmp_path))
    assert manifests.newest() is None
    state = LiveState(Settings(), {})
    store.write(state.snapshot())
    state.num_events = 7
    newest = store.write(state.snapshot())

    manifest = manifests.newest()

    assert manifest == newest.manifest
    assert manifest is not None
    assert (manifest["name"], manifest["num_events"]) == ("00000002", 7)


def test_manifests_are_read_without_numpy_and_the_graph() -> None:
    code = (
        "import sys, springtide.checkpoint.manifest_files, springtide.settings.load\n"
        "print([name for name in ('numpy', 'pyarrow', 'torch', 'springtide.graph', 'springtide.v1') "
        "if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"
