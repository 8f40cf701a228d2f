"""The reasons for an item's rank in words: made from the terms of its score, and from the paths that carry it."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from springtide.clock import MS_PER_DAY
from springtide.explaining.paths import Path, PathNode
from springtide.explaining.templates import Templates, english
from springtide.interactions import History
from springtide.plugins.contracts import Factor

_MAX_REASONS = 3
_MIN_LOG_WEIGHT = math.log(1.05)  # A term that changes an item's odds by less than 5 % is no reason.
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
    terms: Sequence[FactorTerm],
    cosine_gain: float = 0.0,
    habit: ItemHabit | None = None,
    *,
    is_liked: bool = True,
    words: Templates | None = None,
) -> str:
    """Return the strongest reasons in words, the strongest first; empty if nothing speaks for the item.

    Args:
        terms: Every factor of every context weight.
        cosine_gain: What the cosine adds to the item's score, minus what it adds to the mean item's.
        habit: How often and how lately the user had the item; None if never.
        is_liked: Whether it is known what the user likes; else the cosine comes from dislikes alone.
        words: The language; English if None.
    """
    words = words or english()
    reasons = [(cosine_gain, words.say("terms.cosine" if is_liked else "terms.unlike"))]
    groups: dict[str, list[FactorTerm]] = {}
    habits: list[FactorTerm] = []
    for term in terms:
        if habit is not None and term.factor.habit is not None:
            habits.append(term)
        else:
            groups.setdefault(term.factor.words or f"{term.weight}/{term.factor.name}", []).append(term)
    if habit is not None:
        reasons.append((_log_weight(habits), _habit_words(habit, habits, words)))
    reasons += [(_log_weight(group), _group_words(group, words)) for group in groups.values()]
    reasons = [reason for reason in reasons if reason[0] > _MIN_LOG_WEIGHT]
    reasons.sort(key=lambda reason: -reason[0])
    return words.say("sentence.separator").join(said for _, said in reasons[:_MAX_REASONS])


def doubt_of(item_log_weight: float, cosine_log_weight: float, words: Templates | None = None) -> str:
    """Return in words how dislikes speak against an item; empty if they change its odds by less than 5 %.

    Args:
        item_log_weight: What the user's dislikes of the item itself add to its score.
        cosine_log_weight: What moving the user's vector away from dislikes adds to it.
        words: The language; English if None.
    """
    words = words or english()
    if item_log_weight < -_MIN_LOG_WEIGHT:
        return words.say("terms.disliked")
    return words.say("terms.like_disliked") if cosine_log_weight < -_MIN_LOG_WEIGHT else ""


def path_key(path: Path) -> str:
    """Return the key of the words that a path's numbers carry, and no more."""
    if path.kind == "own":
        return "paths.own" if path.num_own > 1 else "paths.own_one"
    if path.kind == "attribute":
        return "paths.attribute" if path.num_own > 1 else "paths.attribute_one"
    if path.kind == "relation" and not path.num_people:
        return "paths.link"
    has_more = path.num_people > 1 or path.is_lower_bound
    if not has_more:
        return f"paths.{path.kind}_one" + "_recent" * (path.num_recent_people > 0)
    if not path.num_recent_people:
        return f"paths.{path.kind}"
    is_one = path.num_recent_people == 1 and not path.is_lower_bound
    return f"paths.{path.kind}_recent" + "_one" * is_one


def path_words(path: Path, words: Templates, name_of: Callable[[PathNode], str] = lambda node: node.node_id) -> str:
    """Return what a path says.

    Args:
        path: The path.
        words: The language.
        name_of: Gives the name of a node.
    """

    def count(number: int) -> str:
        said = words.count(number)
        return words.say("paths.at_least", count=said) if path.is_lower_bound else said

    return words.say(
        path_key(path),
        first=name_of(path.nodes[0]),
        people=count(path.num_people),
        recent=count(path.num_recent_people),
        own=words.count(path.num_own),
        attribute=path.attribute,
        value=path.value,
        relation=path.relation,
    )


def reason_of(sentence: str, paths: Sequence[Path], words: Templates, name_of: Callable[[PathNode], str]) -> str:
    """Return the strongest path that tells more than the user's own past, and the terms, in words.

    Args:
        sentence: The terms in words.
        paths: The strongest first.
        words: The language.
        name_of: Gives the name of a node.
    """
    telling = [path for path in paths if path.kind != "own"] or ([] if sentence else list(paths))
    said = [path_words(path, words, name_of) for path in telling[:1]]
    return words.say("sentence.separator").join(filter(None, (*said, sentence)))


def _group_words(terms: Sequence[FactorTerm], words: Templates) -> str:
    """Return what factors with the same words say, at least one."""
    strongest = max(terms, key=lambda term: term.log_weight)
    log_lift = sum(term.log_lift for term in terms) if strongest.factor.shares_lift else strongest.log_lift
    # A signed factor may speak for an item that is wanted less than usual, and a large exponent for one that is wanted
    # as much as usual: no words say that.
    template = words.weight_words(strongest.weight, strongest.factor)
    if template and log_lift > _MIN_LOG_WEIGHT:
        return template.format(lift=_lift_words(log_lift, words))
    number = words.number(math.exp(strongest.log_weight))
    return words.say("terms.number", weight=strongest.weight, factor=strongest.factor.name, number=number)


def _lift_words(log_lift: float, words: Templates) -> str:
    lift = math.exp(log_lift)
    return f"{words.number(lift)}×" if lift < 10 else f"{words.count(round(lift))}×"


def _habit_words(habit: ItemHabit, terms: Sequence[FactorTerm], words: Templates) -> str:
    """Return what the habit factors say, with the user's own numbers."""
    in_session = _log_weight(term for term in terms if term.factor.habit == "session") > _MIN_LOG_WEIGHT
    due_terms = [term for term in terms if term.factor.habit == "due" and term.log_lift >= _DUE_LIFT]
    last = _minutes_words(habit.days_since, words) if in_session else _days_words(habit.days_since, words)
    if habit.gap_days is None:
        said = words.say("habits.touched" if in_session else "habits.once", last=last)
    else:
        days = round(habit.gap_days)
        gap = words.say("times.gap_day") if days == 1 else words.say("times.gap_days", days=words.count(days))
        said = words.say("habits.touched_often" if in_session else "habits.often", last=last, gap=gap)
    return words.say("habits.due", habit=said) if _log_weight(due_terms) > _MIN_LOG_WEIGHT else said


def _log_weight(terms: Iterable[FactorTerm]) -> float:
    return sum(term.log_weight for term in terms)


def _days_words(days_since: float, words: Templates) -> str:
    days = round(days_since)
    if days < 2:
        return words.say("times.yesterday" if days else "times.today")
    return words.say("times.days_ago", days=words.count(days))


def _minutes_words(days_since: float, words: Templates) -> str:
    minutes = round(days_since * _MINUTES_PER_DAY)
    if minutes < 2:
        return words.say("times.minute_ago" if minutes else "times.just_now")
    return words.say("times.minutes_ago", minutes=words.count(minutes))
