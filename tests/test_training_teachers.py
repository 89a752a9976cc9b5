"""Learning from other models: their weights as a start, their predictions as targets."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import tiny_config, tiny_model

from audiogpt.config import BranchConfig
from audiogpt.context import FeatureRows, TextRows
from audiogpt.model import AudioGPT
from audiogpt.training.losses import CaptioningLoss
from audiogpt.training.options import OpenDataOptions
from audiogpt.training.teachers import Teachers, adopt, freeze_all_but, go_back

TOKENS = torch.tensor([[2, 40, 41, 42], [2, 43, 44, 45]])
LABELS = torch.tensor([[40, 41, 42, 0], [43, 44, -100, -100]])
TAGS = TextRows.from_phrases([[([50, 51], 1.0), ([52], 0.5)], [([53], 1.0)]])


def tags_only(seed: int) -> AudioGPT:
    return tiny_model(
        tiny_config(branches=(BranchConfig.text("tags", 16),), dropout=0.0), seed=seed
    )


@pytest.mark.parametrize("fusion", ["gated", "sum", "meshed"])
def test_a_model_adopts_what_another_has_and_keeps_the_rest(fusion: str) -> None:
    text = BranchConfig.text("tags", 16)
    source = tiny_model(tiny_config(branches=(text,), fusion=fusion), seed=1)
    model = tiny_model(tiny_config(fusion=fusion), seed=2)
    audio = {"audio": FeatureRows(torch.randn(2, 3, 256), torch.ones(2, 3))}
    before = {name: p.clone() for name, p in model.state_dict().items()}
    adopt(model, source)
    with torch.no_grad():
        logits = [m(TOKENS, m.encode({"tags": TAGS})) for m in (model, source)]
        if fusion != "meshed":  # which scales by the number of branches
            torch.testing.assert_close(*logits)
        heard = model(TOKENS, model.encode({"tags": TAGS, **audio}))
    assert not torch.allclose(heard, logits[0], atol=1e-3)
    after = model.state_dict()
    assert torch.equal(after["branches.audio.fc.weight"], before["branches.audio.fc.weight"])
    queries = "transformer.h.0.cross_attn.q_proj.weight"
    assert torch.equal(after[queries][0], before[queries][0])
    assert torch.equal(after[queries][1], source.state_dict()[queries][0])
    with pytest.raises(ValueError, match="shape"):
        adopt(model, tiny_model(tiny_config(fusion=fusion, n_embd=32)))
    for other in ({"n_layer": 1}, {"n_layer": 3}, {"encoder_layer": 1}):
        with pytest.raises(ValueError, match=f"The start has {next(iter(other))}"):
            adopt(model, tiny_model(tiny_config(**{"fusion": fusion, **other})))


def test_targets_are_the_teachers_where_they_see_everything() -> None:
    teachers = Teachers([tags_only(1), tags_only(2)])
    model = tiny_model(tiny_config(dropout=0.0), seed=3).train()
    rows = {
        "tags": TAGS._asdict(),
        "audio": {"values": torch.randn(2, 3, 256), "weights": torch.zeros(2, 3)},
    }

    def loss(distillation: float, *, teachers: Teachers | None = teachers) -> torch.Tensor:
        module = CaptioningLoss(model, teachers=teachers, distillation=distillation)
        return module.train()(TOKENS, LABELS, rows)["loss"]

    plain = loss(0.0, teachers=None)
    torch.testing.assert_close(loss(0.0), plain)
    expected = torch.stack(
        [m(TOKENS, m.encode({"tags": TAGS})).softmax(-1) for m in teachers.models]
    ).mean(0)
    log_p = model(TOKENS, model.encode({"tags": TAGS})).log_softmax(-1)
    cross = -(expected * log_p).sum(-1)[LABELS != -100].mean()
    torch.testing.assert_close(loss(1.0), cross)
    torch.testing.assert_close(loss(0.25), 0.75 * plain + 0.25 * cross)
    rows["audio"]["weights"] = torch.ones(2, 3)  # nothing that teachers without ears can judge
    torch.testing.assert_close(loss(1.0), loss(0.0, teachers=None))
    evaluated = CaptioningLoss(model, teachers=teachers).eval()(TOKENS, LABELS, rows)["loss"]
    torch.testing.assert_close(evaluated, loss(0.0, teachers=None))


def test_a_model_can_go_back_some_of_the_way_to_its_start() -> None:
    source, model = tags_only(1), tiny_model(seed=2)
    trained = {name: value.clone() for name, value in model.state_dict().items()}
    go_back(model, source, 0.25)
    after, before = model.state_dict(), source.state_dict()
    mean = 0.75 * trained["transformer.wte.weight"] + 0.25 * before["transformer.wte.weight"]
    torch.testing.assert_close(after["transformer.wte.weight"], mean)
    queries = "transformer.h.0.cross_attn.q_proj.weight"
    torch.testing.assert_close(
        after[queries][1], 0.75 * trained[queries][1] + 0.25 * before[queries][0]
    )
    assert torch.equal(after[queries][0], trained[queries][0])  # audio, which the start lacks
    assert torch.equal(after["branches.audio.fc.weight"], trained["branches.audio.fc.weight"])
    with pytest.raises(ValueError, match="--tags_only"):
        OpenDataOptions(musiccaps=Path("x"), output=Path("y"), tags_only=True, contrast=0.3)
    with pytest.raises(ValueError, match="patience must be 0"):
        OpenDataOptions(musiccaps=Path("x"), output=Path("y"), patience=-1)
    with pytest.raises(ValueError, match="start_share"):
        OpenDataOptions(musiccaps=Path("x"), output=Path("y"), start_share=0.5)


def test_a_branch_can_learn_alone() -> None:
    model = tiny_model(tiny_config(dropout=0.0), seed=2).requires_grad_(True)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    freeze_all_but(model, "artists")
    rows = {"tags": TAGS, "artists": FeatureRows(torch.rand(2, 1, 10), torch.ones(2, 1))}
    learning = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=0.1, weight_decay=0.0)
    model(TOKENS, model.encode(rows)).square().mean().backward()
    optimizer.step()
    with torch.no_grad():
        after = model.state_dict()
        for name, value in before.items():
            if any(part in name for part in (".cross_attn.", ".branch_gate.")):
                assert torch.equal(after[name][:2], value[:2])
            elif not name.startswith("branches.artists."):
                assert torch.equal(after[name], value)
        queries = "transformer.h.0.cross_attn.q_proj.weight"
        assert not torch.equal(after[queries][2], before[queries][2])
    with pytest.raises(ValueError, match="no 'lyrics' branch"):
        freeze_all_but(model, "lyrics")
    with pytest.raises(ValueError, match="weight_decay"):
        OpenDataOptions(musiccaps=Path("x"), output=Path("y"), start=Path("z"), only="artists")


def test_a_branch_that_reads_another_embedding_stays_fresh() -> None:
    wide = BranchConfig(name="audio", width=12)
    model = tiny_model(tiny_config(branches=(wide, BranchConfig.text("tags", 16))), seed=2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    source = tiny_model(seed=1)
    adopt(model, source)
    after, queries = model.state_dict(), "transformer.h.0.cross_attn.q_proj.weight"
    assert torch.equal(after["branches.audio.fc.weight"], before["branches.audio.fc.weight"])
    assert torch.equal(after[queries][0], before[queries][0])
    assert torch.equal(after[queries][1], source.state_dict()[queries][1])
    unordered = BranchConfig.text("tags", 16, ordered=False)
    with pytest.raises(ValueError, match="shape"):  # the same words, told otherwise
        adopt(tiny_model(tiny_config(branches=(unordered,))), source)


def test_teachers_of_different_kinds_are_refused() -> None:
    told = tiny_model(tiny_config(branches=(BranchConfig.text("tags", 16),), controls=("words",)))
    with pytest.raises(ValueError, match="controls"):
        CaptioningLoss(tiny_model(), teachers=Teachers([told]))
    with pytest.raises(ValueError, match="vocabulary"):
        CaptioningLoss(tiny_model(tiny_config(vocab_size=330)), teachers=Teachers([tiny_model()]))
    with pytest.raises(ValueError, match="contrast"):
        CaptioningLoss(tiny_model(), contrast=-1.0)
    with pytest.raises(ValueError, match="same vocabulary"):
        Teachers([tags_only(1), tiny_model()])
    with pytest.raises(ValueError, match="at least one"):
        Teachers([])
    with pytest.raises(ValueError, match="distillation"):
        CaptioningLoss(tiny_model(), distillation=1.5)
