"""ChatSession and ChatWidget against Transformers, and what they show."""

import html
import math
import re
import threading

import engine_models
import pytest
import torch

from lecture_lib.engine import ModelDrafter
from lecture_lib.figures.chat import (
    Span,
    answer_html,
    candidates,
    chat_picture,
    spans_of,
    title_of,
)
from lecture_lib.inference_script.run import positions
from lecture_lib.inference_script.settings import TaskInfo
from lecture_lib.pipelines import TranslationPipeline
from lecture_lib.widgets import ChatWidget
from lecture_lib.widgets.chat_session import N_TOP, ChatSession, in_words

TEMPLATE = (
    "{% for m in messages %}<{{ m['role'][0] }}>{{ m['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<a>{% endif %}"
)


@pytest.fixture(scope="module")
def tiny():
    loaded = engine_models.loaded_model(engine_models.llama())
    loaded.tokenizer.chat_template = TEMPLATE
    return loaded


def ask(session, text, **settings):
    *_, answer = session.ask(text, TaskInfo("-", **{"output_len": 12, "temperature": 0} | settings))
    return answer


def decode_calls(engine):
    return sum(call.seq_len == 1 for call in engine.calls)


class TestSession:
    def test_greedy_answer_is_transformers(self, tiny):
        session = ChatSession(tiny)
        ids = torch.tensor([tiny.tokenizer("<u>hi<a>").input_ids])
        answer = ask(session, "hi")
        expected = engine_models.hf_greedy(tiny.model, ids, max_new_tokens=12, pad_token_id=256)
        assert [answer.token_ids] == expected
        assert answer.prompt_len == ids.shape[1]

    @pytest.mark.parametrize("settings", [{"temperature": 0}, {"temperature": 0.8, "top_k": 3}])
    def test_probabilities_are_transformers_softmax(self, tiny, settings):
        answer = ask(ChatSession(tiny), "hi", **settings)
        ids = tiny.tokenizer("<u>hi<a>").input_ids + answer.token_ids
        logits = tiny.model(torch.tensor([ids])).logits[0]
        probs = logits[-len(answer.token_ids) - 1 : -1].softmax(-1)
        for token, position, row in zip(answer.token_ids, answer.logprobs, probs, strict=True):
            assert position.token_id == token
            assert position.log_prob == pytest.approx(float(row[token].log()), abs=1e-4)
            top = row.topk(N_TOP)
            assert [i for i, _ in position.top] == top.indices.tolist()
            title = title_of(position, tiny.tokenizer)
            # The digits are of numbers compared here: rounded, 0.12349 and 0.12351 would differ.
            assert f"p = {math.exp(position.log_prob):.3f}" in title
            assert f"{math.exp(position.top[0][1]):.3f}" in title
            shown, _ = candidates(position, tiny.tokenizer)
            assert shown[0][1] == pytest.approx(float(top.values[0]), abs=1e-4)

    @pytest.mark.parametrize("settings", [{"temperature": 0}, {"temperature": 0.8, "top_k": 3}])
    def test_a_speculative_answer_has_its_probabilities_too(self, tiny, settings):
        session = ChatSession(tiny)
        task = TaskInfo("-", output_len=20, **settings)
        drafter = ModelDrafter(session.engine, k=6)  # always right when greedy
        growing = session.ask("hi" * 40, task, drafter=drafter)  # more than a chunk of the prompt
        for answer in growing:
            spans_of(answer.pieces, answer.logprobs, tiny.tokenizer)
        assert len(answer.logprobs) == len(answer.token_ids) == 20
        assert [p.token_id for p in answer.logprobs] == answer.token_ids
        ids = session.tokenizer("<u>" + "hi" * 40 + "<a>").input_ids + answer.token_ids
        log_probs = tiny.model(torch.tensor([ids])).logits[0].log_softmax(-1)[-21:-1]
        for token, position, row in zip(answer.token_ids, answer.logprobs, log_probs, strict=True):
            assert position.log_prob == pytest.approx(float(row[token]), abs=1e-4)
        if settings["temperature"] == 0:
            assert answer.token_ids == ask(ChatSession(tiny), "hi" * 40, output_len=20).token_ids
            assert "6.3 tokens per pass" in in_words(answer)

    def test_second_turn_is_written_by_the_template_with_the_first(self, tiny):
        session = ChatSession(tiny)
        first = ask(session, "hi")
        text = f"<u>hi<a>{first.text}<u>and then?<a>"
        assert session.prompt_ids("and then?") == tiny.tokenizer(text).input_ids
        second = ask(session, "and then?")
        assert second.prompt_len == len(tiny.tokenizer(text).input_ids)
        roles = [message["role"] for message in session.messages]
        assert roles == ["user", "assistant", "user", "assistant"]

    def test_without_a_template_it_goes_on_with_the_text(self):
        plain = engine_models.loaded_model(engine_models.llama())
        session = ChatSession(plain)
        assert not session.has_template
        first = ask(session, "hi")
        expected = plain.tokenizer(f"hi\n{first.text}\nmore").input_ids
        assert session.prompt_ids("more") == expected

    @pytest.mark.parametrize("after", [1, 3, 7])
    def test_stop_ends_before_the_next_pass(self, tiny, after):
        session, stopped = ChatSession(tiny), threading.Event()
        task = TaskInfo("-", output_len=40, temperature=0)
        for answer in session.ask("hi", task, stopped.is_set):
            if len(answer.token_ids) == after:
                stopped.set()
        assert answer.finish_reason == "stopped"
        assert len(answer.token_ids) == after
        assert decode_calls(session.engine) == after - 1  # the first token is the prefill's
        assert session.messages[-1]["content"] == tiny.tokenizer.decode(
            answer.token_ids, skip_special_tokens=True
        )

    def test_stop_while_a_long_prompt_is_read(self, tiny):
        session, asked = ChatSession(tiny), []

        def stopped():
            asked.append(1)
            return len(asked) == 2

        task = TaskInfo("-", output_len=2, temperature=0)
        *_, answer = session.ask("a" * 100, task, stopped)
        assert (answer.finish_reason, answer.token_ids) == ("stopped", [])
        assert [call.seq_len for call in session.engine.calls] == [64]
        assert session.messages == []

    def test_stop_string_is_not_part_of_the_answer(self, tiny):
        whole = ask(ChatSession(tiny), "hi").text
        stop = whole[4:6]
        answer = ask(ChatSession(tiny), "hi", stop=stop)
        assert answer.finish_reason == "stop"
        assert answer.text == whole[: whole.index(stop)]

    @pytest.mark.parametrize(
        ("text", "settings", "says"),
        [
            (" \n", {}, "Prompt: is empty"),
            ("a" * 100, {"output_len": 64}, "too long.*106 tokens.*context holds 128"),
        ],
    )
    def test_wrong_input(self, tiny, text, settings, says):
        with pytest.raises(ValueError, match=says):
            ChatSession(tiny).ask(text, TaskInfo("-", **settings))


