"""The course's pipelines do what Transformers' pipelines do, and what the models do by hand."""

import pytest
import torch
from engine_models import byte_tokenizer, random_model, sentencepiece_tokenizer
from forked import Forked
from forked_targets import register_the_removed_tasks
from tiny_models import save_tiny_model, tiny_tokenizer
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    LlamaConfig,
    TextClassificationPipeline,
    pipeline,
)

from lecture_lib.course_t5 import FOLDER
from lecture_lib.pipelines import (
    LabelWordsPipeline,
    SummarizationPipeline,
    TextClassification,
    TranslationPipeline,
)

TEXTS = [
    "translate English to French: four hundred and twenty-one",
    "translate English to French: She does not see the small cat.",
    "translate English to French: seven",
    "translate English to French: The train leaves at noon.",
]
CHAT_TEMPLATE = "{% for m in messages %}the {{ m['content'] }} ate {% endfor %}"
WORDS = ["mouse", "cheese", "quick brown"]  # of the tiny tokenizer; the last takes two tokens
TEMPLATE = "the {text} ate"


@pytest.fixture(scope="module")
def translate():
    return pipeline("translation", model=str(FOLDER), device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def by_hand():
    """Answers from tokenizer and model alone, one text at a time."""
    model = AutoModelForSeq2SeqLM.from_pretrained(FOLDER, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(FOLDER)

    def answer(text, **options):
        batch = tokenizer(text, return_tensors="pt")
        options = {"max_new_tokens": 64, **options}
        output = model.generate(**batch, **options)
        return [text.strip() for text in tokenizer.batch_decode(output, skip_special_tokens=True)]

    return answer


def new_tokens(pipe, text, **options):
    """The ids that the pipeline's model writes for a text, the start token first."""
    return pipe.forward(pipe.preprocess(text), **options)["output_ids"][0, 0]


# -- registration --------------------------------------------------------------------------------


def test_transformers_refuses_the_tasks_until_the_package_is_imported(tmp_path):
    fresh = Forked(register_the_removed_tasks, tmp_path)
    refused, registered = fresh.ask(str(FOLDER))
    assert refused == [True, True]
    assert registered == ["TranslationPipeline", "SummarizationPipeline"]
    assert "already registered" not in fresh.stop()


def test_text_classification_keeps_trained_heads_and_invents_none(tmp_path):
    bert, llama = tmp_path / "bert", tmp_path / "llama"
    save_tiny_classifier(bert)
    save_tiny_model(llama)
    trained = pipeline("text-classification", model=str(bert))
    assert isinstance(trained, TextClassificationPipeline)
    tokenizer = AutoTokenizer.from_pretrained(bert)
    model = AutoModelForSequenceClassification.from_pretrained(bert)
    plain = TextClassificationPipeline(model=model, tokenizer=tokenizer, task="text-classification")
    assert trained(["the mouse", "the fox"], top_k=None) == plain(
        ["the mouse", "the fox"], top_k=None
    )
    causal = pipeline("sentiment-analysis", model=str(llama))
    assert isinstance(causal, LabelWordsPipeline)
    assert type(causal.model).__name__ == "LlamaForCausalLM"


# -- translation and summarization with an encoder-decoder ---------------------------------------


def test_answers_are_the_models(translate, by_hand):
    for text in TEXTS:
        assert translate(text) == [{"translation_text": by_hand(text)[0]}]
    assert translate(TEXTS) == [{"translation_text": by_hand(text)[0]} for text in TEXTS]
    assert translate(TEXTS[:1]) == [{"translation_text": by_hand(TEXTS[0])[0]}]
    assert translate([]) == []


def test_summarization_names_its_output(by_hand):
    summarize = pipeline("summarization", model=str(FOLDER), device="cpu", dtype="float32")
    text = "summarize: Lyon played at home against Nice. Lyon won 3 to 1."
    assert isinstance(summarize, SummarizationPipeline)
    assert summarize(text) == [{"summary_text": by_hand(text)[0]}]


def test_batches_are_run_as_batches_and_change_nothing(translate, monkeypatch):
    one_by_one = translate(TEXTS)
    shapes = []
    generate = translate.model.generate
    monkeypatch.setattr(
        translate.model, "generate",
        lambda **inputs: shapes.append(tuple(inputs["input_ids"].shape)) or generate(**inputs),
    )  # fmt: skip
    assert translate(TEXTS, batch_size=3) == one_by_one
    assert [shape[0] for shape in shapes] == [3, 1]


def test_generation_arguments_reach_the_model(translate, by_hand):
    text = TEXTS[1]
    # The lecture's: max_new_tokens = 9. The sentence's first tokens, no more.
    assert len(new_tokens(translate, text, max_new_tokens=2)) == 3  # and the start token
    found = translate(text, num_beams=3, num_return_sequences=3)
    assert [f["translation_text"] for f in found] == by_hand(
        text, num_beams=3, num_return_sequences=3
    )
    both = translate(TEXTS[:2], num_beams=2, num_return_sequences=2)
    assert [len(answers) for answers in both] == [2, 2]
    # At construction they hold for every call, and a call's own come first.
    capped = pipeline(
        "translation", model=translate.model, tokenizer=translate.tokenizer, max_new_tokens=2
    )
    assert capped(text)[0]["translation_text"] == by_hand(text, max_new_tokens=2)[0]
    assert capped(text, max_new_tokens=64) == translate(text)


def test_long_outputs_are_not_cut_at_twenty_tokens(translate):
    found = new_tokens(translate, TEXTS[0], min_new_tokens=30)
    assert len(found) > 30, "generate()'s own default cuts at 20"


def test_a_generator_is_run_lazily(translate, by_hand):
    taken = []

    def texts():
        for text in TEXTS:
            taken.append(text)
            yield text

    results = translate(texts())
    assert len(taken) <= 1
    assert next(iter(results)) == [{"translation_text": by_hand(TEXTS[0])[0]}]
    assert len(taken) < len(TEXTS)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (3, "inputs: .* got int"),
        (None, "got NoneType"),
        (["one", 3], r"inputs\[1\]: .* got int"),
        (("one", "two"), "got tuple"),
        ({"text": "one"}, "got dict"),
        ([["one"]], r"inputs\[0\]: .* got list"),
        ([{"role": "user", "content": "one"}], "got dict"),
        ("  ", "is empty"),
        (["one", ""], r"inputs\[1\]: is empty"),
    ],
)
def test_wrong_inputs_are_named(translate, bad, words):
    with pytest.raises(ValueError, match=words):
        translate(bad)
    with pytest.raises(ValueError, match=words):
        tiny_label_words()(bad)


