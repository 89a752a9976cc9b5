"""The model's mathematics: masking, weights, strengths, fusions, caches and the exact parts."""

from __future__ import annotations

import json

import pytest
import torch
from conftest import tiny_config, tiny_model
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from audiogpt.checkpoints import CheckpointError, from_pretrained, save_pretrained
from audiogpt.config import FUSIONS, AudioGPTConfig, BranchConfig
from audiogpt.context import FeatureRows, TextRows
from audiogpt.layers import BlockRecord, Cache
from audiogpt.model import AudioGPT
from audiogpt.trace import shares_of

TOKENS = torch.tensor([[2, 40, 41, 42, 43, 44, 45]])


def audio(rows: int, *, seed: int = 0, weights=None) -> FeatureRows:
    values = torch.randn(1, rows, 256, generator=torch.Generator().manual_seed(seed))
    weights = torch.ones(1, rows) if weights is None else torch.tensor([weights])
    return FeatureRows(values, weights)


def tags(*pairs) -> TextRows:
    return TextRows.from_phrases([list(pairs)])


def logits(model: AudioGPT, rows, **kwargs) -> torch.Tensor:
    return model(TOKENS, model.encode(rows, **kwargs))


def test_a_phrase_has_its_place_among_those_present():
    model = tiny_model()
    there = [([50, 51], 1.0), ([52], 0.5), ([53, 54], 0.8)]
    whole = logits(model, {"tags": tags(*there)})
    swapped = logits(model, {"tags": tags(there[2], there[1], there[0])})
    assert not torch.allclose(whole, swapped, atol=1e-4)  # the order of the phrases tells
    rows = tags(*there)
    shuffled = TextRows(*(part[:, [4, 2, 0, 3, 1]] for part in rows))
    torch.testing.assert_close(logits(model, {"tags": shuffled}), whole)  # rows are a set
    absent = logits(model, {"tags": tags(there[0], ([60, 61], 0.0), *there[1:])})
    torch.testing.assert_close(absent, whole)  # weight 0 takes no place
    text = BranchConfig.text("tags", 16, ordered=False)
    unordered = tiny_model(tiny_config(branches=(text,)))
    torch.testing.assert_close(
        logits(unordered, {"tags": tags(*there)}), logits(unordered, {"tags": tags(*there[::-1])})
    )


CONFIGS = [
    {"fusion": fusion, "srau": srau, "null_rows": null, "tau": tau, "encoder_layer": layers}
    for fusion in FUSIONS
    for srau, null, tau, layers in (
        (True, True, 0.0, 0),
        (True, False, 0.2, 1),
        (False, True, 0, 0),
    )
]


@pytest.mark.parametrize("changes", CONFIGS, ids=str)
def test_parts_sum_to_what_the_layer_passes_on(changes):
    model = tiny_model(tiny_config(**changes))
    records: list[BlockRecord] = []
    context = model.encode({"audio": audio(3), "tags": tags(([50, 51], 1.0), ([52], 0.5))})
    model(TOKENS, context, records=records)
    for record in records:
        torch.testing.assert_close(record.parts.sum(0), record.mixed, rtol=0, atol=1e-5)
        torch.testing.assert_close(shares_of(record).sum(-1), torch.ones(1, 7))
        assert torch.all(record.parts[3] == 0)  # no artists were given


