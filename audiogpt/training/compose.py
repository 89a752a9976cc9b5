"""Descriptions composed from tags: plain, varied sentences in which every tag is used.

They teach the model to use short lists of single words, such as a tagger gives, and any word that
somebody types: the wording varies, the tags are copied as they stand.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence

from audiogpt.training.tag_kinds import by_kind
from audiogpt.words import all_words, word_set

SHORTEST = 9  # words
CLOSINGS = (
    "nothing else draws attention to itself",
    "this character stays the same throughout",
    "the music keeps this up from beginning to end",
    "everything else stays in the background",
    "the rest of the music follows this lead",
    "there is little else to it",
    "that is what gives it its character",
    "it stays true to this from start to finish",
)
PIECES = ("song", "piece", "track")
_MASS = word_set(
    "percussion brass music drumming singing rapping strumming scratching clapping humming bass "
    "accompaniment guitar piano strings beatboxing reverb shouting talking speaking speech"
)
_STYLE_NOUNS = word_set(
    "ballad waltz march score lullaby anthem hymn carol polka tango opera song music soundtrack "
    "symphony "
    "tune groove study"
)
_PEOPLES = word_set(
    "indian arabic spanish african chinese japanese turkish irish mexican christian celtic latin "
    "hindustani english french italian russian american"
)
_ADJECTIVES = _PEOPLES | word_set(
    "classical electronic electro ambient experimental acoustic orchestral cinematic alternative "
    "baroque medieval symphonic choral psychedelic progressive industrial minimalist regional "
    "world funky jazzy bluesy folky indie"
)
_PROPER = re.compile(rf"\b({'|'.join(sorted(_PEOPLES | {'christmas'}))})\b")


def article(phrase: str) -> str:
    """The phrase with `a` or `an` before it."""
    first = phrase.lstrip("\"'").lower()
    if first.startswith(("80", "8 ", "8-", "18")):
        return f"an {phrase}"
    vowel = first[:1] in "aeio" or first.startswith(("um", "un", "up", "ur", "r&b", "rnb", "edm"))
    exception = first.startswith(("one", "eu", "uni", "uku"))
    return f"an {phrase}" if vowel and not exception else f"a {phrase}"


def listed(parts: Sequence[str], last: str = "and") -> str:
    """`x`, `x and y`, `x, y and z`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {last} {parts[-1]}"


def noun(tag: str) -> str:
    """A sounding thing with an article where the tag is a countable singular."""
    words = tag.split()
    plural = _is_plural(tag)
    started = words[0] in ("a", "an", "the", "no", "some", "various", "multiple", "two", "layered")
    if plural or started or (words[-1] in _MASS and len(words) == 1):
        return tag
    return article(tag)


def _is_plural(tag: str) -> bool:
    last = tag.split()[-1]
    return last.endswith("s") and not last.endswith("ss")


def _there(things: Sequence[str]) -> str:
    """`there is a flute and drums`, `there are drums and a flute`."""
    return f"there {'are' if _is_plural(things[0]) else 'is'} {listed(things)}"


def sentence(text: str) -> str:
    """Capital first letter, capitals for names of peoples, and a full stop."""
    text = _PROPER.sub(lambda name: name[0].capitalize(), text)
    return text[:1].upper() + text[1:] + "."


def compose(
    tags: Sequence[str], dice: random.Random, weights: Mapping[str, float] | None = None
) -> tuple[str, ...]:
    """Sentences that use every tag once; `()` for no tags.

    Of each kind the tags of most weight come first: they name the piece and take the lead.
    """
    kinds = by_kind(tags)
    for kind in kinds.values():
        heaviest_first(kind, dice, weights)
    kinds["instrument"] = beats_last(kinds["instrument"])
    parts = [_opening(kinds, dice)]
    rest = [_instruments(kinds, dice), _voices(kinds, dice), _moods(kinds, dice)]
    rest += [_tempo(kinds, dice), *_others(kinds, dice)]
    middle = [part for part in rest if part]
    if dice.random() < 0.5:
        dice.shuffle(middle)
    quality = _quality(kinds, dice)
    said = [part for part in [*parts, *middle, quality] if part]
    if said and len(" ".join(said).split()) < SHORTEST:
        said.append(dice.choice(CLOSINGS))
    return tuple(sentence(part) for part in said)


