"""The order of a leader's first pass: what is new first, then ghosts, and linked rooms last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from daarion_appservice.city.types import MatrixRoomId, MatrixStatus, Room, RoomId
from daarion_appservice.matrix.reconcile import reconciler as reconciler_module
from daarion_appservice.matrix.reconcile.reconciler import Reconciler
from tests.parts.messaging import IDENTITIES

_LINKED = ("first", "second", "third")


def room(slug: str, status: MatrixStatus = MatrixStatus.LINKED) -> Room:
    link = MatrixRoomId(f"!{slug}") if status is MatrixStatus.LINKED else None
    stored = Room(RoomId(slug), slug, slug, "", is_default=False, archived=False, created_at_ms=0)
    return replace(stored, matrix_status=status, matrix_room_id=link)


class Parts:
    """All parts of the reconciler in one: what they are asked for is recorded in ``steps``."""

    def __init__(self, rooms: list[Room], joined: set[str]) -> None:
        self.rooms = {each.slug: each for each in rooms}
        self.joined = joined
        self.steps: list[str] = []
        self.is_complete = True
        self.is_incomplete = self.was_interrupted = False
        self.profiles = SimpleNamespace(bot=None)
        self.reconciler: Any = None

    def read_only(self) -> Parts:
        return self

    async def __aenter__(self) -> Any:
        async def every() -> list[Room]:
            return list(self.rooms.values())

        return SimpleNamespace(rooms=SimpleNamespace(all=every))

    async def __aexit__(self, *_: object) -> None: ...

    async def joined_rooms(self) -> set[MatrixRoomId]:
        return {MatrixRoomId(f"!{slug}") for slug in self.joined}

    async def reconcile(self, checked: Room) -> Room:
        self.steps.append(checked.slug)
        if checked.slug == "first":
            self.reconciler.wake()
        self.rooms[checked.slug] = replace(
            checked, matrix_status=MatrixStatus.LINKED, matrix_room_id=MatrixRoomId(f"!{checked.slug}")
        )
        return self.rooms[checked.slug]

    async def ensure_all(self, linked: Mapping[str, Room], _is_interrupted: object) -> Parts:
        self.steps.append(f"ghosts in {len(linked)}")
        return self

    async def run(self) -> tuple[list[str], bool]:
        return [], True

    async def ensure(self, *_: object) -> MatrixRoomId:
        return MatrixRoomId("!space")

    async def find_lost(self, _files: object) -> set[str]:
        return set()

    def __getattr__(self, _name: str) -> Any:
        async def nothing(*_: object) -> None: ...

        return nothing


def reconciler_of(parts: Parts) -> Reconciler:
    some: Any = parts
    synchronous: Any = SimpleNamespace(resume=lambda: None, on_return=lambda _wake: None)
    ghosts: Any = SimpleNamespace(
        ensure=parts.ensure, profiles=parts.profiles, avatars_from_files=list, forget_avatars=parts.nothing
    )
    parts.reconciler = Reconciler(
        some, synchronous, some, some, some, some, some, IDENTITIES, synchronous, some,
        room_removal=some, writing_agents=some, ghosts=ghosts, roles=some, drawn_avatars=some,
    )  # fmt: skip
    made: Reconciler = parts.reconciler
    return made


async def test_linked_rooms_are_checked_after_new_rooms_and_ghosts() -> None:
    parts = Parts([*map(room, _LINKED), room("new", MatrixStatus.PENDING)], joined=set(_LINKED))
    await reconciler_of(parts)._run_pass()
    assert parts.steps == ["new", "ghosts in 4", *_LINKED, "ghosts in 4"]


async def test_linked_room_without_the_bot_is_repaired_first() -> None:
    parts = Parts([*map(room, _LINKED)], joined={"first", "third"})
    await reconciler_of(parts)._run_pass()
    assert parts.steps == ["second", "ghosts in 3", "first", "third", "ghosts in 3"]


async def test_checked_rooms_are_not_checked_again() -> None:
    parts = Parts([*map(room, _LINKED)], joined=set(_LINKED))
    reconciler = reconciler_of(parts)
    await reconciler._run_pass()
    parts.steps.clear()
    await reconciler._run_pass()
    assert parts.steps == ["ghosts in 3"]


async def test_change_during_the_check_is_applied_before_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciler_module, "UNINTERRUPTED_S", 0.0)
    parts = Parts([*map(room, _LINKED)], joined=set(_LINKED))
    reconciler = reconciler_of(parts)
    await reconciler._run_pass()
    assert parts.steps == ["ghosts in 3", "first", "ghosts in 3"]
    parts.steps.clear()
    parts.rooms["new"] = room("new", MatrixStatus.PENDING)
    reconciler._worker._woken.clear()
    await reconciler._run_pass()
    assert parts.steps == ["new", "ghosts in 4", "second", "third", "ghosts in 4"]
