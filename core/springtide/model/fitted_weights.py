"""What context weights have learned in a training: tensors of the model, and the weights that speak by them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from springtide.errors import TrainingError
from springtide.interactions import Observed
from springtide.plugins.contracts import ContextWeight

Fitted = Mapping[str, Mapping[str, npt.NDArray[Any]]]
"""Arrays by the name of a weight, and by their own."""

_PREFIX = "weights."


def is_fitted(weight: ContextWeight) -> bool:
    """Return whether a weight learns in trainings."""
    return type(weight).fit is not ContextWeight.fit


def fit_weights(
    weights: Mapping[str, ContextWeight], interactions: Observed, num_users: int, num_items: int
) -> dict[str, Mapping[str, npt.NDArray[Any]]]:
    """Return what the weights learn from interactions, oldest first; see ``ContextWeight.fit``.

    Args:
        weights: By name; those that learn nothing in trainings are left out.
        interactions: Positive interactions, oldest first.
        num_users: Number of users.
        num_items: Number of items.

    Raises:
        TrainingError: If one of them gives something else.
    """
    found = {
        name: weight.fit(interactions, num_users, num_items) for name, weight in weights.items() if is_fitted(weight)
    }
    for name, arrays in found.items():
        if not isinstance(arrays, Mapping) or not all(isinstance(array, np.ndarray) for array in arrays.values()):
            raise TrainingError(f"context weight {name!r}: wanted named arrays of `fit`, got {type(arrays).__name__}")
    return {name: arrays for name, arrays in found.items() if arrays}


def with_fitted(
    weights: Mapping[str, ContextWeight], fitted: Fitted, item_rows: npt.NDArray[np.int32]
) -> dict[str, ContextWeight]:
    """Return the weights, those that learn in trainings with what they have learned.

    Args:
        weights: By name.
        fitted: What was learned, by name.
        item_rows: int32 ``[num_items]``, see ``ContextWeight.adopted``.
    """
    return {
        name: weight.adopted(fitted[name], item_rows) if name in fitted and is_fitted(weight) else weight
        for name, weight in weights.items()
    }


def live_rows(model_rows: npt.NDArray[np.int32], num_model_items: int) -> npt.NDArray[np.int32]:
    """Return the live row of each item of a model, int32 ``[num_model_items]``, -1 for none.

    Args:
        model_rows: int32 ``[num_items]``, the model's row of each live item; -1 for none.
        num_model_items: How many items the model has.
    """
    rows = np.full(num_model_items, -1, np.int32)
    known = np.flatnonzero(model_rows >= 0)
    rows[model_rows[known]] = known
    return rows


def fitted_to_tensors(fitted: Fitted) -> dict[str, npt.NDArray[Any]]:
    """Return what was learned as the tensors of a model: ``weights.NAME.ARRAY``."""
    return {f"{_PREFIX}{name}.{key}": array for name, arrays in fitted.items() for key, array in arrays.items()}


def fitted_in(tensors: Mapping[str, npt.NDArray[Any]]) -> dict[str, dict[str, npt.NDArray[Any]]]:
    """Return what the weights of a model have learned, by name."""
    fitted: dict[str, dict[str, npt.NDArray[Any]]] = {}
    for path, array in tensors.items():
        if path.startswith(_PREFIX):
            name, _, key = path.removeprefix(_PREFIX).rpartition(".")
            fitted.setdefault(name, {})[key] = array
    return fitted
