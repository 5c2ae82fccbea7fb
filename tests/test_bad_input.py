"""Bad input, kind by kind, tried on every public function that takes an argument of that kind.

Which arguments those are is read off the signatures, so a new function is tried by itself: all it
needs is one right call in EXAMPLES, or a reason in UNTRIED. Public is what the packages of the
library export, and what the notebooks import beside it.

The error must be a ValueError that names the argument. Each argument is given the wrong value
alone, beside right values of all others, and the right calls are made too.
"""

import ast
import importlib
import inspect
import io
import json
import re
import sys
from collections.abc import Iterator
from functools import cached_property, partial
from pathlib import Path

import ipywidgets
import matplotlib.figure
import numpy as np
import pandas as pd
import pytest
import torch
from engine_models import CONFIGS, byte_tokenizer, loaded_model
from huggingface_hub import constants
from PIL import Image
from test_figures import TWO_PASSES
from tiny_models import save_tiny_model

from lecture_lib import (
    costs,
    course_t5,
    decoding,
    engine,
    lecture_block,
    op_trace,
    parallel,
    pipelines,
    scoring,
    widgets,
)
from lecture_lib.checks import check_count, check_number
from lecture_lib.decoding import SamplingSettings, beam_search, lecture_tree
from lecture_lib.engine import Engine
from lecture_lib.engine.streaming import TextStream
from lecture_lib.figures import Picture, RooflinePoint
from lecture_lib.hardware import HARDWARE
from lecture_lib.hub_tools import token_pieces
from lecture_lib.inference_script import TaskInfo, command, prompt
from lecture_lib.lecture_block.weights import BlockFlags
from lecture_lib.loading import load_model
from lecture_lib.model_spec import MODEL_SPECS
from lecture_lib.op_trace import OpTrace
from lecture_lib.parallel.job import make_job
from lecture_lib.serving import LoadReport, PagedEngine, Request

COURSE = Path(__file__).resolve().parents[1]
SURROGATE = "the \ud800 mouse"  # half of a pair: a Python string, but no Unicode
HUGE = 10**400


# -- what is public -------------------------------------------------------------------------------


def notebook_imports() -> Iterator[tuple[str, str]]:
    """(module, name) of all that notebooks import from the library."""
    for path in sorted([*COURSE.glob("notebooks/*.ipynb"), *COURSE.glob("solutions/*.ipynb")]):
        for cell in json.loads(path.read_text("utf-8"))["cells"]:
            source = "".join(cell["source"]) if cell["cell_type"] == "code" else ""
            if "lecture_lib" not in source:
                continue
            lines = [line for line in source.splitlines() if not line.lstrip().startswith("%")]
            for node in ast.walk(ast.parse("\n".join(lines))):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
                    "lecture_lib"
                ):
                    yield from ((node.module, alias.name) for alias in node.names)


# Modules that are no packages.
FLAT = ("lecture_lib.scoring", "lecture_lib.model_spec", "lecture_lib.drawn_shapes")


def public() -> dict[str, object]:
    """Every public function, constructor and method, by its name: "engine.Engine.generate"."""
    names = {found for found in notebook_imports() if found[0] not in FLAT}
    for folder in sorted(COURSE.glob("lecture_lib/*")):
        if (folder / "__init__.py").is_file():
            module = importlib.import_module(f"lecture_lib.{folder.stem}")
            exported = [*vars(module), *getattr(module, "_MODULES", ())]
            names |= {(module.__name__, name) for name in exported if name[0] != "_"}
    for flat in FLAT:
        own = vars(importlib.import_module(flat)).items()
        names |= {(flat, name) for name, what in own if getattr(what, "__module__", "") == flat}
    found = {}
    for module, name in sorted(names):
        what = getattr(importlib.import_module(module), name, None)
        of_library = getattr(what, "__module__", "").startswith("lecture_lib")
        if not of_library or not callable(what) or is_error(what) or name[0] == "_":
            continue
        package = what.__module__.removeprefix("lecture_lib.").split(".")[0]
        found[f"{package}.{name}"] = what
        if inspect.isclass(what):
            for method, function in vars(what).items():
                is_method = callable(getattr(function, "__func__", function))
                if is_method and (method[0] != "_" or method == "__call__"):
                    found[f"{package}.{name}.{method}"] = function
    return found


def is_error(what) -> bool:
    return inspect.isclass(what) and issubclass(what, Exception)


# -- one right call of each -----------------------------------------------------------------------

TOP = [(" fox", 0.5), (" dog", 0.25)]
SCORE = scoring.TextScore("a b", (0, 1), ("a", " b"), (float("nan"), -3.0))
POINTS = [RooflinePoint("x", 2.0)]


