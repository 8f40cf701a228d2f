"""The calls of the InspectionService that show nodes: found by id or name, one whole, and what is around it."""

import threading
from collections.abc import Callable

from springtide.clock import Deadline
from springtide.errors import InvalidRequestError
from springtide.graph.circumstances import CircumstanceTable
from springtide.inspecting.attributes import AttributeSummary, attributes_of_nodes, circumstances_of_edges
from springtide.inspecting.node import NodeDetails, NodeInteraction, node_details
from springtide.inspecting.search import near_ids, search_nodes
from springtide.inspecting.summaries import Inspected, NodeSummary
from springtide.inspecting.surroundings import Surroundings, surroundings_of
from springtide.settings.model import Settings
from springtide.v1 import inspection_pb2 as pb
from springtide_services.serving.inspection.base import InspectionBase, IsOver
from springtide_services.serving.request_limits import check_word
from springtide_services.serving.response_translation import to_attribute_value, to_timestamp
from springtide_services.serving.statuses import Context, NotFoundError, bounded, with_deadline_and_status

_DEFAULT_EDGES, _MAX_EDGES = 12, 100
_DEFAULT_DEPTH, _MAX_DEPTH = 2, 3
_LISTED_S = 10.0
_DEFAULT_FOUND, _MAX_FOUND = 20, 200
_DEFAULT_INTERACTIONS, _MAX_INTERACTIONS = 50, 1_000


