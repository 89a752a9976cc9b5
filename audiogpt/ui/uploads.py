"""Which files the page may open: what gradio itself stored, and the bundled examples.

The page names its audio in a JSON message, so every name is checked here before it is opened.
"""

from __future__ import annotations

from pathlib import Path

from gradio.utils import get_upload_folder

EXAMPLES = Path(__file__).resolve().parents[2] / "assets" / "examples"
EXAMPLE_PREFIX = "example:"
EXPIRED = " is no longer on the server: add the file again."


def example_names() -> tuple[str, ...]:
    """File names of the bundled clips, for example "piano-waltz.ogg"."""
    return tuple(sorted(path.name for path in EXAMPLES.glob("*.ogg")))


def local_path(name: str, shown: str = "") -> str:
    """The file behind `example:NAME` or an uploaded path.

    Raises ValueError for anything else; `shown` is what the page calls it.
    """
    expired = (shown or "This upload") + EXPIRED
    if not isinstance(name, str) or any(c == "\0" or "\ud800" <= c <= "\udfff" for c in name):
        raise ValueError(expired)
    if name.startswith(EXAMPLE_PREFIX):
        wanted = name.removeprefix(EXAMPLE_PREFIX)
        if wanted not in example_names():
            raise ValueError("There is no example of that name.")
        return str(EXAMPLES / wanted)
    folder = Path(get_upload_folder()).resolve()
    path = Path(name).resolve()  # follows links and dots before the comparison
    if not path.is_relative_to(folder) or not path.is_file():
        raise ValueError(expired)
    return str(path)
