"""Watching PyTorch on three levels, each a context manager that reports to a trace what runs.

Functions (matmul, softmax, linear) are what the code calls: one call, one row. The aten operations
below them are what really runs: they have shapes, FLOPs and bytes, and no function can hide them.
Modules, if asked for, show which part of a model a call belongs to.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode  # there is no public name

from .traced_row import tensors_in


class FunctionListener(TorchFunctionMode):
    def __init__(self, trace):
        super().__init__()
        self.trace = trace

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name = getattr(func, "__name__", str(func)).strip("_")
        if self.trace.silent or name == "get":  # x.shape, x.dtype
            return func(*args, **(kwargs or {}))
        with self.trace.recording("", name) as current:
            since = len(current.results)
            out = func(*args, **(kwargs or {}))
            current.returned(tensors_in(out), since)
        return out


class OperationListener(TorchDispatchMode):
    def __init__(self, trace):
        super().__init__()
        self.trace = trace

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        # Under inference_mode aten.linear arrives whole: its parts are recorded instead.
        with self:
            parts = func.decompose(*args, **kwargs)
        if parts is not NotImplemented:
            return parts
        out = func(*args, **kwargs)
        self.trace.record(func, args, kwargs, out)
        return out


@contextmanager
def listen_to_modules(trace) -> Iterator[None]:
    """Makes each module without children a row, and every module part of its rows' names."""
    with ExitStack() as hooks:
        for path, module in trace.module.named_modules() if trace.module else []:
            enter, leave = _hooks_of(trace, path, module)
            hooks.callback(module.register_forward_pre_hook(enter).remove)
            hooks.callback(module.register_forward_hook(leave, always_call=True).remove)
        yield


def _hooks_of(trace, path: str, module: torch.nn.Module):
    is_leaf, open_row = not any(module.children()), ExitStack()

    def enter(*_) -> None:
        trace.module_path.append(path)
        if is_leaf:
            open_row.enter_context(trace.recording("", type(module).__name__))

    def leave(*_) -> None:
        open_row.close()
        trace.module_path.pop()

    return enter, leave
