"""The commands ``registration …``: the registration file for Synapse."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..config import loading as config_file
from ..errors import ExitCode, StartError
from ..matrix.client import registration_file
from .terminal import DEFAULT_CONFIG, AsJson, ConfigPath, print_json, print_line, report, warn

app = typer.Typer(rich_markup_mode=None)


@app.command("generate")
def generate(
    config: ConfigPath = DEFAULT_CONFIG,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file, with the same tokens.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write the registration file. If the configuration has no tokens, generate them and write them into it."""
    generated = registration_file.generate(config_file.load(config), config, force=force)
    if as_json:
        pickle_key = ["encryption.pickle_key"] if generated.has_new_pickle_key else []
        print_json(
            {
                "registration": str(generated.path),
                "config": str(config),
                "generated": [*generated.new_tokens, *pickle_key],
                "copied": generated.kept_tokens,
            }
        )
        return
    print_line(f"Wrote {generated.path}.", "green")
    if generated.new_tokens:
        print_line(f"Generated {' and '.join(generated.new_tokens)}, and wrote them to {config}.")
    if generated.kept_tokens:
        print_line(f"Copied {' and '.join(generated.kept_tokens)} from the existing registration file to {config}.")
    if generated.has_new_pickle_key:
        print_line(f"Generated encryption.pickle_key, and wrote it to {config}. Keep a copy apart from the database.")
    print_line("Next:")
    for number, step in enumerate(generated.next_steps, 1):
        print_line(f"  {number}. {step}")


@app.command("check")
def check(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="Synapse's copy of the registration. [default: appservice.registration]"),
    ] = None,
    as_json: AsJson = False,
    config: ConfigPath = DEFAULT_CONFIG,
) -> None:
    """Compare the registration file, or Synapse's copy of it, with the configuration."""
    settings = config_file.load(config)
    path = file or settings.appservice.registration
    findings = registration_file.check(settings, file)
    for caution in findings.cautions:
        warn(caution)
    if findings.differences:
        raise StartError(
            "\n".join([f"{path} does not match {config}:", *(f"  {each}" for each in findings.differences)]),
            "Correct one of them, or replace the file with `daarion-appservice registration generate --force`; "
            "then give it to Synapse and restart Synapse.",
            ExitCode.REGISTRATION,
        )
    report(as_json, {"registration": str(path), "warnings": findings.cautions}, f"{path} matches {config}.")
