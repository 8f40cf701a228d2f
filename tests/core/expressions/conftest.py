"""A small shop: three drinks, one of which nothing is known of, and one user."""

import pytest

from springtide.events.model import NodeUpsert
from springtide.expressions import Columns, Kind, Program, Schema, parse
from springtide.graph.view import GraphView
from springtide.interactions import Moment
from springtide.testing import state_of

NOW_MS = 1_795_903_200_000  # 2026-11-28 22:40:00 UTC, a Saturday.
UPSERTS = [
    NodeUpsert(
        "item",
        "merlot",
        categories={"category": ("WINE", "RED"), "brand": ("Hill",), "product type": ("bottle",)},
        numbers={"price": 12.0, "promo": 1.0, "available_from": 1_700_000_000.0},
    ),
    NodeUpsert(
        "item",
        "lager",
        categories={"category": ("BEER",), "brand": ("Hilltop",)},
        numbers={"price": 3.0, "promo": 0.0, "available_from": 1_900_000_000.0},
        texts={"title": "A lager"},
    ),
    NodeUpsert("item", "mystery"),
    NodeUpsert(
        "user",
        "ann",
        categories={"country": ("DE",), "likes": ("BEER", "CIDER"), "age_group": ("30",)},
        numbers={"budget": 5.0},
    ),
]


class Shop:
    """The shop's columns, and the user's side of them."""

    def __init__(self) -> None:
        self.state = state_of([("ann", "merlot", 1)], upserts=UPSERTS)
        self.moment = Moment(NOW_MS, "north", "rain", {"device": "phone", "time_zone": "Asia/Tokyo"})

    @property
    def view(self) -> GraphView:
        return self.state.graph.view()

    @property
    def item_ids(self) -> list[str]:
        return self.view.nodes("item").ids.all_ids()

    def columns(self, user_id: str = "ann", moment: Moment | None = None) -> Columns:
        view = self.view
        user_row = view.nodes("user").ids.row(user_id) if user_id else -1
        return Columns(view, "item", view.num_nodes("item"), moment or self.moment, user_id, user_row)

    def check(self, text: str, kind: Kind = "filter", field: str = "filter", is_lenient: bool = False) -> Program:
        return parse(text, field).check(Schema.of(self.view, "item"), kind, field, is_lenient)

    def passing(self, text: str, user_id: str = "ann", is_lenient: bool = False) -> set[str]:
        """Return the ids of the items that pass a filter."""
        mask = self.check(text, is_lenient=is_lenient).mask(self.columns(user_id))
        return {item_id for item_id, passes in zip(self.item_ids, mask.tolist(), strict=True) if passes}

    def factors(self, text: str) -> dict[str, float]:
        """Return the factor of each item by a booster."""
        values = self.check(text, "booster").values(self.columns())
        return dict(zip(self.item_ids, values.tolist(), strict=True))

    def holds(self, text: str, user_id: str = "ann") -> bool:
        return self.check(text, "segment").holds(self.columns(user_id))


@pytest.fixture
def shop() -> Shop:
    return Shop()
