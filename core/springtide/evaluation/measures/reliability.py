"""Calibration of scores: the softmax probability over all items, compared with how often users chose those items."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

from springtide.evaluation.measures.metrics import K
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
    """Return predicted probabilities and observed shares of the top items of some users, in bins.

    The scores are logits, so their softmax is the predicted probability that a user's next interaction is with an item.
    The observed share is the share of the user's interactions in the test set that were with that item.

    Args:
        ranker: Ranker over the training set.
        interactions: All interactions, in time order.
        split: Where they are cut.
        moment: The moment of all queries.

    Returns:
        float64 ``[3, NUM_BINS]``, the least probable first: mean predicted probability, mean observed share, and number
        of pairs of user and item.
    """
    users = np.unique(interactions.user_codes[split.test])
    users = users[np.linspace(0, len(users) - 1, min(_MAX_USERS, len(users))).astype(np.int64)]
    scorer = ranker.scorer()
    predicted, observed = [], []
    for first in range(0, len(users), _QUERIES_AT_ONCE):
        chunk = users[first : first + _QUERIES_AT_ONCE]
        scores = scorer.score([Query(moment, user_id=interactions.user_ids[user]) for user in chunk]).scores
        count = min(K, scores.shape[1])
        best = np.argpartition(-scores, count - 1, axis=1)[:, :count]  # [chunk, count]
        logits = np.take_along_axis(scores, best, 1).astype(np.float64)
        predicted.append(np.exp(logits - logsumexp(scores.astype(np.float64), axis=1, keepdims=True)))
        observed.append(_shares(interactions, split, chunk, [scorer.item_ids(rows) for rows in best]))
    return binned(np.concatenate(predicted).ravel(), np.concatenate(observed).ravel())


def binned(predicted: Float64s, observed: Float64s, num_bins: int = NUM_BINS) -> Float64s:
    """Return float64 ``[3, num_bins]``: the two means and the size of each bin; bins are equally large.

    Args:
        predicted: float64 ``[n]``, by which the bins are made.
        observed: float64 ``[n]``.
        num_bins: Number of bins; n of them if n is smaller.
    """
    order = np.argsort(predicted, kind="stable")
    bins = np.array_split(order, min(num_bins, len(order)))
    return np.array([[predicted[rows].mean(), observed[rows].mean(), len(rows)] for rows in bins]).T


def _shares(
    interactions: Interactions, split: Split, users: npt.NDArray[np.integer], items: Sequence[Sequence[str]]
) -> Float64s:
    """Return the share of each user's interactions in the test set that is with each of its items, ``[n, count]``."""
    positions = split.test[np.isin(interactions.user_codes[split.test], users)]
    code_of = {item_id: code for code, item_id in enumerate(interactions.item_ids)}
    shares = []
    for user, item_ids in zip(users, items, strict=True):
        chosen = interactions.item_codes[positions[interactions.user_codes[positions] == user]]
        ranked = np.array([code_of[item_id] for item_id in item_ids])
        shares.append((chosen[None, :] == ranked[:, None]).mean(axis=1))
    return np.stack(shares)
