"""Checks of ``config.yaml``: errors, warnings, ways to sign in, the public address."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from ..config import Settings
from ..config import loading as config_file
from ..config.values import is_loopback
from ..errors import StartError
from ..storage.database_url import check as check_database_url
from .checks import check
from .findings import Finding, failed, listed, passed, warning
from .installation import Installation

_SECURE: Final = (
    "Set api.public_url to the https:// address of the proxy in front (docs/how-to/put-a-proxy-in-front.md)."
)


@check(symptoms=("The service does not start, with exit code 3.",))
async def config(installation: Installation) -> Finding:
    """The configuration can be loaded.

    Fails with every error that `config check` finds: unknown keys, wrong values, placeholders, contradictions between keys.
    """
    error = installation.config_error
    if error is None:
        try:
            check_database_url(installation.settings.database.url)
        except StartError as found:
            error = found
    if error is not None:
        return failed(error.what, error.help)
    return passed(f"{installation.config} has no errors.")


@check(
    needs=("config",),
    symptoms=("The service does not start, with exit code 8.",),
)
async def tokens(installation: Installation) -> Finding:
    """Both tokens between Synapse and the service are set."""
    config_file.check_tokens(installation.settings)
    return passed("as_token and hs_token are set.")


@check(needs=("config",))
async def config_warnings(installation: Installation) -> Finding:
    """No setting is valid and still most likely unintended.

    Warns of a configuration file that every user of the machine may read, and of a placeholder in `homeserver.domain`.
    """
    found = config_file.setting_cautions(installation.config, installation.settings)
    if found:
        return warning(f"{listed(found)}.", "Correct the configuration, then restart the service.")
    return passed("No warnings")


@check(needs=("config",), symptoms=("Nobody can sign in to the pages.",))
async def sign_in(installation: Installation) -> Finding:
    """People can sign in, and not with a name alone.

    Warns if no kind of JWT and no way to sign in is configured, if `sign_in.matrix` is the only way and no client may embed the
    pages, and if `sign_in.name` is on in a city with a public address.
    """
    return judge_sign_in(installation.settings)


def judge_sign_in(settings: Settings) -> Finding:
    """Judge the ways to sign in of a configuration."""
    jwt, own = settings.api.jwt, settings.sign_in
    accepts_tokens = bool(jwt.secret.get_secret_value() or jwt.public_key or jwt.jwks_url)
    ways = [name for name in ("url", "matrix", "name") if getattr(own, name)]
    if not accepts_tokens and not ways:
        return warning(
            "Nobody can sign in: no JWT is accepted, and no way to sign in is configured.",
            "Choose a way in docs/how-to/set-up-sign-in.md: sign_in.url with api.jwt, sign_in.matrix, or a name (demos).",
        )
    if own.name and settings.api.public_url:
        return warning(
            "Anyone who reaches the city can sign in with a name alone.",
            "Set sign_in.name to false, unless this is a demo; see docs/how-to/set-up-sign-in.md.",
        )
    if own.url and not accepts_tokens:
        return failed(
            "sign_in.url sends people to a sign-in whose JWTs the city does not accept.",
            "Set api.jwt.secret, api.jwt.public_key or api.jwt.jwks_url to what that sign-in signs with.",
        )
    if ways == ["matrix"] and settings.web.enabled and not settings.web.frame_ancestors:
        return warning(
            "People sign in with Matrix on pages in a frame of their client, and no client may show them so.",
            "Name the address of your Element in web.frame_ancestors: docs/how-to/embed-in-element.md.",
        )
    return passed(", ".join(f"sign_in.{name}" for name in ways) or "JWTs of another sign-in; the pages offer none")


@check(
    needs=("config",),
    symptoms=("Pages and API answer 421.", "All clients share one rate limit."),
)
async def public_address(installation: Installation) -> Finding:
    """The public address is set and secure, and a proxy in front is trusted.

    Warns if the city listener is reachable from other machines without `api.public_url`, and of a public address without TLS.
    """
    return judge_public_address(installation.settings)


def judge_public_address(settings: Settings) -> Finding:
    """Judge ``api.public_url`` beside the address to which the city listener binds."""
    api = settings.api
    if not api.public_url:
        if is_loopback(api.host):
            return passed("None: only this machine reaches the city.")
        return warning(
            f"The city listener is open on {api.host}, and api.public_url is empty: requests for a public name get 421.",
            _SECURE,
        )
    parts = urlsplit(api.public_url)
    if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        return warning(f"{api.public_url} has no TLS: tokens and messages cross the network in the clear.", _SECURE)
    if not api.trusted_proxies:
        return warning(
            "api.trusted_proxies is empty: behind a proxy, all clients count as one address in the rate limits.",
            "Add the address from which the proxy connects.",
        )
    return passed(api.public_url)


CHECKS: Final = (config, tokens, config_warnings, sign_in, public_address)
