"""The search space over settings: compatible parts, ranges of their options, sizes and rates, weights of tasks."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from springtide.errors import PluginError, SettingsError
from springtide.evaluation.data.datasets import Dataset
from springtide.evaluation.protocols.train_test import WEIGHTS_OF_THE_MOMENT
from springtide.evaluation.tuning.dimensions import (
    ENCODER,
    LOSS,
    NEGATIVES,
    PARTS,
    Choices,
    Dimension,
    Factors,
    Range,
    Switch,
    TaskWeights,
    with_values,
)
from springtide.plugins.contracts import ContextWeight, Task
from springtide.plugins.loading import Plugins
from springtide.plugins.options import Option
from springtide.settings.model import PartSettings, Settings

_TASK_WEIGHTS = (None, 0.01, 0.03, 0.1, 0.3, 1.0)
_MAX_VALUES = 100  # Of a category that is worth predicting: an id is none.
_FACTORS = (0.5, 1.0, 2.0)


def search_space(settings: Settings, plugins: Plugins, dataset: Dataset | None = None) -> list[Dimension]:
    """Return the dimensions of the search, parts first.

    Losses that need ratings are left out, since the objective is ranking. Encoders, losses and negative samplers are
    limited to those that are compatible in every combination. The present settings are always part of the space.

    Context weights of the moment, such as the calendar, are left out, since one ranking stands for the whole validation
    set; so are those that look at circumstances that the data set does not have. Tasks are those of the settings, those
    that need no attribute, and the classification of items by each category that they have.

    Args:
        settings: The present settings, with which the search starts.
        plugins: Plugins that offer the parts.
        dataset: The data set, for its circumstances and categories; None for none of either.
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
        _range("training.edges_per_user", rates.edges_per_user, 8, rates.edges_per_user * 2, is_whole=True),
        _choices("training.weight_decay", rates.weight_decay, [0.0, 1e-6, 1e-5, 1e-4]),
        _choices("training.exponent_slice", rates.exponent_slice, [0.04, 0.07, 0.11, 0.16]),
        _choices("model.id_dropout", model.id_dropout, [0.0, 0.1, 0.2]),
    ]
    for loss in space[0].choices if isinstance(space[0], Choices) else ():
        present = model.loss.options if loss == model.loss.name else {}
        space += _ranges_of_options("loss", loss, f"{LOSS}.{loss}", present, plugins, only_for=loss)
    return [*space, *_of_context_weights(settings, plugins, dataset), *_of_tasks(settings, plugins, dataset)]


def restricted(space: Sequence[Dimension], only: Sequence[str]) -> list[Dimension]:
    """Return the dimensions at and below some settings; all others keep their present values.

    The loss always stays, with its present value alone if it is not named, since its options depend on it.

    Args:
        space: All dimensions.
        only: Dotted paths of settings, such as ``model.tasks`` or ``training.steps``; empty for all dimensions.

    Raises:
        SettingsError: If nothing is searched at or below one of them.
    """
    if not only:
        return list(space)
    for path in only:
        if not any(_is_below(dimension.name, path) for dimension in space):
            choices = ", ".join(dimension.name for dimension in space)
            raise SettingsError(f"wanted settings that are searched, got {path!r} (choices, and all above: {choices})")
    kept = [dimension for dimension in space if any(_is_below(dimension.name, path) for path in only)]
    if any(dimension.name == LOSS for dimension in kept):
        return kept
    return [*(Choices(LOSS, each.present, (each.present,)) for each in space if each.name == LOSS), *kept]


def _is_below(name: str, path: str) -> bool:
    return name == path or name.startswith(f"{path}.")


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
    for name in _names(PARTS[part], plugins):
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


def _ranges_of_options(
    kind: str, part: str, path: str, present: Mapping[str, Any], plugins: Plugins, only_for: str = ""
) -> Iterator[Range]:
    """Give a range for each option of a part that is a positive number, within the bounds that the part declares."""
    for option in plugins.part(kind, part).options:
        value = present.get(option.name, option.default)
        if option.type in ("number", "number or none") and isinstance(value, int | float) and value > 0:
            low, high = _declared(option, value)
            yield Range(f"{path}.{option.name}", float(value), low, high, only_for=only_for)


def _of_context_weights(settings: Settings, plugins: Plugins, dataset: Dataset | None) -> Iterator[Dimension]:
    """Give the options of the settings' context weights, and a switch for each other one that needs no options."""
    present, path = settings.ranking.context_weights, "ranking.context_weights"
    for name in _names("context weight", plugins):
        options = present.get(name, {})
        made = _made("context weight", PartSettings(name=name, options=dict(options)), plugins)
        if name in WEIGHTS_OF_THE_MOMENT or not isinstance(made, ContextWeight):
            continue
        if made.context_keys and not set(made.context_keys) & _circumstances(dataset):
            continue
        if name not in present:
            yield Switch(f"{path}.{name}", present=False, choices=(False, True))
            continue
        yield from _ranges_of_options("context weight", name, f"{path}.{name}", options, plugins)
        for option in plugins.part("context weight", name).options:
            if option.name.startswith("half_lives"):
                numbers = tuple(float(number) for number in options.get(option.name, option.default))
                yield Factors(f"{path}.{name}.{option.name}", 1.0, _FACTORS, numbers)


def _of_tasks(settings: Settings, plugins: Plugins, dataset: Dataset | None) -> Iterator[TaskWeights]:
    """Give the weights of the settings' tasks, and of others that can be learned from the data."""
    present = settings.model.tasks
    for key, task in present.items():
        weights = (task.weight, None, task.weight / 10, task.weight / 3, task.weight * 3, task.weight * 10)
        yield TaskWeights(f"model.tasks.{key}.weight", task.weight, weights)
    learned = {(task.name, *sorted(task.options.items())) for task in present.values()}
    others = {name: PartSettings(name=name) for name in _names("task", plugins)}
    others = {name: task for name, task in others.items() if _needs_no_label(task, plugins)}
    if "node_classification" in _names("task", plugins):
        for attribute in _categories(dataset):
            options = {"node_type": "item", "attribute": attribute}
            others[f"item_{attribute}"] = PartSettings(name="node_classification", options=options)
    for key, other in others.items():
        if key not in present and "." not in key and (other.name, *sorted(other.options.items())) not in learned:
            yield TaskWeights(f"model.tasks.{key}.weight", None, _TASK_WEIGHTS, other)


def _needs_no_label(task: PartSettings, plugins: Plugins) -> bool:
    made = _made("task", task, plugins, width=2)
    return isinstance(made, Task) and not made.labels


def _categories(dataset: Dataset | None) -> list[str]:
    """Return the categories of items with two values or more, but not so many that they are ids, in order."""
    values: dict[str, set[str]] = {}
    for node in dataset.upserts if dataset else ():
        if node.node_type == "item":
            for name, of_node in node.categories.items():
                values.setdefault(name, set()).update(of_node[:1])  # The task predicts the first one.
    return sorted(name for name, found in values.items() if 2 <= len(found) <= _MAX_VALUES)


def _circumstances(dataset: Dataset | None) -> set[str]:
    contexts = dataset.interactions.contexts if dataset else None
    maps = {id(context): context for context in contexts or ()}  # Rows that share all circumstances share one map.
    return {key for context in maps.values() for key, value in context.items() if value}


def _made(kind: str, part: PartSettings, plugins: Plugins, **passed: Any) -> Any:
    """Return a part; None if it cannot be made with these options."""
    try:
        return plugins.make(kind, part, **passed)
    except (SettingsError, PluginError):
        return None


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
