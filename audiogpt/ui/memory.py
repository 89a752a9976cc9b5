"""What the server remembers between two messages: little, bounded, and never on disk."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict

from audiogpt.request import CaptionResult

MAX_RESULTS = 128
MAX_PAGES = 2048


class Memory:
    """The latest results, by an unguessable key, and the newest run that each page asked for."""

    def __init__(self) -> None:
        self._results: OrderedDict[str, CaptionResult] = OrderedDict()
        self._newest: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, result: CaptionResult) -> str:
        """Remember a result; its key gives it back until `MAX_RESULTS` newer ones came."""
        key = secrets.token_urlsafe(12)
        with self._lock:
            self._results[key] = result
            while len(self._results) > MAX_RESULTS:
                self._results.popitem(last=False)
        return key

    def recall(self, key: str) -> CaptionResult:
        """The result under `key`; raises ValueError if it has been forgotten."""
        with self._lock:
            result = self._results.get(key)
        if result is None:
            raise ValueError("The server no longer remembers this caption: caption it again.")
        return result

    def supersede(self, page: str, run: float) -> None:
        """Runs of `page` before `run` are no longer wanted: a slider moved on, or Stop."""
        with self._lock:
            self._newest[page] = max(run, self._newest.get(page, run))
            self._newest.move_to_end(page)
            while len(self._newest) > MAX_PAGES:
                self._newest.popitem(last=False)

    def unwanted(self, page: str, run: float) -> bool:
        """Whether something newer than `run` was asked for since."""
        with self._lock:
            return self._newest.get(page, run) > run
