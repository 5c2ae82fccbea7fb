"""Bad numbers: none hangs, none is cut in silence, none gives a wrong answer.

Every public function that has a number among its arguments is found by its signature. A new one
fails here until ``CALLS`` has a call of it.
"""

import contextlib
import importlib
import inspect
import math
import re
import signal

import engine_models
import matplotlib
import numpy as np
import pytest
import sympy
import torch
from transformers import T5Config, T5ForConditionalGeneration

from lecture_lib import decoding, lecture_block, op_trace, parallel
from lecture_lib.checks import check_count
from lecture_lib.costs import LectureBlock, arithmetic_intensity, lecture_table, op_costs
from lecture_lib.decoding import ToyLM, beam_search, greedy_search, mouse_and_cheese
from lecture_lib.decoding.sampling import filter_logits
from lecture_lib.engine import Engine
from lecture_lib.figures import RooflinePoint, next_token_bars
from lecture_lib.hardware import HARDWARE
from lecture_lib.model_spec import MODEL_SPECS
from lecture_lib.pipelines import SummarizationPipeline, TranslationPipeline
from lecture_lib.widgets import (
    BeamStepper,
    CacheWatcher,
    ChatWidget,
    CostCalculator,
    PipelineCalculator,
    SamplingView,
    ScheduleView,
    SentenceScorer,
    StepBreakdown,
    TensorParallelCalculator,
    TokenizerView,
)

# -- every public function, by its signature ------------------------------------------------------

PACKAGES = (
    "costs", "decoding", "drawn_shapes", "engine", "figures", "hardware", "hub_tools",
    "inference_script.settings", "lecture_block", "model_spec", "op_trace", "parallel", "scoring",
    "widgets",
)  # fmt: skip
SPEC, A100 = MODEL_SPECS["llama-3.1-8b"], HARDWARE["a100-80gb-sxm"]
LOADED = engine_models.loaded_model(engine_models.llama())
ENGINE = Engine(LOADED)
POINTS = [RooflinePoint("x", 2.0)]
LOGITS, BARS = torch.linspace(-1, 1, 5), [("a", 0.5), ("b", 0.25)]
TOY, TEXT = mouse_and_cheese(), "the mouse ate the cheese"
TRACE = beam_search(TOY, num_beams=2, max_new_tokens=2)
WEIGHTS, X = lecture_block.BlockWeights.random(8, 2), torch.ones(3, 8)
_, BLOCK_CACHE = lecture_block.prefill_block(X, WEIGHTS, 2)
TRANSFORMER = lecture_block.ToyTransformer.random(9, 8, 2, 1)
SIZES = {"batch_size": 2, "seq_len": 8}
ON_SPEC, ON_ENGINE = {"spec": SPEC, **SIZES}, {"engine": ENGINE, "phase": "decode", **SIZES}
RANKS = {**ON_SPEC, "n_ranks": 2, "max_new_tokens": 4}
SAMPLING = {"temperature": 1.0, "top_k": 3, "top_p": 0.9, "min_p": 0.1, "repetition_penalty": 1.1}
MODEL = {
    "name": "a", "n_layers": 2, "d_model": 8, "n_heads": 2, "n_kv_heads": 2, "head_dim": 4,
    "d_ff": 16, "vocab_size": 9, "gated_mlp": True, "tied_embeddings": True,
}  # fmt: skip


