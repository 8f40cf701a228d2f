"""The `recommend` command: one request, and the answer as a table."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from rich.table import Table
from rich.text import Text

from springtide.clock import MS_PER_SECOND
from springtide.errors import InvalidRequestError
from springtide.v1 import recommender_pb2 as pb
from springtide_services.serving.client import Client
from springtide_services.terminal import console

_PERSONALIZATIONS = {
    pb.PERSONALIZATION_LEARNED: "from what the model learned of the user",
    pb.PERSONALIZATION_FOLDED_IN: "folded in live: the model has not seen this user",
    pb.PERSONALIZATION_CONTEXT_ONLY: "nothing is known of this user: ranked by the context and the mean user",
    pb.PERSONALIZATION_FALLBACK: "no model yet: ranked by the fallback",
}
_SHOWN_NUMBERS = 4  # Of a vector.
_SOURCES = {
    pb.MOMENT_SOURCE_GIVEN: "as asked",
    pb.MOMENT_SOURCE_WALL: "now",
    pb.MOMENT_SOURCE_STREAM: "the stream's time",
}


def show_pages(client: Client, request: pb.RecommendRequest, num_pages: int = 1, *, as_json: bool = False) -> None:
    """Ask for a page of an answer and the pages after it, and print each.

    Args:
        client: A client of the server.
        request: Asks for the first of them.
        num_pages: How many to print at most.
        as_json: Whether to print the responses as JSON.

    Raises:
        ServerCallError: If there is no answer, or an error.
    """
    first_rank = 1
    for number in range(num_pages):
        response = client.recommend(request)
        if as_json:
            from google.protobuf.json_format import MessageToJson  # Slow to import.

            console().print_json(MessageToJson(response))
        elif response.items:
            console().print(answer_table(response, first_rank=first_rank))
        else:
            console().print("no items: nothing passes the filters, or is known yet")
        token, first_rank = response.next_page_token, first_rank + len(response.items)
        if not as_json and (not token or number == num_pages - 1):
            console().print(foot(response))
            if token:
                console().print(f"next page: --page-token {token}", soft_wrap=True, highlight=False)
        if not token:
            return
        request.page_token = token


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
    response: pb.RecommendResponse,
    titles: Mapping[str, str] | None = None,
    former: Sequence[str] | None = None,
    first_rank: int = 1,
) -> Table:
    """Return a table of the items of an answer, with the cosine of every item, and each context weight that it gives.

    Attributes stand behind the item, and what put it at its place behind all, where there are any.

    Args:
        response: The answer.
        titles: Readable names by item id; items without one are shown by their id.
        former: The items of an earlier answer, best first; a column then shows each item's rank in it.
        first_rank: Rank of the first item, on a later page.
    """
    columns = sorted(enumerate(response.weight_names), key=lambda column: column[1])
    table = Table(box=None, pad_edge=False)
    former_ranks = {item_id: str(rank) for rank, item_id in enumerate(former or (), start=1)}
    was = [] if former is None else ["was"]
    attributes = sorted({name for item in response.items for name in item.attributes})
    placed = ["placed by"] if any(item.placed_by for item in response.items) else []
    rows: list[tuple[str | Text, ...]] = [
        (
            str(rank),
            *(former_ranks.get(item.item, "-") for _ in was),
            Text((titles or {}).get(item.item, item.item), no_wrap=True, overflow="ellipsis"),
            *(Text(attribute_words(item.attributes[name]) if name in item.attributes else "") for name in attributes),
            f"{item.score:z.2f}",
            f"{item.cosine:z.2f}",
            *(f"×{item.weights[column]:.2f}" for column, _ in columns),
            *(Text(item.placed_by) for _ in placed),
        )
        for rank, item in enumerate(response.items, start=first_rank)
    ]
    numbers = ("score", "cosine", *(name for _, name in columns))
    for kind, names in (("right", ("", *was)), ("left", ("item", *attributes)), ("right", numbers), ("left", placed)):
        for name in names:
            # A narrow terminal shortens the columns that may wrap: items, whose text then ends in "…", and attributes.
            may_wrap = kind == "left"
            table.add_column(Text(name), justify="left" if may_wrap else "right", no_wrap=not may_wrap)
    for row in rows:
        table.add_row(*row)
    return table


def attribute_words(value: pb.AttributeValue) -> str:
    """Return the value of an attribute in words."""
    if value.HasField("text"):
        return value.text
    if value.vector:
        return numbers_words(value.vector)
    return f"{value.number:g}" if value.HasField("number") else ", ".join(value.categories)


def numbers_words(vector: Sequence[float]) -> str:
    """Return a vector in words: its first numbers, and how many it has."""
    shown = ", ".join(f"{number:g}" for number in vector[:_SHOWN_NUMBERS])
    return f"[{shown}]" if len(vector) <= _SHOWN_NUMBERS else f"[{shown}, … of {len(vector):,}]"


def category_filters(only: Sequence[str]) -> list[pb.CategoryFilter]:
    """Return the category filters of the option ``--only``.

    Raises:
        InvalidRequestError: If an entry is not of the form ATTRIBUTE=VALUE.
    """
    filters: dict[str, pb.CategoryFilter] = {}
    for entry in only:
        attribute, equals, value = entry.partition("=")
        if not (attribute and equals and value):
            raise InvalidRequestError("--only", f"wanted ATTRIBUTE=VALUE, got {entry!r}")
        filters.setdefault(attribute, pb.CategoryFilter(attribute=attribute)).values.append(value)
    return list(filters.values())


def most_per(entries: Sequence[str]) -> dict[str, int]:
    """Return the numbers of the option ``--max-per`` by attribute.

    Raises:
        InvalidRequestError: If an entry is not of the form ATTRIBUTE=NUMBER.
    """
    most = {}
    for entry in entries:
        attribute, _, number = entry.partition("=")
        if not (attribute and number.isascii() and number.isdecimal() and len(number) < 10):
            raise InvalidRequestError("--max-per", f"wanted ATTRIBUTE=NUMBER, got {entry!r}")
        most[attribute] = int(number)
    return most
