"""Generates ``docs/reference/exit-codes.md`` from the docstrings of the members of ``ExitCode``."""

from __future__ import annotations

import ast
import inspect
from itertools import pairwise

from daarion_appservice import errors
from daarion_appservice.errors import ExitCode

from .markdown import code, header, table


def page() -> str:
    documented = documentation()
    rows = [(str(each.value), code(each.name), *documented[each.name]) for each in ExitCode]
    title = header("Exit codes", "`ExitCode` in daarion_appservice/errors.py", "exit-codes")
    return title + table(("code", "name", "meaning", "what to do"), rows)


def documentation() -> dict[str, tuple[str, str]]:
    """Return the meaning and the action of each exit code: the first and the second paragraph of its docstring.

    Raises:
        ValueError: a member has no docstring of two paragraphs.
    """
    body = ast.parse(inspect.getsource(errors)).body
    members = next(node.body for node in body if isinstance(node, ast.ClassDef) and node.name == ExitCode.__name__)
    found: dict[str, tuple[str, str]] = {}
    for member, text in pairwise(members):
        match member, text:
            case ast.Assign(targets=[ast.Name(id=name)]), ast.Expr(value=ast.Constant(value=str(written))):
                meaning, _, action = written.partition("\n\n")
                found[name] = (meaning, action)
    if missing := [each.name for each in ExitCode if not all(found.get(each.name, ("", "")))]:
        raise ValueError(f"ExitCode: the docstring must state meaning and action: {', '.join(missing)}")
    return found
