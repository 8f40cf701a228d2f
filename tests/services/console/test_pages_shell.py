"""The frame of the console, and its pages Now, Recommend and Data, in a browser before a server that really runs."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from springtide.clock import wall_ms
from springtide.v1 import events_pb2
from springtide_services.access.roles import Role
from springtide_services.access.tokens import make_token
from springtide_services.addresses import free_port

pytestmark = pytest.mark.timeout(300)

AXE = Path(__file__).with_name("axe.min.js").read_text(encoding="utf-8")
ADDRESSES = (
    "#/now",
    "#/recommend?user=user-03",
    "#/season",
    "#/models",
    "#/quality",
    "#/data",
    "#/data?tab=map",
    "#/data/item/item-12",
    "#/steering",
)
SUMMER = "#/recommend?user=user-03&at=2024-07-10T12:00Z&new=0"
CHRISTMAS = ("Gingerbread", "Baubles", "Fairy lights", "Advent calendar", "Stollen", "Candles")
PHONE = {"width": 375, "height": 740}

Visit = Callable[..., Any]


def titles(page: Page) -> list[str]:
    """Return what the answer's cards are called, in their order."""
    expect(page.locator(".answer").first).to_be_visible()
    return page.locator(".answer h3").all_inner_texts()


def settled(page: Page) -> None:
    """Wait until nothing is on its way any more."""
    expect(page.locator(".skeleton")).to_have_count(0)
    expect(page.locator("h1")).to_be_visible()


def purchase(user: str, item: str) -> events_pb2.Event:
    event = events_pb2.Event(interaction=events_pb2.Interaction(user=user, item=item, type="purchase"))
    event.event_time.FromJsonString("2024-12-27T10:00:00Z")
    return event


# In the dark, colours alone are others.
@pytest.mark.parametrize(
    ("scheme", "rules"), [("light", ["wcag2a", "wcag2aa", "wcag21aa"]), ("dark", ["color-contrast"])]
)
def test_every_page_keeps_the_rules_of_wcag_aa(live: Any, visit: Visit, scheme: str, rules: list[str]) -> None:
    here = visit(live.url, color_scheme=scheme, reduced_motion="reduce")
    for address in ADDRESSES:
        page = here.open(address)
        settled(page)
        page.evaluate(AXE)
        found = page.evaluate(f"axe.run({{runOnly: {rules}}})")
        violations = [
            (each["id"], node["html"][:160], node["failureSummary"])
            for each in found["violations"]
            for node in each["nodes"]
        ]
        assert violations == [], f"{address}, {scheme}"
        assert found["passes"]


def test_every_page_fits_a_phone(live: Any, visit: Visit) -> None:
    here = visit(live.url, viewport=PHONE)
    for address in ADDRESSES:
        page = here.open(address)
        settled(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], address


def test_the_theme_is_the_systems_until_somebody_chooses(live: Any, visit: Visit) -> None:
    page = visit(live.url, color_scheme="dark").open()
    root = page.locator("html")
    expect(root).to_have_attribute("data-theme", "dark")
    page.get_by_role("button", name="Switch to light").click()
    expect(root).to_have_attribute("data-theme", "light")
    page.reload()
    expect(root).to_have_attribute("data-theme", "light")


def test_the_keyboard_passes_over_the_header(live: Any, visit: Visit) -> None:
    page = visit(live.url).open("#/data")
    settled(page)
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the page")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#page")).to_be_focused()
    assert page.url.endswith("#/data")


def test_now_counts_events_as_they_come(live: Any, visit: Visit) -> None:
    page = visit(live.url).open()
    before = live.client.status().num_applied
    expect(page.get_by_text(f"{before:,} since the start")).to_be_visible()
    live.publish(*(purchase(f"user-{number:02}", "item-01") for number in range(3)))
    expect(page.get_by_text(f"{before + 3:,} since the start")).to_be_visible()
    expect(page.get_by_role("row", name=re.compile("GetStatus"))).to_be_visible()


def test_a_page_says_that_the_console_has_ended_and_goes_on_by_itself(live: Any, visit: Visit) -> None:
    port = free_port()
    with live.another_console(port) as url:
        here = visit(url())
        page = here.open()
        expect(page.locator(".figure").first).to_contain_text("since the start")
        here.expect("ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE")
    expect(page.get_by_role("alert")).to_contain_text("The server does not answer")
    expect(page.locator(".health")).to_contain_text("No connection")
    expect(page.locator(".figure").first).to_contain_text("since the start")
    with live.another_console(port) as url:
        url()
        expect(page.get_by_role("alert")).to_have_count(0)
        expect(page.locator(".health")).to_contain_text("Model")
        page.goto("about:blank")


def test_every_page_says_that_no_server_answers(live: Any, visit: Visit) -> None:
    with live.another_console(0, f"127.0.0.1:{free_port()}") as url:
        here = visit(url())
        here.expect("status of 503")
        for address in ADDRESSES:
            page = here.open(address)
            expect(page.get_by_role("alert").first).to_be_visible()
            expect(page.locator("main")).to_contain_text("does not answer")
        page.goto("about:blank")  # Else it asks again while the console ends.


