"""The check of Web Push."""

from __future__ import annotations

from typing import Final

from .checks import check
from .findings import Finding, passed, skipped, warning
from .installation import Installation


@check(
    needs=("config", "database_schema"),
    symptoms=("Citizens get no notifications while no page is open.",),
)
async def push(installation: Installation) -> Finding:
    """Web Push is on, and push services accept what the service sends.

    Warns if the last push of most subscriptions failed.
    """
    settings = installation.settings
    if not settings.push.enabled:
        return skipped("push.enabled is false.")
    async with installation.database.read_only() as tx:
        totals = await tx.push_subscriptions.totals()
    if totals.failing * 2 > totals.subscriptions:
        return warning(
            f"The last push of {totals.failing} of {totals.subscriptions} subscription(s) failed.",
            "Push services must be reachable by HTTPS, and the clock of this machine must be right; the log says what they "
            "answer: push_refused. After a change of appservice.as_token browsers subscribe again at their next visit.",
        )
    return passed(
        f"{totals.subscriptions} subscription(s); push services reach the operator at {settings.push_contact}."
    )


CHECKS: Final = (push,)
