"""A pretrained language model as a teacher: vocabulary, fine-tuning, predictions as targets."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from conftest import SPECIAL, byte_level_bpe, tiny_config, tiny_model
from tokenizers import Tokenizer, models
from training_data import open_options, write_musiccaps
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from audiogpt.cli import main
from audiogpt.tokenizer import CaptionTokenizer
from audiogpt.training.dataset import ScheduledViews
from audiogpt.training.expectations import EXPECTED_FILE, Expectations, expect, fingerprint
from audiogpt.training.language_model import (
    LanguageTeacher,
    exchange_vocabulary,
    load_language_model,
    prompt_ids,
    text_ids,
)
from audiogpt.training.language_run import LanguageItems, collate, train_language_teacher
from audiogpt.training.losses import CaptioningLoss
from audiogpt.training.musiccaps import read_musiccaps
from audiogpt.training.open_data import train_open_data
from audiogpt.training.options import LanguageTeacherOptions
from audiogpt.training.sources import read_sources
from audiogpt.training.trainer import CaptionTrainer
from audiogpt.training.views import View

VIEW = View(
    title="Mellow Piano",
    description="A mellow piano plays slowly.",
    tags=(("mellow", 1.0), ("loud drums", 0.2), ("piano", 0.6)),
)


@pytest.fixture(scope="module")
def language_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama with a vocabulary of its own, in Hugging Face's format."""
    folder = tmp_path_factory.mktemp("language")
    text = "the guitar plays a mellow jazz song with a piano and much else in English"
    tokenizer = byte_level_bpe(text, size=400, special=["<|end|>"])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|end|>", bos_token="<|end|>"
    ).save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        initializer_range=0.15,
        eos_token_id=0,
        bos_token_id=0,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def caps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_musiccaps(tmp_path_factory.mktemp("caps") / "caps.csv")


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory, caps: Path) -> Path:
    """A folder with the vocabulary of a small captioner."""
    folder = tmp_path_factory.mktemp("start")
    return train_open_data(open_options(folder, caps, tags_only=True, steps=2, evaluate_every=2))


@pytest.fixture(scope="module")
def teacher(
    tmp_path_factory: pytest.TempPathFactory, language_model: Path, caps: Path, vocabulary: Path
) -> Path:
    options = LanguageTeacherOptions(
        language_model=str(language_model),
        musiccaps=caps,
        output=tmp_path_factory.mktemp("teacher"),
        vocabulary_of=vocabulary,
        lr=0.02,
        epochs=4,
        batch_size=4,
        warmup=2,
    )
    return train_language_teacher(options)


def test_tokens_of_the_same_text_keep_their_vector_and_others_get_the_mean_of_their_pieces(
    language_model: Path, vocabulary: Path
) -> None:
    model, theirs = load_language_model(language_model)
    before = model.get_input_embeddings().weight.detach().clone()
    ours = CaptionTokenizer.from_folder(vocabulary)
    same = exchange_vocabulary(model, theirs, ours)
    after = model.get_input_embeddings().weight
    assert model.get_output_embeddings().weight is after and len(after) == ours.vocab_size
    assert 50 < same < ours.vocab_size
    pieces = {
        text: theirs(text, add_special_tokens=False).input_ids for text in (" guitar", " violin")
    }
    assert len(pieces[" guitar"]) == 1 < len(pieces[" violin"])
    for text, ids in pieces.items():
        (token,) = ours.encode(text)
        torch.testing.assert_close(after[token], before[ids].mean(0))
    for token in ours.special_ids:
        assert torch.equal(after[token], before[0])