# The arguments of a call that works. In its place a method has the object and those of its call.
CALLS = {
    "costs.activation_bytes": {**ON_SPEC, "phase": "decode"},
    "costs.expected_tokens": {"acceptance": 0.5, "k": 4},
    "costs.kv_cache_bytes": ON_SPEC,
    "costs.kv_overtakes_weights": {"spec": SPEC},
    "costs.measure_ops": ON_ENGINE,
    "costs.memory_budget": ON_SPEC,
    "costs.op_costs": {**ON_SPEC, "phase": "decode"},
    "costs.step_latency": {**ON_SPEC, "hardware": A100},
    "costs.weight_bytes": {"spec": SPEC},
    "costs.with_kv_heads": {"spec": SPEC},
    "decoding.BeamTrace": {"num_beams": 2, "max_new_tokens": 2},
    "decoding.Sampler": {},
    "decoding.SamplingSettings": {},
    "decoding.ToyLM.all_sequences": (TOY, {}),
    "decoding.apply_repetition_penalty": {"logits": LOGITS, "previous_ids": [1]},
    "decoding.apply_temperature": {"logits": LOGITS},
    "decoding.beam_search": {"next_log_probs": TOY, "num_beams": 2, "max_new_tokens": 2},
    "decoding.distinct_n": {"texts": [[1, 2]]},
    "decoding.engine_beam_search": {
        "engine": ENGINE, "prompt": "a", "num_beams": 2, "max_new_tokens": 2,
    },
    "decoding.random_toy": {"depth": 3, "seed": 0},
    "decoding.greedy_search": {"next_log_probs": TOY, "max_new_tokens": 2},
    "decoding.repeated_ngrams": {"tokens": [1, 2]},
    "decoding.sample_generate": {"engine": ENGINE, "prompts": "a", "max_new_tokens": 2},
    "decoding.sampling_distribution": {"logits": LOGITS, "previous_ids": [1]},
    "decoding.top_k_filter": {"logits": LOGITS, "k": 2},
    "decoding.top_p_filter": {"logits": LOGITS, "p": 0.5},
    "drawn_shapes.draw_scene": {"seed": 3},
    "engine.Engine.check_context": (ENGINE, {"name": "seq_len"}),
    "engine.Engine.generate": (ENGINE, {"prompt": "a"}),
    "engine.Engine.new_cache": (ENGINE, {"batch_size": 1, "max_seq_len": 8}),
    "engine.Engine.stream": (ENGINE, {"prompt": "a"}),
    "engine.KVCache": {
        "n_layers": 1, "batch_size": 1, "n_kv_heads": 1, "max_seq_len": 1, "head_dim": 1,
    },
    "engine.Lookup": {},
    "engine.ModelDrafter": {"engine": ENGINE},
    "engine.first_layers": {"engine": ENGINE},
    "figures.beam_tree": {"trace": TRACE},
    "figures.generation_filmstrip": {"steps": [("a", BARS, "a")]},
    "figures.latency_and_throughput": {"steps_s": {"a": {1: 0.1}}},
    "figures.next_token_bars": {"top": BARS},
    "figures.ring_all_reduce_view": {},
    "figures.roofline": {"peak_flops": 1e12, "memory_bandwidth": 1e9, "points": POINTS},
    "figures.sharded_layer": {"spec": SPEC},
    "figures.spectrograms": {"sounds": {"a": [0.0, 0.1] * 999}, "sampling_rate": 8000},
    "hardware.Hardware": {
        "name": "a", "peak_flops": 1e12, "memory_bandwidth": 1e9, "memory_bytes": 1e9,
    },
    "hardware.Hardware.bound": (A100, {"flops": 1, "n_bytes": 1}),
    "hardware.Hardware.dtype_of": (A100, {}),
    "hardware.Hardware.seconds": (A100, {"flops": 1, "n_bytes": 1}),
    "hardware.measure_hardware": {},
    "inference_script.settings.TaskInfo": {"prompt_seqs": "a", "beam_width": 2},
    "lecture_block.BlockWeights.random": {"d_model": 8, "n_heads": 2},
    "lecture_block.PreallocatedKVCache": {"cache": BLOCK_CACHE},
    "lecture_block.ToyTransformer.decode": (TRANSFORMER, {"caches": [BLOCK_CACHE]}),
    "lecture_block.ToyTransformer.generate": (TRANSFORMER, {"token_ids": [1]}),
    "lecture_block.ToyTransformer.random": {
        "vocab_size": 9, "d_model": 8, "n_heads": 2, "n_layers": 1,
    },
    "lecture_block.decode_block": {"t": X[:1], "cache": BLOCK_CACHE, "weights": WEIGHTS},
    "lecture_block.naive_block": {"x": X, "weights": WEIGHTS},
    "lecture_block.prefill_block": {"x": X, "weights": WEIGHTS},
    "model_spec.ModelSpec": MODEL,
    "model_spec.ModelSpec.cached_positions": (SPEC, {}),
    "model_spec.ModelSpec.check_full_attention": (SPEC, {}),
    "model_spec.ModelSpec.kv_bytes_per_token": (SPEC, {}),
    "op_trace.OpTrace": {},
    "op_trace.Symbols.size": (op_trace.Symbols({"L": 8}), {}),
    "parallel.Link": {"name": "a", "bandwidth": 1e9, "latency_s": 1e-6},
    "parallel.Schedule.blocks_of": (
        parallel.pipeline_schedule(n_requests=1, n_stages=2, prefill_s=1), {},
    ),
    "parallel.all_reduce_time_s": {"payload_bytes": 8, "n_ranks": 2, "link": "nvlink4"},
    "parallel.check_pipeline_degree": {"spec": SPEC},
    "parallel.check_tensor_parallel_degree": {"spec": SPEC},
    "parallel.compare_parallelism": RANKS,
    "parallel.lay_out": {**ON_SPEC, "max_new_tokens": 4},
    "parallel.pipeline_schedule": {"n_requests": 2, "n_stages": 2, "prefill_s": 1},
    "parallel.pipeline_volume": RANKS,
    "parallel.ring_steps": {},
    "parallel.ring_wire_bytes": {"payload_bytes": 8, "n_ranks": 2},
    "parallel.tensor_parallel_volume": RANKS,
    "parallel.transfer_time_s": {"payload_bytes": 8, "link": "nvlink4"},
    "scoring.token_text": {"tokenizer": LOADED.tokenizer},
    "scoring.top_tokens": {"loaded": LOADED, "probs": torch.full((260,), 1 / 260)},
    "widgets.CacheWatcher": {"engine": ENGINE},
    "widgets.CostCalculator": {},
    "widgets.QuantisationView": {},
    "widgets.PipelineCalculator": {},
    "widgets.ScheduleView": {},
    "widgets.ServingView": {"costs": [0.1, 0.01, 0.0]},
    "widgets.SpeculationView": {"engine": ENGINE, "prompts": {"a": TEXT}},
    "widgets.StepBreakdown": {},
    "widgets.TensorParallelCalculator": {},
}  # fmt: skip
NOT_CALLED = {
    "made by the library, never by a reader": {
        "drawn_shapes.Shape", "engine.ForwardCall", "engine.Generation",
        "hub_tools.TokenPiece", "lecture_block.KVCache",
        "lecture_block.ToyTransformer", "parallel.Schedule", "widgets.PipelineCalculator.words",
        "widgets.TensorParallelCalculator.words",
    },
    "the loop inside of the engine": {
        "engine.KVCache.advance", "engine.KVCache.append", "engine.KVCache.check_room",
        "engine.KVCache.pattern", "engine.Generation.add",
    },
    "writes a number, whatever it is": {"op_trace.row"},
    "looked at where it is used: roofline(), schedule_from_timestamps()": {
        "figures.RooflinePoint", "parallel.StageBlock",
    },
    "starts processes; tests/test_parallel_run.py refuses its numbers": {
        "parallel.run_pipeline_parallel", "parallel.run_tensor_parallel",
    },
}  # fmt: skip


