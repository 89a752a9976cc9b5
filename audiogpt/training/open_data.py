"""Train a small captioner from open data: the run that makes the bundled checkpoint."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments, set_seed

from audiogpt.audio.embedding import WIDTHS
from audiogpt.checkpoints import CONFIG_FILE, from_pretrained, read_lengths, save_pretrained
from audiogpt.config import AudioGPTConfig, BranchConfig
from audiogpt.length import LengthModel
from audiogpt.model import AudioGPT
from audiogpt.tokenizer import CaptionTokenizer
from audiogpt.training.audio_start import begin_audio
from audiogpt.training.averaging import WeightAverage
from audiogpt.training.claims import claim, identity
from audiogpt.training.collate import Collator
from audiogpt.training.curve import write_curve
from audiogpt.training.dataset import ScheduledViews, make_example
from audiogpt.training.embeddings import load_embeddings, load_heard
from audiogpt.training.expectations import (
    EXPECTED_FILE,
    Expectations,
    are_kept,
    expect,
    fingerprint,
)
from audiogpt.training.length_fit import fit_lengths
from audiogpt.training.losses import CaptioningLoss
from audiogpt.training.musiccaps import read_musiccaps
from audiogpt.training.options import LanguageTeacherOptions, OpenDataOptions, PolishOptions
from audiogpt.training.pairs import Pair
from audiogpt.training.precision import computes_in_bfloat16
from audiogpt.training.sources import CLIPS, Sources, read_sources
from audiogpt.training.teachers import (
    Teachers,
    adopt,
    check_vocabulary,
    freeze_all_but,
    go_back,
)
from audiogpt.training.titles import compose_title
from audiogpt.training.trainer import (
    CaptionTrainer,
    Patience,
    last_checkpoint,
    trainer_arguments,
)
from audiogpt.training.validation import GREEDY, Validation
from audiogpt.training.views import View
from audiogpt.training.vocabulary import train_vocabulary

logger = logging.getLogger(__name__)

# What may differ when a run goes on: where and how long it trains and how often it is saved, not
# what it learns (the learning rate falls with the steps) nor which weights it may choose from.
CHANGEABLE = {"resume", "output", "threads", "save_every", "patience"}
LONGEST_CAPTION = 160  # tokens
VOCABULARY_CAPTIONS = 6000  # drawn for a vocabulary, beside all that was written
DECODING: dict[str, Any] = {
    "beams": 8,
    "max_tokens": 112,
    "min_words": 8,
    "max_words": 60,
    "length_penalty": 1.5,
    "no_repeat_ngram": 3,
    "coverage": 0.17,
    "invention": 0.025,
    "length": 0.1,
    "target_coverage": 1.0,
}


def train_open_data(options: OpenDataOptions) -> Path:
    """Train, and write the averaged weights of the checkpoint that is best on the validation cut,
    by `options.select`, with tokenizer and curve; returns that folder.

    Raises ValueError for data that is missing, and for a folder that holds another run.
    """
    options = replace(options, bf16=computes_in_bfloat16(options.bf16))
    if options.threads:
        torch.set_num_threads(options.threads)
    set_seed(options.seed)
    sources = read_sources(
        musiccaps=options.musiccaps,
        incompetech=options.incompetech,
        grooves=options.grooves,
        heard=load_heard(options.embeddings / "heard.json") if options.embeddings else None,
        seed=options.seed,
        tags_only=options.tags_only,
        only=options.only,
    )
    width = WIDTHS[options.audio_embedding]
    embeddings = {} if options.tags_only else read_embeddings(options, sources, width=width)
    resumed = take_folder(options)
    tokenizer = _tokenizer(sources, options, resumed=resumed is not None)
    others = filter(None, (options.start, options.language_teacher, *options.teachers))
    check_vocabulary(others, tokenizer)
    model = AudioGPT(make_config(options, tokenizer))
    if options.start:
        adopt(model, from_pretrained(options.start))
    if options.only:
        freeze_all_but(model, options.only)
    if options.audio_probe:
        clips = [pair for name in CLIPS for pair in sources.pairs.get(name, ())]
        begin_audio(model, tokenizer, clips, embeddings)
        model.get_submodule("branches.audio.fc").requires_grad_(False)
    average = WeightAverage(model, decay=options.average_decay)
    lengths = _lengths(sources, options)
    arguments = step_arguments(
        options,
        save_every=options.save_every,
        weight_decay=options.weight_decay,
        adam_beta2=0.98,
        lr_scheduler_type="cosine",
        logging_steps=25,
        metric_for_best_model=options.select,
        greater_is_better=options.select == "cider",
    )
    schedule = ScheduledViews(
        sources,
        tokenizer,
        embeddings,
        length=options.steps * options.batch_size * arguments.world_size,
        batch_size=options.batch_size,
        seed=options.seed,
        longest=LONGEST_CAPTION,
        distinct_batches=options.distinct_batches,
    )
    if options.language_teacher:
        schedule.expectations = _expectations(schedule, options, arguments)
    trainer = CaptionTrainer(
        model=CaptioningLoss(
            model,
            label_smoothing=options.label_smoothing,
            token_dropout=options.token_dropout,
            teachers=Teachers.load(options.teachers) if options.teachers else None,
            distillation=options.distillation,
            contrast=options.contrast,
        ),
        validation=validation_set(options.musiccaps, tokenizer, lengths),
        average=average,
        args=arguments,
        train_dataset=schedule,
        data_collator=Collator(model.config),
        callbacks=[Patience(options.patience)],
    )
    logger.info("%.1f M parameters", sum(p.numel() for p in model.parameters()) / 1e6)
    return finish_run(
        trainer,
        average,
        model,
        tokenizer,
        options,
        lengths=lengths,
        start=from_pretrained(options.start) if options.start and options.start_share else None,
        start_share=options.start_share,
        resumed=resumed,
        curve="training_curve",
        settings="training.json",
    )


def take_folder(
    options: OpenDataOptions | PolishOptions | LanguageTeacherOptions,
) -> Path | None:
    """Make the run's folder its own; returns the checkpoint to go on from, if any.

    Raises ValueError for a folder that holds a run that is not to be resumed, or another one.
    """
    begun = last_checkpoint(options.output)
    if begun is None and (options.output / "model" / CONFIG_FILE).is_file():
        raise ValueError(  # a new run would end by replacing that model
            f"{options.output} holds a finished run whose checkpoints are gone, so that it cannot "
            "go on: choose another --output."
        )
    claim(
        options.output,
        {name: identity(value) for name, value in vars(options).items()},
        begun=begun is not None,
        resuming=options.resume,
        changeable=CHANGEABLE,
        go_on="--resume",
        elsewhere="--output",
    )
    return begun


def _expectations(
    schedule: ScheduledViews, options: OpenDataOptions, arguments: TrainingArguments
) -> Expectations:
    """What the language teacher expects of the schedule, asked once a run: a file keeps it.

    One that a run with other settings left before its first checkpoint is not taken for it.
    """
    from audiogpt.training.language_model import LanguageTeacher

    assert options.language_teacher is not None
    path, views = options.output / EXPECTED_FILE, schedule.written_view
    asked = fingerprint(views, schedule.distinct, identity(options.language_teacher))
    with arguments.main_process_first():
        if not are_kept(path, asked):
            teacher = LanguageTeacher.load(options.language_teacher)
            teacher.model.to(arguments.device)
            expect(views, schedule.distinct, teacher).save(path, asked=asked)
    return Expectations.load(path)


def _tokenizer(sources: Sources, options: OpenDataOptions, *, resumed: bool) -> CaptionTokenizer:
    """The run's vocabulary: a known one or one of its own, which it keeps when it goes on, for its
    weights are of those tokens, whatever texts would give today."""
    if resumed:
        return CaptionTokenizer.from_folder(options.output)
    if known := options.vocabulary_of or options.start:
        tokenizer = CaptionTokenizer.from_folder(known)
    else:
        texts = _vocabulary_texts(sources, options)
        tokenizer = CaptionTokenizer(train_vocabulary(texts, size=options.vocabulary))
    tokenizer.save(options.output)
    return tokenizer


def _lengths(sources: Sources, options: OpenDataOptions) -> LengthModel:
    """What is expected of lengths: with `only`, as all else, that of the start."""
    kept = read_lengths(options.start) if options.only and options.start else None
    return kept or fit_lengths(sources, seed=options.seed)


def make_config(options: OpenDataOptions, tokenizer: CaptionTokenizer) -> AudioGPTConfig:
    """Gated fusion, SRAU with tau 0, null rows, and tags as rows of the model's own tokens."""
    tags = BranchConfig.text("tags", options.n_embd)
    audio = BranchConfig(name="audio", width=WIDTHS[options.audio_embedding])
    artists = BranchConfig(name="artists", width=10)
    return AudioGPTConfig(
        branches=(tags,) if options.tags_only else (audio, tags, artists),
        n_layer=options.n_layer,
        n_embd=options.n_embd,
        n_head=options.n_head,
        n_positions=LONGEST_CAPTION,
        vocab_size=tokenizer.vocab_size,
        bos_token_id=tokenizer.bos_id,
        eos_token_id=tokenizer.eos_id,
        pad_token_id=tokenizer.pad_id,
        fusion="gated",
        null_rows=True,
        encoder_layer=options.encoder_layer,
        controls=options.controls,
        audio_embedding=options.audio_embedding,
        dropout=options.dropout,
        decoding=DECODING,
    )