class TestText:
    def test_a_template_that_refuses_is_an_error_with_its_own_words(self):
        refuse = "{{ raise_exception('System role not supported') }}"
        loaded = engine_models.loaded_model(engine_models.llama())
        loaded.tokenizer.chat_template = refuse
        with pytest.raises(ValueError, match=r"chat template refuses .*System role not supported"):
            ChatWidget(loaded)
        once = f"{{% if messages | length > 1 %}}{refuse}{{% endif %}}{TEMPLATE}"
        loaded.tokenizer.chat_template = once
        session = ChatSession(loaded)
        ask(session, "hi")
        with pytest.raises(ValueError, match="System role not supported"):
            ask(session, "again")
        assert len(session.messages) == 2

    @pytest.mark.parametrize(
        ("template", "says"),
        [
            ("{{ raise_exception('one message is enough') }}", "one message is enough"),
            ("{% for m in messages %}", "Unexpected end of template"),
            ("{{ messages[0]['name'].upper() }}", "has no attribute 'name'"),
            ("{{ 'a' + messages }}", "can only concatenate str"),
        ],
    )
    def test_every_way_a_template_can_fail_is_a_value_error(self, template, says):
        loaded = engine_models.loaded_model(engine_models.llama())
        loaded.tokenizer.chat_template = template
        translate = TranslationPipeline(
            model=loaded.model, tokenizer=loaded.tokenizer, task="translation"
        )
        for use in (
            lambda: ChatWidget(loaded),
            lambda: ChatSession(loaded),
            lambda: translate("translate English to French: seven"),
        ):
            with pytest.raises(ValueError, match=f"the chat template refuses .*{says}"):
                use()

    def test_parts_of_a_character_are_one_span(self, tiny):
        ids = tiny.tokenizer("aé!").input_ids
        session = ChatSession(tiny)
        logits = torch.zeros(len(ids), session.engine.vocab_size)
        spans = spans_of(["a", "", "é", "!"], positions(logits, ids, 2), tiny.tokenizer)
        assert [(span.text, span.last) for span in spans] == [("a", 1), ("é", 3), ("!", 4)]
        once = -torch.tensor(260.0).log().item()
        assert [s.log_prob for s in spans] == pytest.approx([once, 2 * once, once], abs=1e-4)

    def test_html_is_escaped(self):
        evil = "<script>alert('x')</script>"
        shown = answer_html([Span(evil, -0.1, f"'{evil}\"", 1)])
        assert "<script" not in shown
        assert html.unescape(re.sub(r"<[^>]*>", "", shown)) == evil

    def test_selected_token_is_framed(self):
        spans = [Span("a", -0.1, "t", 1), Span("b", -0.1, "t", 3)]
        shown = answer_html(spans, selected=2)
        framed = [part for part in shown.split("<span")[1:] if "outline" in part]
        assert len(framed) == 1
        assert framed[0].endswith(">b</span>")

    def test_picture_tells_the_probabilities(self):
        picture = chat_picture([("user", "hi"), ("assistant", [Span("yo", -0.6931, "", 1)])])
        assert "user: “hi”" in picture.alt
        assert "yo 0.50" in picture.alt
        with pytest.raises(ValueError, match="messages"):
            chat_picture([])


