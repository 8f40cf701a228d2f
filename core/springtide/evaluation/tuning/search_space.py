"""What a search over settings may change: parts that suit, the ranges of their options, sizes and rates."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from springtide.errors import PluginError, SettingsError
from springtide.plugins.loading import Plugins
from springtide.plugins.options import Option
from springtide.settings.model import PartSettings, Settings

LOSS, ENCODER, NEGATIVES = "model.loss", "model.encoder", "model.negatives"
_PARTS = {LOSS: "loss", ENCODER: "encoder", NEGATIVES: "negative sampler"}

Values = Mapping[str, Any]
"""By name of a dimension, what it is; those that do not apply are not there."""


@dataclass(frozen=True, slots=True)
class Choices:
    """A setting that is one of a few.

    Attributes:
        name: Dotted path of the setting.
        present: What it is in the settings that the search begins with.
        choices: What it may be, the present one among them: numbers, names, or None.
    """

    name: str
    present: Any
    choices: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """A setting that is a number above 0, as likely to be doubled as halved.

    Attributes:
        name: Dotted path of the setting.
        present: What it is in the settings that the search begins with.
        low: The least that it may be.
        high: The most.
        is_whole: Whether it is a whole number.
        only_for: The loss of which it is an option; empty for other settings.
    """

    name: str
    present: float
    low: float
    high: float
    is_whole: bool = False
    only_for: str = ""


Dimension = Choices | Range


def search_space(settings: Settings, plugins: Plugins) -> list[Dimension]:
    """Return what may be changed, the parts first.

    Of the losses, those that want ratings are left out: a ranking is what is measured. Of encoders, losses and negative
    samplers, only those are in it that go together, whichever are chosen. What the settings have now is always in it.

    Args:
        settings: Where the search begins.
        plugins: What there is to choose from.
    """
    model, rates = settings.model, settings.training
    sampler = plugins.make("negative sampler", model.negatives)
    space: list[Dimension] = []
    losses = [
        name for name in _names("loss", plugins) if _suits(name, settings, plugins, is_selective=sampler.is_selective)
    ]
    space.append(_choices(LOSS, model.loss.name, losses))
    space.append(_choices(ENCODER, model.encoder.name, _fitting(ENCODER, settings, plugins)))
    space.append(_choices(NEGATIVES, model.negatives.name, _samplers(settings, plugins)))
    space += [
        _range("model.num_layers", model.num_layers, 1, 4, is_whole=True),
        _choices("model.width", model.width, [max(2, model.width // 2), min(4096, model.width * 2)]),
        _range("training.learning_rate", rates.learning_rate, 0.002, 0.1),
        _range("training.steps", rates.steps, max(1, rates.steps // 2), rates.steps * 4, is_whole=True),
        _range(
            "training.num_negatives",
            rates.num_negatives,
            max(1, rates.num_negatives // 4),
            rates.num_negatives * 4,
            is_whole=True,
        ),
        _choices("training.positive_half_life_days", rates.positive_half_life_days, [14.0, 30.0, 90.0, 180.0, None]),
        _choices("training.edge_half_life_days", rates.edge_half_life_days, [30.0, 90.0, 180.0, None]),
    ]
    for loss in space[0].choices if isinstance(space[0], Choices) else ():
        present = model.loss.options if loss == model.loss.name else {}
        space += _ranges_of_options(loss, present, plugins)
    return space


def applies(dimension: Dimension, loss: str) -> bool:
    """Return whether a dimension says anything where that loss is chosen."""
    return isinstance(dimension, Choices) or dimension.only_for in ("", loss)


def present_values(space: Sequence[Dimension]) -> dict[str, Any]:
    """Return what the settings have now."""
    present: dict[str, Any] = {dimension.name: dimension.present for dimension in space}
    return {dimension.name: dimension.present for dimension in space if applies(dimension, present[LOSS])}


def with_values(settings: Settings, space: Sequence[Dimension], values: Values) -> Settings:
    """Return the settings with some values in place of their own; what is as it is now changes nothing.

    Numbers are rounded to three digits. A part other than that of the settings comes without the options that those had
    for theirs, and another encoder with the aggregator that suits it.

    Args:
        settings: Where the search began.
        space: Of these settings.
        values: Of some of its dimensions.
    """
    tree = settings.model_dump()
    for dimension in space:
        value = values.get(dimension.name, dimension.present)
        if value == dimension.present:
            continue
        section, *keys = dimension.name.split(".")
        if dimension.name in _PARTS:
            tree[section][keys[0]] = {"name": value, "options": {}}
            if dimension.name == ENCODER:
                tree[section]["aggregator"] = None
        elif isinstance(dimension, Range) and dimension.only_for:
            loss = tree["model"]["loss"]
            loss["options"] = {**loss["options"], keys[-1]: _rounded(value)}
        else:
            tree[section][keys[0]] = _rounded(value) if isinstance(value, float) else value
    return Settings.model_validate(tree)


def in_words(space: Sequence[Dimension], values: Values) -> str:
    """Return how values differ from the present ones, such as ``loss=bce, steps=240``."""
    said = []
    for dimension in space:
        value = values.get(dimension.name, dimension.present)
        if value != dimension.present:
            rounded = _rounded(value) if isinstance(value, float) else value
            short = dimension.name.partition(".")[2]
            said.append(f"{short}={'none' if rounded is None else rounded}")
    return ", ".join(said)


def _names(kind: str, plugins: Plugins) -> list[str]:
    return sorted(part.name for part in plugins.parts if part.kind == kind)


def _suits(loss: str, settings: Settings, plugins: Plugins, *, is_selective: bool) -> bool:
    """Return whether a loss learns to rank, from what the settings' sampler draws."""
    try:
        made = plugins.make("loss", PartSettings(name=loss), num_layers=settings.model.num_layers)
    except (SettingsError, PluginError):
        return False
    return not made.needs_ratings and not (made.needs_random_negatives and is_selective)


