"""Every bench runs: each for a moment, in sizes whose figures mean nothing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.bench, pytest.mark.timeout(600)]

BENCH = Path(__file__).with_name("bench.py")
BENCHES = sorted(path.stem for path in BENCH.parent.glob("benches/*.py") if "\ndef run(" in path.read_text())


@pytest.mark.parametrize("name", BENCHES)
def test_bench_runs_and_writes_its_figures(name: str, tmp_path: Path) -> None:
    command = [sys.executable, str(BENCH), name, "--tiny", "--results", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads((tmp_path / f"{name}.json").read_text())["figures"]
    assert figures
    # 0 is what a moment may give: no event came while it lasted, or a record was read before it was acknowledged.
    assert all(figure["median"] >= 0 and figure["what"] in done.stdout for figure in figures)
    assert any(figure["median"] > 0 for figure in figures)


def test_an_unknown_bench_is_refused_with_the_choices() -> None:
    done = subprocess.run([sys.executable, str(BENCH), "apend"], capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert "no bench named apend (choices: " in done.stderr
    assert sorted(done.stderr.partition("choices: ")[2].strip().rstrip(")").split(", ")) == BENCHES
