"""``agent …``: who the city's agents are, and their tokens. A running service takes notice within seconds."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from ..app import agent_of, new_id, now_ms
from ..city.tokens import new_token
from ..city.types import Agent
from ..config import AgentSeed
from ..errors import ExitCode, InvalidInput, NotFound, StartError
from ..storage.database import Database, Transaction
from .city import with_migrated_database
from .terminal import DEFAULT_CONFIG, ConfigPath, say, show_table

app = typer.Typer(help="The agents of the city.", no_args_is_help=True)

Slug = Annotated[str, typer.Argument(help="The agent: its ghost is @agent_<slug>.")]


@app.command("add")
def add(
    slug: Slug,
    name: Annotated[str | None, typer.Option("--name", help="What people see; the slug if not given.")] = None,
    title: Annotated[str | None, typer.Option("--title", help="What it does, in a few words.")] = None,
    avatar: Annotated[str | None, typer.Option("--avatar", help="A picture: a file or an mxc:// address.")] = None,
    node: Annotated[str | None, typer.Option("--node", help="The node that it lives on.")] = None,
    microdao: Annotated[str | None, typer.Option("--microdao", help="The microDAO that it belongs to.")] = None,
    role: Annotated[str | None, typer.Option("--role", help="Its role there.")] = None,
    room: Annotated[list[str] | None, typer.Option("--room", help="A room that it is in; may be repeated.")] = None,
    config: ConfigPath = DEFAULT_CONFIG,
) -> None:
    """Add an agent; of one that is there already, change what is given."""
    given = {
        "display_name": name,
        "title": title,
        "avatar": None if avatar is None else _absolute(avatar, Path.cwd()),
        "node_id": node,
        "microdao": microdao,
        "role": role,
        "rooms": room,
    }
    described = {key: value for key, value in given.items() if value is not None}

    async def write(database: Database) -> None:
        async with database.transaction() as tx:
            there = await tx.agents.by_slug(slug)
            known = asdict(there) if there else {"slug": slug, "display_name": slug}
            known.pop("id", None)
            [seed] = _seeds([known | described], "these options")
            await tx.agents.put(agent_of(seed), now_ms=now_ms())

    with_migrated_database(config, write)
    say(f"The city has the agent {slug}.", "green")
    say(f"Its runtime needs a token: daarion-appservice agent token {slug} -c {config}")


@app.command("list")
def list_(config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Show all agents."""

    async def read(database: Database) -> list[Agent]:
        async with database.reading() as tx:
            return await tx.agents.all()

    show_table(
        ("slug", "name", "title", "node", "microDAO", "role", "rooms"),
        [
            (a.slug, a.display_name, a.title, a.node_id, a.microdao, a.role, ", ".join(a.rooms))
            for a in with_migrated_database(config, read)
        ],
    )


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="YAML: a list of agents as under `agents:` in config.yaml.")],
    config: ConfigPath = DEFAULT_CONFIG,
) -> None:
    """Add or update many agents at once; nothing is changed when one of them is wrong."""
    try:
        content = YAML(typ="safe").load(file)
    except (OSError, YAMLError) as error:
        raise StartError(
            f"{file} cannot be read: {error}", "Give a YAML file with a list of agents.", ExitCode.FAILED
        ) from error
    if isinstance(content, dict):
        content = content.get("agents")
    if not isinstance(content, list):
        raise StartError(f"{file} holds no list of agents.", "Give a list, or a list under `agents:`.", ExitCode.FAILED)
    seeds = _seeds(content, str(file))
    _put(config, [seed.model_copy(update={"avatar": _absolute(seed.avatar, file.parent)}) for seed in seeds])
    say(f"The city has {len(seeds)} agents of {file}.", "green")


@app.command("token")
def token(slug: Slug, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Make a token for an agent's runtime and show it, this once. Earlier ones stay valid until revoked."""

    async def make(database: Database) -> str:
        made = new_token(new_id())
        async with database.transaction() as tx:
            await tx.agents.add_token(made.id, await _agent(tx, slug), made.secret_sha256, now_ms=now_ms())
        return made.text

    say(with_migrated_database(config, make))


@app.command("revoke")
def revoke(
    slug: Slug,
    token_id: Annotated[str | None, typer.Option("--id", help="Only this one: what stands between agt_ and _.")] = None,
    config: ConfigPath = DEFAULT_CONFIG,
) -> None:
    """Revoke an agent's tokens; a running service refuses them within seconds."""

    async def take(database: Database) -> int:
        async with database.transaction() as tx:
            return await tx.agents.revoke_tokens(await _agent(tx, slug), token_id, now_ms=now_ms())

    count = with_migrated_database(config, take)
    if count == 0:
        raise NotFound("no_such_token", f"{slug} has no such token, or it was revoked already")
    say(f"Revoked {count} token(s) of {slug}.", "green")


async def _agent(tx: Transaction, slug: str) -> Agent:
    agent = await tx.agents.by_slug(slug)
    if agent is None:
        raise NotFound("no_such_agent", f"there is no agent {slug!r}; see `daarion-appservice agent list`")
    return agent


def _put(config: Path, seeds: list[AgentSeed]) -> None:
    async def write(database: Database) -> None:
        async with database.transaction() as tx:
            for seed in seeds:
                await tx.agents.put(agent_of(seed), now_ms=now_ms())

    with_migrated_database(config, write)


def _seeds(content: list[object], source: str) -> list[AgentSeed]:
    try:
        return TypeAdapter(list[AgentSeed]).validate_python(content)
    except ValidationError as error:
        mistakes = "; ".join(
            f"{'.'.join(str(part) for part in each['loc'][1:])} of agent {int(each['loc'][0]) + 1}: {each['msg']}"
            for each in error.errors(include_url=False, include_input=False)
        )
        raise InvalidInput("agents_wrong", f"{source}: {mistakes}") from error


def _absolute(avatar: str, base: Path) -> str:
    return avatar if not avatar or avatar.startswith("mxc://") else str((base / avatar).resolve())
