"""Requests of the client-server API about rooms: creation, aliases, state, membership and typing."""

from __future__ import annotations

from urllib.parse import quote

from mautrix.api import Method, Path, PathBuilder

from ...city.types import MatrixRoomId, UserId
from ...json_encoding import JSON
from .transport import HomeserverTransport


class RoomRequests(HomeserverTransport):
    """Creates rooms, and reads and writes their aliases, state and members."""

    async def create_room(self, content: JSON, *, as_user: UserId) -> MatrixRoomId:
        """Create a room with ``content`` as the body of ``POST /createRoom``, and return its id."""
        response = await self.request_object(Method.POST, Path.v3.createRoom, content, as_user=as_user)
        return MatrixRoomId(self._required_text(response, "room_id"))

    async def room_of_alias(self, alias: str) -> MatrixRoomId | None:
        """Return the room of an alias, or None if the alias does not exist."""
        response = await self.find_object(Path.v3.directory.room[alias])
        return None if response is None else MatrixRoomId(self._required_text(response, "room_id"))

    async def set_alias(self, alias: str, room: MatrixRoomId, *, as_user: UserId) -> None:
        await self.request(Method.PUT, Path.v3.directory.room[alias], {"room_id": room}, as_user=as_user)

    async def delete_alias(self, alias: str, *, as_user: UserId) -> None:
        await self.request(Method.DELETE, Path.v3.directory.room[alias], as_user=as_user)

    async def is_in_directory(self, room: MatrixRoomId) -> bool:
        """Return whether a room is in the public room directory."""
        response = await self.request_object(Method.GET, Path.v3.directory.list.room[room])
        return response.get("visibility") == "public"

    async def set_in_directory(self, room: MatrixRoomId, public: bool, *, as_user: UserId) -> None:
        """Add a room to the public room directory, or remove it."""
        visibility = {"visibility": "public" if public else "private"}
        await self.request(Method.PUT, Path.v3.directory.list.room[room], visibility, as_user=as_user)

    async def search_directory(self, text: str) -> list[MatrixRoomId]:
        """Return rooms of the public room directory that match ``text``, at most 100; an empty text matches all."""
        content = {"limit": 100, "filter": {"generic_search_term": text}}
        response = await self.request_object(Method.POST, Path.v3.publicRooms, content)
        return [MatrixRoomId(self._required_text(room, "room_id")) for room in self._required_list(response, "chunk")]

    # --- state ----------------------------------------------------------------------------------------

    async def state(self, room: MatrixRoomId, event_type: str, state_key: str = "", *, as_user: UserId) -> JSON | None:
        """Return the content of a state event, or None if the room has no such event."""
        return await self.find_object(_state_path(room, event_type, state_key), as_user=as_user)

    async def state_event(
        self, room: MatrixRoomId, event_type: str, state_key: str = "", *, as_user: UserId
    ) -> JSON | None:
        """Return a complete state event, or None if the room has no such event."""
        path = _state_path(room, event_type, state_key)
        return await self.find_object(path, as_user=as_user, query={"format": "event"})

    async def whole_state(self, room: MatrixRoomId, *, as_user: UserId) -> list[JSON]:
        """Return all state events of a room: the current ones, or those at the time when ``as_user`` left it."""
        response = await self.request(Method.GET, Path.v3.rooms[room].state, as_user=as_user)
        if not isinstance(response, list):
            raise self._invalid_response("the response is not a list")
        return [event for event in response if isinstance(event, dict)]

    async def set_state(
        self, room: MatrixRoomId, event_type: str, content: JSON, state_key: str = "", *, as_user: UserId
    ) -> None:
        await self.request(Method.PUT, _state_path(room, event_type, state_key), content, as_user=as_user)

    # --- membership and typing ------------------------------------------------------------------------

    async def joined_members(self, room: MatrixRoomId, *, as_user: UserId) -> dict[UserId, JSON]:
        """Return the joined members of a room with their profiles (``display_name``, ``avatar_url``)."""
        response = await self.request_object(Method.GET, Path.v3.rooms[room].joined_members, as_user=as_user)
        joined = response.get("joined")
        if not isinstance(joined, dict):
            raise self._invalid_response("the response has no field joined")
        return {UserId(user): profile for user, profile in joined.items() if isinstance(profile, dict)}

    async def joined_rooms(self, *, as_user: UserId) -> set[MatrixRoomId]:
        """Return the rooms that ``as_user`` is joined to."""
        response = await self.request_object(Method.GET, Path.v3.joined_rooms, as_user=as_user)
        return {MatrixRoomId(room) for room in self._required_list(response, "joined_rooms") if isinstance(room, str)}

    async def join(self, room: MatrixRoomId | str, *, as_user: UserId, via: str | None = None) -> MatrixRoomId:
        """Join a room, by its id or alias.

        Args:
            via: a homeserver that takes part in the room, for a room that this homeserver does not know.
        """
        # Before Matrix 1.12 the parameter `via` was called `server_name`.
        query = {"via": via, "server_name": via} if via else {}
        response = await self.request_object(Method.POST, Path.v3.join[room], {}, as_user=as_user, query=query)
        return MatrixRoomId(self._required_text(response, "room_id"))

    async def leave(self, room: MatrixRoomId, *, as_user: UserId, reason: str | None = None) -> None:
        """Leave a room, or decline an invitation to it."""
        content = {"reason": reason} if reason else {}
        await self.request(Method.POST, Path.v3.rooms[room].leave, content, as_user=as_user)

    async def kick(self, room: MatrixRoomId, user: UserId, *, reason: str, as_user: UserId) -> None:
        """Remove a user from a room; the user may join again."""
        content = {"user_id": user, "reason": reason}
        await self.request(Method.POST, Path.v3.rooms[room].kick, content, as_user=as_user)

    async def ban(self, room: MatrixRoomId, user: UserId, *, reason: str, as_user: UserId) -> None:
        """Ban a user from a room, who need not be a member."""
        await self.request(Method.POST, Path.v3.rooms[room].ban, {"user_id": user, "reason": reason}, as_user=as_user)

    async def unban(self, room: MatrixRoomId, user: UserId, *, as_user: UserId) -> None:
        await self.request(Method.POST, Path.v3.rooms[room].unban, {"user_id": user}, as_user=as_user)

    async def invite(self, room: MatrixRoomId, user: UserId, *, as_user: UserId) -> None:
        await self.request(Method.POST, Path.v3.rooms[room].invite, {"user_id": user}, as_user=as_user)

    async def set_typing(self, room: MatrixRoomId, user: UserId, *, typing: bool, timeout_ms: int) -> None:
        """Start or end the typing of a user; it ends by itself after ``timeout_ms``."""
        content: JSON = {"typing": True, "timeout": timeout_ms} if typing else {"typing": False}
        await self.request(Method.PUT, Path.v3.rooms[room].typing[user], content, as_user=user)


def _state_path(room: MatrixRoomId, event_type: str, state_key: str) -> PathBuilder:
    # The path is a string because PathBuilder would drop an empty state key.
    return PathBuilder(f"_matrix/client/v3/rooms/{quote(room, safe='')}/state/{event_type}/{quote(state_key, safe='')}")