def numbers_of(function) -> dict[str, str]:
    """The arguments that are a number: name -> "int" or "float"."""
    found = {}
    for name, parameter in inspect.signature(function).parameters.items():
        kinds = re.split(r" \| ", inspect.formatannotation(parameter.annotation).strip("'"))
        for kind in ("int", "float"):  # what may be both is a float
            if kind in kinds:
                found[name] = kind
    return found


def public_functions() -> dict[str, object]:
    """Functions, classes and their methods that a package offers, by name."""
    found = {}
    for package in PACKAGES:
        module = importlib.import_module(f"lecture_lib.{package}")
        # A module has what it imports, too; a package's names are what it offers.
        where = "lecture_lib." if hasattr(module, "__path__") else module.__name__
        for name, thing in vars(module).items():
            ours = getattr(thing, "__module__", "").startswith(where)
            if name.startswith("_") or not ours or not callable(thing):
                continue
            if inspect.isclass(thing) and issubclass(thing, Exception):
                continue
            found[f"{package}.{name}"] = thing
            for method in vars(thing) if inspect.isclass(thing) else ():
                if not method.startswith("_") and callable(getattr(thing, method)):
                    found[f"{package}.{name}.{method}"] = getattr(thing, method)
    return found


PUBLIC = public_functions()
NUMBERS = {name: numbers for name, f in PUBLIC.items() if (numbers := numbers_of(f))}
LEFT_OUT = set().union(*NOT_CALLED.values())


