"""One row of the table while it runs: which tensors enter, which leave, FLOPs and bytes.

A row may be many PyTorch operations (softmax(QK^T/√D) is four). What they pass to each other stays
inside; the row reads what was made before it, once, and writes what is left at its end, once.
"""

from dataclasses import dataclass, field
from math import prod

import torch
from torch.utils._pytree import tree_leaves  # there is no public name
from torch.utils.flop_counter import flop_registry

aten = torch.ops.aten
_OVERWRITES = {aten.copy_, aten.fill_, aten.zero_}  # write their target without reading it
_PICKS_ROWS = {aten.embedding, aten.index_select, aten.gather, aten.index}


def matmul_flops(func, args: tuple, kwargs: dict, out) -> int:
    """FLOPs of one aten operation: 2·m·n·k for a product of m×k and k×n, batches multiplied.

    By the formulas of torch.utils.flop_counter: element-wise work (softmax, relu, norms) counts 0.
    It doesn't know a matrix times a vector, nor fused attention on a CPU; the latter's two
    products count, the masked half included.
    """
    op = func.overloadpacket
    if op in (aten.mv, aten.dot):
        return 2 * args[0].numel()
    if op is aten._scaled_dot_product_flash_attention_for_cpu:
        query, key, value = args[:3]
        return 2 * query.shape[:-1].numel() * key.shape[-2] * (query.shape[-1] + value.shape[-1])
    formula = flop_registry.get(op)
    return int(formula(*args, **kwargs, out_val=out)) if formula else 0


def tensors_in(tree) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def element_bytes(tensor: torch.Tensor, dtype_bytes: int | None) -> int:
    return (tensor.is_floating_point() and dtype_bytes) or tensor.element_size()


def storage_of(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def view_of(tensor: torch.Tensor) -> tuple:
    """What makes two Python objects the same tensor: memory, offset, shape and strides."""
    return storage_of(tensor), tensor.storage_offset(), tensor.shape, tensor.stride()


def _extent(tensor: torch.Tensor) -> tuple:
    """The elements that a view covers, so that K and K^T are one operand, read once."""
    axes = [(n, s) for n, s in zip(tensor.shape, tensor.stride(), strict=True) if n > 1 and s]
    return storage_of(tensor), tensor.storage_offset(), frozenset(axes)


def _numel(tensor: torch.Tensor) -> int:
    """Elements in memory: an expanded axis (stride 0) is there once."""
    return prod(n for n, s in zip(tensor.shape, tensor.stride(), strict=True) if s or n == 0)


@dataclass(frozen=True)
class Operand:
    """Tensors of one shape that a row reads or writes: ``Q_i: L×H``, ``count`` of them."""

    name: str | None
    shape: tuple[int, ...]
    count: int = 1


@dataclass
class TracedRow:
    """A row of the table. ``labelled`` ones come from row(), the others have PyTorch's names."""

    no: str
    label: str
    labelled: bool
    inputs: list[Operand] = field(default_factory=list)
    outputs: list[Operand] = field(default_factory=list)
    flops: int = 0
    bytes: int = 0
    repeats: int = 1  # heads that the row ran for
    computes: bool = True  # False: views only, nothing is computed or moved

    def absorb(self, other: "TracedRow") -> None:
        """Make the same row of the next head part of this one."""
        if (self.inputs, self.outputs) != (other.inputs, other.outputs):
            raise ValueError(
                f"row {self.no} ({self.label}): head {self.repeats} has other shapes than head 0"
            )
        self.flops += other.flops
        self.bytes += other.bytes
        self.repeats += 1


class OpenRow:
    """What has happened so far in a row that is still running."""

    def __init__(self, dtype_bytes: int | None):
        self.dtype_bytes = dtype_bytes
        self.computes = False
        self.flops = 0
        self.made = set()  # memory that came into being inside the row
        self.results = []  # the tensors of each operation, in order
        self._root = {}  # view -> the tensor it is a view of, in this row
        self._used = set()  # views that an operation of the row has read
        self._viewed = {}  # view -> tensor made before the row that it looked at differently
        self._read_from = {}  # view -> tensor made before the row that it computed with
        self._touched = {}  # (extent, "read" or "write") -> bytes

    @property
    def bytes(self) -> int:
        return sum(self._touched.values())

    def record(self, func, args: tuple, kwargs: dict, out) -> None:
        """Add one aten operation."""
        ins, outs = tensors_in((args, kwargs)), tensors_in(out)
        self._used |= {view_of(t) for t in ins}
        in_place = func._schema.is_mutable  # torch has no public way to ask an operation
        old = {storage_of(t) for t in ins}
        if outs and not in_place and all(storage_of(t) in old for t in outs):
            self._record_view(ins[0], outs)
            return
        self.computes = True
        self.flops += matmul_flops(func, args, kwargs, out)
        for i, tensor in enumerate(ins):
            if not (i == 0 and func.overloadpacket in _OVERWRITES):
                picked = i == 0 and func.overloadpacket in _PICKS_ROWS
                self._read(tensor, at_most=outs[0].numel() if picked else None)
        if in_place:
            self._record_write(ins[0])
        else:
            self.made |= {storage_of(t) for t in outs}
            self.results.append(outs)

    def _record_view(self, source, outs: list) -> None:
        root = self._root.get(view_of(source), source)
        self._root.update({view_of(t): root for t in outs if view_of(t) != view_of(root)})
        if storage_of(root) not in self.made:
            self._viewed[view_of(root)] = root
        self.results.append(outs)

    def _record_write(self, target) -> None:
        """A write into memory that exists: its result is the tensor written into."""
        if storage_of(target) not in self.made:
            self._touch(target, "write")
        root = self._root.get(view_of(target), target)
        self._used.discard(view_of(root))
        self.results.append([root])

    def _read(self, tensor, at_most: int | None) -> None:
        if storage_of(tensor) in self.made:
            return
        root = self._root.get(view_of(tensor), tensor)
        self._read_from[view_of(root)] = root
        self._touch(tensor, "read", at_most)

    def _touch(self, tensor, how: str, at_most: int | None = None) -> None:
        numel = _numel(tensor) if at_most is None else min(at_most, _numel(tensor))
        self._touched[_extent(tensor), how] = numel * element_bytes(tensor, self.dtype_bytes)

    def entering(self) -> list[torch.Tensor]:
        """The tensors made before this row that it read (in a row of views: that it viewed)."""
        return list((self._read_from if self.computes else self._viewed).values())

    def leaving(self) -> list[list[torch.Tensor]]:
        """The results that no later operation of the row has read."""
        unique = {tuple(view_of(t) for t in outs): outs for outs in self.results}
        left = [[t for t in outs if view_of(t) not in self._used] for outs in unique.values()]
        return [outs for outs in left if outs]

    def returned(self, tensors: list, since: int) -> None:
        """A function of PyTorch returned these: drop what its operations made besides.

        (aten.native_layer_norm gives mean and variance too, F.layer_norm keeps them to itself.)
        """
        views = {view_of(t) for t in tensors}
        for n, outs in enumerate(self.results[since:], start=since):
            kept = [t for t in outs if view_of(t) in views]
            self.results[n] = kept or outs

    def write(self, tensors: list) -> None:
        """Account for results that leave the row; a view of older memory moves nothing."""
        for tensor in tensors:
            if storage_of(tensor) in self.made:
                self._touch(tensor, "write")
