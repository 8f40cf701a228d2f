"""Interaction rules: which interactions are accepted, with which weight, and which are positive or negative."""

import functools
import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from springtide.errors import SettingsError

if TYPE_CHECKING:  # At run time only by what needs it: a trainer at rest reads settings, and no arrays.
    import numpy as np
    import numpy.typing as npt

Comparison = Callable[[Any, float], Any]  # Compares one value, or an array of values.

Feedback = Literal["positive", "neutral", "negative", "shown"]
"""What an interaction says of the user's taste: that they like the item, nothing, or that they dislike it.

``shown`` says that it was put before them: if they then leave it, that is a weak sign that they do not want it.
"""

PASSIVE_TYPES = frozenset(
    {"click", "exposure", "impression", "open", "page_view", "pageview", "play", "search", "show", "view", "visit"}
)
"""Types that say by their name that a user met an item, and nothing of whether they like it."""

SHOWN_TYPES = frozenset({"exposure", "impression", "show"})
"""Those of them that say that an item was put before the user, who may not even have looked."""

_COMPARISONS: dict[str, Comparison] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_RULE_NAME = re.compile(r"^(?P<type>[A-Za-z_][\w.-]*)\s*(?:(?P<comparison>>=|<=|>|<)\s*(?P<bound>-?\d+(?:\.\d+)?))?$")


@dataclass(frozen=True, slots=True)
class InteractionRule:
    """How one kind of interaction enters the graph.

    Attributes:
        name: Name of the rule, which becomes the relation of the edges: an interaction type (``purchase``), or a type
            with a bound on the event's value (``rating>=4``).
        weight: Edge weight, finite and above 0.
        is_positive: Whether the interaction shows that the user likes the item, so that training learns from it.
        is_negative: Whether it shows that the user dislikes the item, which lowers the item and its like for them.
        is_shown: Whether it says that the item was put before the user.

    Raises:
        SettingsError: If the name cannot be read, the weight is not above 0, or it is two of positive, negative, shown.
    """

    name: str
    weight: float = 1.0
    is_positive: bool = True
    is_negative: bool = False
    is_shown: bool = False

    def __post_init__(self) -> None:
        if _RULE_NAME.match(self.name) is None:
            raise SettingsError(
                f"interaction rule {self.name!r} cannot be read: wanted a type (purchase) or a type with a bound "
                "on its value (rating>=4)"
            )
        if not (math.isfinite(self.weight) and self.weight > 0):
            raise SettingsError(f"interaction rule {self.name!r}: wanted a weight above 0, got {self.weight}")
        if self.is_positive + self.is_negative + self.is_shown > 1:
            names = [name for name in ("positive", "negative", "shown") if getattr(self, f"is_{name}")]
            got = " and ".join(names) if len(names) > 2 else "both"
            raise SettingsError(f"interaction rule {self.name!r}: wanted {' or '.join(names)} feedback, got {got}")

    @property
    def feedback(self) -> Feedback:
        """What its interactions say, in a word."""
        if self.is_positive:
            return "positive"
        if self.is_negative:
            return "negative"
        return "shown" if self.is_shown else "neutral"

    @property
    def type_name(self) -> str:
        """Interaction type that the rule matches."""
        return self.parse()[0]

    def parse(self) -> tuple[str, Comparison | None, float]:
        """Split the name into the type, the comparison and the bound; None and 0 if there is no bound."""
        match = _RULE_NAME.match(self.name)
        assert match is not None, "checked at birth"
        comparison = match["comparison"]
        return match["type"], _COMPARISONS[comparison] if comparison else None, float(match["bound"] or 0.0)


class InteractionRules:
    """All rules, in order; the first rule that matches an interaction applies.

    Args:
        rules: At least one rule, with distinct names.
        item_type: Node type that users interact with: ``item``, or ``user`` in a social graph.

    Raises:
        SettingsError: If there is no rule, or two rules have the same name.
    """

    def __init__(self, rules: Iterable[InteractionRule], item_type: str = "item") -> None:
        self.item_type = item_type
        self.rules: Sequence[InteractionRule] = tuple(rules)
        self._weights_of: tuple[tuple[str, ...], npt.NDArray[np.float32], npt.NDArray[np.bool_]] | None = None
        names = [rule.name for rule in self.rules]
        if not names:
            raise SettingsError("no interaction rule: wanted at least one, such as [interactions.purchase]")
        if len(set(names)) < len(names):
            raise SettingsError(f"wanted interaction rules with distinct names, got {', '.join(names)}")
        self._by_type: dict[str, list[tuple[int, Comparison | None, float]]] = {}
        for position, rule in enumerate(self.rules):
            type_name, comparison, bound = rule.parse()
            self._by_type.setdefault(type_name, []).append((position, comparison, bound))

    @functools.cached_property
    def weights(self) -> "npt.NDArray[np.float32]":
        """Weights of the rules in order, float32 ``[num_rules]``."""
        import numpy as np

        return np.array([rule.weight for rule in self.rules], np.float32)

    def weights_of(self, relations: tuple[str, ...]) -> "tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]":
        """Return the weight of each relation's interactions, and whether they are positive, ``[n]`` each.

        Of the latest relations they are kept: decoders give the same ones with each batch.
        """
        import numpy as np

        kept = self._weights_of
        if kept is None or kept[0] != relations:
            rule_of = {rule.name: rule for rule in self.rules}
            weights = np.array([rule_of[name].weight for name in relations], np.float32)
            is_positive = np.array([rule_of[name].is_positive for name in relations], np.bool_)
            kept = self._weights_of = relations, weights, is_positive
        return kept[1:]

    @functools.cached_property
    def relations(self) -> tuple[str, ...]:
        """Names of all rules, in order."""
        return tuple(rule.name for rule in self.rules)

    @functools.cached_property
    def positive_relations(self) -> tuple[str, ...]:
        """Names of the rules whose interactions are positive."""
        return tuple(rule.name for rule in self.rules if rule.is_positive)

    @functools.cached_property
    def shown_relations(self) -> tuple[str, ...]:
        """Names of the rules whose interactions say that an item was put before the user."""
        return tuple(rule.name for rule in self.rules if rule.is_shown)

    @property
    def negative_relations(self) -> tuple[str, ...]:
        """Names of the rules whose interactions are negative."""
        return tuple(rule.name for rule in self.rules if rule.is_negative)

    def edge_type(self, relation: str) -> tuple[str, str, str]:
        """Return the edge type of a rule's interactions: (source type, relation, target type)."""
        return "user", relation, self.item_type

    @property
    def types(self) -> tuple[str, ...]:
        """Interaction types that have a rule."""
        return tuple(self._by_type)

    def match(self, type_name: str, value: float) -> int:
        """Return the index of the first rule that matches the interaction, or -1 if none does."""
        for position, comparison, bound in self._by_type.get(type_name, ()):
            if comparison is None or comparison(value, bound):
                return position
        return -1

    def match_many(self, type_name: str, values: "npt.NDArray[np.float32]") -> "npt.NDArray[np.int16]":
        """Return ``match`` of each value, int16 ``[n]``.

        Args:
            type_name: Type of all interactions.
            values: float32 ``[n]``, NaN where an interaction has no value.
        """
        import numpy as np

        positions = np.full(len(values), -1, np.int16)
        for position, comparison, bound in self._by_type.get(type_name, ()):
            is_open = positions < 0
            positions[is_open if comparison is None else is_open & comparison(values, bound)] = position
        return positions

    @classmethod
    def from_mapping(
        cls, rules: Mapping[str, tuple[float, Feedback | bool]], item_type: str = "item"
    ) -> "InteractionRules":
        """Build from ``{name: (weight, feedback)}``; ``True`` and ``False`` are read as ``[interactions]`` reads them.

        See ``feedback_of``.
        """
        made = []
        for name, (weight, given) in rules.items():
            feedback = feedback_of(name, is_positive=given) if isinstance(given, bool) else given
            made.append(
                InteractionRule(name, weight, feedback == "positive", feedback == "negative", feedback == "shown")
            )
        return cls(made, item_type)


def feedback_of(name: str, *, is_positive: bool) -> Feedback:
    """Return what a rule's interactions say, if the settings say only whether they are positive.

    An interaction that is not positive is negative. But a type that says only that the user met the item
    (``PASSIVE_TYPES``) is neutral: who views an item and is not taken to like it does not dislike it for that. One that
    says that it was put before them (``SHOWN_TYPES``) is ``shown``.

    Args:
        name: The rule's name.
        is_positive: Whether it is positive.
    """
    if is_positive:
        return "positive"
    match = _RULE_NAME.match(name)
    type_name = "" if match is None or match["comparison"] is not None else match["type"].lower()
    if type_name in SHOWN_TYPES:
        return "shown"
    return "neutral" if type_name in PASSIVE_TYPES else "negative"
