"""Starts the demo: `python app.py`, and what Hugging Face Spaces runs.

Environment: AUDIOGPT_CHECKPOINT (a folder or hub id; default: the bundled model) and
AUDIOGPT_MAX_MINUTES (the longest sound that is taken; default: 30).
"""

from __future__ import annotations

import logging
import os
import threading

from audiogpt.checkpoints import DEFAULT_CHECKPOINT
from audiogpt.pipeline import Captioner
from audiogpt.ui.page import build, launch_options

captioner = Captioner.from_pretrained(
    os.environ.get("AUDIOGPT_CHECKPOINT", DEFAULT_CHECKPOINT),
    max_seconds=60 * float(os.environ.get("AUDIOGPT_MAX_MINUTES", "30")),
)
demo = build(captioner)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    threading.Thread(target=captioner.warm_up, name="warm-up", daemon=True).start()
    demo.launch(**launch_options())


if __name__ == "__main__":
    main()
