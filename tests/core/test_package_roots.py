"""The roots of packages export what callers use, and import it when it is first used."""

import importlib
import subprocess
import sys

import pytest


@pytest.mark.parametrize("name", ["springtide.model", "springtide.ranking"])
def test_all_exported_names_are_there(name: str) -> None:
    root = importlib.import_module(name)

    assert list(root._MODULES) == root.__all__ == sorted(root.__all__)
    for exported in root.__all__:
        assert getattr(root, exported) is not None
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = root.Nothing


@pytest.mark.parametrize("line", ["from springtide.ranking import Query", "from springtide.model import ModelStore"])
def test_what_needs_no_torch_imports_none(line: str) -> None:
    subprocess.run([sys.executable, "-c", f"{line}\nimport sys\nassert 'torch' not in sys.modules"], check=True)