class Things:
    """What the right calls are made with: small, random, made once."""

    def __init__(self, folder: Path):
        self.folder = folder

    @cached_property
    def loaded(self):
        return loaded_model(CONFIGS["llama"])

    @cached_property
    def saved(self):
        save_tiny_model(self.folder)
        return str(self.folder)

    @cached_property
    def from_folder(self):
        return load_model(self.saved, device="cpu")

    @cached_property
    def engine(self):
        return Engine(self.loaded)

    def prefilled(self):
        self.engine.prefill([1, 2])
        return self.engine

    @cached_property
    def t5(self):
        from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

        model = AutoModelForSeq2SeqLM.from_pretrained(course_t5.FOLDER)
        return {"model": model, "tokenizer": AutoTokenizer.from_pretrained(course_t5.FOLDER)}

    @cached_property
    def trace(self):
        return beam_search(self.toy, num_beams=2, max_new_tokens=2)

    @cached_property
    def volume(self):
        return parallel.pipeline_volume(self.spec, n_ranks=2, seq_len=4)

    def passes(self):
        for rows in (2, 3):
            with OpTrace(keep_values=True) as trace:
                lecture_block.naive_block(torch.ones(rows, 4), self.weights, 2)
            yield trace

    toy, spec, tokenizer = lecture_tree(), MODEL_SPECS["llama-2-7b"], byte_tokenizer()
    weights = lecture_block.BlockWeights.random(4, 2)
    hardware = HARDWARE["l4"]
    task = TaskInfo("go", output_len=2, logprobs=0)

    @property
    def cache(self):
        return lecture_block.prefill_block(torch.ones(2, 4), self.weights, 2)[1]

    @property
    def toy_model(self):
        return lecture_block.ToyTransformer.random(9, 4, 2, 2, causal=True)


