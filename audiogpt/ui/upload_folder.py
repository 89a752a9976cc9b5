"""Where this process keeps uploads, and how it keeps the promise that they stay a day at most.

Gradio sweeps only what it remembers: not a half upload, and not the files of a process that was
killed. So each process has a folder of its own, in gradio's place for them (GRADIO_TEMP_DIR, else
the system's), is done with it when it ends, and sweeps what lies in its own and those beside it.
"""

from __future__ import annotations

import functools
import os
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

# So particular that no folder of that name is anyone else's: what is old in them is deleted.
PREFIX = "audiogpt-uploads-"
# s: whatever a sweep finds just too young to delete is gone by the next one, before a day is over.
SWEEP, AGE = 1800, 23 * 3600


class UploadFolder:
    """A new folder in `parent` for its owner alone; raises ValueError if none can be made."""

    def __init__(self, parent: Path) -> None:
        try:
            parent.mkdir(parents=True, exist_ok=True)
            self._folder = tempfile.TemporaryDirectory(
                prefix=PREFIX, dir=parent.absolute(), ignore_cleanup_errors=True
            )
        except OSError as error:
            raise ValueError(
                f"No folder for uploads can be made ({error}): set GRADIO_TEMP_DIR to a folder "
                "that can be written to."
            ) from None
        self.path = Path(self._folder.name)

    def sweep(self) -> None:
        """Delete files older than AGE, here and in what killed processes left beside it."""
        limit = time.time() - AGE
        self.path.mkdir(mode=0o700, exist_ok=True)  # systems tidy up their folders for such, too
        os.utime(self.path)  # an empty folder that looks old is taken for a killed process's
        owner = self.path.stat().st_uid
        for folder in self.path.parent.glob(PREFIX + "*"):
            # In a folder that all users share it may be another's, and lead anywhere.
            if folder.is_symlink() or folder.lstat().st_uid != owner:
                continue
            for here, folders, files in os.walk(folder, topdown=False):
                for name in (*files, *folders):
                    _delete_if_older(Path(here, name), limit)
            _delete_if_older(folder, limit)

    def keep_sweeping(self) -> None:
        """Sweep now, and from time to time until the process ends."""

        def run() -> None:
            while True:
                with suppress(OSError):  # the next sweep may do better
                    self.sweep()
                time.sleep(SWEEP)

        threading.Thread(target=run, name="sweep", daemon=True).start()

    def remove(self) -> None:
        """Delete the folder with all that is in it."""
        self._folder.cleanup()


def _delete_if_older(path: Path, limit: float) -> None:
    """A folder goes only when it is empty, and a link without what it leads to."""
    with suppress(OSError):  # already gone, not empty, or another user's
        if path.lstat().st_mtime < limit:
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            else:
                path.unlink()


@functools.cache  # gradio's reloader runs app.py again, while the server goes on with the first one
def upload_folder() -> UploadFolder:
    """This process's folder, made known to gradio: call it before the page is built."""
    folder = UploadFolder(Path(os.environ.get("GRADIO_TEMP_DIR") or tempfile.gettempdir()))
    os.environ["GRADIO_TEMP_DIR"] = str(folder.path)
    tempfile.tempdir = str(folder.path)  # where two routes that the page has no use for write files
    return folder
