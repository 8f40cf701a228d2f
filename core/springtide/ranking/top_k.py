"""Which items come first by their scores, and at which place one of them comes."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from springtide.ids import IdMap

Array = npt.NDArray[np.float32]


def best_of(scores: Array, counts: Sequence[int], ids: IdMap) -> list[tuple[npt.NDArray[np.int64], list[str]]]:
    """Return, for each row of scores ``[num_queries, num_items]``, the items of the highest finite ones, best first.

    They come as rows and ids; forgotten ones are left out.
    """
    values, places = torch.topk(torch.from_numpy(scores), min(max(counts, default=0), scores.shape[1]))
    top = []
    for position, (count, of_query) in enumerate(zip(counts, places.numpy(), strict=True)):
        rows = of_query[:count][np.isfinite(values[position, :count].numpy())]
        names = ids.ids(rows)
        while not all(names):
            # Forgotten since the table was made, which is rare: looked for again without them.
            scores[position, rows[[not name for name in names]]] = -np.inf
            again, found = torch.topk(torch.from_numpy(scores[position]), min(count, scores.shape[1]))
            rows = found[torch.isfinite(again)].numpy()
            names = ids.ids(rows)
        top.append((rows, names))
    return top


def ranks_of(scores: Array, rows: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """Return the place of one item in each row of scores, int64 ``[n]``, 1 for the best.

    Equal scores share a place, the middle of those that they fill. An item that is not ranked comes after all.

    Args:
        scores: float32 ``[n, num_items]``, ``-inf`` for what is not ranked.
        rows: int32 ``[n]``; an item without a column (-1, or past the last) is not ranked.
    """
    num_items = scores.shape[1]
    places = np.full(len(rows), num_items + 1, np.int64)
    for position, (of_query, row) in enumerate(zip(scores, rows.tolist(), strict=True)):
        if 0 <= row < num_items and np.isfinite(of_query[row]):
            num_higher = np.count_nonzero(of_query > of_query[row])
            num_equal = np.count_nonzero(of_query == of_query[row])
            places[position] = 1 + num_higher + (num_equal - 1) // 2
    return places
