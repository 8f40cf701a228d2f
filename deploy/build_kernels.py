"""Builds the compiled kernels, each ``.pyx`` beside the code that uses it: for wheels, editable installs, and by hand.

By hand: ``python deploy/build_kernels.py`` builds in place, and does nothing if all is up to date. hatchling calls
``get_build_hook``. Where there is no C compiler, pip fetches one (``ziglang``) while it builds.
"""

import contextlib
import fcntl
import hashlib
import importlib.machinery
import importlib.util
import os
import shlex
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = (
    ROOT / "core" / "springtide",
    ROOT / "plugins" / "springtide_plugins",
    ROOT / "services" / "springtide_services",
)
BUILD = ROOT / "build" / "kernels"
SUFFIX = importlib.machinery.EXTENSION_SUFFIXES[0]  # Tells the version of Python and the machine.
DIRECTIVES = {"language_level": 3, "boundscheck": False, "wraparound": False, "cdivision": True}
# The same sums on every machine: no multiplication is fused with an addition.
FLAGS = ["-O3", "-g0", "-ffp-contract=off", "-Wno-unreachable-code"]
MACROS = [("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION")]
ZIG = "ziglang>=0.13"
ZIG_FLAGS = ["-mcpu=baseline", "-fPIC", "-DNDEBUG", "-fwrapv"]  # Zig would build for this machine's processor alone.


class CannotBuildError(Exception):
    """Raised when the kernels cannot be built; says what is missing."""


def main() -> None:
    """Build in place what is not up to date."""
    try:
        build()
    except CannotBuildError as error:
        sys.exit(f"build_kernels: {error}")


def build() -> list[Path]:
    """Build all kernels unless they are up to date, and return the extension modules."""
    sources = sorted(path for package in PACKAGES for path in package.rglob("*.pyx"))
    built = [path.with_suffix(SUFFIX) for path in sources]
    digest, stamp = digest_of(sources), BUILD / f"digest{SUFFIX}.txt"
    if not is_current(stamp, digest, built):
        with lock():
            if not is_current(stamp, digest, built):  # Another process may have built them meanwhile.
                compile_all(sources)
                stamp.write_text(digest)
    return built


def digest_of(sources: list[Path]) -> str:
    """Return a digest of all that the result depends on: sources, this script with its flags, and Python."""
    digest = hashlib.sha256(f"{sys.version} {os.environ.get('CC')} {os.environ.get('CFLAGS')}".encode())
    for path in (Path(__file__), *sorted(path for package in PACKAGES for path in package.rglob("*.pxd")), *sources):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def is_current(stamp: Path, digest: str, built: list[Path]) -> bool:
    """Return whether the extension modules are there, and made from what the digest stands for."""
    return stamp.is_file() and stamp.read_text() == digest and all(path.is_file() for path in built)


@contextlib.contextmanager
def lock() -> Iterator[None]:
    """Hold a lock, so that two processes do not build at once."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with (BUILD / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def compile_all(sources: list[Path]) -> None:
    """Compile the sources, and put each extension module beside its source; readers see the old one or the new one.

    Raises:
        CannotBuildError: If something that is needed is missing.
    """
    if not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        raise CannotBuildError("Python's headers are missing: on Debian and Ubuntu, apt-get install python3-dev")
    try:
        import numpy as np
        from Cython.Build import cythonize
        from setuptools import Distribution, Extension
        from setuptools.command.build_ext import build_ext
    except ImportError as error:
        raise CannotBuildError(f"{error}: python -m pip install -c constraints.txt cython numpy setuptools") from None

    class BuildWith(build_ext):
        """setuptools' own command, with the compiler that there is."""

        def build_extensions(self) -> None:
            words = compiler()
            if "ziglang" in words:
                for name in ("ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR"):
                    os.environ.setdefault(name, str(BUILD / "zig"))
                self.compiler.set_executables(
                    compiler_so=[*words, *ZIG_FLAGS], linker_so=[*words, "-mcpu=baseline", "-shared"]
                )
            super().build_extensions()

    words = compiler()
    if "ziglang" not in words:
        os.environ["CC"] = shlex.join(words)
    extensions = [
        Extension(
            module_of(source),
            [str(source.relative_to(ROOT))],
            include_dirs=[np.get_include()],
            define_macros=MACROS,
            extra_compile_args=FLAGS,
        )
        for source in sources
    ]
    with contextlib.chdir(ROOT):
        modules = cythonize(
            extensions,
            include_path=[str(package.parent) for package in PACKAGES],
            build_dir=str(BUILD / "c"),
            compiler_directives=DIRECTIVES,
            force=True,
            quiet=True,
        )
        command = BuildWith(Distribution({"name": "kernels", "ext_modules": modules}))
        command.build_lib, command.build_temp = str(BUILD / "lib"), str(BUILD / "objects")
        command.force = True
        command.parallel = os.cpu_count()
        command.ensure_finalized()
        command.run()
    targets = {source.with_suffix(SUFFIX) for source in sources}
    for path in {path for package in PACKAGES for path in package.rglob(f"*{SUFFIX}")} - targets:
        path.unlink()  # Its source is gone; it could still be imported.
    for source in sources:
        target = source.with_suffix(SUFFIX)
        fresh = target.with_name(f".{target.name}.new")
        shutil.copyfile(command.get_ext_fullpath(module_of(source)), fresh)
        fresh.replace(target)


def module_of(source: Path) -> str:
    """Return the name of the module that a source becomes."""
    package = next(package for package in PACKAGES if package in source.parents)
    return ".".join(source.relative_to(package.parent).with_suffix("").parts)


def compiler() -> list[str]:
    """Return the words that call the C compiler.

    Raises:
        CannotBuildError: If there is none.
    """
    found = system_compiler()
    if found is not None:
        return found
    if importlib.util.find_spec("ziglang") is None:
        raise CannotBuildError("there is no C compiler: install gcc or clang, or python -m pip install ziglang")
    return [sys.executable, "-m", "ziglang", "cc"]


def system_compiler() -> list[str] | None:
    """Return the words that call the machine's C compiler; None if there is none."""
    for words in (os.environ.get("CC"), sysconfig.get_config_var("CC"), "cc", "gcc", "clang"):
        if words and shutil.which(shlex.split(words)[0]):
            return shlex.split(words)
    return None


def get_build_hook() -> type[Any]:
    """Return hatchling's hook; hatchling is there when it calls this, and need not be there by hand."""
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface

    class KernelsHook(BuildHookInterface[Any]):
        """Builds the kernels in place, and puts them into the wheel."""

        def dependencies(self) -> list[str]:
            return [] if system_compiler() is not None else [ZIG]

        def initialize(self, version: str, build_data: dict[str, Any]) -> None:
            built = build()
            build_data["pure_python"] = False
            build_data["infer_tag"] = True
            build_data["artifacts"] += [f"/{path.relative_to(ROOT).as_posix()}" for path in built]

    return KernelsHook


if __name__ == "__main__":
    main()