LOGITS = [[1.0, 2.0, 0.5]]
STEP = {"phase": "decode", "batch_size": 2, "seq_len": 4}
RANKS = {"n_ranks": 2, "seq_len": 4}
EXAMPLES = {
    "costs.Conventions": lambda it: {},
    "costs.LectureBlock": lambda it: {"d_model": 8, "n_heads": 2},
    "costs.activation_bytes": lambda it: {"spec": it.spec, **STEP},
    "costs.arithmetic_intensity": lambda it: {"flops": 8, "n_bytes": 2},
    "costs.critical_batch_size": lambda it: {"spec": it.spec, "hardware": it.hardware},
    "costs.expected_tokens": lambda it: {"acceptance": 0.5, "k": 4},
    "costs.kv_cache_bytes": lambda it: {"spec": it.spec},
    "costs.kv_overtakes_weights": lambda it: {"spec": it.spec},
    "costs.lecture_table": lambda it: {"phase": "decode"},
    "costs.measure_ops": lambda it: {"engine": it.engine, "seconds": 1e-3, **STEP},
    "costs.memory_budget": lambda it: {"spec": it.spec},
    "costs.op_costs": lambda it: {"spec": it.spec, **STEP, "hardware": it.hardware},
    "costs.step_latency": lambda it: {"spec": it.spec, "hardware": it.hardware},
    "costs.weight_bytes": lambda it: {"spec": it.spec},
    "costs.with_kv_heads": lambda it: {"spec": it.spec, "n_kv_heads": 4},
    "decoding.Sampler": lambda it: {
        "settings": SamplingSettings(repetition_penalty=1.2), "seed": 1, "prompt_ids": [[1]]
    },
    "decoding.Sampler.__call__": lambda it: {"logits": LOGITS},
    "decoding.ToyLM": lambda it: {"table": {"": {"a": 0.5, "b": 0.5}}},
    "decoding.ToyLM.all_sequences": lambda it: {"length": 2},
    "decoding.ToyLM.decode": lambda it: {"token_ids": [0, 1]},
    "decoding.ToyLM.encode": lambda it: {"tokens": "I L"},
    "decoding.ToyLM.next_distribution": lambda it: {"prefix": "I"},
    "decoding.ToyLM.next_log_probs": lambda it: {"prefixes": [[0], [1]]},
    "decoding.ToyLM.__call__": lambda it: {"prefixes": [[0], [1]]},
    "decoding.ToyLM.probability": lambda it: {"tokens": "I L"},
    "decoding.apply_repetition_penalty": lambda it: {
        "logits": LOGITS, "previous_ids": [[0]], "penalty": 1.2
    },
    "decoding.apply_temperature": lambda it: {"logits": LOGITS, "temperature": 0.5},
    "decoding.beam_search": lambda it: {
        "next_log_probs": it.toy, "num_beams": 2, "max_new_tokens": 2
    },
    "decoding.distinct_n": lambda it: {"texts": [["a", "b"]], "n": 1},
    "decoding.engine_beam_search": lambda it: {
        "engine": it.engine, "prompt": "go", "num_beams": 2, "max_new_tokens": 2
    },
    "decoding.random_toy": lambda it: {"depth": 2, "seed": 0},
    "decoding.greedy_search": lambda it: {"next_log_probs": it.toy, "max_new_tokens": 2},
    "decoding.repeated_ngrams": lambda it: {"tokens": [1, 2, 3], "n": 2},
    "decoding.sample_generate": lambda it: {
        "engine": it.engine, "prompts": "go", "max_new_tokens": 2, "seed": 1
    },
    "decoding.sampling_distribution": lambda it: {
        "logits": LOGITS, "repetition_penalty": 1.2, "previous_ids": [[0]]
    },
    "decoding.top_k_filter": lambda it: {"logits": LOGITS, "k": 2},
    "decoding.top_p_filter": lambda it: {"logits": LOGITS, "p": 0.5},
    "decoding.toy_logits": lambda it: {"name": "flat"},
    "drawn_shapes.draw_scene": lambda it: {"seed": 3, "side": 64},
    "engine.Engine": lambda it: {"loaded": it.loaded},
    "engine.Engine.check_context": lambda it: {"seq_len": 4, "name": "here"},
    "engine.Engine.decode": lambda it: {"token_ids": [3]},
    "engine.Engine.generate": lambda it: {"prompt": "go", "max_new_tokens": 2},
    "engine.Engine.logits": lambda it: {"input_ids": [[1, 2]]},
    "engine.Engine.new_cache": lambda it: {"batch_size": 1, "max_seq_len": 4},
    "engine.Engine.prefill": lambda it: {"input_ids": [[1, 2]]},
    "engine.Engine.stream": lambda it: {"prompt": "go", "max_new_tokens": 2},
    "engine.KVCache": lambda it: {
        "n_layers": 1, "batch_size": 1, "n_kv_heads": 1, "max_seq_len": 4, "head_dim": 2
    },
    "engine.Lookup": lambda it: {"k": 2, "longest": 2},
    "engine.ModelDrafter": lambda it: {"engine": it.engine, "k": 2},
    "engine.TextStream": lambda it: {"tokenizer": it.tokenizer, "stop": "x"},
    "engine.TextStream.push": lambda it: {"token_id": 65},
    "engine.first_layers": lambda it: {"engine": it.engine, "n_layers": 1},
    "engine.look_inside": lambda it: {"engine": it.engine, "token_ids": [1, 2], "layer": 1},
    "figures.Picture": lambda it: {"figure": matplotlib.figure.Figure(), "alt": "words"},
    "figures.Picture.html": lambda it: {},
    "figures.beam_table": lambda it: {"trace": it.trace, "token_text": str},
    "figures.beam_tree": lambda it: {"trace": it.trace},
    "figures.chain_rule_path": lambda it: {"tokens": ["a", "b"], "probs": [0.5, 0.5]},
    "figures.chat_picture": lambda it: {"messages": [("user", "hi")]},
    "figures.comparison_page": lambda it: {
        "comparison": parallel.compare_parallelism(it.spec, **RANKS, max_new_tokens=2)
    },
    "figures.cross_attention_map": lambda it: {
        "scores": torch.ones(1, 1, 1, 1), "source": ["▁the"], "target": ["▁le"]
    },
    "figures.filter_view": lambda it: {
        "before": [0.6, 0.4], "after": [1.0, 0.0], "token": str, "title": "a"
    },
    "figures.generation_filmstrip": lambda it: {"steps": [("a", TOP, " fox")], "n_columns": 1},
    "figures.draft_tree": lambda it: {"tokens": ["a", "b"], "parents": [-1, 0]},
    "figures.growth_curves": lambda it: {
        "x": [1, 2], "curves": {"a": [1, 2]}, "x_label": "n", "y_label": "m"
    },
    "figures.head_importance": lambda it: {"rises": [[0.1, 0.2]], "layers": [3]},
    "figures.latency_and_throughput": lambda it: {"steps_s": {"a": {1: 0.1, 2: 0.2}}},
    "figures.likely_and_repeated": lambda it: {"texts": {"a": ([-1.0, -2.0], [0.0, 0.1])}},
    "figures.logprobs_view": lambda it: {"positions": [("a", -0.5, [("a", -0.5)])]},
    "figures.next_token_bars": lambda it: {"top": TOP},
    "figures.nucleus_strip": lambda it: {"tokens": ["a", "b"], "sizes": [1, 20]},
    "figures.recomputed_rows": lambda it: {"frame": TWO_PASSES},
    "figures.request_timeline": lambda it: {"requests": {"a": [0.1, 0.2]}},
    "figures.ring_all_reduce_view": lambda it: {"n_ranks": 3},
    "figures.roofline": lambda it: {"peak_flops": 1e14, "memory_bandwidth": 1e12, "points": POINTS},
    "figures.schedule_chart": lambda it: {
        "schedules": parallel.pipeline_schedule(n_requests=1, n_stages=1, prefill_s=1.0)
    },
    "figures.image_panels": lambda it: {"images": {"a": Image.new("RGB", (9, 9))}},
    "figures.score_maps": lambda it: {"maps": {"a": np.eye(2)}, "tokens": ["a", "b"]},
    "figures.sharded_layer": lambda it: {"spec": it.spec, "n_ranks": 2},
    "figures.spectrograms": lambda it: {"sounds": {"a": [0.0, 0.1] * 999}, "sampling_rate": 8000},
    "figures.speculation_html": lambda it: {"passes": [(["a"], ["b"], "c")]},
    "figures.speculation_strip": lambda it: {"passes": [(["a"], ["b"], "c")]},
    "figures.surprise_html": lambda it: {"score": SCORE},
    "figures.surprise_strip": lambda it: {"scores": [SCORE]},
    "figures.time_against_ranks": lambda it: {
        "frame": pd.DataFrame({"a": [0.2, 0.1]}, index=[1, 2])
    },
    "figures.token_html": lambda it: {"pieces": token_pieces(it.tokenizer, "go")},
    "figures.token_strip": lambda it: {"pieces": token_pieces(it.tokenizer, "go")},
    "figures.volume_bars": lambda it: {"volumes": {"a": it.volume}},
    "hardware.Hardware": lambda it: {
        "name": "x", "peak_flops": 1e12, "memory_bandwidth": 1e9, "memory_bytes": 1e9
    },
    "hardware.Hardware.bound": lambda it: {"flops": 1e9, "n_bytes": 1e9},
    "hardware.Hardware.dtype_of": lambda it: {"dtype_bytes": 2},
    "hardware.Hardware.peak": lambda it: {},
    "hardware.Hardware.ridge": lambda it: {},
    "hardware.Hardware.seconds": lambda it: {"flops": 1e9, "n_bytes": 1e9},
    "hardware.time_in_turns": lambda it: {
        "calls": {"a": lambda: None}, "timer": lambda call: 0.01, "seconds": 0.1
    },
    "hardware.as_hardware": lambda it: {"hardware": "l4"},
    "hardware.measure_hardware": lambda it: {
        "seconds": 1e-3, "max_spread": 1e9, "dtypes": ("float32",), "timer": lambda call: 1.0
    },
    "hub_tools.token_pieces": lambda it: {"tokenizer": it.tokenizer, "text": "go"},
    "inference_script.TaskInfo": lambda it: {"prompt_seqs": "go"},
    "inference_script.generate": lambda it: {"task_info": it.task, "loaded": it.loaded},
    "lecture_block.BlockWeights": lambda it: dict(vars(it.weights)),
    "lecture_block.BlockWeights.random": lambda it: {"d_model": 4, "n_heads": 2},
    "lecture_block.KVCache": lambda it: {"keys": torch.ones(2, 4), "values": torch.ones(2, 4)},
    "lecture_block.PreallocatedKVCache": lambda it: {"cache": it.cache, "max_seq_len": 4},
    "lecture_block.ToyTransformer.random": lambda it: {
        "vocab_size": 9, "d_model": 4, "n_heads": 2, "n_layers": 1
    },
    "lecture_block.ToyTransformer.decode": lambda it: {
        "token_id": 1, "caches": it.toy_model.prefill([1, 2])[1]
    },
    "lecture_block.ToyTransformer.generate": lambda it: {"token_ids": [1], "max_new_tokens": 2},
    "lecture_block.ToyTransformer.naive": lambda it: {"token_ids": [1, 2]},
    "lecture_block.ToyTransformer.prefill": lambda it: {"token_ids": [1, 2]},
    "lecture_block.decode_block": lambda it: {
        "t": torch.ones(1, 4), "cache": it.cache, "weights": it.weights, "n_heads": 2
    },
    "lecture_block.naive_block": lambda it: {
        "x": torch.ones(2, 4), "weights": it.weights, "n_heads": 2
    },
    "lecture_block.prefill_block": lambda it: {
        "x": torch.ones(2, 4), "weights": it.weights, "n_heads": 2
    },
    "loading.load_model": lambda it: {"name": it.saved, "device": "cpu"},
    "model_spec.ModelSpec": lambda it: dict(vars(it.spec)),
    "model_spec.ModelSpec.cached_positions": lambda it: {"seq_len": 4},
    "model_spec.ModelSpec.check_full_attention": lambda it: {"seq_len": 4},
    "model_spec.ModelSpec.from_config": lambda it: {"hf_config": CONFIGS["llama"]},
    "model_spec.ModelSpec.kv_bytes_per_token": lambda it: {"dtype_bytes": 2},
    "model_spec.ModelSpec.with_tensors_of": lambda it: {"model": it.loaded.model},
    "op_trace.OpTrace": lambda it: {},
    "op_trace.Symbols": lambda it: {"values": {"L": 8}},
    "op_trace.changed_rows": lambda it: dict(zip(("first", "second"), it.passes(), strict=True)),
    "op_trace.name_tensors": lambda it: {"names": {"X": torch.ones(2)}},
    "parallel.Link": lambda it: {"name": "x", "bandwidth": 1e9, "latency_s": 0.0},
    "parallel.all_reduce_time_s": lambda it: {"payload_bytes": 8, "n_ranks": 2, "link": "nvlink4"},
    "parallel.check_pipeline_degree": lambda it: {"spec": it.spec, "n_stages": 2},
    "parallel.check_tensor_parallel_degree": lambda it: {"spec": it.spec, "n_ranks": 2},
    "parallel.communication_time_s": lambda it: {"volume": it.volume, "link": "nvlink4"},
    "parallel.compare_parallelism": lambda it: {"spec": it.spec, **RANKS, "max_new_tokens": 2},
    "parallel.lay_out": lambda it: {"spec": it.spec, "seq_len": 4, "max_new_tokens": 2},
    "parallel.local_environment": lambda it: {"n_ranks": 2},
    "parallel.pipeline_degrees": lambda it: {"spec": it.spec},
    "parallel.pipeline_schedule": lambda it: {
        "n_requests": 2, "n_stages": 2, "prefill_s": 1.0, "max_new_tokens": 2
    },
    "parallel.pipeline_volume": lambda it: {"spec": it.spec, **RANKS},
    "parallel.ring_steps": lambda it: {"n_ranks": 2},
    "parallel.ring_wire_bytes": lambda it: {"payload_bytes": 8, "n_ranks": 2},
    "parallel.schedule_from_timestamps": lambda it: {
        "blocks": parallel.pipeline_schedule(n_requests=1, n_stages=1, prefill_s=1.0).blocks
    },
    "parallel.tensor_parallel_degrees": lambda it: {"spec": it.spec},
    "parallel.tensor_parallel_volume": lambda it: {"spec": it.spec, **RANKS},
    "parallel.transfer_time_s": lambda it: {"payload_bytes": 8, "link": "nvlink4"},
    "pipelines.load_pipeline": lambda it: {
        "task": "translation", "model": "course-t5", "device": "cpu"
    },
    "sampling_settings.SamplingSettings": lambda it: {"top_k": 5},
    "scoring.next_token_logits": lambda it: {"loaded": it.loaded, "token_ids": [1, 2]},
    "scoring.next_token_probs": lambda it: {"loaded": it.loaded, "prompt": "go"},
    "scoring.score_text": lambda it: {"loaded": it.loaded, "text": "go"},
    "scoring.text_to_ids": lambda it: {"loaded": it.loaded, "text": "go"},
    "scoring.token_text": lambda it: {"tokenizer": it.tokenizer, "token_id": 65},
    "scoring.token_texts": lambda it: {"tokenizer": it.tokenizer, "token_ids": [65, 66]},
    "scoring.top_tokens": lambda it: {
        "loaded": it.loaded, "probs": torch.tensor([0.4, 0.6]), "n": 2
    },
    "widgets.BeamStepper": lambda it: {"engine": it.engine},
    "widgets.CacheWatcher": lambda it: {"engine": it.engine, "prompt": "go", "n_steps": 2},
    "widgets.ChatWidget": lambda it: {"loaded": it.loaded},
    "quantisation.dequantise": lambda it: {
        "q": torch.ones(2, 4), "scale": torch.ones(2, 1), "minimum": torch.zeros(2, 1)
    },
    "quantisation.in_groups": lambda it: {"x": torch.ones(2, 8), "group_size": 4},
    "quantisation.quantise_absmax": lambda it: {"x": torch.ones(2, 8), "bits": 4, "dim": -1},
    "quantisation.quantise_zero_point": lambda it: {"x": torch.ones(2, 8), "bits": 4, "dim": -1},
    "serving.LoadReport.goodput": lambda it: {"ttft_s": 1.0, "gap_s": 1.0},
    "serving.PagedEngine": lambda it: {"engine": it.engine, "n_blocks": 8, "block_size": 4},
    "serving.PagedEngine.request": lambda it: {"prompt": "go", "max_new_tokens": 2, "n": 2},
    "widgets.ChatWidget.send": lambda it: {"text": "go", "wait": True},
    "widgets.SentenceScorer": lambda it: {"loaded": it.from_folder, "sentences": ["the fox"]},
    "figures.load_chart": lambda it: {
        "waits": {"a": ([0.1], [0.2])}, "limits": (1.0, 1.0), "span": (0.1, 10.0)
    },
    "widgets.ServingView": lambda it: {"costs": [0.1, 0.01, 0.0], "transfer_s_per_token": 0.0},
    "widgets.SpeculationView": lambda it: {"engine": it.engine, "prompts": {"a": "go"}},
    "widgets.TokenizerView": lambda it: {"tokenizers": {"bytes": it.tokenizer}},
    "widgets.GenerationStepper": lambda it: {"loaded": it.loaded, "prompt": "go"},
    "widgets.SamplingView": lambda it: {"loaded": it.loaded},
    "widgets.QuantisationView": lambda it: {"bandwidth": 1e10, "measured": {"int4": 50.0}},
}  # fmt: skip
# Whose methods are called.
OWNERS = {
    "decoding.Sampler": lambda it: decoding.Sampler(seed=1),
    "decoding.ToyLM": lambda it: it.toy,
    "engine.Engine": lambda it: it.prefilled(),
    "serving.LoadReport": lambda it: LoadReport([Request([1], 1, token_s=[1.0])]),
    "serving.PagedEngine": lambda it: PagedEngine(it.engine, 8, 4),
    "engine.TextStream": lambda it: TextStream(it.tokenizer),
    "figures.Picture": lambda it: Picture(matplotlib.figure.Figure(), "words"),
    "hardware.Hardware": lambda it: it.hardware,
    "lecture_block.BlockWeights": lambda it: lecture_block.BlockWeights,
    "lecture_block.ToyTransformer": lambda it: it.toy_model,
    "model_spec.ModelSpec": lambda it: it.spec,
    "widgets.ChatWidget": lambda it: widgets.ChatWidget(it.loaded),
}
# What takes **options passes them to these.
OPTIONS = {
    "engine.Engine.stream": Engine.generate,
    "decoding.engine_beam_search": beam_search,
    "decoding.sample_generate": Engine.generate,
    "costs.step_latency": costs.op_costs,
    "costs.critical_batch_size": costs.op_costs,
    "lecture_block.naive_block": BlockFlags,
    "lecture_block.prefill_block": BlockFlags,
    "lecture_block.decode_block": BlockFlags,
    "lecture_block.ToyTransformer.random": BlockFlags,
}
# Of these options they say the value themselves.
TAKEN = (
    "costs.critical_batch_size.batch_size", "decoding.sample_generate.next_token",
)  # fmt: skip

