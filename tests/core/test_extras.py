"""Who lacks a package is told which install brings it, in one line."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from springtide.extras import _EXTRAS, missing_words

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.mark.parametrize(("package", "extra"), _EXTRAS.items())
def test_extra_that_is_named_has_the_package(package, extra):
    names = {re.split(r"[<>=;\[ ]", each)[0].replace("-", "_") for each in PROJECT["optional-dependencies"][extra]}
    assert any(name == package or name.startswith(f"{package}_") for name in names)  # Namespaces are no packages.


def test_all_has_every_extra_but_that_of_development():
    (everything,) = PROJECT["optional-dependencies"]["all"]
    named = set(everything.removeprefix("springtide[").removesuffix("]").split(","))
    assert named == PROJECT["optional-dependencies"].keys() - {"all", "bench", "dev", "supply-chain"}


def test_error_that_a_missing_package_caused_is_worded():
    error = ValueError("cannot")
    error.__cause__ = ModuleNotFoundError("No module named 'torch'", name="torch.nn")
    assert missing_words(error) == "torch is not installed: pip install 'springtide[train]'"


@pytest.mark.parametrize("error", [ValueError("no"), ModuleNotFoundError("no", name="mine"), ModuleNotFoundError("no")])
def test_other_errors_are_not_ours_to_word(error):
    assert missing_words(error) is None


WITHOUT = """
import sys
for name in {packages!r}:
    sys.modules[name] = None  # As if it were not installed.
sys.argv = ["springtide", *{arguments!r}]
from springtide_services.cli.app import main
main()
"""


def run_without(packages, *arguments, cwd, **variables):
    code = WITHOUT.format(packages=packages, arguments=arguments)
    environment = {**os.environ, "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", **variables}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, check=False)


TRAIN = ("torch", "torch_geometric", "networkx", "numba", "pyarrow")


@pytest.mark.parametrize(
    "arguments", [["evaluate", "movielens-100k"], ["up"], ["train"], ["demo"], ["prove"], ["tune", "movielens-100k"]]
)
def test_command_that_lacks_a_package_says_which_install_brings_it(arguments, tmp_path):
    ended = run_without(TRAIN, *arguments, cwd=tmp_path)
    assert ended.returncode != 0
    assert ended.stderr == "springtide: torch is not installed: pip install 'springtide[train]'\n"


def test_parts_that_cannot_be_imported_are_listed_with_the_reason(tmp_path):
    ended = run_without(TRAIN, "plugins", "list", cwd=tmp_path)
    assert "torch_geometric is not installed: pip install 'springtide[train]'" in ended.stdout
    assert "calendar" in ended.stdout
    assert ended.returncode == 0


def test_publishing_a_file_without_arrow_says_which_install_brings_it(tmp_path):
    (tmp_path / "events.csv").write_text("user,item,type,event_time\nann,x,purchase,2024-01-01T00:00:00Z\n")
    ended = run_without(TRAIN, "publish", "events.csv", cwd=tmp_path)
    assert ended.returncode == 2
    assert ended.stderr.endswith("pyarrow is not installed: pip install 'springtide[files]'\n")
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["models", "list"], ["config", "show"], ["checkpoints", "list"]])
def test_light_commands_need_none_of_them(arguments, tmp_path):
    assert run_without((*TRAIN, "scipy"), *arguments, cwd=tmp_path).returncode == 0


def test_engine_that_is_not_installed_is_named_at_the_start(tmp_path):
    ended = run_without(("pygrpc_native",), "serve", cwd=tmp_path, SPRINGTIDE_SERVER__ENGINE="native")
    assert ended.returncode == 2
    assert ended.stderr.endswith("pygrpc_native is not installed: pip install 'springtide[native]'\n")
    assert "Traceback" not in ended.stderr


def test_training_needs_no_package_of_other_extras(tmp_path):
    ended = run_without(("pygrpc_native",), "tune", "--help", cwd=tmp_path)
    assert ended.returncode == 0
    ended = run_without(("pygrpc_native",), "tune", "no-such-data", cwd=tmp_path)
    assert "pygrpc_native" not in ended.stderr