def write_checkpoint(model: AudioGPT, tokenizer: CaptionTokenizer, folder: Path) -> None:
    """config.json, model.safetensors (float16 on disk) and tokenizer.json."""
    save_pretrained(model, folder, dtype=torch.float16)
    tokenizer.save(folder)


def _as_view(pair: Pair) -> View:
    """A validation row as training sees rows: every aspect given, the reference as target."""
    import random

    title = compose_title(pair.tags, random.Random(pair.key))
    return View(
        title=title, description=pair.reference, tags=tuple((tag, 1.0) for tag in pair.tags)
    )


def _vocabulary_texts(sources: Sources, options: OpenDataOptions) -> list[str]:
    """Descriptions, tags, and a fixed draw of captions, so that composed wording is covered."""
    plain = CaptionTokenizer(train_vocabulary(["a"], size=300))
    drawn = ScheduledViews(
        sources, plain, {}, length=0, batch_size=options.batch_size, seed=options.seed
    ).captions(VOCABULARY_CAPTIONS)
    return [*sources.texts(), *drawn]


def validation_set(
    musiccaps: Path, tokenizer: CaptionTokenizer, lengths: LengthModel | None
) -> Validation:
    """The cut of MusicCaps' training rows that checkpoints are chosen by."""
    held = read_musiccaps(musiccaps, "validation")
    examples = [make_example(_as_view(pair), tokenizer, {}) for pair in held]
    greedy = replace(GREEDY, target_coverage=DECODING["target_coverage"])
    return Validation(tokenizer, held, examples, decoding=greedy, lengths=lengths)


