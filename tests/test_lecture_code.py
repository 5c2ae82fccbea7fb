"""What a lecture builds in its cells is the library's own code: their syntax trees are equal.

Docstrings, comments and annotations may differ: the library has more of them. So may the checks of
arguments, which the library adds by a decorator whose name begins with "checked".
"""

import ast
import json
from pathlib import Path

import pytest

COURSE = Path(__file__).resolve().parents[1]
# A lecture, a file of the library, and the names of what is in both: a function, a class, or a
# method as Class.method.
SHARED = [
    ("03b_real_block", "engine/model.py", "RMSNorm rope_tables apply_rope LlamaLayer"),
    ("03b_real_block", "engine/model.py", "split_heads project_qkv attend mlp"),
    ("04_kv_cache", "engine/kv_cache.py", "causal_mask KVCache.append KVCache.advance forward"),
    ("04_kv_cache", "engine/run.py", "greedy cached_tokens"),
    ("06_pipeline_parallelism", "parallel/pipeline.py", "run_layers run_stage"),
    ("07_tensor_parallelism", "parallel/tensor.py", "f g hidden"),
    ("09_beam_search", "decoding/beam_search.py", "find_candidates make_candidates select"),
    ("09_beam_search", "decoding/beam_search.py", "can_stop beam_steps"),
    ("09_beam_search", "decoding/beam_engine.py", "follow CachedModel"),
    ("10_sampling", "decoding/sampling.py", "apply_temperature top_k_filter top_p_filter"),
    ("10_sampling", "decoding/sampling.py", "min_p_filter apply_settings"),
    ("11a_inference_script", "inference_script/settings.py", "greedy_because idle"),
    ("11a_inference_script", "inference_script/run.py", "drawing searching stopping arguments"),
    ("11a_inference_script", "inference_script/run.py", "without_settings finish answer_prompts"),
    ("11a_inference_script", "inference_script/run.py", "positions score"),
    ("11b_stream_stop_measure", "engine/streaming.py", "hold_back"),
    ("11b_stream_stop_measure", "inference_script/run.py", "Recorder"),
    ("12a_quantisation", "quantisation.py", "in_groups quantise_absmax quantise_zero_point"),
    ("12a_quantisation", "quantisation.py", "dequantise"),
    ("12b_packed_weights", "quantisation.py", "read_q4_1"),
    ("13_speculation", "engine/speculation.py", "forward_all lookup accept"),
    ("13b_drafts_and_trees", "engine/speculation.py", "accept_or_redraw"),
    ("14a_many_requests", "serving/scheduler.py", "Request.tokens Request.n_left Request.add"),
    ("14a_many_requests", "serving/scheduler.py", "StaticScheduler.plan StaticScheduler.ran"),
    ("14a_many_requests", "serving/scheduler.py", "StaticScheduler.leave Scheduler.plan step"),
    ("14a_many_requests", "serving/scheduler.py", "Scheduler.n_next Scheduler.admit"),
    ("14a_many_requests", "serving/scheduler.py", "Scheduler.place"),
    ("14a_many_requests", "serving/pages.py", "forward_many"),
    ("14b_paging_and_serving", "serving/pages.py", "BlockPool PrefixPool PagedCache paged_attend"),
    ("14b_paging_and_serving", "serving/pages.py", "find_reads paged_forward"),
    ("14b_paging_and_serving", "serving/paged_scheduler.py", "give_back PagedScheduler fork"),
    ("14b_paging_and_serving", "serving/paged_scheduler.py", "PreemptingScheduler"),
    ("14b_paging_and_serving", "serving/paged_scheduler.py", "PrefixScheduler ForkingScheduler"),
    ("14c_load", "serving/scheduler.py", "serve"),
    ("14c_load", "serving/simulator.py", "what_it_runs PassTimer fit_costs WallClock CountedClock"),
    ("14c_load", "serving/simulator.py", "poisson_arrivals LoadReport simulate"),
    ("14c_load", "serving/simulator.py", "simulate_disaggregated"),
    ("14c_load", "widgets/serving_view.py", "make_load compare_policies"),
]
CASES = [(lecture, path, name) for lecture, path, names in SHARED for name in names.split()]


