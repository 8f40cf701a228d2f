"""The house stays whole: every hook is documented and tested, every module says what is in it, no layer is crossed."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from springtide.plugins import hookspecs

ROOT = Path(__file__).parents[1]
HOOKS = [name for name, _ in inspect.getmembers(hookspecs, inspect.isfunction) if name.startswith("register_")]
SOURCES = sorted(
    path
    for folder in ("core", "plugins", "services")
    for path in (ROOT / folder).glob("springtide*/**/*.py")
    if "springtide/v1" not in path.as_posix()
)

# A trainer tells the process that it started what to train, through a pipe of their own, as multiprocessing does.
TRAINING_PIPE = ("process_main.py", "processes.py")


@pytest.mark.parametrize("hook", HOOKS)
def test_hook_has_a_heading_in_the_plugin_authors_guide(hook: str) -> None:
    guide = (ROOT / "plugins" / "README.md").read_text(encoding="utf-8")

    assert any(line.startswith("#") and hook in line for line in guide.splitlines())


@pytest.mark.parametrize("hook", HOOKS)
def test_hook_has_a_test(hook: str) -> None:
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "tests" / "plugins").glob("test_*.py")]

    assert any(hook in text for text in texts)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_module_opens_by_saying_what_is_in_it(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) is not None


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_module_runs_no_code_that_it_reads(path: Path) -> None:
    """Files and messages are data: nothing is unpickled, evaluated or given to a shell."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = node.module if isinstance(node, ast.ImportFrom) else None
            names = {module} if module else {alias.name for alias in node.names}
            if names == {"pickle"} and path.name in TRAINING_PIPE:
                continue
            assert not names & {"pickle", "marshal", "shelve", "dill", "joblib", "cloudpickle"}, f"line {node.lineno}"
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in {"eval", "exec", "compile", "os.system", "os.popen", "yaml.load", "torch.load"}, called
            for option in node.keywords:
                is_true = isinstance(option.value, ast.Constant) and option.value.value is True
                assert not (option.arg in {"allow_pickle", "shell"} and is_true), f"line {node.lineno}"


def test_no_layer_is_crossed() -> None:
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout
