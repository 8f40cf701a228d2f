"""Rules, scenarios and experiments: what an owner may say, checked when it is said."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

RuleAction = Literal["pin", "boost", "bury", "block"]
"""What a rule does: puts items at a slot, multiplies their odds by more than 1 or by less, leaves them out."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that holds for all requests, for those of some users, or in some scenarios.

    Attributes:
        name: Its name.
        action: What it does.
        items: Items that it is about; with ``filter``, those of both.
        filter: Expression over items: the rule is about all that pass; empty for none.
        segment: Expression over the user and the moment: where it is true, the rule holds; empty for everybody.
        factor: By what a boost (above 1) or a burial (below 1) multiplies the items' odds.
        slot: First slot of pinned items, 1 for the top.
        start_ms: From when it holds, milliseconds since the Unix epoch; None for at once.
        end_ms: Until when, that time not included; None for ever.
        scenarios: Where it holds; empty for all requests.
        note: Why it is there, in words.
    """

    name: str
    action: RuleAction
    items: tuple[str, ...] = ()
    filter: str = ""
    segment: str = ""
    factor: float = 1.0
    slot: int = 0
    start_ms: int | None = None
    end_ms: int | None = None
    scenarios: tuple[str, ...] = ()
    note: str = ""

    def holds_at(self, now_ms: int, scenario: str) -> bool:
        """Return whether the rule holds at a time in a scenario; whether it does for the user, its segment says."""
        is_begun = self.start_ms is None or self.start_ms <= now_ms
        is_over = self.end_ms is not None and self.end_ms <= now_ms
        return is_begun and not is_over and (not self.scenarios or scenario in self.scenarios)


@dataclass(frozen=True, slots=True)
class QuerySteering:
    """What a query steers its ranking with, beside the rules that hold for all; None for what it does not say.

    Attributes:
        scenario: Name of the scenario; empty for none.
        filter: Expression over items: only those that pass are ranked; empty for all.
        booster: Expression over items that multiplies their odds; empty for none.
        diversity: How much the items shall differ from each other, 0 to 1.
        diversity_attribute: Category attribute in which they shall differ; empty for their vectors.
        max_per: Most items with the same value of an attribute, by attribute.
        rotation_rate: How far items sink that were shown and ignored, 0 to 1.
        rotation_time_ms: After how long they are back, in milliseconds.
        exploration: Share of the slots that uncertain or new items get, 0 to 1.
        min_relevance: Least cosine of an item that the user has not had, -1 to 1.
        include_attributes: Attributes that the answer gives of each item.
        page_token: Of the page before; empty for the first page.
        reranker: Name of the plugin that orders the best items; empty for none.
        weights: By what exponents of context weights are multiplied, by name; from a scenario or an experiment.
        says_count: Whether the query's count is its own; if not, that of its scenario goes before it.
    """

    scenario: str = ""
    filter: str = ""
    booster: str = ""
    diversity: float | None = None
    diversity_attribute: str = ""
    max_per: tuple[tuple[str, int], ...] = ()
    rotation_rate: float | None = None
    rotation_time_ms: int | None = None
    exploration: float | None = None
    min_relevance: float | None = None
    include_attributes: tuple[str, ...] = ()
    page_token: str = ""
    reranker: str = ""
    weights: tuple[tuple[str, float], ...] = ()
    says_count: bool = True


@dataclass(frozen=True, slots=True)
class Scenario:
    """A named bundle of what a request may say: what the request says itself goes before it, and its filter is added.

    Attributes:
        name: Its name.
        steering: What it says; it names no scenario and no page.
        count: Number of items; None for the usual.
        exclude_seen: As in a query.
        note: What it is for, in words.
    """

    name: str
    steering: QuerySteering = field(default_factory=QuerySteering)
    count: int | None = None
    exclude_seen: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Variant:
    """A variant of an experiment; what it leaves empty is as without the experiment.

    Attributes:
        name: Its name.
        share: Share of the layer's users, above 0.
        model_version: Registry version that ranks; empty for the current one.
        scenario: Scenario of requests that name none.
        weights: By what exponents of context weights are multiplied, by name.
    """

    name: str
    share: float
    model_version: str = ""
    scenario: str = ""
    weights: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Experiment:
    """An experiment: each user gets one of its variants, always the same.

    Attributes:
        name: Its name.
        variants: At least two; the others are compared with the first.
        layer: Experiments of one layer share its users; empty for a layer of its own.
        salt: What the hash of users begins with; empty for the name of the layer.
        start_ms: From when it runs, milliseconds since the Unix epoch; None for at once.
        end_ms: Until when, that time not included; None for ever.
        conversions: Interaction types or rule names that count; empty for all positive ones.
        note: What it is to show, in words.
    """

    name: str
    variants: tuple[Variant, ...]
    layer: str = ""
    salt: str = ""
    start_ms: int | None = None
    end_ms: int | None = None
    conversions: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Steering:
    """All that steers recommendations at one time.

    Attributes:
        rules: In the order of their names.
        scenarios: By name.
        experiments: In the order of their names.
        version: Number of the change that made it; 0 for none.
    """

    rules: Sequence[Rule] = ()
    scenarios: Mapping[str, Scenario] = field(default_factory=dict)
    experiments: Sequence[Experiment] = ()
    version: int = 0


NO_STEERING = Steering()
