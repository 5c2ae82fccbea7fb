"""The server, asked by OpenAI's own client; and what it does with clients who misbehave."""

import asyncio
import http.client
import json
import queue
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import openai
import pytest
from engine_models import CONFIGS, loaded_model
from tiny_models import save_tiny_model

from lecture_lib.engine import Engine
from lecture_lib.serving import PagedEngine
from lecture_lib.serving.server import Server

MODEL = "tiny"
PROMPTS = [f"client number {i} asks" for i in range(20)]


@contextmanager
def running(paged: PagedEngine, **limits):
    """The server in a thread of its own: (the server, a client of it)."""
    started: queue.Queue = queue.Queue()

    async def main():
        server, stop = Server(paged, MODEL, **limits), asyncio.Event()
        started.put((server, server.listen(0), asyncio.get_running_loop(), stop))
        await stop.wait()
        await server.close()

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    server, port, loop, stop = started.get(timeout=60)
    url = f"http://127.0.0.1:{port}/v1"
    try:
        with openai.OpenAI(base_url=url, api_key="none", max_retries=0, timeout=120) as client:
            yield server, client
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(timeout=60)
    assert not thread.is_alive()
    assert server.passes.cancelled()


@pytest.fixture(scope="module")
def engine():
    return Engine(loaded_model(CONFIGS["llama"]))


@pytest.fixture(scope="module")
def served(engine):
    with running(PagedEngine(engine, 256, 4, max_running=8, token_budget=32)) as found:
        yield found


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def solo(engine, prompt, n):
    return engine.generate(prompt, n)


def test_a_text_is_that_of_the_engine(served, engine):
    _, client = served
    answer = client.completions.create(model=MODEL, prompt="hello", max_tokens=9, temperature=0)
    expected = solo(engine, "hello", 9)
    assert answer.choices[0].text == expected.text
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.prompt_tokens == 5
    assert answer.usage.completion_tokens == 9


def test_pieces_make_the_same_text(served, engine):
    _, client = served
    options = {"max_tokens": 20, "temperature": 0, "stream_options": {"include_usage": True}}
    chunks = list(client.completions.create(model=MODEL, prompt="hello", stream=True, **options))
    pieces = [chunk.choices[0] for chunk in chunks if chunk.choices]
    assert "".join(piece.text for piece in pieces) == solo(engine, "hello", 20).text
    assert [piece.finish_reason for piece in pieces[:-1]] == [None] * (len(pieces) - 1)
    assert pieces[-1].finish_reason == "length"
    assert chunks[-1].usage.completion_tokens == 20


def test_a_stop_string_ends_a_text(served, engine):
    server, client = served
    full = solo(engine, "hello", 30).text
    stop = full[4:6]
    for stream in (False, True):
        answer = client.completions.create(
            model=MODEL, prompt="hello", max_tokens=30, temperature=0, stop=stop, stream=stream
        )
        choices = [chunk.choices[0] for chunk in answer] if stream else answer.choices
        assert "".join(choice.text for choice in choices) == full[: full.index(stop)]
        assert choices[-1].finish_reason == "stop"
    wait_for(lambda: not server.paged.scheduler.running)


def test_several_prompts_and_several_texts_of_each(served):
    _, client = served
    options = {"model": MODEL, "prompt": ["one", "another"], "n": 3, "max_tokens": 12, "seed": 5}
    first, again = (client.completions.create(**options, temperature=1.5) for _ in range(2))
    texts = [choice.text for choice in first.choices]
    assert [choice.index for choice in first.choices] == list(range(6))
    assert len(set(texts)) == 6
    assert texts == [choice.text for choice in again.choices]  # the same seed


@pytest.mark.parametrize(
    ("change", "status", "param"),
    [
        ({"model": "gpt-4"}, 404, "model"),
        ({"prompt": ""}, 400, "prompt"),
        ({"prompt": [10**6]}, 400, "prompt"),
        ({"prompt": "a" * 200}, 400, None),
        ({"prompt": {"a": 1}}, 400, "prompt"),
        ({"max_tokens": 0}, 400, "max_tokens"),
        ({"max_tokens": "7"}, 400, "max_tokens"),
        ({"temperature": -1}, 400, "temperature"),
        ({"top_p": 0}, 400, "top_p"),
        ({"n": 9}, 400, "n"),
        ({"n": 99}, 400, "n"),
        ({"seed": -1}, 400, "seed"),
        ({"stop": 5}, 400, "stop"),
        ({"stream": "yes"}, 400, "stream"),
        ({"stream_options": {"what": 1}}, 400, "stream_options"),
        ({"logprobs": 2}, 400, "logprobs"),
    ],
)
def test_a_bad_request_is_told_which_argument(served, change, status, param):
    _, client = served
    body = {"model": MODEL, "prompt": "hello", "max_tokens": 4} | change
    with pytest.raises(openai.APIStatusError) as error:
        client.post("/completions", body=body, cast_to=object)
    assert error.value.status_code == status
    assert error.value.body["param"] == param
    assert error.value.body["message"]


