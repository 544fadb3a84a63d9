"""Makes demo.svg: the demo as it looks in a terminal, from a real run. Needs curl, jq and the demo's ports free.

.venv/bin/python docs/images/make_demo_picture.py
"""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import aiohttp
import jwt
from rich.console import Console
from rich.text import Text

PICTURE = Path(__file__).with_name("demo.svg")
ROOT = PICTURE.parents[2]
COLUMNS = 110
PATIENCE_S = 120.0

PRESENCE = "curl -s 'http://localhost:7001/api/v1/agents/daarwizz/presence' | jq '.'"
TALK = """curl -s 'http://localhost:7001/city/rooms/general' |
    jq -r '.messages[] | "\\(.author.kind)\\t\\(.author.display_name): \\(.body)"'"""


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        data = Path(directory) / ".demo"
        with demo(data) as shown:
            credentials = json.loads((data / "credentials.json").read_text())
            asyncio.run(talk(credentials))
            lines = [prompt("make run"), shown.rstrip(), ""]
            for command in (PRESENCE, TALK):
                lines += [prompt(command), output(command), ""]
    draw(masked("\n".join(lines).rstrip(), credentials, data))


@contextmanager
def demo(data: Path) -> Iterator[str]:
    """The city is open inside the block, which gets what the terminal shows of its start."""
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "daarion_appservice", "demo", "--data", str(data)]
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": str(COLUMNS)}
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, cwd=data.parent, env=environment)  # noqa: S603
    os.close(slave)
    try:
        yield screen(read_until_open(master))
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE_S)
        os.close(master)


def read_until_open(terminal: int) -> str:
    seen, deadline = b"", time.monotonic() + PATIENCE_S
    while not re.search(rb"To stop.*\n.*\n", seen):
        if time.monotonic() > deadline:
            raise TimeoutError(seen.decode(errors="replace"))
        seen += os.read(terminal, 65536)
    return seen.decode()


def screen(raw: str) -> str:
    """What is left to see when the spinners, which the terminal erases again, are gone."""
    plain = re.sub(r"\r|\x1b\[\?25[lh]", "", raw)
    return re.sub(r"[^\n]*\n?(\x1b\[1A)?\x1b\[2K", "", plain)


async def talk(credentials: dict[str, Any]) -> None:
    """A person says something on Matrix, and a citizen answers through the city."""
    olena = credentials["matrix_users"][1]
    login = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": olena["user_id"]},
        "password": olena["password"],
    }
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        client = f"{credentials['homeserver_url']}/_matrix/client/v3"
        async with session.post(f"{client}/login", json=login) as answer:
            token = (await answer.json())["access_token"]
        room = await get(session, f"{credentials['city_url']}/city/rooms/general")
        await session.put(
            f"{client}/rooms/{room['matrix_room_id']}/send/m.room.message/1",
            json={"msgtype": "m.text", "body": "Добрий вечір! Пишу вам з Matrix."},
            headers={"Authorization": f"Bearer {token}"},
        )
        await messages(session, credentials, count=len(room["messages"]) + 1)
        claims = {"sub": "u_123", "name": "Іван", "exp": int(time.time()) + 60}
        citizen = jwt.encode(claims, credentials["jwt_secret"], algorithm="HS256")
        await session.post(
            f"{credentials['city_url']}/city/rooms/general/messages",
            json={"body": "Добрий вечір, Олено! Я пишу через API міста."},
            headers={"Authorization": f"Bearer {citizen}"},
        )


async def messages(session: aiohttp.ClientSession, credentials: dict[str, Any], *, count: int) -> None:
    """Wait until General holds this many messages."""
    async with asyncio.timeout(PATIENCE_S):
        while len((await get(session, f"{credentials['city_url']}/city/rooms/general"))["messages"]) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def get(session: aiohttp.ClientSession, url: str) -> Any:
    async with session.get(url) as answer:
        return await answer.json()


def prompt(command: str) -> str:
    return f"\x1b[1;32m$\x1b[0m \x1b[1m{command}\x1b[0m"


def output(command: str) -> str:
    """What the command prints on a terminal."""
    on_a_terminal = command.replace("jq '.'", "jq -C '.'")
    printed = subprocess.run(on_a_terminal, shell=True, check=True, capture_output=True, text=True)  # noqa: S602
    return printed.stdout.expandtabs().rstrip()


def masked(text: str, credentials: dict[str, Any], data: Path) -> str:
    for user in credentials["matrix_users"]:
        text = text.replace(user["password"], "•" * 12)
    return text.replace(f"{data.parent}/", "")


def draw(text: str) -> None:
    console = Console(record=True, file=StringIO(), width=COLUMNS, color_system="truecolor", force_terminal=True)
    console.print(Text.from_ansi(text), soft_wrap=True)
    svg = console.export_svg(title="the city on one machine", unique_id="demo")
    # Whoever looks at the picture need not fetch fonts for it.
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    PICTURE.write_text(re.sub(r"[ \t]+\n", "\n", svg))


if __name__ == "__main__":
    main()
