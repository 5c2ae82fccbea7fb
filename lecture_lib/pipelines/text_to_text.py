"""Translation and summarization as Transformers pipelines, which version 5 no longer has.

A pipeline is three steps: ``preprocess`` (text to tensors), ``_forward`` (the model), and
``postprocess`` (tensors to text); ``Pipeline.__call__`` runs them over lists, batches and devices.
Encoder-decoders get the text as it is; causal models get it as a user's message in their chat
template.
"""

import re
from typing import Any

import torch
from transformers import GenerationConfig, Pipeline

from .. import checks
from ..scoring import chat_ids
from ..tokens import model_inputs

MOST_TOKENS_ON_CPU = 2_048
LENGTHS = {"max_length": "max_new_tokens", "min_length": "min_new_tokens"}


class TextToTextPipeline(Pipeline):
    """What the two tasks share. A subclass names its output and writes the request to a chat model.

    Returns:
        For one text a list with one dict, ``[{"translation_text": ...}]`` (several with
        num_return_sequences); for a list of texts a list of dicts, or of lists of dicts with
        num_return_sequences > 1.
    """

    return_name = "generated"

    _load_processor = False
    _load_image_processor = False
    _load_feature_extractor = False
    _load_tokenizer = True
    _pipeline_calls_generate = True
    _default_generation_config = GenerationConfig(max_new_tokens=256)

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if self.tokenizer is None:
            raise ValueError("tokenizer: a pipeline needs one; give it beside the model")
        self.is_encoder_decoder = self.model.config.is_encoder_decoder
        if self.is_encoder_decoder:
            self._take_task_settings()
        elif self.tokenizer.chat_template is None:
            raise ValueError(
                f"model: {type(self.model).__name__} is a causal model whose tokenizer has no chat "
                f"template, so it can't be asked for a {self.return_name}; use an "
                "instruction-tuned model or an encoder-decoder such as google/flan-t5-small"
            )
        else:  # padding on the right would separate the prompt from what is generated
            self.tokenizer.padding_side = "left"

    def _take_task_settings(self) -> None:
        """The config's own settings for this task: T5's has a prefix, beams and lengths.

        Version 4's pipelines took them, version 5 does not read them. The call's arguments and the
        model's generation config take precedence.
        """
        settings = (getattr(self.model.config, "task_specific_params", None) or {}).get(self.task)
        settings = dict(settings or {})
        self.task_prefix = settings.pop("prefix", "")
        # As numbers of new tokens (the lengths count the start token), so that a call's
        # max_new_tokens replaces them and isn't a second limit.
        for length, new_tokens in LENGTHS.items():
            if length in settings:
                settings[new_tokens] = settings.pop(length) - 1
        known = vars(GenerationConfig())
        self._generation_defaults |= {k: v for k, v in settings.items() if k in known}

    def _prepare_generate_kwargs(self, generate_kwargs: dict, **overrides: Any) -> dict:
        prepared = super()._prepare_generate_kwargs(generate_kwargs, **overrides)
        # The lecture's max_new_tokens=9 is less than the minimum that flan-t5's config asks for:
        # the call wins.
        least, most = (prepared.get(name) for name in reversed(LENGTHS.values()))
        given = self._get_set_generation_params({**self._generate_kwargs, **generate_kwargs})
        if least and most and least > most and "min_new_tokens" not in given:
            del prepared["min_new_tokens"]
        return prepared

    def request(self, text: str) -> str:
        """What a chat model is asked, in words."""
        raise NotImplementedError

    def __call__(self, inputs: str | list[str], **kwargs: Any) -> list:
        """Runs on a text or a list of texts.

        Args:
            inputs: the text(s). A dataset or a generator of texts is run lazily.
            kwargs: ``batch_size``, and whatever ``generate()`` takes.

        Raises:
            ValueError: something that is no text, or generate() refuses an argument.
        """
        check_texts(inputs, self.task)
        if isinstance(inputs, list) and not inputs:
            return []
        results = super().__call__(inputs, **kwargs)
        if isinstance(inputs, list) and all(len(result) == 1 for result in results):
            return [result[0] for result in results]
        return results

    def _sanitize_parameters(self, **generate_kwargs):
        return {}, generate_kwargs, {}

    def preprocess(self, text: str) -> dict:
        """The text's input_ids and attention_mask, each (1, L)."""
        check_text(text, self.task)
        if self.is_encoder_decoder:
            if not text.lstrip().startswith(self.task_prefix.strip()):
                text = self.task_prefix + text
            encoded = model_inputs(self.tokenizer, text)
        else:
            asked = [{"role": "user", "content": self.request(text)}]
            input_ids = torch.tensor([chat_ids(self.tokenizer, asked)])
            encoded = {"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids)}
        check_length(encoded["input_ids"].shape[1], self.model)
        return encoded

    def _forward(self, model_inputs: dict, **generate_kwargs: Any) -> dict:
        """New tokens, (B, num_return_sequences, new tokens)."""
        n_inputs, prompt_len = model_inputs["input_ids"].shape
        arguments = self._prepare_generate_kwargs(generate_kwargs)
        output = self.model.generate(**model_inputs, **arguments)
        sequences = getattr(output, "sequences", output)
        if not self.is_encoder_decoder:  # a causal model's sequence begins with the prompt
            sequences = sequences[:, prompt_len:]
        return {"output_ids": sequences.reshape(n_inputs, -1, sequences.shape[-1])}

    def postprocess(self, model_outputs: dict) -> list[dict]:
        """One dict per returned sequence."""
        sequences = model_outputs["output_ids"][0]  # (num_return_sequences, new tokens)
        texts = self.tokenizer.batch_decode(sequences, skip_special_tokens=True)
        return [{f"{self.return_name}_text": text.strip()} for text in texts]


class SummarizationPipeline(TextToTextPipeline):
    """``pipeline("summarization")``: ``[{"summary_text": ...}]``.

    Encoder-decoders get the text as it is, or with the prefix that their config names for the task
    (T5's "summarize: ") where the text doesn't begin with it. A causal model is asked for one short
    sentence.
    """

    return_name = "summary"

    def request(self, text: str) -> str:
        text = re.sub(r"^\s*summarize:\s*", "", text)
        return f"Summarize the following text in one short sentence.\n\n{text}"


class TranslationPipeline(TextToTextPipeline):
    """``pipeline("translation")``: ``[{"translation_text": ...}]``.

    The text begins with the languages as T5 expects them, "translate English to French: ...".
    """

    return_name = "translation"

    def request(self, text: str) -> str:
        found = re.fullmatch(r"\s*translate (\w+) to (\w+):\s*(.*)", text, flags=re.DOTALL)
        if found is None:
            raise ValueError(
                "inputs: a chat model must be told the languages: begin the text with 'translate "
                "English to French: '"
            )
        source, target, text = found.groups()
        return (
            f"Translate the following text from {source} to {target}. "
            f"Answer with the translation only.\n\n{text}"
        )


def check_texts(inputs: Any, task: str) -> None:
    """Refuses what is neither a text, nor a list, generator or dataset of inputs.

    Raises:
        ValueError: another type. A list is looked through, so that nothing runs before it fails.
    """
    if isinstance(inputs, list):
        for i, text in enumerate(inputs):
            check_text(text, task, where=f"inputs[{i}]")
    elif isinstance(inputs, tuple | dict | bytes) or not hasattr(inputs, "__iter__"):
        # A tuple too: Transformers' pipelines would take it for one single input.
        check_text(inputs, task)


def check_text(text: Any, task: str, where: str = "inputs") -> None:
    """Refuses what is no string of Unicode, or one of nothing but spaces, with a ValueError."""
    needs = f"a string or a list of strings (for the {task} pipeline)"
    checks.check_text(where, checks.check_type(where, text, str, needs), "word")


def check_length(n_tokens: int, model: Any) -> None:
    """Refuses, with a ValueError, a prompt that has more tokens than the model has positions, or
    than a CPU reads in a minute or so."""
    positions = getattr(model.config, "max_position_embeddings", None)
    if positions is not None and n_tokens > positions:
        raise ValueError(
            f"inputs: {n_tokens} tokens with the prompt around the text, and the model has "
            f"{positions} positions; shorten the text"
        )
    if n_tokens > MOST_TOKENS_ON_CPU and model.device.type == "cpu":
        raise ValueError(
            f"inputs: {n_tokens:,} tokens with the prompt around the text, on a CPU at most "
            f"{MOST_TOKENS_ON_CPU:,}, since the work grows with their square; run it piece by piece"
        )
