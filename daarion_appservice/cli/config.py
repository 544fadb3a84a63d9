"""The commands ``config …``: generate, check and upgrade config.yaml."""

from __future__ import annotations

import typer

from ..config import editing as config_edit
from ..config import loading as config_file
from .terminal import DEFAULT_CONFIG, ConfigPath, print_line, warn

app = typer.Typer(rich_markup_mode=None)


@app.command("generate")
def generate(config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Write a new configuration with every key, its default and a comment."""
    config_edit.generate(config)
    print_line(f"Wrote {config}, readable by its owner only.", "green")
    print_line("It has a new encryption.pickle_key: keep a copy apart from the database.")
    print_line("Next:")
    print_line("  1. Set homeserver.domain and homeserver.address in it.")
    print_line(f"  2. daarion-appservice registration generate -c {config}")


@app.command("check")
def check(config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Check the configuration and list every error with its line."""
    settings = config_file.load(config)
    for caution in config_file.cautions(config, settings):
        warn(caution)
    _check_database_url(settings.database.url)
    print_line(f"{config} has no errors.", "green")


def _check_database_url(url: str) -> None:
    # Imported here, as SQLAlchemy takes longer to import than the rest of this command.
    if "?" in url or not url.startswith("sqlite"):
        from ..storage.database_url import check as check_url  # noqa: PLC0415

        check_url(url)


@app.command("upgrade")
def upgrade(config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Add the keys that this version knows and the file lacks. Nothing else in the file changes."""
    added = config_edit.upgrade(config)
    for key in added:
        print_line(f"+ {key}")
    print_line(f"{config}: {len(added)} added." if added else f"{config} has every key already.", "green")
