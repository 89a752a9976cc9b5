"""Descriptions composed from tags: varied sentences in which every tag is used.

They teach the model to use short lists of single words, such as a tagger gives, and any word that
somebody types: the wording varies, the tags are copied as they stand. What is said beside them
claims nothing that could be wrong: that drums keep time, and a flute has the tune.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence

from audiogpt.training.band import Band, part_of
from audiogpt.training.phrasing import PEOPLES, article, listed, noun, sentence, there, verb
from audiogpt.training.tag_kinds import CALM, by_kind
from audiogpt.words import all_words, word_set

SHORTEST = 9  # words
CLOSINGS = (
    "nothing else draws attention to itself",
    "this character stays the same throughout",
    "the music keeps this up from beginning to end",
    "everything else stays in the background",
    "the rest of the music follows this lead",
    "it stays true to this from start to finish",
)
PIECES = ("song", "piece", "track")
_STYLE_NOUNS = word_set(
    "ballad waltz march score lullaby anthem hymn carol polka tango opera song music soundtrack "
    "symphony "
    "tune groove study"
)
_ADJECTIVES = PEOPLES | word_set(
    "classical electronic electro ambient experimental acoustic orchestral cinematic alternative "
    "baroque medieval symphonic choral psychedelic progressive industrial minimalist regional "
    "world funky jazzy bluesy folky indie"
)
_SUNG = word_set("vocal vocals voice voices vocalist vocalists singer singers choir choirs")


def compose(
    tags: Sequence[str], dice: random.Random, weights: Mapping[str, float] | None = None
) -> tuple[str, ...]:
    """Sentences that use every tag once; `()` for no tags.

    Of each kind the tags of most weight come first: they name the piece and take the lead.
    """
    kinds = by_kind(tags)
    for kind in kinds.values():
        heaviest_first(kind, dice, weights)
    band = Band.of(kinds.pop("instrument"))
    opening = _opening(kinds, band, dice)
    middle = [*_playing(band, dice), *_voices(kinds, band, dice)]
    traits = _traits(kinds, dice)
    if dice.random() < 0.3:
        middle, traits = traits, middle
    said = [part for part in (opening, *middle, *traits, _quality(kinds, dice)) if part]
    if said and not opening:  # nothing yet that `it` could stand for
        said[0] = re.sub(r"\bit\b", "the piece", said[0], count=1)
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


def beats_last(tags: Sequence[str]) -> list[str]:
    """Beats lead nothing: they come after what plays over them."""
    return sorted(tags, key=lambda tag: part_of(tag) == "beat")


def _take(kinds: dict[str, list[str]], kind: str, count: int) -> list[str]:
    taken, kinds[kind] = kinds[kind][:count], kinds[kind][count:]
    return taken


def _is_plain(tag: str) -> bool:
    """Whether a mood or genre reads well before a noun."""
    return len(tag.split()) == 1 or not set(all_words(tag)) & _STYLE_NOUNS


def _opening(kinds: dict[str, list[str]], band: Band, dice: random.Random) -> str:
    """What piece it is, and mostly one thing more: who leads it, or its tempo."""
    phrase = _piece(kinds, dice)
    if not phrase:
        return ""
    forms = [f"this is {article(phrase)}", f"here is {article(phrase)}"]
    tempo = _at_tempo(kinds["tempo"][:1])
    draw = dice.random()
    if band.lead and draw < 0.55:
        return _led(phrase, band, tempo, kinds, dice)
    if tempo and draw < 0.8:
        _take(kinds, "tempo", 1)
        go = dice.choice(("moves", "moves", "is played"))
        moving = f"this {phrase} {go} {tempo}"
        if band.beat and dice.random() < 0.5:
            ground = band.take("rhythm", "beat")
            return f"{moving} over {listed(ground)}"
        return dice.choice((moving, f"{forms[0]} {tempo}"))
    if (band.rhythm or band.beat) and draw < 0.9:
        ground = band.take("rhythm", "beat")
        return dice.choice(
            (
                f"{dice.choice(forms)} with {listed(ground)}",
                f"this {phrase} is carried by {listed(ground)}",
                verb(ground, f"{'carry' if _is_calm(phrase, kinds) else 'drive'} this {phrase}"),
            )
        )
    return dice.choice(forms)


def _is_calm(phrase: str, kinds: dict[str, list[str]]) -> bool:
    return bool(set(all_words(" ".join([phrase, *kinds["mood"], *kinds["tempo"]]))) & CALM)


def _piece(kinds: dict[str, list[str]], dice: random.Random) -> str:
    """`soft instrumental jazz track`: moods, era and genre; empty where none is told."""
    genre = _take(kinds, "genre", 1)
    moods = _take(kinds, "mood", dice.choice((0, 1, 1, 2))) if genre or kinds["mood"] else []
    kinds["mood"] += [mood for mood in moods if not _is_plain(mood)]
    moods = [mood for mood in moods if _is_plain(mood)]
    era = _take(kinds, "era", 1)
    if not (genre or moods or era):
        return ""
    piece = dice.choice(PIECES)
    head = genre[0] if genre else ""
    whole = head.split()[-1] in _STYLE_NOUNS if head else False
    words = [*([", ".join(moods)] if moods else []), *era, *([head] if head else [])]
    if "instrumental" in kinds["voice"] and piece != "song" and not whole and dice.random() < 0.7:
        kinds["voice"].remove("instrumental")
        words.insert(len(words) - bool(head), "instrumental")
    if whole and head.endswith("music"):
        return " ".join([*words, "piece"])
    return " ".join([*words, *([] if whole else [piece])])


def _led(
    phrase: str, band: Band, tempo: str, kinds: dict[str, list[str]], dice: random.Random
) -> str:
    """An opening that says who leads the piece, perhaps over what, perhaps how fast."""
    lead = band.take("lead")
    support = band.take("harmony", "bass", "rhythm", "beat") if dice.random() < 0.4 else []
    if support:
        return dice.choice(
            (
                f"in this {phrase}, {verb(lead, 'play')} over {listed(support)}",
                f"this is {article(phrase)} in which {verb(lead, 'play')} over {listed(support)}",
                f"{verb(lead, f'lead this {phrase}')} over {listed(support)}",
                f"this {phrase} puts {listed(lead)} in front of {listed(support)}",
            )
        )
    tempo = tempo if dice.random() < 0.5 else ""
    if tempo:
        _take(kinds, "tempo", 1)
        return dice.choice(
            (
                f"{verb(lead, f'lead this {phrase}')} {tempo}",
                f"{verb(lead, f'carry this {phrase}')} {tempo}",
                f"this is {article(phrase)} {tempo} with {listed(lead)}",
                f"this {phrase} moves {tempo} and features {listed(lead)}",
            )
        )
    forms = [
        verb(lead, f"lead this {phrase}"),
        verb(lead, f"carry this {phrase}"),
        verb(lead, f"are at the heart of this {phrase}"),
        f"this is {article(phrase)} with {listed(lead)}",
        f"this {phrase} features {listed(lead)}",
        f"this {phrase} is built around {listed(lead)}",
    ]
    if len(lead) > 1:
        forms.append(f"this {phrase} brings together {listed(lead)}")
        forms.append(f"this {phrase} combines {listed(lead)}")
    return dice.choice(forms)


def _at_tempo(tags: Sequence[str]) -> str:
    """`at a slow tempo`; empty without a tempo, or for one that cannot be said so."""
    if not tags:
        return ""
    words = [word for word in tags[0].split() if word != "tempo"]
    if not words or any("tempo" in word or word in ("song", "melody") for word in words):
        return ""
    return f"at {article(' '.join([*words, 'tempo']))}"


def _playing(band: Band, dice: random.Random) -> list[str]:
    """One or two sentences about who plays what."""
    parts = []
    lead, behind = band.take("lead"), band.take("harmony")
    ground = band.take("bass", "rhythm") if band.beat or dice.random() < 0.6 else []
    beat = band.take("beat")
    if lead and behind:
        parts.append(
            dice.choice(
                (
                    f"{verb(lead, 'play')} over {listed(behind)}",
                    f"{verb(lead, 'are backed')} by {listed(behind)}",
                    f"{verb(behind, 'support')} {listed(lead)}",
                    f"{verb(lead, 'have the tune')}, with {listed(behind)} behind",
                )
            )
        )
    elif lead:
        forms = [verb(lead, "take the lead"), verb(lead, "stand out")]
        if "melod" not in " ".join(lead):
            forms += [
                verb(lead, "carry the melody"),
                verb(lead, "have the tune"),
                f"the melody belongs to {listed(lead)}",
            ]
        parts.append(dice.choice(forms))
    elif behind:
        parts.append(
            dice.choice((verb(behind, "fill the background"), verb(behind, "are behind it all")))
        )
    ground += band.take("bass", "rhythm")
    few = len(lead) + len(ground) + len(beat) < 5
    if few and lead and ground and not behind and dice.random() < 0.3:
        keep = verb(ground, f"keep up {listed(beat)}" if beat else "keep time")
        parts = [f"{dice.choice((verb(lead, 'play'), verb(lead, 'take the lead')))} while {keep}"]
    elif below := _below(ground, beat, dice):
        parts.append(below)
    if band.absent:
        parts.append(there(band.take("absent")))
    return parts


def _below(ground: Sequence[str], beat: Sequence[str], dice: random.Random) -> str:
    """What bass, drums and beats do; mostly in the passive, which asks for no number."""
    if not (ground or beat):
        return ""
    under = listed([*ground, *beat])
    forms = [f"the music is carried by {under}", f"the music is held together by {under}"]
    if ground and beat:
        forms += [verb(ground, f"keep up {listed(beat)}"), verb(ground, f"lay down {listed(beat)}")]
    elif ground:
        forms += [verb(ground, "keep time"), f"its pulse comes from {under}"]
    elif beat:
        forms.append(f"the music moves over {under}")
    return dice.choice(forms)


def _voices(kinds: dict[str, list[str]], band: Band, dice: random.Random) -> list[str]:
    tags = [tag for tag in kinds["voice"] if tag != "instrumental"]
    kinds["voice"] = [tag for tag in kinds["voice"] if tag == "instrumental"]
    absent = [tag for tag in tags if tag.startswith("no ")]
    heard = [noun(tag) for tag in tags if tag not in absent]
    parts = []
    if heard:
        forms = [there(heard), f"{listed(heard)} can be heard", f"it features {listed(heard)}"]
        if set(all_words(heard[0])) & _SUNG:
            forms += [verb(heard, "lead it"), verb(heard, "are in the foreground")]
        parts.append(dice.choice(forms))
    if absent:
        parts.append(there(absent))
    return [", and ".join(parts)] if parts else []


def _traits(kinds: dict[str, list[str]], dice: random.Random) -> list[str]:
    """All that the piece is beside its players: several traits are said of one subject."""
    traits: list[str] = []
    if _take(kinds, "voice", 99):
        traits.append(dice.choice(("is instrumental", "is instrumental", "stays instrumental")))
    if tempo := _take(kinds, "tempo", 99):
        at = [_at_tempo([tag]) for tag in tempo]
        if all(at):
            how = listed([text.removeprefix("at ") for text in at])
            traits.append(dice.choice((f"moves at {how}", f"is played at {how}", f"keeps {how}")))
        else:
            traits.append(f"is {listed(tempo)}")
    moods = _take(kinds, "mood", 99)
    for mood in moods:  # "happy song"
        if not _is_plain(mood):
            traits.append(f"is {mood if mood.endswith('music') else article(mood)}")
    if moods := [mood.removesuffix(" mood") for mood in moods if _is_plain(mood)]:
        mood = listed(moods)
        traits.append(dice.choice((f"feels {mood}", f"sounds {mood}", f"has {article(mood)} mood")))
    dice.shuffle(traits)
    if genres := [_genre_noun(tag) for tag in _take(kinds, "genre", 99)]:
        leaning = ("has touches of", "leans towards", "draws on", "borrows from", "mixes in")
        traits.append(f"{dice.choice(leaning)} {listed(genres)}")
    if eras := _take(kinds, "era", 99):
        traits.append(dice.choice((f"recalls the {listed(eras)}", f"echoes the {listed(eras)}")))
    apart = []
    for tag in _take(kinds, "other", 99):
        if len(tag.split()) > 3:
            apart.append(dice.choice((f"one can hear {tag}", f"it brings to mind {tag}")))
        else:
            form = (f"has {article(tag)} feel", f"brings to mind {tag}", f"has a touch of {tag}")
            traits.append(dice.choice(form))
    parts: list[str] = []
    while traits:
        count = dice.choice((1, 2, 2, 2, 3, 3))
        some, traits = traits[:count], traits[count:]
        subject = dice.choice(("it", "it", "the music")) if not parts else "it"
        parts.append(f"{subject} {listed(some)}")
    return parts + apart


def _genre_noun(genre: str) -> str:
    return f"{genre} music" if genre.split()[-1] in _ADJECTIVES else genre


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