def test_the_prompt_has_the_tags_that_count_and_the_words_and_the_text_is_that_of_the_caption(
    vocabulary: Path,
) -> None:
    tokenizer = CaptionTokenizer.from_folder(vocabulary)
    start, *rest = prompt_ids(tokenizer, VIEW)
    assert start == tokenizer.bos_id
    assert tokenizer.tokenizer.decode(rest) == " mellow, piano\n 5\n"
    whole = [*tokenizer.encode(VIEW.caption), tokenizer.eos_id]
    text = text_ids(tokenizer, VIEW)
    assert whole[-len(text) :] == text
    prompt = [5, 6, 7]
    batch = collate([(prompt, [8, 9]), ([5], [8])], padding=1, tags_weight=0.3)
    assert batch["input_ids"].tolist() == [[5, 6, 7, 8, 9], [5, 8, 1, 1, 1]]
    torch.testing.assert_close(
        batch["weights"], torch.tensor([[0, 0.3, 0.3, 1, 1], [0, 1, 0, 0, 0]])
    )


def write_gguf(folder: Path, path: Path) -> None:
    """The tiny Llama as llama.cpp's converter writes one: eight bits, rotary halves interleaved."""
    gguf = pytest.importorskip("gguf", reason="gguf is not installed: see requirements-dev.txt")
    model, tokenizer = load_language_model(folder)
    config = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    parts = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(sorted(parts["vocab"], key=parts["vocab"].get))
    writer.add_token_types([3] + [1] * (len(parts["vocab"]) - 1))
    writer.add_token_merges([" ".join(pair) for pair in parts["merges"]])
    for add in (writer.add_bos_token_id, writer.add_eos_token_id, writer.add_unk_token_id):
        add(0)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight":
            continue
        data = tensor.numpy()
        if "q_proj" in name or "k_proj" in name:
            heads = config.num_attention_heads if "q_proj" in name else config.num_key_value_heads
            data = data.reshape(heads, 2, -1, data.shape[-1]).swapaxes(1, 2).reshape(data.shape)
        kind = gguf.GGMLQuantizationType.Q8_0 if data.ndim == 2 else gguf.GGMLQuantizationType.F32
        packed = gguf.quants.quantize(data, kind)
        new = names.get_name(name, try_suffixes=(".weight",))
        writer.add_tensor(new, packed, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_a_gguf_file_gives_the_same_model_to_train_and_save(
    language_model: Path, tmp_path: Path
) -> None:
    write_gguf(language_model, tmp_path / "tiny.gguf")
    model, tokenizer = load_language_model(tmp_path / "tiny.gguf")
    plain, theirs = load_language_model(language_model)
    text = "the guitar plays a Zither"
    ids = tokenizer(text, return_tensors="pt").input_ids
    assert ids.tolist() == theirs(text, return_tensors="pt").input_ids.tolist()
    with torch.inference_mode():
        ours, expected = (m(input_ids=ids).logits for m in (model, plain))
    torch.testing.assert_close(ours, expected, atol=0.2 * float(expected.std()), rtol=0.0)
    model.save_pretrained(tmp_path / "saved")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "saved")
    with torch.inference_mode():
        torch.testing.assert_close(again(input_ids=ids).logits, ours)


def test_every_row_comes_once_an_epoch_and_never_a_test_row(caps: Path, vocabulary: Path) -> None:
    tokenizer = CaptionTokenizer.from_folder(vocabulary)
    rows = read_musiccaps(caps, "train")
    items = LanguageItems(rows, tokenizer, epochs=2, batch_size=4, seed=0)
    again = LanguageItems(rows, tokenizer, epochs=2, batch_size=4, seed=0)
    assert items.items == again.items and len(items) == 2 * len(rows)
    whole = sorted(text_ids(tokenizer, View(title="", description=r.description)) for r in rows)
    full = len(rows) // 4 * 4  # the batches that lack items come after all epochs
    first = (*items.items[:full], *items.items[2 * full :][: len(rows) - full])
    assert sorted(text for _, text in first) == whole
    texts = " ".join(tokenizer.tokenizer.decode([*p, *t]) for p, t in items.items)
    assert "Zyzzyva" not in texts and "zumba" not in texts


