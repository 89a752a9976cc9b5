"""Reading, cleaning and splitting the sources, and the views drawn from them."""

from __future__ import annotations

import itertools
import json
import random
import re
from pathlib import Path

import pytest
from conftest import shared
from hypothesis import given
from hypothesis import strategies as st
from training_data import write_musiccaps

from audiogpt.cli import main
from audiogpt.training.artist_sentences import artist_sentence, artist_title, draw_shares
from audiogpt.training.compose import compose
from audiogpt.training.grooves import HELD_OUT_SHARE, read_grooves
from audiogpt.training.incompetech import HELD_OUT_ALBUM, clean_description, read_incompetech
from audiogpt.training.musiccaps import read_musiccaps
from audiogpt.training.pairs import Pair, clean_text
from audiogpt.training.recombine import recombine
from audiogpt.training.sources import read_sources
from audiogpt.training.titles import compose_title
from audiogpt.training.views import artists_only_view, draw_view, fit_length
from audiogpt.words import all_words, content_words, instrument_words, share_mentioned


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("drums , bass,strings.A synth", "Drums, bass, strings. A synth."),
        ("It’s the the song ...", "It's the song."),
        ("a acoustic guitar and an piano", "An acoustic guitar and a piano."),
    ],
)
def test_text_glitches_are_mended(raw: str, clean: str) -> None:
    assert clean_text(raw) == clean


def test_test_rows_never_reach_training(tmp_path: Path) -> None:
    path = write_musiccaps(tmp_path / "caps.csv", rows=900)
    keys = {
        split: {p.key for p in read_musiccaps(path, split)}
        for split in ("train", "validation", "test")
    }
    assert len(keys["test"]) == 225
    assert len(keys["validation"]) == 150
    assert not keys["train"] & (keys["test"] | keys["validation"])
    sources = read_sources(musiccaps=path, seed=1)
    texts = " ".join(sources.texts())
    assert "Zyzzyva" not in texts
    assert "zumba" not in texts.split()
    order = [p.key for p in read_musiccaps(path, "test")]
    assert order == [f"row{number}" for number in range(0, 900, 4)]


def test_unclear_splits_are_refused(tmp_path: Path) -> None:
    caps = write_musiccaps(tmp_path / "caps.csv", rows=20)
    caps.write_text(caps.read_text().replace("True", "true").replace("False", "false"))
    with pytest.raises(ValueError, match="True or False"):
        read_musiccaps(caps, "train")


def test_a_csv_that_cannot_be_read_is_told_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "caps.csv").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "nope.csv", tmp_path, tmp_path / "caps.csv"):
        with pytest.raises(ValueError, match="cannot be read as MusicCaps' CSV"):
            read_musiccaps(path, "train")


def test_an_aspect_list_that_is_none_is_named(tmp_path: Path) -> None:
    caps = write_musiccaps(tmp_path / "caps.csv", rows=8)
    names = caps.read_text().splitlines()[0]
    for broken in ("['rock'", "5", "[5]", ""):
        caps.write_text(f'{names}\nrow0,"{broken}",A song,True\n')
        with pytest.raises(ValueError, match="The aspect_list of row0 must be a list"):
            read_musiccaps(caps, "test")


def test_a_file_with_no_more_than_validation_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no training rows beside the 150"):
        read_sources(musiccaps=write_musiccaps(tmp_path / "caps.csv", rows=160))


def test_grooves_have_no_texts_to_score_against(tmp_path: Path, capsys) -> None:
    row = {"file": "0001.ogg", "style": "polka", "instruments": ["accordion"], "bpm": 120}
    held = next(n for n in map(str, range(100)) if random.Random(n).random() < HELD_OUT_SHARE)
    text = "".join(json.dumps({**row, "groove_file": held}) + "\n" for _ in range(2))
    (tmp_path / "grooves.jsonl").write_text(text)
    command = ["evaluate", "--dataset", "grooves", "--data", str(tmp_path), "--beams", "1"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "| tag words used |" in printed
    assert "BLEU" not in printed


def test_unknown_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="split"):
        read_musiccaps(write_musiccaps(tmp_path / "caps.csv"), "dev")


