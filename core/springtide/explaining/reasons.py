"""The reasons for an item's rank in words, made from the terms of its score."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from springtide.clock import MS_PER_DAY
from springtide.interactions import History
from springtide.plugins.contracts import Factor

_MAX_REASONS = 3
_MIN_LOG_WEIGHT = math.log(1.05)  # A term that changes an item's odds by less than 5 % is no reason.
_COSINE_WORDS = "it suits what you and people like you choose"
_UNLIKE_WORDS = "it is unlike what you dislike"
_LIKE_DISLIKED_WORDS = "it is like what you dislike"
DISLIKED_WORDS = "you disliked it"
_DUE_LIFT = 0.5  # At most it is 1. With the usual width it is above a half from 0.44 to 2.3 times the usual gap.
_MINUTES_PER_DAY = 1_440


@dataclass(frozen=True, slots=True)
class FactorTerm:
    """One factor of a context weight, for one item.

    Attributes:
        weight: Name of the context weight.
        factor: The factor.
        log_lift: How much likelier the item is here and now than usual, natural logarithm; 0 is neutral.
        exponent: The factor's exponent; 0 if it does not help.
    """

    weight: str
    factor: Factor
    log_lift: float
    exponent: float

    @property
    def log_weight(self) -> float:
        """What the term adds to the score."""
        return self.log_lift * self.exponent


@dataclass(frozen=True, slots=True)
class ItemHabit:
    """How often and how lately a user had an item.

    Attributes:
        num_days: Number of days on which they had it.
        gap_days: Mean days from one to the next; None if it was on one day only.
        days_since: Days from the last time to the moment, 0 or more.
    """

    num_days: int
    gap_days: float | None
    days_since: float


def habit_of(history: History, row: int, now_ms: int) -> ItemHabit | None:
    """Return how often and how lately the user had an item; None if never."""
    times_ms = history.timestamps_ms[history.item_rows == row]
    if not len(times_ms):
        return None
    days = np.unique(times_ms // MS_PER_DAY)
    gap_days = float(days[-1] - days[0]) / (len(days) - 1) if len(days) > 1 else None
    return ItemHabit(len(days), gap_days, max(0, now_ms - int(times_ms.max())) / MS_PER_DAY)


def sentence_of(
    terms: Sequence[FactorTerm], cosine_gain: float = 0.0, habit: ItemHabit | None = None, *, is_liked: bool = True
) -> str:
    """Return the strongest reasons in words, the strongest first; empty if nothing speaks for the item.

    Args:
        terms: Every factor of every context weight.
        cosine_gain: What the cosine adds to the item's score, minus what it adds to the mean item's.
        habit: How often and how lately the user had the item; None if never.
        is_liked: Whether it is known what the user likes; else the cosine comes from dislikes alone.
    """
    reasons = [(cosine_gain, _COSINE_WORDS if is_liked else _UNLIKE_WORDS)]
    groups: dict[str, list[FactorTerm]] = {}
    habits: list[FactorTerm] = []
    for term in terms:
        if habit is not None and term.factor.habit is not None:
            habits.append(term)
        else:
            groups.setdefault(term.factor.words or _plain_words(term), []).append(term)
    if habit is not None:
        reasons.append((_log_weight(habits), _habit_words(habit, habits)))
    reasons += [(_log_weight(group), _group_words(group)) for group in groups.values()]
    reasons = [reason for reason in reasons if reason[0] > _MIN_LOG_WEIGHT]
    reasons.sort(key=lambda reason: -reason[0])
    return "; ".join(words for _, words in reasons[:_MAX_REASONS])


def doubt_of(item_log_weight: float, cosine_log_weight: float) -> str:
    """Return in words how dislikes speak against an item; empty if they change its odds by less than 5 %.

    Args:
        item_log_weight: What the user's dislikes of the item itself add to its score.
        cosine_log_weight: What moving the user's vector away from dislikes adds to it.
    """
    if item_log_weight < -_MIN_LOG_WEIGHT:
        return DISLIKED_WORDS
    return _LIKE_DISLIKED_WORDS if cosine_log_weight < -_MIN_LOG_WEIGHT else ""


def _group_words(terms: Sequence[FactorTerm]) -> str:
    """Return what factors with the same words say, at least one."""
    strongest = max(terms, key=lambda term: term.log_weight)
    log_lift = sum(term.log_lift for term in terms) if strongest.factor.shares_lift else strongest.log_lift
    # A signed factor may speak for an item that is wanted less than usual, and a large exponent for one that is wanted
    # as much as usual: no words say that.
    if strongest.factor.words and log_lift > _MIN_LOG_WEIGHT:
        return strongest.factor.words.format(lift=_lift_words(log_lift))
    return _plain_words(strongest)


def _plain_words(term: FactorTerm) -> str:
    return f"{term.weight}/{term.factor.name}: ×{math.exp(term.log_weight):.1f}"


def _lift_words(log_lift: float) -> str:
    lift = math.exp(log_lift)
    return f"{lift:.1f}×" if lift < 10 else f"{lift:,.0f}×"


def _habit_words(habit: ItemHabit, terms: Sequence[FactorTerm]) -> str:
    """Return what the habit factors say, with the user's own numbers."""
    in_session = _log_weight(term for term in terms if term.factor.habit == "session") > _MIN_LOG_WEIGHT
    due_terms = [term for term in terms if term.factor.habit == "due" and term.log_lift >= _DUE_LIFT]
    due = "it is about due: " if _log_weight(due_terms) > _MIN_LOG_WEIGHT else ""
    gap = "" if habit.gap_days is None else "day" if round(habit.gap_days) == 1 else f"{round(habit.gap_days):,} days"
    if in_session:
        touched = f"{due}you touched it {_minutes_words(habit.days_since)}"
        return f"{touched}, and choose it about every {gap}" if gap else touched
    last = _days_words(habit.days_since)
    return f"{due}you choose it about every {gap}, and last did {last}" if gap else f"{due}you chose it {last}"


def _log_weight(terms: Iterable[FactorTerm]) -> float:
    return sum(term.log_weight for term in terms)


def _days_words(days_since: float) -> str:
    days = round(days_since)
    return "today" if days == 0 else "yesterday" if days == 1 else f"{days:,} days ago"


def _minutes_words(days_since: float) -> str:
    minutes = round(days_since * _MINUTES_PER_DAY)
    if minutes == 0:
        return "just now"
    return "a minute ago" if minutes == 1 else f"{minutes:,} minutes ago"
