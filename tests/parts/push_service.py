"""A push service for tests: an HTTPS server that decrypts what it gets, as a browser does (RFC 8291)."""

from __future__ import annotations

import asyncio
import json
import secrets
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from daarion_appservice.push.base64url import encode_base64url
from tests.parts.certificates import self_signed
from tests.parts.ports import HOST, free_port
from tests.parts.waiting import WAIT_S


@dataclass
class Browser:
    """A browser with a subscription."""

    endpoint: str
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    auth: bytes = field(default_factory=lambda: secrets.token_bytes(16))

    @property
    def point(self) -> bytes:
        return self.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    def subscription(self, language: str = "uk") -> dict[str, Any]:
        """The body of ``PUT /city/me/push``."""
        keys = {"p256dh": encode_base64url(self.point), "auth": encode_base64url(self.auth)}
        return {"endpoint": self.endpoint, "keys": keys, "language": language}

    def decrypt(self, body: bytes) -> dict[str, Any]:
        """Decrypt a push of one record."""
        salt, sender, record = body[:16], body[21:86], body[86:]
        assert (int.from_bytes(body[16:20]), body[20]) == (4096, 65)
        shared = self.key.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), sender))
        secret = _derive(shared, self.auth, b"WebPush: info\0" + self.point + sender, 32)
        key = _derive(secret, salt, b"Content-Encoding: aes128gcm\0", 16)
        nonce = _derive(secret, salt, b"Content-Encoding: nonce\0", 12)
        content = AESGCM(key).decrypt(nonce, record, None)
        assert content[-1:] == b"\x02"
        found: dict[str, Any] = json.loads(content[:-1])
        return found


@dataclass
class PushService:
    """The server, with what it got."""

    port: int
    tls: ssl.SSLContext
    """The context of clients that trust the server."""
    statuses: dict[str, list[int]] = field(default_factory=dict)
    """The statuses of the next responses, by path; 201 without any."""
    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    _new: asyncio.Event = field(default_factory=asyncio.Event)

    def browser(self, name: str) -> Browser:
        return Browser(f"https://{HOST}:{self.port}/{name}")

    async def pushes(self, count: int) -> list[tuple[str, dict[str, str], bytes]]:
        """Wait until the server got ``count`` requests, and return all: path, headers, body."""
        async with asyncio.timeout(WAIT_S):
            while len(self.got) < count:
                self._new.clear()
                await self._new.wait()
        return self.got

    async def handle(self, request: web.Request) -> web.Response:
        self.got.append((request.path, dict(request.headers), await request.read()))
        self._new.set()
        statuses = self.statuses.get(request.path, [])
        return web.Response(status=statuses.pop(0) if statuses else 201, headers={"Location": f"https://{HOST}:1/"})


@asynccontextmanager
async def push_service(directory: Path) -> AsyncIterator[PushService]:
    """Run a push service on a free port."""
    server_tls = self_signed(directory)
    client_tls = ssl.create_default_context(cafile=directory / "self-signed.pem")
    service = PushService(free_port(), client_tls)
    app = web.Application()
    app.router.add_route("*", "/{name}", service.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, HOST, service.port, ssl_context=server_tls).start()
    try:
        yield service
    finally:
        await runner.cleanup()


def _derive(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(hashes.SHA256(), length, salt=salt, info=info).derive(secret)
