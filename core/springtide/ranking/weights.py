"""Context weights as one thing: made from settings, read at a moment, and raised to their exponents."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from springtide.config import PartSettings, RankingSettings
from springtide.graph.nodes import NodeTable
from springtide.plugins.contracts import ContextWeight, History, ItemGroups, Moment
from springtide.plugins.loading import Plugins

Array = npt.NDArray[np.float32]


def make_context_weights(settings: RankingSettings, plugins: Plugins) -> dict[str, ContextWeight]:
    """Make the context weights that the settings name, knowing nothing yet.

    Raises:
        UnknownPartError: If no plugin offers one of them.
        SettingsError: If one does not take its options.
    """
    return {
        name: plugins.make("context weight", PartSettings(name=name, options=options))
        for name, options in settings.context_weights.items()
    }


def make_grouped_weights(
    settings: RankingSettings, plugins: Plugins, items: NodeTable, num_items: int
) -> dict[str, ContextWeight]:
    """Make the context weights that the settings name, which know nothing yet but what items belong to."""
    weights = make_context_weights(settings, plugins)
    groups = item_groups(items, num_items, settings.item_groups)
    for weight in weights.values():
        weight.regroup(groups)
    return weights


def item_groups(items: NodeTable, num_items: int, names: Sequence[str]) -> ItemGroups:
    """Return what items belong to, by category attributes.

    Args:
        items: The items.
        num_items: How many there are.
        names: Attributes, from the coarse to the fine; those that no item has are left out. Of several values of an
            item, the first counts.
    """
    categories = items.categories
    known = [(name, categories[name]) for name in names if name in categories]
    return ItemGroups(
        tuple(name for name, _ in known),
        tuple(column.first_codes()[:num_items] for _, column in known),
        tuple(len(column.vocabulary) for _, column in known),
    )


def factor_names(weights: Mapping[str, ContextWeight]) -> list[tuple[str, str]]:
    """Return (weight, factor) for each factor of each weight, in the order that arrays of all factors have."""
    return [(name, factor.name) for name, weight in weights.items() for factor in weight.factors]


@dataclass(frozen=True, slots=True)
class Terms:
    """How much each term of the ranking counts.

    Attributes:
        cosine: What cosines are multiplied by, 0 or more: one over the temperature.
        factors: For each context weight, the exponent of each factor; a factor that is missing has exponent 0.
    """

    cosine: float
    factors: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def of(self, name: str, weight: ContextWeight) -> Array:
        """Return the exponents of one weight's factors, float32 ``[num_factors]``."""
        known = self.factors.get(name, {})
        return np.array([known.get(factor.name, 0.0) for factor in weight.factors], np.float32)


@dataclass(frozen=True, slots=True)
class Exponents:
    """What the last fit found, apart for items that are new to the user and for the user's own.

    They differ since a cosine has seen the very edge to an item that the user had, and since habit, where there is
    one, makes popularity count for less.

    Attributes:
        new: For items that the user never had; its cosine is above 0.
        own: For items that the user had.
    """

    new: Terms
    own: Terms

    @property
    def temperature(self) -> float:
        """What the cosines of new items are divided by."""
        return 1.0 / self.new.cosine


_WITHOUT_MODEL = {"popularity": {"share": 1.0}, "trend": {"1d": 0.5, "28d": 0.5}}
FALLBACK_EXPONENTS = Exponents(
    new=Terms(1.0, _WITHOUT_MODEL),
    own=Terms(1.0, {**_WITHOUT_MODEL, "repeat": {"had": 3.0, "count": 1.0, "recent_30d": 0.5}}),
)
"""Before any model has learned exponents: what is popular and rising, and what the user has again and again."""

NO_EXPONENTS = Exponents(new=Terms(1.0), own=Terms(1.0))
"""Where no context weight counts: a baseline ranks by its own score alone."""


@dataclass(frozen=True, slots=True)
class ItemWeights:
    """The item side of all weights at one moment.

    Attributes:
        names: The weights that have an item side, in the order of the rows.
        new: float32 ``[num_names, num_items]``, log of each weight for items new to the user.
        own: float32 ``[num_names, num_items]``, the same for items that the user had.
        new_total: float32 ``[num_items]``, sum over the weights.
        own_total: float32 ``[num_items]``, sum over the weights.
    """

    names: Sequence[str]
    new: Array
    own: Array
    new_total: Array
    own_total: Array


def bucket_of(weights: Mapping[str, ContextWeight], moment: Moment) -> Hashable:
    """Return a key: moments with the same key have the same item weights."""
    return tuple(weight.bucket(moment) for weight in weights.values())


def item_weights(
    weights: Mapping[str, ContextWeight], exponents: Exponents, moment: Moment, num_items: int
) -> ItemWeights:
    """Return the item side of all weights at a moment; a weight whose exponents are all 0 costs nothing."""
    names, new, own = [], [], []
    for name, weight in weights.items():
        both = np.stack([exponents.new.of(name, weight), exponents.own.of(name, weight)])  # [2, num_factors]
        if both.any() and (lifts := weight.item_log_lifts(moment, num_items)) is not None:
            of_new, of_own = both @ lifts  # [num_items] each
            names.append(name)
            new.append(of_new)
            own.append(of_own)
    none = np.zeros((0, num_items), np.float32)
    all_new, all_own = (np.stack(new), np.stack(own)) if names else (none, none)
    return ItemWeights(names, all_new, all_own, all_new.sum(0), all_own.sum(0))


def history_weights(
    weights: Mapping[str, ContextWeight], exponents: Exponents, history: History, moment: Moment
) -> dict[str, Array]:
    """Return, for each weight with a history side, its log for each of the user's distinct items, float32 ``[m]``."""
    items, _ = history.distinct()
    logs = {}
    for name, weight in weights.items():
        exponent = exponents.own.of(name, weight)
        if exponent.any() and (lifts := weight.history_log_lifts(history, moment)) is not None:
            assert lifts.shape == (len(weight.factors), len(items)), f"{name}: {lifts.shape} for {len(items)} items"
            logs[name] = exponent @ lifts
    return logs
