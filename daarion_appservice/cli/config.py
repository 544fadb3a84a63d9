"""The commands ``config …``: generate, check and upgrade config.yaml."""

from __future__ import annotations

import typer

from ..config import editing as config_edit
from ..config import loading as config_file
from .terminal import DEFAULT_CONFIG, AsJson, ConfigPath, print_json, print_line, report, warn

app = typer.Typer(rich_markup_mode=None)


@app.command("generate")
def generate(as_json: AsJson = False, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Write a new configuration with every key, its default and a comment."""
    config_edit.generate(config)
    report(
        as_json,
        {"config": str(config), "generated": ["encryption.pickle_key"]},
        f"Wrote {config}, readable by its owner only.",
        "It has a new encryption.pickle_key: keep a copy apart from the database.",
        "Next:",
        "  1. Set homeserver.domain and homeserver.address in it.",
        f"  2. daarion-appservice registration generate -c {config}",
    )


@app.command("check")
def check(as_json: AsJson = False, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Check the configuration and list every error with its line."""
    settings = config_file.load(config)
    cautions = config_file.cautions(config, settings)
    for caution in cautions:
        warn(caution)
    _check_database_url(settings.database.url)
    report(as_json, {"config": str(config), "warnings": cautions}, f"{config} has no errors.")


def _check_database_url(url: str) -> None:
    # Imported here, as SQLAlchemy takes longer to import than the rest of this command.
    if "?" in url or not url.startswith("sqlite"):
        from ..storage.database_url import check as check_url  # noqa: PLC0415

        check_url(url)


@app.command("upgrade")
def upgrade(as_json: AsJson = False, config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Add the keys that this version knows and the file lacks. Nothing else in the file changes."""
    added = config_edit.upgrade(config)
    if as_json:
        print_json({"config": str(config), "added": added})
        return
    for key in added:
        print_line(f"+ {key}")
    print_line(f"{config}: {len(added)} added." if added else f"{config} has every key already.", "green")
