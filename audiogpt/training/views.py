"""Views: what one visit of a training item looks like, drawn anew each time.

A view decides which sentences are the target, which tags are given with which weights, which
branches are present, and the artists. Two rules make the inputs mean something: tags that the
target does not mention are mostly left out or given a low weight, and instruments that the target
names without being told are added to the tags, nine times of ten. So the model learns to
use what it is given, to the extent of its weight, and not to name what it is not given.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from audiogpt.controls import TOLD
from audiogpt.training.artist_sentences import (
    artist_sentence,
    artist_title,
    artists_only_title,
    draw_shares,
)
from audiogpt.training.compose import compose
from audiogpt.training.pairs import Pair
from audiogpt.training.tag_kinds import GENRES, MOODS
from audiogpt.training.titles import compose_title
from audiogpt.words import INSTRUMENTS, all_words, instrument_words, share_mentioned

LONGEST, SHORTEST = 60, 8  # words of a description
ARTIST_SHARE = 0.25  # of the views of a source
CAPTION_ARTIST_SHARE = 0.15  # of captions, which lose sentences to the artists' one
MENTIONED = 0.5  # share of a tag's words from which it counts as mentioned
_SPOKEN = re.compile(r'[^\s,.;:()/!?"]+')


@dataclass(frozen=True, kw_only=True)
class View:
    """One example: the text to write and the rows to write it from (None: branch absent)."""

    title: str
    description: str
    tags: tuple[tuple[str, float], ...] = ()
    audio: str = ""
    shares: tuple[float, ...] = ()

    @property
    def caption(self) -> str:
        return f"<title> {self.title} <description> {self.description}"


def draw_view(
    pair: Pair, dice: random.Random, *, artists: bool = True, always_artists: bool = False
) -> View:
    """Draw a view of a pair of any source, with `artists` now and then, always, or never."""
    if pair.source == "musiccaps":
        view = _caption_view(pair, dice)
    elif pair.source == "recombined":
        view = _faithful_view(pair, fit_length(pair.sentences), dice)
    elif pair.source == "composed":
        view = _composed_view(pair, dice)
    elif pair.audio:
        view = _audio_view(pair, dice)
    else:
        view = _notes_view(pair, dice)
    captions = pair.source in ("musiccaps", "recombined")
    share = 1.0 if always_artists else CAPTION_ARTIST_SHARE if captions else ARTIST_SHARE
    return _with_artists(view, dice) if artists and dice.random() < share else view


def plain_view(pair: Pair) -> View:
    """The evaluation input: every tag at weight 1, and the reference as target."""
    tags = tuple((tag, 1.0) for tag in pair.tags)
    audio = pair.audio[0] if pair.audio else ""
    return View(title="", description=pair.reference, tags=tags, audio=audio)


def artists_only_view(dice: random.Random) -> View:
    """A playlist of which only the artists are known."""
    shares = draw_shares(dice)
    sentences = [artist_sentence(shares, dice)]
    while len(" ".join(sentences).split()) < SHORTEST + 2:
        sentences.append("Nothing more is known about the music.")
    title = artists_only_title(shares, dice)
    return View(title=title, description=" ".join(sentences), shares=shares)


def fit_length(sentences: Sequence[str], longest: int = LONGEST) -> tuple[str, ...]:
    """The first sentence and those others, in order, that come nearest to `longest` words."""
    counts = [len(sentence.split()) for sentence in sentences]
    if sum(counts) <= longest or len(sentences) < 2:
        return tuple(sentences)
    kept: dict[int, tuple[int, ...]] = {counts[0]: (0,)}  # by their number of words
    for index, count in enumerate(counts[1:], start=1):
        for total, chosen in list(kept.items()):
            if total + count <= longest:
                kept.setdefault(total + count, (*chosen, index))
    return tuple(sentences[index] for index in kept[max(kept)])


def _caption_view(pair: Pair, dice: random.Random) -> View:
    """Half of the time a row as evaluation gives it: every tag, and the caption as written."""
    sentences = fit_length(pair.sentences)
    draw = dice.random()
    if draw < 0.5:
        told = _told([(tag, 1.0) for tag in pair.tags], sentences)
        title = compose_title(told or pair.tags, dice)
        tags = tuple((tag, 1.0) for tag in pair.tags)
        return View(title=title, description=" ".join(sentences), tags=tags)
    if draw > 0.9 and len(sentences) > 2:
        first = dice.randrange(len(sentences) - 1)
        part = sentences[first : first + dice.randint(1, len(sentences) - 1)]
        if len(" ".join(part).split()) >= SHORTEST:
            sentences = part
    return _faithful_view(pair, sentences, dice)


def _faithful_view(pair: Pair, sentences: Sequence[str], dice: random.Random) -> View:
    """Tags in keeping with the text: those it mentions, and instruments that nobody had given."""
    description = " ".join(sentences)
    said = all_words(description)
    words = set(said)
    tags = [weighted for tag in pair.tags for weighted in _weigh(tag, words, dice)]
    known = {word for tag, weight in tags if weight > TOLD for word in all_words(tag)}
    for word in dict.fromkeys(_SPOKEN.findall(description.lower())):
        *_, base = all_words(word) or [""]  # of "e-bass" the bass
        chance = 0.9 if base in INSTRUMENTS else 0.25 if base in MOODS | GENRES else 0.0
        if base not in known and dice.random() < chance:
            tags.insert(_place(base, tags, said), (word, 1.0))
            known.add(base)
    if dice.random() < 0.02:
        tags = []
    title = compose_title(_told(tags, sentences) or pair.tags, dice)
    return View(title=title, description=description, tags=tuple(tags))


def _place(word: str, tags: Sequence[tuple[str, float]], said: Sequence[str]) -> int:
    """Where a new tag belongs among `tags`: before the first that the text mentions later."""
    position = said.index(word) if word in said else len(said)
    for index, (tag, _) in enumerate(tags):
        mentioned = [said.index(part) for part in all_words(tag) if part in said]
        if mentioned and min(mentioned) > position:
            return index
    return len(tags)


def _told(tags: Sequence[tuple[str, float]], sentences: Sequence[str]) -> list[str]:
    """Tags of some weight that the sentences mention."""
    words = set(all_words(" ".join(sentences)))
    return [tag for tag, weight in tags if weight > TOLD and share_mentioned(tag, words) >= 0.5]


def _weigh(tag: str, words: set[str], dice: random.Random) -> list[tuple[str, float]]:
    """The tag with a weight in keeping with whether it is mentioned, or nothing."""
    draw = dice.random()
    if share_mentioned(tag, words) >= MENTIONED:
        if draw < 0.04:
            return []
        return [(tag, 1.0 if draw < 0.8 else round(dice.uniform(0.4, 1.0), 2))]
    if draw < 0.6:
        return []
    return [(tag, 1.0 if draw > 0.9 else round(dice.uniform(0.0, TOLD), 2))]


def _composed_view(pair: Pair, dice: random.Random) -> View:
    """Composed sentences for a few tags, weights deciding which of them are told."""
    count = min(len(pair.tags), dice.choice((1, 2, 2, 3, 3, 4, 4, 5, 6, 7)))
    chosen = dice.sample(pair.tags, count)
    graded = dice.random() < 0.45
    tags, told = [], []
    for tag in chosen:
        weight = round(dice.random(), 2) if graded and dice.random() < 0.6 else 1.0
        tags.append((tag, weight))
        # Below 0.2 hardly ever told, above 0.6 always.
        if dice.random() < (weight - 0.2) / 0.4:
            told.append(tag)
    if not told:
        tags[0] = (chosen[0], 1.0)
        told = [chosen[0]]
    weights = dict(tags)
    title = compose_title(told, dice, weights)
    sentences = fit_length(compose(told, dice, weights))
    return View(title=title, description=" ".join(sentences), tags=tuple(tags))


def _facts(pair: Pair, dice: random.Random, *, style: float, most: int) -> list[str]:
    """Some of what is known of an item: style (with that chance), moods, instruments, tempo."""
    facts = [pair.style] if pair.style and dice.random() < style else []
    facts += dice.sample(pair.moods, min(len(pair.moods), dice.choice((1, 1, 2, 3))))
    facts += dice.sample(pair.instruments, min(len(pair.instruments), dice.choice((1, 2, 3, 4))))
    tempo = next((tag for tag in pair.tags if tag.endswith(" tempo")), "")
    if tempo and dice.random() < 0.5:
        facts.append(tempo)
    return list(dict.fromkeys(facts))[:most] or list(pair.tags[:2])


def _audio_view(pair: Pair, dice: random.Random) -> View:
    """A clip alone, with the tags that the tagger heard in it, or with tags that somebody knows."""
    clip = dice.choice(pair.audio)
    draw = dice.random()
    if draw < 0.35 and pair.heard.get(clip):
        return _heard_view(pair, clip, dice)
    facts = _facts(pair, dice, style=0.85, most=7)
    tags: list[tuple[str, float]] = []
    given: list[str] = []
    if draw > 0.7:
        given = dice.sample(facts, dice.randint(1, len(facts)))
        facts = given + [fact for fact in facts if fact not in given]
        tags = [(t, 1.0 if dice.random() < 0.6 else round(dice.uniform(0.4, 1), 2)) for t in given]
        unsaid = [tag for tag in pair.tags if tag not in facts]
        if unsaid and dice.random() < 0.3:
            tags.append((dice.choice(unsaid), round(dice.uniform(0.0, 0.2), 2)))
    sentences = compose(facts, dice)
    if pair.sentences and dice.random() < 0.25:
        # The composer's own words, after a composed opening where tags have to be told.
        opening = compose(given, dice) if given else sentences[: dice.choice((0, 1))]
        notes = fit_length(pair.sentences, LONGEST - len(" ".join(opening).split()))
        whole = (*opening, *notes)
        if not given or len(" ".join(whole).split()) <= LONGEST:
            sentences = whole
    return View(
        title=compose_title(facts, dice),
        description=" ".join(fit_length(sentences)),
        tags=tuple(tags),
        audio=clip,
    )


def _heard_view(pair: Pair, clip: str, dice: random.Random) -> View:
    """As a user meets it: the tagger's tags at their confidences, some moved, removed or added.

    The surest tags lead; of what only the audio tells, moods and some instruments are added.
    """
    heard = [tag for tag in pair.heard[clip] if tag[1] >= 0.2 and dice.random() < 0.9]
    tags = [
        (tag, round(min(1.0, max(0.0, weight + dice.uniform(-0.15, 0.25))), 2))
        for tag, weight in heard[:8]
    ]
    if dice.random() < 0.3:
        tags.append((dice.choice(pair.tags), round(dice.uniform(0.6, 1.0), 2)))
    told = [tag for tag, weight in tags if dice.random() < (weight - 0.2) / 0.25]
    words = {word for tag in told for word in all_words(tag)}
    known = _facts(pair, dice, style=0.25, most=5)
    more = [fact for fact in known if not words & set(all_words(fact))]
    told = list(dict.fromkeys(told))[:7]
    told += more[: max(dice.choice((0, 1, 2)), 2 - len(told))]
    weights = dict.fromkeys(more, 0.5) | dict(tags)
    dice.shuffle(tags)
    return View(
        title=compose_title(told, dice, weights),
        description=" ".join(fit_length(compose(told, dice, weights))),
        tags=tuple(tags),
        audio=clip,
    )


def _notes_view(pair: Pair, dice: random.Random) -> View:
    """A composer's notes from the tags that they mention, with composed sentences for others."""
    words = set(all_words(pair.description))
    said = [tag for tag in pair.tags if share_mentioned(tag, words) >= MENTIONED]
    unsaid = [tag for tag in pair.tags if tag not in said]
    extra = dice.sample(unsaid, min(len(unsaid), dice.choice((0, 1, 2, 3))))
    sentences = (*compose(extra, dice)[:2], *pair.sentences) if extra else pair.sentences
    sentences = fit_length(sentences)
    description = " ".join(sentences)
    words = set(all_words(description))
    tags = [weighted for tag in pair.tags for weighted in _weigh(tag, words, dice)]
    known = {word for tag, _ in tags for word in all_words(tag)}
    tags += [(word, 1.0) for word in sorted(instrument_words(description) - known)]
    dice.shuffle(tags)
    told = [tag for tag, weight in tags if weight > TOLD] or list(pair.tags)
    title = pair.title if pair.title and dice.random() < 0.5 else compose_title(told, dice)
    return View(title=title, description=description, tags=tuple(tags))


def _with_artists(view: View, dice: random.Random) -> View:
    """The view with a drawn distribution of artists and a sentence in keeping with it."""
    shares = draw_shares(dice)
    sentence = artist_sentence(shares, dice)
    words = view.description.split()
    description = view.description
    if len(words) + len(sentence.split()) > LONGEST + 6:
        parts = description.split(". ")
        while len(parts) > 1 and len(". ".join(parts).split()) + len(sentence.split()) > LONGEST:
            parts.pop()
        description = ". ".join(parts).rstrip(".") + "."
    title = artist_title(view.title, shares, dice) if dice.random() < 0.35 else view.title
    return View(
        title=title,
        description=f"{description} {sentence}",
        tags=view.tags,
        audio=view.audio,
        shares=shares,
    )
