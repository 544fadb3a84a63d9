"""Settings from the environment: ``DAARION_API__PORT``, and ``DAARION_API__JWT__SECRET_FILE`` for secrets in files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import ConfigError, unknown_variable
from .keys import ENV_PREFIX, Key, environment_keys
from .values import ValuePath

FILE_SUFFIX = "_FILE"


@dataclass
class Overlay:
    """Values from the environment; ``variables`` holds the variable that each value came from."""

    values: dict[tuple[str, ...], str] = field(default_factory=dict)
    variables: dict[tuple[str, ...], str] = field(default_factory=dict)
    errors: list[ConfigError] = field(default_factory=list)

    def source_of(self, place: ValuePath) -> str | None:
        """Return the variable that this value came from."""
        return next((name for path, name in self.variables.items() if path == place), None)

    @property
    def unread(self) -> list[ValuePath]:
        """Values whose file could not be read."""
        return [path for path in self.variables if path not in self.values]


def read(environ: Mapping[str, str], config: Path) -> Overlay:
    """Read the variables with the prefix. An empty variable counts as unset: Compose makes one of ``${TOKEN:-}``."""
    overlay = Overlay()
    for name in sorted(name for name, value in environ.items() if value and _is_ours(name)):
        if (key := _key_of(name)) is None:
            overlay.errors.append(ConfigError(config, None, name, unknown_variable(name), variable=name))
        elif key.path in overlay.values:
            sentence = f"is set, and {overlay.variables[key.path]} too: keep one of them"
            overlay.errors.append(ConfigError(config, None, name, sentence, variable=name))
        else:
            overlay.variables[key.path] = name
            overlay.values[key.path] = environ[name]
    for path, variable in overlay.variables.items():
        if variable not in environment_keys():
            _read_file(overlay, Path(environ[variable]), path, variable, config)
    return overlay


def apply_overlay(overlay: Overlay, values: dict[str, Any]) -> None:
    """Merge the environment's values into the file's. A section that is not a mapping is left for the validation."""
    for path, value in overlay.values.items():
        section: Any = values
        for name in path[:-1]:
            section = section.setdefault(name, {}) if isinstance(section, dict) else None
        if isinstance(section, dict):
            section[path[-1]] = value


def _is_ours(name: str) -> bool:
    # A name without "__" is not a setting: Kubernetes sets DAARION_PORT for a service named daarion.
    return name.startswith(ENV_PREFIX) and "__" in name


def _key_of(name: str) -> Key | None:
    keys = environment_keys()
    return keys.get(name) or (keys.get(name.removesuffix(FILE_SUFFIX)) if name.endswith(FILE_SUFFIX) else None)


def _read_file(overlay: Overlay, file: Path, path: tuple[str, ...], variable: str, config: Path) -> None:
    try:
        overlay.values[path] = file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        sentence = f"names the file {file}, which cannot be read: {reason}"
        overlay.errors.append(ConfigError(config, None, variable, sentence, variable=variable))
        # Without the value, validation reports no errors that follow from this one.
        del overlay.values[path]