def test_a_fine_tuned_teacher_knows_the_captions(
    teacher: Path, caps: Path, language_model: Path
) -> None:
    loaded = LanguageTeacher.load(teacher)
    log = json.loads((teacher / "log.json").read_text())
    losses = [entry["eval_loss"] for entry in log if "eval_loss" in entry]
    assert len(losses) == 4 and losses[-1] < 0.95 * losses[0]
    (row,) = read_musiccaps(caps, "train")[:1]
    view = View(title="", description=row.description, tags=tuple((t, 1.0) for t in row.tags))
    short = View(title="", description="A song.")
    found, _ = loaded.expect([view, short], count=5)
    (alone,) = loaded.expect([view], count=5)
    assert found.tokens.shape == (len(text_ids(loaded.tokenizer, view)), 5)
    torch.testing.assert_close(found.probabilities, alone.probabilities, atol=0.02, rtol=0.02)
    assert loaded.tokenizer.tokenizer.decode(found.tokens[0, :1].tolist()) == " This"
    assert found.probabilities[0, 0] > 0.2
    with pytest.raises(ValueError, match="train-language-teacher makes"):
        LanguageTeacher.load(language_model.parent)
    with pytest.raises(ValueError, match="vocabulary of the student"):
        LanguageTeacher(loaded.model, CaptionTokenizer(_plain_tokenizer()))


def _plain_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.add_special_tokens(SPECIAL)
    return tokenizer


def test_a_schedule_that_begins_anew_repeats_its_examples_with_what_is_expected(
    teacher: Path, caps: Path, vocabulary: Path, tmp_path: Path
) -> None:
    tokenizer = CaptionTokenizer.from_folder(vocabulary)
    sources = read_sources(musiccaps=caps, tags_only=True)
    schedule = ScheduledViews(
        sources, tokenizer, {}, length=100, batch_size=2, seed=1, distinct_batches=16
    )
    assert [schedule[i] for i in range(32)] == [schedule[i] for i in range(32, 64)]
    loaded = LanguageTeacher.load(teacher)
    expect(schedule.written_view, 32, loaded).save(tmp_path / "kept.safetensors")
    expectations = Expectations.load(tmp_path / "kept.safetensors")
    assert len(expectations.places) == 33
    asked = [item for item in range(32) if expectations.of(item) is not None]
    assert asked == [i for i in range(32) if schedule.written_view(i)] and 0 < len(asked) < 32
    again = ScheduledViews(
        sources, tokenizer, {}, length=100, batch_size=2, seed=1, distinct_batches=16
    )
    again.expectations = expectations
    for before, after in zip(
        (schedule[i] for i in range(32)), (again[i] for i in range(32)), strict=True
    ):
        assert dataclasses.replace(after, expected=None, expected_at=0) == before
        if after.expected is not None:
            text = tokenizer.tokenizer.decode(after.tokens[after.expected_at :])
            assert text.strip().startswith("T") or text[1:2].isupper()
            assert len(after.expected.tokens) == len(after.tokens) - after.expected_at


def test_targets_are_the_language_teachers_where_it_was_asked() -> None:
    model = tiny_model(tiny_config(dropout=0.0)).train()
    tokens, labels = (
        torch.tensor([[2, 40, 41], [2, 43, 44]]),
        torch.tensor([[40, 41, 0], [43, 0, -100]]),
    )
    rows: dict = {}
    probabilities = torch.zeros(2, 3, 2)
    probabilities[0, 1:] = torch.tensor([0.6, 0.2])
    expected = {"tokens": torch.full((2, 3, 2), 41), "probabilities": probabilities}
    expected["tokens"][..., 1] = 7

    def loss(distillation: float, given: dict | None = expected) -> torch.Tensor:
        module = CaptioningLoss(model, distillation=distillation).train()
        return module(tokens, labels, rows, expected=given)["loss"]

    plain = loss(1.0, None)
    torch.testing.assert_close(loss(0.0), plain)
    log_p = model(tokens, model.encode({})).log_softmax(-1)
    taught = -(0.75 * log_p[0, 1:, 41] + 0.25 * log_p[0, 1:, 7]).sum()
    own = -(log_p[0, 0, 40] + log_p[1, 0, 43] + log_p[1, 1, 0])
    torch.testing.assert_close(loss(1.0), (taught + own) / 5)
    torch.testing.assert_close(loss(0.25), 0.75 * plain + 0.25 * (taught + own) / 5)
    evaluated = CaptioningLoss(model).eval()(tokens, labels, rows, expected=expected)["loss"]
    torch.testing.assert_close(evaluated, plain)


