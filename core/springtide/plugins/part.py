"""A part that a plugin offers, by its factory or by a reference to it, which is imported when the part is wanted."""

import functools
import importlib
import inspect
import re
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pluggy

from springtide.errors import PluginError, SpringtideError
from springtide.extras import missing_words
from springtide.plugins.options import DeclaredOptions, Option

KINDS: Mapping[str, str] = {
    "encoder": "register_encoders",
    "aggregator": "register_aggregators",
    "loss": "register_losses",
    "negative sampler": "register_negative_samplers",
    "task": "register_tasks",
    "context weight": "register_context_weights",
    "baseline": "register_baselines",
    "decoder": "register_decoders",
    "index": "register_indexes",
    "reranker": "register_rerankers",
}
ON_OFFER: Mapping[str, tuple[str, ...]] = {
    "encoder": ("width", "num_layers", "aggregator", "schema", "make"),
    "aggregator": ("width", "make"),
    "loss": ("num_layers", "make"),
    "negative sampler": ("make",),
    "task": ("make",),
    "context weight": ("make",),
    "baseline": ("make",),
    "decoder": ("make",),
    "index": ("make",),
    "reranker": ("make",),
}
"""For each kind, the arguments that a factory gets if its signature names them; all other parameters are options."""

SERVING_ON_OFFER: Mapping[str, tuple[str, ...]] = {
    "encoder": ("width", "num_layers", "aggregators", "weights", "schema", "make"),
    "aggregator": ("width", "weights", "make"),
}
"""The same for serving halves; only these kinds have one."""

_CLASSES: Mapping[str, str] = {
    "encoder": "springtide.plugins.contracts.model_parts:Encoder",
    "aggregator": "torch_geometric.nn:Aggregation",
    "loss": "springtide.plugins.contracts.model_parts:Loss",
    "negative sampler": "springtide.plugins.contracts.model_parts:NegativeSampler",
    "task": "springtide.plugins.contracts.model_parts:Task",
    "context weight": "springtide.plugins.contracts.context_weights:ContextWeight",
    "baseline": "springtide.plugins.contracts.baselines:Baseline",
    "decoder": "springtide.events.record_decoders:EventDecoder",
    "index": "springtide.plugins.contracts.indexes:Index",
    "reranker": "springtide.plugins.contracts.rerankers:Reranker",
}
_REFERENCE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")

Reference = Callable[..., Any] | str
"""A factory, or where it is: ``package.module:attribute``."""


