"""What an admin can correct when the homeserver and this service do not connect in a way that waiting does not mend.

Both directions: this service calls ``homeserver.address``, Synapse calls ``appservice.address``.
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
    "The TLS handshake fails: look at the TLS versions that what listens there accepts, and whether it wants a client's "
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
    """Return what to correct when a request to ``homeserver.address`` failed with ``error``; None when waiting may mend it."""
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
    # Together: a listener without TLS does not answer a handshake, so that waiting for the one would delay the other.
    is_tls, is_http = await asyncio.gather(speaks_tls(url.host, url.port), speaks_http(url.host, url.port))
    if is_http and not is_tls:
        return _NO_TLS
    return _HANDSHAKE if any(isinstance(each, aiohttp.ClientSSLError | ssl.SSLError) for each in causes) else None


async def callback_advice(address: str, reason: str) -> str | None:
    """Return what to correct about TLS when Synapse could not call ``appservice.address``; None when TLS is not to blame.

    ``reason`` is Synapse's; it names OpenSSL's error. Whether TLS is spoken at ``address`` is probed from here.
    """
    # Synapse may have another address than ours, so its reason counts before the scheme of `address`.
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