# Not tried, each with its reason; a class stands for its methods too.
RESULT = "what functions return; nobody makes one"
UNTRIED = {
    **dict.fromkeys(
        (
            "decoding.BeamTrace", "drawn_shapes.Scene", "drawn_shapes.Shape",
            "engine.ForwardCall", "engine.Generation", "engine.Timings",
            "hub_tools.TokenPiece", "inference_script.TokenLogprobs",
            "loading.LoadedModel", "parallel.ParallelComparison",
            "parallel.Schedule", "parallel.StageBlock", "scoring.TextScore",
        ),
        RESULT,
    ),
    **dict.fromkeys(
        (
            "engine.KVCache.append", "engine.KVCache.advance", "engine.KVCache.pattern",
            "engine.KVCache.check_room", "engine.Pattern", "engine.LlamaLayer", "engine.RMSNorm",
            "engine.attend", "engine.inverse_frequencies", "engine.linear", "engine.mlp",
            "engine.project_qkv", "engine.rope_tables", "engine.cached_tokens", "engine.greedy",
            "engine.forward_all", "engine.causal_mask", "loading.pack_model",
            "engine.Lookup.__call__", "engine.ModelDrafter.__call__", "engine.ModelDrafter.logits",
            "decoding.Sampler.distribution", "decoding.Sampler.generator_on",
            "inference_script.positions", "tokens.decode_text", "tokens.end_tokens",
            "tokens.model_inputs", "tokens.next_log_probs", "tokens.stable_topk",
        ),
        "of the engine's own steps: the lectures' code, which checks nothing",
    ),
    **dict.fromkeys(
        (
            *(f"serving.{name}" for name in (
                "LoadReport", "PagedEngine.run_pass", "Request", "Scheduler", "StaticScheduler",
                "forward_many", "poisson_arrivals", "serve", "simulate", "step",
            )),
        ),
        "of the scheduler's own steps, behind PagedEngine.request, which checks",
    ),
    "serving.Server": "behind python -m lecture_lib.serving: see tests/test_serving_server.py",
    "engine.GraphedDecode": "benchmarks and lecture 05 give it an Engine on a GPU",
    "engine.GraphedDecode.__call__": "a step of the decoding loop, which checks nothing",
    "figures.Picture.stacked": "takes Pictures alone",
    "figures.RooflinePoint": "roofline checks it",
    "hardware.wall_clock": "is given the device of an engine",
    "loading.load_draft_model": "needs the bundled model: see tests/test_course_draft.py",
    "lecture_block.KVCache": "its methods are the decode step's",
    "lecture_block.PreallocatedKVCache": "its methods are the decode step's",
    "op_trace.OpTrace": "its methods are its listeners'",
    "op_trace.Symbols.shape": "asked by a trace, with the shapes of tensors",
    "op_trace.Symbols.size": "asked by a trace, with the shapes of tensors",
    "op_trace.row": "does nothing unless a trace records: tried below",
    "parallel.TrafficRecorder": "its method is called by torch",
    "parallel.run_layers": "the lecture's own loop, on the parts of a model that is checked",
    "parallel.run_ranks": "starts processes; tests/test_parallel_launch.py refuses its numbers",
    "parallel.run_pipeline_parallel": "starts processes; make_job checks the arguments: see below",
    "parallel.run_tensor_parallel": "starts processes; make_job checks the arguments: see below",
    "lecture_block.ToyTransformer": "made by its method random",
    "scoring.chat_ids": "takes the messages of a ChatSession or of a pipeline",
    "scoring.piece_bytes": "takes what a tokenizer calls its tokens",
    "pipelines": "made by Transformers; their calls are tried below",
    "widgets.PictureWidget": "the base of the others",
    "widgets.CostCalculator": "its numbers are its sliders': see test_bad_values.py",
    "widgets.PipelineCalculator": "its numbers are its sliders': see test_bad_values.py",
    "widgets.ScheduleView": "its numbers are its sliders': see test_bad_values.py",
    "widgets.StepBreakdown": "its numbers are its sliders': see test_bad_values.py",
    "widgets.TensorParallelCalculator": "its numbers are its sliders': see test_bad_values.py",
    **dict.fromkeys(
        (f"widgets.ChatWidget.{method}" for method in ("finish", "show_busy", "work")),
        "called by BackgroundWidget",
    ),
}  # fmt: skip


