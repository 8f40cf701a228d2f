"""The distribution: it holds what it should and nothing else, and works where none of our folders is."""

import functools
import json
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.wheel

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution, so that both are right."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def bin_folder(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the wheel; what we depend on is borrowed from this one, our editable install is not."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", str(wheel)]
    subprocess.run(install, check=True)
    site_packages = next(folder.glob("lib/*/site-packages"))
    # A folder named in a .pth file does not have its own .pth files read: that is how editable installs come in.
    (site_packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def test_wheel_holds_the_three_packages_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()

    top = {name.split("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {
        "springtide",
        "springtide_plugins",
        "springtide_services",
    }
    # `.in` is what `plugins new` writes; kernels are compiled for one version of Python.
    kinds = (".py", ".pyi", "py.typed", ".in", ".proto", ".toml", sysconfig.get_config_var("EXT_SUFFIX"))
    # The console's pages, with the licences of what is in them.
    kinds += (".html", ".css", ".js", ".svg", ".woff2", ".LICENSE", ".NOTICE")
    strays = [name for name in names if ".dist-info/" not in name and not name.endswith(kinds)]
    assert strays == []
    assert sum(name.endswith("/py.typed") for name in names) == 3
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_wheel_holds_every_module_of_the_source(wheel: Path) -> None:
    sources = {
        str(path.relative_to(ROOT / folder))
        for folder in ("core", "plugins", "services")
        for path in (ROOT / folder).glob("springtide*/**/*.py")
    }

    assert sources - set(zipfile.ZipFile(wheel).namelist()) == set()


def test_wheel_holds_every_kernel_compiled_for_this_python(wheel: Path) -> None:
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    sources = [
        path.relative_to(ROOT / folder)
        for folder in ("core", "plugins", "services")
        for path in (ROOT / folder).rglob("*.pyx")
    ]

    assert sources
    assert {str(path.with_suffix(suffix)) for path in sources} - set(zipfile.ZipFile(wheel).namelist()) == set()
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    assert wheel.stem.split("-", 2)[2] == f"{python}-{python}-{platform}"


def test_source_distribution_holds_the_kernels_uncompiled(wheel: Path) -> None:
    with tarfile.open(next(wheel.parent.glob("*.tar.gz"))) as archive:
        names = {name.split("/", 1)[-1] for name in archive.getnames()}

    kernels = {str(path.relative_to(ROOT)) for kind in ("pyx", "pxd") for path in (ROOT / "core").rglob(f"*.{kind}")}
    assert kernels | {"deploy/build_kernels.py"} <= names
    assert [name for name in names if name.endswith((".so", ".c"))] == []


def test_image_copies_all_that_the_wheel_is_built_from(wheel: Path, tmp_path: Path) -> None:
    for line in (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8").splitlines():
        words = line.split()
        if words[:1] != ["COPY"] or words[1].startswith("--"):
            continue
        _, *sources, target = words
        for source in sources:
            to = tmp_path / target / source if target == "./" else tmp_path / target
            to.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, to, ignore=shutil.ignore_patterns("*.so"))
            else:
                shutil.copyfile(ROOT / source, to)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", str(tmp_path)]
    subprocess.run(build, check=True, capture_output=True)

    (built,) = (tmp_path / "dist").glob("*.whl")
    assert built.name == wheel.name
    assert set(zipfile.ZipFile(built).namelist()) == set(zipfile.ZipFile(wheel).namelist())


def test_installed_wheel_finds_the_built_in_parts(bin_folder: Path, tmp_path: Path) -> None:
    where = [bin_folder / "python", "-c", "import springtide; print(springtide.__file__)"]
    imported = subprocess.run(where, cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    listed = subprocess.run(
        [bin_folder / "springtide", "plugins", "list", "--json"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    ).stdout

    assert imported.startswith(str(bin_folder.parent))
    found = {(part["kind"], part["name"]) for part in json.loads(listed)["parts"]}
    assert found >= {("encoder", "lightgcn"), ("aggregator", "mean"), ("loss", "cce"), ("context weight", "trend")}


def test_installed_wheel_writes_the_protos(bin_folder: Path, tmp_path: Path) -> None:
    subprocess.run([bin_folder / "springtide", "protos", "out"], cwd=tmp_path, check=True, capture_output=True)

    for source in (ROOT / "protos" / "springtide" / "v1").glob("*.proto"):
        assert (tmp_path / "out" / "springtide" / "v1" / source.name).read_bytes() == source.read_bytes()


def listed_by(run: Any, springtide: Path) -> list[dict[str, Any]]:
    """Return the parts that the command lists."""
    parts: list[dict[str, Any]] = json.loads(run([springtide, "plugins", "list", "--json"]).stdout)["parts"]
    return parts


def test_written_plugin_is_installed_found_and_passes_its_checks(bin_folder: Path, tmp_path: Path) -> None:
    springtide, python = bin_folder / "springtide", bin_folder / "python"
    run = functools.partial(subprocess.run, cwd=tmp_path, check=True, capture_output=True, text=True)

    run([springtide, "plugins", "new", "gust", "--kind", "loss"])
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps"]
    run([*install, "--no-build-isolation", str(tmp_path / "gust")])

    assert "gust" not in [part["name"] for part in listed_by(run, springtide)], "nobody has allowed it"
    (tmp_path / "springtide.toml").write_text('[plugins]\nallow = ["gust"]\n')
    listed = listed_by(run, springtide)
    assert ("gust", "gust 0.1.0") in [(part["name"], part["origin"]) for part in listed]
    assert "9 checks of 1 part: all passed" in run([springtide, "plugins", "check", "gust"]).stdout


def test_example_distribution_is_installed_found_and_runs(bin_folder: Path, tmp_path: Path) -> None:
    python = bin_folder / "python"
    run = functools.partial(subprocess.run, cwd=tmp_path, check=True, capture_output=True, text=True)

    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps"]
    run([*install, "--no-build-isolation", str(ROOT / "plugins" / "examples" / "travel_time")])

    (tmp_path / "springtide.toml").write_text('[plugins]\nallow = ["springtide-travel-time"]\n')
    listed = listed_by(run, bin_folder / "springtide")
    assert ("travel_time", "springtide-travel-time 0.1.0") in [(part["name"], part["origin"]) for part in listed]
    printed = run([python, "-m", "springtide_travel_time", "--size", "6", "--steps", "20"]).stdout
    assert "graphsage, over the roads" in printed
