"""The curve of a run, as a table and as a picture."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any


def write_curve(history: list[dict[str, Any]], folder: Path, *, name: str) -> None:
    """The curve as `name`.csv and .png."""
    names = ["step", "loss", "reward", "learning_rate", "eval_loss", "eval_cider"]
    names += ["eval_tag_words_used", "eval_instruments_supported"]
    rows: dict[int, dict[str, Any]] = {}
    for entry in history:
        rows.setdefault(entry["step"], {"step": entry["step"]}).update(
            {key: round(entry[key], 6) for key in names[1:] if key in entry}
        )
    with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows[step] for step in sorted(rows))
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    axes = figure.subplots(1, 2)
    panels = (
        (("loss", "reward", "eval_loss"), "nats per token, or reward"),
        (tuple(names[5:]), "percent"),
    )
    for axis, (panel, label) in zip(axes, panels, strict=True):
        for key in panel:
            points = [(step, rows[step][key]) for step in sorted(rows) if key in rows[step]]
            if points:
                axis.plot(*zip(*points, strict=True), label=key)
        axis.set(xlabel="step", ylabel=label)
        axis.legend(fontsize=7)
    figure.savefig(folder / f"{name}.png", dpi=90)
