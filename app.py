"""Starts the demo: `python app.py`, and what Hugging Face Spaces runs."""

from __future__ import annotations

import logging
import threading

from audiogpt.pipeline import Captioner
from audiogpt.ui.page import build, launch_options

captioner = Captioner.from_pretrained()
demo = build(captioner)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    threading.Thread(target=captioner.warm_up, name="warm-up", daemon=True).start()
    demo.launch(**launch_options())


if __name__ == "__main__":
    main()
