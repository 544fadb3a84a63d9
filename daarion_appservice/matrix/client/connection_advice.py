"""Advice for the admin on connection failures between the homeserver and this service that a retry does not resolve.

The advice covers both directions: this service calls ``homeserver.address``, and Synapse calls ``appservice.address``.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Final

import aiohttp
from yarl import URL

from ...tls_probe import speaks_http, speaks_tls

_DNS: Final = "The host name of homeserver.address does not resolve from here."
_CERTIFICATE: Final = (
    "The TLS certificate is not trusted for this name, or has expired: use the name that it is for, add its CA to the "
    "system's (or name it in SSL_CERT_FILE), or set homeserver.verify_tls to false on a network that you trust."
)
_NO_TLS: Final = (
    "What listens there speaks no TLS: if it is Synapse's own listener, homeserver.address must begin with http://"
)
_TLS: Final = "What listens there speaks TLS: homeserver.address must begin with https://"
_HANDSHAKE: Final = (
    "The TLS handshake fails with homeserver.address: check the TLS versions of that server, and whether it requires a client "
    "certificate."
)

_NEW_REGISTRATION: Final = "run `daarion-appservice registration generate --force`, and restart Synapse."
_CALLBACK_CERTIFICATE: Final = (
    "Synapse does not trust the TLS certificate at appservice.address: add its CA to those of Synapse's machine, or have "
    "Synapse call the matrix listener itself, which speaks no TLS: set appservice.address to http://…, "
    + _NEW_REGISTRATION
)
_CALLBACK_NO_TLS: Final = (
    "What listens at appservice.address speaks no TLS, and the matrix listener never does: unless a proxy with TLS stands "
    "before it, appservice.address must begin with http://; set it so, " + _NEW_REGISTRATION
)
_CALLBACK_TLS: Final = (
    "What listens at appservice.address speaks TLS: if it is your proxy, appservice.address must begin with https://; set "
    "it so, " + _NEW_REGISTRATION
)


async def homeserver_advice(address: str, error: BaseException) -> str | None:
    """Return what to correct after a request to the homeserver failed.

    Args:
        address: ``homeserver.address``, which is probed for HTTP and TLS.
        error: the exception of the request; its causes are examined as well.

    Returns:
        The advice, or None if a retry may succeed.
    """
    causes = _causes(error)
    if any(isinstance(each, aiohttp.ClientConnectorCertificateError | ssl.SSLCertVerificationError) for each in causes):
        return _CERTIFICATE
    if any(isinstance(each, aiohttp.ClientConnectorDNSError) for each in causes):
        return _DNS
    url = URL(address)
    if url.host is None or url.port is None:
        return None
    if url.scheme == "http":
        return _TLS if await speaks_tls(url.host, url.port) else None
    # Probe both concurrently: a listener without TLS does not respond to a handshake, so that a probe may time out.
    is_tls, is_http = await asyncio.gather(speaks_tls(url.host, url.port), speaks_http(url.host, url.port))
    if is_http and not is_tls:
        return _NO_TLS
    return _HANDSHAKE if any(isinstance(each, aiohttp.ClientSSLError | ssl.SSLError) for each in causes) else None


async def callback_advice(address: str, reason: str) -> str | None:
    """Return what to correct about TLS after Synapse failed to call this service.

    Args:
        address: ``appservice.address``, which is probed for TLS from this machine.
        reason: the error message of Synapse, which contains OpenSSL's error.

    Returns:
        The advice, or None if TLS is not the cause.
    """
    # Synapse may use another address than the configured one, so that its reason precedes the scheme of `address`.
    if "certificate" in reason:
        return _CALLBACK_CERTIFICATE
    if "SSL" in reason:
        return _CALLBACK_NO_TLS
    url = URL(address)
    if url.scheme != "http" or url.host is None or url.port is None:
        return None
    return _CALLBACK_TLS if await speaks_tls(url.host, url.port) else None


def _causes(error: BaseException) -> list[BaseException]:
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and cause not in chain:
        chain.append(cause)
    return chain
