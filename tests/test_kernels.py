"""The compiled kernels: they are built when they are wanted, refuse other arrays, and need no compiler at run time."""

import ast
import importlib
import importlib.util
import os
import platform
import re
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from springtide.events import kernels as event_kernels
from springtide.graph import kernels as graph_kernels
from springtide.graph import link_kernels

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "deploy" / "build_kernels.py"
SOURCES = sorted(path for folder in ("core", "plugins", "services") for path in (ROOT / folder).rglob("*.pyx"))
# Nothing else waits for numba to compile at its first run, in every new install.
WITH_NUMBA = {"plugins/springtide_plugins/baselines/fitting.py"}


@pytest.fixture
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_kernels", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def names(path: Path) -> set[str]:
    return set(re.findall(r"^def (\w+)\(", path.read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_types_name_every_kernel(path: Path) -> None:
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts[1:]))

    assert names(path) == names(path.with_suffix(".pyi"))
    assert ast.get_docstring(ast.parse(path.with_suffix(".pyi").read_text(encoding="utf-8"))) is not None
    assert module.__doc__
    for name in names(path):
        assert getattr(module, name).__doc__, name


def test_state_is_kept_without_numba() -> None:
    code = """
        import sys
        from springtide.events.decoding import Decoder
        from springtide.events.raw import RawEvent
        from springtide.plugins.loading import load_plugins
        from springtide.ranking.weights import make_context_weights
        from springtide.settings.model import PluginSettings, Settings
        from springtide.state import LiveState
        from springtide.v1 import events_pb2
        settings = Settings()
        time = {"seconds": 1_700_000_000}
        records = [
            RawEvent(events_pb2.Event(event_id=item, event_time=time, interaction=dict(
                user="ann", item=item, type="purchase")).SerializeToString())
            for item in ("tea", "milk", "milk")
        ]
        batches, refusals = Decoder(settings.interaction_rules(), settings.events).decode(records, 1_700_000_001_000)
        weights = make_context_weights(settings.ranking, load_plugins(PluginSettings()))
        state = LiveState(settings, weights)
        for batch in batches:
            state.apply(batch)
        view = state.graph.view()
        (edge_type,) = view.edge_types
        print(len(weights) > 1, view.edges(edge_type).all_targets(0).rows.tolist(), refusals)
        print(sorted({"numba", "llvmlite"} & sys.modules.keys()))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout == "True [1, 0] []\n[]\n", done.stderr


def test_numba_is_imported_by_elastic_nets_alone() -> None:
    importing = {
        path.relative_to(ROOT).as_posix()
        for folder in ("core", "plugins", "services")
        for path in (ROOT / folder).glob("springtide*/**/*.py")
        if re.search(r"^\s*(from|import) numba\b", path.read_text(encoding="utf-8"), re.MULTILINE)
    }

    assert importing == WITH_NUMBA


INTS = np.zeros(4, np.int32)
READ_ONLY = np.frombuffer(bytes(16), np.int32)


@pytest.mark.parametrize("head", [INTS.astype(np.int64), INTS[::2], INTS.astype(">i4"), [0, 0], None])
def test_other_arrays_are_refused(head: object) -> None:
    with pytest.raises(TypeError):
        graph_kernels.count_linked(0, 4, head, INTS)  # type: ignore[arg-type]


def test_array_that_cannot_be_written_is_refused_for_output_alone() -> None:
    times = np.zeros(4, np.int64)
    graph_kernels.note_times(times, times, READ_ONLY, times)

    with pytest.raises(TypeError, match=r"contiguous array of int32, to write to, got int32 .* writeable False"):
        link_kernels.ChainLinker().link(0, 0, INTS, times, READ_ONLY, INTS, INTS)


def test_both_types_of_64_bits_are_taken() -> None:
    hashes = np.zeros(2, np.ulonglong)
    slices = np.array([0, 1], np.longlong), np.array([1, 2], np.int64)

    event_kernels.hash_slices(np.frombuffer(b"aa", np.uint8), *slices, hashes)

    assert hashes.tolist() == [0xAF63DC4C8601EC8C] * 2  # FNV-1a of "a", as its authors publish it.


def test_nothing_is_built_where_all_is_up_to_date() -> None:
    subprocess.run([sys.executable, SCRIPT], check=True)
    built = {path: path.stat().st_mtime_ns for path in ROOT.glob("core/**/*kernels.*.so")}
    before_s = time.monotonic()
    subprocess.run([sys.executable, SCRIPT], check=True)

    assert built
    assert {path: path.stat().st_mtime_ns for path in built} == built
    assert time.monotonic() - before_s < 5  # Compiling takes longer; this takes less than 0.1 s of an idle machine.


def test_build_asks_for_a_compiler_only_where_there_is_none(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wanted() -> list[str]:
        hook = script.get_build_hook()(str(ROOT), {}, None, None, "", "wheel")
        return list(hook.dependencies())

    monkeypatch.delenv("CC", raising=False)
    assert wanted() == []
    monkeypatch.setenv("PATH", os.devnull)
    assert wanted() == ["ziglang>=0.13"]


def test_build_says_what_is_missing(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", os.devnull)
    monkeypatch.setattr(script.importlib.util, "find_spec", lambda name: None)

    with pytest.raises(script.CannotBuildError, match="no C compiler: install gcc or clang"):
        script.compiler()


def num_fetched(path: Path) -> int:
    """Return how often a source fetches from memory ahead, at least; what it calls of what it cimports counts once."""
    text = path.read_text(encoding="utf-8")
    declared = [path.parent / f"{name}.pxd" for name in re.findall(r"^from [\w.]*?(\w+) cimport", text, re.MULTILINE)]
    fetching = {name for pxd in filter(Path.is_file, declared) for name in names_that_fetch(pxd.read_text("utf-8"))}
    calls_one = any(re.search(rf"\b{name}\(", text) for name in fetching)
    return len(re.findall(r"^ +(?:PRE)?FETCH\w*\(", text, re.MULTILINE)) + calls_one


def names_that_fetch(text: str) -> set[str]:
    """Return the inline functions of a declaration file that fetch ahead, themselves or by another one of it."""
    bodies = re.findall(r"^cdef inline [^\n(]*?(\w+)\((.*?)(?=^cdef |\Z)", text, re.MULTILINE | re.DOTALL)
    found: set[str] = set()
    while True:
        more = {
            name
            for name, body in bodies
            if re.search(r"^ +(?:PRE)?FETCH\w*\(", body, re.MULTILINE)
            or any(re.search(rf"\b{each}\(", body) for each in found)
        }
        if more == found:
            return found
        found = more


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the instruction is looked for by its bytes")
@pytest.mark.parametrize("path", list(filter(num_fetched, SOURCES)), ids=lambda path: path.stem)
def test_what_is_fetched_ahead_is_not_left_out_by_the_compiler(path: Path) -> None:
    """gcc drops calls of functions that do nothing but fetch, without a word: loops are slower, and right."""
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts[1:]))
    assert module.__file__ is not None

    # prefetcht0 and prefetchw of what a register points at.
    found = re.findall(rb"\x0f[\x18\x0d][\x08-\x0f\x48-\x4f\x88-\x8f]", Path(module.__file__).read_bytes())

    assert len(found) >= num_fetched(path)
