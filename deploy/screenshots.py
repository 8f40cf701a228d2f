"""Takes the README's two screenshots of a console that runs before the demo's year of purchases.

`make screenshots` runs it, beside `make demo ARGS=--console` in another terminal: `screenshots.py [URL [FOLDER]]`.
"""

import io
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

_URL = "http://127.0.0.1:8088"
_FOLDER = Path(__file__).parent / "docs" / "images"
_WIDTH, _GAP = 1400, 24
_MAX_BYTES = 300_000
_NUM_COLORS = 256  # A palette is enough for flat areas and text, and a fifth of the size.
_RARE_TOO = Image.Quantize.MAXCOVERAGE  # Accents are few pixels, and keep their colour.
_PATIENCE_MS = 60_000
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_SUMMER, _DECEMBER = "2017-07-12T17:00Z", "2017-12-20T17:00Z"
_ANSWER = "#/recommend?user=718&count=6&at="
_SEASON = "#/season/category%3DCHRISTMAS%20%20SEASONAL?at=12-20T17"


def main(url: str = _URL, folder: str | Path = _FOLDER) -> None:
    """Take both, and write them into a folder.

    Args:
        url: Where the console is.
        folder: Where they go: ``recommend.png`` and ``season.png``.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = os.environ.get("CHROMIUM", "") or next(filter(None, map(shutil.which, _BROWSERS)), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--disable-background-networking", "--no-sandbox"]
        )
        try:
            halves = [_answer(browser, f"{url}/{_ANSWER}{moment}") for moment in (_SUMMER, _DECEMBER)]
            _write(_beside(halves), folder / "recommend.png")
            _write(_season(browser, f"{url}/{_SEASON}"), folder / "season.png")
        finally:
            browser.close()


def _answer(browser: Browser, address: str) -> Image.Image:
    """Return what the page Recommend answers, without what is asked for at its side."""
    page = _open(browser, address, "light", 1056)
    expect(page.locator(".answer")).to_have_count(6)
    expect(page.locator(".reason").first).not_to_be_empty()
    return _image(page.locator(".results").screenshot())


def _season(browser: Browser, address: str) -> Image.Image:
    page = _open(browser, address, "dark", _WIDTH)
    expect(page.locator("canvas").first).to_be_visible()
    expect(page.get_by_text("Over the year")).to_be_visible()
    return _image(page.screenshot(clip={"x": 0, "y": 0, "width": _WIDTH, "height": 900}))


def _open(browser: Browser, address: str, scheme: str, width: int) -> Page:
    page = browser.new_page(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if scheme == "dark" else "light",
        reduced_motion="reduce",
    )
    page.set_default_timeout(_PATIENCE_MS)
    expect.set_options(timeout=_PATIENCE_MS)
    page.goto(address)
    expect(page.locator("h1")).to_be_visible()
    expect(page.locator(".skeleton")).to_have_count(0)
    page.evaluate("document.fonts.ready.then(() => true)")
    page.wait_for_load_state("load")
    return page


def _image(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content)).convert("RGB")


def _beside(images: Sequence[Image.Image]) -> Image.Image:
    """Return images side by side, on the colour of the first one's corner."""
    background = images[0].getpixel((0, 0))
    width = sum(image.width for image in images) + _GAP * (len(images) + 1)
    whole = Image.new("RGB", (width, max(image.height for image in images) + 2 * _GAP), background)
    left = _GAP
    for image in images:
        whole.paste(image, (left, _GAP))
        left += image.width + _GAP
    return whole.resize((_WIDTH, round(whole.height * _WIDTH / whole.width)), Image.Resampling.LANCZOS)


def _write(image: Image.Image, path: Path) -> None:
    image.quantize(_NUM_COLORS, _RARE_TOO, dither=Image.Dither.NONE).save(path, optimize=True)
    num_bytes = path.stat().st_size
    if num_bytes > _MAX_BYTES:
        raise SystemExit(f"{path}: wanted at most {_MAX_BYTES} bytes, got {num_bytes}")
    sys.stdout.write(f"{path}: {image.width} × {image.height}, {num_bytes // 1_000} kB\n")


if __name__ == "__main__":
    main(*sys.argv[1:3])
