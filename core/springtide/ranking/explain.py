"""Why an item has its place: all that goes into its score, and the strongest of it in words."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from springtide.clock import MS_PER_DAY
from springtide.interactions import History, Moment
from springtide.model.exponents import TermExponents
from springtide.plugins.contracts import ContextWeight
from springtide.ranking.query import Personalization

_MAX_REASONS = 3
_MIN_LOG_WEIGHT = math.log(1.05)  # What moves an item's odds by less than a twentieth is no reason.
_COSINE_WORDS = "it suits what you and people like you choose"

# What each factor says, by the pattern of its name. Factors of one line are one reason: of those of the year, which
# share one lift between them, the lifts are multiplied; of others, the strongest speaks.
_WORDS = (
    (re.compile(r"hour"), "wanted {lift} as much as usual at this hour"),
    (re.compile(r"weekday"), "wanted {lift} as much as usual on this day of the week"),
    (re.compile(r"year|year_near"), "wanted {lift} as much as usual at this time of year"),
    (re.compile(r"near"), "wanted {lift} as much as usual around this occasion"),
    (re.compile(r"\d+(\.\d+)?d"), "wanted {lift} as much of late as it usually is"),
    (re.compile(r"share"), "chosen {lift} as often as the average item"),
    (re.compile(r"rate"), "had again {lift} as often as the usual item"),
    (re.compile(r"place"), "wanted {lift} as much as usual in this place"),
    (re.compile(r"weather"), "wanted {lift} as much as usual in this weather"),
)
_SHARING = frozenset({"year", "year_near"})

# What a user did with an item speaks in one voice: whether the sum of these is for it, and which of them are, is told
# with the user's own numbers.
_HABIT = re.compile(r"had|count|recent_.*|due|touched|strength")
_SESSION = frozenset({"touched", "strength"})
_DUE_LIFT = 0.5  # Of at most 1: with the usual width, from 0.44 to 2.3 times the usual gap.
_MINUTES_PER_DAY = 1_440


@dataclass(frozen=True, slots=True)
class FactorTerm:
    """One factor of a context weight, for one item.

    Attributes:
        weight: Name of the context weight.
        factor: Name of the factor.
        log_lift: How much likelier the item is here and now than usual, natural logarithm; 0 is neutral.
        exponent: What was learned for it; 0 if it does not help.
    """

    weight: str
    factor: str
    log_lift: float
    exponent: float

    @property
    def log_weight(self) -> float:
        """What it adds to the score."""
        return self.log_lift * self.exponent


@dataclass(frozen=True, slots=True)
class Habit:
    """When a user had an item.

    Attributes:
        num_days: On how many days.
        gap_days: Mean days from one to the next; None if it was on one day only.
        days_since: Days from the last time to the moment, 0 or more.
    """

    num_days: int
    gap_days: float | None
    days_since: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """All that goes into the score of one item.

    Attributes:
        item_id: The item.
        score: ``cosine`` times ``cosine_exponent`` plus what the terms add.
        rank: The item's place among all items, 1 for the best.
        cosine: Of the user's and the item's vectors, -1 to 1.
        cosine_exponent: What it is multiplied by, for an item that is new to the user, or that is one of their own.
        terms: Every factor of every context weight, in their order.
        sentence: The strongest reasons in words; empty if nothing speaks for the item.
        personalization: How much of it is about the user.
        model_version: The version that gave cosine and exponents; empty when there was none.
    """

    item_id: str
    score: float
    rank: int
    cosine: float
    cosine_exponent: float
    terms: tuple[FactorTerm, ...]
    sentence: str
    personalization: Personalization
    model_version: str

    @property
    def weights(self) -> dict[str, tuple[FactorTerm, ...]]:
        """The terms of each context weight, by its name."""
        names = dict.fromkeys(term.weight for term in self.terms)
        return {name: tuple(term for term in self.terms if term.weight == name) for name in names}


def factor_terms(
    weights: Mapping[str, ContextWeight],
    exponents: TermExponents,
    history: History,
    moment: Moment,
    row: int,
    num_items: int,
) -> tuple[FactorTerm, ...]:
    """Return every factor of every context weight for one item, those with exponent 0 too.

    Args:
        weights: By name.
        exponents: Those of new items, or of the user's own, as the item is one.
        history: The user's.
        moment: Moment and circumstances.
        row: The item's, below ``num_items``.
        num_items: How many items are ranked.
    """
    items, _ = history.distinct()
    place = int(np.searchsorted(items, row))
    is_seen = place < len(items) and items[place] == row
    terms = []
    for name, weight in weights.items():
        log_lifts = np.zeros(len(weight.factors))
        if (of_items := weight.item_log_lifts(moment, num_items)) is not None:
            log_lifts += of_items[:, row]
        if is_seen and (of_history := weight.history_log_lifts(history, moment)) is not None:
            log_lifts += of_history[:, place]
        terms += [
            FactorTerm(name, factor.name, float(log_lift), float(exponent))
            for factor, log_lift, exponent in zip(weight.factors, log_lifts, exponents.of(name, weight), strict=True)
        ]
    return tuple(terms)


def habit_of(history: History, row: int, now_ms: int) -> Habit | None:
    """Return when the user had an item, or None if never."""
    times_ms = history.timestamps_ms[history.item_rows == row]
    if not len(times_ms):
        return None
    days = np.unique(times_ms // MS_PER_DAY)
    gap_days = float(days[-1] - days[0]) / (len(days) - 1) if len(days) > 1 else None
    return Habit(len(days), gap_days, max(0, now_ms - int(times_ms.max())) / MS_PER_DAY)


def sentence_of(terms: Sequence[FactorTerm], cosine_gain: float = 0.0, habit: Habit | None = None) -> str:
    """Return the strongest reasons in words, the strongest first; empty if nothing speaks for the item.

    Args:
        terms: Every factor of every context weight.
        cosine_gain: What the cosine adds to the score above what it adds to the mean item.
        habit: When the user had the item.
    """
    reasons = [(cosine_gain, _COSINE_WORDS)]
    groups: dict[str, list[FactorTerm]] = {}
    habits: list[FactorTerm] = []
    for term in terms:
        if habit is not None and _HABIT.fullmatch(term.factor):
            habits.append(term)
        else:
            groups.setdefault(_template(term), []).append(term)
    if habit is not None:
        reasons.append((sum(term.log_weight for term in habits), _habit_words(habit, habits)))
    for template, group in groups.items():
        strongest = max(group, key=lambda term: term.log_weight)
        log_lift = sum(term.log_lift for term in group) if strongest.factor in _SHARING else strongest.log_lift
        # A signed factor may speak for an item that is wanted less than usual: no template says that.
        words = template.format(lift=_times(log_lift)) if template and log_lift > 0 else _plain_words(strongest)
        reasons.append((sum(term.log_weight for term in group), words))
    reasons = [reason for reason in reasons if reason[0] > _MIN_LOG_WEIGHT]
    reasons.sort(key=lambda reason: -reason[0])
    return "; ".join(words for _, words in reasons[:_MAX_REASONS])


def _template(term: FactorTerm) -> str:
    """Return what is said of a factor; its own name where there are no words for it."""
    for pattern, words in _WORDS:
        if pattern.fullmatch(term.factor):
            return words
    return _plain_words(term).replace("{", "{{").replace("}", "}}")


def _plain_words(term: FactorTerm) -> str:
    return f"{term.weight}/{term.factor}: ×{math.exp(term.log_weight):.1f}"


def _times(log_lift: float) -> str:
    lift = math.exp(log_lift)
    return f"{lift:.1f}×" if lift < 10 else f"{lift:,.0f}×"


def _habit_words(habit: Habit, terms: Sequence[FactorTerm]) -> str:
    in_session = sum(term.log_weight for term in terms if term.factor in _SESSION) > _MIN_LOG_WEIGHT
    of_due = [term for term in terms if term.factor == "due" and term.log_lift >= _DUE_LIFT]
    due = "it is about due: " if sum(term.log_weight for term in of_due) > _MIN_LOG_WEIGHT else ""
    gap = "" if habit.gap_days is None else "day" if round(habit.gap_days) == 1 else f"{round(habit.gap_days):,} days"
    if in_session:
        touched = f"{due}you touched it {_minutes_words(habit.days_since)}"
        return f"{touched}, and choose it about every {gap}" if gap else touched
    last = _days_words(habit.days_since)
    return f"{due}you choose it about every {gap}, and last did {last}" if gap else f"{due}you chose it {last}"


def _days_words(days_since: float) -> str:
    days = round(days_since)
    return "today" if days == 0 else "yesterday" if days == 1 else f"{days:,} days ago"


def _minutes_words(days_since: float) -> str:
    minutes = round(days_since * _MINUTES_PER_DAY)
    if minutes == 0:
        return "just now"
    return "a minute ago" if minutes == 1 else f"{minutes:,} minutes ago"
