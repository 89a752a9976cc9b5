"""What the taggers hear in a sound, in the product's vocabulary, over time and in all."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch

from audiogpt.audio.embedded import checked_mono
from audiogpt.audio.musicnn import load_taggers, pooled_rows
from audiogpt.audio.musicnn_logmel import (
    PATCHES,
    SAMPLE_RATE,
    LogMel,
    at_least_one_patch,
    patch_batch_size,
    patch_times,
)
from audiogpt.audio.speech import SpeechMeter
from audiogpt.audio.tag_confidence import confidences
from audiogpt.audio.tag_vocabulary import LABELS

SILENCE_DBFS = -60.0  # root mean square below which a passage counts as silent
SILENT_NOTE = "This passage is silent."
SHORT_NOTE = "This passage is shorter than 3 s, so it was repeated until there was enough to hear."
SPEECH_NOTE = "This sounds like speech: tags are about music and may not fit."


@dataclass(frozen=True)
class HeardTag:
    """One tag and how sure the taggers are of it, in [0, 1]."""

    text: str
    confidence: float


@dataclass(frozen=True)
class TagsHeard:
    """All product tags sorted by confidence, and their course over time.

    ``taggram`` holds confidences float32 ``(S, n_tags)``, columns named by ``labels`` (in the
    vocabulary's order), at ``times`` seconds ``(S, 2)``; ``rows`` float32 ``(S, 1564)`` are the
    "musicnn-pooled" embedding of the same sound. ``note`` is "" or a sentence for the
    listener ("This passage is silent.").
    """

    tags: tuple[HeardTag, ...]
    taggram: np.ndarray
    labels: tuple[str, ...]
    times: np.ndarray
    rows: np.ndarray
    note: str = ""

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON, confidences rounded to four places."""
        return {
            "note": self.note,
            "tags": [{"text": t.text, "confidence": round(t.confidence, 4)} for t in self.tags],
            "labels": list(self.labels),
            "times": np.round(self.times.astype(float), 3).tolist(),
            "taggram": np.round(self.taggram.astype(float), 4).tolist(),
        }


class Tagger:
    """The MSD and the MTT musicnn taggers as one; use ``load_tagger``."""

    sample_rate = SAMPLE_RATE
    labels = LABELS

    def __init__(self, *, device: str | torch.device = "cpu") -> None:
        self.device = torch.device(device)
        self.batch_size = patch_batch_size(self.device)
        self._logmel = LogMel().to(self.device)
        self._taggers = load_taggers(self.device)

    def listen(
        self, samples: np.ndarray, *, progress: Callable[[float], None] | None = None
    ) -> TagsHeard:
        """Tag mono float32 ``(n,)`` at 16 kHz; ``progress`` as for ``listen_blocks``.

        Raises:
            AudioError: there are no samples.
        """
        return self.listen_blocks([checked_mono(samples)], progress=progress)

    def listen_blocks(
        self, blocks: Iterable[np.ndarray], *, progress: Callable[[float], None] | None = None
    ) -> TagsHeard:
        """Tag consecutive pieces ``(n,)`` of one sound, in bounded memory.

        ``progress`` is called with the seconds heard so far, after each batch of patches.
        """
        level, speech = _Level(), SpeechMeter()
        msd_parts, mtt_parts, rows, times = [], [], [], []
        msd_tagger, mtt_tagger = self._taggers
        watched = level.watch(blocks)
        for first, patches in PATCHES.batches(at_least_one_patch(watched), self.batch_size):
            with torch.inference_mode():
                tensor = torch.from_numpy(patches.copy()).to(self.device)  # (b, 48128)
                logmel = self._logmel(tensor)  # (b, 187, 96)
                speech.add(logmel)
                pooled = msd_tagger.pooled(logmel), mtt_tagger.pooled(logmel)
                msd_parts.append(torch.sigmoid(msd_tagger.logits(pooled[0])).cpu().numpy())
                mtt_parts.append(torch.sigmoid(mtt_tagger.logits(pooled[1])).cpu().numpy())
                rows.append(pooled_rows(self._taggers, pooled).cpu().numpy())
            times.append(patch_times(first, len(patches)))
            if progress is not None:
                progress(float(times[-1][-1, 1]))
        msd, mtt = np.concatenate(msd_parts), np.concatenate(mtt_parts)  # (S, 50)
        taggram = confidences(msd, mtt)  # (S, n_tags)
        overall = confidences(msd.mean(axis=0), mtt.mean(axis=0))  # (n_tags,)
        note = ""
        if level.dbfs < SILENCE_DBFS:
            taggram, overall, note = np.zeros_like(taggram), np.zeros_like(overall), SILENT_NOTE
        elif level.count < PATCHES.needed:
            note = SHORT_NOTE
        elif speech.is_speech(overall):
            note = SPEECH_NOTE
        order = np.argsort(-overall, kind="stable")
        tags = tuple(HeardTag(LABELS[i], float(overall[i])) for i in order)
        return TagsHeard(tags, taggram, LABELS, np.concatenate(times), np.concatenate(rows), note)


class _Level:
    """Counts the samples of the blocks that pass through, and measures their root mean square.

    It is taken about the mean, because the constant offset of a cheap sound card is not heard.
    """

    def __init__(self) -> None:
        self._energy, self._sum, self.count = 0.0, 0.0, 0

    def watch(self, blocks: Iterable[np.ndarray]) -> Iterable[np.ndarray]:
        for block in blocks:
            # In float32 the error of a long sum is larger than silence beside a constant offset.
            self._energy += float(np.einsum("i,i->", block, block, dtype=np.float64))
            self._sum += float(block.sum(dtype=np.float64))
            self.count += len(block)
            yield block

    @property
    def dbfs(self) -> float:
        """Decibels below the level of a full-scale square wave."""
        count = max(self.count, 1)
        return 10.0 * np.log10(max(self._energy / count - (self._sum / count) ** 2, 1e-20))


def load_tagger(device: str | torch.device = "cpu") -> Tagger:
    """Return a ready tagger.

    Raises:
        ValueError: its weights are missing or damaged.
    """
    return Tagger(device=device)
