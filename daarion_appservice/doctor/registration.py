"""Checks of the registration file and of Synapse's copy of it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ..errors import StartError
from ..matrix.client import registration_file
from .checks import check
from .findings import Finding, failed, listed, passed, skipped, warning
from .installation import Installation


@check(needs=("config", "tokens"))
async def registration(installation: Installation) -> Finding:
    """The registration file matches the configuration.

    Warns if the file is missing: Synapse reads its copy, and the service reads none.
    """
    path = installation.settings.appservice.registration
    try:
        return _compared(installation, path)
    except StartError as error:
        return warning(f"{error.what}.", error.help)


@check(
    needs=("config", "tokens"),
    symptoms=(
        "Messages are slow, and agents alternate between online and offline.",
        "No message arrives from Matrix, or none is sent to Matrix.",
    ),
)
async def synapse_registration(installation: Installation) -> Finding:
    """Synapse's copy of the registration file matches the configuration.

    Reads the file of `--synapse-registration`, which `app_service_config_files` in homeserver.yaml names. Fails for other tokens,
    another id, url, bot or namespace, and without `rate_limited: false`.
    """
    if installation.synapse_registration is None:
        return skipped("--synapse-registration FILE compares Synapse's copy.")
    return _compared(installation, installation.synapse_registration)


def _compared(installation: Installation, path: Path) -> Finding:
    found = registration_file.check(installation.settings, path)
    if found.differences:
        return failed(
            f"{path}: {listed(found.differences)}.",
            "Correct one of the two, or run `daarion-appservice registration generate --force`; then give the file to Synapse "
            "and restart Synapse.",
        )
    if found.cautions:
        return warning(f"{path}: {listed(found.cautions)}.", "Correct it, give it to Synapse and restart Synapse.")
    return passed(f"{path} matches the configuration.")


CHECKS: Final = (registration, synapse_registration)
