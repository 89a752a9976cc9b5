"""Takes the README's pictures of the page: `python -m scripts.take_screenshots`.

Needs chromium; writes assets/screenshots/. Run it again when the page or the bundled model changes.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from audiogpt.pipeline import Captioner
from audiogpt.ui.page import build, launch_options

FOLDER = Path(__file__).resolve().parent.parent / "assets" / "screenshots"
REST = "(({ asked, done }) => asked > 0 && asked === done)(document.querySelector('.agpt').dataset)"


def caption_an_example(page: Page, url: str, name: str, artists: tuple[str, ...]) -> None:
    page.goto(url)
    page.wait_for_selector(".agpt[data-ready=yes]")
    page.get_by_role("button", name=name).click()
    page.wait_for_function(REST)
    for artist in artists:
        page.locator("[data-id=artist]").fill(artist)
        page.locator("[data-id=artist]").press("Enter")
    page.wait_for_function(REST)


def take_page(page: Page, url: str) -> None:
    caption_an_example(page, url, "piano waltz", ("Ada", "The Tape Deck Hearts"))
    page.locator("[data-id=description] button.word").nth(3).click()
    page.mouse.move(0, 0)
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_timeout(2000)  # the marks of changed words fade
    page.screenshot(path=FOLDER / "page.png", clip={"x": 0, "y": 0, "width": 1360, "height": 1180})


def take_compare(page: Page, url: str) -> None:
    caption_an_example(page, url, "bossa flute", ())
    page.locator("[data-id=pin]").click()
    page.get_by_role("button", name="Without audio").click()
    page.wait_for_function(REST)
    page.mouse.move(0, 0)
    page.wait_for_timeout(2000)
    page.locator(".why").screenshot(path=FOLDER / "compare.png")


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    captioner = Captioner.from_pretrained(device="cpu")
    captioner.warm_up()
    demo = build(captioner)
    _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True, **launch_options())
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        take_page(browser.new_page(viewport={"width": 1360, "height": 1180}), url)
        # So high that nothing scrolls: the caption stays in view and would lie over the rest.
        take_compare(browser.new_page(viewport={"width": 1360, "height": 2400}), url)
        browser.close()
    demo.close(verbose=False)


if __name__ == "__main__":
    main()