@dataclass(frozen=True)
class Part:
    """A named part that a plugin offers.

    Attributes:
        kind: One of ``KINDS``.
        name: Name in the settings.
        reference: Class or function that makes the part, or where it is.
        origin: Distribution and version, or the module or file that it came from.
        plugin: Name of the module, or path of the file.
        serving_reference: The same for its serving half; None if it has none.
        is_built_in: Whether it is Springtide's own.
    """

    kind: str
    name: str
    reference: Reference
    origin: str
    plugin: str
    serving_reference: Reference | None = None
    is_built_in: bool = False

    @classmethod
    def of(
        cls,
        kind: str,
        name: str,
        factory: Reference,
        origin: str,
        plugin: str,
        serving: Reference | None = None,
        *,
        is_built_in: bool = False,
    ) -> "Part":
        """Return the part that a plugin registers. A factory is checked now, a reference when it is imported.

        Raises:
            PluginError: If a factory does not declare its options, a reference has another form, or there is a serving
                half of a kind that has none.
        """
        part = cls(kind, name, factory, origin, plugin, serving, is_built_in)
        if serving is not None and kind not in SERVING_ON_OFFER:
            choices = " and ".join(f"{each}s" for each in SERVING_ON_OFFER)
            raise PluginError(f"{part}: only {choices} have a serving half")
        for reference in (factory, serving):
            if isinstance(reference, str) and not _REFERENCE.fullmatch(reference):
                raise PluginError(f"{part}: wanted a reference such as 'package.module:attribute', got {reference!r}")
        if not isinstance(factory, str):
            assert part.declared is not None, "looked at, so that it is refused now"
        if serving is not None and not isinstance(serving, str):
            assert part.serving_declared is not None, "looked at, so that it is refused now"
        return part

    @functools.cached_property
    def factory(self) -> Callable[..., Any]:
        """Class or function that makes the part.

        Raises:
            PluginError: If it cannot be imported.
        """
        return self._imported(self.reference)

    @functools.cached_property
    def declared(self) -> DeclaredOptions:
        """Parameters of the factory.

        Raises:
            PluginError: If it cannot be imported, or does not declare its options.
        """
        return self._declared_by(self.factory, ON_OFFER[self.kind])

    @functools.cached_property
    def serving(self) -> Callable[..., Any]:
        """Class or function that makes the serving half, which there must be.

        Raises:
            PluginError: If it cannot be imported.
        """
        assert self.serving_reference is not None, f"{self} has a serving half"
        return self._imported(self.serving_reference)

    @functools.cached_property
    def serving_declared(self) -> DeclaredOptions:
        """Parameters of the serving half's factory.

        Raises:
            PluginError: If it cannot be imported, or does not declare its options.
        """
        return self._declared_by(self.serving, SERVING_ON_OFFER[self.kind])

    @property
    def options(self) -> Sequence[Option]:
        """The options of the part."""
        return self.declared.options

    @property
    def summary(self) -> str:
        """First line of the factory's docstring."""
        described = self.factory.func if isinstance(self.factory, functools.partial) else self.factory
        return (inspect.getdoc(described) or "").partition("\n")[0]

    def refuse_other(self, made: Any) -> None:
        """Raise PluginError if the factory has made something else than a part of its kind."""
        wanted = import_reference(_CLASSES[self.kind])
        if not isinstance(made, wanted):
            raise PluginError(f"{self} of {self.origin}: wanted a {wanted.__name__}, got {made!r}")

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r}"

    def _imported(self, reference: Reference) -> Callable[..., Any]:
        if not isinstance(reference, str):
            return reference
        try:
            factory: Callable[..., Any] = import_reference(reference)
        except Exception as error:  # A plugin may fail in any way; the message says which one it was.
            message = f"{self} of {self.origin} cannot be imported from {reference!r}: {reason_of(error)}"
            raise PluginError(message) from error
        return factory

    def _declared_by(self, factory: Callable[..., Any], on_offer: Sequence[str]) -> DeclaredOptions:
        try:
            return DeclaredOptions(factory, on_offer)
        except PluginError as error:
            raise PluginError(f"{self}: {error}") from error


@dataclass(frozen=True, slots=True)
class Failure:
    """A plugin that could not be loaded.

    Attributes:
        plugin: Name of the module, or path of the file.
        origin: Distribution and version, or the module or file.
        reason: What went wrong, in one line.
    """

    plugin: str
    origin: str
    reason: str

    def __str__(self) -> str:
        origin = "" if self.origin == self.plugin else f" of {self.origin}"
        return f"plugin {self.plugin!r}{origin} cannot be loaded: {self.reason}"


def import_reference(reference: str) -> Any:
    """Import what ``package.module:attribute`` names.

    Raises:
        Exception: Whatever the import raises; AttributeError if the module has no such attribute.
    """
    module, _, path = reference.partition(":")
    return functools.reduce(getattr, path.split("."), importlib.import_module(module))


def reason_of(error: Exception) -> str:
    """Return what went wrong in one line, and where in the plugin, unless the message says so itself."""
    if (missing := missing_words(error)) is not None:
        return missing
    message = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, SpringtideError | pluggy.PluginValidationError):
        return message
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<frozen")
        and not _is_ours(frame.filename)
        and "importlib" not in frame.filename
    ]
    return f"{message} ({type(error).__name__} in {frames[-1].filename}:{frames[-1].lineno})" if frames else message


def _is_ours(filename: str) -> bool:
    return filename in (__file__, f"{__file__.removesuffix('part.py')}loading.py")
