"""What a context weight is: how much likelier an item is here and now than usual."""

import string
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from springtide.interactions import History, ItemGroups, Moment, Observed

Habit = Literal["had", "due", "session"]


@dataclass(frozen=True, slots=True)
class Factor:
    """One term of a context weight, with an exponent of its own.

    Attributes:
        name: Such as ``hour``; unique within its weight.
        is_signed: Whether the learned exponent may be negative. It may for habits, and may not for lifts.
        needs_whole_history: Whether the exponent is learned on moments of the whole history, not of the latest slice:
            the time of year does not change within a few weeks. The term must be about how items differ with the
            moment, since it is learned without cosines.
        is_short_lived: Whether what it says holds for a while only, as a trend does. Where everything is frozen, its
            exponent is learned over several starts, since at one alone chance decides.
        words: What an explanation says when the factor speaks for an item. ``{lift}`` stands for the lift, such as
            ``2.0×``: ``wanted {lift} as much as usual at this hour``. Factors with the same words are one reason. If
            empty, the explanation gives the factor's name and number.
        shares_lift: Whether factors with the same words split one lift between them, so that the words give the product
            of their lifts. By default they give the strongest lift.
        habit: What the factor says of the user's habit with an item they had: ``had`` (whether, how often, how lately),
            ``due`` (1 where it is about due, near 0 where not) or ``session`` (touched within the last minutes). All
            such factors are one reason, which the explanation words with the user's own numbers, not with ``words``.
            None for any other factor.
        fallback_exponent: Exponent before any model has learned one.
        fallback_exponent_seen: The same for items that the user has seen; None for the same as ``fallback_exponent``.

    Raises:
        ValueError: If ``words`` have a placeholder other than ``{lift}``.
    """

    name: str
    is_signed: bool = False
    needs_whole_history: bool = False
    is_short_lived: bool = False
    words: str = ""
    shares_lift: bool = False
    habit: Habit | None = None
    fallback_exponent: float = 0.0
    fallback_exponent_seen: float | None = None

    def __post_init__(self) -> None:
        fields = {field for _, field, _, _ in string.Formatter().parse(self.words) if field is not None}
        if fields - {"lift"}:
            raise ValueError(f"factor {self.name!r}: wanted words with {{lift}} alone, got {self.words!r}")


@dataclass(frozen=True, slots=True)
class RelatedItems:
    """What a user's history says of some items, whether the user had them or not.

    Attributes:
        rows: int32 ``[m]``, ascending, each once.
        log_lifts: float32 ``[num_factors, m]``, finite.

    Raises:
        ValueError: If rows are not int32 in ascending order, from 0, each once, or the lifts are not float32 of them.
    """

    rows: npt.NDArray[np.int32]
    log_lifts: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        rows, lifts = self.rows, self.log_lifts
        if rows.dtype != np.int32 or rows.ndim != 1 or lifts.dtype != np.float32 or lifts.ndim != 2:
            raise ValueError(
                f"wanted int32 [m] and float32 [num_factors, m], got {rows.dtype} {list(rows.shape)} and "
                f"{lifts.dtype} {list(lifts.shape)}"
            )
        if len(rows) != lifts.shape[1]:
            raise ValueError(f"wanted lifts of {len(rows)} items, got {lifts.shape[1]}")
        if len(rows) and (rows[0] < 0 or not (rows[1:] > rows[:-1]).all()):
            raise ValueError("wanted rows in ascending order, from 0, each once")


