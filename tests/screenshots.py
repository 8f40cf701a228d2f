"""Take the README's two pictures of a console that shows the year of purchases (`make demo ARGS=--console`).

``screenshots.py [URL] [--folder FOLDER]``
"""

import argparse
from pathlib import Path

from browser import running_browser
from playwright.sync_api import Page

_ROOT = Path(__file__).parents[1]
_WIDTH, _HEIGHT = 1400, 900
_HOUSEHOLD, _STRAWBERRIES = "718", "1135476"
_PICTURES = {  # Name: address, colours, what must be there before the picture is taken.
    "recommend": (f"#/recommend?user={_HOUSEHOLD}&at=2017-12-20T17:00", "light", "article.answer"),
    "season": (f"#/season/{_STRAWBERRIES}?at=12-20T17", "dark", ".chart canvas"),
}


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:8088", help="where the console is")
    parser.add_argument("--folder", type=Path, default=_ROOT / "deploy" / "docs" / "images")
    arguments = parser.parse_args()
    with running_browser() as browser:
        for name, (address, colours, wanted) in _PICTURES.items():
            context = browser.new_context(
                color_scheme=colours,
                viewport={"width": _WIDTH, "height": _HEIGHT},
                reduced_motion="reduce",  # Nothing is on its way to its place.
            )
            page = context.new_page()
            page.goto(f"{arguments.url}/{address}")
            page.locator(wanted).first.wait_for()
            _settle(page)
            page.screenshot(path=arguments.folder / f"{name}.png")
            context.close()
            print(f"{arguments.folder / name}.png")


def _settle(page: Page) -> None:
    """Wait until all answers have come and are drawn: no request is open but the live stream."""
    page.wait_for_function("document.querySelectorAll('.skeleton, [aria-busy=true]').length === 0")
    page.evaluate("document.fonts.ready")
    page.wait_for_timeout(1_500)  # Charts draw over several frames, and say nowhere that they are done.


if __name__ == "__main__":
    main()
