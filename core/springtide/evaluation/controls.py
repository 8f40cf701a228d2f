"""What an honest evaluation over time has beside the model: popularity of late, and the user's own baskets."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import sparse

from springtide.clock import MS_PER_DAY
from springtide.evaluation.baselines import LATE_POPULARITY, K, RankItems, make_baseline
from springtide.evaluation.splits import Split
from springtide.events.model import Interactions

WEEK_POPULARITY = "popularity, last 7 days"
DECAYED_POPULARITY = "popularity, half-life 28 days"
TIFU_KNN = "TIFU-KNN"
CONTROLS = (WEEK_POPULARITY, LATE_POPULARITY, DECAYED_POPULARITY, TIFU_KNN)
"""Names, in the order of our tables."""

ScoresOf = Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float32]]
"""From users (codes, int64 ``[n]``) to scores of all items, float32 ``[n, num_items]``, which may be written to."""

_POPULARITY_HALF_LIFE_DAYS = 28.0
_BASKET_HALF_LIFE_DAYS = 60.0
_NUM_NEIGHBOURS = 300
_OWN_SHARE = 0.7  # The rest is what the neighbours take; the paper's alpha.


def make_control(name: str, interactions: Interactions, split: Split) -> RankItems:
    """Count the train part, as it is at its end.

    Args:
        name: One of ``CONTROLS``.
        interactions: In time order.
        split: Which of them may be looked at.

    Raises:
        ValueError: If there is no such control.
    """
    if name == LATE_POPULARITY:
        return make_baseline(name, interactions, split)
    if name not in CONTROLS:
        raise ValueError(f"no control named {name!r} (choices: {', '.join(CONTROLS)})")
    users, items = interactions.user_codes[split.train], interactions.item_codes[split.train]
    times = interactions.timestamps_ms[split.train]
    shape = len(interactions.user_ids), len(interactions.item_ids)
    ages_days = (times[-1] - times) / MS_PER_DAY
    had = sparse.csr_array((np.ones(len(users), np.float32), (users, items)), shape=shape)
    if name == TIFU_KNN:
        scores = _tifu_knn(users, items, times, ages_days, shape)
        return _ranking(lambda asked: scores[asked].toarray(), had)
    weights = ages_days < 7 if name == WEEK_POPULARITY else 0.5 ** (ages_days / _POPULARITY_HALF_LIFE_DAYS)
    popularity = np.bincount(items, weights, shape[1]).astype(np.float32)
    return _ranking(lambda asked: np.tile(popularity, (len(asked), 1)), had)


def _tifu_knn(
    users: npt.NDArray[np.int32],
    items: npt.NDArray[np.int32],
    times: npt.NDArray[np.int64],
    ages_days: npt.NDArray[np.float64],
    shape: tuple[int, int],
) -> sparse.csr_array:
    """Return the score of each user and item, float32 ``[num_users, num_items]``.

    Hu et al. 2020, Modeling Personalized Item Frequency Information for Next-basket Recommendation, with a half-life
    in days in place of decays by the basket: a user's vector is the mean of the baskets, the later ones counting more;
    it is mixed with the mean of the nearest users' vectors (Euclid).
    """
    # Of several pieces in one basket one counts. A basket is what a user took at one time.
    baskets, first_of, basket = np.unique(np.stack([users, times]), axis=1, return_index=True, return_inverse=True)
    weights = 0.5 ** (ages_days[first_of] / _BASKET_HALF_LIFE_DAYS)
    totals = np.bincount(baskets[0], weights, shape[0])
    pairs = np.unique(np.stack([basket.ravel(), items]), axis=1)
    owner = baskets[0][pairs[0]].astype(np.int64)
    own = sparse.csr_array(((weights[pairs[0]] / totals[owner]).astype(np.float32), (owner, pairs[1])), shape=shape)
    present = np.flatnonzero(totals > 0)
    vectors = own[present]
    squares = np.asarray(vectors.multiply(vectors).sum(1)).ravel()
    nearness = 2.0 * (vectors @ vectors.T).toarray() - squares[None, :]  # Distance², but for the user's own square.
    np.fill_diagonal(nearness, -np.inf)
    count = min(_NUM_NEIGHBOURS, len(present) - 1)
    nearest = np.argpartition(-nearness, max(count - 1, 0), axis=1)[:, :count]
    rows = np.repeat(present, count)
    ones = np.full(len(rows), 1.0 / max(count, 1), np.float32)
    neighbours = sparse.csr_array((ones, (rows, present[nearest.ravel()])), shape=(shape[0], shape[0]))
    scores: sparse.csr_array = (_OWN_SHARE * own + (1.0 - _OWN_SHARE) * (neighbours @ own)).tocsr()
    return scores


def _ranking(scores_of: ScoresOf, had: sparse.csr_array) -> RankItems:
    def rank(asked: npt.NDArray[np.int64], is_new_only: bool) -> npt.NDArray[np.int64]:
        scores = scores_of(asked)  # [n, num_items]
        if is_new_only:
            scores[had[asked].nonzero()] = -1.0
        count = min(K, scores.shape[1])
        best = np.argpartition(-scores, count - 1, axis=1)[:, :count]
        order = np.argsort(-np.take_along_axis(scores, best, 1), axis=1, kind="stable")
        ranked = np.full((len(asked), K), -1, np.int64)
        ranked[:, :count] = np.take_along_axis(best, order, 1)
        return ranked

    return rank
