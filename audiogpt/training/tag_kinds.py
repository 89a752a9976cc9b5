"""What a tag talks about: genre, mood, instrument, voice, tempo, sound quality, era, or else."""

from __future__ import annotations

import re
from collections.abc import Iterable

from audiogpt.words import INSTRUMENTS, all_words, word_set

KINDS = ("genre", "mood", "instrument", "voice", "tempo", "quality", "era", "other")

GENRES = word_set(
    """rock pop jazz blues classical folk country metal punk indie techno house trance disco funk
    soul reggae ska gospel hip-hop hip hop hiphop rap r&b rnb edm electro electronic
    electronica electropop ambient new-age newage opera bluegrass bebop swing polka waltz
    tango salsa samba bossa nova flamenco latin mambo rumba merengue calypso zydeco
    ragtime dixieland boogie march baroque orchestral soundtrack cinematic alternative
    grunge dubstep dub trap dancehall afrobeat world celtic experimental industrial
    psychedelic progressive lullaby anthem hymn carol ballad fusion lounge minimalist
    symphonic symphony acapella cappella choral hindustani carnatic bollywood jungle
    gangsta motown synthwave synthpop chiptune lofi lo-fi downtempo carnival horror
    medieval charleston foxtrot twist gypsy arabic indian african funky jazzy bluesy folky
    rocky dance christmas christian spanish mexican regional chinese japanese turkish
    irish chillout oldies classic acoustic"""
)
_GENRE_PHRASES = frozenset(
    ("big band", "drum and bass", "new age", "easy listening", "boogie woogie", "trip hop")
)
MOODS = word_set(
    """happy sad mellow calm calming relaxing relaxed energetic passionate emotional groovy
    exciting romantic cheerful joyful easygoing soulful lively youthful intense fun
    spirited sentimental addictive enthusiastic vibrant melancholic melancholy soft
    aggressive soothing suspenseful hypnotic playful eerie dramatic buoyant engaging
    devotional chill powerful muffled epic dreamy trippy spiritual mysterious weird
    inspiring ominous scary sensual nostalgic pulsating complex uplifting gentle
    captivating harsh futuristic festive pensive ethereal sinister haunting mystical
    poignant heartfelt catchy pleasant dark bright bouncy driving grooving humorous somber
    sombre unnerving action suspense atmospheric serene reflective warm simple vigorous
    vivacious tense smooth charming electrifying grim tranquil beautiful peaceful exotic
    dangerous chaotic upbeat beautiful sexy loud quiet meditative positive animated
    eccentric spooky funny sparse dense airy heroic majestic tender wistful hopeful
    triumphant rebellious laid-back laidback cool sweet light heavy raw urban majestic
    cozy enchanting fierce frantic delicate elegant angry violent exciting thrilling merry
    perky peppy quirky tense traditional religious hard-hitting party heart-touching
    danceable energy rhythmic melodic dissonant rich crisp clear edgy"""
)
CALM = word_set(
    """soft quiet slow mellow calm calming relaxing relaxed soothing peaceful gentle ambient dreamy
    ethereal tranquil meditative meditation meditational serene chill chillout"""
)
_SOUNDS = word_set(
    """percussion drumming beat beats kick kicks snare snares hat hats cymbal cymbals rimshot
    rimshots clap claps shaker shakers riff riffs arpeggio arpeggios chord chords bassline
    808 orchestra band pad pads ensemble woodwind woodwinds oud erhu koto bansuri kalimba
    celesta kit lute recorder piccolo steelpan maracas guiro claves cowbell congas bongos
    turntable scratching whistle clavinet mellotron bagpipes santoor sarod dulcimer djembe
    mridangam ep strings vibes e-bass e-guitar glock horns sax saxes instrument
    instruments accompaniment"""
)
_VOICE = re.compile(
    r"\b(voice|voices|vocals?|vocalists?|singers?|singing|sing|sings|rapper|rapping|choir|choral|"
    r"choirs|chant|chants|chanting|soprano|tenor|humming|beatboxing|speech|talking|speaking|"
    r"narration|female|male|woman|man|instrumental|no vocals?|shouting|screaming|growling)\b"
)
_TEMPO = re.compile(r"\b(tempo|uptempo|downtempo|slow|fast|slower|faster|bpm|moderate|medium)\b")
_QUALITY = re.compile(
    r"\b(quality|noisy|noise|mono|stereo|recording|recorded|live|performance|reverb|reverberant|"
    r"distorted audio|hiss|crackle|lo-fi|audience|crowd|cheering|amateur|compilation|tutorial)\b"
)
_ERA = re.compile(r"^(19|20)?\d0'?s$|^(sixties|seventies|eighties|nineties|retro|vintage)$")


def kind_of(tag: str) -> str:
    """One of :data:`KINDS`."""
    words = set(re.findall(r"[a-z0-9&'-]+", tag.lower())) | set(all_words(tag))
    last = tag.lower().split()[-1] if tag.split() else ""
    checks = (
        ("genre", tag.lower() in _GENRE_PHRASES or (last in GENRES and last not in MOODS)),
        ("era", bool(_ERA.search(tag.lower()))),
        ("quality", bool(_QUALITY.search(tag.lower()))),
        ("voice", bool(_VOICE.search(tag.lower()))),
        ("instrument", bool(words & INSTRUMENTS or words & _SOUNDS)),
        ("tempo", bool(_TEMPO.search(tag.lower()))),
        ("genre", bool(words & GENRES)),
        ("mood", bool(words & MOODS)),
    )
    return next((kind for kind, holds in checks if holds), "other")


def by_kind(tags: Iterable[str]) -> dict[str, list[str]]:
    """Tags sorted into kinds, the order kept within each."""
    kinds: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for tag in tags:
        kinds[kind_of(tag)].append(tag)
    return kinds
