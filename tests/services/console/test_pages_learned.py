"""The pages Season, Models, Quality and Steering in a browser, on a shop that really runs."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.timestamp_pb2 import Timestamp
from playwright.sync_api import expect

from springtide.model.registry import ModelStore
from springtide.v1 import admin_pb2, events_pb2, recommender_pb2, steering_pb2
from springtide_services.training.training_run import train_once

pytestmark = pytest.mark.timeout(300)

Visit = Callable[..., Any]
AXE = Path(__file__).with_name("axe.min.js").read_text(encoding="utf-8")
PAGES = (
    "#/models/000001",
    "#/quality",
    "#/steering/rules/christmas",
    "#/steering/scenarios/home",
    "#/steering/experiments/shelf",
    "#/steering/history",
)
PHONE = {"width": 375, "height": 812}
RULE = {
    "name": "christmas",
    "action": "RULE_ACTION_BOOST",
    "items": ["item-12", "item-13"],
    "filter": 'category == "Christmas"',
    "segment": "hour(now) < 23",
    "factor": 2.5,
    "startTime": "2024-11-01T06:30:00Z",
    "endTime": "2025-01-06T00:00:00Z",
    "scenarios": ["home"],
    "note": "the weeks before",
}
SCENARIO = {
    "name": "home",
    "filter": "price < 9",
    "booster": "2 if price < 3 else 1",
    "count": 12,
    "diversity": 0.25,
    "diversityAttribute": "category",
    "maxPer": {"category": 4},
    "rotationRate": 0.5,
    "rotationTime": "129600s",
    "exploration": 0.05,
    "minRelevance": -0.5,
    "excludeSeen": ["purchase"],
    "includeAttributes": ["price", "title"],
    "weights": {"calendar": 1.5},
    "note": "the first page",
}
EXPERIMENT = {
    "name": "shelf",
    "layer": "pages",
    "salt": "salted",
    "variants": [
        {"name": "before", "share": 0.5},
        {"name": "after", "share": 0.375, "scenario": "home", "weights": {"calendar": 2.0}},
    ],
    "conversions": ["purchase"],
    "startTime": "2024-12-01T00:00:00Z",
    "note": "does a season sell more?",
}


@pytest.fixture
def steer(live: Any) -> Iterator[Callable[..., int]]:
    """Let a steering hold, in protobuf's JSON, and return its version: ``steer(rules=[RULE])``; nothing in the end.

    Tests take it before ``visit``: then the page is closed before its end, which the page would take for a conflict.
    """

    def put(**steering: Any) -> int:
        message = json_format.ParseDict(steering, steering_pb2.Steering())
        return int(live.client.update_steering(admin_pb2.UpdateSteeringRequest(put=message, replace=True)).version)

    yield put
    put()


def held(live: Any) -> dict[str, Any]:
    """Return what steers, as protobuf's JSON."""
    return json_format.MessageToDict(live.client.steering().steering)


def purchase(user: str, item: str, second: int = 0, recommendation_id: str = "") -> events_pb2.Event:
    interaction = events_pb2.Interaction(user=user, item=item, type="purchase", recommendation_id=recommendation_id)
    return events_pb2.Event(interaction=interaction, event_time=Timestamp(seconds=1_735_128_000 + second))


# Season.


def test_a_season_is_drawn_over_the_year_the_week_and_the_day(live: Any, visit: Visit) -> None:
    page = visit(live.url).open("#/season/item-12")
    expect(page.get_by_role("heading", name="Gingerbread")).to_be_visible()
    year = page.get_by_role("img", name=re.compile("Gingerbread. Highest in (Nov|Dec).* Lowest in"))
    expect(year.locator("canvas")).to_be_visible()
    for heading in ("Over the year", "Over the week", "Over the day"):
        expect(page.get_by_role("heading", name=heading)).to_be_visible()
    expect(page.get_by_text(re.compile(r"In model 00000\d, .*calendar"))).to_be_visible()
    expect(page.locator(".exponents tbody tr").first.locator("circle").first).to_be_visible()


