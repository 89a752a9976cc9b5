"""Content words, instrument words, faithfulness counts, CIDEr, bootstrap, reranking."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest
import torch

from audiogpt import words
from audiogpt.request import Decoding
from audiogpt.reranking import (
    TOGETHER,
    contradicted,
    coverage,
    invented,
    repeated,
    rerank,
    retold,
    together,
    told_again,
    word_weights,
)
from audiogpt.training.behaviour import mentions, reciprocal_rank
from audiogpt.training.cider import CiderD, simple_words
from audiogpt.training.metrics import faithfulness, form, paired_bootstrap


@pytest.mark.parametrize(
    ("word", "folded"),
    [
        ("drums", "drum"),
        ("bass", "bass"),
        ("brass", "brass"),
        ("melodies", "melody"),
        ("jazz", "jazz"),
    ],
)
def test_plurals_fold(word: str, folded: str) -> None:
    assert words.fold(word) == folded


def test_content_words_leave_out_function_and_weak_words() -> None:
    assert words.content_words("The sound of very loud drums in this song") == {"loud", "drum"}


def test_tag_words_used_counts_distinct_words() -> None:
    tags = ["loud guitars", "guitar", "slow tempo"]
    assert words.tag_words_used(tags, "A guitar at a slow pace.") == pytest.approx(2 / 4)
    assert words.tag_words_used(["the music"], "Anything.") is None


def test_instruments_supported_counts_each_instrument_once() -> None:
    assert words.instruments_supported(["Guitars"], "Guitar, guitar and piano.") == (1, 2)
    assert words.instruments_supported([], "No such thing.") == (0, 0)


def test_faithfulness_averages_rows_but_pools_instruments() -> None:
    measured = faithfulness(["guitar and piano", "drums"], [["guitar"], ["violin", "drums"]])
    assert measured["tag words used"] == pytest.approx(75.0)
    assert measured["instruments supported"] == pytest.approx(100 * 2 / 3)
    given = [["soft piano", "no drums", "no voices"], ["loud bass", "calm"]]
    measured = faithfulness(["A soft piano. No voices, drums.", "A voice. A calm bass."], given)
    assert measured["tags told whole"] == pytest.approx(50.0)
    assert measured["denials kept"] == pytest.approx(100.0)
    measured = faithfulness(["A soft voice. Drums.", "A loud bass."], given)
    assert measured["tags told whole"] == pytest.approx(50.0)
    assert measured["denials kept"] == pytest.approx(0.0)


def test_form_finds_repetition_cut_endings_and_known_captions() -> None:
    texts = ["A b c d a b c.", "It ends without a stop and is long enough to count"]
    measured = form(texts, {texts[0]})
    assert measured["repeated trigrams"] == 50.0
    assert measured["whole sentences"] == 50.0
    assert measured["novel"] == 50.0
    assert measured["of 8 to 60 words"] == 50.0
    assert form(["A rock song."], ["a rock song"])["novel"] == 0.0  # whatever its marks


@pytest.mark.parametrize(
    ("tag", "text", "said"),
    [
        ("slow tempo", "The tempo is slow.", True),
        ("slow tempo", "A fast song.", False),
        ("medium tempo", "It has a moderate pace.", True),
        ("male voice", "A female voice sings.", False),
        ("male voice", "A man is the singer.", True),
        ("instrumental", "A man sings, the vocal is loud.", False),
        ("punchy kick drum", "A punchy kick.", True),
    ],
)
def test_mentions_are_of_most_words_of_a_tag(tag: str, text: str, said: bool) -> None:
    assert mentions(tag, text) is said


def test_cider_matches_the_reference_implementation() -> None:
    scorer = pytest.importorskip("pycocoevalcap.cider.cider")
    references = [
        "a slow piano song",
        "loud guitars and drums play rock",
        "a calm slow song of strings",
    ]
    captions = ["a slow song", "guitars and drums", "strings play a calm song of strings"]
    truth = {i: [text] for i, text in enumerate(references)}
    mine = {i: [text] for i, text in enumerate(captions)}
    _, expected = scorer.Cider().compute_score(truth, mine)
    ours = CiderD([text] for text in references)
    got = [ours.score(c, [r]) for c, r in zip(captions, references, strict=True)]
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_paired_bootstrap_sees_a_difference_and_not_noise() -> None:
    generator = np.random.default_rng(0)
    noise = generator.normal(size=400)
    mean, low, high = paired_bootstrap(noise + 0.5, noise + generator.normal(size=400) * 0.1)
    assert low < mean < high
    assert low > 0.4
    _, low, high = paired_bootstrap(noise, generator.permutation(noise))
    assert low < 0 < high
    with pytest.raises(ValueError, match="same items"):
        paired_bootstrap(noise, noise[:3])


def test_reranking_prefers_coverage_and_punishes_invention() -> None:
    tags = [("loud guitar", 1.0), ("piano", 0.5)]
    texts = ["a song with violin", "a loud guitar", "a guitar and a trumpet"]
    assert coverage(texts[1], tags) == pytest.approx(2 / 2.5)
    assert [invented(text, tags) for text in texts] == [1, 0, 1]
    sums, lengths = [-10.0, -12.0, -11.0], [10, 10, 10]
    assert rerank(texts, sums, lengths, tags, Decoding())[0] == [0, 2, 1]
    order, scores = rerank(texts, sums, lengths, tags, Decoding(coverage=5.0))
    assert order == [1, 2, 0]
    whole = TOGETHER * together(texts[1], tags)
    assert whole == TOGETHER
    expected = [-10.0, -12.0 + 5.0 * (2 / 2.5 + whole), -11.0 + 5.0 / 2.5]
    assert scores == pytest.approx(expected)
    per_token = Decoding(coverage=0.5, length_penalty=1.0)
    assert rerank(texts, sums, [10, 20, 10], tags, per_token)[1][1] == pytest.approx(-0.6 + 0.65)
    assert rerank(texts, sums, lengths, tags, Decoding(invention=5.0))[0][0] == 1
    assert repeated("a synth, drums and a synth. A synth, and the same song in a song.") == 1
    two = [("electric guitar", 1.0), ("acoustic guitar", 1.0)]
    assert repeated("a guitar and a guitar", two) == 0
    assert repeated("a guitar, a guitar and a guitar", two) == 1
    twice = ["a loud guitar and a guitar", "a loud guitar"]
    assert rerank(twice, [-1.0, -1.2], [8, 4], tags, Decoding(invention=0.5))[0] == [1, 0]
    silent = [(tag, 0.0) for tag, _ in tags]  # weight 0 is as if absent
    assert rerank(texts, sums, lengths, silent, Decoding(invention=5.0))[0] == [0, 2, 1]


def test_words_of_tags_stand_in_one_order_whatever_the_hashes_of_strings() -> None:
    tags = [("slow warm jazz piano", 0.3), ("old jazz", 0.7)]
    order = {"jazz": 0.7, "piano": 0.3, "slow": 0.3, "warm": 0.3, "old": 0.7}
    assert list(word_weights(tags).items()) == list(order.items())


def test_tags_of_several_words_are_told_whole_or_not() -> None:
    tags = [("soft piano", 1.0), ("loud bass", 0.5), ("calm", 1.0), ("no loud drums", 1.0)]
    assert together("A loud bass and a soft piano.", tags) == 1.0
    assert together("A soft bass. A loud piano.", tags) == 0.0
    assert together("A piano, soft. A calm bass.", tags) == pytest.approx(1 / 1.5)
    assert together("A calm song.", tags[2:]) == 0.0


def test_what_a_tag_rules_out_is_to_be_denied() -> None:
    denied = words.denied_words(["no percussion instruments", "jazz without vocals", "male voice"])
    assert denied == {"percussion", "instrument", "vocal"}
    assert words.denied_words(["no vocals", "soft vocals", "noisy"]) == set()
    assert words.denied_words(["lack of bass", "devoid of drums"]) == {"bass", "drum"}
    assert words.denied_words(["non-stop beat"]) == set()
    tags = [("no percussion", 1.0), ("piano", 1.0)]
    texts = ["Percussion plays with the piano.", "There is no percussion. A piano."]
    assert [coverage(text, tags) for text in texts] == [0.5, 1.0]
    assert [contradicted(text, tags) for text in texts] == [1, 0]
    assert contradicted("No percussion. Then percussion.", tags) == 1
    assert contradicted(texts[0], [("no percussion", 0.0)]) == 0
    order, _ = rerank(texts, [-1.0, -1.2], [8, 8], tags, Decoding(invention=0.5))
    assert order == [1, 0]


def test_a_tag_that_another_sentence_has_told_is_a_fault() -> None:
    slow = [("slow tempo", 1.0), ("piano", 0.5)]
    again = "The tempo is slow. A piano. It is played at a slow tempo. Piano."
    assert told_again(again, slow) == 1
    assert told_again("The tempo is slow. The song is slow.", slow) == 0
    assert told_again("The tempo is slow. A slow tempo.", [("slow tempo", 0.0)]) == 0
    both = [*slow, ("a tempo that is slow and soft", 1.0)]
    assert told_again("A slow tempo. It is slow and soft, a tempo to sleep.", both) == 0
    once = "The tempo is slow. A piano."
    assert rerank([again, once], [-1.0, -1.2], [8, 4], slow, Decoding(invention=0.5))[0] == [1, 0]


def test_a_tag_of_one_word_gives_back_what_it_earned_where_it_is_told_again() -> None:
    tags = [("techno", 0.6), ("slow tempo", 1.0), ("synth", 1.0), ("no voice", 0.4)]
    again = "This techno track has a synth, a techno synth. It is slow techno. A synth. Techno."
    assert retold(again, tags) == pytest.approx(2 * 0.6 / 4)
    assert coverage(again, tags) == pytest.approx((0.6 + 1.0 + 1.0) / 4)
    assert retold(again, [*tags, ("techno beat", 1.0)]) == 0  # two tags say it
    assert retold("No voice. There is no voice.", tags) == 0
    assert retold("Techno. Techno.", [("techno", 0.0)]) == 0


def test_words_are_of_any_script_and_of_english_as_ever() -> None:
    dice = random.Random(0)
    letters = [chr(code) for code in range(128)] + list("aeionrst' -&" * 9)
    for _ in range(2000):
        text = "".join(dice.choices(letters, k=40))
        lower = text.lower()
        before = re.findall(r"[a-z0-9&]+(?:'[a-z]+)?", lower)
        assert words.all_words(text) == [words.fold(word) for word in before]
        assert simple_words(text) == re.findall(r"[a-z0-9&]+(?:['-][a-z0-9]+)*", lower)
    song = "Летняя музыка для сна, тихая"
    assert words.all_words("Été à la_plage") == ["été", "à", "la", "plage"]
    assert words.tag_words_used(["тихая"], song) == 1.0
    assert CiderD([[song], ["тяжёлый рок"]]).score(song, [song]) == pytest.approx(10.0)


def test_a_rank_among_equals_is_that_of_a_random_order() -> None:
    assert reciprocal_rank(torch.tensor([1.0, 3.0, 2.0]), 2) == 1 / 2
    assert reciprocal_rank(torch.zeros(4), 1) == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
    assert reciprocal_rank(torch.tensor([1.0, 0.0, 0.0]), 2) == pytest.approx((1 / 2 + 1 / 3) / 2)
