"""Which models to measure: the settings' own, and those with a part chosen otherwise."""

import hashlib
import importlib.metadata
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from springtide.errors import SettingsError
from springtide.evaluation.results import RunKey
from springtide.plugins.loading import Plugins
from springtide.settings.model import PartSettings, Settings

DEFAULT, COSINE = "default", "cosine"
"""Models that are called by name: that of the settings, and the same without its context weights."""

_SLOW = frozenset({"ease", "slim", "ials", "bpr"})  # Minutes on a large data set: only when they are asked for.

# What does not bear on a result; the seed does, but it stands beside the digest.
_NOT_IN_DIGEST = {
    "model": {"url", "keep"},
    "training": {
        "seed",
        "niceness",
        "retrain_every_s",
        "retrain_after_events",
        "fine_tune_every_s",
        "fine_tune_after_events",
        "refit_every_s",
        "refit_after_events",
        "min_refit_events",
    },
}


@dataclass(frozen=True, slots=True)
class Choice:
    """Which parts to try in place of those of the settings, one kind at a time, by name.

    Attributes:
        encoders: Each with the loss of the settings.
        aggregators: Each with each of ``encoders``, or with the settings' encoder if there are none.
        losses: Each with the encoder and aggregator of the settings.
        has_all_encoders: Whether every encoder that plugins offer is meant.
        has_all_losses: The same for losses.
        models: What is measured and nothing else: ``default``, ``cosine``, or baselines by name. None for the model of
            the settings beside baselines.
        has_all_baselines: Whether those that take minutes are meant, too.
    """

    encoders: Sequence[str] = ()
    aggregators: Sequence[str] = ()
    losses: Sequence[str] = ()
    has_all_encoders: bool = False
    has_all_losses: bool = False
    models: Sequence[str] | None = None
    has_all_baselines: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """Models that belong into one table, since they differ in one thing.

    Attributes:
        varied: What they differ in: ``encoder`` (with its aggregator), ``loss``, or ``model`` if it is but one.
        same: What they have in common, in words; empty if they are but one.
        models: Settings by the name that tells a model from the others of the section.
    """

    varied: str
    same: str
    models: Mapping[str, Settings] = field(default_factory=dict)


def plan_sections(settings: Settings, plugins: Plugins, choice: Choice) -> list[Section]:
    """Return the models to measure.

    An encoder other than that of the settings comes with the aggregator that suits it (``Plugins.resolved``), since
    the settings' aggregator was chosen for the settings' encoder: LightGCN's normalised sum is nobody else's.

    Args:
        settings: All that is not chosen.
        plugins: What there is to choose from.
        choice: What is chosen; if nothing is, the model of the settings is all there is.

    Raises:
        UnknownPartError: If no plugin offers a part.
    """
    settings = plugins.resolved(settings)
    model, own_aggregator = settings.model, _aggregator_of(plugins.resolved(settings))
    encoders = _names("encoder", plugins) if choice.has_all_encoders else choice.encoders
    losses = _names("loss", plugins) if choice.has_all_losses else choice.losses
    for kind, names in (("encoder", encoders), ("aggregator", choice.aggregators), ("loss", losses)):
        for name in names:
            plugins.part(kind, name)
    sections = []
    if encoders or choice.aggregators:
        models = [
            _with(settings, encoder=encoder, aggregator=aggregator)
            for encoder in (_part(name, model.encoder) for name in encoders or [model.encoder.name])
            for aggregator in (
                [_part(name, own_aggregator) for name in choice.aggregators]
                or [_fitting_aggregator(encoder, settings, plugins)]
            )
        ]
        by_name = {_words(of.model.encoder, _aggregator_of(of)): of for of in models}
        sections.append(Section("encoder", f"loss {_words(model.loss)}", by_name))
    if losses:
        models = [_with(settings, loss=_part(name, model.loss)) for name in losses]
        same = f"encoder {_words(model.encoder, own_aggregator)}"
        sections.append(Section("loss", same, {_words(of.model.loss): of for of in models}))
    if sections and choice.models is None:
        return sections
    named = [DEFAULT] if choice.models is None else choice.models
    ours = {DEFAULT: settings, COSINE: without_weights(settings)}
    chosen = {model_name(ours[name]): ours[name] for name in named if name in ours}
    return [*sections, Section("model", "", chosen)]