# -- translation and summarization with a chat model ---------------------------------------------


def chat_model(family="llama"):
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template, tokenizer.pad_token = CHAT_TEMPLATE, "</s>"
    return tiny_causal(family), tokenizer


def tiny_causal(family):
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        save_tiny_model(folder, family)
        return AutoModelForCausalLM.from_pretrained(folder)


def test_a_chat_model_gets_a_request_in_its_template():
    model, tokenizer = chat_model()
    translate = TranslationPipeline(model=model, tokenizer=tokenizer, task="translation")
    text = "translate English to German: the mouse"
    asked = translate.request(text)
    assert "from English to German" in asked
    assert asked.endswith("\n\nthe mouse")
    prompt = tokenizer(f"the {asked} ate ", return_tensors="pt")
    output = model.generate(**prompt, max_new_tokens=5, do_sample=False)
    new = tokenizer.decode(output[0, prompt.input_ids.shape[1] :], skip_special_tokens=True)
    assert translate(text, max_new_tokens=5) == [{"translation_text": new.strip()}]
    with pytest.raises(ValueError, match="must be told the languages"):
        translate("the mouse")


def test_a_chat_models_batch_is_padded_on_the_left():
    model, tokenizer = chat_model()
    tokenizer.padding_side = "right"
    summarize = SummarizationPipeline(model=model, tokenizer=tokenizer, task="summarization")
    texts = ["the mouse", "the quick brown fox ate the cheese the mouse ate"]
    alone = [summarize(text, max_new_tokens=6)[0] for text in texts]
    assert summarize(texts, batch_size=2, max_new_tokens=6) == alone


