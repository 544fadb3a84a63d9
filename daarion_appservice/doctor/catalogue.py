"""All checks, in the order of the report: what a check needs stands before it."""

from __future__ import annotations

from typing import Final

from . import (
    configuration,
    core,
    database,
    deliveries,
    encryption,
    ghosts,
    homeserver,
    host,
    people,
    public,
    push,
    redis,
    registration,
    rooms,
    service,
)
from .checks import Check

GROUPS: Final[dict[str, tuple[Check, ...]]] = {
    "Configuration": configuration.CHECKS,
    "This machine": host.CHECKS,
    "Registration": registration.CHECKS,
    "Homeserver": homeserver.CHECKS,
    "Database": database.CHECKS,
    "Redis": redis.CHECKS,
    "Service": service.CHECKS,
    "Deliveries from Synapse": deliveries.CHECKS,
    "Rooms": rooms.CHECKS,
    "Ghosts and presence": ghosts.CHECKS,
    "Encrypted chats": encryption.CHECKS,
    "Personal data": people.CHECKS,
    "Public address": public.CHECKS,
    "Web Push": push.CHECKS,
    "Agents core": core.CHECKS,
}
"""The groups of checks by their titles."""

CHECKS: Final = tuple(each for checks in GROUPS.values() for each in checks)


def group_titles() -> dict[str, str]:
    """Return the title of each check's group, by the check's name."""
    return {each.name: title for title, checks in GROUPS.items() for each in checks}
