"""The call of the InspectionService that shows the learned space: the map of items."""

import asyncio
from collections import OrderedDict
from concurrent.futures import Future
from functools import partial
from typing import Any

import numpy as np

from springtide.clock import Deadline
from springtide.errors import InvalidRequestError, ModelError
from springtide.inspecting.item_map import ItemMap, Layout, item_map, lay_out
from springtide.ranking.item_table import ItemTable
from springtide.settings.model import Settings
from springtide.v1 import inspection_pb2 as pb
from springtide_services.serving.inspection.base import IsOver
from springtide_services.serving.inspection.nodes import NodesInspection, one_of
from springtide_services.serving.request_limits import check_word
from springtide_services.serving.statuses import Context, bounded, with_deadline_and_status

_DEFAULT_ITEMS, _LEAST_ITEMS, _MAX_ITEMS = 1_000, 10, 5_000
_DEFAULT_NEAR, _MAX_NEAR = 10, 100
_MOST_APART = 1_000  # Items that are laid out by t-SNE, in a second of CPU time: it grows with the square.
_KEPT_S = 600.0
_MOST_OF_ALL = 0.95
_MAX_KEPT = 8  # Layouts, of at most two megabytes each.


class MapInspection(NodesInspection):
    """Shows the map of items.

    Args:
        settings: All settings.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        # By model version and number of items, until when each is good enough. Used in the event loop alone.
        self._layouts: OrderedDict[tuple[str, int], tuple[Deadline, Future[Layout]]] = OrderedDict()

    @with_deadline_and_status
    @bounded
    async def GetMap(  # noqa: N802  # The proto's name.
        self, request: pb.GetMapRequest, context: Context[pb.GetMapRequest, pb.GetMapResponse]
    ) -> pb.GetMapResponse:
        """Return items in the learned space, laid out in two dimensions."""
        max_items = one_of("max_items", request.max_items, _DEFAULT_ITEMS, _MAX_ITEMS)
        if max_items < _LEAST_ITEMS:
            raise InvalidRequestError("max_items", f"wanted {_LEAST_ITEMS} to {_MAX_ITEMS:,}, got {max_items}")
        num_near = one_of("num_near", request.num_near, _DEFAULT_NEAR, _MAX_NEAR)
        check_word(request.color_by, "color_by", may_be_empty=True)
        check_word(request.near, "near", may_be_empty=True)
        table = self._table()
        layout = await self._layout(table, max_items)
        inspected = self.inspected()

        def find(is_over: IsOver) -> pb.GetMapResponse:
            found = item_map(layout, table, inspected, request.color_by, request.near, num_near)
            return _to_map(found, table.model.version)

        return await self.look(context, find)

    def _table(self) -> ItemTable:
        """Return the items' vectors.

        Raises:
            ModelError: If no model serves.
        """
        serving = self.parts().ranker.scorer().serving
        if serving.table is None:
            what = "no model yet" if serving.baseline is None else f"the baseline {serving.version} serves"
            raise ModelError(f"{what}: the map shows what a model has learned of the items")
        return serving.table

    async def _layout(self, table: ItemTable, max_items: int) -> Layout:
        """Return a layout that is kept, or that others wait for, too; it is completed even if nobody waits any more."""
        key = table.model.version, max_items
        kept = self._layouts.pop(key, None)
        if kept is None or kept[0].is_over() or _is_outgrown(kept[1], table, max_items):
            make: Any = partial(lay_out, table, self.inspected(), max_items, most_apart=_MOST_APART)
            kept = Deadline.after(_KEPT_S), self._threads.submit(make)
        self._layouts[key] = kept
        while len(self._layouts) > _MAX_KEPT:
            self._layouts.popitem(last=False)
        return await asyncio.shield(asyncio.wrap_future(kept[1]))


def _is_outgrown(made: Future[Layout], table: ItemTable, max_items: int) -> bool:
    """Return whether a layout failed, or lacks many items that are there by now."""
    if not made.done():
        return False
    if made.exception() is not None:
        return True
    num_now = min(max_items, int(np.count_nonzero(table.has_vector)))
    return len(made.result().ids) < _MOST_OF_ALL * num_now


def _to_map(found: ItemMap, version: str) -> pb.GetMapResponse:
    """Return a map as responses have it."""
    cosines = dict(zip(found.marked, found.cosines, strict=True))
    points = zip(found.ids, found.names, found.plane.tolist(), found.groups, strict=True)
    return pb.GetMapResponse(
        points=[
            pb.MapPoint(item=item_id, name=name, x=x, y=y, group=group, cosine=cosines.get(position))
            for position, (item_id, name, (x, y), group) in enumerate(points)
        ],
        model_version=version,
    )
