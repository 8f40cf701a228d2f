"""The dimensions of a search over settings: what may be changed, to what, and what settings come of it.

Names and fields of the classes below are part of a stored format: a study is identified by a hash of their ``repr``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from springtide.settings.model import PartSettings, Settings

LOSS, ENCODER, NEGATIVES = "model.loss", "model.encoder", "model.negatives"
PARTS = {LOSS: "loss", ENCODER: "encoder", NEGATIVES: "negative sampler"}

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
class Factors(Choices):
    """Factors on a list of numbers, all of which are multiplied alike; 1 leaves them as they are.

    Attributes:
        numbers: The list in the present settings.
    """

    numbers: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Switch(Choices):
    """Whether a context weight that the present settings do not have is added, with its default options."""


@dataclass(frozen=True, slots=True)
class TaskWeights(Choices):
    """The weight of a task beside link prediction; None leaves the task out.

    Attributes:
        task: The task, for settings that do not have it.
    """

    task: PartSettings | None = None


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


def applies(dimension: Dimension, loss: str) -> bool:
    """Return whether a dimension has an effect with that loss."""
    return isinstance(dimension, Choices) or dimension.only_for in ("", loss)


def present_values(space: Sequence[Dimension]) -> dict[str, Any]:
    """Return the values of the present settings, for the dimensions that apply."""
    present: dict[str, Any] = {dimension.name: dimension.present for dimension in space}
    return {dimension.name: dimension.present for dimension in space if applies(dimension, present.get(LOSS, ""))}


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
        if dimension.name in PARTS:
            tree[section][keys[0]] = {"name": value, "options": {}}
            if dimension.name == ENCODER:
                tree[section]["aggregator"] = None
        elif isinstance(dimension, Range) and dimension.only_for:
            loss = tree["model"]["loss"]
            loss["options"] = {**loss["options"], keys[-1]: _rounded(value)}
        elif isinstance(dimension, TaskWeights):
            tree["model"]["tasks"] = _with_task(tree["model"]["tasks"], dimension, keys[1], value)
        else:
            _put(tree[section], keys, _as_setting(dimension, value))
    return Settings.model_validate(tree)


def in_words(space: Sequence[Dimension], values: Values) -> str:
    """Return the values that differ from the present ones, such as ``loss=bce, steps=240``."""
    changes = []
    for dimension in space:
        value = values.get(dimension.name, dimension.present)
        if value != dimension.present:
            short = dimension.name.partition(".")[2].removeprefix("context_weights.")
            if isinstance(dimension, Switch):
                changes.append(f"with {short}")
                continue
            rounded = _rounded(value) if isinstance(value, float) else value
            times = "times " if isinstance(dimension, Factors) else ""
            changes.append(f"{short}={times}{'none' if rounded is None else rounded}")
    return ", ".join(changes)


def _as_setting(dimension: Dimension, value: Any) -> Any:
    """Return what a value of a dimension is in the settings."""
    if isinstance(dimension, Switch):
        return {}
    if isinstance(dimension, Factors):
        return [_rounded(value * number) for number in dimension.numbers]  # As read from TOML.
    return _rounded(value) if isinstance(value, float) else value


def _put(section: dict[str, Any], keys: Sequence[str], value: Any) -> None:
    """Set a setting below a section; tables on the way are copied, since settings share those that are frozen."""
    for key in keys[:-1]:
        section[key] = dict(section[key])
        section = section[key]
    section[keys[-1]] = value


def _with_task(tasks: Mapping[str, Any], dimension: TaskWeights, key: str, weight: float | None) -> dict[str, Any]:
    others = {name: task for name, task in tasks.items() if name != key}
    if weight is None:
        return others
    new = {} if dimension.task is None else dimension.task.model_dump()
    return {**others, key: {**tasks.get(key, new), "weight": _rounded(weight)}}


def _rounded(value: float) -> float:
    return float(f"{value:.3g}") if isinstance(value, float) else value