class WithoutWords(ast.NodeTransformer):
    """Takes annotations, docstrings and checks of arguments out of a tree."""

    def visit(self, node):
        node = self.generic_visit(node)
        if isinstance(node, ast.AnnAssign):  # a field of a dataclass: it has to have one
            node.annotation = ast.Name("Any")
        elif hasattr(node, "annotation"):
            node.annotation = None
        elif hasattr(node, "returns"):
            node.returns = None
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        if isinstance(node, ast.FunctionDef):
            names = [(ast.unparse(decorator), decorator) for decorator in node.decorator_list]
            node.decorator_list = [d for name, d in names if not name.startswith("checked")]
        return node


def definitions(source: str) -> dict[str, str]:
    """Every function, class and method of a source by name: its code, written in one way."""
    found = {}
    for node in WithoutWords().visit(ast.parse(source)).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            assert node.name not in found, f"{node.name} is defined twice"
            found[node.name] = ast.unparse(node)
        if isinstance(node, ast.ClassDef):
            methods = (part for part in node.body if isinstance(part, ast.FunctionDef))
            found |= {f"{node.name}.{method.name}": ast.unparse(method) for method in methods}
    return found


def code_of_lecture(name: str) -> str:
    """All code cells; of a file that ``%%writefile`` writes twice, the later text."""
    cells = json.loads((COURSE / "notebooks" / f"{name}.ipynb").read_text("utf-8"))["cells"]
    sources = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
    return "\n".join(code_by_file(sources).values())


def code_by_file(sources: list[str]) -> dict[str, str]:
    """The text of each file that cells write, and under their numbers the other cells."""
    found = {}
    for i, source in enumerate(sources):
        first, _, rest = source.partition("\n")
        magic, _, file = first.partition(" ")
        found |= {file: rest} if magic == "%%writefile" else {str(i): source}
    return found


@pytest.mark.parametrize(("lecture", "path", "name"), CASES)
def test_the_lecture_s_code_is_the_library_s(lecture, path, name):
    in_library = definitions((COURSE / "lecture_lib" / path).read_text("utf-8"))
    assert definitions(code_of_lecture(lecture))[name] == in_library[name]


WRITTEN = '''
class Cache:
    """Keys."""

    n: int = 0

    def append(self, k: Tensor) -> Tensor:
        """Add a row."""
        return torch.cat((self.k, k))  # (L + 1, D)
'''


@pytest.mark.parametrize(
    ("text", "other", "equal"),
    [
        ('"""Add a row."""', '"""Another sentence."""', True),
        ('        """Add a row."""\n', "", True),
        ("k: Tensor) -> Tensor:", "k):", True),
        ("  # (L + 1, D)", "", True),
        ("torch.cat((self.k, k))", "torch.cat(\n            (self.k, k)\n        )", True),
        ("(self.k, k)", "(k, self.k)", False),
        ("n: int = 0", "n: float = 0", True),
        ("n: int = 0", "n: int = 1", False),
        ("append(self, k", "append(self, key", False),
        ("    def append", "    @checked\n    def append", True),
        ("    def append", "    @staticmethod\n    def append", False),
    ],
)
def test_words_may_differ_and_code_may_not(text, other, equal):
    assert WRITTEN.count(text) == 1
    assert (definitions(WRITTEN.replace(text, other)) == definitions(WRITTEN)) == equal


def test_a_second_definition_in_a_lecture_is_noticed():
    with pytest.raises(AssertionError, match="mlp is defined twice"):
        definitions("def mlp(x): return x\ndef mlp(x): return 2 * x")