@pytest.mark.parametrize("changes", CONFIGS, ids=str)
def test_cached_steps_equal_one_pass(changes):
    model = tiny_model(tiny_config(**changes))
    context = model.encode({"audio": audio(3), "tags": tags(([50, 51], 1.0))})
    whole = model(TOKENS, context)
    cache = Cache(model.config, 1, 7, "cpu")
    steps = [model(TOKENS[:, t : t + 1], context, cache=cache) for t in range(7)]
    torch.testing.assert_close(torch.cat(steps, 1), whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("changes", CONFIGS, ids=str)
def test_weight_zero_equals_absent(changes):
    model = tiny_model(tiny_config(**changes))
    full = audio(4, weights=[1.0, 0.0, 0.7, 0.0])
    kept = FeatureRows(full.values[:, [0, 2]], full.weights[:, [0, 2]])
    with_zero = {"audio": full, "tags": tags(([50, 51], 1.0), ([60, 61], 0.0))}
    without = {"audio": kept, "tags": tags(([50, 51], 1.0))}
    torch.testing.assert_close(logits(model, with_zero), logits(model, without), rtol=0, atol=2e-5)


@pytest.mark.parametrize("changes", CONFIGS, ids=str)
def test_an_empty_branch_and_strength_zero_add_exactly_nothing(changes):
    model = tiny_model(tiny_config(**changes))
    rows = {"audio": audio(3), "tags": tags(([50, 51], 1.0))}
    empty = {**rows, "artists": FeatureRows(torch.randn(1, 1, 10), torch.zeros(1, 1))}
    torch.testing.assert_close(logits(model, empty), logits(model, rows), rtol=0, atol=1e-5)
    if changes["fusion"] != "meshed":  # there the gate still reads an unscaled c
        muted = logits(model, rows, strengths=torch.tensor([[0.0, 1.0, 1.0]]))
        alone = logits(model, {"tags": rows["tags"]})
        torch.testing.assert_close(muted, alone, rtol=0, atol=1e-5)


def test_a_branch_without_rows_has_no_published_padding_either():
    branches = (BranchConfig(name="audio", width=256), BranchConfig(name="artists", width=10))
    config = tiny_config(branches=branches, null_rows=False, published_padding=True)
    model = tiny_model(config)
    alone = logits(model, {"audio": audio(3)})
    artists = torch.randn(1, 2, 10, generator=torch.Generator().manual_seed(1))
    absent = {"audio": audio(3), "artists": FeatureRows(artists, torch.zeros(1, 2))}
    torch.testing.assert_close(logits(model, absent), alone, rtol=0, atol=1e-5)
    both = {  # the second item has artists, the first has none
        "audio": FeatureRows(audio(3).values.expand(2, -1, -1), torch.ones(2, 3)),
        "artists": FeatureRows(artists.expand(2, -1, -1), torch.tensor([[0.0, 0.0], [1.0, 1.0]])),
    }
    batch = model(TOKENS.expand(2, -1), model.encode(both))
    torch.testing.assert_close(batch[:1], alone, rtol=0, atol=1e-5)
    assert not torch.allclose(batch[1:], alone, atol=1e-3)


@pytest.mark.parametrize("changes", CONFIGS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_every_precision_computes_the_same(changes, dtype):
    rows = {"audio": audio(3, weights=[1.0, 0.3, 0.0]), "tags": tags(([50, 51], 1.0))}
    strengths = torch.tensor([[0.5, 1.0, 1.0]])
    expected = logits(tiny_model(tiny_config(**changes)), rows, strengths=strengths)
    model = tiny_model(tiny_config(**changes)).to(dtype)
    values = rows["audio"].values.to(dtype)
    context = model.encode(
        {**rows, "audio": rows["audio"]._replace(values=values)}, strengths=strengths
    )
    whole = model(TOKENS, context)
    assert whole.dtype == dtype
    near = {torch.float64: 1e-4, torch.float16: 0.02, torch.bfloat16: 0.2}[dtype]
    if changes["tau"] and dtype != torch.float64:
        near = 2.0  # the gate is a step there: rounding puts values on its other side
    assert (whole.float() - expected).abs().mean() < near
    cache = Cache(model.config, 1, 7, "cpu", dtype=dtype)
    steps = [model(TOKENS[:, t : t + 1], context, cache=cache) for t in range(7)]
    assert (torch.cat(steps, 1) - whole).abs().mean() < near


def test_weights_fade_without_a_jump_to_nothing():
    """With null rows a branch of one row goes to 0 as its weight does (DESIGN section 2)."""
    model = tiny_model()
    artists = torch.randn(1, 1, 10, generator=torch.Generator().manual_seed(1))
    absent = logits(model, {})

    def distance(weight: float) -> float:
        rows = {"artists": FeatureRows(artists, torch.tensor([[weight]]))}
        return float((logits(model, rows) - absent).abs().max())

    distances = [distance(weight) for weight in (1.0, 0.1, 1e-3, 1e-6)]
    assert distances[0] > 1e-2 and distances == sorted(distances, reverse=True)
    assert distances[-1] < 1e-4


@settings(max_examples=30, deadline=None)
@given(
    order=st.permutations(range(5)),
    weights=st.lists(st.floats(0.01, 1), min_size=5, max_size=5),
    padding=st.integers(0, 3),
)
def test_rows_are_a_set_and_padding_is_invisible(order, weights, padding):
    model = tiny_model()
    given_rows = audio(5, weights=weights)
    order = torch.tensor(order)
    shuffled = FeatureRows(
        torch.nn.functional.pad(given_rows.values[:, order], (0, 0, 0, padding), value=9.0),
        torch.nn.functional.pad(given_rows.weights[:, order], (0, padding)),
    )
    torch.testing.assert_close(
        logits(model, {"audio": shuffled}), logits(model, {"audio": given_rows}), rtol=0, atol=1e-4
    )


def test_the_future_is_invisible():
    model = tiny_model(tiny_config(dropout=0.0)).requires_grad_(True)
    embedded: list[torch.Tensor] = []
    hook = model.transformer.wte.register_forward_hook(
        lambda _module, _inputs, output: (output.retain_grad(), embedded.append(output))[-1]
    )
    out = model(TOKENS, model.encode({}))
    hook.remove()
    out[0, 3].sum().backward()
    gradient = embedded[0].grad
    assert gradient is not None
    reached = gradient[0].abs().sum(-1) > 0
    assert reached.tolist() == [True] * 4 + [False] * 3


def test_one_wide_branch_is_an_image_captioner():
    config = tiny_config(
        branches=(BranchConfig(name="image", width=2048),), fusion="meshed", encoder_layer=3
    )
    model = tiny_model(config)
    rows = FeatureRows(torch.randn(2, 5, 2048), torch.ones(2, 5))
    assert model(TOKENS.expand(2, -1), model.encode({"image": rows})).shape == (2, 7, 320)


def test_saved_and_loaded_models_are_equal(tmp_path):
    model = tiny_model()
    loaded = from_pretrained(save_pretrained(model, tmp_path / "model"))
    assert loaded.config == model.config
    torch.testing.assert_close(
        logits(loaded, {"audio": audio(2)}), logits(model, {"audio": audio(2)})
    )


def test_a_checkpoint_that_does_not_fit_names_what_is_wrong(tmp_path):
    save_pretrained(tiny_model(), tmp_path)
    AudioGPTConfig.from_dict(tiny_config(n_layer=3).to_dict())  # valid, but for other weights
    other = tmp_path / "other"
    save_pretrained(tiny_model(tiny_config(n_layer=3)), other)
    (other / "model.safetensors").write_bytes((tmp_path / "model.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match=r"missing transformer\.h\.2\."):
        from_pretrained(other)
    (other / "model.safetensors").write_bytes(b"not tensors")
    with pytest.raises(CheckpointError, match="cannot be read"):
        from_pretrained(other)
    (other / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid")
    with pytest.raises(CheckpointError, match="git lfs pull"):  # a clone without Git LFS
        from_pretrained(other)
    (other / "config.json").write_text('{"surprise": 1}')
    with pytest.raises(CheckpointError, match="surprise"):
        from_pretrained(other)
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        from_pretrained("/nowhere/at/all")


def test_weights_that_are_no_numbers_are_refused(tmp_path):
    model = tiny_model()
    model.transformer.h[1].mlp.c_fc.bias.data[3] = float("nan")
    with pytest.raises(CheckpointError, match=r"h\.1\.mlp\.c_fc\.bias holds numbers"):
        from_pretrained(save_pretrained(model, tmp_path))


@pytest.mark.parametrize("dtype", [torch.int8, torch.bool, torch.complex64], ids=str)
def test_weights_of_another_kind_are_refused(dtype, tmp_path):
    save_pretrained(tiny_model(), tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    state["transformer.ln_f.bias"] = state["transformer.ln_f.bias"].to(dtype)
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"ln_f\.bias holds .*, expected floating-point"):
        from_pretrained(tmp_path)


def test_a_save_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    model = tiny_model()
    save_pretrained(model, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def fail(*_args, **_options):
        raise OSError("the disk is full")

    monkeypatch.setattr("pathlib.Path.write_text", fail)
    with pytest.raises(OSError, match="disk is full"):
        save_pretrained(tiny_model(tiny_config(n_layer=1)), tmp_path)
    monkeypatch.undo()
    assert {name: (tmp_path / name).read_bytes() for name in before} == before


@pytest.mark.parametrize(
    "change",
    [
        {"n_layer": "4"},
        {"n_layer": 0},
        {"n_layer": 10**6},
        {"n_embd": 16.0},
        {"n_head": True},
        {"vocab_size": None},
        {"eos_token_id": 0.5},
        {"layer_norm_eps": "small"},
        {"dropout": 1.0},
        {"tau": [0]},
        {"tau": 10**400},
        {"null_rows": "false"},
        {"encoder_layer": -1},
        {"formatting": "rhymes"},
        {"decoding": [4]},
        {"controls": 3},
        {"branches": [{"name": "keys", "width": 3}]},
        {"branches": [{"name": "audio", "width": 2.5}]},
        {"branches": [{"name": 7, "width": 2}]},
        {"branches": 5},
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused_in_one_sentence(change, tmp_path):
    data = tiny_config().to_dict() | change
    (tmp_path / "config.json").write_text(json.dumps(data))
    with pytest.raises(CheckpointError) as error:
        from_pretrained(tmp_path)
    assert str(error.value).endswith(".") and "\n" not in str(error.value)
    (tmp_path / "config.json").write_text("[" * 100_000)
    with pytest.raises(CheckpointError, match="not valid JSON"):
        from_pretrained(tmp_path)


def test_fresh_weights_do_not_depend_on_the_names_of_branches():
    names = ("srau", "ln_1", "layer_norm")
    branches = [BranchConfig(name=name, width=8) for name in names]
    model = AudioGPT(tiny_config(branches=branches))
    for name in names:
        branch = model.branches[name]
        assert float(branch.fc.weight.std()) > 0
        assert not branch.fc.bias.any()
    assert bool((model.transformer.h[0].srau.bias == 1).all())


def test_wrong_inputs_are_refused():
    model = tiny_model()
    with pytest.raises(ValueError, match="no branch called video"):
        model.encode({"video": audio(1)})
    with pytest.raises(ValueError, match="width 10"):
        model.encode({"artists": audio(1)})
    with pytest.raises(ValueError, match="at most 64 tokens"):
        model(torch.zeros(1, 65, dtype=torch.long), model.encode({}))
