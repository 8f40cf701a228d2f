"""The search space over settings: compatible parts, ranges of their options, sizes and rates.

Names and fields of the classes below are part of a stored format: a study is identified by a hash of their ``repr``.
"""

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
"""Value of each dimension, by name; dimensions that do not apply are absent."""


@dataclass(frozen=True, slots=True)
class Choices:
    """A dimension with a few possible values.

    Attributes:
        name: Dotted path of the setting.
        present: Its value in the present settings, with which the search starts.
        choices: Its possible values, the present one included: numbers, names, or None.
    """

    name: str
    present: Any
    choices: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """A dimension of positive numbers, searched on a logarithmic scale.

    Attributes:
        name: Dotted path of the setting.
        present: Its value in the present settings, with which the search starts.
        low: Smallest possible value.
        high: Largest possible value.
        is_whole: Whether it is a whole number.
        only_for: The loss whose option it is; empty for other settings.
    """

    name: str
    present: float
    low: float
    high: float
    is_whole: bool = False
    only_for: str = ""


Dimension = Choices | Range


def search_space(settings: Settings, plugins: Plugins) -> list[Dimension]:
    """Return the dimensions of the search, parts first.

    Losses that need ratings are left out, since the objective is ranking. Encoders, losses and negative samplers are
    limited to those that are compatible in every combination. The present settings are always part of the space.

    Args:
        settings: The present settings, with which the search starts.
        plugins: Plugins that offer the parts.
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
    """Return whether a dimension has an effect with that loss."""
    return isinstance(dimension, Choices) or dimension.only_for in ("", loss)


def present_values(space: Sequence[Dimension]) -> dict[str, Any]:
    """Return the values of the present settings, for the dimensions that apply."""
    present: dict[str, Any] = {dimension.name: dimension.present for dimension in space}
    return {dimension.name: dimension.present for dimension in space if applies(dimension, present[LOSS])}


def with_values(settings: Settings, space: Sequence[Dimension], values: Values) -> Settings:
    """Return the settings with other values; a value that equals the present one changes nothing.

    Numbers are rounded to three significant digits. Another part has its default options, and another encoder gets the
    aggregator that suits it.

    Args:
        settings: The present settings, with which the search started.
        space: The search space of these settings.
        values: Values of some of its dimensions, by name.
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
    """Return the values that differ from the present ones, such as ``loss=bce, steps=240``."""
    changes = []
    for dimension in space:
        value = values.get(dimension.name, dimension.present)
        if value != dimension.present:
            rounded = _rounded(value) if isinstance(value, float) else value
            short = dimension.name.partition(".")[2]
            changes.append(f"{short}={'none' if rounded is None else rounded}")
    return ", ".join(changes)


def _names(kind: str, plugins: Plugins) -> list[str]:
    return sorted(part.name for part in plugins.parts if part.kind == kind)


def _suits(loss: str, settings: Settings, plugins: Plugins, *, is_selective: bool) -> bool:
    """Return whether a loss learns to rank, and works with the settings' negative sampler."""
    try:
        made = plugins.make("loss", PartSettings(name=loss), num_layers=settings.model.num_layers)
    except (SettingsError, PluginError):
        return False
    return not made.needs_ratings and not (made.needs_random_negatives and is_selective)


def _fitting(part: str, settings: Settings, plugins: Plugins) -> list[str]:
    """Return the names of the parts that work in place of the settings' part, all else unchanged."""
    names = []
    for name in _names(_PARTS[part], plugins):
        try:
            dimension = Choices(part, "", (name,))
            plugins.check(with_values(settings, [dimension], {part: name}))
            names.append(name)
        except (SettingsError, PluginError):
            continue
    return names


def _samplers(settings: Settings, plugins: Plugins) -> list[str]:
    """Return the names of the negative samplers that work with the settings' loss.

    Selective samplers are left out if the settings' sampler is not selective, since they do not work with every loss.
    """
    is_selective = plugins.make("negative sampler", settings.model.negatives).is_selective
    return [
        name
        for name in _fitting(NEGATIVES, settings, plugins)
        if is_selective or not plugins.make("negative sampler", PartSettings(name=name)).is_selective
    ]


def _ranges_of_options(loss: str, present: Mapping[str, Any], plugins: Plugins) -> Iterator[Range]:
    """Give a range for each option of a loss that is a positive number, within the bounds that the loss declares."""
    for option in plugins.part("loss", loss).options:
        value = present.get(option.name, option.default)
        if option.type == "number" and value > 0:
            low, high = _declared(option, value)
            yield Range(f"{LOSS}.{loss}.{option.name}", float(value), low, high, only_for=loss)


def _declared(option: Option, value: float) -> tuple[float, float]:
    """Return the range from a quarter of a value to four times the value, within the option's bounds."""
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
