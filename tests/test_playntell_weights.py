"""Conversion of the published checkpoint: nothing executed, every key and shape accounted for."""

from __future__ import annotations

import hashlib
import json
import pickle
import random
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from playntell_recipe import ORACLE, made_up, made_up_model, params_of, published_state

import audiogpt.playntell.weights as weights_module
from audiogpt.playntell.parameters import parse_params, read_params
from audiogpt.playntell.weights import convert_state, published_shapes, read_state_dict

CASE = {"srau": True, "n_layer": 2, "tau": 0.2, "modes": ["audio", "tags", "artist"]}


def small_state(params, *, width: int = 128, seed: int = 0) -> dict[str, torch.Tensor]:
    """A published state dict with fewer features and words than the released one."""
    shapes = published_shapes(params, n_embd=width, n_positions=32, vocab_size=99)
    generator = torch.Generator().manual_seed(seed)
    state = {key: torch.randn(shape, generator=generator) for key, shape in shapes.items()}
    state["decoder.lm_head.decoder.weight"] = state["decoder.transformer.wte.weight"]
    state["decoder.transformer.running_seq"] = torch.zeros(1, dtype=torch.long)
    for x in range(params.n_layer):
        state[f"decoder.transformer.h.{x}.attn.bias"] = torch.ones(1, 1, 60, 60)
        state[f"decoder.transformer.h.{x}.enc_dec_attn.0.bias"] = torch.ones(1, 1, 60, 60)
    return state


def published_file(path: Path, state: dict[str, torch.Tensor], **extra) -> Path:
    """best.pth as the published trainer writes it, random states and optimizer included."""
    moments = {i: {"step": 3, "exp_avg": torch.zeros(5)} for i in range(4)}
    data = {
        "torch_rng_state": torch.get_rng_state(),
        "cuda_rng_state": torch.get_rng_state(),
        "numpy_rng_state": np.random.get_state(),
        "random_rng_state": random.getstate(),
        "epoch": 17,
        "val_loss": 2.5,
        "val_cider": np.float64(0.4).item(),
        "state_dict": state,
        "optimizer": {"state": moments, "param_groups": [{"lr": 1e-4, "betas": (0.9, 0.999)}]},
        "patience": 3,
        "best_cider": 0.4,
        **extra,
    }
    torch.save(data, path)
    return path


def test_reads_the_state_dict_among_random_states(tmp_path: Path) -> None:
    state = small_state(parse_params(params_of(CASE)))
    found = read_state_dict(published_file(tmp_path / "best.pth", state))
    assert found.keys() == state.keys()
    assert all(torch.equal(found[key], state[key]) for key in state)


def rewritten(source: Path, target: Path, *changes: tuple[bytes, bytes]) -> Path:
    """A copy of a torch.save file with byte strings of its pickle replaced."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.infolist():
            body = old.read(entry)
            if entry.filename.endswith("data.pkl"):
                for before, after in changes:
                    assert before in body
                    body = body.replace(before, after)
            new.writestr(entry.filename, body)
    return target


def test_files_of_numpy_1_and_of_a_gpu_load(tmp_path: Path) -> None:
    """As the published file is: numpy 1 had another module path, and the tensors were on a GPU."""
    state = small_state(parse_params(params_of(CASE)))
    path = rewritten(
        published_file(tmp_path / "new.pth", state),
        tmp_path / "best.pth",
        (b"numpy._core.multiarray", b"numpy.core.multiarray"),
        (b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0"),
    )
    found = read_state_dict(path)
    assert found.keys() == state.keys()
    for key, value in state.items():
        assert found[key].device.type == "cpu" and torch.equal(found[key], value)


class Mischief:
    """Unpickled, this would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_nothing_in_the_file_is_executed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    path = published_file(tmp_path / "best.pth", {"a": torch.ones(2)}, note=Mischief(victim))
    with pytest.raises(ValueError, match="holds more than weights"):
        read_state_dict(path)
    assert not victim.exists()


def test_numpy_functions_beyond_the_list_are_refused(tmp_path: Path) -> None:
    path = published_file(tmp_path / "best.pth", {"a": torch.ones(2)}, note=np.float64(1.0))
    with pytest.raises(ValueError, match="holds more than weights"):
        read_state_dict(path)


