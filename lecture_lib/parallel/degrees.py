"""Which degrees of parallelism a model allows, and what to say about the others."""

from lecture_lib.checks import check_count, checked
from lecture_lib.model_spec import ModelSpec


class ParallelDegreeError(ValueError):
    """The model cannot be split over this many ranks; the message names the degrees that work."""


@checked
def tensor_parallel_degrees(spec: ModelSpec) -> list[int]:
    """The numbers of ranks that divide n_H, n_KV and F: those that split a layer evenly."""
    sizes = (spec.n_heads, spec.n_kv_heads, spec.d_ff)
    return [n for n in range(1, spec.n_kv_heads + 1) if not any(size % n for size in sizes)]


@checked
def pipeline_degrees(spec: ModelSpec) -> list[int]:
    """The numbers of stages that divide N: those that give every stage as many layers."""
    return [n for n in range(1, spec.n_layers + 1) if not spec.n_layers % n]


@checked
def check_tensor_parallel_degree(
    spec: ModelSpec, n_ranks: int, *, argument: str = "n_ranks"
) -> None:
    """Refuse a tensor-parallel degree that does not split heads, KV heads and MLP evenly.

    A head is never cut: attention is computed head by head, so a rank needs whole query heads and
    the key/value heads they share. (Engines such as vLLM go beyond n_KV ranks by keeping copies of
    the KV heads; the course doesn't.)

    Raises:
        ParallelDegreeError: ``n_ranks`` does not divide n_H, n_KV or F.
    """
    check_count(argument, n_ranks)
    sizes = {
        "query heads": spec.n_heads,
        "key/value heads": spec.n_kv_heads,
        "columns of W^1 (d_ff)": spec.d_ff,
    }
    undivided = [f"{size} {what}" for what, size in sizes.items() if size % n_ranks]
    if undivided:
        works = ", ".join(map(str, tensor_parallel_degrees(spec)))
        raise ParallelDegreeError(
            f"{argument}: {n_ranks} does not divide the {' and the '.join(undivided)} of "
            f"{spec.name}; tensor-parallel degrees that work: {works}"
        )


@checked
def check_pipeline_degree(
    spec: ModelSpec, n_stages: int, *, argument: str = "n_stages"
) -> tuple[range, ...]:
    """Refuse a number of stages that does not split the layers evenly.

    Returns:
        For each stage the numbers of its layers, from 0, as a range.

    Raises:
        ParallelDegreeError: ``n_stages`` does not divide N.
    """
    check_count(argument, n_stages)
    if spec.n_layers % n_stages:
        works = ", ".join(map(str, pipeline_degrees(spec)))
        raise ParallelDegreeError(
            f"{argument}: {n_stages} does not divide the {spec.n_layers} layers of {spec.name}; "
            f"numbers of stages that work: {works}"
        )
    size = spec.n_layers // n_stages
    return tuple(range(i * size, (i + 1) * size) for i in range(n_stages))
