"""Models started from GPT-2: the same logits and tokens as Hugging Face's GPT2LMHeadModel."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel

from audiogpt.checkpoints import resolve
from audiogpt.cli import main
from audiogpt.config import PLAYNTELL_BRANCHES, BranchConfig
from audiogpt.context import FeatureRows
from audiogpt.gpt2 import from_gpt2
from audiogpt.layers import Cache
from audiogpt.pipeline import Captioner
from audiogpt.playntell.convert import find_gpt2_tokenizer
from audiogpt.request import CaptionRequest, Decoding, Tag

SHAPES = [(2, 32, 2), (3, 48, 4)]  # layers, width, heads


def make_gpt2(
    folder: Path, *, layers: int, width: int, heads: int, vocab_size: int = 211
) -> GPT2LMHeadModel:
    torch.manual_seed(layers)
    config = GPT2Config(
        n_layer=layers, n_embd=width, n_head=heads, n_positions=80, vocab_size=vocab_size
    )
    config.bos_token_id = config.eos_token_id = vocab_size - 1
    gpt2 = GPT2LMHeadModel(config).eval()
    with torch.no_grad():  # large enough that greedy decoding does not repeat one token
        for parameter in gpt2.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    gpt2.save_pretrained(folder)
    return gpt2


@pytest.fixture(params=SHAPES, ids=lambda shape: "x".join(map(str, shape)))
def gpt2(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[GPT2LMHeadModel, Path]:
    layers, width, heads = request.param
    return make_gpt2(tmp_path, layers=layers, width=width, heads=heads), tmp_path


@pytest.mark.parametrize("branches", [(), PLAYNTELL_BRANCHES], ids=["no branches", "empty ones"])
@pytest.mark.parametrize("fusion", ["sum", "gated"])
@torch.inference_mode()
def test_logits_equal(gpt2, branches: tuple[BranchConfig, ...], fusion: str) -> None:
    theirs, folder = gpt2
    model = from_gpt2(folder, branches=branches, fusion=fusion, srau=False)
    tokens = torch.randint(0, 211, (3, 40), generator=torch.Generator().manual_seed(1))
    # Half of the items have no rows because the branch is left out, the others by weight 0.
    absent = FeatureRows(torch.randn(3, 2, 256), torch.zeros(3, 2))
    for rows in ({}, {"audio": absent} if branches else {}):
        context = model.encode(rows, strengths=torch.ones(3, len(branches)))
        torch.testing.assert_close(
            model(tokens, context), theirs(tokens).logits, atol=1e-5, rtol=1e-5
        )


@torch.inference_mode()
def test_greedy_tokens_equal_over_fifty_steps_with_caches(gpt2) -> None:
    theirs, folder = gpt2
    model = from_gpt2(folder, branches=PLAYNTELL_BRANCHES, srau=False)
    prompt = torch.tensor([[5, 17, 101]])
    context, cache = model.encode({}), Cache(model.config, 1, 80, "cpu")
    tokens, ours = prompt, []
    for _ in range(50):
        tokens = model(tokens, context, cache=cache, last_only=True)[:, -1].argmax(-1)[:, None]
        ours.append(int(tokens))
    expected = theirs.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=50,
        min_new_tokens=50,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
        use_cache=True,
    )
    assert ours == expected[0, 3:].tolist()
    assert len(set(ours)) > 5


@torch.inference_mode()
def test_rows_change_the_logits(gpt2) -> None:
    _, folder = gpt2
    model = from_gpt2(folder, branches=PLAYNTELL_BRANCHES, srau=False)
    tokens = torch.tensor([[1, 2, 3]])
    rows = {"audio": FeatureRows(torch.randn(1, 4, 256), torch.ones(1, 4))}
    difference = model(tokens, model.encode(rows)) - model(tokens, model.encode({}))
    assert difference.abs().max() > 1e-3


def test_fresh_weights_depend_only_on_the_seed(gpt2) -> None:
    _, folder = gpt2
    first, again, other = (
        from_gpt2(folder, branches=PLAYNTELL_BRANCHES, seed=seed).state_dict() for seed in (1, 1, 2)
    )
    key = "transformer.h.0.cross_attn.q_proj.weight"
    assert torch.equal(first[key], again[key]) and not torch.equal(first[key], other[key])
    assert torch.equal(first["transformer.wte.weight"], other["transformer.wte.weight"])


def test_older_files_load(gpt2) -> None:
    """The published gpt2 has no prefix, and masks among its weights; others are pickled."""
    theirs, folder = gpt2
    state = {key.removeprefix("transformer."): v for key, v in theirs.state_dict().items()}
    del state["lm_head.weight"]
    state["h.0.attn.bias"] = torch.ones(1, 1, 80, 80).tril().bool()
    (folder / "model.safetensors").unlink()
    torch.save(state, folder / "pytorch_model.bin")
    model = from_gpt2(folder)
    assert torch.equal(model.transformer.wte.weight, theirs.transformer.wte.weight)


def edit(folder: Path, change) -> None:
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors")


def test_every_key_and_shape_is_checked(gpt2) -> None:
    _, folder = gpt2
    edit(folder, lambda state: state.pop("transformer.h.1.mlp.c_fc.weight"))
    with pytest.raises(ValueError, match=r"missing h\.1\.mlp\.c_fc\.weight"):
        from_gpt2(folder)
    edit(folder, lambda s: s.update({"transformer.h.1.mlp.c_fc.weight": torch.zeros(3, 5)}))
    with pytest.raises(ValueError, match=r"c_fc\.weight has shape \(3, 5\), expected"):
        from_gpt2(folder)
    edit(folder, lambda s: s.update({"transformer.h.7.ln_1.weight": torch.zeros(3)}))
    with pytest.raises(ValueError, match=r"unknown h\.7\.ln_1\.weight"):
        from_gpt2(folder)


def test_another_network_is_refused(gpt2) -> None:
    _, folder = gpt2
    path = folder / "config.json"
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, "activation_function": "relu"}))
    with pytest.raises(ValueError, match="activation_function = 'relu'"):
        from_gpt2(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"eos_token_id": [5]},
        {"n_positions": None},
        {"layer_norm_epsilon": "small"},
        {"n_embd": 1e400},
        {"n_layer": None},
    ],
    ids=str,
)
def test_a_configuration_that_makes_no_sense_is_refused(tmp_path: Path, change) -> None:
    make_gpt2(tmp_path, layers=1, width=8, heads=2)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ValueError, match="is not GPT-2's configuration"):
        from_gpt2(tmp_path)


def test_no_memory_is_taken_for_what_the_weights_do_not_have(tmp_path: Path) -> None:
    make_gpt2(tmp_path, layers=1, width=8, heads=2)
    path = tmp_path / "config.json"
    huge = {"n_embd": 90_000, "n_head": 1000, "n_layer": 100, "n_inner": None}
    path.write_text(json.dumps({**json.loads(path.read_text()), **huge}))
    with pytest.raises(ValueError, match=r"wte\.weight has shape|missing"):
        from_gpt2(tmp_path)


def test_weights_that_are_no_floating_point_numbers_are_refused(gpt2) -> None:
    _, folder = gpt2
    key = "transformer.ln_f.bias"
    edit(folder, lambda s: s.update({key: s[key].to(torch.int8)}))
    with pytest.raises(ValueError, match=r"ln_f\.bias holds torch\.int8"):
        from_gpt2(folder)
    (folder / "model.safetensors").unlink()
    torch.save([1, 2], folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match="not a state_dict of tensors"):
        from_gpt2(folder)


def test_an_untied_head_is_refused(gpt2) -> None:
    theirs, folder = gpt2
    edit(folder, lambda s: s.update({"lm_head.weight": theirs.lm_head.weight.detach() + 1}))
    with pytest.raises(ValueError, match="not tied"):
        from_gpt2(folder)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no config\.json"):
        from_gpt2(tmp_path)
    make_gpt2(tmp_path, layers=1, width=8, heads=2)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"no model\.safetensors or pytorch_model\.bin"):
        from_gpt2(tmp_path)
    with pytest.raises(ValueError, match="There is no GPT-2 at"):
        from_gpt2(tmp_path / "elsewhere")


@pytest.mark.parametrize(
    "error", [httpx.ProxyError("407 Proxy Authentication Required"), httpx.ReadError("reset")]
)
@pytest.mark.parametrize(
    ("fetch", "message"),
    [
        (lambda _: from_gpt2("gpt2"), "could not be fetched from Hugging Face: download"),
        (lambda _: resolve("someone/else"), r"from the Hugging Face Hub \((Proxy|Read)Error\)"),
        (lambda folder: find_gpt2_tokenizer(None, folder), "could not be fetched: download"),
    ],
    ids=["from_gpt2", "resolve", "find_gpt2_tokenizer"],
)
def test_a_hub_that_cannot_be_reached_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, fetch, message: str
) -> None:
    def unreachable(*args, **kwargs):
        raise error

    for name in ("snapshot_download", "hf_hub_download"):
        monkeypatch.setattr(f"huggingface_hub.{name}", unreachable)
    with pytest.raises(ValueError, match=message):
        fetch(tmp_path)


def test_options_that_the_weights_decide_are_refused(gpt2) -> None:
    with pytest.raises(ValueError, match="n_layer"):
        from_gpt2(gpt2[1], n_layer=1)


def test_the_command_writes_a_checkpoint(
    tmp_path: Path, tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder like any other, with GPT-2's numbers in it; only its branches are fresh."""
    theirs = make_gpt2(tmp_path / "gpt2", layers=2, width=32, heads=2)
    (tmp_path / "gpt2" / "tokenizer.json").write_bytes(
        (tiny_checkpoint / "tokenizer.json").read_bytes()
    )
    assert main(["from-gpt2", str(tmp_path / "gpt2"), str(tmp_path / "out")]) == 2
    assert "tokens, but the model only 211" in capsys.readouterr().err

    theirs = make_gpt2(tmp_path / "gpt2", layers=2, width=32, heads=2, vocab_size=320)
    assert main(["from-gpt2", str(tmp_path / "gpt2"), str(tmp_path / "out")]) == 0
    captioner = Captioner.from_pretrained(tmp_path / "out", device="cpu")
    found = captioner.model.transformer.h[1].mlp.c_fc.weight
    assert torch.equal(found, theirs.transformer.h[1].mlp.c_fc.weight)
    assert captioner.config.eos_token_id == captioner.tokenizer.eos_id
    request = CaptionRequest(tags=(Tag(text="rock"),), decoding=Decoding(max_tokens=5))
    assert len(captioner.caption(request).tokens) <= 5
