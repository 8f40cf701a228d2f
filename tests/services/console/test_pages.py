"""The console in a browser: each page, what is live in it, and what it shows where something is wrong."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.timeout(300)


def test_it_opens_on_what_goes_on_now(live: Any, visit: Callable[..., Any]) -> None:
    page = visit(live.url).open()
    expect(page.get_by_text(live.client.status().model_version).first).to_be_visible()


def test_a_page_that_breaks_the_policy_is_noticed(live: Any, visit: Callable[..., Any]) -> None:
    here = visit(live.url)
    page = here.open()
    page.evaluate(
        "document.body.append(Object.assign(document.createElement('img'), {src: 'https://evil.example/x.png'}))"
    )
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<p style=\"color: red\">x</p>')")
    page.evaluate("setTimeout(() => { throw new Error('thrown') })")
    here.until_wrong(3)
    here.expect("Content Security Policy|thrown")
    assert len([each for each in here.problems if "Content Security Policy" in each]) == 2
    assert any("thrown" in each for each in here.problems)
