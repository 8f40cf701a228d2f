"""External ids to dense rows and back, one map per node type."""

from collections.abc import Iterable

from springtide.id_kernels import IdTable
from springtide.packed_texts import PackedTexts, pack


class IdMap(IdTable):
    """Assigns a row to each id, in order of arrival; rows of forgotten ids are given away again once they are released.

    One thread interns, forgets and releases. Any thread may look ids up at the same time: it finds an id with its row,
    or not at all. Ids are kept as UTF-8, one after another, so no Python object stands for an id. The methods are
    compiled, in ``id_kernels.pyx``.

    Args:
        ids: Ids in row order, as ``all_ids`` or ``all_packed`` returned them; an empty one stands for a forgotten id.

    Attributes:
        num_known: Number of ids that have a row.
        num_released: How many rows wait to be given away again.
        num_reuses: How many rows were given away again so far.
        nbytes: Bytes that the map holds.

    Raises:
        ValueError: If an id occurs twice.
    """

    __slots__ = ()

    def __init__(self, ids: Iterable[str] | PackedTexts = ()) -> None:
        self.append_packed(*(ids if isinstance(ids, PackedTexts) else pack(ids)))

    def all_packed(self, count: int | None = None) -> PackedTexts:
        """Return a copy of the ids of the first ``count`` rows, of all by default; a forgotten one has no bytes."""
        return PackedTexts(*self.packed(0, len(self) if count is None else count))
