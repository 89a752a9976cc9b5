"""The public endpoints through gradio's own client, as a program would use them."""

from __future__ import annotations

import dataclasses

import pytest
from conftest import EXAMPLES
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from audiogpt.pipeline import Captioner
from audiogpt.request import CaptionResult, Decoding
from audiogpt.ui.endpoints import read_parts
from audiogpt.ui.page import build, launch_options

QUICK = {"beams": 2, "max_tokens": 12}


@pytest.fixture(scope="module")
def client(tiny_checkpoint):
    demo = build(Captioner.from_pretrained(tiny_checkpoint, device="cpu"))
    _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True, **launch_options())
    yield Client(url, verbose=False)
    demo.close(verbose=False)


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
