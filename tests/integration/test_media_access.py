"""Who may download the files of messages and avatars."""

from __future__ import annotations

from daarion_appservice.city.types import UserId
from daarion_appservice.storage.ghosts import Ghost
from tests.parts.fake_media_repository import SERVER
from tests.parts.in_process_city import SERVICE_TOKEN
from tests.parts.media_harness import ALICE, OKSANA, PNG, TARAS, MediaHarness, media_harness


async def test_download_only_of_files_in_messages_or_avatars(database_url: str) -> None:
    async with media_harness(database_url) as harness:
        for number in range(4):
            harness.store_file(f"file{number}")
        assert {await harness.status(f"file{number}") for number in range(4)} == {404}
        assert harness.repository.requests == [], "nobody was asked on a stranger's behalf"

        info = {"thumbnail_url": f"mxc://{SERVER}/file1"}
        image = {"msgtype": "m.image", "body": "a", "url": f"mxc://{SERVER}/file0", "info": info}
        html = f'<b>x</b><img src="mxc://{SERVER}/file2" alt="x">'
        text = {"msgtype": "m.text", "body": "x", "format": "org.matrix.custom.html", "formatted_body": html}
        event_id = await harness.receive("m.room.message", image)
        await harness.receive("m.room.message", text)
        member = {"membership": "join", "displayname": "Alice", "avatar_url": f"mxc://{SERVER}/file3"}
        await harness.receive("m.room.member", member, state_key=ALICE)

        assert [await harness.status(f"file{number}") for number in range(4)] == [200] * 4
        assert await harness.status("file0", "/thumbnail") == 200

        await harness.receive("m.room.redaction", {"redacts": event_id})
        assert [await harness.status(f"file{number}") for number in range(4)] == [404, 404, 200, 200]
        assert await harness.status("file0", "/thumbnail") == 404


async def test_former_avatar_of_author_stays_readable(database_url: str) -> None:
    async with media_harness(database_url) as harness:
        for name in ("before", "after"):
            harness.store_file(name)
            member = {"membership": "join", "avatar_url": f"mxc://{SERVER}/{name}"}
            await harness.receive("m.room.member", member, state_key=ALICE)
            await harness.receive("m.room.message", {"msgtype": "m.text", "body": name})
        await harness.receive("m.room.member", {"membership": "leave"}, state_key=ALICE)

        messages = await harness.city.get("/city/rooms/general/messages")
        urls = [message["author"]["avatar_url"] for message in messages]
        assert urls == [f"/city/media/{SERVER}/before", f"/city/media/{SERVER}/after"]
        assert [await harness.status(name) for name in ("before", "after")] == [200, 200]


async def test_avatar_of_agent_is_readable_everywhere(harness: MediaHarness) -> None:
    mxc = harness.store_file("scribe")
    town, user = harness.city, UserId("@agent_scribe:city.localhost")
    async with town.city.database.transaction() as tx:
        await tx.ghosts.put(Ghost(user, "Писар", avatar_mxc=mxc))
    token, picture_url = await town.agent_token("scribe"), f"/city/media/{SERVER}/scribe"

    assert (await town.call("POST", "/city/rooms/general/join", token=token)).status == 200
    posted = await harness.post(token=token, body="Записано")
    assert posted.content["author"]["avatar_url"] == picture_url
    assert await harness.status("scribe") == 200
    await town.call("POST", "/api/v1/agents/scribe/heartbeat", {}, token=token)
    (member,) = (await town.get("/city/rooms/general"))["online_members"]
    assert (member["id"], member["avatar_url"]) == ("scribe", picture_url)


async def test_file_of_deleted_message_readable_if_reused(database_url: str) -> None:
    async with media_harness(database_url) as harness:
        first = await harness.receive_file("cat")
        second = await harness.receive_file("cat")
        await harness.receive("m.room.redaction", {"redacts": first})
        assert await harness.status("cat") == 200
        await harness.receive("m.room.redaction", {"redacts": second})
        assert await harness.status("cat") == 404


async def test_edit_removes_former_file(database_url: str) -> None:
    async with media_harness(database_url) as harness:
        event_id = await harness.receive_file("cat")
        new = {"msgtype": "m.image", "body": "dog", "url": harness.store_file("dog")}
        relation = {"rel_type": "m.replace", "event_id": event_id}
        await harness.receive("m.room.message", new | {"m.new_content": new, "m.relates_to": relation})
        assert (await harness.last_message())["media"]["mxc"] == f"mxc://{SERVER}/dog"
        assert [await harness.status("cat"), await harness.status("dog")] == [404, 200]


async def test_upload_is_private_until_posted(database_url: str) -> None:
    async with media_harness(database_url) as harness:
        upload = (await harness.upload()).content
        path = upload["mxc"].rpartition("/")[2]
        assert [await harness.status(path, token=token) for token in (None, TARAS, SERVICE_TOKEN, OKSANA)] == [
            404,
            404,
            404,
            200,
        ]
        status, _, headers = await harness.get(path, token=OKSANA)
        assert headers["Cache-Control"].startswith("private, ")

        refused = await harness.post(token=TARAS, media=upload["mxc"], body="моє!")
        assert (refused.status, refused.content["code"]) == (404, "no_such_media")
        unknown = await harness.post(media=harness.store_file("elsewhere"))
        assert (unknown.status, unknown.content["code"]) == (404, "no_such_media")

        message = (await harness.post(media=upload["mxc"])).content
        assert await harness.status(path) == 200
        status, _, headers = await harness.get(path, token=OKSANA)
        assert (status, headers["Cache-Control"].partition(",")[0]) == (200, "public")

        deleted = f"/city/rooms/general/messages/{message['id']}"
        assert (await harness.city.call("DELETE", deleted, token=OKSANA)).status == 200
        assert [await harness.status(path, token=token) for token in (None, TARAS, OKSANA)] == [404, 404, 200]


async def test_markdown_image_does_not_publish_foreign_file(harness: MediaHarness) -> None:
    mxc = harness.store_file("secret")
    await harness.post(body=f'![x]({mxc}) <img src="{mxc}"> **{mxc}**')
    assert await harness.status("secret") == 404


async def test_encrypted_file_is_not_downloadable(harness: MediaHarness) -> None:
    mxc = harness.store_file("sealed")
    await harness.receive("m.room.message", {"msgtype": "m.image", "body": "a.png", "file": {"url": mxc, "v": "v2"}})
    message = await harness.last_message()
    assert (message["body"], message["msgtype"], message["media"]) == ("a.png", "m.text", None)
    assert await harness.status("sealed") == 404


async def test_invalid_server_name_is_404_without_request(harness: MediaHarness) -> None:
    for server in ("..", ".", "%2e%2e", "..%2f..", "city.localhost%2f..", "a%20b", "a%00", "%ff", "a" * 3000):
        for tail in ("", "/thumbnail"):
            answer = await harness.city.call("GET", f"/city/media/{server}/cat{tail}")
            assert answer.status in {404, 422}, (server, answer)
    assert harness.repository.requests == []


async def test_anonymous_download_needs_anonymous_read(sqlite_url: str) -> None:
    async with media_harness(sqlite_url, api={"anonymous_read": False}) as harness:
        await harness.receive_file("cat")
        assert [await harness.status("cat", tail) for tail in ("", "/thumbnail")] == [401, 401]
        status, content, headers = await harness.get("cat", token=TARAS)
        assert (status, content) == (200, PNG)
        assert headers["Cache-Control"].startswith("private, ")