def test_a_token_is_asked_for_and_a_missing_role_is_named(live: Any, visit: Visit, tmp_path: Path) -> None:
    text, token = make_token("ann", (Role.OPERATOR,), wall_ms())
    with live.behind_tokens(tmp_path, [token.to_line()]) as url:
        here = visit(url)
        here.expect("status of 401|status of 403|status of 503")
        page = here.open()
        dialog = page.get_by_role("dialog", name="The server wants a token")
        dialog.get_by_label("Token", exact=True).fill("not-a-token")
        page.keyboard.press("Enter")
        expect(dialog).to_contain_text("token")
        dialog.get_by_label("Token", exact=True).fill(text)
        page.keyboard.press("Enter")
        expect(page.locator(".figure").first).to_be_visible()
        page.get_by_role("navigation").get_by_role("link", name="Recommend").click()
        expect(page.get_by_role("alert")).to_contain_text("This token may not see this")
        expect(page.get_by_role("alert")).to_contain_text("client, explain")
        assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
        page.goto("about:blank")


def test_the_list_changes_with_the_season(live: Any, visit: Visit) -> None:
    page = visit(live.url).open(SUMMER)
    summer = titles(page)
    page.get_by_label("Day of the year").focus()
    for _ in range(3):
        page.keyboard.press("PageUp")  # As a slider goes: a tenth of the year.
    expect(page.locator(".answer .rose").first).to_be_visible()
    for _ in range(2):
        page.keyboard.press("PageUp")
    expect(page.locator(".moment")).to_contain_text("December")
    expect(page.locator(".for-whom")).to_contain_text("December")
    winter = titles(page)
    assert sum(title in CHRISTMAS for title in winter[:6]) > sum(title in CHRISTMAS for title in summer[:6])
    assert "at=2024-12" in page.url
    expect(page.locator(".answer .reason").first).not_to_be_empty()


def test_a_link_shows_the_same_answer(live: Any, visit: Visit) -> None:
    page = visit(live.url).open(SUMMER)
    first = titles(page)
    page.locator("#exact").fill("2024-12-12T18:00")
    page.locator("#exact").blur()
    expect(page.locator(".for-whom")).to_contain_text("Thursday, December 12, 2024, 18:00")
    winter = titles(page)
    assert winter != first
    page.reload()
    assert titles(page) == winter


def test_somebody_who_has_just_touched_an_item_gets_an_answer(live: Any, visit: Visit) -> None:
    page = visit(live.url).open("#/recommend?at=2024-12-12T12:00Z")
    settled(page)
    page.get_by_role("combobox", name="or somebody who has just touched").press_sequentially("ginger")
    page.get_by_role("option", name=re.compile("Gingerbread")).first.wait_for()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Take away Gingerbread")).to_be_visible()
    expect(page.locator(".for-whom")).to_contain_text("Somebody with 1 item")
    assert "recent=item-12" in page.url


def test_a_wrong_filter_is_shown_with_the_place_of_the_fault(live: Any, visit: Visit) -> None:
    here = visit(live.url)
    here.expect("status of 400")
    page = here.open("#/recommend?user=user-03")
    before = titles(page)
    filter_field = page.get_by_label("Filter")
    filter_field.fill("prise < 3")
    filter_field.press("Enter")
    expect(page.locator("#filter-problem")).to_contain_text("^^^^^")
    expect(page.locator("#filter-problem")).to_contain_text("did you mean price?")
    expect(filter_field).to_have_attribute("aria-invalid", "true")
    assert titles(page) == before
    filter_field.fill('"Dairy" in category')
    filter_field.press("Enter")
    expect(page.locator("#filter-problem")).to_have_text("")
    expect(page.locator(".for-whom")).to_be_visible()
    expect(page.locator(".answers")).not_to_contain_text("Charcoal")


def test_who_has_had_everything_is_shown_it_when_asked(live: Any, visit: Visit) -> None:
    at = "2024-12-20T12:00:00Z"
    had = [{"user": "hal", "item": f"item-{number:02}", "type": "purchase"} for number in range(6)]  # All of Dairy.
    _, published = live.ask("/v1/events", [{"eventTime": at, "interaction": each} for each in had])
    wait = {"user": "hal", "minPosition": published["position"], "wait": "10s"}
    assert not live.ask("/springtide.v1.RecommenderService/Recommend", wait)[1].get("isBehindMinPosition")
    page = visit(live.url).open("#/recommend?user=hal&at=2024-12-20T18:00Z&filter=%22Dairy%22%20in%20category")
    page.get_by_role("button", name="Show what they have had, too").click()
    expect(page.locator(".answer")).to_have_count(6)
    expect(page.get_by_label("Only what they have not had yet")).not_to_be_checked()