def heaviest_first(
    tags: list[str], dice: random.Random, weights: Mapping[str, float] | None
) -> None:
    """Sort in place by weight (1 where none is known), equals in a drawn order."""
    dice.shuffle(tags)
    if weights:
        tags.sort(key=lambda tag: -weights.get(tag, 1.0))


def _take(kinds: dict[str, list[str]], kind: str, count: int) -> list[str]:
    taken, kinds[kind] = kinds[kind][:count], kinds[kind][count:]
    return taken


def _is_plain(tag: str) -> bool:
    """Whether a mood or genre reads well before a noun."""
    return len(tag.split()) == 1 or not set(all_words(tag)) & _STYLE_NOUNS


def _opening(kinds: dict[str, list[str]], dice: random.Random) -> str:
    genre = _take(kinds, "genre", 1)
    moods = _take(kinds, "mood", dice.choice((0, 1, 1, 2))) if genre or kinds["mood"] else []
    kinds["mood"] += [mood for mood in moods if not _is_plain(mood)]
    moods = [mood for mood in moods if _is_plain(mood)]
    era = _take(kinds, "era", 1)
    piece = dice.choice(PIECES)
    if not (genre or moods or era):
        return ""
    head = genre[0] if genre else ""
    whole = head.split()[-1] in _STYLE_NOUNS if head else False
    words = [*([", ".join(moods)] if moods else []), *era, *([head] if head else [])]
    if "instrumental" in kinds["voice"] and piece != "song" and not whole and dice.random() < 0.7:
        kinds["voice"].remove("instrumental")
        words.insert(len(words) - bool(head), "instrumental")
    phrase = " ".join([*words, *([] if whole and head.split()[-1] != "music" else [piece])])
    if whole and head.endswith("music"):
        phrase = " ".join([*words, "piece"])
    opening = dice.choice(
        (
            f"this is {article(phrase)}",
            f"this is {article(phrase)}",
            f"what one hears is {article(phrase)}",
            f"here is {article(phrase)}",
            f"one hears {article(phrase)}",
        )
    )
    if kinds["instrument"] and dice.random() < 0.4:
        some = [noun(tag) for tag in _take(kinds, "instrument", dice.randint(1, 4))]
        joint = dice.choice(("with", "featuring", "built on", "led by"))
        joint = "with" if joint == "led by" and is_beat(some[0]) else joint
        return f"{opening} {joint} {listed(some)}"
    if len(kinds["tempo"]) == 1 and dice.random() < 0.5:
        tempo = _take(kinds, "tempo", 1)[0]
        at = tempo if "tempo" in tempo else f"{tempo} tempo"
        return f"{opening} at {article(at)}"
    return opening


def is_beat(tag: str) -> bool:
    """Whether a tag is a beat or a rhythm, which lead nothing."""
    return tag.endswith(("beat", "beats", "rhythm"))


def beats_last(tags: Sequence[str]) -> list[str]:
    """Beats lead nothing: they come after what plays over them."""
    return sorted(tags, key=is_beat)