def read_embeddings(
    options: OpenDataOptions | PolishOptions, sources: Sources, *, width: int
) -> dict[str, Any]:
    """Embeddings (S, width) of the clips of the audio sources that the options name; ValueError
    where they are not there."""
    rows: dict[str, Any] = {}
    for name, source in (("incompetech", "clips"), ("grooves", "grooves")):
        if pairs := sources.pairs.get(source):
            if options.embeddings is None:
                raise ValueError("Audio sources need the folder with their embeddings.")
            clips = [clip for pair in pairs for clip in pair.audio]
            rows |= load_embeddings(options.embeddings / f"{name}.npz", width=width, clips=clips)
    return rows


def step_arguments(
    options: OpenDataOptions | PolishOptions, *, save_every: int, **settings: Any
) -> TrainingArguments:
    """The arguments of a run that is counted in steps."""
    return trainer_arguments(
        options.output,
        max_steps=options.steps,
        per_device_train_batch_size=options.batch_size,
        learning_rate=options.lr,
        max_grad_norm=options.max_grad_norm,
        warmup_steps=options.warmup,
        bf16=options.bf16,
        seed=options.seed,
        eval_strategy="steps",
        eval_steps=options.evaluate_every,
        save_strategy="steps",
        save_steps=save_every,
        **settings,
    )


def finish_run(
    trainer: CaptionTrainer,
    average: WeightAverage,
    model: AudioGPT,
    tokenizer: CaptionTokenizer,
    options: OpenDataOptions | PolishOptions,
    *,
    lengths: LengthModel | None,
    start: AudioGPT | None = None,
    start_share: float = 0.0,
    resumed: Path | None = None,
    curve: str,
    settings: str,
) -> Path:
    """Train, from the checkpoint `resumed` on, then write the averaged weights of the best one (on
    the way back to `start` by `start_share`), the lengths of its captions, the curve and the
    settings.

    Returns their folder; of several processes the first one writes. Raises ValueError where the
    best checkpoint is not there.
    """
    trainer.train(resume_from_checkpoint=str(resumed) if resumed else None)
    _load_best(trainer, average, options.output)
    average.swap(model)
    if start is not None:
        go_back(model, start, start_share)
    folder = options.output / "model"
    if trainer.is_world_process_zero():  # the others have the same weights
        write_checkpoint(model, tokenizer, folder)
        if lengths is not None:
            lengths.save(folder)
        write_curve(trainer.state.log_history, folder, name=curve)
        text = json.dumps(plain_options(options), indent=2) + "\n"
        (folder / settings).write_text(text, encoding="utf-8")
    return folder


def _load_best(trainer: CaptionTrainer, average: WeightAverage, folder: Path) -> None:
    step = trainer.state.best_global_step
    best = folder / f"checkpoint-{step}"  # by name: it may move
    if best.is_dir():
        average.load(best)
    elif trainer.is_world_process_zero():  # the others may be on machines without the folder
        wrong = (
            f"{best}, the best checkpoint of its run, is gone: train"
            if step
            else f"No evaluation of the run in {folder} gave a number: lower --lr, and train"
        )
        raise ValueError(f"{wrong} again with another --output.")


def plain_options(options: OpenDataOptions | PolishOptions) -> dict[str, Any]:
    """The options as JSON, without this machine's folders."""

    def plain(value: Any) -> Any:
        if isinstance(value, tuple):
            return [plain(part) for part in value]
        if isinstance(value, Path):  # a run's result is always called model
            return f"{value.parent.name}/{value.name}" if value.name == "model" else value.name
        return value

    return {name: plain(value) for name, value in asdict(options).items()}
