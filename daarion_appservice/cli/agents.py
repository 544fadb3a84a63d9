"""The commands ``agent …``: agents, their places and their tokens. A running service notices changes within seconds."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from ..city.identity import Identities
from ..city.places import main_role, microdao_role, node_role
from ..city.registry import AGENTS, Description, Differences, RegistryEditor
from ..city.tokens import NewToken, new_token
from ..city.types import Agent, AgentSlug
from ..clock import new_id, now_ms
from ..config import loading as config_file
from ..config.registry_file import RegistryErrors, agent_of, entry_description_of, read
from ..errors import ExitCode, InvalidInput, NotFound, StartError
from ..storage.database import Database, Transaction
from .context import with_migrated_database
from .terminal import (
    DEFAULT_CONFIG,
    AsJson,
    ConfigPath,
    confirm,
    note,
    print_json,
    print_line,
    report,
    show_fields,
    show_table,
    warn,
)

app = typer.Typer(rich_markup_mode=None)

Slug = Annotated[str, typer.Argument(help="The slug of the agent. Its Matrix user is @agent_<slug>.")]


@app.command("add")
def add(
    slug: Slug,
    name: Annotated[str | None, typer.Option("--name", help="The display name. [default: the slug]")] = None,
    title: Annotated[str | None, typer.Option("--title", help="What the agent does, in a few words.")] = None,
    avatar: Annotated[str | None, typer.Option("--avatar", help="The avatar: an image file or an mxc:// URI.")] = None,
    node: Annotated[str | None, typer.Option("--node", help="The id of its node.")] = None,
    microdao: Annotated[str | None, typer.Option("--microdao", help="The slug of its microDAO.")] = None,
    role: Annotated[str | None, typer.Option("--role", help="Its role: guardian, steward, orchestrator, …")] = None,
    node_role: Annotated[
        str | None, typer.Option("--node-role", help="Its role on its node, if that differs from --role.")
    ] = None,
    microdao_role: Annotated[
        str | None, typer.Option("--microdao-role", help="Its role in its microDAO, if that differs from --role.")
    ] = None,
    district: Annotated[
        str | None, typer.Option("--district", help="The id of its district. [default: that of its node or microDAO]")
    ] = None,
    kind: Annotated[str | None, typer.Option("--kind", help="The kind of agent, as free text.")] = None,
    color: Annotated[str | None, typer.Option("--color", help="Its color as #rrggbb.")] = None,
    room: Annotated[
        list[str] | None, typer.Option("--room", help="The slug of a room that it joins. May be repeated.")
    ] = None,
    as_json: AsJson = False,
    config: ConfigPath = DEFAULT_CONFIG,
) -> None:
    """Add an agent, or change the given fields of an existing one."""
    given = {
        "display_name": name,
        "title": title,
        "avatar": None if avatar is None else _absolute(avatar, Path.cwd()),
        "node_id": node,
        "microdao": microdao,
        "role": role,
        "node_role": node_role,
        "microdao_role": microdao_role,
        "district": district,
        "kind": kind,
        "color": color,
        "rooms": room,
    }
    described = {key: value for key, value in given.items() if value is not None}

    async def write(database: Database) -> Agent:
        async with database.transaction() as tx:
            existing = await tx.agents.lock(slug)
            known: dict[str, Any] = asdict(existing) if existing else {"slug": slug, "display_name": slug}
            known.pop("id", None)
            await tx.agents.put(_agent_from(known | described), now_ms=now_ms())
            return await _agent(tx, slug)

    agent = with_migrated_database(config, write)
    report(
        as_json,
        _fields(agent, _identities(config)),
        f"Stored the agent {slug}.",
        f"Its runtime needs a token: daarion-appservice agent token {slug} -c {config}",
    )


@app.command("show")
def show(slug: Slug, as_json: AsJson = False, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Show an agent, its Matrix user and the number of its valid tokens."""

    async def read_one(database: Database) -> tuple[Agent, int]:
        async with database.read_only() as tx:
            agent = await _agent(tx, slug)
            return agent, sum(token.revoked_at_ms is None for token in await tx.agents.tokens_of(agent))

    agent, tokens = with_migrated_database(config, read_one)
    fields = _fields(agent, _identities(config)) | {"valid_tokens": tokens}
    show_fields(fields, as_json=as_json)


