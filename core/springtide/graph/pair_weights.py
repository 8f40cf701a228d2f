"""One weight for all timestamped events of a pair: repeats add up, and fade with their age."""

import numpy as np
import numpy.typing as npt

from springtide.clock import MS_PER_DAY

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]


def add_up(
    keys: Int64s,
    timestamps_ms: Int64s,
    weights: npt.NDArray[np.float32],
    newest_ms: int,
    half_life_days: float | None,
) -> tuple[Int64s, Int64s, Float64s, Float64s]:
    """Add events up to one edge for each key.

    Args:
        keys: int64 ``[n]``, key of the edge that each event belongs to.
        timestamps_ms: int64 ``[n]``.
        weights: float32 ``[n]``.
        newest_ms: Time that ages are counted back from; later events have age 0.
        half_life_days: Half-life of an event's weight; None for no fading.

    Returns:
        The distinct keys, ascending, int64 ``[num_edges]``; the index of each event's key in them, int64 ``[n]``; the
        edges' weights (``pair_weight``), and the ages in days of their latest events, float64 ``[num_edges]``.
    """
    distinct, inverse = np.unique(keys, return_inverse=True)
    ages_days = np.maximum(newest_ms - timestamps_ms, 0) / MS_PER_DAY
    totals = np.bincount(inverse, fade(weights, ages_days, half_life_days), minlength=len(distinct))
    last_age_days = np.full(len(distinct), np.inf)
    np.minimum.at(last_age_days, inverse, ages_days)
    return distinct, inverse, pair_weight(totals.astype(np.float64)), last_age_days


def fade(
    weights: npt.NDArray[np.float32], ages_days: npt.NDArray[np.float64], half_life_days: float | None
) -> npt.NDArray[np.float64]:
    """Return the weights, halved with every half-life of their age, float64 ``[n]``."""
    full: npt.NDArray[np.float64] = weights.astype(np.float64)
    return full if half_life_days is None else full * 2.0 ** (-ages_days / half_life_days)


def pair_weight(totals: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return ``log(1 + total)``, the weight of an edge for several events: each repeat adds less."""
    weights: npt.NDArray[np.float64] = np.log1p(totals)
    return weights
