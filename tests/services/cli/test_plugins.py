"""Commands for plugin authors: a project whose tests pass as written, a list, and checks that say what came."""

import importlib
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from springtide.errors import PluginError
from springtide.plugins.loading import KINDS
from springtide.settings.model import Settings
from springtide_services.cli.app import app
from springtide_services.cli.plugin_projects import module_name_of, project_files
from springtide_services.cli.plugins import PartKind

A_LOSS = """
\"\"\"Losses, one of them upside down.\"\"\"
from typing import Annotated

from pydantic import Field
from torch.nn import functional as F

from springtide.plugins.contracts import Loss
from springtide.plugins.hookspecs import hookimpl


class Gust(Loss):
    \"\"\"Each positive against each sampled item.

    It blows.
    \"\"\"

    def __init__(self, sharpness: Annotated[float, Field(gt=0)] = 5.0):
        super().__init__()
        self.sharpness = sharpness

    def forward(self, inputs):
        distance = inputs.negative[inputs.user] - inputs.positive.unsqueeze(-1)
        weight = ~inputs.is_seen[inputs.user] * inputs.weight.unsqueeze(-1)
        return SIGN * (F.softplus(self.sharpness * distance) * weight).sum() / weight.sum().clamp(min=1e-12)


@hookimpl
def register_losses(register):
    register("gust", Gust)
"""


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in ("SPRINGTIDE_SETTINGS", "KAFKA_BOOTSTRAP_SERVERS"):
        monkeypatch.delenv(name, raising=False)
    yield
    sys.modules.pop("gusty", None)


def run(*arguments: str) -> Result:
    importlib.invalidate_caches()
    return CliRunner().invoke(app, ["plugins", *arguments])


def refusal_of(*arguments: str) -> str:
    refused = run(*arguments)
    assert isinstance(refused.exception, PluginError), refused.output
    return str(refused.exception)


def test_every_kind_of_part_has_a_template() -> None:
    assert [kind.value.replace("-", " ") for kind in PartKind] == list(KINDS)


