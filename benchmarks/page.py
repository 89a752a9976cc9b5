"""How quick the page is under the hand, in a real Chromium: `python -m benchmarks.page`.

Prints the time until the page can be used, from a slider move to the new caption and to the new
pictures (medians), and from the upload of a 30 s clip to its caption.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
from playwright.sync_api import Page, sync_playwright

from audiogpt.pipeline import Captioner
from audiogpt.ui.page import build, launch_options

GOALS = {"interactive": 3.0, "caption": 0.4, "pictures": 0.9, "upload": 2.0}  # s
CLIP_SECONDS, SAMPLE_RATE = 30, 44100
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]

# Moves the first tag's slider; notes when the words and when the pictures are those of the move.
MOVE = """async (value) => {
  const root = document.querySelector('.agpt');
  const words = document.querySelector('[data-id=description]');
  const range = document.querySelector('[data-id=tags] input[type=range]');
  const before = words.firstChild, start = performance.now();
  let caption = null;
  range.value = value;
  range.dispatchEvent(new Event('input', { bubbles: true }));
  while (root.dataset.asked !== root.dataset.done) {
    if (caption === null && words.firstChild !== before && words.querySelector('button.word'))
      caption = performance.now() - start;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  const pictures = performance.now() - start;
  return [caption ?? pictures, pictures];
}"""
REST = "(({ asked, done }) => asked > 0 && asked === done)(document.querySelector('.agpt').dataset)"


def clip(folder: Path, seed: int) -> Path:
    """30 s of a decaying arpeggio at 44.1 kHz: content does not matter, length does."""
    rng = np.random.default_rng(seed)
    t = np.arange(CLIP_SECONDS * SAMPLE_RATE) / SAMPLE_RATE
    notes = 220 * 2 ** (rng.integers(0, 24, CLIP_SECONDS * 2) / 12)
    tone = np.sin(2 * np.pi * notes[(t * 2).astype(int)] * t) * np.exp(-3 * (t * 2 % 1))
    path = folder / f"clip-{seed}.wav"
    soundfile.write(path, (0.3 * tone).astype(np.float32), SAMPLE_RATE)
    return path


def open_page(browser, url: str) -> tuple[Page, float]:
    page = browser.new_page(viewport={"width": 1360, "height": 900})
    start = time.perf_counter()
    page.goto(url)
    page.wait_for_selector(".agpt[data-ready=yes]")
    return page, time.perf_counter() - start


def measure(url: str, moves: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in GOALS}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        for seed in range(3):
            page, ready = open_page(browser, url)
            times["interactive"].append(ready)
            path = clip(Path(folder), seed)
            start = time.perf_counter()
            page.locator("[data-id=files]").set_input_files(path)
            page.wait_for_selector("[data-id=description] button.word")
            times["upload"].append(time.perf_counter() - start)
            page.wait_for_function(REST)
            if page.locator("[data-id=tags] li").count() == 0:
                page.locator("[data-id=tag]").fill("piano")
                page.locator("[data-id=tag]").press("Enter")
                page.wait_for_function(REST)
            for value in np.linspace(0.05, 1, moves).tolist() if seed == 2 else ():
                caption, pictures = page.evaluate(MOVE, value)
                times["caption"].append(caption / 1000)
                times["pictures"].append(pictures / 1000)
            page.close()
        browser.close()
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moves", type=int, default=15)
    moves = parser.parse_args().moves
    captioner = Captioner.from_pretrained(device="cpu")
    captioner.warm_up()
    demo = build(captioner)
    _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True, **launch_options())
    names = {
        "interactive": "page interactive",
        "caption": "slider move to new caption",
        "pictures": "slider move to new pictures",
        "upload": "30 s clip to caption",
    }
    for name, values in measure(url, moves).items():
        median = statistics.median(values)
        verdict = "within" if median <= GOALS[name] else "over"
        print(
            f"{names[name]:28} {median:6.3f} s median of {len(values)}, {verdict} {GOALS[name]} s"
        )
    demo.close(verbose=False)


if __name__ == "__main__":
    main()