def test_what_is_in_season_follows_the_slider_by_keys(live: Any, visit: Visit) -> None:
    page = visit(live.url).open("#/season/item-12?at=07-15T12")
    names = page.locator(".in-season-list .name")
    expect(names.first).to_have_text(re.compile("Charcoal|Lemonade|Ice cream|Sun lotion|Garden hose|Parasol"))
    page.get_by_label("Day of the year").focus()
    page.keyboard.press("End")
    expect(page.get_by_text("December 31").first).to_be_visible()
    for _ in range(5):
        page.keyboard.press("ArrowLeft")
    expect(page.get_by_text("December 26").first).to_be_visible()
    expect(names.first).to_have_text(re.compile("Gingerbread|Baubles|lights|Advent|Stollen|Candles"))
    assert "at=" in page.url  # A link to it can be sent.


def test_all_items_of_a_category_have_a_season_together(live: Any, visit: Visit) -> None:
    page = visit(live.url).open("#/season/item-12")
    page.get_by_label("or all of").select_option("category")
    value = page.get_by_label("Value of category")
    value.fill("Garden")
    value.press("Enter")
    expect(page.get_by_role("heading", name="category=Garden")).to_be_visible()
    expect(page.get_by_text(re.compile(r"6 items, \d+ interactions"))).to_be_visible()


def test_an_item_is_found_by_its_name(live: Any, visit: Visit) -> None:
    page = visit(live.url).open("#/season/item-12")
    page.get_by_role("combobox", name="An item").fill("charc")
    expect(page.get_by_role("option", name=re.compile("Charcoal"))).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Charcoal")).to_be_visible()
    assert page.url.endswith("#/season/item-18")


def test_a_season_of_what_is_not_there_is_refused_in_words(live: Any, visit: Visit) -> None:
    here = visit(live.url)
    here.expect("404")
    page = here.open("#/season/category=Gardn")
    expect(page.get_by_role("alert")).to_contain_text("Gardn")
    expect(page.get_by_role("button", name="Try again")).to_be_visible()


# Models.


def test_a_model_shows_the_gate_what_counts_its_curves_and_its_parts(live: Any, visit: Visit) -> None:
    page = visit(live.url).open("#/models")
    gate = page.get_by_role("region", name="The gate")
    expect(gate.get_by_role("rowheader", name="this version")).to_be_visible()
    expect(gate.locator("tbody tr")).not_to_have_count(1)  # Baselines, too.
    expect(gate.get_by_text(re.compile(r"± 0\.\d"))).not_to_have_count(0)
    expect(page.get_by_role("region", name="What counts").locator("tbody tr").first).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("loss.* by step: from")).first.locator("canvas")).to_be_visible()
    page.locator("summary", has_text="encoder").click()
    expect(page.locator("details", has_text="encoder").locator("pre")).to_contain_text("{")


