"""Pages of an answer: none has an item of another, whatever changes meanwhile; other tokens are refused."""

import base64
import dataclasses
import random

import numpy as np
import pytest
from tests.core.ranking.reordering.conftest import NOW, SIZE

from springtide.errors import InvalidRequestError
from springtide.interactions import Moment
from springtide.ranking import paging
from springtide.ranking.query import Query
from springtide.steering.values import QuerySteering, Rule, Steering

QUERY = Query(NOW, "u0", exclude_seen=("purchase",), steering=QuerySteering(diversity=0.5))


def token_of(ids, query=QUERY, page=None):
    return paging.next_token(query, page, ids)


def pages_of(ask, change=lambda number: None, **question):
    found, token = [], "first"
    while token and len(found) < 50:
        ranking = ask(page_token=token, **question)
        found.append(list(ranking.items.ids))
        token = ranking.extras.next_page_token
        change(len(found))
    return found


@pytest.mark.parametrize("steered", [{}, {"diversity": 0.6}, {"exploration": 0.3}, {"max_per": (("brand", 3),)}])
def test_pages_have_every_item_once(ask, steered):
    pages = pages_of(ask, count=7, **steered)
    items = [item for page in pages for item in page]
    assert len(items) == len(set(items))
    assert set(items) == {f"i{item}" for item in range(SIZE)}


def test_pages_without_more_are_those_of_one_long_answer(ask):
    pages = pages_of(ask, count=10)
    assert [item for page in pages for item in page] == ask.ids(count=48)
    assert [len(page) for page in pages] == [10, 10, 10, 10, 8]


def test_no_item_comes_twice_although_the_graph_changes_between_the_pages(ask):
    def change(number):
        for item in range(number, SIZE, 5):
            ask.take("u0", f"i{item}", at_ms=NOW.timestamp_ms - number)
            ask.take("u3", f"i{item + 1}" if item + 1 < SIZE else "i0")

    pages = pages_of(ask, change, count=6, diversity=0.3)
    items = [item for page in pages for item in page]
    assert sorted(items) == sorted(f"i{item}" for item in range(SIZE))


def test_all_pages_are_as_of_the_moment_of_the_first(ask):
    later = dataclasses.replace(NOW, timestamp_ms=NOW.timestamp_ms + 5 * 86_400_000)
    first = ask(page_token="first", count=5)
    second = ask(page_token=first.extras.next_page_token, count=5, moment=later)
    assert paging.moment_of(second.extras.next_page_token) == NOW.timestamp_ms
    assert second.items.ids == ask.ids(count=10)[5:]


def test_items_are_pinned_on_the_first_page_alone(ask):
    steering = Steering(rules=(Rule("promo", "pin", ("i1", "i3"), slot=2),))
    first = ask(page_token="first", count=5, steering=steering)
    second = ask(page_token=first.extras.next_page_token, count=5, steering=steering)
    assert list(first.items.ids)[1:3] == ["i1", "i3"]
    assert not {"i1", "i3"} & set(second.items.ids)
    assert not second.extras.placed_by


@pytest.mark.parametrize(
    "change",
    [
        {"user_id": "u2"},
        {"exclude_seen": ()},
        {"exclude_items": ("i3",)},
        {"moment": Moment(NOW.timestamp_ms, place="Oslo")},
        {"steering": QuerySteering(diversity=0.6)},
        {"steering": QuerySteering(diversity=0.5, filter="price < 3")},
    ],
)
def test_token_of_another_request_is_refused(change):
    token = token_of(["i1", "i2"])
    other = dataclasses.replace(QUERY, **change)
    other = dataclasses.replace(other, steering=dataclasses.replace(other.steering, page_token=token))
    with pytest.raises(InvalidRequestError, match=r"page_token: wanted the token of an answer to the same request"):
        paging.at_page(other)


def test_token_holds_for_its_request_with_another_count_and_time():
    token = token_of(["i1", "i2"])
    same = dataclasses.replace(
        QUERY, count=3, moment=Moment(5), steering=QuerySteering(diversity=0.5, page_token=token)
    )
    assert paging.at_page(same).moment.timestamp_ms == NOW.timestamp_ms


def test_token_carries_what_was_shown_on_all_pages():
    first = paging.page_of(token_of(["a", "b"]))
    second = paging.page_of(token_of(["c"], page=first))
    assert second.shown.tolist() == paging.item_hashes(["a", "b", "c"]).tolist()
    assert (first.number, second.number) == (1, 2)
    assert int(second.shown.max()) < 2**40


def test_token_is_bounded():
    ids = [f"item {number}" for number in range(paging.MAX_SHOWN)]
    assert len(token_of(ids)) <= 16_384
    assert token_of([*ids, "one more"]) == ""
    assert token_of(["x"], page=paging.page_of(token_of(ids))) == ""


@pytest.mark.parametrize("moment_ms", [-(10**13), 0, 253_402_300_799_999])
def test_any_moment_can_be_carried(moment_ms):
    query = dataclasses.replace(QUERY, moment=Moment(moment_ms))
    assert paging.moment_of(token_of(["a"], query)) == moment_ms


def test_damaged_token_is_refused():
    """Each byte changed, cut or added to; and texts that are none."""
    token = token_of([f"i{item}" for item in range(12)])
    generator = random.Random(0)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/= \n.é\0"
    damaged = {
        token[:at] + each + token[at + 1 :] for at in range(len(token)) for each in generator.sample(alphabet, 6)
    }
    damaged |= {token[:at] for at in range(1, len(token))} | {token + each for each in alphabet} | {token * 2}
    damaged |= {"".join(generator.choices(alphabet, k=generator.randrange(1, 300))) for _ in range(3_000)}
    damaged |= {base64.urlsafe_b64encode(generator.randbytes(23 + 5 * n)).decode() for n in range(200)}
    for each in damaged - {token}:
        with pytest.raises(InvalidRequestError, match=r"^page_token: wanted the next_page_token of an answer"):
            paging.page_of(each)


@pytest.mark.parametrize(
    "head", [(2, 0, 1, 5), (1, 2**62, 1, 5), (1, -(2**62), 1, 5), (1, 0, 0, 5)], ids=["form", "late", "early", "number"]
)
def test_token_that_no_server_makes_is_refused_whole_as_it_is(head):
    body = paging._HEAD.pack(*head)
    with pytest.raises(InvalidRequestError, match="page_token"):
        paging.page_of(paging.sealed(body))


def test_long_text_is_no_token():
    with pytest.raises(InvalidRequestError, match="page_token"):
        paging.page_of("A" * 10**6)


def test_hashes_of_many_items_differ():
    hashes = paging.item_hashes([f"item {number}" for number in range(100_000)])
    assert len(np.unique(hashes)) == 100_000