def arguments_of(*kinds: str):
    """(function, argument) of all that take a number of these kinds."""
    return [
        pytest.param(name, argument, id=f"{name}-{argument}")
        for name, numbers in NUMBERS.items()
        if name not in LEFT_OUT
        for argument, kind in numbers.items()
        if kind in kinds
    ]


@contextlib.contextmanager
def a_way_out(seconds: int = 60):
    """Ends what hangs; no test waits for it."""

    def give_up(*_):
        raise TimeoutError(f"not done after {seconds} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def call(name: str, **bad) -> None:
    function, (thing, arguments) = PUBLIC[name], (None, CALLS[name])
    if isinstance(arguments, tuple):
        thing, arguments = arguments
        function = getattr(thing, name.rpartition(".")[2])
    with a_way_out():
        result = function(**{**arguments, **bad})
        if hasattr(result, "__enter__") and inspect.isgeneratorfunction(
            inspect.unwrap(function)
        ):  # a context manager has done nothing yet
            with result:
                pass


def test_every_function_with_a_number_is_called():
    assert set(NUMBERS) == {*CALLS, *LEFT_OUT}
    assert not LEFT_OUT & set(CALLS)


@pytest.mark.parametrize(("name", "argument"), arguments_of("float"))
def test_a_number_is_not_nan(name, argument):
    with pytest.raises(ValueError, match=f"{argument}|number"):
        call(name, **{argument: math.nan})


@pytest.mark.parametrize("bad", [2.5, math.nan, math.inf])
@pytest.mark.parametrize(("name", "argument"), arguments_of("int"))
def test_a_count_is_whole(name, argument, bad):
    # A widget names the control and not the argument.
    message = "must be one of|needs an integer" if name.startswith("widgets") else argument
    with pytest.raises(ValueError, match=message):
        call(name, **{argument: bad})


@pytest.mark.parametrize(("name", "argument"), arguments_of("int"))
def test_a_count_of_a_hundred_million_is_refused_or_cheap(name, argument):
    with contextlib.suppress(ValueError):
        call(name, **{argument: 10**8})


# -- hangs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("work", "message"),
    [
        (lambda: greedy_search(TOY, max_new_tokens=math.inf), "max_new_tokens: needs an integer"),
        (lambda: greedy_search(TOY, max_new_tokens=1_001), "max_new_tokens: .* to 1,000"),
        (lambda: parallel.ring_steps(400), "n_ranks: needs an integer from 1 to 100, got 400"),
        (
            lambda: parallel.pipeline_schedule(n_requests=1_000, n_stages=1_000, prefill_s=1),
            "n_stages: needs an integer from 1 to 200",
        ),
        (
            lambda: parallel.pipeline_schedule(n_requests=10**8, n_stages=2, prefill_s=1),
            r"n_requests \* n_stages \* \(max_new_tokens - 1 \+ n_chunks\): .* to 200,000",
        ),
        (lambda: ToyLM({"": {"a": 1.0}}).all_sequences(10**8), "too many to list"),
        (lambda: decoding.random_toy(30, seed=0), "depth: .* from 1 to 6"),
    ],
)
def test_work_without_end_is_refused(work, message):
    with a_way_out(), pytest.raises(ValueError, match=message):
        work()