def test_jokes_and_housekeeping_leave_the_notes() -> None:
    notes = (
        "Mid-tempo groovy hustle. Perfect for your roller-rink! An uncompressed version of this "
        "piece is available here. Use it at 2:06. The lawyer ate the sandwich."
    )
    assert clean_description(notes) == ("Mid-tempo groovy hustle.",)


def test_the_held_out_album_is_held_out_with_its_catalogue_rows(tmp_path: Path) -> None:
    common: dict = {"genre": "Disco", "feel": "Dark", "instruments": "Kit, EP", "bpm": 120}
    common["description"] = "A dark disco piece with a slow electric piano melody."
    tracks = [
        {**common, "title": "Held", "album": HELD_OUT_ALBUM, "clips": [{"file": "h.ogg"}]},
        {**common, "title": "Kept One", "album": "Other", "clips": [{"file": "k.ogg"}]},
    ]
    catalogue = [{**common, "title": title} for title in ("Held v2", "Held", "Free Piece")]
    for name, rows in (("tracks", tracks), ("catalogue", catalogue)):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert [p.key for p in read_incompetech(tmp_path, "train")] == ["Kept One", "Free Piece"]
    (held,) = read_incompetech(tmp_path, "test")
    assert held.audio == ("h.ogg",)
    assert held.tags == ("disco", "dark", "drum kit", "electric piano", "medium tempo")


TRACK = {
    "title": "One", "album": "Any", "genre": "Disco", "feel": None, "instruments": "Kit",
    "bpm": 120, "description": "A dark disco piece.", "clips": [{"file": "one.ogg"}],
}  # fmt: skip
GROOVE = {
    "file": "0001.ogg", "groove_file": "std/polka", "style": "polka", "instruments": ["accordion"],
    "bpm": 120,
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "row", "changes"),
    [
        ("tracks", TRACK, {"album": None}),
        ("tracks", TRACK, {"genre": None}),
        ("tracks", TRACK, {"bpm": "120"}),
        ("tracks", TRACK, {"clips": ["one.ogg"]}),
        ("catalogue", TRACK, {"description": 5}),
        ("grooves", GROOVE, {"style": None}),
        ("grooves", GROOVE, {"instruments": "accordion"}),
        ("grooves", GROOVE, {"bpm": float("nan")}),
    ],
)
def test_a_line_of_another_form_is_named(
    tmp_path: Path, name: str, row: dict, changes: dict
) -> None:
    (field,) = changes
    read = read_grooves if name == "grooves" else read_incompetech
    for each in ("tracks", "catalogue"):
        (tmp_path / f"{each}.jsonl").write_text(json.dumps(TRACK))
    whole = json.dumps(row).encode()
    without = json.dumps({key: value for key, value in row.items() if key != field}).encode()
    wrong = json.dumps({**row, **changes}).encode()
    for line, said in (
        (wrong, f": {field} must be a"),
        (b"[1]", ", must be an object"),
        (b'{"title', ", is not JSON"),
        (b'"\xff"', ", is not JSON"),
        *([(without, f": {field} must be a")] if field in ("album", "genre", "style") else []),
    ):
        (tmp_path / f"{name}.jsonl").write_bytes(b"\n".join([whole, b"", line]))
        with pytest.raises(ValueError, match=re.escape(f"{name}.jsonl, line 3{said}")):
            read(tmp_path, "train")


def test_what_is_not_known_of_a_track_may_be_left_out(tmp_path: Path) -> None:
    known = {key: TRACK[key] for key in ("title", "album", "genre", "description")}
    for name in ("tracks", "catalogue"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(known))
    (track,) = read_incompetech(tmp_path, "train")
    assert (track.tags, track.audio, track.bpm) == (("disco",), (), 0)


def test_composed_sentences_use_every_tag() -> None:
    pool = [
        "rock",
        "sad",
        "fast tempo",
        "guitar",
        "electric violin",
        "female vocal",
        "80s",
        "noisy",
    ]
    pool += ["no drums", "rainy day", "jazz", "happy", "live performance", "punchy kick"]
    pool += ["string section", "steady beat", "deep bass", "violin melody", "no vocals", "choir"]
    dice = random.Random(0)
    for _ in range(2000):
        tags = dice.sample(pool, dice.randint(1, 7))
        text = " ".join(compose(tags, dice))
        wanted = set().union(*(content_words(tag) for tag in tags))
        assert wanted <= set(all_words(text)), (tags, text)
        assert instrument_words(text) <= {w for tag in tags for w in all_words(tag)}, (tags, text)
        assert text[0].isupper()
        assert text.endswith(".")


