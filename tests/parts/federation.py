"""Two homeservers that federate on loopback, and the link between them, which can be cut in each direction.

A server name is the address of a relay, ``127.0.0.1:<port>``, and the relay passes bytes on to that server's federation
listener: so every request of the other server comes through it. Both show one certificate, signed by an authority of the
tests' own.

    here  ──►  relay of there  ──►  there
    there ──►  relay of here   ──►  here
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from daarion_appservice.demo.local_synapse import LocalSynapse
from tests.parts.city import AGENTS, RunningCity
from tests.parts.ports import HOST, free_port
from tests.parts.tcp_proxy import TcpProxy, tcp_proxy_to

_VALID: Final = datetime.timedelta(days=2)
_SOON: Final = {
    # In milliseconds; the defaults wait ten minutes before a server that did not answer is asked again.
    "destination_min_retry_interval": 200,
    "destination_retry_multiplier": 2,
    "destination_max_retry_interval": 1_000,
    "client_timeout": 5_000,
    "max_short_retries": 1,
    "max_long_retries": 1,
    "max_short_retry_delay": 100,
    "max_long_retry_delay": 500,
}


class StartFederation(Protocol):
    """The type of the fixture ``start_federation``."""

    async def __call__(
        self,
        *,
        homeserver: dict[str, Any] | None = None,
        settings: dict[str, str | float] | None = None,
        agents: str = AGENTS,
        first: Callable[[RunningCity], Awaitable[None]] | None = None,
    ) -> FederatedCity: ...


@dataclass(frozen=True)
class Side:
    """One of the two servers: what it needs to be booted, and the relay through which the other one reaches it."""

    relay: TcpProxy
    certificates: Path

    @property
    def server_name(self) -> str:
        return f"{HOST}:{self.relay.port}"

    def options(self, port: int) -> dict[str, Any]:
        """The keyword arguments that boot it by the fixture ``synapse``; ``port`` is the one of its client API."""
        return {"port": port, "server_name": self.server_name, "overrides": self._overrides(port)}

    def _overrides(self, port: int) -> dict[str, Any]:
        return {
            "listeners": [
                _listener(port, ["client", "openid"], tls=False),
                _listener(self.relay.target_port, ["federation"], tls=True),
            ],
            "tls_certificate_path": str(self.certificates / "server.pem"),
            "tls_private_key_path": str(self.certificates / "server.key"),
            "federation_custom_ca_list": [str(self.certificates / "authority.pem")],
            "federation_domain_whitelist": None,
            "ip_range_blacklist": [],
            "federation_ip_range_blacklist": [],
            "trusted_key_servers": [],
            "federation": _SOON,
            "rc_federation": {"sleep_limit": 10_000, "reject_limit": 10_000, "concurrent": 100},
        }


@dataclass
class Link:
    """The connections between the two servers, in both directions."""

    here: Side
    there: Side

    def cut(self, *, from_here: bool = True, from_there: bool = True) -> None:
        """Drop all requests in this direction, and close its open connections.

        Args:
            from_here: what the city's homeserver asks or tells the other one.
            from_there: what the other one asks or tells the city's homeserver.
        """
        if from_here:
            self.there.relay.cut()
        if from_there:
            self.here.relay.cut()

    def mend(self) -> None:
        """Forward requests in both directions again."""
        self.here.relay.mend()
        self.there.relay.mend()


@dataclass
class FederatedCity:
    """A city on one homeserver (``city.homeserver``), the other homeserver, and the link between them.

    People arrive at either by `MatrixUser.arrive(homeserver, name)`, or by the fixture ``arrive_at``. Either homeserver can be
    killed and started again. After ``link.mend`` each server may take a second until it tries again.
    """

    city: RunningCity
    other: LocalSynapse
    link: Link = field(repr=False)

    def alias(self, slug: str) -> str:
        """The address of one of the city's rooms, for people of either server."""
        return f"#city_{slug}:{self.city.homeserver.server_name}"


@asynccontextmanager
async def linking(certificates: Path) -> AsyncIterator[Link]:
    """The relays of two servers that are still to be booted."""
    async with tcp_proxy_to(free_port()) as here, tcp_proxy_to(free_port()) as there:
        yield Link(Side(here, certificates), Side(there, certificates))


def _listener(port: int, names: list[str], *, tls: bool) -> dict[str, object]:
    resources = [{"names": names, "compress": False}]
    return {"port": port, "type": "http", "tls": tls, "bind_addresses": [HOST], "resources": resources}


def make_certificates(directory: Path) -> None:
    """Write ``authority.pem``, and ``server.pem`` with ``server.key`` for 127.0.0.1."""
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Authority of the tests")])
    server_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
    authority = (
        _certificate(authority_name, authority_name, authority_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    server = (
        _certificate(server_name, authority_name, key)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()),
            critical=False,
        )
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (directory / "authority.pem").write_bytes(authority.public_bytes(pem))
    (directory / "server.pem").write_bytes(server.public_bytes(pem))
    (directory / "server.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def _certificate(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _VALID)
        .not_valid_after(now + _VALID)
    )