def test_a_damaged_random_state_never_reaches_numpy(tmp_path: Path) -> None:
    """numpy's builders trust what a pickle says, and fail in any way."""
    source = published_file(tmp_path / "best.pth", {"a": torch.ones(2)})
    order = b"K\x03X\x01\x00\x00\x00<"  # the state of the dtype: version 3, little-endian
    changes = [(b"latin1", b"latan1"), (b"X\x02\x00\x00\x00u4", b"X\x02\x00\x00\x00uX")]
    for change in [*changes, (order, b"K\x03X\x01\x00\x00\x00?")]:
        path = rewritten(source, tmp_path / "damaged.pth", change)
        try:
            assert read_state_dict(path).keys() == {"a"}  # of the random state nothing is needed
        except ValueError as error:
            assert "damaged.pth" in str(error)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", pickle.dumps({"a": 1})])
def test_other_files_are_refused_in_a_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "best.pth"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"best\.pth"):
        read_state_dict(path)


def test_a_file_without_a_state_dict_is_refused(tmp_path: Path) -> None:
    torch.save({"model": {"a": torch.ones(1)}}, tmp_path / "best.pth")
    with pytest.raises(ValueError, match="no state_dict"):
        read_state_dict(tmp_path / "best.pth")
    with pytest.raises(ValueError, match="There is no checkpoint file"):
        read_state_dict(tmp_path / "absent.pth")


def test_every_number_is_kept_or_dropped_by_name() -> None:
    params = parse_params(params_of(CASE))
    state = small_state(params)
    converted = convert_state(state, params)
    dropped = [key for entry in converted.dropped for key in entry.keys]
    assert len(dropped) == len(set(dropped))
    kept = sum(value.numel() for value in converted.state.values())
    assert kept + sum(state[key].numel() for key in dropped) == sum(
        value.numel() for value in state.values()
    )
    dead = [key for key in dropped if ".c_attn." in key]
    assert len(dead) == 2 * 3 * 2  # layers, branches, weight and bias
    assert all(".enc_dec_attn." in key for key in dead)


def test_each_weight_arrives_where_it_belongs() -> None:
    params = parse_params(params_of(CASE))
    state = small_state(params)
    ours = convert_state(state, params).state
    block = "decoder.transformer.h.1"
    x = torch.randn(7, 128)
    for theirs, mine in (("fc_q", "q_proj"), ("fc_k", "k_proj"), ("fc_v", "v_proj")):
        for j in range(3):
            name = f"{block}.enc_dec_attn.{j}.{theirs}"
            expected = torch.nn.functional.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])
            got = x @ ours[f"transformer.h.1.cross_attn.{mine}.weight"][j]
            got = got + ours[f"transformer.h.1.cross_attn.{mine}.bias"][j]
            torch.testing.assert_close(got, expected)
    for j in range(3):
        name = f"{block}.enc_dec_attn.{j}.c_proj"
        expected = x @ state[f"{name}.weight"] + state[f"{name}.bias"]
        got = x @ ours["transformer.h.1.cross_attn.c_proj.weight"][j]
        torch.testing.assert_close(
            got + ours["transformer.h.1.cross_attn.c_proj.bias"][j], expected
        )
    assert torch.equal(
        ours["branches.artists.fc.weight"], state["encoder.transformations.2.fc.weight"]
    )
    assert torch.equal(
        ours["transformer.h.0.mlp.c_fc.weight"], state["decoder.transformer.h.0.mlp.c_fc.weight"]
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s: s.pop("decoder.transformer.h.1.fc_alpha.bias"),
            r"missing .*h\.1\.fc_alpha\.bias",
        ),
        (
            lambda s: s.update({"decoder.extra.weight": torch.ones(1)}),
            r"unknown decoder\.extra\.weight",
        ),
        (
            lambda s: s.update({"decoder.transformer.ln_f.weight": torch.ones(3)}),
            r"ln_f\.weight has shape \(3,\), expected \(128,\)",
        ),
        (
            lambda s: s.update(
                {"decoder.transformer.ln_f.weight": torch.ones(128, dtype=torch.int)}
            ),
            r"ln_f\.weight holds torch\.int32",
        ),
        (
            lambda s: s.update({"decoder.lm_head.decoder.weight": torch.ones(99, 128)}),
            "the published code ties them",
        ),
        (
            lambda s: s.pop("decoder.transformer.wte.weight"),
            "has no decoder.transformer.wte.weight",
        ),
        (lambda s: s.update({"bias": torch.ones(1)}), "unknown bias"),
        (
            lambda s: s.update({"decoder.transformer.wpe.weight": torch.tensor(1.0)}),
            r"wpe\.weight of two dimensions",
        ),
        (
            lambda s: s["decoder.transformer.ln_f.weight"].fill_(float("nan")),
            r"infinite or undefined: transformer\.ln_f\.weight",
        ),
    ],
)
def test_what_does_not_fit_is_named(change, message: str) -> None:
    params = parse_params(params_of(CASE))
    state = small_state(params)
    change(state)
    with pytest.raises(ValueError, match=message):
        convert_state(state, params)


