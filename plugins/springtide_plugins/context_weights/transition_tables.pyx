"""What followed what: the items that came after each item, and the latest items of each user that this is counted by.

A call holds the interpreter's lock, so that a reader never sees half a change; callers pass few events at a time.
"""

import numpy as np

from libc.math cimport exp2
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memmove, memset

from springtide.arrays cimport (
    bools, float32s, float64s, int32s, int64s, out_float32s, out_float64s, out_int32s, out_int64s,
)

cdef enum:
    LEAST_ROOM = 4  # Followers for which an item has room at first.
    GONE = 1_000  # A count of which less than one of so many is left was taken back, but for rounding.


cdef struct Follower:
    int32_t item
    float count


cdef struct Source:
    Follower* followers
    int32_t num_followers
    int32_t room


cdef class Transitions:
    """How often items followed items of the same user: each item's followers, the strongest of them.

    An event's item follows the ``window`` latest items of earlier seconds, those that it had at that time; items of one
    second do not follow each other, and no item follows itself. Counts grow with the time of the event that follows,
    by ``2 ** (seconds since the landmark / half-life)``.

    Args:
        window: How many of the latest items an item follows.
        most_followers: How many followers of an item are kept.
        num_latest: How many events of a user are kept.
    """

    cdef Source* sources
    cdef double* leaving  # All that followed the item, and all that the item followed; also what is not kept.
    cdef double* coming
    cdef double total
    cdef Py_ssize_t num_items
    cdef int32_t* latest_items  # Oldest first, ``num_latest`` for each user; so are the seconds.
    cdef int64_t* latest_seconds
    cdef int32_t* latest_counts
    cdef Py_ssize_t num_users
    cdef int window, most_followers, num_latest

    def __cinit__(self, int window, int most_followers, int num_latest):
        if window < 1 or most_followers < 1 or num_latest <= window:
            raise ValueError(
                f"wanted a window and followers from 1 on, and more latest events than the window, got {window}, "
                f"{most_followers} and {num_latest}"
            )
        self.window, self.most_followers, self.num_latest = window, most_followers, num_latest

    def __dealloc__(self):
        cdef Py_ssize_t item
        for item in range(self.num_items):
            free(self.sources[item].followers)
        free(self.sources)
        free(self.leaving)
        free(self.coming)
        free(self.latest_items)
        free(self.latest_seconds)
        free(self.latest_counts)

    @property
    def total(self):
        return self.total

    def add(self, user_rows, item_rows, seconds, growths, Py_ssize_t start, Py_ssize_t stop):
        """Count the events from ``start`` to ``stop``.

        Args:
            user_rows: int32 ``[n]``.
            item_rows: int32 ``[n]``.
            seconds: int64 ``[n]``, since the Unix epoch.
            growths: float64 ``[2]``: the landmark, in seconds since the Unix epoch, and the half-life in seconds.
            start: The first event.
            stop: The event after the last.
        """
        self._each(user_rows, item_rows, seconds, growths, start, stop, False)

    def remove(self, user_rows, item_rows, seconds, growths, Py_ssize_t start, Py_ssize_t stop):
        """Take events back, as far as they are among the latest of their users; arguments as of ``add``."""
        self._each(user_rows, item_rows, seconds, growths, start, stop, True)

    cdef _each(self, user_rows, item_rows, seconds, growths, Py_ssize_t start, Py_ssize_t stop, bint is_removed):
        cdef const int32_t* users = int32s(user_rows)
        cdef const int32_t* items = int32s(item_rows)
        cdef const int64_t* times = int64s(seconds)
        cdef const double* growth = float64s(growths)
        cdef Py_ssize_t event, most_user = -1, most_item = -1
        if not 0 <= start <= stop <= len(user_rows) or not len(user_rows) == len(item_rows) == len(seconds):
            raise ValueError(f"wanted columns of one length with events {start} to {stop}, got {len(user_rows)}")
        for event in range(start, stop):
            if users[event] < 0 or items[event] < 0:
                raise ValueError(f"wanted rows of 0 or more, got {users[event]} and {items[event]}")
            most_user, most_item = max(most_user, users[event]), max(most_item, items[event])
        self._grow(most_user + 1, most_item + 1)
        for event in range(start, stop):
            if is_removed:
                _take_out(self, users[event], items[event], times[event], growth)
            else:
                _put_in(self, users[event], items[event], times[event], growth)

    cdef _grow(self, Py_ssize_t num_users, Py_ssize_t num_items):
        cdef Py_ssize_t wanted
        if num_items > self.num_items:
            wanted = max(num_items, self.num_items + self.num_items // 4)
            self.sources = <Source*> _longer(self.sources, self.num_items, wanted, sizeof(Source))
            self.leaving = <double*> _longer(self.leaving, self.num_items, wanted, sizeof(double))
            self.coming = <double*> _longer(self.coming, self.num_items, wanted, sizeof(double))
            self.num_items = wanted
        if num_users > self.num_users:
            wanted = max(num_users, self.num_users + self.num_users // 4)
            self.latest_items = <int32_t*> _longer(
                self.latest_items, self.num_users * self.num_latest, wanted * self.num_latest, sizeof(int32_t)
            )
            self.latest_seconds = <int64_t*> _longer(
                self.latest_seconds, self.num_users * self.num_latest, wanted * self.num_latest, sizeof(int64_t)
            )
            self.latest_counts = <int32_t*> _longer(self.latest_counts, self.num_users, wanted, sizeof(int32_t))
            self.num_users = wanted

    def scale(self, double factor):
        """Multiply all counts, since the landmark moves."""
        cdef Py_ssize_t item, each
        self.total *= factor
        for item in range(self.num_items):
            self.leaving[item] *= factor
            self.coming[item] *= factor
            for each in range(self.sources[item].num_followers):
                self.sources[item].followers[each].count *= <float> factor

    def forget(self, user_rows, is_item_gone, growths):
        """Forget users, int32 ``[m]``, and items, bool ``[n]``: the events are taken back, as far as they are kept."""
        cdef const int32_t* users = int32s(user_rows)
        cdef const uint8_t* is_gone = bools(is_item_gone)
        cdef const double* growth = float64s(growths)
        cdef Py_ssize_t event, user, item, each, num_marked = len(is_item_gone)
        cdef Source* source
        for event in range(len(user_rows)):
            if users[event] < self.num_users:
                self.latest_counts[users[event]] = 0
        if not num_marked:
            return
        for user in range(self.num_users):
            event = 0
            while event < self.latest_counts[user]:
                item = self.latest_items[user * self.num_latest + event]
                if item < num_marked and is_gone[item]:
                    _take_out(self, user, item, self.latest_seconds[user * self.num_latest + event], growth)
                else:
                    event += 1
        for item in range(self.num_items):
            source = self.sources + item
            each = 0
            while each < source.num_followers:
                if source.followers[each].item < num_marked and is_gone[source.followers[each].item]:
                    self.leaving[item] = max(self.leaving[item] - source.followers[each].count, 0.0)
                    source.num_followers -= 1
                    source.followers[each] = source.followers[source.num_followers]
                else:
                    each += 1
            if item < num_marked and is_gone[item]:
                for each in range(source.num_followers):
                    event = source.followers[each].item
                    self.coming[event] = max(self.coming[event] - source.followers[each].count, 0.0)
                self.leaving[item] = self.coming[item] = 0.0
                free(source.followers)
                memset(source, 0, sizeof(Source))
        self.total = 0.0
        for item in range(self.num_items):
            self.total += self.coming[item]

    def lifts(self, item_rows, shares, double scale, double prior):
        """Return the mean lift of the items that followed some, shrunk to 1.

        Args:
            item_rows: int32 ``[k]``, each once.
            shares: float64 ``[k]``, what each of them weighs, with a sum of 1.
            scale: What a count is to be multiplied by, so that one at the newest time is 1.
            prior: Weight of the prior, which is a lift of 1, in events, above 0.

        Returns:
            Rows, int32 ``[m]``, each once, in no order; and lifts, float64 ``[m]``.
        """
        cdef const int32_t* items = int32s(item_rows)
        cdef const double* weights = float64s(shares)
        cdef Py_ssize_t number, each, slot, found = 0, most = 0, num_slots = 64, num_sources = len(item_rows)
        cdef Source* source
        cdef double expected, share, neutral
        if len(shares) != num_sources:
            raise ValueError(f"wanted shares of {num_sources} items, got {len(shares)}")
        for number in range(num_sources):
            if 0 <= items[number] < self.num_items:
                most += self.sources[items[number]].num_followers
        rows, lifts = np.empty(most, np.int32), np.empty(most, np.float64)
        if not most or self.total <= 0:
            return rows[:0], lifts[:0]
        while num_slots < 2 * most:
            num_slots *= 2
        cdef int32_t* rows_ = out_int32s(rows)
        cdef double* lifts_ = out_float64s(lifts)
        cdef int32_t* slots = <int32_t*> malloc(num_slots * sizeof(int32_t))
        if slots == NULL:
            raise MemoryError
        memset(slots, 0xFF, num_slots * sizeof(int32_t))
        for number in range(num_sources):  # Sums of what is above that of an item that did not follow.
            if not 0 <= items[number] < self.num_items:
                continue
            source = self.sources + items[number]
            for each in range(source.num_followers):
                slot = (<uint32_t> source.followers[each].item * <uint32_t> 2654435761) & (num_slots - 1)
                while slots[slot] >= 0 and rows_[slots[slot]] != source.followers[each].item:
                    slot = (slot + 1) & (num_slots - 1)
                if slots[slot] < 0:
                    slots[slot] = <int32_t> found
                    rows_[found] = source.followers[each].item
                    lifts_[found] = 0.0
                    found += 1
                expected = self.leaving[items[number]] * self.coming[source.followers[each].item] / self.total
                share = source.followers[each].count * scale / (expected * scale + prior)
                lifts_[slots[slot]] += weights[number] * share
        free(slots)
        for number in range(num_sources):
            share = self.leaving[items[number]] / self.total * scale if 0 <= items[number] < self.num_items else 0.0
            neutral = weights[number] * prior
            for each in range(found):
                lifts_[each] += neutral / (share * self.coming[rows_[each]] + prior)
        return rows[:found], lifts[:found]

    def state(self):
        """Return by name: ``total``, ``leaving``, ``coming``, ``num_followers``, ``followers`` and ``counts`` of these;
        ``latest_counts``, ``latest_items`` and ``latest_seconds``, without those at the end that are empty."""
        cdef Py_ssize_t num_items = self.num_items, num_users = self.num_users, item, user, each, at = 0
        while num_items and not (self.sources[num_items - 1].num_followers or self.leaving[num_items - 1] > 0
                                 or self.coming[num_items - 1] > 0):
            num_items -= 1
        while num_users and not self.latest_counts[num_users - 1]:
            num_users -= 1
        num_followers = np.array([self.sources[item].num_followers for item in range(num_items)], np.int32)
        latest_counts = np.array([self.latest_counts[user] for user in range(num_users)], np.int32)
        followers = np.empty(num_followers.sum(), np.int32)
        counts = np.empty(len(followers), np.float32)
        latest_items = np.empty(latest_counts.sum(), np.int32)
        latest_seconds = np.empty(len(latest_items), np.int64)
        cdef int32_t* followers_ = out_int32s(followers)
        cdef float* counts_ = out_float32s(counts)
        cdef int32_t* items_ = out_int32s(latest_items)
        cdef int64_t* seconds_ = out_int64s(latest_seconds)
        for item in range(num_items):
            for each in range(self.sources[item].num_followers):
                followers_[at] = self.sources[item].followers[each].item
                counts_[at] = self.sources[item].followers[each].count
                at += 1
        at = 0
        for user in range(num_users):
            for each in range(self.latest_counts[user]):
                items_[at] = self.latest_items[user * self.num_latest + each]
                seconds_[at] = self.latest_seconds[user * self.num_latest + each]
                at += 1
        return {
            "total": np.array([self.total]),
            "leaving": np.array([self.leaving[item] for item in range(num_items)], np.float64),
            "coming": np.array([self.coming[item] for item in range(num_items)], np.float64),
            "num_followers": num_followers,
            "followers": followers,
            "counts": counts,
            "latest_counts": latest_counts,
            "latest_items": latest_items,
            "latest_seconds": latest_seconds,
        }

    def restore(
        self, total, leaving, coming, num_followers, followers, counts, latest_counts, latest_items, latest_seconds
    ):
        """Continue from what ``state`` returned, in a table that is new; of more than it keeps, the rest is left out.

        Raises:
            ValueError: If the arrays do not fit each other.
        """
        cdef Py_ssize_t num_items = len(leaving), num_users = len(latest_counts), item, user, each, at = 0, over
        cdef const int32_t* lengths = int32s(num_followers)
        cdef const int32_t* followers_ = int32s(followers)
        cdef const float* counts_ = float32s(counts)
        cdef const int32_t* numbers = int32s(latest_counts)
        cdef const int32_t* items = int32s(latest_items)
        cdef const int64_t* seconds = int64s(latest_seconds)
        cdef const double* leaving_ = float64s(leaving)
        cdef const double* coming_ = float64s(coming)
        if (
            not len(leaving) == len(coming) == len(num_followers)
            or not len(followers) == len(counts) == num_followers.sum()
            or not len(latest_items) == len(latest_seconds) == latest_counts.sum()
            or min(num_followers.min(initial=0), latest_counts.min(initial=0), latest_items.min(initial=0)) < 0
            or followers.min(initial=0) < 0 or followers.max(initial=-1) >= num_items
        ):
            raise ValueError("wanted transitions whose arrays fit each other")
        self._grow(num_users, num_items)
        self.total = float64s(total)[0]
        for item in range(num_items):
            self.leaving[item], self.coming[item] = leaving_[item], coming_[item]
            for each in range(lengths[item]):
                _count(self, item, followers_[at], counts_[at])
                at += 1
        at = 0
        for user in range(num_users):
            over = max(0, numbers[user] - self.num_latest)
            for each in range(numbers[user]):
                if each >= over:
                    self.latest_items[user * self.num_latest + each - over] = items[at]
                    self.latest_seconds[user * self.num_latest + each - over] = seconds[at]
                at += 1
            self.latest_counts[user] = <int32_t> (numbers[user] - over)


cdef void* _longer(void* memory, Py_ssize_t old, Py_ssize_t new, size_t size) except NULL:
    """Return memory that is longer, with zeros at its end."""
    cdef void* longer = realloc(memory, new * size)
    if longer == NULL:
        raise MemoryError
    memset(<char*> longer + old * size, 0, (new - old) * size)
    return longer


cdef int _put_in(Transitions table, Py_ssize_t user, int32_t item, int64_t second, const double* growth) except -1:
    """Count an event, and what changes for later ones: it may have come late."""
    cdef int32_t* items = table.latest_items + user * table.num_latest
    cdef int64_t* seconds = table.latest_seconds + user * table.num_latest
    cdef int32_t number = table.latest_counts[user], place, first, each, later, step
    place = number
    while place and (seconds[place - 1] > second or (seconds[place - 1] == second and items[place - 1] > item)):
        place -= 1
    if number == table.num_latest and not place:
        return 0  # Older than all that is kept: what it followed is not known any more.
    first = _step(seconds, place, second)
    for each in range(max(0, first - table.window), first):
        _follow(table, items[each], item, 1.0, second, growth)
    for later in range(place, number):
        if seconds[later] == second:
            continue
        step = _step(seconds, later, seconds[later])
        if step - place < table.window:
            _follow(table, item, items[later], 1.0, seconds[later], growth)
            if step >= table.window:  # It is pushed out of the window.
                _follow(table, items[step - table.window], items[later], -1.0, seconds[later], growth)
    if number == table.num_latest:
        memmove(items, items + 1, (place - 1) * sizeof(int32_t))
        memmove(seconds, seconds + 1, (place - 1) * sizeof(int64_t))
        place -= 1
    else:
        memmove(items + place + 1, items + place, (number - place) * sizeof(int32_t))
        memmove(seconds + place + 1, seconds + place, (number - place) * sizeof(int64_t))
        table.latest_counts[user] += 1
    items[place], seconds[place] = item, second
    return 0


cdef int _take_out(Transitions table, Py_ssize_t user, int32_t item, int64_t second, const double* growth) except -1:
    """Take back what ``_put_in`` counted, if the event is kept."""
    cdef int32_t* items = table.latest_items + user * table.num_latest
    cdef int64_t* seconds = table.latest_seconds + user * table.num_latest
    cdef int32_t number = table.latest_counts[user], place = number - 1, first, each, later, step
    while place >= 0 and not (seconds[place] == second and items[place] == item):
        place -= 1
    if place < 0:
        return 0
    first = _step(seconds, place, second)
    for each in range(max(0, first - table.window), first):
        _follow(table, items[each], item, -1.0, second, growth)
    for later in range(place + 1, number):
        if seconds[later] == second:
            continue
        step = _step(seconds, later, seconds[later])
        if step - place <= table.window:
            _follow(table, item, items[later], -1.0, seconds[later], growth)
            if step > table.window:  # It is in the window again.
                _follow(table, items[step - table.window - 1], items[later], 1.0, seconds[later], growth)
    memmove(items + place, items + place + 1, (number - place - 1) * sizeof(int32_t))
    memmove(seconds + place, seconds + place + 1, (number - place - 1) * sizeof(int64_t))
    table.latest_counts[user] -= 1
    return 0


cdef int32_t _step(const int64_t* seconds, int32_t place, int64_t second) noexcept:
    """Return the first place of a second, given one of it or that behind it."""
    while place and seconds[place - 1] == second:
        place -= 1
    return place


cdef int _follow(
    Transitions table, int32_t item, int32_t follower, float sign, int64_t second, const double* growth
) except -1:
    """Count that an item followed another, or take it back."""
    cdef double count
    if item == follower:
        return 0
    count = sign * exp2((second - growth[0]) / growth[1])
    table.leaving[item] = max(table.leaving[item] + count, 0.0)
    table.coming[follower] = max(table.coming[follower] + count, 0.0)
    table.total = max(table.total + count, 0.0)
    return _count(table, item, follower, <float> count)


cdef int _count(Transitions table, Py_ssize_t item, int32_t follower, float count) except -1:
    """Add to the count of a follower; a new one takes the place of the weakest where there is no room."""
    cdef Source* source = table.sources + item
    cdef Follower* longer
    cdef int32_t each, weakest = 0, room
    for each in range(source.num_followers):
        if source.followers[each].item == follower:
            source.followers[each].count += count
            if source.followers[each].count * GONE < -count:
                source.num_followers -= 1
                source.followers[each] = source.followers[source.num_followers]
            return 0
    if count <= 0:
        return 0
    if source.num_followers == source.room:
        if source.room >= table.most_followers:
            for each in range(1, source.num_followers):
                if source.followers[each].count < source.followers[weakest].count:
                    weakest = each
            if source.followers[weakest].count <= count:
                source.followers[weakest].item, source.followers[weakest].count = follower, count
            return 0
        room = min(table.most_followers, max(<int32_t> LEAST_ROOM, 2 * source.room))
        longer = <Follower*> realloc(source.followers, room * sizeof(Follower))
        if longer == NULL:
            raise MemoryError
        source.followers, source.room = longer, room
    source.followers[source.num_followers].item, source.followers[source.num_followers].count = follower, count
    source.num_followers += 1
    return 0
