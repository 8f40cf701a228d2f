"""Which models and baselines an evaluation measures, and the keys of their runs."""

import hashlib
import importlib.metadata
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from springtide.errors import SettingsError
from springtide.evaluation.results import RunKey
from springtide.evaluation.variants import without_weights
from springtide.plugins.loading import Plugins
from springtide.settings.model import PartSettings, Settings

DEFAULT, COSINE = "default", "cosine"
"""Names of two models: the model of the settings, and the same model without context weights."""

SEED = "seed"
"""Option by which a baseline declares that its fit depends on chance: it is measured once for each seed."""

# They take minutes on a large data set: only on request.
_SLOW = frozenset({"ease", "slim", "ials", "bpr", "mult_vae", "lightgcn_bpr", "tgn", "sasrec", "gru4rec", "hstu"})

# Settings that do not affect a result, and the seed, which is a field of the key beside the digest.
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
class ModelChoice:
    """The models and baselines to measure: parts to try in place of the settings' parts, by name.

    Attributes:
        encoders: Encoders to try, each with the loss of the settings.
        aggregators: Aggregators to try, each with each of ``encoders``; without these, with the settings' encoder.
        losses: Losses to try, each with the encoder and aggregator of the settings.
        has_all_encoders: Whether to try every encoder that plugins offer.
        has_all_losses: Whether to try every loss that plugins offer.
        models: The only models to measure: ``default``, ``cosine``, or names of baselines. None for the model of the
            settings and the usual baselines.
        has_all_baselines: Whether to include baselines that take minutes.
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
    """Models that differ in one thing and share a table.

    Attributes:
        varied: What they differ in: ``encoder`` (with its aggregator), ``loss``, or ``model``.
        same: What they have in common, in words; empty where ``varied`` is ``model``.
        models: Settings of each model, by its name within the section.
    """

    varied: str
    same: str
    models: Mapping[str, Settings] = field(default_factory=dict)


def plan_sections(settings: Settings, plugins: Plugins, choice: ModelChoice) -> list[Section]:
    """Return the models to measure.

    An encoder other than the settings' gets the aggregator that suits it (``Plugins.resolved``): the settings'
    aggregator was chosen for the settings' encoder, such as the normalised sum for LightGCN.

    Args:
        settings: Everything that ``choice`` does not replace.
        plugins: Plugins that offer the parts.
        choice: Which models to measure; by default the model of the settings alone.

    Raises:
        UnknownPartError: If no plugin offers a part.
    """
    settings = plugins.resolved(settings)
    model, default_aggregator = settings.model, _aggregator_of(plugins.resolved(settings))
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
                [_part(name, default_aggregator) for name in choice.aggregators]
                or [_fitting_aggregator(encoder, settings, plugins)]
            )
        ]
        by_name = {_words(tried.model.encoder, _aggregator_of(tried)): tried for tried in models}
        sections.append(Section("encoder", f"loss {_words(model.loss)}", by_name))
    if losses:
        models = [_with(settings, loss=_part(name, model.loss)) for name in losses]
        same = f"encoder {_words(model.encoder, default_aggregator)}"
        sections.append(Section("loss", same, {_words(tried.model.loss): tried for tried in models}))
    if sections and choice.models is None:
        return sections
    named = [DEFAULT] if choice.models is None else choice.models
    known = {DEFAULT: settings, COSINE: without_weights(settings)}
    chosen = {model_name(known[name]): known[name] for name in named if name in known}
    return [*sections, Section("model", "", chosen)]


def plan_baselines(plugins: Plugins, choice: ModelChoice) -> tuple[list[PartSettings], dict[str, str]]:
    """Return the baselines to measure, and why others cannot be measured, by name.

    Raises:
        UnknownPartError: If ``choice`` names something that is neither a model nor a baseline.
        SettingsError: If ``choice`` names a baseline that cannot work here, such as one whose package is missing.
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


