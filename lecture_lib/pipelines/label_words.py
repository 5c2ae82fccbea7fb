"""Text classification with a causal language model: which label word would it write next?

    Review: The food in HKUST is terrible
    Sentiment:                              -> " negative" or " positive"?

A language model says one of the words more easily, whatever the text. So what it says after a text
without content, "N/A", is subtracted: the score of a label is log p(word | text) - log p(word |
N/A), the difference that the text makes (contextual calibration, arXiv 2102.09690).
"""

from collections.abc import Mapping
from typing import Any

import torch
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, Pipeline, TextClassificationPipeline

from ..checks import check_count, shown
from ..tokens import model_inputs
from .text_to_text import check_length, check_text, check_texts

SENTIMENT = {"NEGATIVE": "negative", "POSITIVE": "positive"}
TEMPLATE = "Review: {text}\nSentiment:"
CONTENT_FREE = "N/A"  # a text that says nothing: what the model answers to it is its habit


class LabelWordsPipeline(Pipeline):
    """A ``text-classification`` pipeline for causal models, as lecture 08a builds it.

    Args:
        labels: label -> the word, of one token, that the model is to say for it.

    Returns:
        As Transformers' text-classification: ``[{"label": ..., "score": ...}]`` for one text, one
        dict per text for a list; with ``top_k`` a list of the k best per text (None: all).
        The scores are a softmax over the labels.

    Raises:
        ValueError: no causal model, fewer than two labels, a word of several tokens, an input
            that is no text, a top_k that is no positive number.
    """

    _load_processor = False
    _load_image_processor = False
    _load_feature_extractor = False
    _load_tokenizer = True

    def __init__(self, *args: Any, labels: Mapping[str, str] = SENTIMENT, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if not is_causal(self.model):
            raise ValueError(
                f"model: label words need a causal language model, got {type(self.model).__name__}"
            )
        if not isinstance(labels, Mapping) or len(labels) < 2:
            raise ValueError(f"labels: needs two or more, label -> word, got {shown(labels)}")
        # The last column must be each prompt's last token, whatever its length.
        self.tokenizer.padding_side = "left"
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        self.names, self._prior = tuple(labels), None
        self.word_ids = [self._word_id(word) for word in labels.values()]

    def _word_id(self, word: str) -> int:
        """The one token that the word adds to the prompt."""
        check_text(word, "text-classification", where="labels")
        without, with_word = (
            self.tokenizer(text, add_special_tokens=False).input_ids
            for text in (TEMPLATE, f"{TEMPLATE} {word}")
        )
        if len(with_word) != len(without) + 1 or with_word[:-1] != without:
            raise ValueError(f"labels: {word!r} is not one token of this model; take another word")
        return with_word[-1]

    def __call__(self, inputs: str | list[str], **kwargs: Any) -> list[dict] | list[list[dict]]:
        """Classifies a text or a list of texts; see the class."""
        check_texts(inputs, "text-classification")
        if isinstance(inputs, list) and not inputs:
            return []
        result = super().__call__(inputs, **kwargs)
        # So does Transformers' own: one text without top_k gives a list of one dict.
        return [result] if isinstance(inputs, str) and isinstance(result, dict) else result

    def _sanitize_parameters(self, top_k=""):
        if top_k == "":  # None means all, so "not given" needs another value
            return {}, {}, {}
        return {}, {}, {"top_k": None if top_k is None else check_count("top_k", top_k)}

    def preprocess(self, text: str) -> dict:
        """The prompt's input_ids and attention_mask, each (1, L)."""
        check_text(text, "text-classification")
        encoded = model_inputs(self.tokenizer, TEMPLATE.replace("{text}", text))
        check_length(encoded["input_ids"].shape[1], self.model)
        return encoded

    def _forward(self, model_inputs: dict) -> dict:
        """Scores before the softmax, (B, number of labels)."""
        if self._prior is None:
            nothing = self.ensure_tensor_on_device(**self.preprocess(CONTENT_FREE))
            self._prior = self._word_log_probs(nothing)  # (1, number of labels)
        return {"scores": self._word_log_probs(model_inputs) - self._prior}

    def _word_log_probs(self, prompt: dict) -> torch.Tensor:
        """log p(word | prompt) of each label's word, (B, number of labels), float32."""
        mask = prompt["attention_mask"]
        positions = (mask.cumsum(-1) - 1).clamp(min=0)  # padding takes no position
        logits = self.model(**prompt, position_ids=positions, use_cache=False).logits[:, -1]
        return logits.float().log_softmax(-1)[:, self.word_ids]

    def postprocess(self, model_outputs: dict, top_k: Any = "") -> dict | list[dict]:
        """The best label, or with top_k a list of the best."""
        probs = model_outputs["scores"][0].softmax(-1).tolist()
        ranked = sorted(zip(probs, self.names, strict=True), key=lambda pair: -pair[0])
        answers = [{"label": name, "score": p} for p, name in ranked]
        return answers[0] if top_k == "" else answers[:top_k]


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
