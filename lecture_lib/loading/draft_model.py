"""The course's draft model: two layers between the bundled model's embeddings, for speculation.

The folder has the layers, the lens and the model card; tools/train_course_draft.py makes them.
"""

import copy
from dataclasses import replace
from pathlib import Path

from lecture_lib.checks import check_parts

from .complete_folder import sha256_of
from .errors import CorruptModelError
from .load import LoadedModel

FOLDER = Path(__file__).parent.parent / "models" / "course_draft"
SHA256 = "85e890a44608d67f12312fc42d81a0220356c6f882fe828136bf9bf111daacc7"
N_LAYERS = 2


def load_draft_model(loaded: LoadedModel) -> LoadedModel:
    """The small model that drafts for the bundled one, with the same embeddings in memory.

    Args:
        loaded: the bundled model; the draft model is put on its device, in its dtype.

    Raises:
        ValueError: another model. CorruptModelError: the stored layers are damaged or missing.
    """
    from safetensors.torch import load_file

    config = copy.deepcopy(check_parts("loaded", loaded).model.config)
    dims = tuple(getattr(config, name, None) for name in ("vocab_size", "hidden_size", "head_dim"))
    if dims != (49152, 576, 64):
        raise ValueError(
            "loaded: the draft model has the embeddings of the bundled model, "
            "smollm2-135m-instruct, and drafts for that one alone; got a model of "
            f"{dims[0]} tokens, width {dims[1]}"
        )
    path = FOLDER / "model.safetensors"
    if not path.is_file() or sha256_of(path) != SHA256:
        raise CorruptModelError(f"{path} is damaged or missing; restore its folder from the course")
    tensors = load_file(path)
    model = make_draft_model(loaded.model, config)
    set_lens(model, tensors.pop("lens"))
    model.load_state_dict(tensors, strict=False)  # it lacks the embeddings, on purpose
    model.to(loaded.device, loaded.dtype).eval().requires_grad_(False)
    spec = replace(loaded.spec, name="course-draft", n_layers=N_LAYERS)
    return LoadedModel(
        model, loaded.tokenizer, spec, loaded.device, loaded.dtype, f"course, {FOLDER}"
    )


def make_draft_model(teacher, config, n_layers: int = N_LAYERS):
    """A model of the teacher's kind with fewer layers, random ones, and the teacher's embeddings:
    not a copy, the same tensor. Its LM head is missing."""
    size, pad = config.vocab_size, config.pad_token_id
    config.num_hidden_layers, config.layer_types = n_layers, None
    config.tie_word_embeddings = False
    config.vocab_size, config.pad_token_id = 1, None  # no memory for what is replaced
    model = type(teacher)(config)
    model.set_input_embeddings(teacher.get_input_embeddings())
    model.config.vocab_size = model.model.vocab_size = model.vocab_size = size
    model.config.pad_token_id = pad
    return model


def set_lens(model, lens) -> None:
    """Make the LM head out of the embeddings E (V, D) and the lens (D, D), which maps the last
    embedding of few layers to what all layers would make of it: E lensᵀ."""
    import torch

    table = model.get_input_embeddings().weight
    head = torch.nn.Linear(1, 1, bias=False, device="meta")
    head.weight = torch.nn.Parameter(table @ lens.to(table).T)  # (V, D)
    model.set_output_embeddings(head)