def model_name(settings: Settings) -> str:
    """Return the name of a model, such as ``springtide (lightgcn, sum, cce)``; the settings are resolved."""
    model = settings.model
    parts = _words(model.encoder, _aggregator_of(settings), model.loss)
    return f"springtide ({parts})" if settings.ranking.context_weights else f"springtide ({parts}), cosine alone"


def key_of_model(dataset: str, settings: Settings, plugins: Plugins) -> RunKey:
    """Return the key of a run of this model on this data set; the settings are resolved."""
    relevant = settings.model_dump(
        mode="json", include={"interactions", "graph", "model", "training", "ranking"}, exclude=_NOT_IN_DIGEST
    )
    origins = sorted({plugins.part(kind, name).origin for kind, name in _parts_of(settings)})
    written = json.dumps([relevant, origins], sort_keys=True)
    digest = hashlib.sha256(written.encode()).hexdigest()[:16]
    return RunKey(dataset, model_name(settings), settings.training.seed, digest, _version())


def key_of_baseline(dataset: str, wanted: PartSettings, plugins: Plugins) -> RunKey:
    """Return the key of a run of this baseline on this data set; of the settings, only its own options affect it."""
    options = dict(wanted.options)
    seed = options.pop(SEED, None)  # A field of the key, so that the runs of all seeds are one model.
    written = json.dumps([options, plugins.part("baseline", wanted.name).origin], sort_keys=True)
    return RunKey(dataset, wanted.name, seed, hashlib.sha256(written.encode()).hexdigest()[:16], _version())


def seeded_baselines(wanted: PartSettings, seeds: Sequence[int], plugins: Plugins) -> list[PartSettings]:
    """Return a baseline once for each seed if it declares the option ``seed``, and once otherwise."""
    declared = plugins.part("baseline", wanted.name).declared
    if SEED in wanted.options or all(option.name != SEED for option in declared.options):
        return [wanted]
    return [wanted.model_copy(update={"options": {**wanted.options, SEED: seed}}) for seed in seeds]


def _parts_of(settings: Settings) -> Iterable[tuple[str, str]]:
    """Give kind and name of each part that training and ranking use."""
    model = settings.model
    yield from [("encoder", model.encoder.name), ("aggregator", _aggregator_of(settings).name)]
    yield from [("loss", model.loss.name), ("negative sampler", model.negatives.name)]
    yield from (("task", task.name) for task in model.tasks.values())
    yield from (("context weight", name) for name in settings.ranking.context_weights)


def _version() -> str:
    return importlib.metadata.version("springtide")


def _names(kind: str, plugins: Plugins) -> list[str]:
    return sorted(part.name for part in plugins.parts if part.kind == kind)


def _part(name: str, default: PartSettings) -> PartSettings:
    """Return the part of that name; the settings' part comes with its options."""
    return default if name == default.name else PartSettings(name=name)


def _fitting_aggregator(encoder: PartSettings, settings: Settings, plugins: Plugins) -> PartSettings:
    """Return the settings' aggregator for the settings' encoder, and the one that suits it for another encoder."""
    default = _aggregator_of(settings)
    if encoder.name == settings.model.encoder.name:
        return default
    return _part(_aggregator_of(plugins.resolved(_with(settings, encoder=encoder, aggregator=None))).name, default)


def _aggregator_of(settings: Settings) -> PartSettings:
    assert settings.model.aggregator is not None, "resolved settings name an aggregator"
    return settings.model.aggregator


def _with(settings: Settings, **parts: PartSettings | None) -> Settings:
    return settings.model_copy(update={"model": settings.model.model_copy(update=parts)})


def _words(*parts: PartSettings) -> str:
    """Return the names and options of parts, such as ``gat heads=2, mean``."""
    return ", ".join(" ".join([part.name, *_options(part)]) for part in parts)


def _options(part: PartSettings) -> Iterable[str]:
    for name, value in part.options.items():
        yield f"{name}={'+'.join(map(str, value)) if isinstance(value, list | tuple) else value}"
