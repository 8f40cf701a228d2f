"""Reading of own writes: the position that an answer must reflect."""

from springtide.v1.recommender_pb2 import GraphPosition


def position_after(*acknowledged: tuple[int, int]) -> GraphPosition:
    """Return the position at which the graph has all of some events.

    Args:
        acknowledged: Partition and offset of each event, as the broker's acknowledgement gives them.

    Raises:
        ValueError: If there is none, or a number is below 0, as in an acknowledgement that was not waited for.
    """
    if not acknowledged or min(min(pair) for pair in acknowledged) < 0:
        raise ValueError(f"acknowledged: wanted pairs of a partition and an offset, 0 or more, got {acknowledged}")
    return GraphPosition(next_offsets={partition: offset + 1 for partition, offset in sorted(acknowledged)})