@pytest.mark.parametrize(
    "messages", [None, [], "hi", [1], [{"role": "user"}], [{"role": 1, "content": "a"}]]
)
def test_a_bad_conversation_is_refused(served, messages):
    _, client = served
    body = {"model": MODEL} | ({"messages": messages} if messages is not None else {})
    with pytest.raises(openai.BadRequestError) as error:
        client.post("/chat/completions", body=body, cast_to=object)
    assert error.value.body["param"] == "messages"


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v1/completions", b"{", 400),
        ("POST", "/v1/completions", b"[" * 50_000, 400),
        ("POST", "/v1/completions", b"[1]", 400),
        ("GET", "/v1/completions", None, 405),
        ("GET", "/nothing", None, 404),
    ],
)
def test_what_is_no_request_gets_an_error_in_the_same_form(served, method, path, body, status):
    _, client = served
    connection = http.client.HTTPConnection(client.base_url.host, client.base_url.port, timeout=60)
    connection.request(method, path, body)
    answer = connection.getresponse()
    assert answer.status == status
    assert json.loads(answer.read())["error"]["message"]
    connection.close()


def test_a_body_of_megabytes_is_refused(served, engine):
    _, client = served
    with socket.create_connection((client.base_url.host, client.base_url.port), 60) as raw:
        raw.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n")
        assert b"400" in raw.recv(100)
    test_a_text_is_that_of_the_engine(served, engine)


def test_twenty_clients_at_once_of_which_one_breaks_off(served, engine):
    server, client = served

    def ask(prompt):
        answer = client.completions.create(model=MODEL, prompt=prompt, max_tokens=25, temperature=0)
        return answer.choices[0].text

    def break_off():
        stream = client.completions.create(
            model=MODEL, prompt="I shall leave", max_tokens=90, temperature=0, stream=True
        )
        next(iter(stream))
        stream.close()

    with ThreadPoolExecutor(20) as pool:
        left = pool.submit(break_off)
        texts = list(pool.map(ask, PROMPTS[:19]))
        left.result()
    assert texts == [solo(engine, prompt, 25).text for prompt in PROMPTS[:19]]
    wait_for(lambda: server.n_open == 0 and not server.paged.scheduler.running)
    assert not any(server.paged.pool.readers)
    assert not server.listeners


def test_too_many_texts_are_refused_and_later_ones_are_not(engine):
    with running(PagedEngine(engine, 64, 4), most_open=2) as (server, client):
        options = {"model": MODEL, "prompt": "hello", "temperature": 0}
        stream = client.completions.create(**options, max_tokens=100, stream=True, n=2)
        next(iter(stream))
        with pytest.raises(openai.RateLimitError, match="2 of at most 2"):
            client.completions.create(**options, max_tokens=1)
        stream.close()
        wait_for(lambda: server.n_open == 0)
        assert client.completions.create(**options, max_tokens=1).choices[0].finish_reason


def test_a_failed_pass_is_an_error_and_the_server_goes_on(engine, monkeypatch):
    paged = PagedEngine(engine, 64, 4)
    with running(paged) as (_, client):
        options = {"model": MODEL, "prompt": "hello", "max_tokens": 5, "temperature": 0}
        with monkeypatch.context() as patched:
            patched.setattr(paged, "run_pass", lambda plan: 1 / 0)
            with pytest.raises(openai.InternalServerError, match="ZeroDivisionError"):
                client.completions.create(**options)
        assert client.completions.create(**options).choices[0].text == solo(engine, "hello", 5).text
    assert not any(paged.pool.readers)


@pytest.mark.real_model
@pytest.mark.slow
def test_the_command_answers_and_ends_at_ctrl_c():
    command = [sys.executable, "-m", "lecture_lib.serving", "--port", "0"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    try:
        url = process.stdout.readline().split()[0]
        with openai.OpenAI(base_url=url, api_key="none", max_retries=0, timeout=300) as client:
            (model,) = client.models.list()
            messages = [{"role": "user", "content": "What is the capital of France?"}]
            options = {"model": model.id, "messages": messages, "temperature": 0, "max_tokens": 12}
            said = client.chat.completions.create(**options).choices[0].message.content
            stream = client.chat.completions.create(**options, stream=True)
            assert "".join(chunk.choices[0].delta.content for chunk in stream) == said
            assert "Paris" in said
            endless = client.chat.completions.create(
                **options | {"max_tokens": 2_000, "stop": "\0"}, stream=True
            )
            next(iter(endless))
            process.send_signal(signal.SIGINT)
            assert process.wait(120) == 0
    finally:
        process.kill()
    assert "Traceback" not in process.stderr.read()


def test_what_stops_the_command_is_one_line(tmp_path, monkeypatch, capsys):
    """Run in this process, which has the imports."""
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # Ctrl-C stays pytest's
    save_tiny_model(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for options, words in (
            (["--model", "/no/such/folder"], "/no/such/folder"),
            (["--model", str(tmp_path), "--port", port], "port"),
            (["--model", str(tmp_path), "--port", "70000"], "port"),
            (["--model", str(tmp_path), "--token-budget", "1"], "token_budget"),
        ):
            monkeypatch.setattr(sys, "argv", ["serving", *options])
            with pytest.raises(SystemExit, match="1"):
                runpy.run_module("lecture_lib.serving", run_name="__main__")
            last = capsys.readouterr().err.splitlines()[-1]
            assert last.startswith("error: ")
            assert words in last
