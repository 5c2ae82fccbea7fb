"""Is a reloaded model the one that was saved? Tensor by tensor."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class ModelDifference:
    """How two models differ.

    Attributes:
        n_tensors: tensors that both have.
        largest_difference: largest absolute difference of two numbers in the same place (0.0 for
            equal models).
        missing: names of tensors that only one of them has.
        differing: names of tensors that differ, in shape, dtype or any number.
    """

    n_tensors: int
    largest_difference: float
    missing: tuple[str, ...]
    differing: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Whether all tensors are there in both and equal, bit for bit."""
        return not self.missing and not self.differing


@torch.inference_mode()
def compare_models(one: torch.nn.Module, other: torch.nn.Module) -> ModelDifference:
    """Compares all parameters and saved buffers of two models.

    Tied weights (the embedding and the output layer of SmolLM2) count under both of their names.
    """
    first, second = one.state_dict(), other.state_dict()
    shared = [name for name in first if name in second]
    largest, differing = 0.0, []
    for name in shared:
        a, b = first[name].cpu(), second[name].cpu()
        if a.shape != b.shape or a.dtype != b.dtype:
            differing.append(name)
        elif not torch.equal(a, b):
            differing.append(name)
            largest = max(largest, (a.double() - b.double()).abs().max().item())
    missing = sorted(set(first) ^ set(second))
    return ModelDifference(len(shared), largest, tuple(missing), tuple(differing))
