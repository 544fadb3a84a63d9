"""Loads the settings from config.yaml and the environment, or reports all errors in them.

file ──▶ yaml_document ──▶ values, lines ──┐
                                           ├──▶ Settings ──▶ paths made absolute
environment ──▶ environment ───────────────┘        └──▶ ConfigErrors: file, line, key, sentence
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from .. import private_file
from ..errors import ExitCode, StartError
from . import environment, yaml_document
from .environment import Overlay
from .errors import ConfigError, ConfigErrors, dotted, error_sentence
from .keys import all_keys
from .settings import AgentSeed, Settings
from .values import ValuePath
from .yaml_document import Document


def load(path: Path, environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings in ``path``, overlaid by the environment; file names in them are absolute.

    Raises:
        ConfigErrors: all errors of the configuration at once.
        StartError: the file is missing or cannot be read.
    """
    document = yaml_document.read(path)
    overlay = environment.read(environ, path)
    _drop_empty_sections(document.values)
    environment.apply_overlay(overlay, document.values)
    settings, errors = _validate(document.values, overlay.unread)
    found = [*document.repeated, *overlay.errors, *(_config_error(each, document, overlay) for each in errors)]
    if found or settings is None:
        raise ConfigErrors(path, found)
    return _resolved(settings, path.absolute().parent)


def cautions(path: Path, settings: Settings) -> list[str]:
    """Return warnings about valid settings that are most likely unintended, for the log and for `config check`."""
    found = setting_cautions(path, settings)
    if missing_tokens(settings):
        found.append("appservice.as_token and hs_token are not both set: `daarion-appservice registration generate`")
    return found + encryption_cautions(settings)


def setting_cautions(path: Path, settings: Settings) -> list[str]:
    """Return the warnings of ``cautions`` that are about neither missing tokens nor encryption."""
    found = []
    if private_file.is_world_readable(path):
        found.append(f"{path} may be read by every user of this machine, and holds secrets: chmod 600 {path}")
    if settings.homeserver.domain == Settings().homeserver.domain:
        found.append(f"homeserver.domain is still {settings.homeserver.domain}: it must be Synapse's server_name")
    return found


def encryption_cautions(settings: Settings) -> list[str]:
    """Return the warnings about encryption that is enabled and cannot be on."""
    if not settings.encryption.enabled or settings.encryption.is_on:
        return []
    caution = (
        "encryption.pickle_key is empty, so agents cannot read encrypted chats: `daarion-appservice encryption "
        "generate-key`, or set encryption.enabled to false"
    )
    return [caution]


def missing_tokens(settings: Settings) -> list[str]:
    """Return which of the two tokens between Synapse and the service are not set."""
    appservice = settings.appservice
    return [name for name in ("as_token", "hs_token") if not getattr(appservice, name).get_secret_value()]


def check_tokens(settings: Settings) -> None:
    """Raise StartError if a token between Synapse and the service is not set."""
    if missing := missing_tokens(settings):
        raise StartError(
            f"appservice.{missing[0]} is not set, so Synapse and the city cannot authenticate each other.",
            "Run `daarion-appservice registration generate`: it generates both tokens and prints the next steps.",
            ExitCode.REGISTRATION,
        )


# --- validation ---------------------------------------------------------------------------------------


def _validate(values: dict[str, Any], unread: list[ValuePath]) -> tuple[Settings | None, list[ErrorDetails]]:
    """Validate the values, and conflicts between them even if some values are invalid.

    Pydantic looks for conflicts only if every single value is valid. A second pass therefore omits the invalid values;
    conflicts that involve an invalid or unread value are dropped.
    """
    settings, errors = _pydantic(values)
    wrong = [each["loc"] for each in errors if each["type"] != "contradiction"]
    if wrong:
        for place in wrong:
            _forget(values, place)
        errors += _pydantic(values)[1]
    return settings, [each for each in errors if not _follows_from(each, [*wrong, *unread])]


def _pydantic(values: dict[str, Any]) -> tuple[Settings | None, list[ErrorDetails]]:
    try:
        return Settings.model_validate(values), []
    except ValidationError as error:
        return None, error.errors(include_url=False)


def _forget(values: dict[str, Any], place: ValuePath) -> None:
    """Remove an invalid value; a list is removed as a whole, so that the indexes of its other items stay the same."""
    section: Any = values
    for part, below in pairwise(place):
        if isinstance(below, int):
            section.pop(part, None)
        section = section.get(part)
        if not isinstance(section, dict):
            return
    section.pop(place[-1], None)


def _follows_from(error: ErrorDetails, wrong: Iterable[ValuePath]) -> bool:
    involved: tuple[ValuePath, ...] = error.get("ctx", {}).get("involves", ())
    return any(_overlap(place, each) for place in wrong for each in involved)


def _overlap(one: ValuePath, other: ValuePath) -> bool:
    """Return whether one path is equal to the other or a prefix of it."""
    shared = min(len(one), len(other))
    return one[:shared] == other[:shared]


def _config_error(error: ErrorDetails, document: Document, overlay: Overlay) -> ConfigError:
    place = error["loc"]
    variable = overlay.source_of(place)
    line = None if variable else _nearest_line(place, document.lines)
    return ConfigError(document.path, line, dotted(place), error_sentence(error), variable)


def _nearest_line(place: ValuePath, lines: Mapping[ValuePath, int]) -> int | None:
    """Return the line of the value or, if it is missing, the line of its section."""
    above = (place[:length] for length in range(len(place), 0, -1))
    return next((lines[each] for each in above if each in lines), None)


def _drop_empty_sections(values: dict[str, Any]) -> None:
    """Remove empty sections: `city:` with every key below it commented out means the same as no `city:` at all."""
    for key in all_keys():
        section: Any = values
        for name in key.path[:-1]:
            section = section.get(name, {}) if isinstance(section, dict) else {}
        optional = key.section is not None or key.is_list
        if optional and isinstance(section, dict) and section.get(key.name, ...) is None:
            del section[key.name]


# --- file names ---------------------------------------------------------------------------------------


def _resolved(settings: Settings, directory: Path) -> Settings:
    """Make all file names absolute. They are relative to the directory of the configuration file."""
    appservice, database = settings.appservice, settings.database
    return settings.model_copy(
        update={
            "appservice": appservice.model_copy(update={"registration": directory / appservice.registration}),
            "database": database.model_copy(update={"url": _resolved_sqlite(database.url, directory)}),
            "agents": [_resolved_avatar(agent, directory) for agent in settings.agents],
        }
    )


def _resolved_sqlite(url: str, directory: Path) -> str:
    scheme, _, file = url.partition(":///")
    if not scheme.startswith("sqlite") or not file or file.startswith(":memory:"):
        return url
    return f"{scheme}:///{directory / file}"


def _resolved_avatar(agent: AgentSeed, directory: Path) -> AgentSeed:
    if not agent.avatar or agent.avatar.startswith("mxc://"):
        return agent
    return agent.model_copy(update={"avatar": str(directory / agent.avatar)})