def test_fewer_layers_or_other_branches_than_params_say_are_reported() -> None:
    state = small_state(parse_params(params_of(CASE)))
    with pytest.raises(ValueError, match=r"missing decoder\.transformer\.h\.2\."):
        convert_state(state, parse_params(params_of({**CASE, "n_layer": 3})))
    with pytest.raises(ValueError, match=r"unknown encoder\.transformations\.2\."):
        convert_state(state, parse_params(params_of({**CASE, "modes": ["audio", "tags"]})))


def test_the_gate_of_a_model_without_srau_is_left_behind() -> None:
    params = parse_params(params_of({**CASE, "srau": False}))
    converted = convert_state(small_state(params), params)
    assert not any("srau" in key for key in converted.state)
    gate = [e for e in converted.dropped if "no_srau" in e.reason]
    assert len(gate) == 1 and len(gate[0].keys) == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"playlist_feature": "audio_image"}, "playlist_feature"),
        ({"playlist_feature": "audio_audio"}, "playlist_feature"),
        ({"decoder_layer": "12"}, "decoder_layer = '12'"),
        ({"decoder_layer": 0}, "out of range"),
        ({"decoder_layer": 10**9}, "out of range"),
        ({"tau": 0.5}, "out of range"),
        ({"tau": 10**400}, "out of range"),
        ({"no_srau": 0}, "no_srau = 0"),
        ({"formatting": "rhymes"}, "formatting = 'rhymes'"),
    ],
)
def test_params_that_are_not_understood_are_named(tmp_path: Path, changes, message: str) -> None:
    path = tmp_path / "params.json"
    path.write_text(json.dumps(params_of(CASE, **changes)))
    with pytest.raises(ValueError, match=message):
        read_params(path)


def test_params_that_are_missing_are_named(tmp_path: Path) -> None:
    data = params_of(CASE)
    del data["tau"]
    with pytest.raises(ValueError, match="does not say tau"):
        parse_params(data)
    with pytest.raises(ValueError, match=r"params\.json"):
        read_params(tmp_path / "params.json")


def test_branches_keep_the_published_order_and_widths() -> None:
    params = parse_params(params_of({**CASE, "modes": ["artist", "audio"]}))
    assert [(b.name, b.width) for b in params.branches] == [("artists", 10), ("audio", 256)]


@pytest.mark.slow
def test_the_recipe_makes_the_recorded_weights() -> None:
    """All 544 weights of the released shape, by sha256 prefix, sum and first values."""
    path = ORACLE / "weights_fingerprint.json"
    if not path.is_file():
        pytest.skip("weights_fingerprint.json is not in the oracle folder")
    recorded = json.loads(path.read_text())
    params = parse_params(params_of({**CASE, "n_layer": 12}))
    shapes = published_shapes(params, n_embd=768, n_positions=1024, vocab_size=50257)
    assert shapes.keys() == recorded["fingerprints"].keys()
    for key, shape in shapes.items():
        value, expected = made_up(recorded["SEED"], key, shape), recorded["fingerprints"][key]
        digest = hashlib.sha256(value.astype("<f4").tobytes()).hexdigest()
        assert digest.startswith(expected["sha256_16"]), key
        assert value.sum(dtype=np.float64) == pytest.approx(expected["sum"], rel=1e-9, abs=1e-6)
        assert value.reshape(-1)[:3].tolist() == expected["first3"]


def test_the_key_list_is_the_released_one() -> None:
    path = ORACLE / "state_dict_keys.json"
    if not path.is_file():
        pytest.skip("state_dict_keys.json is not in the oracle folder")
    recorded = {e["key"]: tuple(e["shape"]) for e in json.loads(path.read_text())["keys"]}
    params = parse_params(params_of({**CASE, "n_layer": 12}))
    shapes = published_shapes(params, n_embd=768, n_positions=1024, vocab_size=50257)
    rest = {key for key in recorded if key not in shapes}
    assert {key: recorded[key] for key in shapes if key in recorded} == shapes
    assert rest == {key for key in recorded if weights_module._is_buffer(key)} | {
        "decoder.lm_head.decoder.weight"
    }


@pytest.mark.slow
def test_a_made_up_model_has_no_fresh_weight_left() -> None:
    """Every parameter comes from the state dict: two conversions of one state are equal."""
    params = parse_params(params_of({**CASE, "n_layer": 1, "modes": ["audio"]}))
    state = published_state(1, params)
    model = made_up_model(1, params)
    assert not any(parameter.is_meta for parameter in model.parameters())
    total = sum(v.numel() for v in convert_state(state, params).state.values())
    assert total == sum(p.numel() for p in model.parameters())
