"""The registration file on disk: generation from the configuration, and comparison with it."""

from __future__ import annotations

import dataclasses
import secrets
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from ... import private_file
from ...city.identity import PROTOCOL
from ...config import Settings
from ...config import editing as config_edit
from ...config.pickle_key import new_pickle_key
from ...errors import ExitCode, StartError
from . import registration_differences
from .registration import Registration
from .registration_differences import TOKENS

TOKEN_BYTES = 48


@dataclass(frozen=True)
class Generated:
    """A generated registration file.

    ``new_tokens`` are the names of the tokens that were generated and written to the configuration, and ``kept_tokens``
    those that were copied from the previous file. ``has_new_pickle_key`` says whether ``encryption.pickle_key`` was generated.
    """

    path: Path
    new_tokens: list[str]
    kept_tokens: list[str]
    has_new_pickle_key: bool = False

    @property
    def next_steps(self) -> list[str]:
        """What the admin has to do with the file, one sentence per step."""
        return [
            f"Copy {self.path} to Synapse's machine, readable for Synapse only.",
            "Name it in homeserver.yaml:  app_service_config_files: [/path/to/" + self.path.name + "]",
            "Restart Synapse: it reads registrations only when it starts.",
        ]


def new_registration_token() -> str:
    """Return a random token, safe in URLs."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def generate(
    settings: Settings, config: Path, *, force: bool = False, token: Callable[[], str] = new_registration_token
) -> Generated:
    """Write the registration file, and write missing tokens to the configuration.

    A configuration without any token is that of a new city, which gets ``encryption.pickle_key`` too. An existing city gets
    none, because it would switch encryption on.

    Args:
        config: the configuration file.
        force: replace an existing registration file. Tokens that either file contains are reused, as Synapse has them.
        token: generates a token.

    Raises:
        StartError: the registration file exists and ``force`` is not set, or a file cannot be written.
    """
    path = settings.appservice.registration
    replacing = private_file.exists(path)
    if replacing and not force:
        raise StartError(
            f"{path} exists already and was not changed",
            "Compare it with `daarion-appservice registration check`, or generate it again with --force (the tokens stay).",
            ExitCode.REGISTRATION,
        )
    missing = [name for name in TOKENS if not getattr(settings.appservice, name).get_secret_value()]
    known = _tokens_in(path) if replacing and missing else {}
    kept = [name for name in missing if name in known]
    tokens_to_write = {name: known.get(name) or token() for name in missing}
    makes_key = len(missing) == len(TOKENS) and not known and not settings.encryption.pickle_key.get_secret_value()
    if tokens_to_write:
        # Write the configuration first: if the other file cannot be written, the next attempt uses the same tokens.
        values = {f"appservice.{name}": value for name, value in tokens_to_write.items()}
        if makes_key:
            values["encryption.pickle_key"] = new_pickle_key()
        config_edit.set_values(config, values)
    ours = Registration.of(settings)
    tokens = [tokens_to_write.get(name) or getattr(ours, name) for name in TOKENS]
    text = dataclasses.replace(ours, as_token=tokens[0], hs_token=tokens[1]).render()
    if replacing:
        private_file.replace(path, text, ExitCode.REGISTRATION, remove_mode=stat.S_IRWXO)
    else:
        private_file.create(path, text, ExitCode.REGISTRATION)
    return Generated(path, [name for name in missing if name not in kept], kept, makes_key)


def _tokens_in(path: Path) -> dict[str, str]:
    """Return the tokens of the registration file that is about to be replaced."""
    values = _read(path)
    return {name: values[name] for name in TOKENS if isinstance(values.get(name), str) and values[name]}


def _read(path: Path) -> dict[str, Any]:
    missing = StartError(
        f"There is no registration file at {path}",
        "Make it with `daarion-appservice registration generate`.",
        ExitCode.REGISTRATION,
    )
    raw = private_file.read(path, missing)
    try:
        values = YAML(typ="safe", pure=True).load(raw.decode())
    except (YAMLError, ValueError):
        values = None
    if not isinstance(values, dict):
        raise StartError(
            f"{path} is not a registration file: it holds no YAML mapping",
            "Move it away and generate a new one with `daarion-appservice registration generate`.",
            ExitCode.REGISTRATION,
        )
    return values


@dataclass(frozen=True)
class Findings:
    """The result of a comparison: ``differences`` stop the service from working with Synapse, ``cautions`` do not.

    No sentence contains a token.
    """

    differences: list[str]
    cautions: list[str]


def check(settings: Settings, copy: Path | None = None) -> Findings:
    """Compare the registration file with the configuration.

    Args:
        copy: Synapse's copy of the file, to compare instead.

    Raises:
        StartError: the file cannot be read.
    """
    path = copy or settings.appservice.registration
    values = _read(path)
    differences = registration_differences.find(values, Registration.of(settings), settings.homeserver.domain)
    cautions = registration_differences.cautions(values, PROTOCOL)
    if private_file.is_world_readable(path):
        cautions.append(f"{path} may be read by every user of this machine, and holds secrets: chmod 600 {path}")
    return Findings(differences, cautions)
