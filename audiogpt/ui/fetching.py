"""The server fetches nothing for a visitor: files are uploaded, where their size is bounded."""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio_client.utils import is_file_obj_with_meta, is_http_url_like, traverse

ADDRESS = "An address is not taken for a file: upload the file itself."


class UploadsOnly(gr.Blocks):
    """Blocks whose events refuse a file that is given by its address.

    Gradio has no setting for it: before any handler runs it downloads what is shaped like a file
    and has an address for a path, of any size, wherever in the inputs of any component that is.
    """

    async def preprocess_data(
        self, block_fn: Any, inputs: list[Any], *args: Any, **options: Any
    ) -> Any:
        traverse(inputs, _refuse_address, is_file_obj_with_meta)
        return await super().preprocess_data(block_fn, inputs, *args, **options)


def _refuse_address(file: dict[str, Any]) -> dict[str, Any]:
    if is_http_url_like(file["path"]):
        raise gr.Error(ADDRESS, print_exception=False)
    return file