# -- the kinds -------------------------------------------------------------------------------------


def parameters(name: str) -> dict[str, inspect.Parameter]:
    """A function's parameters by name, those of its **options among them."""
    function = PUBLIC[name]
    function = getattr(function, "__func__", function)  # of a class method
    found = {}
    for one in (function, OPTIONS.get(name)):
        given = inspect.signature(one).parameters if one else {}
        for each in given.values():
            own = one is function or each.default is not each.empty
            named = each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
            taken = each.name in ("self", "cls") or f"{name}.{each.name}" in TAKEN
            if own and named and not taken:
                found.setdefault(each.name, each)
    return found


def kind_of(parameter: inspect.Parameter) -> str:
    """What kind of value an argument takes, by its annotation or else its default."""
    annotation = inspect.formatannotation(parameter.annotation).strip("'\"")
    options = set(annotation.split(" | ")) - {"None"}
    if options == {"bool"} or isinstance(parameter.default, bool):
        return "flag"
    if options == {"float"}:
        return "number"
    if options == {"int"} or isinstance(parameter.default, int):
        return "count"
    if "str" in options:
        return "text"
    is_drawn = annotation.endswith("Sequence[float]")
    return "tensor" if parameter.name in TENSORS and not is_drawn else "other"


def takes_none(parameter: inspect.Parameter) -> bool:
    return parameter.default is None or "None" in inspect.formatannotation(parameter.annotation)