def test_a_card_says_why(live: Any, visit: Visit) -> None:
    page = visit(live.url).open("#/recommend?user=user-03&at=2024-12-12T12:00Z&new=0")
    first = page.locator(".answer .open").first
    name = first.inner_text()
    first.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name=name)
    expect(dialog.get_by_text("What the score is made of")).to_be_visible()
    expect(dialog.locator(".graph canvas").first).to_be_visible()
    expect(dialog.get_by_text("Their own events, by what each adds to the score")).to_be_visible()
    assert dialog.locator(".path-words li").count() > 0
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(first).to_be_focused()


def test_a_request_as_python_gives_the_same_answer(live: Any, visit: Visit) -> None:
    page = visit(live.url).open("#/recommend?user=user-03&at=2024-12-12T12:00Z&new=0&count=5")
    titles(page)
    page.get_by_role("button", name="As code").click()
    expect(page.locator("pre.code")).to_contain_text("grpcurl")
    page.get_by_role("tab", name="grpcurl").press("ArrowRight")
    code = page.locator("pre.code").inner_text()
    assert f'Client("127.0.0.1:{live.settings.server.port}")' in code
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    page.keyboard.press("Escape")
    shown = [text.split(" · ")[-1] for text in page.locator(".below").all_inner_texts()]
    assert [line.split()[0] for line in ran.stdout.splitlines()] == shown


def test_a_node_is_found_by_its_name_and_shows_what_is_around_it(live: Any, visit: Visit) -> None:
    page = visit(live.url).open("#/data")
    settled(page)
    page.get_by_role("combobox", name="Find").press_sequentially("GINGER")
    page.get_by_role("option", name=re.compile("Gingerbread")).wait_for()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Gingerbread")).to_be_visible()
    expect(page.locator(".chart canvas")).to_be_visible()
    expect(page.locator(".graph canvas").first).to_be_visible()
    page.locator(".near a").first.click()
    expect(page.get_by_role("link", name="Recommend for them")).to_be_visible()


def test_the_map_marks_the_nearest_items(live: Any, visit: Visit) -> None:
    page = visit(live.url).open("#/data?tab=map&near=item-12")
    expect(page.locator(".chart.map canvas")).to_be_visible()
    expect(page.get_by_role("heading", name="The nearest")).to_be_visible()
    assert page.locator(".near li").count() > 3


def test_events_are_shown_as_they_come(live: Any, visit: Visit) -> None:
    page = visit(live.url).open("#/data?tab=coming")
    expect(page.get_by_text("Waiting for the next event")).to_be_visible()
    live.publish(purchase("user-07", "item-12"))
    row = page.get_by_role("row", name=re.compile("user-07 purchase Gingerbread"))
    expect(row).to_be_visible()
    page.get_by_role("button", name="Pause").click()
    live.publish(purchase("user-08", "item-12"))
    page.get_by_role("button", name="Go on").click()
    page.get_by_label("Filter").fill("nobody has this")
    expect(page.get_by_text("None of them has that")).to_be_visible()


def test_a_dead_letter_is_looked_at_and_published_again(live: Any, visit: Visit) -> None:
    event = purchase("user-09", "item-12")
    event.interaction.type = "teleport"
    live.publish(event)
    page = visit(live.url).open("#/data?tab=letters")
    expect(page.get_by_role("button", name=re.compile("unknown type"))).to_have_attribute("aria-pressed", "true")
    page.locator("tr.opens").first.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name=re.compile("Refused"))
    expect(dialog.locator("pre")).to_contain_text("teleport")
    dialog.get_by_role("button", name="Publish it again").click()
    page.get_by_role("dialog", name="Publish again?").get_by_role("button", name="Publish again").click()
    expect(page.get_by_role("status").filter(has_text="1 event was published again")).to_be_visible()
    expect(page.get_by_text("published again", exact=True).first).to_be_visible()


def test_what_comes_from_data_is_never_markup(live: Any, visit: Visit) -> None:
    name = '<img src="x" onerror="document.title=1"><b>bold</b>'
    event = events_pb2.Event(node_upsert=events_pb2.NodeUpsert(type="item", id="item-hostile", texts={"title": name}))
    event.event_time.FromJsonString("2024-12-27T10:00:00Z")
    live.publish(event, purchase("user-03", "item-hostile"))
    here = visit(live.url)
    page = here.open("#/data/item/item-hostile")
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    here.open("#/data/user/user-03")
    expect(page.get_by_role("link", name=name).first).to_be_visible()
    assert page.locator("main b, main img").count() == 0


def test_an_unknown_node_is_an_error_that_says_so(live: Any, visit: Visit) -> None:
    here = visit(live.url)
    here.expect("status of 404")
    page = here.open("#/data/item/nothing-of-the-kind")
    expect(page.get_by_role("alert")).to_contain_text("There is no such thing")
    expect(page.get_by_role("button", name="Try again")).to_be_visible()
