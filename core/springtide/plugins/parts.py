"""Parts by name: the parts that plugins offer, made with the options of the settings."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch_geometric.nn import Aggregation

from springtide.errors import PluginError, SettingsError, UnknownPartError
from springtide.plugins.contracts import (
    Baseline,
    ContextWeight,
    Encoder,
    EventDecoder,
    Loss,
    NegativeSampler,
    Schema,
    Task,
)
from springtide.plugins.options import DeclaredOptions, Option
from springtide.settings.model import EventSettings, ModelSettings, PartSettings, Settings

KINDS: Mapping[str, str] = {
    "encoder": "register_encoders",
    "aggregator": "register_aggregators",
    "loss": "register_losses",
    "negative sampler": "register_negative_samplers",
    "task": "register_tasks",
    "context weight": "register_context_weights",
    "baseline": "register_baselines",
    "decoder": "register_decoders",
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
}
"""For each kind, the arguments that a factory gets if its signature names them; all other parameters are options."""

EXAMPLE_SCHEMA = Schema(("user", "item"), (("user", "purchase", "item"), ("item", "rev_purchase", "user")))
"""Schema for making a relational encoder when settings are checked: the graph is not known then."""

_CLASSES: Mapping[str, type] = {
    "encoder": Encoder,
    "aggregator": Aggregation,
    "loss": Loss,
    "negative sampler": NegativeSampler,
    "task": Task,
    "context weight": ContextWeight,
    "baseline": Baseline,
    "decoder": EventDecoder,
}


@dataclass(frozen=True, slots=True)
class Part:
    """A named part that a plugin offers.

    Attributes:
        kind: One of ``KINDS``.
        name: Name in the settings.
        factory: Class or function that makes the part.
        origin: Distribution and version, or the module or file that it came from.
        plugin: Name of the module, or path of the file.
        declared: Parameters of the factory.
    """

    kind: str
    name: str
    factory: Callable[..., Any]
    origin: str
    plugin: str
    declared: DeclaredOptions

    @classmethod
    def of(cls, kind: str, name: str, factory: Callable[..., Any], origin: str, plugin: str) -> "Part":
        """Return the part that a plugin registers.

        Raises:
            PluginError: If the factory does not declare its options.
        """
        try:
            declared = DeclaredOptions(factory, ON_OFFER[kind])
        except PluginError as error:
            raise PluginError(f"{kind} {name!r}: {error}") from error
        return cls(kind, name, factory, origin, plugin, declared)

    @property
    def options(self) -> Sequence[Option]:
        """The options of the part."""
        return self.declared.options

    @property
    def summary(self) -> str:
        """First line of the factory's docstring."""
        described = self.factory.func if isinstance(self.factory, functools.partial) else self.factory
        return (inspect.getdoc(described) or "").partition("\n")[0]


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


