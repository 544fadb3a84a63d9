"""Checks of the homeserver: reachable, the right one, its version and limits, the namespaces, rate limits."""

from __future__ import annotations

import re
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Final

from mautrix.api import Method, Path

from ..city.identity import AGENT_PREFIX, CITIZEN_PREFIX, OBSERVER
from ..city.types import AgentSlug, UserId
from ..clock import now_ms
from ..errors import (
    DatabaseError,
    HomeserverRateLimited,
    HomeserverRefused,
    HomeserverUnavailable,
    HomeserverUnreachable,
    StartError,
)
from ..matrix.client.connection_advice import homeserver_advice
from ..matrix.client.refusals import advice, is_outside_namespaces
from ..matrix.client.startup_checks import (
    MAYBE_NOT_RUNNING,
    check_identity,
    check_token,
    is_busy,
    not_a_homeserver,
)
from .checks import check
from .findings import Finding, failed, listed, passed, skipped, warning
from .installation import Installation

_OLDEST_SYNAPSE: Final = (1, 141)
"""The first version in which application services create devices, so that transaction ids outlive a restart of Synapse."""
_CLOCK_WARN_MS: Final = 5_000
_NOT_REQUESTED: Final = "http://127.0.0.1/"
"""A URL that every sensible `url_preview_ip_range_blacklist` contains."""
_COPY: Final = (
    "compare it with `daarion-appservice doctor --synapse-registration FILE`, correct it and restart Synapse."
)


@check(
    needs=("config",),
    symptoms=("Messages stay pending, and the log says homeserver_unavailable or homeserver_lost.",),
)
async def homeserver(installation: Installation) -> Finding:
    """A Matrix homeserver answers at `homeserver.address`.

    Fails with the cause: a name that does not resolve, a port without a server, http:// for https://, a certificate that is not
    trusted, another program.
    """
    client = installation.homeserver
    try:
        response = await client.versions()
    except (HomeserverUnreachable, HomeserverRefused) as error:
        if isinstance(error, HomeserverRefused) and error.status == 401:
            return passed(f"{client.address} answers.")  # Some homeservers require a valid token for this request, too.
        if isinstance(error, HomeserverRefused) and is_busy(error):
            return warning(f"{client.address} is starting or overloaded: {error}.", "Try again in a minute.")
        raise await not_a_homeserver(client, error) from error
    except HomeserverUnavailable as error:
        return failed(
            f"{client.address} does not answer: {error}.",
            await homeserver_advice(client.address, error) or MAYBE_NOT_RUNNING,
        )
    return passed(f"{client.software or 'A homeserver'} answers at {client.address}, with {response['versions'][-1]}.")


@check(
    needs=("homeserver", "tokens"),
    symptoms=("Nothing is sent to Matrix, and the log says token_refused.",),
)
async def as_token(installation: Installation) -> Finding:
    """The homeserver accepts the `as_token`."""
    return passed(f"It belongs to {await check_token(installation.homeserver, installation.settings)}.")


@check(needs=("as_token",))
async def homeserver_identity(installation: Installation) -> Finding:
    """The homeserver has the name in `homeserver.domain`, and the bot in `appservice.bot`."""
    user = await check_token(installation.homeserver, installation.settings)
    check_identity(user, installation.settings, installation.identities)
    return passed(f"{user} on {installation.settings.homeserver.domain}")


@check(needs=("homeserver",), symptoms=("A message appears twice after Synapse crashed.",))
async def homeserver_version(installation: Installation) -> Finding:
    """Synapse is recent enough to store the transaction ids of sent messages.

    Warns before 1.141: such a Synapse may send a message twice if it crashes within a second.
    """
    await installation.homeserver.versions()
    return judge_version(installation.homeserver.software)


def judge_version(software: str) -> Finding:
    """Judge the ``Server`` header of a homeserver; a proxy may replace it."""
    match = re.match(r"Synapse/(\d+)\.(\d+)", software)
    if match is None:
        return skipped(f"Its version is unknown: it says {software or 'nothing'}.")
    if (int(match[1]), int(match[2])) < _OLDEST_SYNAPSE:
        return warning(
            f"{software} lets application services create no devices: a message may be sent twice if it crashes.",
            "Upgrade to Synapse 1.141 or later.",
        )
    return passed(software)


@check(
    needs=("homeserver_identity",),
    symptoms=("Agents have no ghosts, and the log says M_EXCLUSIVE or that a user is not in the namespace.",),
)
async def namespaces(installation: Installation) -> Finding:
    """Synapse gives the service its users, and no other application service claims them.

    Asks as users of each namespace, and registers the service's own users: bot, observer and `@citizen_=patience`, which the
    service registers at each start anyway. What claims the aliases shows in `room_links`.
    """
    identities = installation.identities
    users = [identities.bot, identities.observer, installation.citizens_probe]
    agent = await _agent_ghost(installation)
    # No agent has an id with "=": the doctor registers no ghost of an agent that does not exist.
    any_agent = identities.agent(AgentSlug("=doctor"))
    missing = [user for user in [*users, agent or any_agent] if await _is_outside(installation, user)]
    if missing:
        return failed(
            f"Synapse's copy of the registration does not give the service {listed([*missing])}.",
            f"Its namespaces.users must match @{AGENT_PREFIX}…, @{CITIZEN_PREFIX}…, @{OBSERVER} and the bot: {_COPY}",
        )
    for user in [*users, agent] if agent else users:
        try:
            await installation.homeserver.register(user)
        except HomeserverRefused as error:
            if error.errcode != "M_EXCLUSIVE":
                raise
            return failed(f"Another application service claims {user}.", advice(error) or "")
    return passed(f"@{AGENT_PREFIX}…, @{CITIZEN_PREFIX}…, @{OBSERVER} and the bot are the service's alone.")