def test_the_heaviest_tags_name_the_piece_and_lead_it() -> None:
    dice = random.Random(4)
    weights = {"country": 0.3, "jazz": 0.8, "drums": 0.4, "flute": 0.7, "steady beat": 0.9}
    for _ in range(50):
        tags = dice.sample(sorted(weights), len(weights))
        text = " ".join(compose(tags, dice, weights)).lower()
        assert text.index("jazz") < text.index("country"), text
        assert text.index("drums") < text.index("steady beat"), text
        assert "a flute" in text
        assert not re.search(r"drums (carry the melody|take the lead|stand out)", text), text
        title = compose_title(tags, dice, weights)
        assert ("Jazz" in title) or title == "Flute and Drums", title


def test_titles_have_two_to_eight_words() -> None:
    dice = random.Random(1)
    for tags in (
        [],
        ["rock"],
        ["slow tempo"],
        ["mellow piano melody", "sad", "jazz"],
        ["a b c d e f g"],
    ):
        for _ in range(20):
            title = compose_title(tags, dice)
            assert 2 <= len(title.split()) <= 8, (tags, title)


def test_shares_are_sorted_and_sentences_follow_them() -> None:
    dice = random.Random(2)
    for _ in range(200):
        shares = draw_shares(dice)
        assert len(shares) == 10
        assert list(shares) == sorted(shares, reverse=True)
        # More than ten artists have the same shares as anywhere, of which ten are seen.
        assert sum(shares) == pytest.approx(1.0) or (sum(shares) < 1 and shares[-1] > 0)
        text = artist_sentence(shares, dice) + artist_title("Some Title", shares, dice)
        ranks = [int(rank) for rank in re.findall(r"artist(\d)", text)]
        assert all(shares[rank] > 0 for rank in ranks), (shares, text)
    even, alone = (0.25,) * 4 + (0.0,) * 6, (0.9, 0.1) + (0.0,) * 8
    said = {shares: {artist_sentence(shares, dice) for _ in range(40)} for shares in (even, alone)}
    assert not said[even] & said[alone]


def _pair(source: str = "musiccaps") -> Pair:
    return Pair(
        key="x",
        source=source,
        sentences=(
            "This is a calm folk song.",
            "A trumpet plays with the guitar.",
            "It sounds sad and old.",
        ),
        tags=("folk", "calm", "guitar", "disco ball", "sad"),
    )


def test_most_views_of_a_caption_are_what_evaluation_gives() -> None:
    dice = random.Random(9)
    views = [draw_view(_pair(), dice) for _ in range(300)]
    views = [view for view in views if not view.shares]
    whole = [v for v in views if v.tags == tuple((tag, 1.0) for tag in _pair().tags)]
    assert len(whole) > 0.4 * len(views)
    assert all(view.description == _pair().description for view in whole)
    long = Pair(key="y", source="musiccaps", sentences=("It is a slow and calm song.",) * 12,
                tags=("calm",))  # fmt: skip
    drawn = [draw_view(long, dice) for _ in range(40)]
    lengths = [len(view.description.split()) for view in drawn if not view.shares]
    assert max(lengths) == 56  # whole sentences within 60 words


@given(st.lists(st.integers(1, 40), min_size=1, max_size=9), st.integers(10, 80))
def test_sentences_are_left_out_for_the_most_words_within_the_limit(counts, longest) -> None:
    sentences = [" ".join([f"w{i}"] * count) for i, count in enumerate(counts)]
    kept = fit_length(sentences, longest)
    assert kept[0] == sentences[0]
    assert [s for s in sentences if s in kept] == list(kept)
    rest = counts[1:]
    best = max(
        (
            counts[0] + sum(c for c, used in zip(rest, choice, strict=True) if used)
            for choice in itertools.product((False, True), repeat=len(rest))
            if counts[0] + sum(c for c, u in zip(rest, choice, strict=True) if u) <= longest
        ),
        default=counts[0],
    )
    assert len(" ".join(kept).split()) == best