def tiny_t5():
    config = T5Config(
        vocab_size=260, d_model=8, d_kv=4, d_ff=16, num_layers=1, num_heads=2,
        decoder_start_token_id=0, pad_token_id=0, eos_token_id=1,
    )  # fmt: skip
    return T5ForConditionalGeneration(config).eval()


@pytest.mark.parametrize("kind", [TranslationPipeline, SummarizationPipeline])
def test_a_text_of_thirty_thousand_characters_is_refused_on_a_cpu(kind):
    tokenizer = engine_models.byte_tokenizer()
    run = kind(model=tiny_t5(), tokenizer=tokenizer, task="translation", device="cpu")
    with a_way_out(), pytest.raises(ValueError, match=r"inputs: 30,\d+ tokens .* on a CPU at most"):
        run("a" * 30_000)
    assert run("a" * 2_000, max_new_tokens=1)  # as long as many a page


def test_widgets_and_pictures_refuse_long_texts():
    scorer, view = SentenceScorer(LOADED, [TEXT]), SamplingView(LOADED, source="the model")
    for widget, box in ((scorer, scorer.text), (view, view.prompt)):
        box.value = "a" * 30_000
        assert "at most" in widget.error


# -- changed or cut in silence --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        (lambda: TOY.decode([0.9]), "token_ids: needs an integer from 0 to 4, got 0.9"),
        (lambda: TOY.decode(torch.tensor([0.9])), "token_ids: needs an integer"),
        (lambda: TOY.next_log_probs([[1.5]]), "token_ids: needs an integer"),
        (lambda: ENGINE.prefill([[1, 2]], [[0.5, 1]]), "attention_mask: needs zeros"),
        (lambda: ENGINE.logits([[1, 2]], [[0, 1.5]]), "attention_mask: needs zeros"),
        (lambda: ENGINE.prefill([[1, 2]], [[math.nan, 1]]), "attention_mask: needs zeros"),
        (lambda: SentenceScorer(LOADED, "one text"), "sentences: needs a list"),
        (lambda: ScheduleView(n_requests=99), "Requests: needs an integer from 1 to 8, got 99"),
    ],
)
def test_nothing_is_cut(cut, message):
    with pytest.raises(ValueError, match=message):
        cut()


def test_tokens_of_any_kind_are_decoded():
    ids = TOY.encode(TEXT)
    for same in (ids, tuple(ids), np.array(ids), torch.tensor(ids)):
        assert TOY.decode(same) == TEXT.split()


@pytest.mark.parametrize("dtype", [torch.long, torch.bool, torch.float32])
def test_a_mask_of_zeros_and_ones_is_one_in_any_dtype(dtype):
    ids, mask = engine_models.left_padded([2, 5])
    expected = ENGINE.prefill(ids, mask)
    assert torch.equal(ENGINE.prefill(ids, mask.to(dtype)), expected)


WIDGETS = {
    BeamStepper: {},
    CacheWatcher: {"engine": ENGINE, "n_steps": 2},
    ChatWidget: {"loaded": LOADED},
    CostCalculator: {},
    PipelineCalculator: {},
    SamplingView: {},
    ScheduleView: {},
    StepBreakdown: {},
    TensorParallelCalculator: {},
}