def test_a_captioner_learns_from_it_and_a_resumed_run_asks_it_no_more(
    teacher: Path, caps: Path, vocabulary: Path, tmp_path: Path
) -> None:
    asked = {"tags_only": True, "vocabulary_of": vocabulary, "language_teacher": teacher}
    options = open_options(tmp_path / "run", caps, distinct_batches=16, **asked)
    train_open_data(options)
    kept = tmp_path / "run" / EXPECTED_FILE
    before = kept.stat().st_mtime_ns
    train_open_data(dataclasses.replace(options, resume=True))
    assert kept.stat().st_mtime_ns == before
    for wrong in ({"distinct_batches": 0}, {"distinct_batches": 8}, {"teachers": (teacher,)}):
        with pytest.raises(ValueError, match="distinct_batches"):
            open_options(tmp_path, caps, **{"distinct_batches": 16, **asked, **wrong})


def test_what_another_run_was_told_is_not_taken_for_this_runs(
    teacher: Path, caps: Path, vocabulary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off after the teacher was asked and before a checkpoint: the folder is free to take."""
    settings = {
        "tags_only": True, "vocabulary_of": vocabulary, "language_teacher": teacher,
        "distinct_batches": 16,
    }  # fmt: skip

    def cut_off(*_, **__) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(CaptionTrainer, "train", cut_off)
    told = []
    for folder, changes in (
        ("run", {"seed": 1}),
        ("run", {"seed": 2, "batch_size": 3}),
        ("fresh", {"seed": 2, "batch_size": 3}),
    ):
        with pytest.raises(KeyboardInterrupt):
            train_open_data(open_options(tmp_path / folder, caps, **changes, **settings))
        told.append(Expectations.load(tmp_path / folder / EXPECTED_FILE))
    other, ours, fresh = told
    assert torch.equal(ours.places, fresh.places) and torch.equal(ours.tokens, fresh.tokens)
    assert not torch.equal(ours.places, other.places)


def test_the_same_views_told_by_another_teacher_are_something_else() -> None:
    views = {0: VIEW, 2: View(title="", description="A song.")}
    asked = fingerprint(views.get, 3, "teacher")
    assert fingerprint(dict(views).get, 3, "teacher") == asked
    other = {**views, 2: dataclasses.replace(VIEW, tags=())}
    for changed in (
        fingerprint(views.get, 3, "another"), fingerprint(views.get, 2, "teacher"),
        fingerprint({0: views[0], 1: views[2]}.get, 3, "teacher"),
        fingerprint(other.get, 3, "teacher"),
    ):  # fmt: skip
        assert changed != asked


def test_what_is_no_language_model_is_refused_in_a_sentence(
    tmp_path: Path, caps: Path, vocabulary: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF no more")
    for source in (tmp_path / "nowhere", tmp_path / "broken.gguf"):
        command = ["train-language-teacher", "--language_model", str(source)]
        command += ["--musiccaps", str(caps), "--output", str(tmp_path / "out")]
        assert main([*command, "--vocabulary_of", str(vocabulary)]) != 0
        said = capsys.readouterr().err
        assert "is no language model that can be read" in said and "Traceback" not in said
