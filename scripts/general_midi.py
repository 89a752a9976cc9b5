"""Plain names of the General MIDI instruments."""

_PROGRAMS = """
piano, piano, electric piano, honky-tonk piano, electric piano, electric piano, harpsichord,
clavinet, celesta, glockenspiel, music box, vibraphone, marimba, xylophone, tubular bells,
dulcimer, organ, organ, organ, church organ, reed organ, accordion, harmonica, accordion, nylon
guitar, acoustic guitar, jazz guitar, electric guitar, muted guitar, overdriven guitar,
distorted guitar, guitar harmonics, upright bass, bass guitar, bass guitar, fretless bass, slap
bass, slap bass, synth bass, synth bass, violin, viola, cello, double bass, tremolo strings,
pizzicato strings, harp, timpani, strings, strings, synth strings, synth strings, choir, voices,
synth voice, orchestra hit, trumpet, trombone, tuba, muted trumpet, french horn, brass section,
synth brass, synth brass, soprano saxophone, alto saxophone, tenor saxophone, baritone
saxophone, oboe, english horn, bassoon, clarinet, piccolo, flute, recorder, pan flute, bottle
flute, shakuhachi, whistle, ocarina, synth lead, synth lead, synth lead, synth lead, synth lead,
synth lead, synth lead, synth lead, synth pad, synth pad, synth pad, synth pad, synth pad, synth
pad, synth pad, synth pad, synth effects, synth effects, synth effects, synth effects, synth
effects, synth effects, synth effects, synth effects, sitar, banjo, shamisen, koto, kalimba,
bagpipes, fiddle, shehnai, bells, agogo, steel drums, woodblock, taiko, toms, synth drum,
cymbal, guitar noise, breath noise, seashore, birds, telephone, helicopter, applause, gunshot
"""

PROGRAM_NAMES = tuple(" ".join(name.split()) for name in _PROGRAMS.split(","))
"""A plain name for each of the 128 General MIDI programs."""

DRUM_NAMES = {
    35: "drums",
    36: "drums",
    37: "drums",
    38: "drums",
    39: "hand claps",
    40: "drums",
    41: "drums",
    42: "hi-hat",
    43: "drums",
    44: "hi-hat",
    45: "drums",
    46: "hi-hat",
    47: "drums",
    48: "drums",
    49: "cymbals",
    50: "drums",
    51: "cymbals",
    52: "cymbals",
    53: "cymbals",
    54: "tambourine",
    55: "cymbals",
    56: "cowbell",
    57: "cymbals",
    59: "cymbals",
    60: "bongos",
    61: "bongos",
    62: "congas",
    63: "congas",
    64: "congas",
    65: "timbales",
    66: "timbales",
    67: "agogo",
    68: "agogo",
    69: "shaker",
    70: "shaker",
    73: "guiro",
    74: "guiro",
    75: "claves",
    76: "woodblock",
    77: "woodblock",
    80: "triangle",
    81: "triangle",
    82: "shaker",
}
"""Names by key number on the drum channel; other keys are called percussion."""
