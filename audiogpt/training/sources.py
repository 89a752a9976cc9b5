"""The training mixture: which sources, how often each is drawn, and the texts of all."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from audiogpt.audio.tag_vocabulary import VOCABULARY
from audiogpt.training.grooves import read_grooves
from audiogpt.training.incompetech import read_incompetech
from audiogpt.training.musiccaps import VALIDATION_ROWS, read_musiccaps
from audiogpt.training.pairs import Pair
from audiogpt.training.recombine import recombine
from audiogpt.training.swaps import Swaps

MIXTURE = {
    "musiccaps": 0.46,
    "recombined": 0.14,
    "composed": 0.13,
    "clips": 0.16,
    "notes": 0.04,
    "grooves": 0.10,
    "artists": 0.02,
}
"""How often each source is drawn, relative to the others that are given."""

ALONE = {"clips": 0.35, "grooves": 0.65}  # where the audio branch learns alone
CLIPS = ("clips", "grooves")  # sources that have sound
TAGS_ONLY = ("musiccaps", "recombined", "composed", "notes")  # sources that need no other branch
SWAPPED = 0.4  # of the draws of captions have words exchanged
RANDOM_LISTS = 6000
RECOMBINED = 8000


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Pairs by source; `artists` has none, its views are drawn from nothing.

    Without `artists`, views never speak of any. `swaps` exchange words of captions.
    """

    pairs: Mapping[str, Sequence[Pair]]
    mixture: Mapping[str, float] = field(default_factory=lambda: MIXTURE)
    artists: bool = True
    always_artists: bool = False  # in every view
    swaps: Swaps | None = None

    def draw(self, dice: random.Random) -> tuple[str, Pair | None]:
        """A source by the mixture and one of its pairs."""
        names = [name for name in self.mixture if name == "artists" or self.pairs.get(name)]
        name = dice.choices(names, [self.mixture[name] for name in names])[0]
        if name == "artists":
            return name, None
        pair = dice.choice(self.pairs[name])
        captions = name in ("musiccaps", "recombined")
        if self.swaps is not None and captions and dice.random() < SWAPPED:
            pair = self.swaps.draw(pair, dice)
        return name, pair

    def texts(self) -> Iterator[str]:
        """All descriptions and tags, for the vocabulary."""
        for pairs in self.pairs.values():
            for pair in pairs:
                yield " " + pair.description
                yield from (" " + tag for tag in pair.tags)


def read_sources(
    *,
    musiccaps: Path,
    incompetech: Path | None = None,
    grooves: Path | None = None,
    heard: Mapping[str, Sequence[tuple[str, float]]] | None = None,
    seed: int = 0,
    tags_only: bool = False,
    only: str | None = None,
) -> Sources:
    """Read the training splits. `incompetech` and `grooves` are folders, and may be absent;
    `heard` are the tagger's tags by clip; `tags_only` leaves out all that needs other branches.
    Where audio learns alone (`only`) there are clips alone, where artists do all views have some.

    Raises ValueError where there are no captions, and without clips for audio alone."""
    captions = read_musiccaps(musiccaps, "train")
    if not captions:
        raise ValueError(
            f"{musiccaps} has no training rows beside the {VALIDATION_ROWS} that checkpoints are "
            "chosen by: give a file with more rows that are not is_audioset_eval."
        )
    pairs: dict[str, Sequence[Pair]] = {"musiccaps": captions}
    pairs["recombined"] = recombine(captions, RECOMBINED, random.Random(f"{seed}-recombined"))
    if incompetech is not None:
        tracks = read_incompetech(incompetech, "train")
        pairs["clips"] = _with_heard([pair for pair in tracks if pair.audio], heard)
        pairs["notes"] = [p for p in tracks if p.sentences and not (tags_only and p.audio)]
    if grooves is not None:
        pairs["grooves"] = _with_heard(read_grooves(grooves, "train"), heard)
    pairs["composed"] = _composed(captions, pairs, random.Random(seed))
    mixture = {name: share for name, share in MIXTURE.items() if not tags_only or name in TAGS_ONLY}
    if only == "audio":
        if not any(pairs.get(name) for name in CLIPS):
            raise ValueError("--only audio needs clips: give --incompetech, --grooves or both.")
        mixture = ALONE
    swaps = Swaps.of(captions)
    return Sources(
        pairs=pairs,
        mixture=mixture,
        artists=not tags_only and only != "audio",
        always_artists=only == "artists",
        swaps=swaps,
    )


def _with_heard(
    pairs: Sequence[Pair], heard: Mapping[str, Sequence[tuple[str, float]]] | None
) -> list[Pair]:
    """The pairs with the tagger's tags of their clips."""
    known = heard or {}
    return [
        replace(pair, heard={clip: known[clip] for clip in pair.audio if clip in known})
        for pair in pairs
    ]


def _composed(
    captions: Sequence[Pair], pairs: Mapping[str, Sequence[Pair]], dice: random.Random
) -> list[Pair]:
    """Tag lists without a text: those of real rows, random ones, and the tagger's vocabulary."""
    lists = [pair.tags for pair in captions if pair.tags]
    counts = Counter(tag for tags in lists for tag in tags)
    common = [tag for tag, count in counts.items() if count >= 3 and len(tag.split()) <= 4]
    heard = [tag.text for tag in VOCABULARY]
    facts = {
        tag for name in ("clips", "notes", "grooves") for p in pairs.get(name, ()) for tag in p.tags
    }
    pools = (heard, heard, common, sorted(facts) or heard, list(counts))
    for _ in range(RANDOM_LISTS):
        pool = dice.choice(pools)
        tags = dice.sample(pool, min(len(pool), dice.randint(1, 7)))
        if dice.random() < 0.3:
            tags += dice.sample(common or heard, min(2, len(common or heard)))
        lists.append(tuple(dict.fromkeys(tags)))
    return [Pair(key="", source="composed", sentences=(), tags=tags) for tags in lists]
