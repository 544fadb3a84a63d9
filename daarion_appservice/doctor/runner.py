"""Runs checks concurrently, each with its timeout. A check that fails, hangs or raises stops no other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..errors import DaarionError, DatabaseError, HomeserverError, StartError
from .checks import Check
from .findings import CheckStatus, Finding, failed, skipped
from .installation import Installation
from .secrets import Secrets


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The finding of one check, and how long the check took, in seconds."""

    name: str
    finding: Finding
    duration_s: float


async def run_checks(checks: Sequence[Check], installation: Installation) -> list[CheckResult]:
    """Run the checks; return their results in the same order.

    A check starts when those that it needs have ended, and is skipped if one of them failed or was skipped.
    """
    secrets = Secrets(installation.loaded_settings)
    tasks: dict[str, asyncio.Task[CheckResult]] = {}

    async def run(each: Check) -> CheckResult:
        needed = [await tasks[name] for name in each.needs]
        missing = [result.name for result in needed if result.finding.status in {CheckStatus.FAIL, CheckStatus.SKIP}]
        began_s = time.monotonic()
        finding = skipped(f"needs {', '.join(missing)}") if missing else await _finding_of(each, installation)
        return CheckResult(each.name, secrets.removed_from(finding), time.monotonic() - began_s)

    async with asyncio.TaskGroup() as group:
        # A check needs only checks that stand before it.
        for each in checks:
            tasks[each.name] = group.create_task(run(each))
    return [tasks[each.name].result() for each in checks]


async def _finding_of(check: Check, installation: Installation) -> Finding:
    try:
        async with asyncio.timeout(check.timeout_s):
            finding = await check.run(installation)
    except StartError as error:
        finding = failed(error.what, error.help)
    except HomeserverError as error:
        finding = failed(f"The homeserver refuses or does not answer: {error}", "See the checks of the homeserver.")
    except DatabaseError as error:
        finding = failed(f"The database refuses a statement: {error}", "See the checks of the database.")
    except DaarionError as error:
        finding = failed(str(error), "")
    except TimeoutError:
        finding = failed(
            f"No result within {check.timeout_s:g} seconds.", "Something does not answer; try again, then see its log."
        )
    except Exception as error:  # noqa: BLE001 -- the other checks still help the admin
        finding = failed(
            f"The check itself failed: {type(error).__name__}: {error}", "This is a bug of the doctor: report it."
        )
    return replace(finding, summary=_one_line(finding.summary), advice=_one_line(finding.advice))


def _one_line(text: str) -> str:
    return " ".join(text.split())