def chat(loaded, output_len=12):
    widget = ChatWidget(loaded)
    widget.output_len.value = output_len
    return widget


@pytest.fixture
def widget(tiny):
    return chat(tiny)


class TestWidget:
    def test_conversation(self, widget, tiny):
        widget.send("hi", wait=True)
        session = ChatSession(tiny)
        expected = ask(session, "hi")
        assert widget.error == ""
        assert widget.answers[0].token_ids == expected.token_ids
        assert widget.prompt.value == ""
        widget.send("more", wait=True)
        ask(session, "more")
        assert widget.session.messages == session.messages
        for shown in ("prompt tokens", "time to first token", "tokens/s", "12 new tokens"):
            assert shown in widget.facts.value
        widget.clear()
        assert widget.session.messages == []
        assert "hi" not in widget.history.value

    def test_controls_are_the_settings(self, widget):
        settings = {"output_len": 7, "temperature": 0.5, "top_k": 9, "top_p": 0.8, "seed": 3}
        settings |= {"repetition_penalty": 1.2}
        for name, value in settings.items():
            getattr(widget, name).value = value
        widget.stop_strings.value = "a b\n\n\\n\n\\\\né\n"
        assert {name: getattr(widget.settings, name) for name in settings} == settings
        assert widget.settings.stop == ("a b", "\n", "\\né")
        widget.stop_strings.value = "\\q"
        with pytest.raises(ValueError, match=r"\\q is unknown"):
            widget.settings  # noqa: B018

    def test_slider_shows_the_candidates(self, widget, tiny):
        widget.send("hi", wait=True)
        for number in (3, 1):
            widget.token.value = number
            shown, _ = candidates(widget.answers[0].logprobs[number - 1], tiny.tokenizer)
            assert f"{shown[0][1]:.3f}" in widget.picture.alt
            assert widget.picture.alt.endswith(".")
            assert html.escape(widget.picture.alt) in widget.picture_view.value

    def test_stop_from_the_kernel_while_a_thread_writes(self, tiny):
        widget = chat(tiny, output_len=100)
        third, go_on = threading.Event(), threading.Event()
        inner, calls = widget.session.engine.decode, []

        def decode(*args, **kwargs):
            calls.append(1)
            if len(calls) == 3:
                third.set()
                assert go_on.wait(30)
            return inner(*args, **kwargs)

        widget.session.engine.decode = decode
        widget.send("hi")
        assert third.wait(30)
        assert widget.running  # and this thread is free:
        widget.send("too early")
        assert "press Stop first" in widget.error
        widget.stop()
        go_on.set()
        widget.wait()
        assert len(calls) == 3
        assert len(widget.answers[0].token_ids) == 4
        assert widget.answers[0].finish_reason == "stopped"
        assert "stopped by you" in widget.facts.value
        assert widget.prompt.value == "too early"  # nothing that was typed is lost

    def test_what_is_wrong_is_shown_and_nothing_lost(self, widget):
        widget.send("b" * 125, wait=True)
        assert "too long" in widget.error
        assert 'role="alert"' in widget.message.value
        assert widget.prompt.value == "b" * 125
        widget.stop_strings.value = "\\q"
        widget.send("hi", wait=True)
        assert "Stop strings" in widget.error
        assert (widget.prompt.value, widget.session.messages) == ("hi", [])
        widget.stop_strings.value = ""
        widget.send(wait=True)
        assert widget.error == ""
        assert widget.session.messages[0]["content"] == "hi"

    def test_a_failing_model_is_told_and_the_text_comes_back(self, widget, monkeypatch):
        def fail(*args, **kwargs):
            raise RuntimeError("out of memory")

        monkeypatch.setattr(widget.session.engine, "decode", fail)
        widget.send("hi", wait=True)
        assert "RuntimeError: out of memory" in widget.error
        assert (widget.prompt.value, widget.session.messages) == ("hi", [])
        assert not widget.send_button.disabled
        monkeypatch.undo()
        widget.send(wait=True)
        assert len(widget.answers) == 1

    def test_what_the_user_writes_is_escaped(self, widget):
        widget.send("<script>x</script>", wait=True)
        widget.send("again", wait=True)
        shown = widget.history.value + widget.answer_view.value
        assert "&lt;script&gt;x" in shown
        assert "<script" not in shown

    def test_still_picture_is_the_same_every_time(self, tiny):
        first, second = ChatWidget(tiny), ChatWidget(tiny)
        stills = [w._repr_mimebundle_() for w in (first, second)]
        for kind in ("image/png", "text/html", "text/plain"):
            assert stills[0][kind] == stills[1][kind]
        assert "What is the capital of France?" in stills[0]["text/plain"]
        assert "ms" not in re.findall(r"\b\w+\b", stills[0]["text/plain"])
        first.send("hi", wait=True)
        assert "user: “hi”" in first._repr_mimebundle_()["text/plain"]


@pytest.mark.real_model
def test_real_model_answers_as_transformers(loaded):
    widget = chat(loaded, output_len=8)
    widget.send("What is the capital of France?", wait=True)
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    inputs = loaded.tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_dict=True, return_tensors="pt"
    )
    out = loaded.model.generate(**inputs, max_new_tokens=8, do_sample=False)
    assert widget.answers[0].token_ids == out[0, inputs.input_ids.shape[1] :].tolist()
    assert "Paris" in widget.session.messages[-1]["content"]