def _instruments(kinds: dict[str, list[str]], dice: random.Random) -> str:
    tags = [noun(tag) for tag in _take(kinds, "instrument", 99)]
    if not tags:
        return ""
    beats = [tag for tag in tags if is_beat(tag)]
    it = dice.choice(("it", "the song", "the arrangement", "the piece"))
    forms = [
        f"{it} features {listed(tags)}",
        f"one hears {listed(tags)}",
        _there(tags),
        f"{it} is built around {listed(tags)}",
    ]
    if len(tags) >= 2:
        many = listed(tags[1:])
        s = "" if _is_plural(tags[0]) else "s"
        forms += [
            f"{tags[0]} play{s} over {many}",
            f"{tags[0]} take{s} the lead, accompanied by {many}",
            f"{it} combines {listed(tags)}",
        ]
    if len(tags) > 1 == len(beats):
        s = "" if len(tags) > 2 or _is_plural(tags[0]) else "s"
        forms += [
            f"{listed(tags[:-1])} play{s} over {beats[0]}",
            f"{it} features {listed(tags[:-1])} over {beats[0]}",
        ] * 2
    if len(tags) == 1 and not beats:
        s = "" if _is_plural(tags[0]) else "s"
        forms += [f"{tags[0]} carr{'y' if not s else 'ies'} the melody", f"{tags[0]} stand{s} out"]
    return dice.choice(forms)


def _voices(kinds: dict[str, list[str]], dice: random.Random) -> str:
    tags = _take(kinds, "voice", 99)
    absent = [tag for tag in tags if tag.startswith("no ")]
    plain = [tag for tag in tags if tag == "instrumental"]
    heard = [noun(tag) for tag in tags if tag not in absent and tag not in plain]
    parts = []
    if heard:
        parts.append(
            dice.choice(
                (
                    _there(heard),
                    f"{listed(heard)} can be heard",
                    f"it features {listed(heard)}",
                )
            )
        )
    if plain:
        parts.append(dice.choice(("it is instrumental", "the music is instrumental")))
    if absent:
        parts.append(_there(absent))
    return " and ".join(parts[:1]) + "".join(f", and {part}" for part in parts[1:])


def _moods(kinds: dict[str, list[str]], dice: random.Random) -> str:
    tags = _take(kinds, "mood", 99)
    if not tags:
        return ""
    mood = listed(tags)
    return dice.choice(
        (
            f"it sounds {mood}",
            f"the mood is {mood}",
            f"the atmosphere is {mood}",
            f"the feeling is {mood}",
        )
    )


def _tempo(kinds: dict[str, list[str]], dice: random.Random) -> str:
    tags = [tag.replace(" tempo", "") for tag in _take(kinds, "tempo", 99)]
    if not tags:
        return ""
    return dice.choice(
        (f"the tempo is {listed(tags)}", f"it is played at {article(listed(tags))} tempo")
    )


def _genre_noun(genre: str) -> str:
    return f"{genre} music" if genre.split()[-1] in _ADJECTIVES else genre


def _others(kinds: dict[str, list[str]], dice: random.Random) -> list[str]:
    parts = []
    if genres := [_genre_noun(tag) for tag in _take(kinds, "genre", 99)]:
        parts.append(
            dice.choice(
                (
                    f"there are touches of {listed(genres)}",
                    f"it leans towards {listed(genres)}",
                    f"it draws on {listed(genres)}",
                )
            )
        )
    if eras := _take(kinds, "era", 99):
        parts.append(f"it recalls the {listed(eras)}")
    for tag in _take(kinds, "other", 99):
        if len(tag.split()) > 3:
            parts.append(dice.choice((f"one can hear {tag}", f"it brings to mind {tag}")))
        else:
            form = (
                f"it has {article(tag)} feel",
                f"it brings to mind {tag}",
                f"there is a touch of {tag}",
            )
            parts.append(dice.choice(form))
    return parts


def _quality(kinds: dict[str, list[str]], dice: random.Random) -> str:
    tags = _take(kinds, "quality", 99)
    if not tags:
        return ""
    adjectives = [tag for tag in tags if tag in ("noisy", "mono", "live", "reverberant")]
    nouns = [article(t) if not t.endswith("s") else t for t in tags if t not in adjectives]
    parts = []
    if adjectives:
        parts.append(
            f"the recording is {listed(['in mono' if t == 'mono' else t for t in adjectives])}"
        )
    if nouns:
        said = listed(
            [n.replace("a low quality", "low quality").replace("a poor ", "poor ") for n in nouns]
        )
        parts.append(dice.choice((f"it is marked by {said}", f"one notices {said}")))
    return ", and ".join(parts)