async def _agent_ghost(installation: Installation) -> UserId | None:
    """Return the ghost of an agent, or None if no agent is known."""
    slugs = [AgentSlug(seed.slug) for seed in installation.settings.agents]
    with suppress(DatabaseError, StartError):
        async with installation.database.read_only() as tx:
            slugs += [agent.slug for agent in await tx.agents.all()]
    return installation.identities.agent(slugs[0]) if slugs else None


async def _is_outside(installation: Installation, user: UserId) -> bool:
    try:
        await installation.homeserver.whoami(as_user=user)
    except HomeserverRefused as error:
        return is_outside_namespaces(error)
    return False


@check(
    needs=("namespaces",),
    symptoms=("Messages are slow, and agents alternate between online and offline.", "The log says rate_limited."),
)
async def rate_limits(installation: Installation) -> Finding:
    """Synapse does not limit the service's requests.

    Sends two presence updates of the observer, which is offline, at once: Synapse takes one in ten seconds if its copy of the
    registration lacks `rate_limited: false`.
    """
    client, user = installation.homeserver, installation.identities.observer
    try:
        for _ in range(2):
            await client.set_presence(user, "offline", None)
    except HomeserverRateLimited:
        return failed(
            "Synapse limits the requests of the service: each ghost may change its presence only once in ten seconds.",
            f"Its copy of the registration must say `rate_limited: false`: {_COPY}",
        )
    return passed("Not limited")


@check(needs=("as_token",), symptoms=("An upload ends with 413.",))
async def upload_size(installation: Installation) -> Finding:
    """Synapse takes files as large as `media.max_upload_bytes`."""
    limit = (await installation.homeserver.media_config()).get("m.upload.size")
    wanted = installation.settings.media.max_upload_bytes
    if isinstance(limit, int) and limit < wanted:
        return warning(
            f"Synapse takes files of up to {limit} bytes, and media.max_upload_bytes is {wanted}.",
            f"Set max_upload_size in homeserver.yaml to {-(-wanted // 1024 // 1024)}M, or media.max_upload_bytes to {limit}.",
        )
    return passed(f"{limit} bytes" if isinstance(limit, int) else "Synapse declares no limit.")


@check(needs=("as_token",), symptoms=("Links in messages have no previews.",))
async def url_previews(installation: Installation) -> Finding:
    """Synapse makes previews of links if `media.url_previews` is on.

    Asks for the preview of a URL that Synapse refuses without a request.
    """
    if not installation.settings.media.url_previews:
        return skipped("media.url_previews is off.")
    try:
        await installation.homeserver.url_preview(_NOT_REQUESTED)
    except HomeserverRefused as error:
        if error.errcode == "M_UNRECOGNIZED" or error.status == 404:
            return warning(
                "The homeserver makes no previews of links, and media.url_previews is on.",
                "Set url_preview_enabled: true and url_preview_ip_range_blacklist in homeserver.yaml and restart Synapse, "
                "or set media.url_previews to false.",
            )
    return passed("The homeserver makes previews.")


@check(needs=("as_token",), symptoms=("New rooms are not created on Matrix.",))
async def room_version(installation: Installation) -> Finding:
    """Synapse can create rooms of the version in `city.room_version`."""
    capabilities = await installation.homeserver.capabilities(as_user=installation.identities.bot)
    declared = capabilities.get("m.room_versions")
    declared = declared if isinstance(declared, dict) else {}
    versions = declared.get("available")
    wanted = installation.settings.city.room_version
    if not isinstance(versions, dict):
        return skipped("The homeserver declares no room versions.")
    if wanted and wanted not in versions:
        stable = [version for version, stability in versions.items() if stability == "stable"]
        return failed(
            f"Synapse cannot create rooms of version {wanted} (city.room_version).",
            f'Use one of {", ".join(stable)}, or "" for Synapse\'s default.',
        )
    if wanted and versions[wanted] != "stable":
        return warning(
            f"Room version {wanted} is not stable in this Synapse.", "Use a stable one in city.room_version."
        )
    return passed(f"Version {wanted or declared.get('default')}")


@check(
    needs=("homeserver",),
    symptoms=(
        "Messages have times in the future, or too far in the past.",
        "People who have just signed in are refused with 401.",
    ),
)
async def homeserver_clock(installation: Installation) -> Finding:
    """The clocks of this machine and of the homeserver agree.

    Warns from a difference of 5 seconds on; a token check tolerates `api.jwt.leeway_s`.
    """
    client = installation.homeserver
    before_ms = now_ms()
    async with client.streaming(Method.GET, Path.versions, as_nobody=True) as response:
        text = response.headers.get("Date", "")
    try:
        theirs_ms = int(parsedate_to_datetime(text).timestamp() * 1000)
    except ValueError:
        return skipped("The homeserver states no time.")
    # The header has whole seconds.
    return judge_clock("the homeserver", theirs_ms + 500 - (before_ms + now_ms()) // 2)


def judge_clock(whose: str, ahead_ms: int) -> Finding:
    """Judge by how many milliseconds another clock is ahead of this machine's."""
    text = f"The clock of {whose} is {abs(ahead_ms) / 1000:.1f} s {'ahead of' if ahead_ms > 0 else 'behind'} this machine's."
    if abs(ahead_ms) < _CLOCK_WARN_MS:
        return passed(f"They differ by {abs(ahead_ms) / 1000:.1f} s.")
    return warning(text, "Synchronize both by NTP: `timedatectl status` shows whether a machine does.")


CHECKS: Final = (
    homeserver,
    as_token,
    homeserver_identity,
    homeserver_version,
    namespaces,
    rate_limits,
    upload_size,
    url_previews,
    room_version,
    homeserver_clock,
)
