"""Small changes of a program, as a hurried author would make them.

What cannot change an answer is left alone: docstrings, `strict=True`, and calls that
copy or widen numbers.
"""

import ast
import copy
from collections.abc import Iterator

HARMLESS = {"clone", "contiguous", "double", "item", "tolist"}
SWAPS = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mod,
    ast.Mod: ast.FloorDiv,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.And: ast.Or,
    ast.Or: ast.And,
}


def changes_of(node: ast.AST) -> Iterator[ast.AST]:
    """What may stand in the place of a node."""

    def with_(**fields) -> ast.AST:
        other = copy.copy(node)
        for name, value in fields.items():
            setattr(other, name, value)
        return other

    match node:
        case ast.Constant(value=bool()):
            yield with_(value=not node.value)
        case ast.Constant(value=int() | float()):
            yield with_(value=node.value + 1)
            yield with_(value=node.value - 1)
        case ast.BinOp(op=op) | ast.AugAssign(op=op) | ast.BoolOp(op=op):
            if type(op) in SWAPS:
                yield with_(op=SWAPS[type(op)]())
        case ast.Compare(ops=[op]) if type(op) in SWAPS:
            yield with_(ops=[SWAPS[type(op)]()])
        case ast.UnaryOp(op=ast.USub() | ast.Not() | ast.Invert()):
            yield node.operand
        case ast.IfExp():
            yield node.body
            yield node.orelse
        case ast.Call(func=ast.Name(id="min" | "max" as name)):
            yield with_(func=ast.Name({"min": "max", "max": "min"}[name], ast.Load()))
        case ast.Call(func=ast.Attribute(value=value, attr=attr), args=[], keywords=[]):
            if attr not in HARMLESS:  # a call that may be forgotten
                yield value
        case ast.Expr(value=ast.Constant()):
            return
        case ast.Assign() | ast.AugAssign() | ast.If() | ast.For() | ast.Expr():
            yield ast.Pass()


def changed(source: str) -> Iterator[tuple[str, str]]:
    """(the line and its change, the whole program after it), one change at a time."""
    tree, lines = ast.parse(source), source.splitlines()
    for parent in ast.walk(tree):
        for field, value in ast.iter_fields(parent):
            nodes = value if isinstance(value, list) else [value]
            for place, node in enumerate(nodes):
                strict = isinstance(parent, ast.keyword) and parent.arg == "strict"
                if strict or not isinstance(node, ast.AST):
                    continue
                for other in changes_of(node):
                    if isinstance(value, list):
                        nodes[place] = other
                    else:
                        setattr(parent, field, other)
                    line = lines[node.lineno - 1].strip()
                    what = f"{line}: {ast.unparse(node)} -> {ast.unparse(other)}"
                    yield what, ast.unparse(ast.fix_missing_locations(tree))
                    if isinstance(value, list):
                        nodes[place] = node
                    else:
                        setattr(parent, field, value)