def test_a_model_that_cannot_be_asked_is_refused():
    model, tokenizer = tiny_causal("gpt2"), tiny_tokenizer()
    with pytest.raises(ValueError, match="no chat template"):
        TranslationPipeline(model=model, tokenizer=tokenizer, task="translation")
    with pytest.raises(ValueError, match="tokenizer: a pipeline needs one"):
        SummarizationPipeline(model=model, task="summarization")


# -- label words ---------------------------------------------------------------------------------


def tiny_label_words(family="llama", **options):
    options = {"labels": WORDS, "template": TEMPLATE, **options}
    return TextClassification(
        model=tiny_causal(family), tokenizer=tiny_tokenizer(), task="text-classification", **options
    )


def word_log_prob(pipe, prompt, word):
    """log p(word | prompt) with nothing batched, padded or gathered."""
    prompt_ids = pipe.tokenizer(prompt).input_ids
    total = 0.0
    for token_id in pipe.tokenizer(f" {word}").input_ids:
        with torch.no_grad():
            row = pipe.model(torch.tensor([prompt_ids])).logits[0, -1]
        total += torch.log_softmax(row, -1)[token_id].item()
        prompt_ids = [*prompt_ids, token_id]
    return total


@pytest.mark.parametrize("family", ["llama", "opt", "gpt2"])
def test_scores_are_the_words_probabilities_over_their_prior(family):
    pipe = tiny_label_words(family)
    scores, prior = (
        torch.tensor([word_log_prob(pipe, f"the {text} ate", word) for word in WORDS])
        for text in ("quick fox", "N/A")
    )
    scores -= prior
    expected = dict(zip(WORDS, scores.softmax(-1).tolist(), strict=True))
    found = {a["label"]: a["score"] for a in pipe("quick fox", top_k=None)}
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("tokenizer", "added"),
    [
        (sentencepiece_tokenizer("▁positive", "▁negative", "▁sentiment"), ["▁positive"]),
        (sentencepiece_tokenizer("▁posi", "▁negative"), ["▁posi", *"tive"]),
        (byte_tokenizer(), ["Ġ", *"positive"]),
    ],
    ids=["a piece", "several pieces", "bytes"],
)
def test_a_label_is_scored_by_the_tokens_that_the_text_has_with_its_word(tokenizer, added):
    """SentencePiece alone would put a space in front of the word's own."""
    tokenizer.pad_token = "</s>"
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=128,
    )  # fmt: skip
    pipe = TextClassification(
        model=random_model(config), tokenizer=tokenizer, task="text-classification",
        labels=["positive", "negative"], template="{text} sentiment",
    )  # fmt: skip
    expected = dict.fromkeys(("positive", "negative"), 0)
    for word in expected:
        for sign, text in ((1, "a b"), (-1, "N/A")):
            prompt, whole = (
                tokenizer(t).input_ids for t in (f"{text} sentiment", f"{text} sentiment {word}")
            )
            assert whole[: len(prompt)] == prompt
            new = whole[len(prompt) :]
            assert word != "positive" or tokenizer.convert_ids_to_tokens(new) == added
            log_probs = pipe.model(torch.tensor([whole])).logits[0].log_softmax(-1)
            rows = range(len(prompt) - 1, len(whole) - 1)  # each predicts the token behind it
            expected[word] += sign * log_probs[rows, new].sum().item()
    probs = torch.tensor(list(expected.values())).softmax(-1).tolist()
    found = {a["label"]: a["score"] for a in pipe("a b", top_k=None)}
    assert found == pytest.approx(dict(zip(expected, probs, strict=True)), rel=1e-5)


