"""Starts the demo: `python app.py`, and what Hugging Face Spaces runs.

Environment: AUDIOGPT_CHECKPOINT (a folder or hub id; default: the bundled model),
AUDIOGPT_MAX_MINUTES (the longest sound that is taken; default: 30; inf: any length) and
GRADIO_TEMP_DIR (where the folder of uploads is made; default: the system's folder for such).
"""

from __future__ import annotations

import logging
import math
import os
import signal
import sys
import threading
from typing import Any

from audiogpt.checkpoints import DEFAULT_CHECKPOINT
from audiogpt.pipeline import Captioner
from audiogpt.ui.page import build, launch_options
from audiogpt.ui.upload_folder import upload_folder

log = logging.getLogger("app")


def longest_sound() -> float:
    """The longest sound that is taken (s), inf for any; raises ValueError for what is no length."""
    text = os.environ.get("AUDIOGPT_MAX_MINUTES", "30")
    try:
        minutes = float(text)
    except ValueError:
        minutes = math.nan
    if not minutes > 0:
        raise ValueError(f"AUDIOGPT_MAX_MINUTES must be a number greater than 0, not {text!r}.")
    return 60 * minutes


try:
    uploads = upload_folder()
    captioner = Captioner.from_pretrained(
        os.environ.get("AUDIOGPT_CHECKPOINT") or DEFAULT_CHECKPOINT, max_seconds=longest_sound()
    )
except ValueError as error:  # the core's way to say what is wrong with the settings
    sys.exit(f"error: {error}")
demo = build(captioner)


def warm_up() -> None:
    """Run the model once; what its checkpoint lacks (OpenL3's weights) is told, not a traceback."""
    try:
        captioner.warm_up()
    except ValueError as error:
        log.warning("No sound can be captioned yet: %s", error)


def stop(number: int, frame: Any) -> None:
    """End in good order, as Ctrl-C and the TERM of docker and systemd ask for: without uploads."""
    for other in (signal.SIGINT, signal.SIGTERM):
        signal.signal(other, signal.SIG_IGN)  # the clean-up is not stopped in its turn
    demo.close(verbose=False)
    uploads.remove()
    # Python's own end waits for a song that is being heard, and torch, at work in it, aborts.
    os._exit(0)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    uploads.keep_sweeping()
    try:
        demo.launch(prevent_thread_lock=True, **launch_options())
    except (OSError, ValueError) as error:  # a port that is taken, an address that is not here
        sys.exit(f"error: The page could not be started: {error}")
    # Not before: a server that is not started must not wait for it, nor end in the middle of it.
    threading.Thread(target=warm_up, name="warm-up", daemon=True).start()
    demo.block_thread()


if __name__ == "__main__":
    main()
