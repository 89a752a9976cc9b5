"""The page as gradio blocks: one custom component that is the page, one that brings the answers.

Everything that a visitor sees is built by `web/`; python sends numbers and text, never markup.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import gradio as gr

from audiogpt.pipeline import Captioner
from audiogpt.ui.answers import Answers, first_message
from audiogpt.ui.endpoints import add_endpoints
from audiogpt.ui.fetching import UploadsOnly
from audiogpt.ui.upload_folder import AGE, SWEEP
from audiogpt.ui.uploads import EXAMPLES, example_names

WEB = Path(__file__).parent / "web"
# One function scope, in this order: each file uses only names of those before it.
SCRIPTS = (
    "elements.js",
    "state.js",
    "audio.js",
    "listen.js",
    "steer.js",
    "strip.js",
    "read.js",
    "pictures.js",
    "why.js",
    "compare.js",
    "export.js",
    "keep.js",
    "tab.js",
    "waiting.js",
    "peek.js",
    "main.js",
)
STYLES = ("base.css", "steer.css", "read.css", "why.css", "touch.css", "contrast.css")
MAX_FILE_SIZE = "200mb"
MAX_WAITING = 32
MAX_AT_ONCE = 2
# Gradio keeps what each visit last asked and was told, whole answers with it, and by default those
# of 10,000 visits: gigabytes. An answer is whole in itself, so that nothing is missed afterwards.
MAX_REMEMBERED = 64
# Each event that uses the model says all of this: gradio gives a shared queue the lowest limit that
# any of its events has, and an event that gives none has 1.
MODEL_QUEUE: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": MAX_AT_ONCE}
# What the page asks while it still waits for an answer of that kind: the newest is asked next, as
# sliders move faster than captions come. Gradio then sends what the page says by that time, which
# may be of another kind: so parts begun anew are asked for at once; the run before was called off.
TRIGGER_MODES: dict[str, Literal["always_last", "multiple"]] = {
    "caption": "always_last",
    "segments": "multiple",
    "shapley": "always_last",
}


def script() -> str:
    """All of the page's JavaScript; gradio runs it as the body of one function."""
    parts = [(WEB / name).read_text(encoding="utf-8") for name in SCRIPTS]
    return '"use strict";\n' + "\n".join(parts) + "\n//# sourceURL=audiogpt.js\n"


def style() -> str:
    return "\n".join((WEB / name).read_text(encoding="utf-8") for name in STYLES)


def theme() -> gr.themes.Base:
    """A plain theme with the visitor's own fonts: nothing is fetched from elsewhere."""
    return gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])


def launch_options() -> dict[str, Any]:
    """What belongs to `launch()` rather than to `Blocks`."""
    return {
        "theme": theme(),
        "css": style(),
        "max_file_size": MAX_FILE_SIZE,
        "state_session_capacity": MAX_REMEMBERED,
        "show_error": True,
        "ssr_mode": False,
        "pwa": False,
        "run_history": False,
        "footer_links": ["api"],
        # Gradio's name for asking its own server for the page once, and giving up after 3 s: a
        # small machine that still warms up, or is busy, may need longer.
        "_frontend": False,
    }


def _server_functions(answers: Answers) -> list[Callable[..., Any]]:
    """What the page calls outside the queue; plain functions, because gradio marks them."""

    def supersede(page_and_run: Any) -> bool:
        answers.supersede(page_and_run)
        return True  # tells the page that the server is there

    def restore(text: Any) -> str:
        return answers.restore(text)

    return [supersede, restore]


def build(captioner: Captioner) -> gr.Blocks:
    """The whole page and its public endpoints; launch it with `launch_options()`."""
    gr.set_static_paths([EXAMPLES])
    answers = Answers(captioner)
    blocks = UploadsOnly(title="AudioGPT", analytics_enabled=False, delete_cache=(SWEEP, AGE))
    with blocks:
        desk = gr.HTML(
            value="",
            html_template=(WEB / "page.html").read_text(encoding="utf-8"),
            js_on_load=script(),
            apply_default_css=False,
            elem_id="audiogpt",
            server_functions=_server_functions(answers),
            first=first_message(captioner),
            examples=[{"name": name, "path": str(EXAMPLES / name)} for name in example_names()],
        )
        wires = {
            name: gr.HTML(
                value="",
                html_template="",
                js_on_load=f"watch('value', () => window.audiogptAnswer('{name}', props.value));",
                visible="hidden",
            )
            for name in TRIGGER_MODES
        }
        for name, wire in wires.items():
            asked = getattr(desk, f"ask_{name}")(
                getattr(answers, name),
                inputs=desk,
                outputs=wire,
                show_progress="hidden",
                trigger_mode=TRIGGER_MODES[name],
                api_name=f"page_{name}",
                api_visibility="private",
                **MODEL_QUEUE,
            )
            asked.failure(
                None, js=f"() => window.audiogptFailed('{name}')", api_visibility="private"
            )
        add_endpoints(captioner, queue=MODEL_QUEUE)
    blocks.queue(max_size=MAX_WAITING)
    return blocks