def plan_baselines(plugins: Plugins, choice: Choice) -> tuple[list[PartSettings], dict[str, str]]:
    """Return the baselines to measure, and why others are left out, by name.

    Raises:
        UnknownPartError: If a model is named that is neither ours nor a baseline.
        SettingsError: If a baseline is named that cannot work here, such as one whose package is missing.
    """
    if choice.models is not None:
        named = [PartSettings(name=name) for name in choice.models if name not in (DEFAULT, COSINE)]
        for wanted in named:
            plugins.make("baseline", wanted)
        return named, {}
    left_out = {}
    planned = []
    for part in plugins.parts:
        if part.kind == "baseline" and (choice.has_all_baselines or part.name not in _SLOW):
            wanted = PartSettings(name=part.name)
            try:
                plugins.make("baseline", wanted)
                planned.append(wanted)
            except SettingsError as error:
                left_out[part.name] = str(error)
    return planned, left_out


def without_weights(settings: Settings) -> Settings:
    """Return the settings of a model that ranks by its cosine alone."""
    ranking = settings.ranking.model_copy(update={"context_weights": {}})
    return settings.model_copy(update={"ranking": ranking})


def model_name(settings: Settings) -> str:
    """Return such as ``springtide (lightgcn, sum, cce)``; the settings are resolved."""
    model = settings.model
    parts = _words(model.encoder, _aggregator_of(settings), model.loss)
    return f"springtide ({parts})" if settings.ranking.context_weights else f"springtide ({parts}), cosine alone"


def key_of_model(dataset: str, settings: Settings, plugins: Plugins) -> RunKey:
    """Return what makes a run of this model on this data set the same as another."""
    bearing = settings.model_dump(
        mode="json", include={"interactions", "graph", "model", "training", "ranking"}, exclude=_NOT_IN_DIGEST
    )
    origins = sorted({plugins.part(kind, name).origin for kind, name in _parts_of(settings)})
    written = json.dumps([bearing, origins], sort_keys=True)
    digest = hashlib.sha256(written.encode()).hexdigest()[:16]
    return RunKey(dataset, model_name(settings), settings.training.seed, digest, _version())


def key_of_baseline(dataset: str, wanted: PartSettings, plugins: Plugins) -> RunKey:
    """Return what makes a run of this baseline the same as another: no setting of ours bears on it, and no seed."""
    written = json.dumps([dict(wanted.options), plugins.part("baseline", wanted.name).origin], sort_keys=True)
    return RunKey(dataset, wanted.name, None, hashlib.sha256(written.encode()).hexdigest()[:16], _version())


def _parts_of(settings: Settings) -> Iterable[tuple[str, str]]:
    """Give kind and name of each part that a training and the ranking after it make."""
    model = settings.model
    yield from [("encoder", model.encoder.name), ("aggregator", _aggregator_of(settings).name)]
    yield from [("loss", model.loss.name), ("negative sampler", model.negatives.name)]
    yield from (("task", task.name) for task in model.tasks.values())
    yield from (("context weight", name) for name in settings.ranking.context_weights)


def _version() -> str:
    return importlib.metadata.version("springtide")


def _names(kind: str, plugins: Plugins) -> list[str]:
    return sorted(part.name for part in plugins.parts if part.kind == kind)


def _part(name: str, own: PartSettings) -> PartSettings:
    """Return the part of that name, with the options of the settings if it is the settings' own."""
    return own if name == own.name else PartSettings(name=name)


def _fitting_aggregator(encoder: PartSettings, settings: Settings, plugins: Plugins) -> PartSettings:
    """Return the settings' aggregator for the settings' encoder, and for another the one that suits it."""
    own = _aggregator_of(settings)
    if encoder.name == settings.model.encoder.name:
        return own
    return _part(_aggregator_of(plugins.resolved(_with(settings, encoder=encoder, aggregator=None))).name, own)


def _aggregator_of(settings: Settings) -> PartSettings:
    assert settings.model.aggregator is not None, "resolved settings name one"
    return settings.model.aggregator


def _with(settings: Settings, **parts: PartSettings | None) -> Settings:
    return settings.model_copy(update={"model": settings.model.model_copy(update=parts)})


def _words(*parts: PartSettings) -> str:
    """Return such as ``gat heads=2, mean``."""
    return ", ".join(" ".join([part.name, *_options(part)]) for part in parts)


def _options(part: PartSettings) -> Iterable[str]:
    for name, value in part.options.items():
        yield f"{name}={'+'.join(map(str, value)) if isinstance(value, list | tuple) else value}"
