"""Parts by name: the parts that plugins offer, made with the options of the settings."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from springtide.errors import PluginError, SettingsError, UnknownPartError
from springtide.extras import missing_words
from springtide.plugins.contracts import EventDecoder, Schema
from springtide.plugins.contracts.serving import ServingAggregator, ServingEncoder
from springtide.plugins.guarding import Guards
from springtide.plugins.part import KINDS, ON_OFFER, SERVING_ON_OFFER, Failure, Part, Reference, import_reference
from springtide.plugins.part_source import NoMore, PartSource
from springtide.plugins.sources import LoadedPlugin, NotAllowed
from springtide.settings.model import EventSettings, ModelSettings, PartSettings, Settings

__all__ = ["EXAMPLE_SCHEMA", "KINDS", "ON_OFFER", "SERVING_ON_OFFER", "Failure", "Part", "PartSource", "Plugins"]

EXAMPLE_SCHEMA = Schema(("user", "item"), (("user", "purchase", "item"), ("item", "rev_purchase", "user")))
"""Schema for making a relational encoder when settings are checked: the graph is not known then."""

_ADAPTER = "springtide.plugins.torch_serving:TorchServingEncoder"  # The only way from a server to torch.
_HALVES: Mapping[str, type] = {"encoder": ServingEncoder, "aggregator": ServingAggregator}


class _NoHalf(Exception):  # noqa: N818  # not an error: torch takes its place
    """Raised when a part has no serving half."""

    def __init__(self, part: Part) -> None:
        super().__init__(str(part))
        self.part = part


class Plugins:
    """The parts that plugins offer.

    Args:
        parts: Parts that come before all others.
        source: The plugins. One is loaded when a part is wanted that none before it offers, or when all are listed.
        guards: Stand before the parts that others wrote; None for none.
    """

    def __init__(
        self, parts: Sequence[Part] = (), source: PartSource | None = None, guards: Guards | None = None
    ) -> None:
        self.guards = guards
        self._own = {(part.kind, part.name): part for part in parts}
        self._source = source or NoMore()

    @property
    def parts(self) -> list[Part]:
        """All parts, of all plugins.

        Raises:
            PluginError: If a plugin cannot be loaded.
        """
        while self._source.load_next():
            pass
        self._source.refuse_failures()
        return list({**self._source.parts, **self._own}.values())

    @property
    def failures(self) -> list[Failure]:
        """Plugins that could not be loaded, of those that were wanted, if ``plugins.on_error`` is ``skip``."""
        return list(self._source.failures)

    @property
    def loaded(self) -> list[LoadedPlugin]:
        """Plugins that were imported up to now, in their order."""
        return list(self._source.loaded)

    @property
    def not_allowed(self) -> list[NotAllowed]:
        """Installed packages that offer plugins, and that the settings do not allow: nothing of them is imported."""
        return self._source.not_allowed()

    def part(self, kind: str, name: str) -> Part:
        """Return the part.

        Raises:
            UnknownPartError: If no plugin offers it.
            PluginError: If none does, and one cannot be loaded.
        """
        key = kind, name
        while (found := self._own.get(key) or self._source.parts.get(key)) is None:
            if not self._source.load_next():
                choices = (part.name for part in self.parts if part.kind == kind)
                raise UnknownPartError(kind, name, choices, self.not_allowed)
        return found

    def with_part(
        self, kind: str, name: str, factory: Reference, origin: str = "here", serving: Reference | None = None
    ) -> "Plugins":
        """Return these parts and one more, which replaces a part of the same kind and name.

        Raises:
            PluginError: If the factory does not declare its options.
        """
        part = Part.of(kind, name, factory, origin, origin, serving)
        return Plugins([*({**self._own, (kind, name): part}).values()], self._source, self.guards)

    def behind(self, guards: Guards | None) -> "Plugins":
        """Return the same parts; those that others wrote are made behind guards."""
        return Plugins([*self._own.values()], self._source, guards)

    def make(self, kind: str, wanted: PartSettings, **offered: Any) -> Any:
        """Make a part with its options; one that others wrote stands behind a guard, if there are guards.

        Args:
            kind: One of ``KINDS``.
            wanted: Its name and options.
            **offered: Arguments by the names of ``ON_OFFER``; the factory gets those that its signature names.
                ``make`` is always offered: it makes another part with the same arguments.

        Raises:
            UnknownPartError: If no plugin offers it.
            SettingsError: If it does not take the options, or refuses their values.
            PluginError: If it cannot be imported, or its factory makes something else than a part of this kind.
        """
        made = self._make(kind, wanted, **offered)
        return self._guarded(made, self.part(kind, wanted.name))

    def _guarded(self, made: Any, *parts: Part) -> Any:
        """Return what was made of some parts, behind the guard of the first that others wrote."""
        outsiders = [part for part in parts if not part.is_built_in]
        if self.guards is None or not outsiders:
            return made
        from springtide.plugins.guarded_parts import guarded

        return guarded(made, self.guards.of(outsiders[0]))

    def _make(self, kind: str, wanted: PartSettings, **offered: Any) -> Any:
        part = self.part(kind, wanted.name)

        def make_another(kind: str, name: str) -> Any:
            return self._make(kind, PartSettings(name=name), **offered)

        on_offer = {"make": make_another, **offered}
        taken = {name: value for name, value in on_offer.items() if name in part.declared.takes}
        made = _naming(part, lambda: part.factory(**taken, **part.declared.validated(wanted.options)))
        part.refuse_other(made)
        return made

    def make_decoders(self, settings: EventSettings) -> dict[str, EventDecoder]:
        """Make the decoders of the settings, by name, in the order in which records are offered to them.

        Raises:
            SettingsError: If one is unknown, or does not take its options.
        """
        wanted = settings.decoders.items()
        return {name: self.make("decoder", PartSettings(name=name, options=options)) for name, options in wanted}

    def make_serving_encoder(
        self, model: ModelSettings, schema: Schema, weights: Mapping[str, npt.NDArray[np.float32]]
    ) -> ServingEncoder:
        """Make the serving half of a trained encoder, with those of its aggregators.

        Where the encoder or an aggregator has no serving half, the encoder itself is made, behind an adapter that takes
        and gives arrays; only then torch is imported. ``ServingEncoder.parts_with_torch`` says which part asked for it.

        Args:
            model: Settings of the model.
            schema: Types of nodes and edges of the model.
            weights: Parameters of the encoder, under the names of its ``state_dict``.

        Raises:
            UnknownPartError: If no plugin offers one of them.
            SettingsError: If one does not take its options, or they do not fit each other.
            PluginError: If a serving half cannot be imported, or is none.
            KeyError: If weights are missing.
        """
        parts = self.part("encoder", model.encoder.name), self.part("aggregator", self.aggregator_of(model).name)
        encoder: ServingEncoder = self._guarded(self._make_serving_encoder(model, schema, weights), *parts)
        return encoder

    def _make_serving_encoder(
        self, model: ModelSettings, schema: Schema, weights: Mapping[str, npt.NDArray[np.float32]]
    ) -> ServingEncoder:
        without_half = self.parts_with_torch(model)
        if not without_half:
            try:
                return self._make_halves(model, schema, weights)
            except _NoHalf as missing:  # Of an aggregator that another one makes.
                without_half = [missing.part]
        try:
            make_adapter = import_reference(_ADAPTER)
        except ModuleNotFoundError as error:
            names = " and ".join(map(str, without_half))
            raise PluginError(f"no serving half of {names}: {missing_words(error) or error}") from error
        adapter: ServingEncoder = make_adapter(model, schema, weights, self, without_half)
        return adapter

    def parts_with_torch(self, model: ModelSettings) -> list[Part]:
        """Return the encoder and the aggregator of the settings, of these those without a serving half.

        Raises:
            UnknownPartError: If no plugin offers one of them.
        """
        parts = [self.part("encoder", model.encoder.name), self.part("aggregator", self.aggregator_of(model).name)]
        return [part for part in parts if part.serving_reference is None]

    def _make_halves(
        self, model: ModelSettings, schema: Schema, weights: Mapping[str, npt.NDArray[np.float32]]
    ) -> ServingEncoder:
        wanted = self.aggregator_of(model)
        aggregators = [
            self._make_half("aggregator", wanted, width=model.width, weights=_under(f"aggregators.{depth}.", weights))
            for depth in range(model.num_layers)
        ]
        encoder: ServingEncoder = self._make_half(
            "encoder",
            model.encoder,
            width=model.width,
            num_layers=model.num_layers,
            aggregators=aggregators,
            weights=weights,
            schema=schema,
        )
        return encoder

    def _make_half(self, kind: str, wanted: PartSettings, **offered: Any) -> Any:
        part = self.part(kind, wanted.name)
        if part.serving_reference is None:
            raise _NoHalf(part)

        def make_another(kind: str, name: str, weights: Mapping[str, npt.NDArray[np.float32]]) -> Any:
            return self._make_half(kind, PartSettings(name=name), **{**offered, "weights": weights})

        on_offer = {"make": make_another, **offered}
        declared = part.serving_declared
        taken = {name: value for name, value in on_offer.items() if name in declared.takes}
        made = _naming(part, lambda: part.serving(**taken, **declared.validated(wanted.options)))
        if not isinstance(made, _HALVES[kind]):
            raise PluginError(
                f"serving half of {part} of {part.origin}: wanted a {_HALVES[kind].__name__}, got {made!r}"
            )
        return made

    def aggregator_of(self, model: ModelSettings) -> PartSettings:
        """Return the aggregator of the settings, or the encoder's default, or ``mean``.

        Raises:
            UnknownPartError: If no plugin offers the encoder.
        """
        if model.aggregator is not None:
            return model.aggregator
        part = self.part("encoder", model.encoder.name)
        # The serving half says the same, without torch.
        factory = part.factory if part.serving_reference is None else part.serving
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
            return _noting(problems, key, lambda: self.make(kind, wanted, **offered))

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
        for key, kind, wanted in (*_serving_parts(settings), *_baselines(settings)):
            made(key, kind, wanted)
        if problems:
            raise SettingsError("; ".join(problems))

    def check_serving(self, settings: Settings) -> None:
        """Make every part that a server makes; of all other parts that the settings name, see whether a plugin has it.

        What training alone needs is not imported. The options of such a part are checked where that takes no import: by
        its serving half, or by its factory if the plugin registered that itself.

        Raises:
            SettingsError: As ``check`` does.
        """
        problems: list[str] = []
        model = settings.model
        wanted_parts = [
            ("model.encoder", "encoder", model.encoder),
            ("model.loss", "loss", model.loss),
            ("model.negatives", "negative sampler", model.negatives),
            *((f"model.tasks.{name}", "task", task) for name, task in model.tasks.items()),
            *_baselines(settings),
        ]
        if model.aggregator is not None:
            wanted_parts.insert(0, ("model.aggregator", "aggregator", model.aggregator))
        for key, kind, wanted in wanted_parts:
            _noting(problems, key, lambda kind=kind, wanted=wanted: self._check_options(kind, wanted))  # type: ignore[misc]
        for key, kind, wanted in _serving_parts(settings):
            _noting(problems, key, lambda kind=kind, wanted=wanted: self.make(kind, wanted))  # type: ignore[misc]
        if problems:
            raise SettingsError("; ".join(problems))

    def _check_options(self, kind: str, wanted: PartSettings) -> None:
        part = self.part(kind, wanted.name)
        if not isinstance(part.reference, str):
            _naming(part, lambda: part.declared.validated(wanted.options))
        elif part.serving_reference is not None:
            _naming(part, lambda: part.serving_declared.validated(wanted.options))


def _noting(problems: list[str], key: str, work: Callable[[], Any]) -> Any:
    """Return the result; note a refusal with the key of its setting, and return None."""
    try:
        return work()
    except (SettingsError, PluginError) as error:
        problems.append(f"{key}: {error}")


def _naming(part: Part, make: Callable[[], Any]) -> Any:
    """Return what is made; a refused option or value becomes a SettingsError that names the part."""
    try:
        return make()
    except (SettingsError, ValueError) as error:
        message = str(error)
        raise SettingsError(message if message.startswith(str(part)) else f"{part}: {message}") from error


def _serving_parts(settings: Settings) -> list[tuple[str, str, PartSettings]]:
    """Return key, kind, and name with options of the parts that a server makes at its start."""
    weights, decoders = settings.ranking.context_weights, settings.events.decoders
    return [
        *(
            (f"ranking.context_weights.{name}", "context weight", PartSettings(name=name, options=options))
            for name, options in weights.items()
        ),
        *(
            (f"events.decoders.{name}", "decoder", PartSettings(name=name, options=options))
            for name, options in decoders.items()
        ),
        *([] if settings.ranking.index is None else [("ranking.index", "index", settings.ranking.index)]),
        *(
            (f"ranking.rerankers.{name}", "reranker", PartSettings(name=name, options=options))
            for name, options in settings.ranking.rerankers.items()
        ),
    ]


def _baselines(settings: Settings) -> list[tuple[str, str, PartSettings]]:
    return [
        (f"gate.baselines.{name}", "baseline", PartSettings(name=name, options=options))
        for name, options in (settings.gate.baselines.items() if settings.gate.is_on else ())
    ]


def _under(prefix: str, weights: Mapping[str, npt.NDArray[np.float32]]) -> dict[str, npt.NDArray[np.float32]]:
    return {name.removeprefix(prefix): weight for name, weight in weights.items() if name.startswith(prefix)}
