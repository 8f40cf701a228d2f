"""The commands that ask a server for other lists than `recommend`: one for each method of the RecommenderService."""

from datetime import timedelta
from typing import Annotated

import typer

from springtide_services.cli.asking import Asking, Count, ExcludeSeen, asks_server
from springtide_services.cli.durations import Duration
from springtide_services.cli.options import Recent

ForUser = Annotated[str, typer.Option("--user", help="The user; empty for all.", metavar="ID")]
Items = Annotated[list[str], typer.Argument(help="Ids of items.", metavar="ITEM...")]


@asks_server()
def similar(asking: Asking, item: Annotated[str, typer.Argument(help="The item's id.")], count: Count = None) -> None:
    """Ask the running server for the items that are most like one item."""
    from springtide.v1 import recommender_pb2 as pb
    from springtide_services.cli.list_tables import print_similar

    print_similar(asking, asking.fill(pb.SimilarItemsRequest(item=item), count))


@asks_server(of_items=False)
def similar_users(
    asking: Asking, user: Annotated[str, typer.Argument(help="The user's id.")], count: Count = None
) -> None:
    """Ask the running server for the users who are most like one user. It shows their ids: role `explain`."""
    from springtide.v1 import recommender_pb2 as pb
    from springtide_services.cli.list_tables import print_similar

    print_similar(asking, asking.fill(pb.SimilarUsersRequest(user=user), count))


@asks_server()
def next_items(
    asking: Asking, items: Items, count: Count = None, user: ForUser = "", exclude_seen: ExcludeSeen = None
) -> None:
    """Ask the running server what goes with the items of a basket, or comes next in a session; latest item first."""
    from springtide.v1 import recommender_pb2 as pb
    from springtide_services.cli.list_tables import print_list

    request = pb.NextItemsRequest(items=items, user=user, exclude_seen=exclude_seen or ())
    print_list(asking, asking.fill(request, count))


@asks_server()
def trending(asking: Asking, count: Count = None, user: ForUser = "", exclude_seen: ExcludeSeen = None) -> None:
    """Ask the running server what rises now, for all or for a user."""
    from springtide.v1 import recommender_pb2 as pb
    from springtide_services.cli.list_tables import print_list

    print_list(asking, asking.fill(pb.TrendingRequest(user=user, exclude_seen=exclude_seen or ()), count))


@asks_server()
def new_items(
    asking: Asking,
    count: Count = None,
    user: ForUser = "",
    exclude_seen: ExcludeSeen = None,
    max_age: Annotated[
        timedelta | None, typer.Option(parser=Duration(), help="How long an item is new, such as 30d or 12h.")
    ] = None,
) -> None:
    """Ask the running server what has come lately: the newest first, or the best first for a user."""
    from springtide.v1 import recommender_pb2 as pb
    from springtide_services.cli.list_tables import print_list

    request = pb.NewItemsRequest(user=user, exclude_seen=exclude_seen or ())
    if max_age is not None:
        request.max_age.FromTimedelta(max_age)
    print_list(asking, asking.fill(request, count))


@asks_server()
def rank(
    asking: Asking, items: Items, user: ForUser = "", recent: Recent = None, exclude_seen: ExcludeSeen = None
) -> None:
    """Ask the running server to order items that it is given, for a user."""
    from springtide.v1 import recommender_pb2 as pb
    from springtide_services.cli.list_tables import print_list

    request = pb.RankRequest(user=user, items=items, recent_items=recent or (), exclude_seen=exclude_seen or ())
    print_list(asking, asking.fill(request))