def _fitting(part: str, settings: Settings, plugins: Plugins) -> list[str]:
    """Return the names of the parts that work in place of the settings' own, all else as it is."""
    names = []
    for name in _names(_PARTS[part], plugins):
        try:
            own = Choices(part, "", (name,))
            plugins.check(with_values(settings, [own], {part: name}))
            names.append(name)
        except (SettingsError, PluginError):
            continue
    return names


def _samplers(settings: Settings, plugins: Plugins) -> list[str]:
    """Return the samplers that work with the settings' loss; if theirs selects nothing, none that does.

    A selecting one would not go together with every loss.
    """
    is_selective = plugins.make("negative sampler", settings.model.negatives).is_selective
    return [
        name
        for name in _fitting(NEGATIVES, settings, plugins)
        if is_selective or not plugins.make("negative sampler", PartSettings(name=name)).is_selective
    ]


def _ranges_of_options(loss: str, present: Mapping[str, Any], plugins: Plugins) -> Iterator[Range]:
    """Give a range for each option of a loss that is a number above 0, within what the loss declares."""
    for option in plugins.part("loss", loss).options:
        value = present.get(option.name, option.default)
        if option.type == "number" and value > 0:
            low, high = _declared(option, value)
            yield Range(f"{LOSS}.{loss}.{option.name}", float(value), low, high, only_for=loss)


def _declared(option: Option, value: float) -> tuple[float, float]:
    """Return a quarter to four times a value, as far as the option's bounds let it be; its own value is in it."""
    low, high = value / 4, value * 4
    for word, written in re.findall(r"(above|at least|below|at most) ([^\s,]+)", option.range):
        bound = float(written)
        inside = bound + (value - bound) / 100 if word in ("above", "below") else bound
        low, high = (max(low, inside), high) if word in ("above", "at least") else (low, min(high, inside))
    return min(low, value), max(high, value)


def _choices(name: str, present: Any, others: Sequence[Any]) -> Choices:
    return Choices(name, present, tuple(dict.fromkeys([present, *others])))


def _range(name: str, present: float, low: float, high: float, *, is_whole: bool = False) -> Range:
    return Range(name, present, min(low, present), max(high, present), is_whole)


def _rounded(value: float) -> float:
    return float(f"{value:.3g}") if isinstance(value, float) else value
