"""The check of erasures: none is stuck."""

from __future__ import annotations

from typing import Final

from ..clock import now_ms
from ..storage.personal_data.erasures import ErasureState
from .checks import check
from .findings import Finding, passed, warning
from .installation import Installation

_LATE_MS: Final = 3_600_000


@check(
    needs=("database_schema",),
    symptoms=("A person was erased, and their messages are still on Matrix.",),
)
async def erasures(installation: Installation) -> Finding:
    """Erasures of persons end.

    Warns of one that was requested more than an hour ago and is not done, with its last error.
    """
    async with installation.database.read_only() as tx:
        running = [each for each in await tx.erasures.unfinished() if each.state is not ErasureState.DONE]
    late = [each for each in running if now_ms() - each.requested_at_ms > _LATE_MS]
    if not late:
        return passed(f"Erasures that are not done: {len(running)}.")
    oldest = late[0]
    reason = f": {oldest.error}" if oldest.error else ""
    return warning(
        f"The erasure {oldest.id} has been in the state {oldest.state} for {(now_ms() - oldest.requested_at_ms) // 3_600_000} h"
        f"{reason}; {len(late)} in all.",
        "The leader goes on as soon as the homeserver answers: see the checks of the homeserver, and erasure_delayed in the log.",
    )


CHECKS: Final = (erasures,)
