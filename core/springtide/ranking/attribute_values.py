"""The attributes of a few items, as answers give them."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from springtide.errors import InvalidRequestError
from springtide.graph.nodes import NodeTable
from springtide.ranking.query import AttributeValue, Vector


def attributes_of(
    items: NodeTable, rows: npt.NDArray[np.int32], names: Sequence[str], *, is_lenient: bool = False
) -> list[Mapping[str, AttributeValue]]:
    """Return the attributes of items by name, those that each has.

    Args:
        items: The items.
        rows: int32 ``[n]``.
        names: Names of attributes.
        is_lenient: Whether unknown names are left out rather than refused: of a scenario, that was made before.

    Raises:
        InvalidRequestError: If no item has an attribute of a name.
    """
    found: list[dict[str, AttributeValue]] = [{} for _ in range(len(rows))]
    for position, name in enumerate(names):
        kind = items.kind(name)
        if kind is None and not is_lenient:
            choices = ", ".join(sorted(items.kinds)) or "none"
            field = f"include_attributes[{position}]"
            raise InvalidRequestError(field, f"no attribute of items named {name!r} (choices: {choices})")
        if kind == "category":
            column = items.categories_among((name,)).get(name)
            for of_item, row in zip(found, rows.tolist(), strict=True):
                if column is not None and (values := column.values(row)):
                    of_item[name] = tuple(values)
        elif kind == "number":
            numbers = items.numbers_at(name, rows.astype(np.int64)).tolist()
            for of_item, number in zip(found, numbers, strict=True):
                if number == number:  # Else it has none.
                    of_item[name] = number
        elif kind == "vector":
            for of_item, row in zip(found, rows.tolist(), strict=True):
                if (vector := items.vector(name, row)) is not None:
                    of_item[name] = Vector(vector)
        elif kind == "text":
            for of_item, row in zip(found, rows.tolist(), strict=True):
                if (text := items.text(name, row)) is not None:
                    of_item[name] = text
    return list(found)
