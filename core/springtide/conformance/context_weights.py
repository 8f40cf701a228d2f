"""Checks that every context weight must pass."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from springtide.clock import MS_PER_DAY, MS_PER_HOUR
from springtide.conformance.checks import Subject, checks_of, expect, expect_same_array
from springtide.interactions import History, Moment, Observed
from springtide.plugins.contracts import ContextWeight, RelatedItems

NOW_MS = 1_700_000_000_000
_ONE_BUCKET = 0.02
"""Largest difference of log lifts within one bucket: it may hold an hour, in which lifts change a little."""


def factors_have_different_names(subject: Subject) -> None:
    """Exponents are stored by name."""
    names = [factor.name for factor in subject.make().factors]
    expect(len(names) > 0, "at least one factor", "none")
    expect(len(set(names)) == len(names), "names that differ", ", ".join(names))


def the_order_of_events_does_not_matter(subject: Subject) -> None:
    """Events that come late, or all at once, give the same lifts."""
    events = _events()
    all_at_once, one_by_one = subject.make(), subject.make()
    all_at_once.observe(events)
    for position in np.random.default_rng(1).permutation(len(events)):
        one_by_one.observe(_select(events, [position]))
    _expect_same_lifts(one_by_one, all_at_once, "when events come one by one, in another order")


def what_is_taken_back_leaves_nothing(subject: Subject) -> None:
    """Deleted users and items are unlearned, whatever came first; a weight without ``unobserve`` is not checked."""
    if type(subject.make()).unobserve is ContextWeight.unobserve:
        return
    events = _events()
    is_deleted = (events.user_rows == 2) | (events.item_rows == 3)
    is_deleted[-1] = False  # The newest time stays the newest.
    deleted, others = np.flatnonzero(is_deleted).tolist(), np.flatnonzero(~is_deleted).tolist()
    learned, unlearned = subject.make(), subject.make()
    learned.observe(_select(events, others))
    unlearned.observe(_select(events, range(30)))
    unlearned.unobserve(_select(events, [position for position in deleted if position < 30]))
    unlearned.observe(_select(events, range(30, len(events))))
    for position in [position for position in deleted if position >= 30][::-1]:
        unlearned.unobserve(_select(events, [position]))
    _expect_same_lifts(unlearned, learned, "when interactions are taken back")


def forgotten_rows_are_as_new(subject: Subject) -> None:
    """A row may be given to another item or user; a weight that learns without ``forget_rows`` is not checked."""
    if type(subject.make()).forget_rows is ContextWeight.forget_rows:
        return
    events = _events()
    is_forgotten = events.item_rows == 3
    is_forgotten[-1] = False  # The newest time stays the newest.
    without_it = np.flatnonzero(~is_forgotten).tolist()
    learned, forgetful = subject.make(), subject.make()
    learned.observe(_select(events, without_it))
    forgetful.observe(_select(events, np.flatnonzero(is_forgotten).tolist()))
    forgetful.observe(_select(events, [position for position in without_it if events.item_rows[position] != 3]))
    no_rows = np.empty(0, np.int32)
    forgetful.forget_rows(no_rows, np.array([3, 1_000], np.int32))
    forgetful.observe(_select(events, [position for position in without_it if events.item_rows[position] == 3]))
    _expect_same_lifts(forgetful, learned, "when the row of an item was forgotten")
    again, once = subject.make(), subject.make()
    pair = np.flatnonzero(events.user_rows == 2)[:1].tolist()
    for weight in (again, once):
        weight.observe(_select(events, pair))
    again.forget_rows(np.array([2], np.int32), events.item_rows[pair])
    again.observe(_select(events, pair))
    _expect_same_lifts(again, once, "when a user and an item were forgotten, and their rows had the same event")


def its_state_can_be_restored(subject: Subject) -> None:
    """After a restart the lifts are the same, and learning goes on."""
    events = _events()
    before, after = subject.make(), subject.make()
    before.observe(_select(events, range(30)))
    after.restore(before.state())
    _expect_same_lifts(after, before, "after a restart")
    for weight in (before, after):
        weight.observe(_select(events, range(30, len(events))))
    _expect_same_lifts(after, before, "when more is learned after a restart")
    for name, array in before.state().items():
        expect_same_array(after.state()[name], array, f"state {name!r} after a restart", 1e-6)


def its_state_is_a_copy(subject: Subject) -> None:
    """It is written later, while the weight goes on learning."""
    weight, events = subject.make(), _events()
    weight.observe(events)
    state = weight.state()
    kept = {name: array.copy() for name, array in state.items()}
    weight.observe(events)
    for name, array in kept.items():
        expect(np.array_equal(state[name], array), f"a copy as state {name!r}", "an array that changed later")


def lifts_have_a_row_for_each_factor_and_are_finite(subject: Subject) -> None:
    """Lifts may be wanted for more items than were observed, for fewer, and for none."""
    weight = subject.make()
    weight.observe(_events())
    for num_items in (0, 3, 50):
        _expect_lifts(weight.item_log_lifts(Moment(NOW_MS), num_items), (len(weight.factors), num_items))
    history_lifts = weight.history_log_lifts(_HISTORY, Moment(NOW_MS))
    _expect_lifts(history_lifts, (len(weight.factors), len(_HISTORY.distinct()[0])))
    if (related := weight.related(_HISTORY, Moment(NOW_MS))) is not None:
        _expect_lifts(related.log_lifts, (len(weight.factors), len(related.rows)))


def later_items_have_the_lifts_that_all_items_have(subject: Subject) -> None:
    """Of new items alone the lifts are computed where that costs less."""
    weight = subject.make()
    weight.observe(_events())
    for moment in (Moment(NOW_MS), Moment(NOW_MS + 40 * MS_PER_DAY)):
        lifts = weight.item_log_lifts(moment, 10)
        for start in (1, 5, 9, 10):
            later = weight.later_item_log_lifts(moment, start, 10)
            expect((lifts is None) == (later is None), "lifts of later items where all items have some", later)
            if lifts is not None and later is not None:
                expect_same_array(later, lifts[:, start:], f"log lifts of the items from {start} on", 0.0)


def moments_of_one_bucket_have_the_same_lifts(subject: Subject) -> None:
    """Lifts are computed once for all requests of the bucket."""
    weight = subject.make()
    weight.observe(_events())
    moments = [Moment(NOW_MS + minutes * MS_PER_HOUR // 60) for minutes in range(-90, 90, 10)]
    lifts_of = {weight.bucket(moment): weight.item_log_lifts(moment, 10) for moment in moments}
    for moment in moments:
        lifts, expected = weight.item_log_lifts(moment, 10), lifts_of[weight.bucket(moment)]
        if lifts is not None and expected is not None:
            expect_same_array(lifts, expected, "log lifts at moments of one bucket", _ONE_BUCKET)


def moments_of_one_span_have_the_same_bucket(subject: Subject) -> None:
    """Requests do not ask for the bucket of each moment where ``bucket_ms`` says that it stays."""
    weight = subject.make()
    weight.observe(_events())
    if weight.bucket_ms is None:
        return
    for moment in (Moment(NOW_MS + minutes * MS_PER_HOUR // 60) for minutes in range(-200, 200, 13)):
        start_ms = moment.timestamp_ms // weight.bucket_ms * weight.bucket_ms
        found = {weight.bucket(Moment(start_ms + ms)) for ms in (0, weight.bucket_ms // 2, weight.bucket_ms - 1)}
        expect(found == {weight.bucket(moment)}, "one bucket within `bucket_ms`", found)


def it_is_neutral_before_any_event(subject: Subject) -> None:
    """All lifts are 1, and an empty history has none."""
    weight = subject.make()
    weight.observe(_select(_events(), []))
    lifts = weight.item_log_lifts(Moment(NOW_MS), 10)
    expect(lifts is None or not lifts.any(), "log lifts of 0 before any event", lifts)
    history_lifts = weight.history_log_lifts(_history(0), Moment(NOW_MS))
    expect(history_lifts is None or history_lifts.size == 0, "no lifts for an empty history", history_lifts)
    related = weight.related(_HISTORY, Moment(NOW_MS))
    expect(related is None or not related.log_lifts.any(), "no related items before any event", related)


def what_it_has_fitted_follows_the_rows_of_items(subject: Subject) -> None:
    """Items have other rows where a model serves; one that is gone is not spoken of. Only of weights with ``fit``."""
    weight, events = subject.make(), _events()
    if type(weight).fit is ContextWeight.fit:
        return
    fitted, moment = weight.fit(events, 5, 7), Moment(NOW_MS)
    same = weight.adopted(fitted, np.arange(7, dtype=np.int32))
    expect(type(same) is type(weight), "a weight of the same class", type(same).__name__)
    expected = _dense(same.related(_HISTORY, moment))
    moved = np.array([9, 8, 7, 6, 5, 4, 3], np.int32)
    there = History(moved[_HISTORY.item_rows], _HISTORY.timestamps_ms, _HISTORY.weights)
    found = _dense(weight.adopted(fitted, moved).related(there, moment))
    expect((found is None) == (expected is None), "related items in both cases, or in none", "None in one case alone")
    if found is None or expected is None:
        return
    expect_same_array(found[:, moved], expected[:, :7], "log lifts of items that have other rows", 1e-5)
    gone = int(np.flatnonzero(expected.any(axis=0))[0])
    moved[gone] = -1
    found = _dense(weight.adopted(fitted, moved).related(there, moment))
    expect(found is None or not found[:, 9 - gone].any(), "nothing of an item that is gone", found)


CHECKS = checks_of(
    what_it_has_fitted_follows_the_rows_of_items,
    forgotten_rows_are_as_new,
    factors_have_different_names,
    the_order_of_events_does_not_matter,
    what_is_taken_back_leaves_nothing,
    its_state_can_be_restored,
    its_state_is_a_copy,
    lifts_have_a_row_for_each_factor_and_are_finite,
    later_items_have_the_lifts_that_all_items_have,
    moments_of_one_bucket_have_the_same_lifts,
    moments_of_one_span_have_the_same_bucket,
    it_is_neutral_before_any_event,
)


def _events() -> Observed:
    """Return 60 interactions of 5 users with 7 items over 400 days, oldest first."""
    generator = np.random.default_rng(4)
    return Observed(
        generator.integers(0, 5, 60).astype(np.int32),
        generator.integers(0, 7, 60).astype(np.int32),
        np.sort(NOW_MS - generator.integers(0, 400 * MS_PER_DAY, 60)),
        np.ones(60, np.float32),
    )


def _select(events: Observed, positions: Sequence[int]) -> Observed:
    chosen = np.array(positions, np.int64)
    return Observed(
        events.user_rows[chosen], events.item_rows[chosen], events.timestamps_ms[chosen], events.weights[chosen]
    )


def _history(count: int) -> History:
    times = NOW_MS - np.arange(count, dtype=np.int64) * MS_PER_DAY
    return History(np.array([4, 2, 4, 0], np.int32)[:count], times, np.ones(count, np.float32))


_HISTORY = _history(4)


def _expect_lifts(lifts: object, shape: tuple[int, int]) -> None:
    if lifts is None:
        return
    expect(isinstance(lifts, np.ndarray), "an array of log lifts, or None", type(lifts).__name__)
    assert isinstance(lifts, np.ndarray), "just checked"
    expect(lifts.dtype == np.float32, "float32 log lifts", lifts.dtype)
    expect(lifts.shape == shape, f"log lifts of shape {list(shape)}", list(lifts.shape))
    expect(bool(np.isfinite(lifts).all()), "log lifts that are finite", lifts.tolist())


def _dense(related: RelatedItems | None) -> npt.NDArray[np.float32] | None:
    """Return the log lifts of the first 10 items, float32 ``[num_factors, 10]``: an item without any has 0."""
    if related is None:
        return None
    lifts = np.zeros((len(related.log_lifts), 10), np.float32)
    lifts[:, related.rows] = related.log_lifts
    return lifts if lifts.any() else None


def _expect_same_lifts(found: ContextWeight, expected: ContextWeight, when: str) -> None:
    for days in (-200, 0, 3, 200):
        moment = Moment(NOW_MS + days * MS_PER_DAY)
        related, expected_related = found.related(_HISTORY, moment), expected.related(_HISTORY, moment)
        for one, other in (
            (_dense(related), _dense(expected_related)),
            (found.item_log_lifts(moment, 10), expected.item_log_lifts(moment, 10)),
            (found.history_log_lifts(_HISTORY, moment), expected.history_log_lifts(_HISTORY, moment)),
        ):
            expect((one is None) == (other is None), f"the same lifts {when}", "None in one case alone")
            if one is not None and other is not None:
                expect_same_array(one, other, f"lifts {when}", 1e-4)