class Plugins:
    """The parts that the loaded plugins offer.

    Attributes:
        parts: All of them.
        failures: Plugins that could not be loaded, if the setting ``plugins.on_error`` is ``skip``.
    """

    def __init__(self, parts: list[Part], failures: list[Failure] | None = None) -> None:
        self.parts = parts
        self.failures = failures or []
        self._by_kind_and_name = {(part.kind, part.name): part for part in parts}

    def part(self, kind: str, name: str) -> Part:
        """Return the part.

        Raises:
            UnknownPartError: If no plugin offers it.
        """
        try:
            return self._by_kind_and_name[kind, name]
        except KeyError:
            raise UnknownPartError(kind, name, (part.name for part in self.parts if part.kind == kind)) from None

    def with_part(self, kind: str, name: str, factory: Callable[..., Any], origin: str = "here") -> "Plugins":
        """Return these parts and one more, which replaces a part of the same kind and name.

        Raises:
            PluginError: If the factory does not declare its options.
        """
        others = [part for part in self.parts if (part.kind, part.name) != (kind, name)]
        return Plugins([*others, Part.of(kind, name, factory, origin, origin)], self.failures)

    def make(self, kind: str, wanted: PartSettings, **offered: Any) -> Any:
        """Make a part with its options.

        Args:
            kind: One of ``KINDS``.
            wanted: Its name and options.
            **offered: Arguments by the names of ``ON_OFFER``; the factory gets those that its signature names.
                ``make`` is always offered: it makes another part with the same arguments.

        Raises:
            UnknownPartError: If no plugin offers it.
            SettingsError: If it does not take the options, or refuses their values.
            PluginError: If its factory makes something else than a part of this kind.
        """
        part = self.part(kind, wanted.name)

        def make_another(kind: str, name: str) -> Any:
            return self.make(kind, PartSettings(name=name), **offered)

        on_offer = {"make": make_another, **offered}
        taken = {name: value for name, value in on_offer.items() if name in part.declared.takes}
        try:
            made = part.factory(**taken, **part.declared.validated(wanted.options))
        except (SettingsError, ValueError) as error:
            message, heading = str(error), f"{kind} {part.name!r}"
            raise SettingsError(message if message.startswith(heading) else f"{heading}: {message}") from error
        if not isinstance(made, _CLASSES[kind]):
            wanted_class = _CLASSES[kind].__name__
            raise PluginError(f"{kind} {part.name!r} of {part.origin}: wanted a {wanted_class}, got {made!r}")
        return made

    def make_decoders(self, settings: EventSettings) -> dict[str, EventDecoder]:
        """Make the decoders of the settings, by name, in the order in which records are offered to them.

        Raises:
            SettingsError: If one is unknown, or does not take its options.
        """
        wanted = settings.decoders.items()
        return {name: self.make("decoder", PartSettings(name=name, options=options)) for name, options in wanted}

    def aggregator_of(self, model: ModelSettings) -> PartSettings:
        """Return the aggregator of the settings, or the encoder's default, or ``mean``.

        Raises:
            UnknownPartError: If no plugin offers the encoder.
        """
        if model.aggregator is not None:
            return model.aggregator
        factory = self.part("encoder", model.encoder.name).factory
        while isinstance(factory, functools.partial):
            factory = factory.func
        return PartSettings(name=getattr(factory, "default_aggregator", None) or "mean")

    def resolved(self, settings: Settings) -> Settings:
        """Return the settings with the aggregator that is used; see ``aggregator_of``."""
        model = settings.model
        return settings.model_copy(update={"model": model.model_copy(update={"aggregator": self.aggregator_of(model)})})

    def check(self, settings: Settings) -> None:
        """Make every part that the settings name, so that wrong settings are refused before anything starts.

        Raises:
            SettingsError: If a part is unknown or does not take its options, or two parts do not go together. One line
                lists all problems, each with the key of its setting.
        """
        problems: list[str] = []

        def made(key: str, kind: str, wanted: PartSettings, **offered: Any) -> Any:
            try:
                return self.make(kind, wanted, **offered)
            except (SettingsError, PluginError) as error:
                problems.append(f"{key}: {error}")

        model = settings.model
        try:
            wanted = self.aggregator_of(model)
        except UnknownPartError:
            wanted = PartSettings(name="mean")  # The unknown encoder is reported below.
        aggregator = made("model.aggregator", "aggregator", wanted, width=model.width)
        if aggregator is not None:
            sizes = {"width": model.width, "num_layers": model.num_layers}
            made("model.encoder", "encoder", model.encoder, **sizes, aggregator=aggregator, schema=EXAMPLE_SCHEMA)
        loss = made("model.loss", "loss", model.loss, num_layers=model.num_layers)
        sampler = made("model.negatives", "negative sampler", model.negatives)
        if loss is not None and sampler is not None and loss.needs_random_negatives and sampler.is_selective:
            problems.append(
                f"model.negatives: loss {model.loss.name!r} needs negatives as they were drawn, and negative sampler "
                f"{model.negatives.name!r} selects among them"
            )
        for name, task in model.tasks.items():
            # A task may make other parts, which may take the width, too.
            made(f"model.tasks.{name}", "task", task, width=model.width)
        for name, options in settings.ranking.context_weights.items():
            made(f"ranking.context_weights.{name}", "context weight", PartSettings(name=name, options=options))
        for name, options in settings.gate.baselines.items() if settings.gate.is_on else ():
            made(f"gate.baselines.{name}", "baseline", PartSettings(name=name, options=options))
        for name, options in settings.events.decoders.items():
            made(f"events.decoders.{name}", "decoder", PartSettings(name=name, options=options))
        if problems:
            raise SettingsError("; ".join(problems))
