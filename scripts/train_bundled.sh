#!/usr/bin/env bash
# Makes checkpoints/audiogpt-small from nothing: renders grooves, embeds the clips, trains, and
# evaluates. About two hours on two cores.
#   scripts/train_bundled.sh DATA WORK
# DATA holds musiccaps.csv and incompetech/ (tracks.jsonl, catalogue.jsonl, audio/); WORK is a folder
# for clips, embeddings and runs. Needs: apt-get install mma fluidsynth fluid-soundfont-gm
# timgm6mb-soundfont default-jre-headless
set -euo pipefail
DATA=$1 WORK=$2
cd "$(dirname "$0")/.."
PYTHON=${AUDIOGPT_VENV:-.venv}/bin/python
# Freed memory stays with the process: each step needs the same again.
export MALLOC_MMAP_THRESHOLD_=1073741824 MALLOC_TRIM_THRESHOLD_=8589934592
SOURCES=(--musiccaps "$DATA/musiccaps.csv" --incompetech "$DATA/incompetech"
  --grooves "$WORK/grooves" --embeddings "$WORK/embeddings")

[ -f "$WORK/grooves/grooves.jsonl" ] ||
  "$PYTHON" scripts/render_grooves.py --folder "$WORK/grooves" --clips 1100
[ -f "$WORK/embeddings/grooves.npz" ] ||
  "$PYTHON" -m audiogpt prepare-data --incompetech "$DATA/incompetech" --grooves "$WORK/grooves" \
    --embeddings "$WORK/embeddings"
"$PYTHON" -m audiogpt train-small "${SOURCES[@]}" --output "$WORK/small" --steps 4500 \
  --evaluate_every 750 --save_every 750 --seed 42 --threads 2 --resume
"$PYTHON" -m audiogpt evaluate --checkpoint "$WORK/small/model" --dataset musiccaps \
  --data "$DATA/musiccaps.csv" --split test --inputs tags --out "$WORK/predictions.json"
"$PYTHON" -m audiogpt check-behaviour --checkpoint "$WORK/small/model" \
  --musiccaps "$DATA/musiccaps.csv" --incompetech "$DATA/incompetech" \
  --embeddings "$WORK/embeddings"
