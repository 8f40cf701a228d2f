"""Which installs bring the packages that not every process needs, in words for who lacks one."""

import importlib.util
from collections.abc import Mapping

from springtide.errors import SettingsError

_TRAIN, _FILES, _NATIVE, _INDEX, _OBJECTS = "train", "files", "native", "index", "s3"
_CONSOLE, _TRACING = "console", "tracing"
_EXTRAS: Mapping[str, str] = {
    "torch": _TRAIN,
    "torch_geometric": _TRAIN,
    "networkx": _TRAIN,
    "numba": _TRAIN,
    "pyarrow": _FILES,
    "pygrpc_native": _NATIVE,
    "usearch": _INDEX,
    "obstore": _OBJECTS,
    "starlette": _CONSOLE,
    "uvicorn": _CONSOLE,
    "connectrpc": _CONSOLE,
    "opentelemetry": _TRACING,
}
"""For each package, by its name in Python, the extra of Springtide that it comes with."""


def missing_words(error: BaseException) -> str | None:
    """Return what is missing and which words install it; None if the error says something else.

    Args:
        error: An error of an import, or one that was raised from it.
    """
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ModuleNotFoundError):
        cause = cause.__cause__
    package = (cause.name or "").partition(".")[0] if isinstance(cause, ModuleNotFoundError) else ""
    extra = _EXTRAS.get(package)
    return None if extra is None else _words(package, extra)


def refuse_without(extra: str) -> None:
    """Raise SettingsError if a package of an extra is not installed; nothing is imported."""
    extras = (_TRAIN, _FILES) if extra == _TRAIN else (extra,)
    for package in (package for package, each in _EXTRAS.items() if each in extras):
        if importlib.util.find_spec(package) is None:
            raise SettingsError(_words(package, extra))


def _words(package: str, extra: str) -> str:
    return f"{package} is not installed: pip install 'springtide[{extra}]'"
