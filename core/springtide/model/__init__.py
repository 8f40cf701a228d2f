"""What a trained model is, for training and ranking alike: its parts, exponents and attributes, and the registry.

``registry`` publishes, loads, promotes and rolls back versions; ``manifest`` says what a version is, ``pointer`` which
one is current, ``audit`` who decided it. ``artifact`` reads a loaded version. The room may import the contracts of
plugins and everything below. The names here are imported at their first use: to read the registry takes no torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from springtide.model.attributes import Attributes, NumberScale
    from springtide.model.exponents import Exponents, TermExponents
    from springtide.model.manifest import ModelManifest
    from springtide.model.registry import ModelArtifact, ModelStore
    from springtide.model.schema import ModelSchema

_MODULES = {
    "Attributes": "attributes",
    "Exponents": "exponents",
    "ModelArtifact": "registry",
    "ModelManifest": "manifest",
    "ModelSchema": "schema",
    "ModelStore": "registry",
    "NumberScale": "attributes",
    "TermExponents": "exponents",
}

__all__ = [
    "Attributes",
    "Exponents",
    "ModelArtifact",
    "ModelManifest",
    "ModelSchema",
    "ModelStore",
    "NumberScale",
    "TermExponents",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
