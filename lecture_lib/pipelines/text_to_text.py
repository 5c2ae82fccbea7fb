"""Translation and summarization as Transformers pipelines, which version 5 no longer has.

A pipeline is three steps: ``preprocess`` (text to tensors), ``_forward`` (the model), and
``postprocess`` (tensors to text); ``Pipeline.__call__`` runs them over lists, batches and devices.
Encoder-decoders get the text as it is; causal models get it as a user's message in their chat
template.
"""

import re
from typing import Any

from transformers import GenerationConfig, Pipeline

from .inputs import check_length, check_text, check_texts, cut_to_fit, longest_prompt

LENGTHS = {"max_length": "max_new_tokens", "min_length": "min_new_tokens"}


class TextToTextPipeline(Pipeline):
    """What the two tasks share. A subclass names its output and writes the request to a chat model.

    Returns:
        For one text a list with one dict, ``[{"translation_text": ...}]`` (several with
        num_return_sequences); for a list of texts a list of dicts, or of lists of dicts with
        num_return_sequences > 1. With ``return_tensors=True`` the dict holds the new tokens' ids
        (``translation_token_ids``) instead.
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
        if not self.model.can_generate():
            raise ValueError(f"model: {type(self.model).__name__} can't generate text")
        self.is_encoder_decoder = self.model.config.is_encoder_decoder
        self.task_prefix = ""
        if self.is_encoder_decoder:
            self._take_task_settings()
            return
        if self.tokenizer.chat_template is None:
            raise ValueError(
                f"model: {type(self.model).__name__} is a causal model whose tokenizer has no chat "
                f"template, so it can't be asked for a {self.return_name}; use an "
                "instruction-tuned model or an encoder-decoder such as google/flan-t5-small"
            )
        # Padding on the right would stand between the prompt and what is generated.
        self.tokenizer.padding_side = "left"

    def _take_task_settings(self) -> None:
        """The config's own settings for this task: T5's has a prefix, beams and lengths.

        Version 4's pipelines took them, version 5 leaves them where they are. They stand behind
        the call's arguments and the model's generation config.
        """
        settings = (getattr(self.model.config, "task_specific_params", None) or {}).get(self.task)
        settings = dict(settings or {})
        self.task_prefix = settings.pop("prefix", "")
        # As numbers of new tokens (the lengths count the start token), so that a call's
        # max_new_tokens replaces them and doesn't stand beside them.
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
            kwargs: ``batch_size``, ``truncation``, ``return_tensors``,
                ``clean_up_tokenization_spaces``, and whatever ``generate()`` takes.

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

    def _sanitize_parameters(
        self, return_tensors=None, clean_up_tokenization_spaces=None, truncation=None,
        **generate_kwargs,
    ):  # fmt: skip
        before, after = {}, {}
        if truncation is not None:
            before["truncation"] = truncation
        if return_tensors is not None:
            after["return_tensors"] = return_tensors
        if clean_up_tokenization_spaces is not None:
            after["clean_up_tokenization_spaces"] = clean_up_tokenization_spaces
        return before, generate_kwargs, after

    def preprocess(self, text: str, truncation: bool = False) -> dict:
        """The text's input_ids and attention_mask, each (1, L).

        ``truncation=True`` cuts the end of the text, never the prompt around it.
        """
        check_text(text, self.task)
        if self.is_encoder_decoder:
            if not text.lstrip().startswith(self.task_prefix.strip()):
                text = self.task_prefix + text
            encoded = self.tokenizer(text, truncation=truncation, return_tensors="pt")
        else:
            if truncation:
                text = cut_to_fit(
                    text, self._ask, self.tokenizer, longest_prompt(self.model, self.tokenizer)
                )
            encoded = self._ask(text)
            check_length(encoded["input_ids"].shape[1], self.model)
        # T5 and others have no use for token_type_ids, which some tokenizers add.
        return {name: encoded[name] for name in ("input_ids", "attention_mask")}

    def _ask(self, text: str) -> dict:
        """The request in the model's chat template."""
        return self.tokenizer.apply_chat_template(
            [{"role": "user", "content": self.request(text)}],
            add_generation_prompt=True, return_dict=True, return_tensors="pt",
        )  # fmt: skip

    def _forward(self, model_inputs: dict, **generate_kwargs: Any) -> dict:
        """New tokens, (B, num_return_sequences, new tokens)."""
        n_inputs, prompt_len = model_inputs["input_ids"].shape
        output = self.model.generate(
            **model_inputs, **self._prepare_generate_kwargs(generate_kwargs)
        )
        sequences = output if not hasattr(output, "sequences") else output.sequences
        if not self.is_encoder_decoder:  # a causal model's sequence begins with the prompt
            sequences = sequences[:, prompt_len:]
        return {"output_ids": sequences.reshape(n_inputs, -1, sequences.shape[-1])}

    def postprocess(
        self, model_outputs: dict, return_tensors: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
    ) -> list[dict]:  # fmt: skip
        """One dict a returned sequence."""
        sequences = model_outputs["output_ids"][0]  # (num_return_sequences, new tokens)
        if return_tensors:
            return [{f"{self.return_name}_token_ids": sequence} for sequence in sequences]
        texts = self.tokenizer.batch_decode(
            sequences, skip_special_tokens=True,
            clean_up_tokenization_spaces=clean_up_tokenization_spaces,
        )  # fmt: skip
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

    The languages stand in front of the text as T5 wants them, "translate English to French: ...";
    or ``src_lang`` and ``tgt_lang`` name them, and the pipeline writes that line.
    """

    return_name = "translation"
    _PREFIX = re.compile(r"^\s*translate (?P<src>\w+) to (?P<tgt>\w+):\s*")

    def _sanitize_parameters(self, src_lang=None, tgt_lang=None, **kwargs):
        languages = {"src_lang": src_lang, "tgt_lang": tgt_lang}
        given = {name: language for name, language in languages.items() if language is not None}
        before, generate_kwargs, after = super()._sanitize_parameters(**kwargs)
        return before | given, generate_kwargs, after

    def preprocess(
        self, text: str, truncation: bool = False, src_lang: str | None = None,
        tgt_lang: str | None = None,
    ) -> dict:  # fmt: skip
        check_text(text, self.task)
        if (src_lang is None) != (tgt_lang is None):
            raise ValueError(
                f"src_lang, tgt_lang: need both or neither, got {src_lang!r} and {tgt_lang!r}"
            )
        if src_lang is not None:
            text = f"translate {src_lang} to {tgt_lang}: {self._PREFIX.sub('', text)}"
        return super().preprocess(text, truncation)

    def request(self, text: str) -> str:
        languages = self._PREFIX.match(text)
        if languages is None:
            raise ValueError(
                "inputs: a chat model must be told the languages: begin the text with 'translate "
                "English to French: ', or pass src_lang='English', tgt_lang='French'"
            )
        source = self._PREFIX.sub("", text)
        return (
            f"Translate the following text from {languages['src']} to {languages['tgt']}. "
            f"Answer with the translation only.\n\n{source}"
        )
