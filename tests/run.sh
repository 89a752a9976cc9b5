#!/usr/bin/env bash
# Installs what testing needs and runs every check: format, lint, types and tests.
# Extra arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
VENV=${AUDIOGPT_VENV:-.venv}
[ -x "$VENV/bin/python" ] || python3 -m venv "$VENV"
"$VENV/bin/python" -m pip install --quiet --disable-pip-version-check \
  -r requirements-dev.txt
"$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps pycocoevalcap==1.2

# System packages: a browser for the page's tests, ffmpeg for m4a, Java for METEOR.
missing=()
for pair in chromium:chromium ffmpeg:ffmpeg java:default-jre-headless; do
  command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
      "${missing[@]}" fonts-dejavu-core >/dev/null
  else
    echo "Tests that need ${missing[*]} will be skipped: install them for a full run." >&2
  fi
fi
# axe-core checks the page's accessibility.
if command -v npm >/dev/null && [ ! -f build/npm/node_modules/axe-core/axe.min.js ]; then
  mkdir -p build/npm
  npm install --silent --no-audit --no-fund --prefix build/npm axe-core@4 >/dev/null ||
    echo "axe-core could not be installed: the accessibility test will be skipped." >&2
fi

"$VENV/bin/ruff" format --check .
"$VENV/bin/ruff" check .
"$VENV/bin/mypy"
# Files run side by side, so each process computes on one core.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
exec "$VENV/bin/python" -m pytest -n auto --maxprocesses 4 --dist loadfile "$@"
