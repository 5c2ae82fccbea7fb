"""Mutants: the solution cell with one small change, as from < to <=, that no hidden case notices.

Each shows the author what is not asked for, such as ties; but some changes make no difference.
`exercise_task.py` lists them when a task is tried.
"""

import ast
import contextlib
import sys
import time
from collections.abc import Iterator

from grader.judge import difference
from grader.jupyter import NAME
from grader.session import Session

LIMIT_S = 1.0  # of CPU time, for all cases of a mutant; one that takes longer is noticed
OPERATORS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.FloorDiv: ast.Div,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE,
    ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
CALLS = {  # {0} is the first argument, {x} the whole call
    "len": ["{x} + 1", "{x} - 1"], "range": ["list({x})[1:]", "list({x})[:-1]"],
    "ceil": ["int({0}) + 1", "int({0})"], "max": ["{0}", "min({0})"], "min": ["{0}", "max({0})"],
    "list": ["{0}"], "int": ["{0}"], "sorted": ["{0}"],
}  # fmt: skip


def survivors(frozen: dict, source: str) -> tuple[int, list[str]]:
    """How many mutants the solution cell has, and what was changed where no case notices it."""
    session, mutants = Session(frozen["ask"]), list(_mutants(source))
    return len(mutants), [change for change, mutant in mutants
                          if not _noticed(frozen, session, mutant)]  # fmt: skip


class TooLongError(BaseException):
    """A change made a loop endless. `Session` makes an error of it that no solution ends with."""


def _noticed(frozen: dict, session: Session, mutant: str) -> bool:
    session.names = {}
    try:
        with _interrupted_after(LIMIT_S):
            return session.load(mutant) is not None or any(
                difference(session.call(case), want, frozen["key"])
                for case, want in zip(frozen["cases"], frozen["key"]["expected"], strict=True)
            )
    except TooLongError:  # between two calls of the mutant
        return True


@contextlib.contextmanager
def _interrupted_after(seconds: float) -> Iterator[None]:
    """Then raises TooLongError at the next call or line of the mutant, on Windows as well."""
    end = time.process_time() + seconds

    def trace(frame, event, argument):
        if time.process_time() > end:
            raise TooLongError
        return trace if frame.f_code.co_filename == NAME else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


def _mutants(source: str) -> Iterator[tuple[str, str]]:
    """The changed line, before and after, and the whole mutant."""
    lines = source.encode().splitlines(keepends=True)
    for node in ast.walk(ast.parse(source)):
        for new in _replacements(node):
            first, last = node.lineno - 1, node.end_lineno - 1
            if b"raise " in lines[first]:
                continue  # the text of an error is not compared
            head, tail = lines[first][: node.col_offset], lines[last][node.end_col_offset :]
            changed = [*lines[:first], head + new.encode() + tail, *lines[last + 1 :]]
            shown = (each[first].decode().partition("  #")[0].strip() for each in (lines, changed))
            yield f"line {first + 1}: {'  ->  '.join(shown)}", b"".join(changed).decode()


def _replacements(node: ast.AST) -> Iterator[str]:
    """Sources that may stand in a node's place."""
    text = ast.unparse
    match node:
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
            yield f"({text(ast.BinOp(left, OPERATORS[type(op)](), right))})"
            if isinstance(op, ast.FloorDiv):
                yield f"(({text(left)} - 1) // ({text(right)}))"
        case ast.BoolOp(op=op, values=values):
            yield f"({text(ast.BoolOp(OPERATORS[type(op)](), values))})"
        case ast.Compare(left=left, ops=ops, comparators=others):
            for i, op in enumerate(ops):
                changed = [*ops[:i], OPERATORS[type(op)](), *ops[i + 1 :]]
                yield text(ast.Compare(left, changed, others))
        case ast.Constant(value=bool(value)):
            yield str(not value)
        case ast.Constant(value=int(value) | float(value)):
            yield from map(repr, sorted({value + 1, value - 1, 0} - {value}))
        case ast.UnaryOp(operand=operand):
            yield text(operand)
        case ast.IfExp(body=body, orelse=orelse):
            yield from (f"({text(body)})", f"({text(orelse)})")
        case ast.Slice(lower=lower, upper=upper):
            low, high = (text(bound) if bound else "" for bound in (lower, upper))
            yield from (f"{low} + 1:{high}", f"{low} - 1:{high}", f":{high}") if low else ()
            yield from (f"{low}:{high} + 1", f"{low}:{high} - 1", f"{low}:") if high else ()
        case ast.Subscript(value=x, slice=ast.Slice(lower=ast.expr() as low, upper=None)):
            yield f"{text(x)}[{text(low)} - len({text(x)}):]"  # differs if nothing is left
        case ast.Return(value=ast.expr() as value):
            yield f"return ({text(value)}).squeeze()"  # differs if a size is 1
        case ast.Call(func=func, args=[first, *rest], keywords=keywords):
            name = getattr(func, "id", getattr(func, "attr", ""))
            for call in CALLS.get(name, ()):
                yield f"({call.format(text(first), x=text(node))})"
            if rest and name not in ("max", "min"):
                yield text(ast.Call(func, [rest[0], first, *rest[1:]], keywords))
            if any(keyword.arg == "key" for keyword in keywords):  # ties, the other way round
                turned = ast.Name(f"list({text(first)})[::-1]")
                yield text(ast.Call(func, [turned, *rest], keywords))
        case (ast.Assign() | ast.AugAssign() | ast.Expr(value=ast.Call()) | ast.If() | ast.For()
              | ast.Break()):  # fmt: skip
            yield "pass"
