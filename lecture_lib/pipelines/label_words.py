"""Text classification with a causal language model: which label word would it write next?

    Review: The food in HKUST is terrible
    Sentiment:                              -> " negative" or " positive"?

A language model says one of the words more easily, whatever the text. So what it says after a text
without content, "N/A", is subtracted: the score of a label is log p(words | text) - log p(words |
N/A), the difference that the text makes (contextual calibration, arXiv 2102.09690).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, Pipeline, TextClassificationPipeline

from lecture_lib import checks
from lecture_lib.checks import check_count
from lecture_lib.tokens import log_probs_of, model_inputs

from .text_to_text import check_length, check_text, check_texts

SENTIMENT = {"NEGATIVE": "negative", "POSITIVE": "positive"}
TEMPLATE = "Review: {text}\nSentiment:"
CONTENT_FREE = "N/A"  # a text that says nothing: what the model answers to it is its habit


class LabelWordsPipeline(Pipeline):
    """A ``text-classification`` pipeline for causal models.

    Args:
        labels: the labels, or label -> the words the model is to say for it. Default: NEGATIVE and
            POSITIVE.
        template: the prompt with ``{text}`` in it; the label's words follow behind a space.

    Returns:
        As Transformers' text-classification: ``[{"label": ..., "score": ...}]`` for one text, one
        dict per text for a list; with ``top_k`` a list of the k best per text (None: all).
        The scores are a softmax over the labels.

    Raises:
        ValueError: no causal model, fewer than two labels, a template without ``{text}``, an input
            that is no text, a top_k that is no positive number.
    """

    _load_processor = False
    _load_image_processor = False
    _load_feature_extractor = False
    _load_tokenizer = True

    def __init__(self, *args: Any, **kwargs: Any):
        self._priors: dict[tuple, torch.Tensor] = {}
        super().__init__(*args, **kwargs)
        if not is_causal(self.model):
            raise ValueError(
                f"model: label words need a causal language model, got {type(self.model).__name__}"
            )
        # The last column must be each prompt's last token, whatever its length.
        self.tokenizer.padding_side = "left"
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token

    def __call__(self, inputs: str | list[str], **kwargs: Any) -> list[dict] | list[list[dict]]:
        """Classifies a text or a list of texts; see the class."""
        check_texts(inputs, self.task or "text-classification")
        if isinstance(inputs, list) and not inputs:
            return []
        result = super().__call__(inputs, **kwargs)
        # So does Transformers' own: one text without top_k gives a list of one dict.
        return [result] if isinstance(inputs, str) and isinstance(result, dict) else result

    def _sanitize_parameters(self, labels=None, template=None, top_k=""):
        before, run, after = {}, {}, {}
        if labels is not None:
            words = _label_words(labels)
            before["words"] = run["words"] = tuple(words.values())
            after["names"] = tuple(words)
        if template is not None:
            if checks.check_text("template", template).count("{text}") != 1:
                raise ValueError(f"template: must hold {{text}} once, got {template!r}")
            before["template"] = run["template"] = template
        if top_k != "":  # None means all, so "not given" needs another value
            after["top_k"] = None if top_k is None else check_count("top_k", top_k)
        return before, run, after

    def preprocess(
        self, text: str, template: str = TEMPLATE,
        words: tuple[str, ...] = tuple(SENTIMENT.values()),
    ) -> dict:  # fmt: skip
        """The prompt's input_ids and attention_mask, each (1, L)."""
        check_text(text, self.task or "text-classification")
        encoded = self._encode(text, template)
        n_word = max(len(self._word_ids(word, template)) for word in words)
        check_length(encoded["input_ids"].shape[1] + n_word, self.model)
        return encoded

    def _encode(self, text: str, template: str) -> dict:
        return model_inputs(self.tokenizer, template.replace("{text}", text))

    def _word_ids(self, word: str, template: str) -> list[int]:
        """The tokens that the prompt has with the word, and has not without."""
        end = template.partition("{text}")[2] or "a"
        without, with_word = (
            self.tokenizer(text, add_special_tokens=False).input_ids
            for text in (end, f"{end} {word}")
        )
        if with_word[: len(without)] != without:
            raise ValueError(f"template: its end {end!r} and the word {word!r} share a token")
        return with_word[len(without) :]

    def _forward(
        self, model_inputs: dict, words: tuple[str, ...] = tuple(SENTIMENT.values()),
        template: str = TEMPLATE,
    ) -> dict:  # fmt: skip
        """Scores before the softmax, (B, number of labels)."""
        scores = self._word_log_probs(model_inputs, words, template)
        return {"scores": scores - self._prior(words, template)}

    def postprocess(self, model_outputs: dict, names=tuple(SENTIMENT), top_k: Any = ""):
        """The best label, or with top_k a list of the best."""
        probs = model_outputs["scores"][0].softmax(-1).tolist()
        ranked = sorted(zip(probs, names, strict=True), key=lambda pair: -pair[0])
        answers = [{"label": name, "score": p} for p, name in ranked]
        return answers[0] if top_k == "" else answers[:top_k]

    def _word_log_probs(self, prompt: dict, words: Sequence[str], template: str) -> torch.Tensor:
        """log p(words | prompt) for each label, (B, number of labels), float32."""
        columns = []
        for word in words:
            word_ids = self._word_ids(word, template)
            n_prompts, n_word = prompt["input_ids"].shape[0], len(word_ids)
            added = torch.tensor([word_ids], device=self.device).expand(n_prompts, -1)
            input_ids = torch.cat([prompt["input_ids"], added], dim=1)  # (B, L + n_word)
            mask = torch.cat([prompt["attention_mask"], torch.ones_like(added)], dim=1)
            # Row i of the logits predicts token i + 1: the word's rows begin one earlier.
            logits = self.model(
                input_ids=input_ids, attention_mask=mask, use_cache=False,
                position_ids=(mask.cumsum(-1) - 1).clamp(min=0),  # padding takes no position
            ).logits[:, -n_word - 1 : -1]  # fmt: skip
            columns.append(log_probs_of(logits, added).sum(dim=1))  # (B, n_word) to (B,)
        return torch.stack(columns, dim=1)

    def _prior(self, words: tuple[str, ...], template: str) -> torch.Tensor:
        """log p of each label's words after a text without content, (1, number of labels)."""
        key = (words, template)
        if key not in self._priors:
            prompt = self.ensure_tensor_on_device(**self._encode(CONTENT_FREE, template))
            self._priors[key] = self._word_log_probs(prompt, words, template)
        return self._priors[key]


