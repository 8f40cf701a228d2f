"""The loop that fits elastic nets, compiled by numba when it first runs; a fitted baseline serves without it."""

import numpy as np
import numpy.typing as npt
from numba import njit


@njit(cache=True, nogil=True)
def elastic_nets(
    gram: npt.NDArray[np.float32], count: int, l1: float, l2: float, max_sweeps: int, smallest_step: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Return the candidates of each item and their weights, ``[num_kept, count]`` each.

    The net of an item minimises, over non-negative weights, half the squared error between the item's column and the
    weighted sum of its candidates' columns, plus l1 times the sum of the weights, plus half l2 times the sum of their
    squares.
    """
    num_kept = len(gram)
    candidates = np.zeros((num_kept, count), np.int64)
    weights = np.zeros((num_kept, count), np.float32)
    candidate_gram = np.empty((count, count), np.float32)
    for item in range(num_kept):
        in_common = -gram[item].copy()
        in_common[item] = 1.0  # Never chosen, since the others are 0 or less.
        chosen = np.argpartition(in_common, count - 1)[:count]
        for row in range(count):
            for column in range(count):
                candidate_gram[row, column] = gram[chosen[row], chosen[column]]
        found = np.zeros(count, np.float32)
        slope = gram[item][chosen].copy()  # Negative gradient of the squared error; updated with the weights.
        for _ in range(max_sweeps):
            furthest = 0.0
            for index in range(count):
                diagonal = candidate_gram[index, index]
                pull = slope[index] + diagonal * found[index] - l1
                moved = max(pull, 0.0) / (diagonal + l2) - found[index]
                if moved != 0.0:
                    found[index] += moved
                    furthest = max(furthest, abs(moved))
                    slope -= np.float32(moved) * candidate_gram[index]
            if furthest < smallest_step:
                break
        candidates[item] = chosen
        weights[item] = found
    return candidates, weights
