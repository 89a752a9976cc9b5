"""Self-critical training: rewards, the loss's gradient, and that a reward is really raised."""

from __future__ import annotations

import pytest
import torch
from conftest import tiny_config, tiny_model
from transformers import TrainingArguments, set_seed

from audiogpt.model import AudioGPT
from audiogpt.tokenizer import CaptionTokenizer
from audiogpt.training.collate import Collator
from audiogpt.training.dataset import Example
from audiogpt.training.rewards import Reward, RewardWeights
from audiogpt.training.scst import (
    Rewarded,
    RewardedCollator,
    RewardedExample,
    SelfCriticalLoss,
    SelfCriticalTrainer,
    self_critical_loss,
)
from audiogpt.training.vocabulary import train_vocabulary

CORPUS = ["a slow piano song.", "loud drums and guitars.", "calm strings play here."]


def test_rewards_rank_captions_as_they_should() -> None:
    reward = Reward(CORPUS, RewardWeights(coverage=1.0, invention=1.0))
    tags = (("slow", 1.0), ("piano", 1.0))
    good = reward(CORPUS[0], [CORPUS[0]], tags, finished=True)
    assert good > reward("a slow song.", [CORPUS[0]], tags, finished=True)
    assert good == pytest.approx(reward(CORPUS[0], [CORPUS[0]], tags, finished=False) + 1.0)
    assert reward("a slow piano violin song.", [CORPUS[0]], tags, finished=True) < good - 0.5
    plain = Reward(CORPUS, RewardWeights())
    once = plain("slow piano", [CORPUS[0]], tags, finished=True)
    assert once < plain("slow piano.", [CORPUS[0]], tags, finished=True)


def test_the_loss_raises_what_was_better_than_the_rest() -> None:
    model = tiny_model(tiny_config(dropout=0.0)).requires_grad_(True)
    rows = Collator(model.config).rows([Example(tokens=(), tags=(((5,), 1.0),))])
    tokens = torch.tensor([[[7, 8, 0, 0], [9, 0, 0, 0]]])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)

    def log_probability(k: int) -> float:
        weights = torch.zeros(1, 2)
        weights[0, k] = 2.0
        with torch.inference_mode():
            return -float(self_critical_loss(model, tokens, rows, weights))

    before = [log_probability(0), log_probability(1)]
    loss = self_critical_loss(model, tokens, rows, torch.tensor([[1.0, -1.0]]))
    loss.backward()
    optimizer.step()
    assert log_probability(0) > before[0]
    assert log_probability(1) < before[1]
    changed = tokens.clone()
    changed[0, 0, 3] = 11  # after the end: must not count
    with torch.inference_mode():
        same = self_critical_loss(model, changed, rows, torch.tensor([[1.0, -1.0]]))
        again = self_critical_loss(model, tokens, rows, torch.tensor([[1.0, -1.0]]))
    torch.testing.assert_close(same, again)


def test_controls_are_told_while_writing_and_while_scoring() -> None:
    model = tiny_model(tiny_config(controls=("words", "coverage")))
    collate = RewardedCollator(Collator(model.config))
    tokens, advantages = torch.tensor([[[7, 4, 8, 0]]]), torch.ones(1, 1)
    losses = []
    for controls in ({}, {"words": 40.0}):
        example = Example(tokens=(), tags=(((5,), 1.0),), controls=controls)
        batch = collate([RewardedExample(example=example, references=("slow.",))])
        with torch.inference_mode():
            losses.append(
                self_critical_loss(
                    model, tokens, batch["rows"], advantages, controls=batch["controls"]
                )
            )
    assert losses[0] != losses[1]


def test_tokens_before_the_marker_do_not_count() -> None:
    model = tiny_model()
    rows = Collator(model.config).rows([Example(tokens=(), tags=(((5,), 1.0),))])
    advantages = torch.ones(1, 1)
    tokens = torch.tensor([[[7, 4, 8, 0]]])
    with torch.inference_mode():
        rest = self_critical_loss(model, tokens, rows, advantages, after=4)
        whole = self_critical_loss(model, tokens, rows, advantages)
        absent = self_critical_loss(model, tokens, rows, advantages, after=99)
    assert rest != whole
    torch.testing.assert_close(absent, whole)


@pytest.mark.parametrize("sample", [True, False])
def test_a_few_steps_change_captions_for_the_reward(tmp_path, sample: bool) -> None:
    set_seed(0)
    tokenizer = CaptionTokenizer(train_vocabulary(CORPUS * 3, size=330))
    config = tiny_config(
        vocab_size=tokenizer.vocab_size,
        bos_token_id=tokenizer.bos_id,
        eos_token_id=tokenizer.eos_id,
        pad_token_id=tokenizer.pad_id,
        dropout=0.0,
    )
    model = AudioGPT(config)
    ids = (
        tokenizer.bos_id,
        *tokenizer.encode("<title> x <description>" + " slow"),
        tokenizer.eos_id,
    )
    rewards = []

    class Length(Reward):
        """Pays for short captions."""

        def __call__(self, caption, references, tags, *, finished):  # type: ignore[override]
            rewards.append(-float(len(caption)))
            return rewards[-1]

    items = [RewardedExample(example=Example(tokens=ids), references=("slow.",))] * 4
    trainer = SelfCriticalTrainer(
        model=SelfCriticalLoss(model),
        tokenizer=tokenizer,
        reward=Length(CORPUS, RewardWeights()),
        captions=6,
        sample=sample,
        longest=8,
        args=TrainingArguments(
            output_dir=str(tmp_path), max_steps=30, per_device_train_batch_size=4, seed=0,
            learning_rate=2e-2, use_cpu=True, report_to=[], remove_unused_columns=False,
            disable_tqdm=True, save_strategy="no", lr_scheduler_type="constant",
        ),
        train_dataset=Rewarded(items, [0, 1, 2, 3] * 30),
        data_collator=RewardedCollator(Collator(config)),
    )  # fmt: skip
    trainer.train()
    per_step = [sum(rewards[i : i + 24]) / 24 for i in range(0, len(rewards), 24)]
    assert len(per_step) == 30
    assert all(torch.isfinite(p).all() for p in model.parameters())
    # Beams of a model that knows nothing are nearly alike, so only sampling must have risen.
    risen = sum(per_step[-3:]) / 3 - sum(per_step[:3]) / 3
    assert risen > 2.0 if sample else risen != 0.0
