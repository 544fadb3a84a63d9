"""Makes the secrets and files of the services of compose.yaml. Runs before each start and changes nothing that exists.

/data      of the city:       config.yaml, registration.yaml, secrets/
/synapse   for Synapse:       appservice.yaml, registration.yaml, pgpass
/postgres  for PostgreSQL:    passwords

Each file is readable for the user of its service only.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

DATA = Path(os.environ.get("INIT_DATA", "/data"))
SYNAPSE = Path(os.environ.get("INIT_SYNAPSE", "/synapse"))
POSTGRES = Path(os.environ.get("INIT_POSTGRES", "/postgres"))
"""The volumes."""

CITY_USER, SYNAPSE_USER, POSTGRES_USER = 10001, 991, 999
"""The users in the images."""

POSTGRES_HOST = os.environ.get("INIT_POSTGRES_HOST", "postgres")
REGISTRATION_SEEN_BY_SYNAPSE = os.environ.get("INIT_REGISTRATION", "/config/registration.yaml")
PGPASS_SEEN_BY_SYNAPSE = os.environ.get("INIT_PGPASS", "/config/pgpass")


def write(path: Path, text: str, user: int) -> None:
    """Write a file for one user, atomically."""
    new = path.with_name(f".{path.name}.new")
    new.touch(mode=0o600)
    new.write_text(text, "utf-8")
    os.chown(new, user, user)
    new.replace(path)


def secret(path: Path, user: int) -> str:
    """Return the secret in a file, which is made at the first start."""
    if not path.exists():
        write(path, secrets.token_hex(32), user)
    return path.read_text("utf-8")


def make_secrets() -> None:
    """Make the passwords and tokens, and the files that contain them in the form of their readers."""
    secret(POSTGRES / "superuser", POSTGRES_USER)
    daarion = secret(POSTGRES / "daarion", POSTGRES_USER)
    synapse = secret(POSTGRES / "synapse", POSTGRES_USER)
    for name in ("internal_token", "jwt_secret", "admin_token"):
        secret(DATA / "secrets" / name, CITY_USER)
    write(DATA / "secrets" / "database_url", f"postgresql://daarion:{daarion}@{POSTGRES_HOST}/daarion", CITY_USER)
    write(SYNAPSE / "pgpass", f"*:*:*:synapse:{synapse}\n", SYNAPSE_USER)


def make_city() -> None:
    """Make config.yaml, and a registration that agrees with it and with the environment."""
    config, registration = DATA / "config.yaml", DATA / "registration.yaml"
    if not config.exists():
        command("config", "generate", "-c", str(config))
    if not registration.exists():
        command("registration", "generate", "-c", str(config))
    elif not command("registration", "check", "-c", str(config), is_fatal=False):
        command("registration", "generate", "--force", "-c", str(config))
    for path in (config, registration):
        os.chown(path, CITY_USER, CITY_USER)


def command(*arguments: str, is_fatal: bool = True) -> bool:
    """Run a command of the city without its output, which advises people who type it; return whether it succeeded."""
    done = subprocess.run(["daarion-appservice", *arguments], capture_output=True, text=True, check=False)
    if done.returncode and is_fatal:
        sys.exit(f"daarion-appservice {' '.join(arguments)}: {done.stderr}")
    return done.returncode == 0


def make_synapse() -> None:
    """Copy the registration for Synapse, and write the keys that are added to its configuration."""
    write(SYNAPSE / "registration.yaml", (DATA / "registration.yaml").read_text("utf-8"), SYNAPSE_USER)
    bot = f"@city:{os.environ['DAARION_HOMESERVER__DOMAIN']}"
    added: dict[str, Any] = {
        "public_baseurl": os.environ["DAARION_WEB__HOMESERVER_URL"],
        "serve_server_wellknown": True,
        "app_service_config_files": [REGISTRATION_SEEN_BY_SYNAPSE],
        "presence": {"enabled": True},
        "room_list_publication_rules": [{"user_id": bot, "action": "allow"}],
        "database": {
            "name": "psycopg2",
            "args": {
                "host": POSTGRES_HOST,
                "user": "synapse",
                "dbname": "synapse",
                "passfile": PGPASS_SEEN_BY_SYNAPSE,
                "cp_min": 5,
                "cp_max": 10,
            },
        },
    }
    # JSON is YAML.
    write(SYNAPSE / "appservice.yaml", json.dumps(added, indent=2) + "\n", SYNAPSE_USER)


def main() -> int:
    os.umask(0o077)
    for directory, user in (
        (DATA, CITY_USER),
        (DATA / "secrets", CITY_USER),
        (SYNAPSE, SYNAPSE_USER),
        (POSTGRES, POSTGRES_USER),
    ):
        directory.mkdir(exist_ok=True)
        os.chown(directory, user, user)
        directory.chmod(0o700)
    make_secrets()
    make_city()
    make_synapse()
    return 0


if __name__ == "__main__":
    sys.exit(main())
