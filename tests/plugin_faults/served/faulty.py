"""A plugin whose parts raise, answer nonsense or block in whichever hook a test says: ``ways[hook] = "raises"``."""

import threading

import numpy as np

from springtide.events import RawEvent
from springtide.plugins.contracts import Baseline, ContextWeight, EventDecoder, Factor, Index, RelatedItems, Reranker
from springtide.plugins.contracts.serving import ServingEncoder
from springtide.plugins.hookspecs import hookimpl
from springtide.v1.events_pb2 import Event

ways = {}
released = threading.Event()


def misbehave(hook, nonsense=None):
    """Do in a hook what the test says; return nonsense, or None to go on."""
    way = ways.get(hook)
    if way == "raises":
        raise RuntimeError(f"no such wind in {hook}")
    if way == "blocks":
        released.wait(60)
    return nonsense if way == "answers nonsense" else None


class Faulty(ContextWeight):
    """Counts what it observes; otherwise it says nothing."""

    factors = (Factor("lift", fallback_exponent=1.0, fallback_exponent_seen=1.0),)

    def __init__(self):
        self.num_observed = 0

    def regroup(self, groups):
        misbehave("regroup")

    def observe(self, observed):
        misbehave("observe")
        self.num_observed += len(observed)

    def unobserve(self, observed):
        misbehave("unobserve")

    def forget_rows(self, user_rows, item_rows):
        misbehave("forget_rows")

    def forget_circumstances(self, kept):
        misbehave("forget_circumstances")

    def bucket(self, moment):
        return misbehave("bucket", ["no key"]) or 0

    def item_log_lifts(self, moment, num_items):
        wrong = misbehave("item_log_lifts", np.full((1, num_items), np.nan, np.float32))
        return np.zeros((1, num_items), np.float32) if wrong is None else wrong

    def later_item_log_lifts(self, moment, start, num_items):
        wrong = misbehave("later_item_log_lifts", np.zeros((2, 3), np.float32))
        return np.zeros((1, num_items - start), np.float32) if wrong is None else wrong

    def history_log_lifts(self, history, moment):
        wrong = misbehave("history_log_lifts", np.zeros((9, 9), np.float32))
        return np.zeros((1, len(history.distinct()[0])), np.float32) if wrong is None else wrong

    def related(self, history, moment):
        wrong = misbehave("related", "no related items")
        return RelatedItems(np.array([3], np.int32), np.zeros((1, 1), np.float32)) if wrong is None else wrong

    def fit(self, interactions, num_users, num_items):
        return {"count": np.array(num_items)}

    def adopted(self, fitted, item_rows):
        wrong = misbehave("adopted", "no weight")
        return Faulty() if wrong is None else wrong

    def state(self):
        misbehave("state")
        return {"num_observed": np.array(self.num_observed)}

    def restore(self, state):
        misbehave("restore")
        self.num_observed = int(state["num_observed"])


class FaultyEncoder(ServingEncoder):
    """As LightGCN."""

    default_aggregator = "sum"

    def layer(self, depth, sources, targets, edges):
        wrong = misbehave("layer", np.zeros((1, 1), np.float32))
        return edges.aggregate(sources, self.aggregators[depth], None) if wrong is None else wrong

    def readout(self, levels):
        wrong = misbehave("readout", "no vectors")
        return sum(levels[1:], levels[0]) / np.float32(len(levels)) if wrong is None else wrong


class FaultyBaseline(Baseline):
    """Ranks by counts."""

    def fit(self, interactions, num_users, num_items):
        misbehave("fit")
        self.counts = np.bincount(interactions.item_rows, minlength=num_items).astype(np.float32)

    def scores(self, user_rows, histories, now_ms):
        wrong = misbehave("scores", np.full((len(user_rows), len(self.counts)), np.nan, np.float32))
        return np.tile(self.counts, (len(user_rows), 1)) if wrong is None else wrong

    def forget_users(self, user_rows):
        misbehave("forget_users")

    def state(self):
        misbehave("baseline state")
        return {"counts": self.counts}

    def restore(self, state):
        misbehave("baseline restore")
        self.counts = state["counts"]


class FaultyIndex(Index):
    """Finds everything."""

    def build(self, vectors, rows, is_wanted):
        misbehave("build")
        self.vectors, self.rows = vectors, rows

    def search(self, vector, count):
        wrong = misbehave("search", np.array([10**9]))
        return self.rows[np.argsort(-(self.vectors[self.rows] @ vector))[:count]] if wrong is None else wrong


class FaultyReranker(Reranker):
    """Turns the order round."""

    def order(self, shortlist, count):
        wrong = misbehave("order", np.array([0, 0]))
        return np.arange(len(shortlist))[::-1] if wrong is None else wrong


class FaultyDecoder(EventDecoder):
    """Reads ``ann bread``."""

    content_types = ("text/x-pair",)

    def recognises(self, record):
        return misbehave("recognises", "perhaps") or super().recognises(record)

    def decode(self, record):
        wrong = misbehave("decode", "no events")
        user, item = record.value.decode().split()
        event = Event(interaction={"user": user, "item": item, "type": "purchase"})
        event.event_time.FromMilliseconds(record.timestamp_ms)
        return [event] if wrong is None else wrong

    def examples(self):
        return [RawEvent(b"ann bread", headers=[("content-type", b"text/x-pair")])]


@hookimpl
def register_context_weights(register):
    register("faulty", Faulty)


@hookimpl
def register_encoders(register):
    register("faulty", "springtide_plugins.encoders.lightgcn:LightGCN", FaultyEncoder)


@hookimpl
def register_baselines(register):
    register("faulty", FaultyBaseline)


@hookimpl
def register_indexes(register):
    register("faulty", FaultyIndex)


@hookimpl
def register_decoders(register):
    register("faulty", FaultyDecoder)


@hookimpl
def register_rerankers(register):
    register("faulty", FaultyReranker)
