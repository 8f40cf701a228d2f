"""Whether scores mean what they say: a softmax over all items, beside how often those items were taken."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

from springtide.evaluation.measures.measurement import K
from springtide.evaluation.splits.time_splits import Split
from springtide.events.model import Interactions
from springtide.interactions import Moment
from springtide.ranking.query import Query
from springtide.ranking.ranker import Ranker

NUM_BINS = 10
_MAX_USERS = 500  # Enough for ten bins of 20 items each, and a matter of seconds.
_QUERIES_AT_ONCE = 64

Float64s = npt.NDArray[np.float64]


def reliability(ranker: Ranker, interactions: Interactions, split: Split, moment: Moment) -> Float64s:
    """Return what was foretold of the best items of some users, and what came.

    The scores are logits, so their softmax is the chance that a user's next interaction is with an item. It is held
    against the share of the user's interactions in the test part that were with it.

    Args:
        ranker: Over the train part.
        interactions: In time order.
        split: Where they are cut.
        moment: As of when to ask.

    Returns:
        float64 ``[3, NUM_BINS]``, rarer first: mean chance, mean share, and number of pairs of user and item.
    """
    users = np.unique(interactions.user_codes[split.test])
    users = users[np.linspace(0, len(users) - 1, min(_MAX_USERS, len(users))).astype(np.int64)]
    scorer = ranker.scorer()
    predicted, observed = [], []
    for first in range(0, len(users), _QUERIES_AT_ONCE):
        chunk = users[first : first + _QUERIES_AT_ONCE]
        scores = scorer.score([Query(moment, user_id=interactions.user_ids[user]) for user in chunk]).scores
        count = min(K, scores.shape[1])
        best = np.argpartition(-scores, count - 1, axis=1)[:, :count]
        logits = np.take_along_axis(scores, best, 1).astype(np.float64)
        predicted.append(np.exp(logits - logsumexp(scores.astype(np.float64), axis=1, keepdims=True)))
        observed.append(_shares(interactions, split, chunk, [scorer.item_ids(of_user) for of_user in best]))
    return binned(np.concatenate(predicted).ravel(), np.concatenate(observed).ravel())


def binned(predicted: Float64s, observed: Float64s, num_bins: int = NUM_BINS) -> Float64s:
    """Return float64 ``[3, num_bins]``: the means of bins of as many chances each, and how many these are.

    Args:
        predicted: float64 ``[n]``.
        observed: float64 ``[n]``.
        num_bins: How many bins; fewer if there are fewer chances.
    """
    order = np.argsort(predicted, kind="stable")
    parts = np.array_split(order, min(num_bins, len(order)))
    return np.array([[predicted[part].mean(), observed[part].mean(), len(part)] for part in parts]).T


def _shares(
    interactions: Interactions, split: Split, users: npt.NDArray[np.integer], items: Sequence[Sequence[str]]
) -> Float64s:
    """Return what share of each user's interactions in the test part is with each of some items, ``[n, count]``."""
    of_users = split.test[np.isin(interactions.user_codes[split.test], users)]
    codes = {item_id: code for code, item_id in enumerate(interactions.item_ids)}
    shares = []
    for user, of_user in zip(users, items, strict=True):
        taken = interactions.item_codes[of_users[interactions.user_codes[of_users] == user]]
        wanted = np.array([codes[item_id] for item_id in of_user])
        shares.append((taken[None, :] == wanted[:, None]).mean(axis=1))
    return np.stack(shares)
