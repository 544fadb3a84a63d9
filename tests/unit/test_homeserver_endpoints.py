"""Endpoints of the homeserver as labels of metrics: every request of the client has one, and no id is in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from daarion_appservice.matrix.client import endpoints
from daarion_appservice.matrix.client.endpoints import ENDPOINTS, OTHER, endpoint_of

PACKAGE = Path(endpoints.__file__).parents[2]
_CALL = re.compile(
    r"\b(?:Path(?:\.v3)?|CLIENT_V1|MEDIA_V3|\(Path\.v3 if is_stable else _MSC4133\))((?:\.\w+|\[[^\]]+\])+)"
)


@pytest.mark.parametrize(
    ("path", "endpoint"),
    [
        ("_matrix/client/versions", "/versions"),
        ("_matrix/client/v3/rooms/!a:b/send/m.room.message/01J", "/rooms/{roomId}/send/{eventType}/{txnId}"),
        ("/_matrix/client/v3/rooms/sync/state/m.room.name/", "/rooms/{roomId}/state/{eventType}/{stateKey}"),
        ("_matrix/client/v3/rooms/!a:b/state/m.room.member/@c:d", "/rooms/{roomId}/state/{eventType}/{stateKey}"),
        ("_matrix/client/v3/rooms/!a:b/state", "/rooms/{roomId}/state"),
        ("_matrix/client/unstable/uk.tcpip.msc4133/profile/@c:d/m.role", "/profile/{userId}/{keyName}"),
        ("_matrix/federation/v1/openid/userinfo", "/openid/userinfo"),
        ("_matrix/media/v3/download/city/abc", "/download/{serverName}/{mediaId}"),
        ("_synapse/client/daarion/presence", "/daarion/presence"),
        ("_matrix/client/v3/rooms/!a:b/unknown", OTHER),
        ("_matrix/client/v3/rooms", OTHER),
        ("_matrix/client/v3/sync/more", OTHER),
        ("_matrix", OTHER),
        ("", OTHER),
    ],
)
def test_endpoint_has_no_ids(path: str, endpoint: str) -> None:
    assert endpoint_of(path) == endpoint


def test_each_request_of_the_client_has_an_endpoint() -> None:
    calls = {
        re.sub(r"\[[^\]]+\]", "/x", match).replace(".", "/")
        for module in (PACKAGE / "matrix").rglob("*.py")
        for match in _CALL.findall(module.read_text())
    } - {"/v3"}
    assert len(calls) > 30
    assert {call for call in calls if endpoint_of(f"_matrix/client/v3{call}") == OTHER} == set()


def test_each_endpoint_is_found_by_its_own_path() -> None:
    for endpoint in ENDPOINTS:
        path = re.sub(r"\{\w+\}", "!any:example.org", endpoint)
        assert endpoint_of(f"_matrix/client/v3{path}") == endpoint