# Token ids and numbers that become tensors, whatever holds them.
TENSORS = (
    "attention_mask", "counts", "input_ids", "logits", "new_ids", "previous_ids", "probs",
    "prompt_ids", "token_ids",
)  # fmt: skip
BAD = {
    "flag": ("no", 1, np.array([0, 1])),
    "count": (HUGE, "3", 2.5, True, [2]),
    "number": (HUGE, "3", [1.0, 2.0], True),
    "text": (SURROGATE, 5, b"the"),
    "tensor": (None, {1, 2}, object(), "ids", torch.empty(2, device="meta"), [2**70]),
    "other": (object(), None),
}
# These take what is bad elsewhere.
ALLOWED = {
    "costs.memory_budget.memory": "a number of bytes, too",
    "engine.Engine.check_context.name": "is only shown",
    "engine.KVCache.owner": "any object",
    "lecture_block.KVCache.bytes_copied": "counted by the cache itself",
}
# What messages call an argument where it is checked for several functions.
NAMES = {
    "costs.critical_batch_size.compute_dtype": "dtype",
    "costs.op_costs.compute_dtype": "dtype",
    "costs.step_latency.compute_dtype": "dtype",
    "decoding.ToyLM.next_distribution.prefix": "token",
    "decoding.ToyLM.encode.tokens": "token",
    "decoding.ToyLM.probability.tokens": "token",
    "decoding.apply_repetition_penalty.penalty": "repetition_penalty",
    "decoding.sample_generate.prompts": "prompt",
    "decoding.top_k_filter.k": "top_k",
    "decoding.top_p_filter.p": "top_p",
    "engine.Engine.check_context.seq_len": "here",
    "engine.look_inside.token_ids": "input_ids",
    "op_trace.Symbols.values": "symbols",
    "scoring.next_token_probs.prompt": "text|token_ids",
}

