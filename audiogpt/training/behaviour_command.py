"""The command `check-behaviour`: the three checks of `behaviour`, printed as Markdown."""

from __future__ import annotations

import argparse
import random
from pathlib import Path

from audiogpt.caption_command import DECODING_HELP
from audiogpt.training.training_commands import HELP, WithDefaults

ONE_OF = 4  # held-out grooves is listened to: ranking takes the square of their number


def add_command(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `check-behaviour`."""
    parser = subparsers.add_parser(
        "check-behaviour",
        help="test that audio matters, tags steer and artists show",
        formatter_class=WithDefaults,
    )
    parser.add_argument("--checkpoint", default="audiogpt-small", help=HELP["checkpoint"])
    parser.add_argument("--musiccaps", type=Path, required=True, help=HELP["musiccaps"])
    parser.add_argument("--incompetech", type=Path, help=HELP["incompetech"])
    parser.add_argument("--grooves", type=Path, help=HELP["grooves"])
    parser.add_argument("--embeddings", type=Path, help="folder of prepare-data, to save time")
    parser.add_argument("--requests", type=int, default=1000, help="random requests with artists")
    parser.add_argument(
        "--beams", type=int, help=f"{DECODING_HELP['beams']} (default: the checkpoint's)"
    )
    parser.add_argument("--threads", type=int, default=0, help=HELP["threads"])
    parser.set_defaults(run=_check)


def _check(options: argparse.Namespace) -> int:
    import torch

    from audiogpt.checkpoint_parts import load_parts
    from audiogpt.request import Decoding
    from audiogpt.training import behaviour
    from audiogpt.training.embeddings import embed_clips, load_embeddings
    from audiogpt.training.grooves import read_grooves
    from audiogpt.training.incompetech import read_incompetech
    from audiogpt.training.musiccaps import read_musiccaps

    if options.threads:
        torch.set_num_threads(options.threads)
    parts = load_parts(options.checkpoint)
    model, tokenizer, lengths = parts.model, parts.tokenizer, parts.lengths
    if model.config.tag_rows != "text" or model.config.audio_rows != "segments":
        raise ValueError(
            "check-behaviour needs a checkpoint that reads tags as text and sound by segments, as "
            "train-small makes them."
        )
    settings = dict(model.config.decoding)
    if options.beams:
        settings["beams"] = options.beams
    settings["n_best"] = 1
    decoding = Decoding(**settings)
    train = read_musiccaps(options.musiccaps, "train")
    held = read_musiccaps(options.musiccaps, "validation")
    held_out = []  # pairs, where their clips lie, the file of their embeddings, and their texts
    if options.incompetech:
        pairs = read_incompetech(options.incompetech, "test")
        texts = {"the composer's": False, "composed from facts": True}
        held_out.append((pairs, options.incompetech / "audio", "incompetech.npz", texts))
    if options.grooves:
        pairs = read_grooves(options.grooves, "test")[::ONE_OF]
        held_out.append((pairs, options.grooves, "grooves.npz", {"composed, of grooves": True}))
    for pairs, folder, file, texts in held_out:
        width, clips = model.config.branch("audio").width, [c for p in pairs for c in p.audio]
        if options.embeddings:
            embeddings = load_embeddings(options.embeddings / file, width=width, clips=clips)
        else:
            files = (folder / clip for clip in clips)
            embeddings = embed_clips(files, name=model.config.audio_embedding)
        for name, facts in texts.items():
            heard = behaviour.audio_matters(
                model,
                tokenizer,
                pairs,
                embeddings,
                decoding=decoding,
                lengths=lengths,
                facts=facts,
            )
            print(
                f"Audio matters ({heard.clips} clips, {heard.descriptions} descriptions, {name}): "
                f"mean reciprocal rank {heard.mrr:.3f} by log-probability per token and "
                f"{heard.mrr_gain:.3f} by its gain over no audio, chance {heard.chance:.3f}; facts "
                f"named {heard.overlap:.1f} %, by other clips' captions "
                f"{heard.overlap_shuffled:.1f} %."
            )
    contexts = [pair.tags[:3] for pair in held]
    random.Random(0).shuffle(contexts)
    steer = behaviour.tags_steer(
        model,
        tokenizer,
        behaviour.commonest_tags(train),
        contexts,
        decoding=decoding,
        lengths=lengths,
    )
    weak = ", ".join(f"{tag} {hits}" for tag, hits in steer.by_tag.items() if hits < 5)
    print(
        f"Tags steer: the 60 commonest tags are mentioned in {steer.mentioned:.1f} % of 5 contexts "
        f"each, without the tag in {steer.mentioned_anyway:.1f} %; weight 0 equals absence: "
        f"{steer.zero_is_absent}. Below 5 of 5: {weak or 'none'}."
    )
    shown = behaviour.artists_show(
        model,
        tokenizer,
        [p.tags for p in held],
        decoding=decoding,
        lengths=lengths,
        requests=options.requests,
    )
    print(
        f"Artists show: {shown.requests} requests, {shown.raw_tokens} raw tokens, "
        f"{shown.nameless} captions with a nameless rank, {shown.named:.1f} % name an artist; "
        f"one dominating artist and an even mix read alike in {shown.same_wording:.1f} %."
    )
    return 0
