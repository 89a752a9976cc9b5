"""The page in a real Chromium for the browser tests: one server and one browser for all of them."""

from __future__ import annotations

import atexit
import functools
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from audiogpt.checkpoints import CONFIG_FILE, DEFAULT_CHECKPOINT

ROOT = Path(__file__).resolve().parent.parent
SCREENSHOTS = Path(__file__).resolve().parent / "screenshots"
SIZES = {"desktop": (1360, 900), "phone": (390, 844)}
CHROMIUM = os.environ.get("AUDIOGPT_CHROMIUM") or shutil.which("chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--mute-audio",
]
# Generous, because tests share the machine; raise it where the machine is slower still.
TIMEOUT = 1000 * int(os.environ.get("AUDIOGPT_BROWSER_TIMEOUT", "60"))  # ms
expect.set_options(timeout=TIMEOUT)
both_sizes = pytest.mark.parametrize("size", SIZES)


@functools.cache
def server() -> str:
    """The address of the running page; started on first use with the bundled checkpoint."""
    if not (DEFAULT_CHECKPOINT / CONFIG_FILE).is_file():
        pytest.fail("the bundled checkpoint is missing from this checkout")
    from audiogpt.pipeline import Captioner
    from audiogpt.ui.page import build, launch_options

    captioner = Captioner.from_pretrained()
    captioner.warm_up()
    for attempt in range(3):
        demo = build(captioner)
        try:
            _, url, _ = demo.launch(
                prevent_thread_lock=True, quiet=True, server_name="127.0.0.1", **launch_options()
            )
            break
        except ValueError:  # gradio waits a few seconds for itself, too few on a busy machine
            demo.close(verbose=False)
            if attempt == 2:
                raise
    atexit.register(demo.close, verbose=False)
    return url


@functools.cache
def browser() -> Browser:
    if CHROMIUM is None:
        pytest.skip("Debian's chromium is not installed")
    driver = sync_playwright().start()
    atexit.register(driver.stop)
    return driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)


def new_visitor(size: str) -> BrowserContext:
    """Somebody who has never been here, with a screen of the given size."""
    width, height = SIZES[size]
    return browser().new_context(
        viewport={"width": width, "height": height},
        has_touch=size == "phone",
        permissions=["clipboard-read", "clipboard-write", "microphone"],
    )


# Whose browser has the page's scripts already: half of a test's time would go into loading them.
visitor = functools.cache(new_visitor)


def open_page(
    size: str = "desktop", *, suffix: str = "", context: BrowserContext | None = None
) -> Page:
    """A page of the given size, ready to use, of somebody new if not of `context`; `problems` on it
    collects script errors."""
    page = (context or new_visitor(size)).new_page()
    page.set_default_timeout(TIMEOUT)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on(
        "console",
        lambda message: (
            message.type == "error"
            and "Failed to load resource" not in message.text
            and problems.append(message.text)
        ),
    )
    page.problems = problems  # type: ignore[attr-defined]
    page.goto(server() + suffix)
    page.wait_for_selector(".agpt[data-ready=yes]")
    return page


@pytest.fixture
def page(request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page of the test's `size` parameter, or desktop size; script errors fail the test."""
    call = getattr(request.node, "callspec", None)
    size = call.params.get("size", "desktop") if call else "desktop"
    context = visitor(size)
    opened = open_page(size, context=context)
    yield opened
    problems = list(opened.problems)  # type: ignore[attr-defined]
    forget = {"origin": server().rstrip("/"), "storageTypes": "local_storage,cookies,indexeddb"}
    context.new_cdp_session(opened).send("Storage.clearDataForOrigin", forget)
    for tab in context.pages:  # what a tab keeps goes with it
        tab.close()
    assert not problems, f"the page reported: {problems}"


@pytest.fixture
def page_of_its_own() -> Iterator[Page]:
    """As `page`, of somebody new: for what stays with a visitor, as a changed clock does."""
    opened = open_page()
    yield opened
    problems = list(opened.problems)  # type: ignore[attr-defined]
    opened.context.close()
    assert not problems, f"the page reported: {problems}"


def leave(page: Page, go: Callable[[], object] | None = None) -> None:
    """The page left, for an empty one if not otherwise.

    What was being asked is cut off here, which gradio's client reports from the page that goes.
    """
    before = len(page.problems)  # type: ignore[attr-defined]
    if go is None:
        page.goto("about:blank", wait_until="commit")
    else:
        go()
    del page.problems[before:]  # type: ignore[attr-defined]


def reload(page: Page, address: str | None = None) -> None:
    """The page left and loaded anew, at the same address or at another one."""
    if address:
        leave(page)
        page.goto(address)
    else:
        leave(page, lambda: page.reload(wait_until="commit"))
    page.wait_for_selector(".agpt[data-ready=yes]")


def part(page: Page, name: str):
    return page.locator(f'[data-id="{name}"]')


def wait_done(page: Page) -> None:
    """Until the newest caption that was asked for is there with its pictures."""
    page.wait_for_function(
        "(({ asked, done }) => asked > 0 && asked === done)"
        "(document.querySelector('.agpt').dataset)"
    )
    expect(part(page, "status")).to_have_text(re.compile(r"^(Done in|No caption)"))


def caption_of(page: Page) -> str:
    words = page.locator('[data-id="hero"] button.word .text').all_inner_texts()
    return " ".join(word.replace("≠", "").strip() for word in words)


def try_example(page: Page, name: str = "piano waltz") -> None:
    page.get_by_role("button", name=name).click()
    wait_done(page)


def add_tag(page: Page, text: str) -> None:
    part(page, "tag").fill(text)
    part(page, "tag").press("Enter")


def set_slider(page: Page, label: str, value: float) -> None:
    """Move a slider as a pointer would: the new value and one input event."""
    page.get_by_label(label, exact=True).evaluate(
        "(node, value) => { node.value = value;"
        " node.dispatchEvent(new Event('input', { bubbles: true })); }",
        value,
    )


def screenshot(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)
