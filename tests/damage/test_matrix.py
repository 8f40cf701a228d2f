"""Each file of a checkpoint and of a model, damaged in each way: nothing is lost. `make damage` does it at length."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("damage_matrix", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["damage_matrix"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.long
def test_no_damage_to_any_file_loses_anything() -> None:
    matrix = load(Path(__file__).with_name("matrix.py")).measure(num_rounds=1, num_events=100)
    assert matrix.num_lost == 0, {key: row for key, row in matrix.rows.items() if row.num_lost}
    for (what, how), row in matrix.rows.items():
        is_used = not any(word in what for word in (", of earlier ones", "pointer", "lease", "list of changes"))
        if is_used and how != "missing":
            assert row.num_passed_over == row.num_injected, (what, how)


@pytest.mark.long
def test_no_damage_on_an_object_store_loses_anything(s3_bucket: str) -> None:
    """A tenth of all; `make damage ARGS=--s3` does them all."""
    matrix = load(Path(__file__).with_name("matrix.py")).measure(1, 100, f"{s3_bucket}/damage", share=0.1)
    assert matrix.num_lost == 0, {key: row for key, row in matrix.rows.items() if row.num_lost}
    assert any(what.startswith("model") for what, _ in matrix.rows)
