"""Watching PyTorch on three levels, each a context manager that reports to a trace what runs.

Functions (matmul, softmax, linear) are what the code calls: one call, one row. The aten operations
below them are what really runs: they have shapes, FLOPs and bytes, and no function can hide them.
Modules, if asked for, show which part of a model a call belongs to.
"""

from contextlib import ExitStack

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


class ModuleListener(ExitStack):
    """Makes each module without children a row, and every module part of its rows' names."""

    def __init__(self, trace):
        super().__init__()
        self.trace = trace

    def __enter__(self):
        for path, module in self.trace.module.named_modules() if self.trace.module else []:
            self._watch(path, module)
        return super().__enter__()

    def _watch(self, path: str, module: torch.nn.Module) -> None:
        is_leaf, open_rows = not any(module.children()), ExitStack()

        def enter(*_):
            self.trace.module_path.append(path)
            if is_leaf:
                name = type(module).__name__
                open_rows.enter_context(self.trace.recording("", name))

        def leave(*_):
            open_rows.close()
            self.trace.module_path.pop()

        self.callback(module.register_forward_pre_hook(enter).remove)
        self.callback(module.register_forward_hook(leave, always_call=True).remove)
