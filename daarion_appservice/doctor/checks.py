"""Declares checks.

    @check(needs=("config",), symptoms=("Nobody can sign in.",))
    async def sign_in(installation: Installation) -> Finding:
        \"""At least one way to sign in is configured.

        What the check looks at, and when it warns or fails.
        \"""

The name of the function is the check's name. Its docstring is in docs/how-to/troubleshooting.md: the first sentence states what
holds if the check passes.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from .findings import Finding
from .installation import Installation

DEFAULT_TIMEOUT_S: Final = 15.0

CheckFunction = Callable[[Installation], Awaitable[Finding]]


@dataclass(frozen=True, slots=True)
class Check:
    """A check of an installation.

    Attributes:
        name: a stable identifier.
        run: returns the finding. An exception becomes a finding, see ``runner``.
        needs: the names of checks without whose success this one says nothing: it is skipped if one of them fails.
        symptoms: what people or the admin notice if the check fails, one sentence each.
        timeout_s: seconds until the check fails because it did not end.
    """

    name: str
    run: CheckFunction
    needs: tuple[str, ...]
    symptoms: tuple[str, ...]
    timeout_s: float

    @property
    def description(self) -> str:
        return inspect.getdoc(self.run) or ""


def check(
    *, needs: tuple[str, ...] = (), symptoms: tuple[str, ...] = (), timeout_s: float = DEFAULT_TIMEOUT_S
) -> Callable[[CheckFunction], Check]:
    """Declare a function as a check; the decorated name is the ``Check``."""

    def declare(function: CheckFunction) -> Check:
        return Check(getattr(function, "__name__"), function, needs, symptoms, timeout_s)  # noqa: B009 -- a Callable has none for mypy

    return declare