class TextClassification(TextClassificationPipeline):
    """``text-classification`` for both kinds of model.

    A model with a trained classification head gets Transformers' own pipeline, a causal model the
    label words. (Transformers alone would put a random head on the causal model, and answer.)
    """

    def __new__(cls, *args: Any, **kwargs: Any):
        model = kwargs.get("model", args[0] if args else None)
        return LabelWordsPipeline(*args, **kwargs) if is_causal(model) else super().__new__(cls)


def is_causal(model: Any) -> bool:
    """Whether this is a causal language model of Transformers."""
    config = type(getattr(model, "config", None))
    # Asked for this one config: the mapping's values would import every model's module.
    if config not in MODEL_FOR_CAUSAL_LM_MAPPING:
        return False
    return isinstance(model, MODEL_FOR_CAUSAL_LM_MAPPING[config])


def _label_words(labels: Sequence[str] | Mapping[str, str]) -> dict[str, str]:
    """label -> words; a plain list's labels are their own words."""
    if isinstance(labels, str) or not isinstance(labels, Sequence | Mapping):
        raise ValueError(f"labels: needs a list of labels or a dict label -> words, got {labels!r}")
    words = dict(labels) if isinstance(labels, Mapping) else {label: label for label in labels}
    if len(words) < 2 or len(words) != len(labels):
        raise ValueError(f"labels: needs two or more different labels, got {labels!r}")
    for word in words.values():
        checks.check_text("labels", word, "word")
    return words