PUBLIC = public()
ARGUMENTS = {
    f"{name}.{parameter}": kind_of(given)
    for name in EXAMPLES
    if name in PUBLIC
    for parameter, given in parameters(name).items()
}


@pytest.fixture(scope="module")
def it(tmp_path_factory):
    return Things(tmp_path_factory.mktemp("tiny"))


def call(it: Things, name: str, /, **changes):
    """Call a function as its example does, with changes; what it returns is used up."""
    arguments = EXAMPLES[name](it) | changes
    owner, _, method = name.rpartition(".")
    result = (getattr(OWNERS[owner](it), method) if owner in OWNERS else PUBLIC[name])(**arguments)
    if hasattr(result, "__enter__"):
        with result:
            return None
    return list(result) if isinstance(result, Iterator) else result


def test_every_public_function_is_tried_or_has_a_reason():
    excused = {name for name in PUBLIC for reason in UNTRIED if f"{name}.".startswith(f"{reason}.")}
    without = {name for name in PUBLIC if not parameters(name)}
    assert set(PUBLIC) - set(EXAMPLES) - excused - without == set()
    assert set(EXAMPLES) - set(PUBLIC) == set()
    assert {reason for reason in UNTRIED if not any(n.startswith(reason) for n in PUBLIC)} == set()
    assert set(ALLOWED) <= {*ARGUMENTS, *EXAMPLES}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_right_calls_work(it, name):
    call(it, name)


@pytest.mark.parametrize("argument", ARGUMENTS)
def test_a_wrong_value_is_a_value_error_that_names_its_argument(it, argument):
    if argument in ALLOWED:
        return
    name, _, parameter = argument.rpartition(".")
    for value in BAD[ARGUMENTS[argument]]:
        given = parameters(name)[parameter]
        if value is None and takes_none(given):
            continue
        if isinstance(value, set) and "Iterable" in str(given.annotation):
            continue
        with pytest.raises(
            ValueError, match=f"(?i)\\b({NAMES.get(argument, parameter)})"
        ) as caught:
            call(it, name, **{parameter: value})
        message = str(caught.value)
        assert not isinstance(caught.value, UnicodeError), message
        message.encode()  # can be printed
        assert len(message) < 500


@pytest.mark.parametrize("argument", [a for a, kind in ARGUMENTS.items() if kind == "count"])
def test_a_numpy_integer_is_an_integer(it, argument):
    """int8, in which a product of sizes would overflow."""
    if argument in ALLOWED:
        return
    name, _, parameter = argument.rpartition(".")
    value = EXAMPLES[name](it).get(parameter, parameters(name)[parameter].default)
    if not isinstance(value, int) or value > 127:
        value = 2 if "n_heads" in EXAMPLES[name](it) else 1
    results = [call(it, name, **{parameter: number(value)}) for number in (int, np.int8)]
    if "measure" not in name:  # they return times
        assert plain(results[0]) == plain(results[1])


def plain(result) -> str:
    """What is compared of a result: no times, and no addresses."""
    if isinstance(result, decoding.BeamTrace | engine.Generation):
        return str(vars(result).get("sequences", getattr(result, "token_ids", None)))
    if isinstance(result, Picture):
        return result.alt
    if "engine" in type(result).__module__ or "widgets" in type(result).__module__:
        return type(result).__name__
    return re.sub(r" at 0x[0-9a-f]+|\d+\.\d+e-\d+", "", repr(result))


@pytest.mark.parametrize("argument", [a for a, kind in ARGUMENTS.items() if kind == "tensor"])
@pytest.mark.parametrize("dtype", [torch.uint64, torch.uint16, torch.uint8])
def test_unsigned_token_ids_are_token_ids(it, argument, dtype):
    name, _, parameter = argument.rpartition(".")
    value = EXAMPLES[name](it).get(parameter)
    if value is None or not all(isinstance(x, int) for x in np.ravel(value).tolist()):
        return
    tensor = torch.tensor(value).to(dtype)
    expected = plain(call(it, name))
    assert plain(call(it, name, **{parameter: tensor})) == expected
    assert plain(call(it, name, **{parameter: tensor.numpy()})) == expected


# -- what is no function: widgets, the command line, pipelines -------------------------------------


def text_controls(widget) -> list:
    """Everything in a widget that a reader can type into."""
    found = [widget] if isinstance(widget, ipywidgets.Text | ipywidgets.Textarea) else []
    for child in getattr(widget, "children", ()):
        found += text_controls(child)
    return found


