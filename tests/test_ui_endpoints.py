"""The public endpoints through gradio's own client, as a program would use them."""

from __future__ import annotations

import dataclasses
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest
from conftest import EXAMPLES
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from audiogpt.pipeline import Captioner
from audiogpt.request import CaptionResult, Decoding
from audiogpt.ui.endpoints import read_parts
from audiogpt.ui.fetching import ADDRESS
from audiogpt.ui.page import MAX_AT_ONCE, build, launch_options

QUICK = {"beams": 2, "max_tokens": 12}


@pytest.fixture(scope="module")
def demo(tiny_checkpoint):
    demo = build(Captioner.from_pretrained(tiny_checkpoint, device="cpu"))
    demo.launch(prevent_thread_lock=True, quiet=True, **launch_options())
    yield demo
    demo.close(verbose=False)


@pytest.fixture(scope="module")
def client(demo):
    return Client(demo.local_url, verbose=False)


def caption(client, audio=None, **changes):
    values = {"tags": {}, "artists": {}, "strengths": {}, "decoding": QUICK, "seed": 0} | changes
    return client.predict(audio=audio, **values, api_name="/caption")


def test_only_the_two_endpoints_are_public(client):
    named = client.view_api(return_format="dict")["named_endpoints"]
    assert set(named) == {"/caption", "/hear"}


def test_a_file_with_settings_becomes_a_result(client):
    answer = caption(
        client,
        handle_file(str(EXAMPLES[0])),
        tags={"mellow": 0.5},
        artists={"Ada": 3, "Bo": 1},
        strengths={"audio": 0.5},
        seed=7,
    )
    result = CaptionResult.from_dict(answer)
    assert result.request.tags[0].weight == 0.5 and result.request.seed == 7
    assert result.trace is not None and result.request.strength("audio") == 0.5
    assert result.request.tracks[0].sha256


def test_a_call_leaves_the_page_its_share_of_the_model(demo, client):
    client.predict(handle_file(str(EXAMPLES[0])), api_name="/hear")
    caption(client)
    queue = demo._queue.event_queue_per_concurrency_id["model"]
    assert queue.concurrency_limit == MAX_AT_ONCE == 2


def test_settings_that_are_not_given_are_the_checkpoints(tiny_checkpoint):
    usual = Decoding(beams=2, max_tokens=9, coverage=0.5, target_coverage=0.7)
    request = read_parts({}, {}, {}, {"beams": 5}, 0, usual=usual)
    assert request.decoding == dataclasses.replace(usual, beams=5)
    assert read_parts({}, {}, {}, {}, 0, usual=usual).decoding is None
    assert read_parts({}, {}, {}, {}, 7.0, usual=usual).seed == 7


def test_without_tags_those_heard_are_used_and_names_alone_weigh_one(client):
    heard = client.predict(handle_file(str(EXAMPLES[0])), api_name="/hear")
    assert list(heard.values()) == sorted(heard.values(), reverse=True)
    answer = caption(client, handle_file(str(EXAMPLES[0])))
    assert {tag["text"] for tag in answer["request"]["tags"]} <= set(heard)
    assert caption(client, tags=["piano"])["request"]["tags"] == [{"text": "piano", "weight": 1.0}]


def test_what_is_left_out_is_not_needed(client):
    result = client.predict(tags=["piano"], decoding=QUICK, api_name="/caption")
    assert [tag["text"] for tag in result["request"]["tags"]] == ["piano"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tags": {"a": 2}}, "between 0 and 1"),
        ({"tags": 5}, "not of the expected form"),
        ({"tags": "rock"}, "lists of names"),  # not one tag per letter
        ({"tags": {"rock": 10**400}}, r"between 0 and 1, not 10{39}\."),
        ({"strengths": {"video": 1}}, "no branch"),
        ({"strengths": ["audio"]}, "strengths is {name: value}"),
        ({"strengths": {"tags": True}}, "between 0 and 2"),
        ({"decoding": {"beams": 0}}, "between 1 and 16"),
        ({"decoding": {"beams": True}}, "whole number"),
        ({"decoding": {"beems": 5}}, "no setting 'beems': use method, beams"),
        ({"decoding": "beams"}, "decoding is {name: value}"),
        ({"seed": -4}, "seed"),
        ({"seed": 1.5}, "seed"),  # not rounded to another
        ({"seed": "5"}, "seed"),
    ],
)
def test_errors_are_one_sentence(client, changes, words):
    with pytest.raises(AppError, match=words) as caught:
        caption(client, **changes)
    assert "Traceback" not in str(caught.value)


def test_broken_audio_is_one_sentence(client, tmp_path):
    (tmp_path / "broken.wav").write_bytes(b"not a sound")
    with pytest.raises(AppError) as caught:
        caption(client, handle_file(str(tmp_path / "broken.wav")))
    assert "Traceback" not in str(caught.value) and "/tmp" not in str(caught.value)


def test_a_path_of_the_server_is_not_opened(client):
    for path in ("/etc/passwd", str(EXAMPLES[0].parent.parent.parent / "pyproject.toml")):
        fake = {"path": path, "meta": {"_type": "gradio.FileData"}}
        with pytest.raises(AppError):
            caption(client, fake)


@pytest.fixture
def elsewhere(monkeypatch):
    """Another server that gradio may fetch from: its address, and what was asked of it."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"not a sound")

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    # Gradio's own guard lets through what is public, or on this list.
    monkeypatch.setattr("gradio.processing_utils.PUBLIC_HOSTNAME_WHITELIST", ["127.0.0.1"])
    yield f"http://127.0.0.1:{server.server_port}/a.wav", asked
    server.shutdown()
    server.server_close()


def test_no_event_fetches_an_address(demo, elsewhere):
    address, asked = elsewhere
    file = {"path": address, "meta": {"_type": "gradio.FileData"}}
    tried = 0
    for number, event in demo.fns.items():
        for place in range(len(event.inputs)):
            for given in (file, {"deep": [{"down": file}]}):
                values = [None] * len(event.inputs)
                values[place] = given
                assert error_of(demo, number, values) == ADDRESS
                tried += 1
    assert tried >= 2 * (3 + 6 + 1) and asked == []  # three of the page's own, /caption and /hear


def error_of(demo, number: int, values: list) -> str:
    """What gradio answers, under its own protocol: its client uploads and leaves out too much."""
    api, session = f"{demo.local_url}gradio_api/queue", "s"
    body = {"fn_index": number, "data": values, "session_hash": session}
    httpx.post(f"{api}/join", json=body).raise_for_status()
    with httpx.stream("GET", f"{api}/data", params={"session_hash": session}) as answer:
        for line in answer.iter_lines():
            message = json.loads(line.removeprefix("data: ")) if line else {}
            if message.get("msg") == "process_completed":
                return "" if message["success"] else message["output"]["error"]
    raise AssertionError("The stream ended without an answer.")
