"""The files of a small homeserver: homeserver.yaml, signing key, log configuration.

It listens on loopback only, has neither federation nor outgoing requests, and sets very high rate limits.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

from .. import private_file
from ..errors import ExitCode

HOST: Final = "127.0.0.1"

_PLENTY: Final = {"per_second": 10_000, "burst_count": 10_000}


@dataclass(frozen=True, slots=True)
class SynapseSetup:
    """The parameters of one homeserver."""

    directory: Path
    server_name: str
    port: int
    registrations: Sequence[Path] = ()
    """Registration files of application services."""
    room_version: str = ""
    """Version of new rooms; empty for Synapse's default."""
    log_level: str = "WARNING"
    overrides: Mapping[str, object] = field(default_factory=dict)
    """Top-level keys of homeserver.yaml that replace the defaults of this module."""

    @property
    def config(self) -> Path:
        return self.directory / "homeserver.yaml"


@dataclass(frozen=True, slots=True)
class SynapseSecrets:
    """Secrets of one homeserver, created once and stored beside its configuration."""

    registration_shared_secret: str
    macaroon_secret_key: str
    form_secret: str


def write(setup: SynapseSetup) -> SynapseSecrets:
    """Write the files; existing secrets and the signing key stay unchanged."""
    setup.directory.mkdir(parents=True, exist_ok=True)
    synapse_secrets = _secrets(setup.directory / "secrets.json")
    _write_once(setup.directory / "signing.key", f"ed25519 a_{secrets.token_hex(2)} {_random_key()}\n")
    (setup.directory / "log.yaml").write_text(_yaml(_log_config(setup)))
    _write(setup.config, _yaml({**_homeserver(setup, synapse_secrets), **setup.overrides}))
    return synapse_secrets


def _homeserver(setup: SynapseSetup, synapse_secrets: SynapseSecrets) -> dict[str, object]:
    directory = setup.directory.resolve()
    config: dict[str, object] = {
        "server_name": setup.server_name,
        "public_baseurl": f"http://{HOST}:{setup.port}/",
        "pid_file": str(directory / "homeserver.pid"),
        "listeners": [
            {
                "port": setup.port,
                "type": "http",
                "bind_addresses": [HOST],
                "resources": [{"names": ["client", "openid"], "compress": False}],
            }
        ],
        "database": {"name": "sqlite3", "args": {"database": str(directory / "homeserver.db")}},
        "log_config": str(directory / "log.yaml"),
        "media_store_path": str(directory / "media"),
        "signing_key_path": str(directory / "signing.key"),
        "registration_shared_secret": synapse_secrets.registration_shared_secret,
        "macaroon_secret_key": synapse_secrets.macaroon_secret_key,
        "form_secret": synapse_secrets.form_secret,
        "app_service_config_files": [str(path.resolve()) for path in setup.registrations],
        "enable_registration": False,
        "presence": {"enabled": True},
        # Since Synapse 1.126 the default refuses every publication in the room directory.
        "room_list_publication_rules": [{"action": "allow"}],
        # No requests to other machines.
        "federation_domain_whitelist": [],
        "trusted_key_servers": [],
        "suppress_key_server_warning": True,
        "report_stats": False,
        "url_preview_enabled": False,
        **_generous_limits(),
    }
    if setup.room_version:
        config["default_room_version"] = setup.room_version
    return config


def _generous_limits() -> dict[str, object]:
    plain = (
        "message",
        "registration",
        "admin_redaction",
        "joins_per_room",
        "room_creation",
        "media_create",
        "user_directory",
        "profile",
        "reports",
        "third_party_invite",
        "3pid_validation",
        "delayed_event_mgmt",
    )
    grouped = {
        "login": ("address", "account", "failed_attempts"),
        "joins": ("local", "remote"),
        "invites": ("per_room", "per_user", "per_issuer"),
        "presence": ("per_user",),
    }
    return {
        **{f"rc_{name}": _PLENTY for name in plain},
        **{f"rc_{name}": dict.fromkeys(parts, _PLENTY) for name, parts in grouped.items()},
    }


def _log_config(setup: SynapseSetup) -> dict[str, object]:
    # To standard error, which the parent writes to a file together with errors from before the logging starts.
    return {
        "version": 1,
        "formatters": {"precise": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "precise"}},
        "root": {"level": setup.log_level, "handlers": ["console"]},
        "disable_existing_loggers": False,
    }


def _secrets(path: Path) -> SynapseSecrets:
    _write_once(path, json.dumps({name: secrets.token_urlsafe(32) for name in SynapseSecrets.__slots__}, indent=2))
    return SynapseSecrets(**json.loads(path.read_text()))


def _random_key() -> str:
    """Return the seed of an Ed25519 key in Matrix's unpadded Base64."""
    return base64.b64encode(secrets.token_bytes(32)).decode().rstrip("=")


def _write_once(path: Path, text: str) -> None:
    if not path.exists():
        private_file.create(path, text, ExitCode.FAILED)


def _write(path: Path, text: str) -> None:
    write = private_file.replace if path.exists() else private_file.create
    write(path, text, ExitCode.FAILED)


def _yaml(value: dict[str, Any]) -> str:
    yaml = YAML()
    # The same dictionary is used in many places; an anchor and its aliases would be harder to read.
    yaml.representer.ignore_aliases = lambda _: True
    out = StringIO()
    yaml.dump(value, out)
    return out.getvalue()