def pytest_in(folder: Path, *arguments: str, path: str = "") -> str:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    paths = os.pathsep.join(filter(None, (path, os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment)

    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.long
def test_tests_of_a_written_project_pass_as_written(tmp_path: Path) -> None:
    written = run("new", "my-gust")

    assert written.exit_code == 0, written.output
    assert "The encoder my_gust is in my-gust." in written.stdout
    assert "  pip install -e .[dev]  " in written.stdout
    assert '[plugins] allow = ["my-gust"]' in written.stdout
    assert "2 passed" in pytest_in(tmp_path / "my-gust")


@pytest.mark.long
def test_tests_of_projects_of_all_kinds_pass(tmp_path: Path) -> None:
    names = [f"gust-{kind.value}" for kind in PartKind]
    for name, kind in zip(names, PartKind, strict=True):
        assert run("new", name, "--kind", kind.value).exit_code == 0

    # One run for all, since each would import torch anew.
    path = os.pathsep.join(str(tmp_path / name / "src") for name in names)
    told = pytest_in(tmp_path, *(f"{name}/tests" for name in names), path=path)
    assert "25 passed" in told


@pytest.mark.parametrize("kind", PartKind)
def test_written_part_is_offered_and_passes_its_checks(kind: PartKind) -> None:
    run("new", "my-gust", "--kind", kind.value)
    checked = run("check", "my-gust/src/my_gust/__init__.py")

    assert checked.exit_code == 0, checked.output
    assert checked.stdout.startswith(f"{kind.value.replace('-', ' ')} my_gust\n  ✓ ")
    assert "checks of 1 part: all passed" in checked.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_written_project_is_one_that_pip_can_install(kind: str) -> None:
    files = project_files("my_gust", kind)
    project = tomllib.loads(files["pyproject.toml"])

    assert project["project"]["name"] == "my-gust"
    assert project["project"]["entry-points"]["springtide"] == {"my_gust": "my_gust"}
    assert project["project"]["dependencies"] == ["springtide"]
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == ["src/my_gust"]
    assert sorted(files) == ["README.md", "pyproject.toml", "src/my_gust/__init__.py", "tests/test_my_gust.py"]
    for path, text in files.items():
        assert not any(word in text for word in ("my_part", "my-part", "MyPart", "SETTINGS", "KIND")), path
    assert len(files["src/my_gust/__init__.py"].splitlines()) < 60, "wanted a part that one screen holds"


@pytest.mark.parametrize("kind", KINDS)
def test_readme_says_how_settings_choose_the_part(kind: str) -> None:
    readme = project_files("my_gust", kind)["README.md"]
    toml = readme.partition("```toml\n")[2].partition("```")[0]

    assert "my_gust" in json.dumps(tomllib.loads(toml))
    settings = Settings.model_validate(tomllib.loads(toml))  # It is taken as written.
    assert settings.plugins.allow == ("my-gust",)


@pytest.mark.parametrize(("name", "module"), [("my-gust", "my_gust"), ("my_gust", "my_gust"), ("Gust2", "gust2")])
def test_name_may_have_hyphens_or_underscores(name: str, module: str) -> None:
    assert module_name_of(name) == module


@pytest.mark.parametrize("name", ["2gust", "my.gust", "../gust", "class", "gust-", ""])
def test_name_that_no_module_can_have_is_refused(name: str) -> None:
    with pytest.raises(PluginError, match="wanted a name of letters and digits with hyphens between, such as"):
        module_name_of(name)


def test_name_of_a_module_that_is_here_is_refused() -> None:
    assert (
        refusal_of("new", "json") == "wanted a name that no module has, got 'json', which can already be imported here"
    )


def test_name_of_a_part_that_is_offered_is_refused() -> None:
    refused = refusal_of("new", "lightgcn", "--kind", "encoder")

    assert refused.startswith("wanted a name that no encoder has, got 'lightgcn', which springtide ")
    assert not Path("lightgcn").exists()


def test_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "gust").mkdir()
    refused = refusal_of("new", "gust", "--kind", "loss", "--path", str(tmp_path))

    assert refused == f"wanted a new folder, got {tmp_path / 'gust'}: File exists"
    assert list((tmp_path / "gust").iterdir()) == []


def test_check_shows_what_was_wanted_and_what_came_and_fails() -> None:
    Path("gusty.py").write_text(A_LOSS.replace("SIGN", "-1"))
    checked = run("check", "gusty.py")

    assert checked.exit_code == 1
    assert "  ✓ the loss is one finite number\n" in checked.stdout
    failed = checked.stdout.partition("  ✗ the loss falls as positives rise above negatives\n")[2].splitlines()
    assert failed[0] == "      That is its purpose; a loss of ratings falls as cosines come near the ratings."
    assert failed[1].startswith("      wanted a loss that falls at cosines of -0.9, 0 and 0.9, got -")
    assert checked.stdout.splitlines()[-1] == "9 checks of 1 part: 2 failed"


def test_module_of_this_folder_is_checked_by_its_name() -> None:
    Path("gusty.py").write_text(A_LOSS.replace("SIGN", "1"))
    checked = run("check", "gusty")

    assert checked.exit_code == 0, checked.output
    assert checked.stdout.splitlines()[-1] == "9 checks of 1 part: all passed"


def test_part_that_cannot_be_made_with_its_defaults_fails() -> None:
    Path("gusty.py").write_text(A_LOSS.replace("super().__init__()", "raise ValueError('no wind')"))
    checked = run("check", "gusty.py")

    assert checked.exit_code == 1
    assert "  ✗ it can be created\n      loss 'gust': no wind\n" in checked.stdout


def test_plugin_that_offers_nothing_is_refused() -> None:
    Path("gusty.py").write_text('"""Nothing."""\n')

    assert refusal_of("check", "gusty.py").startswith(
        "plugin 'gusty.py' offers no part: wanted one of register_encoders,"
    )


def test_plugin_that_is_not_there_is_refused() -> None:
    assert refusal_of("check", "no_such_module") == (
        "plugin 'no_such_module' cannot be loaded: No module named 'no_such_module'"
    )


def test_list_shows_what_each_part_is_with_its_options() -> None:
    Path("parts").mkdir()
    Path("parts/gusty.py").write_text(A_LOSS.replace("SIGN", "1"))
    Path("springtide.toml").write_text('[plugins]\nfolder = "parts"\n')
    lines = run("list").stdout.splitlines()

    place = next(place for place, line in enumerate(lines) if line.startswith("  gust "))
    assert lines[place].split() == ["gust", "Each", "positive", "against", "each", "sampled", "item.", "parts/gusty.py"]
    assert lines[place + 1].strip() == "sharpness = 5.0 (above 0)"
    kinds = [line.strip() for line in lines if not line.startswith(" ")]
    assert kinds == [*KINDS, "plugins"]
    assert lines[-1] == "  parts/gusty.py (plugins.folder)"


def test_list_as_json_is_all_that_is_known() -> None:
    Path("parts").mkdir()
    Path("parts/gusty.py").write_text(A_LOSS.replace("SIGN", "1"))
    Path("springtide.toml").write_text('[plugins]\nfolder = "parts"\n')
    listed = json.loads(run("list", "--json").stdout)

    assert {
        "kind": "loss",
        "name": "gust",
        "summary": "Each positive against each sampled item.",
        "origin": "parts/gusty.py",
        "plugin": "parts/gusty.py",
        "options": [{"name": "sharpness", "type": "number", "default": 5.0, "range": "above 0"}],
    } in listed["parts"]
    assert listed["failures"] == []
    assert {"name": "parts/gusty.py", "distribution": "", "version": "", "way": "plugins.folder"} in listed["plugins"]
    assert listed["not_allowed"] == []


def install(folder: Path, name: str, module: str) -> None:
    information = folder / f"{module}-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(f"[springtide]\nplugin = {module}\n")


def test_package_that_no_setting_names_is_listed_and_not_imported_until_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("gusty.py").write_text("from pathlib import Path\nPath('was_run').touch()\n" + A_LOSS.replace("SIGN", "1"))
    install(tmp_path, "gusty-loss", "gusty")
    monkeypatch.syspath_prepend(tmp_path)

    listed = run("list")
    assert listed.exit_code == 0
    assert " ".join(listed.stdout.split()).endswith(
        "not loaded: gusty-loss 1.0 is installed and offers plugins; it is not imported, since plugins.allow does not "
        'name it (allow = ["gusty-loss"])'
    )
    assert "gust " not in listed.stdout
    assert not Path("was_run").exists()

    Path("springtide.toml").write_text('[plugins]\nallow = ["gusty-loss"]\n')
    listed = run("list")
    assert listed.stdout.splitlines()[-1] == "  gusty of gusty-loss 1.0 (plugins.allow)"
    assert "  gust " in listed.stdout
    assert Path("was_run").exists()


@pytest.mark.parametrize(("on_error", "exit_code"), [("refuse", 2), ("skip", 0)])
def test_list_shows_plugins_that_fail_at_the_end(on_error: str, exit_code: int) -> None:
    Path("springtide.toml").write_text(f'[plugins]\nmodules = ["no_such_module"]\non_error = "{on_error}"\n')
    listed = run("list")

    assert listed.exit_code == exit_code
    assert "lightgcn" in listed.stdout
    assert listed.stdout.splitlines()[-1] == (
        "✗ plugin 'no_such_module' cannot be loaded: No module named 'no_such_module'"
    )
