"""Who may download the files of messages and avatars."""

from __future__ import annotations

from daarion_appservice.city.types import UserId
from daarion_appservice.storage.ghosts import Ghost
from tests.parts.fake_media_repository import SERVER
from tests.parts.gallery import ALICE, OKSANA, PNG, TARAS, Gallery, gallery_on
from tests.parts.in_process_city import SERVICE_TOKEN


async def test_download_only_of_files_in_messages_or_avatars(database_url: str) -> None:
    async with gallery_on(database_url) as gallery:
        for number in range(4):
            gallery.keeps(f"file{number}")
        assert {await gallery.status(f"file{number}") for number in range(4)} == {404}
        assert gallery.keeper.asked == [], "nobody was asked on a stranger's behalf"

        info = {"thumbnail_url": f"mxc://{SERVER}/file1"}
        image = {"msgtype": "m.image", "body": "a", "url": f"mxc://{SERVER}/file0", "info": info}
        html = f'<b>x</b><img src="mxc://{SERVER}/file2" alt="x">'
        text = {"msgtype": "m.text", "body": "x", "format": "org.matrix.custom.html", "formatted_body": html}
        event_id = await gallery.comes("m.room.message", image)
        await gallery.comes("m.room.message", text)
        member = {"membership": "join", "displayname": "Alice", "avatar_url": f"mxc://{SERVER}/file3"}
        await gallery.comes("m.room.member", member, state_key=ALICE)

        assert [await gallery.status(f"file{number}") for number in range(4)] == [200] * 4
        assert await gallery.status("file0", "/thumbnail") == 200

        await gallery.comes("m.room.redaction", {"redacts": event_id})
        assert [await gallery.status(f"file{number}") for number in range(4)] == [404, 404, 200, 200]
        assert await gallery.status("file0", "/thumbnail") == 404


async def test_former_avatar_of_author_stays_readable(database_url: str) -> None:
    async with gallery_on(database_url) as gallery:
        for name in ("before", "after"):
            gallery.keeps(name)
            member = {"membership": "join", "avatar_url": f"mxc://{SERVER}/{name}"}
            await gallery.comes("m.room.member", member, state_key=ALICE)
            await gallery.comes("m.room.message", {"msgtype": "m.text", "body": name})
        await gallery.comes("m.room.member", {"membership": "leave"}, state_key=ALICE)

        messages = await gallery.town.get("/city/rooms/general/messages")
        urls = [message["author"]["avatar_url"] for message in messages]
        assert urls == [f"/city/media/{SERVER}/before", f"/city/media/{SERVER}/after"]
        assert [await gallery.status(name) for name in ("before", "after")] == [200, 200]


async def test_avatar_of_agent_is_readable_everywhere(gallery: Gallery) -> None:
    mxc = gallery.keeps("scribe")
    town, user = gallery.town, UserId("@agent_scribe:city.localhost")
    async with town.city.database.transaction() as tx:
        await tx.ghosts.put(Ghost(user, "Писар", avatar_mxc=mxc))
    token, picture_url = await town.agent_token("scribe"), f"/city/media/{SERVER}/scribe"

    assert (await town.call("POST", "/city/rooms/general/join", token=token)).status == 200
    said = await gallery.post(token=token, body="Записано")
    assert said.content["author"]["avatar_url"] == picture_url
    assert await gallery.status("scribe") == 200
    await town.call("POST", "/api/v1/agents/scribe/heartbeat", {}, token=token)
    (member,) = (await town.get("/city/rooms/general"))["online_members"]
    assert (member["id"], member["avatar_url"]) == ("scribe", picture_url)


async def test_file_of_deleted_message_readable_if_reused(database_url: str) -> None:
    async with gallery_on(database_url) as gallery:
        first = await gallery.shows("cat")
        second = await gallery.shows("cat")
        await gallery.comes("m.room.redaction", {"redacts": first})
        assert await gallery.status("cat") == 200
        await gallery.comes("m.room.redaction", {"redacts": second})
        assert await gallery.status("cat") == 404


async def test_edit_removes_former_file(database_url: str) -> None:
    async with gallery_on(database_url) as gallery:
        event_id = await gallery.shows("cat")
        new = {"msgtype": "m.image", "body": "dog", "url": gallery.keeps("dog")}
        relation = {"rel_type": "m.replace", "event_id": event_id}
        await gallery.comes("m.room.message", new | {"m.new_content": new, "m.relates_to": relation})
        assert (await gallery.last_message())["media"]["mxc"] == f"mxc://{SERVER}/dog"
        assert [await gallery.status("cat"), await gallery.status("dog")] == [404, 200]


async def test_upload_is_private_until_posted(database_url: str) -> None:
    async with gallery_on(database_url) as gallery:
        upload = (await gallery.upload()).content
        path = upload["mxc"].rpartition("/")[2]
        assert [await gallery.status(path, token=token) for token in (None, TARAS, SERVICE_TOKEN, OKSANA)] == [
            404,
            404,
            404,
            200,
        ]
        status, _, headers = await gallery.get(path, token=OKSANA)
        assert headers["Cache-Control"].startswith("private, ")

        refused = await gallery.post(token=TARAS, media=upload["mxc"], body="моє!")
        assert (refused.status, refused.content["code"]) == (404, "no_such_media")
        unknown = await gallery.post(media=gallery.keeps("elsewhere"))
        assert (unknown.status, unknown.content["code"]) == (404, "no_such_media")

        message = (await gallery.post(media=upload["mxc"])).content
        assert await gallery.status(path) == 200
        status, _, headers = await gallery.get(path, token=OKSANA)
        assert (status, headers["Cache-Control"].partition(",")[0]) == (200, "public")

        deleted = f"/city/rooms/general/messages/{message['id']}"
        assert (await gallery.town.call("DELETE", deleted, token=OKSANA)).status == 200
        assert [await gallery.status(path, token=token) for token in (None, TARAS, OKSANA)] == [404, 404, 200]


async def test_markdown_image_does_not_publish_foreign_file(gallery: Gallery) -> None:
    mxc = gallery.keeps("secret")
    await gallery.post(body=f'![x]({mxc}) <img src="{mxc}"> **{mxc}**')
    assert await gallery.status("secret") == 404


async def test_encrypted_file_is_not_downloadable(gallery: Gallery) -> None:
    mxc = gallery.keeps("sealed")
    await gallery.comes("m.room.message", {"msgtype": "m.image", "body": "a.png", "file": {"url": mxc, "v": "v2"}})
    message = await gallery.last_message()
    assert (message["body"], message["msgtype"], message["media"]) == ("a.png", "m.text", None)
    assert await gallery.status("sealed") == 404


async def test_invalid_server_name_is_404_without_request(gallery: Gallery) -> None:
    for server in ("..", ".", "%2e%2e", "..%2f..", "city.localhost%2f..", "a%20b", "a%00", "%ff", "a" * 3000):
        for tail in ("", "/thumbnail"):
            answer = await gallery.town.call("GET", f"/city/media/{server}/cat{tail}")
            assert answer.status in {404, 422}, (server, answer)
    assert gallery.keeper.asked == []


async def test_anonymous_download_refused_without_anonymous_read(sqlite_url: str) -> None:
    async with gallery_on(sqlite_url, api={"anonymous_read": False}) as gallery:
        await gallery.shows("cat")
        assert [await gallery.status("cat", tail) for tail in ("", "/thumbnail")] == [401, 401]
        status, content, headers = await gallery.get("cat", token=TARAS)
        assert (status, content) == (200, PNG)
        assert headers["Cache-Control"].startswith("private, ")
