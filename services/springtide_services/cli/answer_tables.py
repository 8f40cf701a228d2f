"""The `recommend` command: one request, and the answer as a table."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from rich.table import Table
from rich.text import Text

from springtide.clock import MS_PER_SECOND
from springtide.errors import InvalidRequestError
from springtide.v1 import recommender_pb2 as pb
from springtide_services.serving.client import Client, Credentials
from springtide_services.terminal import console

_PERSONALIZATIONS = {
    pb.PERSONALIZATION_LEARNED: "from what the model learned of the user",
    pb.PERSONALIZATION_FOLDED_IN: "folded in live: the model has not seen this user",
    pb.PERSONALIZATION_CONTEXT_ONLY: "nothing is known of this user: ranked by the context alone",
    pb.PERSONALIZATION_FALLBACK: "no model yet: ranked by the fallback",
}
_SOURCES = {
    pb.MOMENT_SOURCE_GIVEN: "as asked",
    pb.MOMENT_SOURCE_WALL: "now",
    pb.MOMENT_SOURCE_STREAM: "the stream's time",
}


def ask(
    address: str,
    *,
    user: str,
    count: int,
    at: datetime | None,
    place: str,
    weather: str,
    recent_items: Sequence[str],
    exclude_seen: Sequence[str],
    only: Sequence[str],
    as_json: bool,
    credentials: Credentials | None = None,
) -> None:
    """Ask the server and print the answer.

    Raises:
        ServerCallError: If there is no answer, or an error.
        InvalidRequestError: If an entry of ``only`` is not of the form ATTRIBUTE=VALUE.
    """
    request = pb.RecommendRequest(
        user=user,
        count=count,
        recent_items=recent_items,
        exclude_seen=exclude_seen,
        category_filters=_filters(only),
        context=pb.Context(place=place, weather=weather),
        view=pb.RECOMMEND_VIEW_FULL,
    )
    if at is not None:
        request.context.event_time.FromDatetime(at if at.tzinfo is None else at.astimezone(UTC))
    with Client(address, credentials=credentials) as client:
        response = client.recommend(request)
    if as_json:
        from google.protobuf.json_format import MessageToJson  # Slow to import.

        console().print_json(MessageToJson(response))
        return
    console().print(
        answer_table(response) if response.items else "no items: nothing passes the filters, or is known yet"
    )
    console().print(foot(response))


def as_of_words(as_of_ms: int, source: pb.MomentSource) -> str:
    """Return which moment an answer speaks of, in words; empty for a server that does not say it."""
    if source not in _SOURCES:
        return ""
    return f"as of {datetime.fromtimestamp(as_of_ms / MS_PER_SECOND, UTC):%Y-%m-%d %H:%M} UTC, {_SOURCES[source]}"


def foot(response: pb.RecommendResponse | pb.ExplainResponse) -> str:
    """Return what ranked, what it knows of the user, and which moment the answer speaks of, in lines."""
    lines = (_served_words(response), as_of_words(response.as_of_ms, response.as_of_source))
    return "\n".join(filter(None, lines))


def _served_words(response: pb.RecommendResponse | pb.ExplainResponse) -> str:
    """Return what ranked, and what it knows of the user, in words."""
    if response.model_version and response.personalization == pb.PERSONALIZATION_FALLBACK:
        return f"model {response.model_version}; ranked by this baseline"
    words = _PERSONALIZATIONS.get(response.personalization, "unknown")
    return f"model {response.model_version or 'none'}; {words}"


def answer_table(
    response: pb.RecommendResponse, titles: Mapping[str, str] | None = None, former: Sequence[str] | None = None
) -> Table:
    """Return a table of the items of an answer, with the cosine of every item, and each context weight that it gives.

    Args:
        response: The answer.
        titles: Readable names by item id; items without one are shown by their id.
        former: The items of an earlier answer, best first; a column then shows each item's rank in it.
    """
    columns = sorted(enumerate(response.weight_names), key=lambda column: column[1])
    table = Table(box=None, pad_edge=False)
    former_ranks = {item_id: str(rank) for rank, item_id in enumerate(former or (), start=1)}
    was = [] if former is None else ["was"]
    rows: list[tuple[str | Text, ...]] = [
        (
            str(rank),
            *(former_ranks.get(item.item, "-") for _ in was),
            Text((titles or {}).get(item.item, item.item), no_wrap=True, overflow="ellipsis"),
            f"{item.score:z.2f}",
            f"{item.cosine:z.2f}",
            *(f"×{item.weights[column]:.2f}" for column, _ in columns),
        )
        for rank, item in enumerate(response.items, start=1)
    ]
    for name in ("", *was, "item", "score", "cosine", *(name for _, name in columns)):
        # A narrow terminal shortens the columns that may wrap: the items alone, whose text then ends in "…".
        is_item = name == "item"
        table.add_column(name, justify="left" if is_item else "right", no_wrap=not is_item)
    for row in rows:
        table.add_row(*row)
    return table


def _filters(only: Sequence[str]) -> list[pb.CategoryFilter]:
    filters: dict[str, pb.CategoryFilter] = {}
    for entry in only:
        attribute, equals, value = entry.partition("=")
        if not (attribute and equals and value):
            raise InvalidRequestError("--only", f"wanted ATTRIBUTE=VALUE, got {entry!r}")
        filters.setdefault(attribute, pb.CategoryFilter(attribute=attribute)).values.append(value)
    return list(filters.values())