@pytest.mark.parametrize("family", ["llama", "opt", "gpt2"])
def test_label_words_in_batches(family, monkeypatch):
    pipe = tiny_label_words(family)
    texts = ["mouse", "quick brown fox ate the cheese", "cheese mouse"]
    alone = [pipe(text, top_k=None) for text in texts]
    rows = []
    forward = pipe.model.forward
    monkeypatch.setattr(
        pipe.model, "forward", lambda **k: rows.append(len(k["input_ids"])) or forward(**k)
    )
    together = pipe(texts, top_k=None, batch_size=3)
    assert rows == [3, 3, 3], "one pass a label for the whole batch, and the prior is kept"
    for one, other in zip(alone, together, strict=True):
        assert [a["label"] for a in one] == [a["label"] for a in other]
        assert [a["score"] for a in one] == pytest.approx([a["score"] for a in other], abs=1e-5)


def test_outputs_have_the_form_of_transformers_own(tmp_path):
    save_tiny_classifier(tmp_path)
    own = pipeline("text-classification", model=str(tmp_path), device="cpu")
    ours = tiny_label_words()

    def form(answer):
        if isinstance(answer, list):
            return [form(part) for part in answer]
        return {key: type(value) for key, value in answer.items()}

    for inputs in ("the mouse", ["the mouse"], ["the mouse", "the fox"]):
        for options in ({}, {"top_k": 1}, {"top_k": 2}, {"top_k": None}):
            assert form(own(inputs, **options)) == form(ours(inputs, **options)), (inputs, options)
    ranked = ours("the mouse", top_k=None)
    assert sum(answer["score"] for answer in ranked) == pytest.approx(1)
    assert ranked == sorted(ranked, key=lambda answer: -answer["score"])


def test_labels_can_have_other_words_and_change_in_a_call():
    pipe = tiny_label_words()
    plain = pipe("fox", labels=["mouse", "cheese"], top_k=None)
    named = pipe("fox", labels={"ANIMAL": "mouse", "FOOD": "cheese"}, top_k=None)
    assert {a["score"] for a in plain} == {a["score"] for a in named}
    assert {a["label"] for a in named} == {"ANIMAL", "FOOD"}
    assert len(pipe("fox", top_k=None)) == 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"labels": "mouse"}, "labels: needs a list"),
        ({"labels": ["mouse"]}, "two or more"),
        ({"labels": ["mouse", "mouse"]}, "two or more different"),
        ({"labels": ["mouse", " "]}, "labels: is empty; needs at least one word"),
        ({"template": "no place"}, "template: must hold {text} once"),
        ({"top_k": 0}, "top_k: needs an integer of 1 or more"),
        ({"top_k": "all"}, "top_k: needs an integer of 1 or more"),
    ],
)
def test_wrong_settings_of_label_words(options, words):
    with pytest.raises(ValueError, match=words):
        tiny_label_words()("fox", **options)


def test_label_words_need_a_causal_model(tmp_path):
    save_tiny_classifier(tmp_path)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="need a causal language model, got BertFor"):
        LabelWordsPipeline(model=model, tokenizer=tiny_tokenizer(), task="text-classification")


@pytest.mark.real_model
def test_the_lectures_two_sentences(loaded):
    classify = pipeline("text-classification", model=loaded.model, tokenizer=loaded.tokenizer)
    answers = classify(["The food in HKUST is terrible", "This course is a awesome"], batch_size=2)
    assert [answer["label"] for answer in answers] == ["NEGATIVE", "POSITIVE"]
    assert min(answer["score"] for answer in answers) > 0.6


def save_tiny_classifier(folder):
    tokenizer = tiny_tokenizer()
    tokenizer.pad_token = "</s>"
    tokenizer.save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(tokenizer), num_hidden_layers=1, hidden_size=16, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=64, num_labels=3, pad_token_id=1,
    )  # fmt: skip
    torch.manual_seed(0)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
