"""What a server answers to requests for lists, as tables or JSON; and many answers as lines of JSON."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import typer
from rich.table import Table
from rich.text import Text

from springtide.v1 import recommender_pb2 as pb
from springtide_services.cli.answer_tables import answer_table, attribute_words, foot
from springtide_services.terminal import console

if TYPE_CHECKING:
    from springtide_services.cli.asking import Asking
    from springtide_services.serving.client import Client

_NONE = "none: nothing passes the filters, or is known yet"
_AT_ONCE = 1_000  # Requests in one call.


def print_list(asking: "Asking", request: Any) -> None:
    """Ask for a list, and print its answer.

    Raises:
        ServerCallError: If there is no answer, or an error.
    """
    with asking.client() as client:
        response = client.ask(request)
    if asking.as_json:
        print_json(response)
        return
    answer: pb.RecommendResponse = response.answer
    console().print(answer_table(answer) if answer.items else _NONE)
    console().print(foot(answer))


def print_similar(asking: "Asking", request: pb.SimilarItemsRequest | pb.SimilarUsersRequest) -> None:
    """Ask for similar items or users, and print the answer.

    Raises:
        ServerCallError: If there is no answer, or an error.
    """
    with asking.client() as client:
        response = client.ask(request)
    if asking.as_json:
        print_json(response)
        return
    of_items = isinstance(response, pb.SimilarItemsResponse)
    names = sorted({name for item in response.items for name in item.attributes}) if of_items else []
    table = Table(box=None, pad_edge=False)
    table.add_column("", justify="right")
    table.add_column("item" if of_items else "user", overflow="ellipsis", no_wrap=True)
    table.add_column("cosine", justify="right", no_wrap=True)
    for name in names:
        table.add_column(Text(name))
    for number, each in enumerate(response.items if of_items else response.users, start=1):
        attributes = [Text(attribute_words(each.attributes[name])) if name in each.attributes else "" for name in names]
        table.add_row(str(number), Text(each.item if of_items else each.user), f"{each.cosine:z.2f}", *attributes)
    console().print(table if table.row_count else _NONE)
    console().print(f"model {response.model_version}")


def print_json(response: Any) -> None:
    """Print a response as JSON."""
    from google.protobuf.json_format import MessageToJson  # Slow to import.

    console().print_json(MessageToJson(response))


def print_batch(client: "Client", users: Iterable[str], request: pb.RecommendRequest) -> None:
    """Ask for each of many users, and print a line of JSON for each, in their order.

    A line has the user, and the fields of the answer or a ``refusal``. At the end, standard error says how many.

    Args:
        client: A client of the server.
        users: Ids of the users.
        request: What to ask for each.

    Raises:
        ServerCallError: If the server ends the call.
        typer.Exit: With 1, if a request was refused.
    """
    from google.protobuf.json_format import MessageToDict  # Slow to import.

    num_answers = num_refused = 0
    for some in _in_parts(users):
        requests = []
        for user in some:
            requests.append(pb.RecommendRequest())
            requests[-1].CopyFrom(request)
            requests[-1].user = user
        for response in client.recommend_batch(pb.RecommendBatchRequest(requests=requests)):
            line: dict[str, Any] = {"user": some[response.index]}
            if response.refusal:
                line["refusal"] = response.refusal
                num_refused += 1
            else:
                line |= MessageToDict(response.answer)
                num_answers += 1
            sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
        sys.stdout.flush()
    typer.echo(f"{num_answers:,} answers, {num_refused:,} refused", err=True)
    if num_refused:
        raise typer.Exit(1)


def _in_parts(users: Iterable[str]) -> Iterator[Sequence[str]]:
    rest = iter(users)
    while some := list(islice(rest, _AT_ONCE)):
        yield some