@pytest.mark.parametrize("kind", WIDGETS, ids=lambda kind: kind.__name__)
def test_a_control_keeps_to_its_limits_and_says_so(kind):
    """All that ipywidgets would cap (99 for a 2) or cut (2.7 to 2)."""
    widget = kind(**WIDGETS[kind])
    limited = [c for c in vars(widget).values() if hasattr(c, "min") and hasattr(c, "max")]
    limited = [c for c in limited if hasattr(c, "step") and hasattr(c, "value")]
    assert limited or kind in (CostCalculator, PipelineCalculator, StepBreakdown,
                               TensorParallelCalculator)  # fmt: skip
    for control in limited:
        before = control.value
        bad = [control.max + 1, control.min - 1, math.nan, "x"]
        bad += [] if isinstance(before, float) else [control.max - 0.5]
        for value in bad:
            with pytest.raises(ValueError, match=re.escape(control.description)):
                control.value = value
        assert control.value == before


# -- wrong numbers without a word -----------------------------------------------------------------


def changing(prefixes):
    """log p over three tokens in the first step, over five after it."""
    return torch.full((len(prefixes), 5 if prefixes[0] else 3), 0.2).log()


def not_numbers(prefixes):
    return torch.full((len(prefixes), 3), math.nan)


TWO_ROWS = {"a": {"a": 0.5, "b": 0.5}, ("a",): {"a": 1.0}, "": {"a": 1.0}}
SIZED = [-5, sympy.Integer(-5), sympy.Rational(1, 2), sympy.oo, sympy.nan, sympy.Float(2.5)]
SIZED += [sympy.Symbol("B", negative=True), sympy.sqrt(2)]


def block(**times):
    return parallel.StageBlock(**{"stage": 0, "request": 0, "step": 0, "start_s": 0, "end_s": 1}
                               | times)  # fmt: skip


@pytest.mark.parametrize(
    ("work", "message"),
    [
        (lambda: ToyLM(TWO_ROWS), "table: has a prefix twice"),
        (lambda: ToyLM({"": {"a": 1.0}, (): {"a": 1.0}}), "table: has a prefix twice"),
        (lambda: ToyLM({"a  b": {"a": 1.0}, "a b": {"b": 1.0}}), "table: has a prefix twice"),
        (lambda: greedy_search(changing, max_new_tokens=3), r"next_log_probs: .* \(1, 3\), got"),
        (lambda: beam_search(changing, num_beams=2, max_new_tokens=3), r"\(2, 3\), got \(2, 5\)"),
        (lambda: greedy_search(not_numbers, max_new_tokens=1), "no possible token"),
        (lambda: beam_search(not_numbers, num_beams=1, max_new_tokens=1), "none of them NaN"),
        (lambda: A100.bound(math.nan, 1), "flops: needs a number of 0 or more, got nan"),
        (lambda: A100.seconds(1, -1), "n_bytes: needs a number of 0 or more"),
        (lambda: A100.dtype_of(-1), "dtype_bytes: needs a number above 0"),
        (lambda: arithmetic_intensity(math.nan, 1), "flops: must be finite"),
        (lambda: arithmetic_intensity(-1, 1), "flops: must be finite and 0 or more"),
        (lambda: arithmetic_intensity(1, math.inf), "n_bytes: must be positive and finite"),
        (lambda: arithmetic_intensity(sympy.Symbol("L"), 0), "n_bytes: must be positive"),
        (
            lambda: parallel.pipeline_schedule(n_requests=2, n_stages=1, prefill_s=1e308),
            "the end of a pass: needs a finite number, got inf",
        ),
        (lambda: parallel.schedule_from_timestamps([block(end_s=math.inf)]), "end_s=inf"),
        (lambda: parallel.schedule_from_timestamps([block(stage=-1)]), "blocks: stage"),
        (
            lambda: filter_logits(LOGITS, decoding.SamplingSettings(), min_tokens_to_keep=0),
            "min_tokens_to_keep: needs",
        ),
    ],
)
def test_a_wrong_number_is_refused(work, message):
    with pytest.raises(ValueError, match=message):
        work()