WIDGETS = {
    "BeamStepper": lambda it: widgets.BeamStepper(it.engine, model="the real model"),
    "CacheWatcher": lambda it: widgets.CacheWatcher(it.engine, "go", 2),
    "ChatWidget": lambda it: widgets.ChatWidget(it.loaded),
    "GenerationStepper": lambda it: widgets.GenerationStepper(it.loaded, "go"),
    "SamplingView": lambda it: widgets.SamplingView(it.loaded, source="the model"),
    "SentenceScorer": lambda it: widgets.SentenceScorer(it.from_folder, ["the fox"]),
    "TokenizerView": lambda it: widgets.TokenizerView({"bytes": it.tokenizer}),
}


def test_every_widget_with_a_text_is_tried(it):
    for name in widgets.__all__:
        made = f"widgets.{name}" in EXAMPLES and text_controls(call(it, f"widgets.{name}"))
        assert name in WIDGETS or not made, name


@pytest.mark.parametrize("name", WIDGETS)
def test_what_is_typed_into_a_widget_never_ends_in_a_traceback(it, name):
    widget = WIDGETS[name](it)
    controls = text_controls(widget)
    assert controls
    for control in controls:
        right = control.value
        control.value = SURROGATE
        if name == "ChatWidget":  # it reads them when a button is pressed
            widget.begin(wait=True)
        assert "surrogate" in widget.error
        widget.message.value.encode()
        control.value = right


@pytest.mark.parametrize("option", ["--prompt", "--stop"])
def test_the_command_line_says_which_of_its_texts_is_none(option, capsys):
    with pytest.raises(SystemExit) as ended:
        command.main(["--prompt", "go", option, SURROGATE])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert f"{option}: character 5 is" in said
    said.encode()


def test_a_model_s_name_on_the_command_line_is_checked_too(capsys):
    with pytest.raises(SystemExit):
        command.main(["--prompt", "go", "--model", SURROGATE])
    assert "--model: character 5 is" in capsys.readouterr().err


def test_a_bad_byte_does_not_end_the_interactive_loop(it, monkeypatch, capsys):
    typed = io.TextIOWrapper(io.BytesIO(b"the \xff\ngo\n/settings stop=\xff\n"), encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", typed)
    assert prompt.loop(it.loaded, it.engine, it.task) == 0
    told = capsys.readouterr()
    assert told.err.count("error: ") == 2
    assert "prompt_seqs: character 5 is" in told.err
    assert told.out.strip("\n> "), "the next line is continued"


@pytest.mark.parametrize("value", [SURROGATE, 5, b"the", ["the", SURROGATE], ["the", None]])
@pytest.mark.parametrize("task", ["translation", "summarization"])
def test_pipelines_take_texts_alone(it, task, value):
    made = pipelines.load_pipeline(task, "course-t5", device="cpu")
    with pytest.raises(ValueError, match="inputs"):
        made(value)


def test_label_words_take_texts_alone(it):
    parts = {"model": it.from_folder.model, "tokenizer": it.from_folder.tokenizer}
    made = pipelines.LabelWordsPipeline(**parts, labels={"A": "fox", "B": "mouse"})
    for value in (SURROGATE, 5, ["the", SURROGATE]):
        with pytest.raises(ValueError, match="inputs"):
            made(value)
    for value in (True, 2.5):
        with pytest.raises(ValueError, match=r"^top_k: "):
            made("go", top_k=value)
    for value in (["a", "b"], {"A": "fox", "B": SURROGATE}, {"A": "fox", "B": None}):
        with pytest.raises(ValueError, match=r"^labels: "):
            pipelines.LabelWordsPipeline(**parts, labels=value)
    assert made("go", top_k=np.int64(1)) == made("go", top_k=1)


@pytest.mark.parametrize(
    ("argument", "values"),
    [
        ("n_ranks", (HUGE, "2", None, True)),
        ("prompts", (SURROGATE, 5, None, ["a", 5], {1, 2}, b"the")),
        ("max_new_tokens", (HUGE, "2", None)),
        ("model", (SURROGATE, 5, "", "~nouser/x")),
        ("backend", (5, ["own"])),
        ("dtype", (5, ["float32"])),
        ("device", (5, ["cpu"])),
        ("ignore_eos", ("no", 1)),
    ],
)
def test_parallel_runs_refuse_before_a_process_starts(it, argument, values):
    right = {"kind": "pipeline", "n_ranks": 1, "prompts": "go", "model": it.from_folder}
    for value in values:
        with pytest.raises(ValueError, match=f"^({argument}|name|prompt)\\b"):
            make_job(**right | {argument: value})


@pytest.mark.parametrize("load", [load_model, partial(pipelines.load_pipeline, "translation")])
@pytest.mark.parametrize(
    "name", ["", " ", "~nouser/x", "a" * 5000, "/" + "a" * 5000, "a" * 5000 + ".gguf", SURROGATE]
)
def test_a_name_that_can_be_no_model_s_is_a_value_error(load, name, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match=r"^(name|model): ") as caught:
        load(name)
    assert len(str(caught.value)) < 6000


def test_the_names_of_a_row_are_checked_while_a_trace_records():
    with OpTrace(), pytest.raises(ValueError, match=r"^names: "), op_trace.row("1", "x", names=5):
        torch.ones(2) + 1
    with OpTrace(), pytest.raises(ValueError, match=r"^head: "), op_trace.row("1", "x", head="2"):
        torch.ones(2) + 1


def test_messages_stay_short():
    for value in (HUGE, 10**5000, "x" * 9999, list(range(9999))):
        for check in (check_count, check_number):
            with pytest.raises(ValueError, match=r"^n: needs") as caught:
                check("n", value)
            assert len(str(caught.value)) < 300