def test_a_version_is_promoted_and_rolled_back_with_reasons(live: Any, visit: Visit) -> None:
    store = ModelStore(live.settings.model.url)
    before = store.current()
    other = store.publish(store.load(before), promote=False)
    page = visit(live.url).open("#/models")
    expect(page.get_by_role("heading", name=before)).to_be_visible()
    page.get_by_role("link", name=re.compile(other)).click()
    page.get_by_role("button", name="Promote…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("row", name=re.compile("version")).get_by_text(other)).to_be_visible()
    dialog.get_by_label("Why, for the list of changes").fill("tried by hand")
    page.keyboard.press("Enter")
    expect(page.get_by_text(f"{other} is current.")).to_be_visible()
    log = page.get_by_role("region", name="Who changed what")
    expect(log.get_by_text("tried by hand")).to_be_visible()
    expect(page.locator("#top").get_by_text(other)).to_be_visible()  # The server has swapped, and the page says so.
    page.get_by_role("button", name="Roll back…").click()
    page.get_by_role("dialog").get_by_label("Why, for the list of changes").fill("it was a try")
    page.get_by_role("button", name="Roll back", exact=True).click()
    expect(page.get_by_text(f"{before} is current.")).to_be_visible()
    expect(log.get_by_text("it was a try")).to_be_visible()
    assert store.current() == before


def test_a_training_is_asked_for_and_its_end_is_seen(live: Any, visit: Visit) -> None:
    page = visit(live.url).open("#/models")
    page.get_by_label("How").select_option(label="from scratch")
    page.get_by_role("button", name="Start a training").click()
    expect(page.get_by_text("Waiting for the trainer")).to_be_visible()
    version = train_once(live.settings, "retrain")
    expect(
        page.get_by_text(re.compile(rf"The last one \(from scratch\) done: {version}, .* (ago|now)"))
    ).to_be_visible()
    expect(page.get_by_role("region", name="Versions").get_by_text(str(version))).to_be_visible()


# Quality.


def test_live_quality_grows_as_events_come(live: Any, visit: Visit) -> None:
    page = visit(live.url).open("#/quality")
    expect(page.get_by_role("heading", name="Over time")).to_be_visible()
    live.publish(*(purchase(f"user-{number:02}", f"item-{12 + number % 6}", number) for number in range(40)))
    expect(page.get_by_text(re.compile(r"over the latest [1-9]\d* events?")).first).to_be_visible()
    chart = page.get_by_role("img", name=re.compile("NDCG@20 over time, .* by 00000"))
    expect(chart.locator("canvas")).to_be_visible()
    expect(page.get_by_role("columnheader", name="Events of the user")).to_be_visible()
    page.get_by_role("tab", name="Hit rate").click()
    expect(page.get_by_role("img", name=re.compile("Hit rate over time"))).to_be_visible()
    expect(page.locator(".segments").first.get_by_role("columnheader", name="Hit rate", exact=True)).to_be_visible()


def test_an_experiment_shows_its_intervals_and_that_it_is_open(
    live: Any, steer: Callable[..., int], visit: Visit
) -> None:
    steer(scenarios=[SCENARIO], experiments=[EXPERIMENT])
    events = []
    for number in range(30):
        user = f"user-{number:02}"
        request = recommender_pb2.RecommendRequest(user=user)
        request.context.event_time.FromSeconds(1_735_130_000)
        answer = live.client.recommend(request)
        events.append(purchase(user, answer.items[0].item, 2_000 + number, answer.recommendation_id))
    live.publish(*events)
    here = visit(live.url)
    here.expect("404")  # The experiment may be gone between two questions about it, at the end.
    page = here.open("#/quality")
    card = page.get_by_role("article", name="shelf")
    expect(card.get_by_text("Still open: at 95 % confidence")).to_be_visible()
    rows = card.locator("tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.nth(1).locator("circle")).to_have_count(2)  # Rate, and difference.
    expect(rows.nth(0)).to_contain_text(re.compile(r"before\s*1\d"))  # About half of 30 users.
    page.get_by_label("Confidence").select_option("0.99")
    expect(card.get_by_text("Still open: at 99 % confidence")).to_be_visible()


# Steering.


def test_a_rule_is_tried_then_saved_with_a_reason(live: Any, steer: Callable[..., int], visit: Visit) -> None:
    steer()
    here = visit(live.url)
    here.expect("400")  # While it is half filled in.
    page = here.open("#/steering")
    page.get_by_role("link", name="New rule").focus()
    page.keyboard.press("Enter")
    page.get_by_role("radio", name="block").check()
    page.get_by_label("Where").fill('category == "Dairy"')
    dry_run = page.get_by_role("region", name="What it would change")
    expect(dry_run.get_by_text(re.compile(r"[1-9]\d* of \d+"))).to_be_visible()
    expect(dry_run.get_by_text("Milk").first).to_be_visible()  # Items by their names.
    assert not held(live)  # A try changes nothing.
    page.get_by_label("Name", exact=True).fill("no-dairy")
    page.get_by_label("Reason, for the history").fill("the fridge is broken")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").filter(has_text="holds.")).to_contain_text("Rule no-dairy is new")
    assert [rule["name"] for rule in held(live)["rules"]] == ["no-dairy"]
    page.get_by_role("link", name="History").click()
    expect(page.get_by_text("the fridge is broken")).to_be_visible()


def test_who_is_quicker_than_the_server_stays_where_they_have_gone(live: Any, visit: Visit) -> None:
    here = visit(live.url)
    held_back: list[Any] = []
    here.page.route("**/GetSteering", lambda route: held_back.append(route))
    page = here.open("#/steering")
    history = page.get_by_role("link", name="History")
    history.click()
    expect(history).to_have_attribute("aria-current", "page")
    while not held_back:
        page.wait_for_timeout(20)
    held_back.pop().continue_()
    expect(page.get_by_role("link", name=re.compile(r"Rules \d"))).to_be_visible()  # It has answered.
    expect(history).to_have_attribute("aria-current", "page")


def test_a_wrong_expression_is_shown_with_the_place_and_cannot_be_saved(
    live: Any, steer: Callable[..., int], visit: Visit
) -> None:
    steer()
    here = visit(live.url)
    here.expect("400")
    page = here.open("#/steering/rules/+")
    page.get_by_label("Name", exact=True).fill("cheap")
    page.get_by_label("Factor").fill("2")
    page.get_by_label("Where").fill("pric < 3")
    fault = page.get_by_role("alert").filter(has_text="no attribute of items is named 'pric'")
    expect(fault.locator("pre")).to_have_text("  pric < 3\n  ^^^^", use_inner_text=True)
    expect(page.get_by_label("Where")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_role("button", name="Add the rule")).to_be_disabled()
    page.get_by_label("Where").fill("price < 3")
    expect(fault).to_have_count(0)
    expect(page.get_by_role("button", name="Add the rule")).to_be_enabled()


@pytest.mark.parametrize(
    ("kind", "value"), [("rules", RULE), ("scenarios", SCENARIO), ("experiments", EXPERIMENT)], ids=lambda each: each
)
def test_a_form_keeps_all_that_it_does_not_change(
    live: Any, steer: Callable[..., int], visit: Visit, kind: str, value: dict[str, Any]
) -> None:
    steer(rules=[RULE], scenarios=[SCENARIO], experiments=[EXPERIMENT])
    page = visit(live.url).open(f"#/steering/{kind}/{value['name']}")
    page.get_by_label("Note").fill("another note")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status").filter(has_text="holds.")).to_be_visible()
    assert held(live)[kind] == [{**value, "note": "another note"}]


def test_a_change_of_somebody_else_is_explained_before_mine_is_saved(
    live: Any, steer: Callable[..., int], visit: Visit
) -> None:
    version = steer(rules=[RULE], scenarios=[SCENARIO])
    here = visit(live.url)
    here.expect("409")
    page = here.open("#/steering/rules/christmas")
    page.get_by_label("Factor").fill("4")
    expect(page.get_by_text("factor from 2.5 to 4")).to_be_visible()
    theirs = json_format.ParseDict({"rules": [{**RULE, "factor": 3}]}, steering_pb2.Steering())
    live.client.update_steering(admin_pb2.UpdateSteeringRequest(put=theirs, reason="more of it"))
    conflict = page.get_by_role("alert").filter(has_text="Somebody else has changed this")
    expect(conflict).to_contain_text(f"you began with version {version}, and {version + 1} holds now")
    expect(conflict).to_contain_text("factor from 2.5 to 3")
    expect(page.get_by_role("button", name="Save")).to_be_disabled()
    page.get_by_role("button", name=re.compile("Compare mine")).click()
    expect(page.get_by_text("factor from 3 to 4")).to_be_visible()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status").filter(has_text=f"Version {version + 2} holds.")).to_be_visible()
    assert held(live)["rules"][0]["factor"] == 4


def test_a_change_of_something_else_does_not_disturb(live: Any, steer: Callable[..., int], visit: Visit) -> None:
    version = steer(rules=[RULE], scenarios=[SCENARIO])
    here = visit(live.url)
    here.expect("409")
    page = here.open("#/steering/rules/christmas")
    page.get_by_label("Factor").fill("4")
    expect(page.get_by_text("factor from 2.5 to 4")).to_be_visible()
    other = json_format.ParseDict({"rules": [{**RULE, "name": "other"}]}, steering_pb2.Steering())
    live.client.update_steering(admin_pb2.UpdateSteeringRequest(put=other))
    expect(page.get_by_role("region", name="Rules").get_by_text("other")).to_be_visible()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status").filter(has_text=f"Version {version + 2} holds.")).to_be_visible()


def test_what_somebody_else_adds_is_seen_without_a_reload(live: Any, steer: Callable[..., int], visit: Visit) -> None:
    steer()
    page = visit(live.url).open("#/steering")
    expect(page.get_by_text("There is no rule yet.")).to_be_visible()
    steer(
        scenarios=[SCENARIO],
        rules=[RULE, {**RULE, "name": "later", "startTime": "2031-01-01T00:00:00Z", "endTime": None}],
    )
    rules = page.get_by_role("region", name="Rules").get_by_role("listitem")
    expect(rules.nth(0)).to_contain_text("christmas holds until 2025-01-06")
    expect(rules.nth(1)).to_contain_text("later begins 2031-01-01")


def test_a_rule_is_removed_after_a_question(live: Any, steer: Callable[..., int], visit: Visit) -> None:
    steer(rules=[RULE], scenarios=[SCENARIO])
    page = visit(live.url).open("#/steering/rules/christmas")
    page.get_by_role("button", name="Remove…").click()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_role("button", name="Remove…").click()
    page.get_by_label("Why, for the history").fill("it is over")
    page.keyboard.press("Enter")
    expect(page.get_by_text("There is no rule yet.")).to_be_visible()
    assert live.client.steering_changes(1).changes[0].reason == "it is over"


def test_what_was_typed_stays_while_another_page_is_looked_at(
    live: Any, steer: Callable[..., int], visit: Visit
) -> None:
    steer(rules=[RULE], scenarios=[SCENARIO])
    page = visit(live.url).open("#/steering/rules/christmas")
    page.get_by_label("Factor").fill("7")
    page.get_by_role("link", name="Models").click()
    expect(page.get_by_role("heading", name="Models", exact=True)).to_be_visible()
    page.go_back()
    expect(page.get_by_label("Factor")).to_have_value("7")
    page.get_by_role("button", name="Take back").click()
    expect(page.get_by_label("Factor")).to_have_value("2.5")


# All of them.


def test_a_console_that_is_away_is_said_and_comes_back(live: Any, steer: Callable[..., int], visit: Visit) -> None:
    steer(rules=[RULE], scenarios=[SCENARIO])
    here = visit(live.url)
    here.expect("ERR_INTERNET_DISCONNECTED")
    page = here.open("#/steering/rules/christmas")
    expect(page.get_by_label("Factor")).to_have_value("2.5")
    here.context.set_offline(True)
    page.get_by_label("Factor").fill("3")
    expect(page.get_by_role("alert").filter(has_text="The console does not answer")).to_be_visible()
    here.context.set_offline(False)
    page.get_by_label("Factor").fill("5")
    expect(page.get_by_text("factor from 2.5 to 5")).to_be_visible()


def test_pages_with_all_that_they_can_show_fit_on_a_phone_and_keep_the_rules_of_wcag_aa(
    live: Any, steer: Callable[..., int], visit: Visit
) -> None:
    steer(rules=[RULE], scenarios=[SCENARIO], experiments=[EXPERIMENT])
    here = visit(live.url, viewport=PHONE, color_scheme="dark", reduced_motion="reduce")
    for address in PAGES:
        page = here.open(address)
        expect(page.locator(".card").nth(1)).to_be_visible()
        expect(page.locator(".skeleton")).to_have_count(0)
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, address
        page.evaluate(AXE)
        found = page.evaluate("axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa']})")
        wrong = [f"{address}: {each['help']}: {each['nodes'][0]['html']}" for each in found["violations"]]
        assert wrong == []
