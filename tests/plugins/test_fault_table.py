"""The table of what becomes of failing plugins names every hook, and stands in the threat model as it is."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from springtide.plugins.part import _CLASSES, KINDS, import_reference
from springtide.plugins.parts import _HALVES

ROOT = Path(__file__).parents[2]


@pytest.fixture
def table() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("fault_table", ROOT / "tests" / "plugin_faults" / "table.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fault_table"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["fault_table"]


def test_every_hook_of_every_kind_of_part_is_in_the_table(table: ModuleType) -> None:
    told: dict[type, set[str]] = {}
    for row in table.ROWS:
        told.setdefault(row.contract, set()).update(row.hooks)
    assert set(_CLASSES) == set(KINDS)
    for contract in {*map(import_reference, _CLASSES.values()), *_HALVES.values(), *told}:
        hooks = table.own_hooks(contract) - {"examples"}  # Of decoders: the conformance checks alone call it.
        assert told.get(contract, set()) == hooks, contract


def test_tests_that_the_table_names_are_there(table: ModuleType) -> None:
    for row in table.ROWS:
        assert all((ROOT / "tests" / path).is_file() for path in row.tests)


def test_threat_model_has_the_table_as_it_is(table: ModuleType) -> None:
    text = (ROOT / "services" / "threat-model.md").read_text()
    assert table.as_markdown() in text, "put there what `python tests/plugin_faults/table.py` prints"
