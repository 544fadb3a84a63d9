"""Previews of links by a real Synapse with the libraries that its extra ``url-preview`` names."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from daarion_appservice.city.file_types import HEAD_BYTES, image_size, served_type
from daarion_appservice.city.url_previews import read_preview
from daarion_appservice.doctor.installation import Installation
from daarion_appservice.errors import HomeserverRefused
from daarion_appservice.http.routes.url_previews import THUMBNAIL
from daarion_appservice.matrix.client.monitor import HomeserverMonitor
from daarion_appservice.matrix.ghosts.ghosts import Ghosts
from daarion_appservice.matrix.ghosts.media import HomeserverMedia
from tests.parts.doctor import expect_finding, write_config
from tests.parts.media_harness import picture
from tests.parts.ports import HOST, free_port
from tests.parts.synapse import BootSynapse

PAGE = """<!doctype html><html><head><title>no</title>
<meta property="og:title" content="Фунікулер&#10;Києва"><meta property="og:description" content="Поділ і гора">
<meta property="og:site_name" content="Вікіпедія"><meta property="og:image" content="/picture.png"></head></html>"""


@pytest.fixture
async def page() -> AsyncIterator[str]:
    """A page with a picture, on this machine."""

    async def get_page(_: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    async def get_picture(_: web.Request) -> web.Response:
        return web.Response(body=picture(width=800, height=600), content_type="image/png")

    app = web.Application()
    app.router.add_get("/page", get_page)
    app.router.add_get("/picture.png", get_picture)
    async with TestServer(app, host=HOST) as server:
        yield str(server.make_url("/page"))


async def test_synapse_previews_page_with_picture(tmp_path: Path, synapse: BootSynapse, page: str) -> None:
    port = free_port()
    config = write_config(tmp_path, {"homeserver.address": f"http://{HOST}:{port}", "media.url_previews": True})
    networks = {
        "url_preview_ip_range_blacklist": ["127.0.0.0/8", "10.0.0.0/8"],
        "url_preview_ip_range_whitelist": [f"{HOST}/32"],
    }
    allowed = {"url_preview_enabled": True} | networks
    await synapse(registration=config.with_name("registration.yaml"), port=port, overrides=allowed)
    await expect_finding("url_previews", config, "pass")
    async with Installation(config) as installation:
        homeserver = installation.homeserver
        preview = read_preview(await homeserver.url_preview(page))
        assert preview is not None
        assert (preview.title, preview.description, preview.site_name) == (
            "Фунікулер Києва",
            "Поділ і гора",
            "Вікіпедія",
        )
        assert preview.image_mxc is not None
        monitor = HomeserverMonitor(homeserver, "daarion")
        monitor.mark_up()
        ghosts = cast("Ghosts", None)  # only uploads need ghosts
        async with HomeserverMedia(homeserver, monitor, ghosts).download(preview.image_mxc, THUMBNAIL) as incoming:
            head = await incoming.beginning(HEAD_BYTES)
        assert served_type(incoming.content_type, head).startswith("image/")
        assert image_size(head) == (640, 480)
        with pytest.raises(HomeserverRefused) as raised:
            await homeserver.url_preview("http://10.0.0.1/")
        assert raised.value.status in {403, 502}
