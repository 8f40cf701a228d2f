"""The notebook on real purchases tells the truth: each of its cells runs, and what it claims is so."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from springtide.errors import DatasetError
from springtide.evaluation.data.datasets import download

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "deploy/docs/notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def notebooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_notebook", ROOT / "deploy/docs_notebook.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.guides
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_of_the_notebook_runs(path: Path, notebooks: ModuleType, tmp_path: Path) -> None:
    try:
        download("complete-journey")
    except DatasetError as error:
        pytest.skip(f"its data cannot be had: {error}")

    ran = notebooks.run(path, tmp_path)  # A cell that raises, raises here.

    of_code = [cell for cell in ran.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in of_code] == list(range(1, len(of_code) + 1))
    assert any("image/png" in output.get("data", {}) for cell in of_code for output in cell.outputs)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_of_the_code_that_stands_there(path: Path, notebooks: ModuleType) -> None:
    assert notebooks.is_current(path), "the code has changed since its outputs were made: make notebooks"


def test_there_is_a_notebook_that_checks_what_it_says() -> None:
    (notebook,) = NOTEBOOKS
    assert notebook.read_text(encoding="utf-8").count('"assert ') > 10
