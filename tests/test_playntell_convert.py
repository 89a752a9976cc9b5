"""The whole way: best.pth -> convert-playntell -> caption, through the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import EXAMPLES, ROOT, shared
from playntell_recipe import params_of, published_state
from safetensors import safe_open
from test_playntell_weights import published_file, small_state

from audiogpt.audio.embedding import load_embedding, track_row
from audiogpt.audio.loading import load_audio, resample_mono
from audiogpt.checkpoints import from_pretrained
from audiogpt.cli import main
from audiogpt.context import FeatureRows
from audiogpt.decoding import decode_all
from audiogpt.pipeline import Captioner
from audiogpt.playntell.parameters import parse_params
from audiogpt.playntell.weights import convert_state
from audiogpt.request import Decoding
from audiogpt.tags import TagTable

CASE = {"srau": True, "n_layer": 2, "tau": 0.2, "modes": ["audio", "tags", "artist"]}


def write_published(folder: Path, state, case=CASE, **switches) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    published_file(folder / "best.pth", state)
    (folder / "params.json").write_text(json.dumps(params_of(case, **switches)))


def small_published(folder: Path, case=CASE, **switches) -> Path:
    """A published folder with the real vocabulary but only 64 features."""
    params = parse_params(params_of(case, **switches))
    state = small_state(params, width=64)
    for name, rows in (("wte", 50257), ("wpe", 80)):
        state[f"decoder.transformer.{name}.weight"] = torch.randn(rows, 64) * 0.2
    state["decoder.lm_head.decoder.weight"] = state["decoder.transformer.wte.weight"]
    write_published(folder, state, case, **switches)
    return folder


def convert(source: Path, out: Path, *extra: str) -> int:
    oracle = shared("oracle", "playntell")
    return main(
        [
            *("convert-playntell", str(source / "best.pth"), str(out)),
            *("--params", str(source / "params.json")),
            *("--tag-embeddings", str(oracle / "discogs_tags_embeddings.npy")),
            *("--tokenizer", str(oracle / "gpt2-bpe")),
            *extra,
        ]
    )


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    torch.manual_seed(0)
    assert convert(small_published(folder / "source"), folder / "out") == 0
    return folder / "out"


def test_the_folder_is_a_checkpoint_like_any_other(converted: Path) -> None:
    model = from_pretrained(converted)
    assert model.config.published_padding and model.config.tau == 0.2
    assert model.config.branch_names == ("audio", "tags", "artists")
    assert (converted / "model_card.md").read_text().count("7427231") == 1
    assert len(TagTable.load(converted).words) == 844
    with safe_open(converted / "model.safetensors", "pt") as file:
        assert not any("enc_dec_attn" in key for key in file.keys())  # noqa: SIM118
    record = json.loads((converted / "conversion.json").read_text())
    dropped = [key for entry in record["dropped"] for key in entry["keys"]]
    assert "decoder.transformer.h.1.enc_dec_attn.2.c_attn.weight" in dropped


def test_weights_survive_the_files(converted: Path) -> None:
    params = parse_params(params_of(CASE))
    torch.manual_seed(0)
    expected = convert_state(small_state(params, width=64), params).state
    found = from_pretrained(converted).state_dict()
    for key in ("transformer.h.1.srau.weight", "transformer.h.0.cross_attn.k_proj.weight"):
        assert torch.equal(found[key], expected[key])


def test_the_pipeline_gives_what_the_model_gives(converted: Path, tmp_path: Path) -> None:
    """A playlist file through the pipeline equals rows made by hand and the bare decoder."""
    captioner = Captioner.from_pretrained(converted, device="cpu")
    clips = EXAMPLES[:2]
    tags = [["Hip Hop", "Electronic"], ["r&b", "Electronic"]]
    playlist = {
        "id": "mixed",
        "tracks": [
            {"id": clip.name, "artist": artist, "tags": tag}
            for clip, artist, tag in zip(clips, ("Air", "Moby"), tags, strict=True)
        ],
    }
    (tmp_path / "playlist.json").write_text(json.dumps(playlist))
    for clip in clips:
        (tmp_path / clip.name).write_bytes(clip.read_bytes())

    from audiogpt.playntell.playlists import read_playlist
    from audiogpt.request import CaptionRequest

    listed = read_playlist(tmp_path / "playlist.json")[0]
    settings = Decoding(beams=2, n_best=1, max_tokens=6)
    request = CaptionRequest(tracks=listed.tracks, tags=listed.tags, decoding=settings)
    result = captioner.caption(request, trace=False)

    embedding = load_embedding("musicnn-vgg")
    audio = np.stack(
        [
            track_row(embedding.embed(resample_mono(load_audio(str(clip)), 16000)).rows)
            for clip in clips
        ]
    )
    table = TagTable.load(converted)
    words = ["hip", "hop", "electronic", "rnb"]
    vectors = np.stack([table.vectors[table.words.index(word)] for word in words])
    shares = np.zeros((1, 10), np.float32)
    shares[0, :2] = 0.5
    rows = {
        name: FeatureRows(torch.from_numpy(values)[None], torch.ones(1, len(values)))
        for name, values in (("audio", audio), ("tags", vectors), ("artists", shares))
    }
    with torch.inference_mode():
        found = decode_all(captioner.model, captioner.model.encode(rows), settings)
    expected = found.ids(0, 0, captioner.config.eos_token_id)
    assert list(result.tokens) == expected
    assert result.alternatives[0].log_probability == pytest.approx(
        float(found.log_probabilities[0, 0].sum()), abs=1e-3
    )


def test_a_playlist_from_the_command_line(
    converted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tracks = [
        {"id": clip.name, "artist": "Air", "tags": ["Rock", "xyzzy"]} for clip in EXAMPLES[:2]
    ]
    path = tmp_path / "playlist.json"
    path.write_text(json.dumps({"id": "mine", "tracks": tracks}))
    arguments = ["caption", "--playlist", str(path), "--audio-dir", str(EXAMPLES[0].parent)]
    settings = ["--checkpoint", str(converted), "--max-tokens", "4", "--json", "--device", "cpu"]
    assert main([*arguments, *settings]) == 0
    said = capsys.readouterr()
    result = json.loads(said.out)
    assert len(result["tokens"]) == 4
    assert len(result["rows"]["audio"]) == 2  # one row per track
    assert result["rows"]["tags"] == ["rock"] and "xyzzy" in said.err
    assert result["rows"]["artists"] == ["Air"]


def test_formatting_is_kept(tmp_path: Path) -> None:
    source = small_published(tmp_path / "source", formatting="title_only")
    assert convert(source, tmp_path / "out") == 0
    captioner = Captioner.from_pretrained(tmp_path / "out", device="cpu")
    caption = captioner._read(captioner.tokenizer.encode(" sunny morning"), _no_artists())
    assert (caption.title, caption.description) == ("sunny morning", "")


def _no_artists():
    from types import SimpleNamespace

    return SimpleNamespace(artist_names=())


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda f: (f / "best.pth").unlink(), "There is no checkpoint file"),
        (lambda f: (f / "params.json").unlink(), "params.json"),
        (lambda f: (f / "params.json").write_text("[]"), "must hold a JSON object"),
    ],
)
def test_nothing_is_written_when_something_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], break_it, message: str
) -> None:
    source = small_published(tmp_path / "source")
    break_it(source)
    assert convert(source, tmp_path / "out") == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_missing_tag_table_is_asked_for(tmp_path: Path, capsys) -> None:
    source = small_published(tmp_path / "source")
    bpe = shared("oracle", "playntell", "gpt2-bpe")
    arguments = ["convert-playntell", str(source / "best.pth"), str(tmp_path / "out")]
    assert main([*arguments, "--tokenizer", str(bpe)]) == 2
    assert "github.com/deezer/playntell" in capsys.readouterr().err


def test_without_a_network_the_tokenizer_is_asked_for(
    tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*args, **kwargs):
        raise ConnectionError("no network")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", unreachable)
    source = small_published(tmp_path / "source", {**CASE, "modes": ["audio", "artist"]})
    arguments = ["convert-playntell", str(source / "best.pth"), str(tmp_path / "out")]
    assert main(arguments) == 2
    assert "vocab.json and merges.txt could not be fetched" in capsys.readouterr().err


@pytest.mark.slow
def test_full_size_from_best_pth_to_captions(tmp_path: Path) -> None:
    """Twelve layers of 768 features, written as published, converted, and three clips captioned."""
    case = {**CASE, "n_layer": 12, "tau": 0.0}
    write_published(tmp_path / "source", published_state(1, parse_params(params_of(case))), case)
    out = tmp_path / "out"
    assert convert(tmp_path / "source", out) == 0
    (tmp_path / "source" / "best.pth").unlink()
    command = [sys.executable, "-m", "audiogpt", "caption", *map(str, EXAMPLES[:3])]
    command += ["--checkpoint", str(out), "--max-tokens", "8", "--tag", "rock", "--json"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=600)
    results = json.loads(run.stdout)
    assert len(results) == 3
    assert len({tuple(result["tokens"]) for result in results}) > 1
    for result in results:
        assert len(result["tokens"]) == 8
        assert result["rows"]["audio"] and "rock" in result["rows"]["tags"]
