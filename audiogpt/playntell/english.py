"""Splitting lower-case English into words, as the published training captions were split.

The published code lower-cases captions and artist names, splits them with spaCy's English
tokenizer and drops punctuation. This module follows that tokenizer's rules (spaCy 3, MIT) for
lower-case text, without spaCy: rules about capitals can never apply and are left out. What is kept:
the order of prefixes, suffixes and infixes, contractions, times of day, abbreviations, emoticons,
and web addresses. The tests compare it with what spaCy gave for thousands of texts.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from itertools import pairwise

# Letters by Unicode block. Text is lower-case here, so whole blocks of cased letters may stand.
CASED = (
    "a-zａ-ｚ\u00df-\u00f6\u00f8-\u00ff\u0100-\u01bf\u01c4-\u024f\u0250-\u02af\u1d00-\u1d25"
    "\u1d6b-\u1d77\u1d79-\u1d9a\u1e00-\u1eff\u2c60-\u2c7b\u2c7e\u2c7f\ua722-\ua76f\ua771-\ua787"
    "\ua78b-\ua78e\ua790-\ua7b9\ua7fa\uab30-\uab5a\uab60-\uab64"
    "ёа-яәөүҗңһіїєґѓѕјљњќѐѝα-ωάέίόώήύ"
)
UNCASED = (
    "\u1200-\u137f\u0980-\u09ff\u0591-\u05f4\ufb1d-\ufb4f"  # Ethiopic, Bengali, Hebrew
    "\u0620-\u064a\u066e-\u06d5\u06e5-\u06ff\u0750-\u077f\u08a0-\u08bd\ufb50-\ufbb1\ufbd3-\ufd3d"
    "\ufd50-\ufdc7\ufdf0-\ufdfb\ufe70-\ufefc\U0001ee00-\U0001eebb"  # Arabic and Persian
    "\u0d80-\u0dff\u0900-\u097f\u0c80-\u0cff\u0b80-\u0bff\u0c00-\u0c7f"  # scripts of South Asia
    "\uac00-\ud7af\u1100-\u11ff\u3040-\u30ff"  # Hangul and kana
    "\u4e00-\u9fff\u3400-\u4dbf\U00020000-\U0002a6df\U0002a700-\U0002ebef\u2e80-\u2fdf"
    "\u2ff0-\u303f\u31c0-\u31ef\u3200-\u33ff\uf900-\ufaff\ufe30-\ufe4f"
    "\U0001f200-\U0001f2ff\U0002f800-\U0002fa1f"  # Chinese, Japanese and Korean characters
)
LETTER = CASED + UNCASED
QUOTES = "'\"”“`‘´’‚,„»«「」『』（）〔〕【】《》〈〉⟦⟧"
PUNCTUATION = "…,:;!?¿؟¡()[]{}<>_#*&。？！，、；：～·।،۔؛٪"
CURRENCIES = "$£€¥฿₽﷼₠₡₢₣₤₥₦₧₨₩₪₫₭₮₯₰₱₲₳₴₵₶₷₸₹₺₻₼₾₿"
HYPHENS = "-|–|—|--|---|——|~"
UNITS = (
    "km km² km³ m m² m³ dm dm² dm³ cm cm² cm³ mm mm² mm³ ha µm nm yd in ft kg g mg µg t lb oz m/s "
    "km/h kmh mph mbar mb kb gb tb % км км² км³ м м² м³ дм дм² дм³ см см² см³ мм мм² мм³ нм кг г "
    "мг м/с км/ч мбар кб мб гб тбكم كم² كم³ م م² م³ سم سم² سم³ مم مم² مم³ كم غرام جرام جم كغ ملغ "
    "كوب اكواب"
)
ABBREVIATIONS = (
    "a.m. p.m. co. e.g. i.e. vs. v.s. and/or w/o ma'am o'clock lovin' lovin havin' havin 's 're "
    "'d 'cause 'cos 'coz 'cuz 'bout ‘s em 'em ll 'll nuff 'nuff ' '' \\\") <space> \\t \\n ä. ö. ü."
)
EMOTICONS = (
    ":) :-) :)) :-)) :))) :-))) (: (-: =) (= :] :-] [: [-: [= =] :o) (o: :} :-} 8) 8-) (-8 ;) "
    ";-) (; (-; :( :-( :(( :-(( :((( :-((( ): )-: =( >:( :') :'-) :'( :'-( :/ :-/ =/ =| :| :-| ]= "
    "=[ :1 :p :-p :o :-o :0 :-0 :() >:o :* :-* :3 :-3 =3 :> :-> :x :-x ^_^ ^__^ ^___^ >.< >.> <.< "
    "._. ;_; -_- -__- v.v v_v o_o 0_o o_0 0_0 o.o 0.0 o.0 0.o @_@ <3 <33 <333 </3 (^_^) (-_-) "
    "(._.) (>_<) (*_*) (¬_¬) ಠ_ಠ ಠ︵ಠ (ಠ_ಠ) ¯\\(ツ)/¯ (╯°□°）╯︵┻━┻ ><(((*>"
)
# Tokens that the published code drops after splitting.
DROPPED = frozenset(["''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";", '"'])
QUESTION_WORDS = "who what when where why how there that this these those"
VERBS_NOT_HAVE = "ca could do does did had may might must need ought sha should wo would"
VERBS_NOT = "ai are is was were have has dare"
WHOLE_WORDS = "ill its hell shell shed were well whore"  # never a pronoun and a verb


def _contractions() -> dict[str, tuple[str, ...]]:
    """English contractions with and without their apostrophes: "don't" and "dont" both part."""
    table: dict[str, tuple[str, ...]] = {}

    def add(word: str, *endings: str) -> None:
        for apostrophe in (True, False):
            parts = [e if apostrophe else e.replace("'", "") for e in endings]
            table[word + "".join(parts)] = (word, *parts)

    for word in ("i", "you", "he", "she", "it", "we", "they"):
        for endings in (("'ll",), ("'ll", "'ve"), ("'d",), ("'d", "'ve")):
            add(word, *endings)
    for word in ("i", "you", "we", "they"):
        add(word, "'ve")
    for word in ("you", "we", "they"):
        add(word, "'re")
    for word in ("he", "she", "it"):
        add(word, "'s")
    add("i", "'m")
    table |= {"i'ma": ("i", "'m", "a"), "ima": ("i", "m", "a")}
    for word in QUESTION_WORDS.split():
        if word not in ("these", "those"):
            add(word, "'s")
        for endings in (("'ll",), ("'ll", "'ve"), ("'d",), ("'d", "'ve")):
            add(word, *endings)
        if word not in ("that", "this"):
            add(word, "'re")
            add(word, "'ve")
    for word in VERBS_NOT_HAVE.split():
        add(word, "n't")
        add(word, "n't", "'ve")
    for word in ("could", "might", "must", "should", "would"):
        add(word, "'ve")
    for word in VERBS_NOT.split():
        add(word, "n't")
    for word in WHOLE_WORDS.split():
        table.pop(word, None)
    return table | {
        "y'all": ("y'", "all"),
        "yall": ("y", "all"),
        "how'd'y": ("how", "'d", "'y"),
        "not've": ("not", "'ve"),
        "notve": ("not", "ve"),
        "cannot": ("can", "not"),
        "gonna": ("gon", "na"),
        "gotta": ("got", "ta"),
        "let's": ("let", "'s"),
        "c'mon": ("c'm", "on"),
    }


class _Rules:
    """The compiled rules; built once, on first use."""

    def __init__(self) -> None:
        icons = "".join(
            chr(code)
            for block in ((0x80, 0x3400), (0xA490, 0x10000), (0x1F000, 0x1FB00))
            for code in range(*block)
            if unicodedata.category(chr(code)) == "So"
        )
        icon, currency = f"[{re.escape(icons)}]", f"[{re.escape(CURRENCIES)}]"
        punctuation = [re.escape(c) for c in PUNCTUATION] + ["……"]
        quotes, ellipses = [re.escape(c) for c in QUOTES], [r"\.\.+", "…"]
        shared = [*punctuation, *ellipses, *quotes]
        prefixes = ["§", "%", "=", "—", "–", r"\+(?![0-9])", *shared, currency, icon]
        units = "|".join(map(re.escape, UNITS.split()))
        before_stop = re.escape("%²-+…,:;!?¿؟¡()[]{}<>_#*&。？！，、；：～·।،۔؛٪|?:" + QUOTES)
        suffixes = [
            *(*shared, icon, "'s", "’s", "—", "–"),
            r"(?<=[0-9])\+",
            rf"(?<=[0-9])(?:{currency})",
            rf"(?<=[0-9])(?:{units})",
            rf"(?<=[0-9{LETTER}{before_stop}])\.",
            rf"(?<=[{UNCASED}][{UNCASED}])\.",
        ]
        quote = re.escape(QUOTES)
        infixes = [
            *(*ellipses, icon),
            r"(?<=[0-9])[+\-\*^](?=[0-9-])",
            rf"(?<=[{LETTER}{quote}])\.(?=[{UNCASED}{quote}])",
            rf"(?<=[{LETTER}]),(?=[{LETTER}])",
            rf"(?<=[{LETTER}0-9])(?:{HYPHENS})(?=[{LETTER}])",
            rf"(?<=[{LETTER}0-9])[:<>=/](?=[{LETTER}])",
        ]
        self.prefix = re.compile("|".join(f"^{rule}" for rule in prefixes))
        self.suffix = re.compile("|".join(f"{rule}$" for rule in suffixes))
        self.infix = re.compile("|".join(infixes))
        label = "[a-z0-9\u00a1-\uffff]"
        octet = r"(?:\d|[1-9]\d|1\d\d|2[0-4]\d|25[0-5])"
        self.address = re.compile(
            r"(?:[\w+\-.]{2,}://)?(?:\S+(?::\S*)?@)?"
            rf"(?:(?:[1-9]\d?|1\d\d|2[01]\d|22[0-3])(?:\.{octet}){{2}}\.(?:[1-9]\d?|1\d\d|2[0-4]\d"
            rf"|25[0-4])|(?:(?:{label}(?:{label}|[_-]){{0,62}})?{label}\.)+[{LETTER}]{{2,63}})"
            r"(?::\d{2,5})?(?:[/?#]\S*)?$"
        )
        self.special = _contractions()
        for hour in range(1, 13):
            self.special |= {f"{hour}{p}": (str(hour), p) for p in ("am", "a.m.", "pm", "p.m.")}
        for word in ("doin", "goin", "nothin", "nuthin", "ol", "somethin"):
            self.special |= {word: (word,), f"{word}'": (f"{word}'",)}
        whole = [*ABBREVIATIONS.split(), *EMOTICONS.split(), *"\t\n —\u00a0"]
        whole += [f"{letter}." for letter in "abcdefghijklmnopqrstuvwxyz"]
        self.special |= {word: (word,) for word in whole}
        self.special |= {f"°{unit}.": ("°", unit, ".") for unit in "cfk"}
        curly = {  # every rule holds for the typographic apostrophe, too
            word.replace("'", "’"): tuple(part.replace("'", "’") for part in parts)
            for word, parts in self.special.items()
        }
        self.special = curly | self.special
        # Those that the affix rules would take apart are looked for once more in the result.
        self.split_special: dict[tuple[str, ...], str] = {}
        for word in self.special:
            if self.prefix.search(word) or self.suffix.search(word) or self.infix.search(word):
                parts = tuple(self.split_chunk(word, special=False)) if word.strip() else (word,)
                self.split_special[parts] = word

    def split_chunk(self, chunk: str, *, special: bool = True) -> list[str]:
        """The tokens of one run of characters without white space."""
        known = self.special if special else {}
        if chunk in known:
            return list(known[chunk])
        heads: list[str] = []
        tails: list[str] = []
        while chunk and chunk not in known:
            head = match.end() if (match := self.prefix.search(chunk)) else 0
            if head and chunk[head:] in known:
                heads.append(chunk[:head])
                chunk = chunk[head:]
                break
            match = self.suffix.search(chunk[head:])
            tail = len(match.group()) if match else 0
            if tail and chunk[:-tail] in known:
                tails.append(chunk[-tail:])
                chunk = chunk[:-tail]
                break
            if not head and not tail:
                break
            if head:
                heads.append(chunk[:head])
            if tail:
                tails.append(chunk[len(chunk) - tail :])
            chunk = chunk[head : len(chunk) - tail]
        middle = self.split_middle(chunk, known) if chunk else []
        return [*heads, *middle, *reversed(tails)]

    def split_middle(self, chunk: str, known: dict[str, tuple[str, ...]]) -> list[str]:
        if chunk in known:
            return list(known[chunk])
        if self.address.match(chunk):
            return [chunk]
        cuts = [m.span() for m in self.infix.finditer(chunk) if m.start() > 0]
        edges = [0, *(edge for cut in cuts for edge in cut), len(chunk)]
        return [chunk[start:end] for start, end in pairwise(edges) if start < end]


@lru_cache(maxsize=1)
def _rules() -> _Rules:
    return _Rules()


def split_words(text: str) -> list[str]:
    """spaCy's English tokens of a lower-case text (ValueError if it has capitals).

    Single spaces separate tokens; longer white space yields tokens of its own, as in spaCy.
    """
    if text != text.lower():
        raise ValueError("split_words takes lower-case text; call lower() first.")
    rules = _rules()
    tokens: list[tuple[str, bool]] = []  # token, followed by a space
    for run in re.findall(r"\s+|\S+", text):
        if not run.isspace():
            tokens += [(token, False) for token in rules.split_chunk(run)]
            continue
        if run[0] == " " and tokens:
            tokens[-1] = (tokens[-1][0], True)
            run = run[1:]
        if run:
            tokens.append((run, False))
    return _join_specials(tokens, rules)


def _join_specials(tokens: list[tuple[str, bool]], rules: _Rules) -> list[str]:
    """Put back together special words that the affix rules took apart, longest first."""
    words = [token for token, _ in tokens]
    longest = max(map(len, rules.split_special))
    found = [
        (end - start, start)
        for start in range(len(words))
        for end in range(start + 1, min(start + longest, len(words)) + 1)
        if tuple(words[start:end]) in rules.split_special
    ]
    replaced: dict[int, tuple[int, tuple[str, ...]]] = {}
    taken: set[int] = set()
    for length, start in sorted(found, key=lambda pair: (-pair[0], pair[1])):
        end = start + length
        if start not in taken and end - 1 not in taken:
            inside = any(space for _, space in tokens[start : end - 1])
            special = rules.split_special[tuple(words[start:end])]
            if not inside:
                replaced[start] = (end, rules.special[special])
        taken.update(range(start, end))
    out: list[str] = []
    index = 0
    while index < len(words):
        if index in replaced:
            index, parts = replaced[index]
            out.extend(parts)
        else:
            out.append(words[index])
            index += 1
    return out


def preprocess(text: str) -> str:
    """A caption or artist name as the published code prepares it: lower-case, no punctuation."""
    tokens = split_words(text.lower().strip())
    kept = (t for t in tokens if t not in DROPPED and "\t" not in t and "\r" not in t)
    return " ".join(kept)
