"""The engine that lecture 04 writes in its cells: the tokens of generate, one token per step."""

import ast
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import references
import torch

COURSE = Path(__file__).resolve().parents[1]
LECTURE = COURSE / "notebooks" / "04_kv_cache.ipynb"
PROMPTS = [
    "The quick brown", "2 + 2 =", "def main():", "Bonjour, je", "A", "Dear Sir or Madam,\n\n",
    "1, 1, 2, 3, 5, 8,", "émoji 🙂 and 中文", "今天天气很好，我们", "🙂🎉🚀",
    " ".join(100 * ["The cat sat on the mat."]),  # 700 tokens
]  # fmt: skip


def lecture_code() -> ast.Module:
    """What the lecture's cells import and define."""
    cells = json.loads(LECTURE.read_text("utf-8"))["cells"]
    source = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
    defines = ast.FunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom
    tree = ast.parse(source)
    tree.body = [node for node in tree.body if isinstance(node, defines)]
    return tree


@pytest.fixture(scope="module")
def lecture() -> SimpleNamespace:
    names = {}
    exec(compile(lecture_code(), LECTURE.name, "exec"), names)
    return SimpleNamespace(**names)


@pytest.mark.real_model
@pytest.mark.parametrize("prompt", PROMPTS)
def test_it_writes_the_tokens_of_generate_and_each_decode_step_sees_one_token(
    lecture, loaded, prompt
):
    expected = references.stored(loaded, [prompt], do_sample=False, max_new_tokens=16)[0]
    engine = lecture.MyEngine(loaded)
    engine.model = lecture.Watched(engine.model)
    input_ids = torch.tensor([loaded.tokenizer(prompt).input_ids])
    ends = {loaded.model.generation_config.eos_token_id}
    assert lecture.generate(engine, input_ids, 16, ends) == expected
    assert engine.model.seen == [input_ids.shape[1]] + [1] * (len(expected) - 1)


def test_one_of_the_prompts_has_700_tokens(loaded):
    assert len(loaded.tokenizer(PROMPTS[-1]).input_ids) == 700


def assignments(tree: ast.Module, class_name: str, method: str) -> list[str]:
    """What a method assigns, line by line, also within a with."""
    body = tree.body
    for name in (class_name, method):
        body = next(node for node in body if getattr(node, "name", None) == name).body
    inner = [
        part for node in body for part in (node.body if isinstance(node, ast.With) else [node])
    ]
    return [ast.unparse(node) for node in inner if isinstance(node, ast.Assign)]


def test_the_library_makes_a_cache_as_the_lecture_does_with_checks_around_it():
    source = (COURSE / "lecture_lib/engine/kv_cache.py").read_text("utf-8")
    trees = (lecture_code(), ast.parse(source))
    in_lecture, in_library = (assignments(tree, "KVCache", "__init__") for tree in trees)
    assert [line for line in in_library if line in in_lecture] == in_lecture != []