class ContextWeight:
    """How much likelier an item is here and now than usual.

    A weight gives, for each of its factors, the natural logarithm of a lift: 0 is neutral. Item-side terms depend on
    the moment alone and are shared by all requests of that moment; history terms and related items depend on the user.

    Attributes:
        factors: The terms, each with its own exponent, in the order of every array below.
        context_keys: Circumstances that the weight looks at. They are kept with every edge, so that exponents can be
            learned.
        bucket_ms: A time in milliseconds: moments without circumstances within one such span since the Unix epoch have
            the same ``bucket``, which requests then do not ask for each time. None if that is not known.

    Example:
        >>> class Weekend(ContextWeight):
        ...     def bucket(self, moment):
        ...         return moment.timestamp_ms // 86_400_000 % 7 in (2, 3)  # Day 0, 1970-01-01, was a Thursday.
        ...
        ...     def item_log_lifts(self, moment, num_items):
        ...         lifts = np.ones((len(self.factors), num_items), np.float32)  # [num_factors, num_items]
        ...         lifts[0, 0] = 2.0 if self.bucket(moment) else 0.5
        ...         return np.log(lifts)
        >>> Weekend().item_log_lifts(Moment(timestamp_ms=2 * 86_400_000), num_items=3).round(2)
        array([[0.69, 0.  , 0.  ]], dtype=float32)
    """

    factors: tuple[Factor, ...] = (Factor("lift"),)
    context_keys: tuple[str, ...] = ()
    bucket_ms: int | None = None

    def regroup(self, groups: ItemGroups) -> None:
        """Take the groups of items, so that an item with few interactions can borrow from its group.

        Called by a background thread whenever attributes of items have changed; the arrays do not change later. By
        default it does nothing.
        """

    def observe(self, observed: Observed) -> None:
        """Learn from interactions, in any order; rows may be new. Called by one thread. By default it does nothing.

        There may be none: then a deletion held for all of them, and only ``observed.newest_ms`` may be news.
        """

    def unobserve(self, observed: Observed) -> None:
        """Take back interactions that were observed before, in any parts and order: their user or item was deleted.

        What is left must be as if they had never been observed, except for the newest time. Called by the thread that
        calls ``observe``. By default it does nothing: then what was learned of deleted nodes stays.
        """

    def forget_rows(self, user_rows: npt.NDArray[np.int32], item_rows: npt.NDArray[np.int32]) -> None:
        """Forget all that was learned of some users and items: their rows will be given to other nodes.

        Called by the thread that calls ``observe``. A weight that learns and does not override it keeps the rows of
        forgotten nodes from being used again, so that memory grows with all nodes that ever were.

        Args:
            user_rows: int32 ``[m]``, rows of users; they may be beyond all that was observed.
            item_rows: int32 ``[n]``, rows of items.
        """

    def forget_circumstances(self, kept: Mapping[str, Sequence[str]]) -> None:
        """Forget the names of values of the context map that no interaction has any more: a person may have been it.

        Called by the thread that calls ``observe``, before a checkpoint, if a node was deleted since the last one. By
        default it does nothing, which is right for a weight that keeps no texts.

        Args:
            kept: For each of ``context_keys``, and perhaps others, the values that interactions still have.
        """

    def bucket(self, moment: Moment) -> Hashable:
        """Return a key: moments with the same key have the same item lifts. None if the weight has no item side."""
        return None

    def item_log_lifts(self, moment: Moment, num_items: int) -> npt.NDArray[np.float32] | None:
        """Return the log lifts at the moment, float32 ``[num_factors, num_items]``, or None if all are neutral."""
        return None

    def later_item_log_lifts(self, moment: Moment, start: int, num_items: int) -> npt.NDArray[np.float32] | None:
        """Return ``item_log_lifts`` of the items from ``start`` on alone, float32 ``[num_factors, num_items - start]``.

        ``start`` is how many items ``item_log_lifts`` was last asked for, or fewer. What the lifts have in common, such
        as a mean over all items, is to be taken as it was then, so that few items cost little. By default, all lifts
        are computed; a weight that does better keeps new items cheap in large catalogues.
        """
        lifts = self.item_log_lifts(moment, num_items)
        return None if lifts is None else lifts[:, start:]

    def history_log_lifts(self, history: History, moment: Moment) -> npt.NDArray[np.float32] | None:
        """Return the terms of the user's seen items, float32 ``[num_factors, num_distinct]``, or None if all are 0.

        The items are those of ``history.distinct()``, in its order; for all other items the terms are 0.
        """
        return None

    def related(self, history: History, moment: Moment) -> RelatedItems | None:
        """Return what the user's history says of items, whether they had them or not; None if it says nothing.

        For all other items the terms are 0. The exponents of items in the history are those for seen items, the others'
        those for unseen ones. Each request scores all these items by themselves, so they should be some thousand at
        most. A weight without an own ``related`` costs nothing.

        Args:
            history: The user's, with what a request tells of; not empty.
            moment: Moment and circumstances.
        """
        return None

    def fit(self, interactions: Observed, num_users: int, num_items: int) -> Mapping[str, npt.NDArray[Any]]:
        """Learn in a training what takes too long for a stream, and return it as named arrays: the model holds them.

        It is called on a weight of its own, which observes nothing and is thrown away: once on the interactions before
        the slice that exponents are fitted on, and once on all. By default there is nothing to learn.

        Args:
            interactions: Positive interactions, oldest first.
            num_users: Number of users.
            num_items: Number of items.
        """
        return {}

    def adopted(self, fitted: Mapping[str, npt.NDArray[Any]], item_rows: npt.NDArray[np.int32]) -> "ContextWeight":
        """Return a weight of the same class that speaks by what ``fit`` returned; this one does not change.

        Each served model has one of its own, whose ``history_log_lifts`` and ``related`` are asked in place of this
        one's; it observes nothing. It is made anew when items were added or forgotten. By default this one goes on.

        Args:
            fitted: The arrays, to be read only; they may be pages of a file.
            item_rows: int32 ``[num_items]``, the live row of each item that ``fit`` knew; -1 where it is gone, or where
                its row is another item's now.
        """
        return self

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return what was learned, as named arrays for the checkpoint. They are copies, safe to write later."""
        return {}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from what ``state`` returned.

        Called before anything else, and by any thread; other weights are restored meanwhile. The arrays are this
        weight's alone. They may be pages of a file, which stays as long as they do: what stays should be a copy.
        """