@app.command("list")
def list_(as_json: AsJson = False, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """List all agents."""

    async def read_all(database: Database) -> list[Agent]:
        async with database.read_only() as tx:
            return await tx.agents.all()

    agents = with_migrated_database(config, read_all)
    if as_json:
        identities = _identities(config)
        print_json([_fields(agent, identities) for agent in agents])
        return

    columns = (
        "slug",
        "name",
        "title",
        "node",
        "microDAO",
        "role",
        "rooms",
        "kind",
        "on node",
        "in microDAO",
        "district",
    )
    show_table(
        columns,
        [
            (
                *(a.slug, a.display_name, a.title, a.node_id, a.microdao, main_role(a), ", ".join(a.rooms)),
                *(a.kind, node_role(a), microdao_role(a), a.district),
            )
            for a in agents
        ],
    )


@app.command("import")
def import_(
    file: Annotated[
        Path,
        typer.Argument(help="A YAML file with districts, nodes, microdaos and agents, like examples/registry.yaml."),
    ],
    remove_missing: Annotated[
        bool,
        typer.Option(
            "--remove-missing",
            help="Remove the entries that the file does not contain, in each section that it has. Asks first.",
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Remove without asking.")] = False,
    as_json: AsJson = False,
    config: ConfigPath = DEFAULT_CONFIG,
) -> None:
    """Add or replace agents and places from a file. If one entry is invalid, nothing changes."""
    described = _described(file)

    async def compare(database: Database) -> Differences:
        return await RegistryEditor(database, now_ms).compare(described, remove_missing=remove_missing)

    async def merge(database: Database) -> Differences:
        return await RegistryEditor(database, now_ms).merge(described, remove_missing=remove_missing)

    if remove_missing and not yes:
        _ask_to_remove(with_migrated_database(config, compare))
    differences = with_migrated_database(config, merge)
    if as_json:
        print_json({part: asdict(each) for part, each in differences.items()})
    else:
        _show_differences(differences)
    _warn_if_configured(config, differences[AGENTS].removed)


@app.command("remove")
def remove(slug: Slug, as_json: AsJson = False, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Remove an agent with its tokens. Its Matrix user leaves all rooms; its messages stay."""

    async def remove_agent(database: Database) -> None:
        await RegistryEditor(database, now_ms).remove_agent(AgentSlug(slug))

    with_migrated_database(config, remove_agent)
    report(as_json, {"slug": slug, "removed": True}, f"Removed the agent {slug}.")
    _warn_if_configured(config, [slug])


@app.command("rename")
def rename(
    slug: Slug,
    name: Annotated[str, typer.Argument(help="The new display name.")],
    as_json: AsJson = False,
    config: ConfigPath = DEFAULT_CONFIG,
) -> None:
    """Change the display name of an agent, also on Matrix. Its slug and its Matrix user stay."""

    async def write(database: Database) -> Agent:
        async with database.transaction() as tx:
            agent = await tx.agents.lock(slug)
            if agent is None:
                raise _no_such_agent(slug)
            known = asdict(agent)
            known.pop("id")
            await tx.agents.put(_agent_from(known | {"display_name": name}), now_ms=now_ms())
            return await _agent(tx, slug)

    agent = with_migrated_database(config, write)
    report(as_json, _fields(agent, _identities(config)), f"The agent {slug} is called {name} now.")
    if any(seed.slug == slug and seed.display_name != name for seed in config_file.load(config).agents):
        warn(f"{slug} is also listed under `agents:` in {config}: change its name there, or the next start restores it")


@app.command("token")
def token(slug: Slug, as_json: AsJson = False, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Create a token for an agent and show it once. Existing tokens stay valid."""

    async def create(database: Database) -> NewToken:
        made = new_token(new_id())
        async with database.transaction() as tx:
            await tx.agents.add_token(made.id, await _agent(tx, slug), made.secret_sha256, now_ms=now_ms())
        return made

    made = with_migrated_database(config, create)
    if as_json:
        print_json({"id": made.id, "agent": slug, "token": made.text})
    else:
        print_line(made.text)


@app.command("rotate")
def rotate(slug: Slug, as_json: AsJson = False, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Create a token for an agent, show it once, and revoke all its other tokens."""

    async def replace_all(database: Database) -> tuple[NewToken, int]:
        made = new_token(new_id())
        async with database.transaction() as tx:
            agent = await _agent(tx, slug)
            revoked = await tx.agents.replace_tokens(agent, made.id, made.secret_sha256, now_ms=now_ms())
        return made, revoked

    made, revoked = with_migrated_database(config, replace_all)
    if as_json:
        print_json({"id": made.id, "agent": slug, "token": made.text, "revoked": revoked})
        return
    print_line(made.text)
    note(f"Revoked {revoked} earlier token(s) of {slug}; a running service refuses them within seconds.")


@app.command("revoke")
def revoke(
    slug: Slug,
    token_id: Annotated[
        str | None,
        typer.Option("--id", help="The id of one token: the part between agt_ and the next _. [default: all tokens]"),
    ] = None,
    as_json: AsJson = False,
    config: ConfigPath = DEFAULT_CONFIG,
) -> None:
    """Revoke the tokens of an agent. A running service refuses them within seconds."""

    async def revoke_tokens(database: Database) -> int:
        async with database.transaction() as tx:
            return await tx.agents.revoke_tokens(await _agent(tx, slug), token_id, now_ms=now_ms())

    count = with_migrated_database(config, revoke_tokens)
    if count == 0:
        raise NotFound("no_such_token", f"{slug} has no such token, or it was revoked already")
    report(as_json, {"agent": slug, "revoked": count}, f"Revoked {count} token(s) of {slug}.")


def _fields(agent: Agent, identities: Identities) -> dict[str, Any]:
    """Return the fields of an agent under the names that the API gives them."""
    fields = asdict(agent) | {"rooms": list(agent.rooms)}
    return {
        "id": fields.pop("id"),
        "slug": fields.pop("slug"),
        "matrix_user_id": identities.agent(agent.slug),
        **fields,
    }


def _identities(config: Path) -> Identities:
    settings = config_file.load(config)
    return Identities(settings.homeserver.domain, settings.appservice.bot)


def _agent_from(described: dict[str, Any]) -> Agent:
    try:
        [seed] = read({AGENTS: [described]}).agents
    except RegistryErrors as error:
        errors = "; ".join(f"{where.partition('.')[2]}: {what}" for where, what in error.errors.items())
        raise InvalidInput("agent_wrong", f"invalid options: {errors}") from error
    return agent_of(seed)


async def _agent(tx: Transaction, slug: str) -> Agent:
    agent = await tx.agents.by_slug(slug)
    if agent is None:
        raise _no_such_agent(slug)
    return agent


def _no_such_agent(slug: str) -> NotFound:
    return NotFound("no_such_agent", f"there is no agent {slug!r}; see `daarion-appservice agent list`")


def _described(file: Path) -> Description:
    """Read a registry file. Raise StartError or InvalidInput, with the name of the file."""
    try:
        content = YAML(typ="safe").load(file)
    except (OSError, YAMLError) as error:
        raise StartError(
            f"{file} cannot be read: {error}", "Give a YAML file like examples/registry.yaml.", ExitCode.FAILED
        ) from error
    try:
        registry = read({AGENTS: content} if isinstance(content, list) else content)
    except RegistryErrors as error:
        errors = "".join(f"\n  {where}: {what}" for where, what in error.errors.items())
        raise InvalidInput("registry_wrong", f"{file} has errors:{errors}") from error
    described = entry_description_of(registry)
    if described.agents is None:
        return described
    return replace(
        described,
        agents=tuple(replace(agent, avatar=_absolute(agent.avatar, file.parent)) for agent in described.agents),
    )


def _ask_to_remove(differences: Differences) -> None:
    """End the command with exit code 1 unless the user agrees."""
    removed = {part: each.removed for part, each in differences.items() if each.removed}
    for part, names in removed.items():
        note(f"{part} to be removed: {', '.join(names)}")
    confirm("Remove them?", yes=not removed)


def _show_differences(differences: Differences) -> None:
    for part, each in differences.items():
        if any((each.added, each.changed, each.unchanged, each.removed)):
            print_line(
                f"{part}: {len(each.added)} added, {len(each.changed)} changed, {len(each.unchanged)} unchanged, "
                f"{len(each.removed)} removed",
                "green",
            )


def _warn_if_configured(config: Path, removed: list[str]) -> None:
    for slug in sorted({seed.slug for seed in config_file.load(config).agents} & set(removed)):
        warn(f"{slug} is also listed under `agents:` in {config}: remove it there, or the next start adds it again")


def _absolute(avatar: str, base: Path) -> str:
    return avatar if not avatar or avatar.startswith("mxc://") else str((base / avatar).resolve())