class NodesInspection(InspectionBase):
    """Shows nodes.

    Args:
        settings: All settings.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._listing = threading.Lock()
        self._listed: tuple[Deadline, pb.ListAttributesResponse] | None = None  # And until when it is current.

    @with_deadline_and_status
    @bounded
    async def SearchNodes(  # noqa: N802  # The proto's name.
        self, request: pb.SearchNodesRequest, context: Context[pb.SearchNodesRequest, pb.SearchNodesResponse]
    ) -> pb.SearchNodesResponse:
        """Find nodes of one type by id or by name."""
        count = one_of("page_size", request.page_size, _DEFAULT_FOUND, _MAX_FOUND)
        check_word(request.text, "text", may_be_empty=True)
        inspected = self.inspected()

        def find(is_over: IsOver) -> pb.SearchNodesResponse:
            found = search_nodes(inspected, request.type, request.text, count, is_over)
            nodes = inspected.summaries(request.type, found.rows).values()
            return pb.SearchNodesResponse(nodes=map(to_summary, nodes), has_more=found.has_more)

        return await self.look(context, find)

    @with_deadline_and_status
    @bounded
    async def GetNode(  # noqa: N802  # The proto's name.
        self, request: pb.GetNodeRequest, context: Context[pb.GetNodeRequest, pb.GetNodeResponse]
    ) -> pb.GetNodeResponse:
        """Return a node: its attributes, its latest interactions, and how many it had over time."""
        count = one_of("max_interactions", request.max_interactions, _DEFAULT_INTERACTIONS, _MAX_INTERACTIONS)
        check_word(request.id, "id")
        state, inspected = self.parts().state, self.inspected()

        def find(is_over: IsOver) -> pb.GetNodeResponse:
            row = row_of(inspected, request.type, request.id, is_over)
            details = node_details(inspected, state.circumstances, request.type, row, count)
            if details is None:  # It was deleted a moment ago.
                raise not_found(inspected, request.type, request.id, is_over)
            return to_node(details)

        return await self.look(context, find)

    @with_deadline_and_status
    @bounded
    async def GetNeighbourhood(  # noqa: N802  # The proto's name.
        self,
        request: pb.GetNeighbourhoodRequest,
        context: Context[pb.GetNeighbourhoodRequest, pb.GetNeighbourhoodResponse],
    ) -> pb.GetNeighbourhoodResponse:
        """Return the nodes and edges around a node."""
        max_edges = one_of("max_edges", request.max_edges, _DEFAULT_EDGES, _MAX_EDGES)
        depth = one_of("depth", request.depth, _DEFAULT_DEPTH, _MAX_DEPTH)
        check_word(request.id, "id")
        inspected = self.inspected()

        def find(is_over: IsOver) -> pb.GetNeighbourhoodResponse:
            row = row_of(inspected, request.type, request.id, is_over)
            found = surroundings_of(inspected, request.type, row, max_edges, depth, is_over)
            if not found.nodes or found.depths[0]:  # It was deleted a moment ago.
                raise not_found(inspected, request.type, request.id, is_over)
            return to_neighbourhood(found)

        return await self.look(context, find)

    @with_deadline_and_status
    @bounded
    async def ListAttributes(  # noqa: N802  # The proto's name.
        self, request: pb.ListAttributesRequest, context: Context[pb.ListAttributesRequest, pb.ListAttributesResponse]
    ) -> pb.ListAttributesResponse:
        """List the attributes of each node type, the circumstances of interactions, and their most frequent values."""
        inspected, circumstances = self.inspected(), self.parts().state.circumstances

        def find(is_over: IsOver) -> pb.ListAttributesResponse:
            with self._listing:  # Who comes meanwhile takes what the first one finds.
                listed = self._listed
                if listed is None or listed[0].is_over():
                    found = to_attributes(inspected, circumstances)
                    self._listed = listed = Deadline.after(_LISTED_S), found
            return listed[1]

        return await self.look(context, find)

    def inspected(self) -> Inspected:
        """Return the graph as it is now, to speak of its nodes.

        Raises:
            NotReadyError: While it is being loaded.
        """
        state = self.parts().state
        return Inspected(state.graph.view(), state.rules.item_type, self.settings.explain.name_attribute)


def one_of(field: str, wanted: int, default: int, most: int) -> int:
    """Return a number of a request, or its default.

    Raises:
        InvalidRequestError: If it is out of range.
    """
    if not 0 <= wanted <= most:
        raise InvalidRequestError(field, f"wanted 0 to {most:,}, got {wanted:,}")
    return wanted or default


def row_of(inspected: Inspected, node_type: str, node_id: str, is_over: Callable[[], bool]) -> int:
    """Return the row of a node.

    Raises:
        InvalidRequestError: If there is no such type.
        NotFoundError: If there is no such node; it names near ids.
    """
    row = inspected.table(node_type).ids.row(node_id)
    if not 0 <= row < inspected.view.num_nodes(node_type):
        raise not_found(inspected, node_type, node_id, is_over)
    return row


def not_found(inspected: Inspected, node_type: str, node_id: str, is_over: Callable[[], bool]) -> NotFoundError:
    """Return the error of a node that does not exist."""
    near = ", ".join(near_ids(inspected, node_type, node_id, is_over))
    return NotFoundError(f"no {node_type} with the id {node_id!r}{f' (near: {near})' if near else ''}")


def to_summary(summary: NodeSummary) -> pb.NodeSummary:
    """Return a node in short as responses have it."""
    message = pb.NodeSummary(
        type=summary.node_type, id=summary.node_id, name=summary.name, num_interactions=summary.num_interactions
    )
    if summary.latest_ms is not None:
        message.latest_time.CopyFrom(to_timestamp(summary.latest_ms))
    return message


def to_node(details: NodeDetails) -> pb.GetNodeResponse:
    """Return a node as responses have it."""
    counts = details.counts
    return pb.GetNodeResponse(
        node=to_summary(details.summary),
        attributes={name: to_attribute_value(value) for name, value in details.attributes.items()},
        interactions=map(_to_interaction, details.interactions),
        counts=[
            pb.CountInTime(start_time=to_timestamp(start_ms), count=count)
            for start_ms, count in zip(counts.starts_ms.tolist(), counts.counts.tolist(), strict=True)
        ],
        days_per_count=counts.days,
        num_edges={":".join(edge_type): count for edge_type, count in details.num_edges.items()},
        first_time=None if details.first_ms is None else to_timestamp(details.first_ms),
        num_counted=counts.num_counted,
    )


def to_neighbourhood(found: Surroundings) -> pb.GetNeighbourhoodResponse:
    """Return what is around a node as responses have it."""
    return pb.GetNeighbourhoodResponse(
        nodes=[
            pb.NeighbourNode(node=to_summary(node), depth=depth)
            for node, depth in zip(found.nodes, found.depths, strict=True)
        ],
        edges=[
            pb.NeighbourEdge(
                source=edges.source,
                target=edges.target,
                relation=edges.relation,
                count=edges.count,
                latest_time=to_timestamp(edges.latest_ms),
            )
            for edges in found.edges
        ],
        is_cut=found.is_cut,
    )


def to_attributes(inspected: Inspected, circumstances: CircumstanceTable) -> pb.ListAttributesResponse:
    """Return what nodes and interactions are described by as responses have it."""
    return pb.ListAttributesResponse(
        attributes=map(_to_attribute, attributes_of_nodes(inspected.view)),
        circumstances=map(_to_attribute, circumstances_of_edges(inspected.view, circumstances)),
        item_type=inspected.item_type,
        name_attribute=inspected.name_attribute(inspected.item_type),
    )


def _to_attribute(summary: AttributeSummary) -> pb.Attribute:
    return pb.Attribute(
        node_type=summary.node_type,
        name=summary.name,
        kind=summary.kind,
        num_nodes=summary.num_nodes,
        values=summary.values,
    )


def _to_interaction(interaction: NodeInteraction) -> pb.NodeInteraction:
    return pb.NodeInteraction(
        other=to_summary(interaction.other),
        type=interaction.relation,
        event_time=to_timestamp(interaction.timestamp_ms),
        weight=interaction.weight,
        context=interaction.context,
    )
