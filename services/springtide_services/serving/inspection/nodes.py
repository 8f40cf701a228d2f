"""The calls of the InspectionService that show nodes: found by id or name, one whole, and what is around it."""

from collections.abc import Callable

from springtide.errors import InvalidRequestError
from springtide.inspecting.node import NodeDetails, NodeInteraction, node_details
from springtide.inspecting.search import near_ids, search_nodes
from springtide.inspecting.summaries import Inspected, NodeSummary
from springtide.v1 import inspection_pb2 as pb
from springtide_services.serving.inspection.base import InspectionBase, IsOver
from springtide_services.serving.response_translation import to_attribute_value, to_timestamp
from springtide_services.serving.statuses import Context, NotFoundError, bounded, with_deadline_and_status

_MAX_TEXT = 1_000  # Characters.
_DEFAULT_FOUND, _MAX_FOUND = 20, 200
_DEFAULT_INTERACTIONS, _MAX_INTERACTIONS = 50, 1_000


class NodesInspection(InspectionBase):
    """Shows nodes."""

    @with_deadline_and_status
    @bounded
    async def SearchNodes(  # noqa: N802  # The proto's name.
        self, request: pb.SearchNodesRequest, context: Context[pb.SearchNodesRequest, pb.SearchNodesResponse]
    ) -> pb.SearchNodesResponse:
        """Find nodes of one type by id or by name."""
        count = one_of("page_size", request.page_size, _DEFAULT_FOUND, _MAX_FOUND)
        text = text_of("text", request.text)
        inspected = self.inspected()

        def find(is_over: IsOver) -> pb.SearchNodesResponse:
            found = search_nodes(inspected, request.type, text, count, is_over)
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
        node_id, state, inspected = id_of(request.id), self.parts().state, self.inspected()

        def find(is_over: IsOver) -> pb.GetNodeResponse:
            row = row_of(inspected, request.type, node_id, is_over)
            details = node_details(inspected, state.circumstances, request.type, row, count)
            if details is None:  # It was deleted a moment ago.
                raise not_found(inspected, request.type, node_id, is_over)
            return to_node(details)

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


def text_of(field: str, text: str) -> str:
    """Return a text of a request.

    Raises:
        InvalidRequestError: If it is longer than ids are.
    """
    if len(text) > _MAX_TEXT:
        raise InvalidRequestError(field, f"wanted at most {_MAX_TEXT:,} characters, got {len(text):,}")
    return text


def id_of(node_id: str) -> str:
    """Return the id of a request.

    Raises:
        InvalidRequestError: If there is none, or it is longer than ids are.
    """
    if not node_id:
        raise InvalidRequestError("id", "wanted the id of a node, got an empty string")
    return text_of("id", node_id)


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


def _to_interaction(interaction: NodeInteraction) -> pb.NodeInteraction:
    return pb.NodeInteraction(
        other=to_summary(interaction.other),
        type=interaction.relation,
        event_time=to_timestamp(interaction.timestamp_ms),
        weight=interaction.weight,
        context=interaction.context,
    )