def test_recombined_captions_keep_to_a_writer_and_to_what_they_mention() -> None:
    texts = {
        "a": ("A calm folk song.", "A guitar plays softly.", "It sounds sad."),
        "b": ("A lively folk song.", "The fiddle plays fast.", "It feels happy."),
        "c": ("A loud song.", "The fiddle plays on.", "It ends."),
    }
    tags = {
        "a": ("folk", "calm", "soft guitar", "sad"),
        "b": ("folk", "lively", "fiddle", "happy"),
        "c": ("loud", "fiddle"),
    }
    pairs = [
        Pair(key=key, source="musiccaps", sentences=text, tags=tags[key],
             group="2" if key == "c" else "1")
        for key, text in texts.items()
    ]  # fmt: skip
    made = recombine(pairs, 30, random.Random(0))
    assert len(made) == 30
    assert made == recombine(pairs, 30, random.Random(0))
    assert not any("loud" in pair.description.lower() for pair in made)  # the other writer
    for pair in made:
        assert set(pair.key.split("+")) == {"a", "b"}
        words = set(all_words(pair.description))
        assert all(share_mentioned(tag, words) >= 0.6 for tag in pair.tags)
        assert not {"sad", "happy"} <= words
    assert recombine(pairs[2:], 5, random.Random(0)) == []


def test_instruments_of_the_text_are_given_or_cut() -> None:
    dice = random.Random(3)
    unsupported = 0
    for _ in range(300):
        view = draw_view(_pair("recombined"), dice)
        given = {word for tag, weight in view.tags if weight > 0.35 for word in all_words(tag)}
        unsupported += bool(view.tags) and not instrument_words(view.description) <= given
    assert unsupported < 0.25 * 300  # weights and tag dropout leave some


def test_low_weights_go_with_tags_that_are_not_mentioned() -> None:
    dice = random.Random(4)
    seen: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(400):
        view = draw_view(_pair("recombined"), dice)
        for tag, weight in view.tags:
            mentioned = bool(content_words(tag) & set(all_words(view.description)))
            seen[mentioned].append(weight)
    assert min(seen[True]) >= 0.4
    assert sum(weight < 0.36 for weight in seen[False]) > 0.6 * len(seen[False])


def test_tags_heard_lead_the_views_of_a_clip() -> None:
    dice = random.Random(5)
    pair = Pair(
        key="x",
        source="incompetech",
        sentences=(),
        tags=("polka", "bouncy", "tuba"),
        audio=("a.ogg",),
        style="polka",
        moods=("bouncy",),
        instruments=("tuba",),
        heard={"a.ogg": [("techno", 0.95), ("flute", 0.2), ("quiet", 0.1)]},
    )
    views = [draw_view(pair, dice) for _ in range(400)]
    heard = [view for view in views if any(tag == "techno" for tag, _ in view.tags)]
    assert len(heard) > 80
    assert all(view.audio == "a.ogg" for view in views)
    assert not any(tag == "quiet" for view in views for tag, _ in view.tags)
    assert sum("techno" in view.description for view in heard) > 0.95 * len(heard)
    flutes = [view for view in heard if any(tag == "flute" for tag, _ in view.tags)]
    assert sum("flute" in view.description for view in flutes) < 0.6 * len(flutes)
    alone = [view for view in views if not view.tags]
    assert alone
    assert not any("techno" in view.description for view in alone)


def test_views_are_the_same_for_the_same_dice() -> None:
    one = [draw_view(_pair(), random.Random(n)) for n in range(20)]
    assert one == [draw_view(_pair(), random.Random(n)) for n in range(20)]
    assert len({view.caption for view in one}) > 3
    view = artists_only_view(random.Random(0))
    assert not view.tags
    assert view.shares


def test_real_descriptions_are_clean() -> None:
    pairs = read_incompetech(shared("data", "incompetech"), "train")
    text = " ".join(pair.description for pair in pairs)
    assert len(pairs) > 700
    assert not re.search(r"http|uncompressed|Sheet Music|download", text)
    held = {p.key for p in read_incompetech(shared("data", "incompetech"), "test")}
    assert len(held) == 17
    assert not held & {pair.key for pair in pairs}