@pytest.mark.parametrize("size", SIZED, ids=str)
@pytest.mark.parametrize(
    ("use", "argument"),
    [
        (lambda size: op_costs(SPEC, "decode", size, 8), "batch_size"),
        (lambda size: op_costs(SPEC, "prefill", 1, size), "seq_len"),
        (lambda size: lecture_table("decode", size), "batch_size"),
        (lambda size: LectureBlock(d_model=size, n_heads=sympy.Symbol("n_H")), "d_model"),
        (lambda size: LectureBlock(n_heads=size), "n_heads"),
    ],
)
def test_a_symbolic_size_is_a_count(use, argument, size):
    with pytest.raises(ValueError, match=f"^{argument}: needs an integer"):
        use(size)


@pytest.mark.parametrize("size", [sympy.Integer(4), sympy.Symbol("L"), 2 * sympy.Symbol("n") + 1])
def test_a_size_that_may_be_a_count_is_computed_with(size):
    costs = op_costs(LectureBlock(), "decode", size, 8).set_index("op")
    assert sympy.simplify(costs.flops["q_proj"] - 2 * size * 4096**2) == 0


# -- constructors ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TokenizerView(""), "tokenizers: needs a dict"),
        (lambda: TokenizerView({}), "tokenizers: needs a dict .* at least one"),
        (lambda: SentenceScorer(LOADED, []), "type at least one line"),
        (lambda: SentenceScorer(LOADED, [1]), "sentences: needs a (list of texts|string)"),
        (lambda: CostCalculator(batch_size=3), "Batch: must be one of 1, 2, 4, .* got 3"),
        (lambda: CostCalculator(seq_len="long"), "Length L: must be one of"),
        (lambda: StepBreakdown(seq_len=8), "Length L: must be one of"),
        (lambda: PipelineCalculator(model="gpt-5"), "model: must be one of .* got 'gpt-5'"),
        (lambda: TensorParallelCalculator(n_ranks=7), "n_ranks: must be one of .* got 7"),
        (lambda: TensorParallelCalculator(n_ranks=3), "n_ranks: 3 does not divide"),
        (lambda: CacheWatcher(ENGINE, n_steps=-1), "n_steps: needs an integer of 1 or more"),
        (lambda: CacheWatcher(ENGINE, ""), "Prompt: is empty"),
        (lambda: BeamStepper(model="gpt-5"), "model: must be one of"),
        (lambda: SamplingView(source="gpt-5"), "source: must be one of"),
        (lambda: ScheduleView(n_stages=0), "Stages: needs an integer from 1 to 8, got 0"),
    ],
)
def test_a_widget_that_can_not_be_made_says_why(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_limit_is_in_the_message():
    with pytest.raises(ValueError, match="n: needs an integer from 2 to 1,000, got 1001"):
        check_count("n", 1_001, 2, 1_000)
    assert check_count("n", np.int64(1_000), 2, 1_000) == 1_000


# -- a failure leaves nothing broken ---------------------------------------------------------------


class Failed(Exception):
    pass


def a_body_that_fails(context):
    with contextlib.suppress(Failed), context:
        raise Failed


def fails_in_a_pass(logits):
    raise Failed


def test_a_picture_that_fails_leaves_matplotlib_and_the_next_picture_alone():
    before = dict(matplotlib.rcParams)
    with pytest.raises(ValueError, match="must be 0 or more"):
        next_token_bars([("a", math.nan)])
    assert dict(matplotlib.rcParams) == before
    assert next_token_bars(BARS).png


def test_a_step_that_fails_leaves_the_cache_alone():
    engine, other = Engine(LOADED), Engine(LOADED)
    for _ in range(2):
        for each in (engine, other):
            each.prefill([[1, 2, 3]])
        with pytest.raises(ValueError, match="token_ids"):
            engine.decode([10**6])
        assert engine.cache.length == 3
        torch.testing.assert_close(engine.decode([4]), other.decode([4]))
        assert [call.seq_len for call in engine.calls] == [3, 1]
        with pytest.raises(Failed):  # and once more, behind a loop that ended in its middle
            engine.generate("a", 3, next_token=fails_in_a_pass)
