"""Requests of the client-server API about users: registration, devices, profiles and presence."""

from __future__ import annotations

from typing import Any, Final

import aiohttp
from mautrix.api import Method, Path, PathBuilder

from ...city.types import UserId
from ...errors import HomeserverRefused, HomeserverUnavailable
from ...json_encoding import JSON
from .json_parsing import loads
from .transport import MEDIA_V3, HomeserverTransport

CITY_DEVICE: Final = "CITY"
"""The device id of every ghost. Synapse stores the transaction ids of a device's events in its database (MSC4190)."""
ENCRYPTION_DEVICE_PREFIX: Final = "CITY_E2EE_"
"""The beginning of the ids of ghosts' encryption devices; `CITY_DEVICE` stays for transaction ids."""

_FEDERATION_V1: Final = PathBuilder("_matrix/federation/v1")
_MSC4133: Final = PathBuilder("_matrix/client/unstable/uk.tcpip.msc4133")
_MAX_USERINFO_BYTES: Final = 64 * 1024


class UserRequests(HomeserverTransport):
    """Registers users of the namespace, and reads and writes devices, profiles and presence."""

    async def register(self, user: UserId) -> bool:
        """Register a user of the service's namespace.

        Returns:
            False if the user id is already registered, by this service or by a person.
        """
        localpart = user[1:].partition(":")[0]
        try:
            await self.request(
                Method.POST,
                Path.v3.register,
                {"type": "m.login.application_service", "username": localpart, "inhibit_login": True},
            )
        except HomeserverRefused as error:
            if error.errcode != "M_USER_IN_USE":
                raise
            return False
        return True

    async def devices(self, user: UserId) -> list[str]:
        """Return the ids of a user's devices: one for each signed-in session, and the one that this service made."""
        response = await self.request_object(Method.GET, Path.v3.devices, as_user=user)
        return [self._required_text(device, "device_id") for device in self._required_list(response, "devices")]

    async def make_device(self, user: UserId, device: str = CITY_DEVICE) -> None:
        """Create a device of a user (MSC4190); an existing one stays."""
        await self.request(Method.PUT, Path.v3.devices[device], {"display_name": "DAARION"}, as_user=user)

    async def deactivate(self, user: UserId) -> None:
        """Deactivate a user of the namespace for good, and have the homeserver erase what it stores about the user.

        Synapse removes the profile, devices and account data, has the user leave all rooms, and shows the user's events to no
        user who was not in the room at their time (client-server API, ``/account/deactivate``).
        """
        await self.request(Method.POST, Path.v3.account.deactivate, {"erase": True}, as_user=user)

    async def openid_holder(self, token: str) -> str:
        """Return the user id (``sub``) that the homeserver issued an OpenID token for; no log contains the token.

        Source: server-server API, ``/openid/userinfo``.
        """
        path, query = _FEDERATION_V1.openid.userinfo, {"access_token": token}
        # A Synapse without federation rejects a request whose Authorization header is not another server's, but accepts
        # a request without that header.
        async with self.streaming(Method.GET, path, query=query, as_nobody=True) as response:
            try:
                userinfo = loads(await response.content.read(_MAX_USERINFO_BYTES))
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                raise HomeserverUnavailable(f"{self.address} broke off its answer") from error
        return self._required_text(userinfo, "sub")

    # --- profiles -------------------------------------------------------------------------------------

    async def profile(self, user: UserId) -> JSON:
        """Return a user's profile."""
        return await self.request_object(Method.GET, Path.v3.profile[user])

    async def set_display_name(self, user: UserId, name: str) -> None:
        await self.request(Method.PUT, Path.v3.profile[user].displayname, {"displayname": name}, as_user=user)

    async def set_avatar(self, user: UserId, mxc: str) -> None:
        await self.request(Method.PUT, Path.v3.profile[user].avatar_url, {"avatar_url": mxc}, as_user=user)

    async def set_profile_field(self, user: UserId, field: str, value: Any, *, is_stable: bool) -> None:
        """Set a field of a profile (MSC4133, spec 1.16).

        Args:
            field: the name of the field.
            value: any JSON value; None removes the field.
            is_stable: use the specification's path instead of the MSC's unstable one.
        """
        path = (Path.v3 if is_stable else _MSC4133).profile[user][field]
        if value is None:
            await self.request(Method.DELETE, path, as_user=user)
        else:
            await self.request(Method.PUT, path, {field: value}, as_user=user)

    async def upload(self, user: UserId, picture: bytes, content_type: str, *, filename: str = "") -> str:
        """Upload a picture as ``user`` and return its ``mxc://`` URI."""
        headers, query = {"Content-Type": content_type}, {"filename": filename} if filename else {}
        response = await self.request(Method.POST, MEDIA_V3.upload, picture, as_user=user, query=query, headers=headers)
        return self._required_text(response, "content_uri")

    # --- presence -------------------------------------------------------------------------------------

    async def set_presence(
        self, user: UserId, presence: str, status_msg: str | None, *, device: str | None = None
    ) -> None:
        """Set a user's presence.

        Args:
            presence: ``online``, ``unavailable`` or ``offline``.
            status_msg: every call has to pass it, because a request without it clears it for all observers.
            device: Synapse stores presence per device and shows the most active one; None counts as a device as well.
        """
        content: JSON = {"presence": presence}
        if status_msg is not None:
            content["status_msg"] = status_msg
        query = {"device_id": device} if device is not None else None
        await self.request(Method.PUT, Path.v3.presence[user].status, content, as_user=user, query=query)

    async def presence(self, user: UserId, *, as_user: UserId) -> JSON:
        """Return the presence of ``user`` as ``as_user`` sees it."""
        return await self.request_object(Method.GET, Path.v3.presence[user].status, as_user=as_user)
