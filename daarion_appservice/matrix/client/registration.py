"""The registration of the application service: the file that the service generates from its settings and Synapse reads.

Source: Matrix spec, Application Service API, "Registration".
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

from ...city.identity import AGENT_PREFIX, CITIZEN_PREFIX, OBSERVER, PROTOCOL
from ...config import Settings


@dataclass(frozen=True, slots=True)
class Registration:
    """The content of a registration; ``users`` and ``aliases`` are the regexes of the exclusive namespaces."""

    id: str
    url: str
    as_token: str = field(repr=False)
    hs_token: str = field(repr=False)
    sender_localpart: str
    users: tuple[str, ...]
    aliases: tuple[str, ...]

    @classmethod
    def of(cls, settings: Settings) -> Registration:
        """Return the registration that the settings require."""
        appservice = settings.appservice
        # An unescaped dot, or a regex without `$`, would claim users of other homeservers.
        domain = re.escape(settings.homeserver.domain)
        return cls(
            id=appservice.id,
            url=appservice.address,
            as_token=appservice.as_token.get_secret_value(),
            hs_token=appservice.hs_token.get_secret_value(),
            sender_localpart=appservice.bot,
            users=(
                f"^@{AGENT_PREFIX}[^:]+:{domain}$",
                f"^@{CITIZEN_PREFIX}[^:]+:{domain}$",
                f"^@{OBSERVER}:{domain}$",
                # Synapse reserves the sender even without this entry; other homeservers read the namespaces only.
                f"^@{re.escape(appservice.bot)}:{domain}$",
            ),
            aliases=(f"^#city(_[^:]+)?:{domain}$",),
        )

    def render(self) -> str:
        """Return the text of the registration file, deterministically."""
        quoted = json.dumps
        return "\n".join(
            [
                "# Made by `daarion-appservice registration generate` from the configuration. It holds two secrets.",
                "# Synapse reads it when it starts: name it in homeserver.yaml under app_service_config_files.",
                f"id: {quoted(self.id)}",
                "# Where Synapse sends events.",
                f"url: {quoted(self.url)}",
                f"as_token: {quoted(self.as_token)}",
                f"hs_token: {quoted(self.hs_token)}",
                f"sender_localpart: {quoted(self.sender_localpart)}",
                "# Otherwise each ghost may change its presence only once in ten seconds.",
                "rate_limited: false",
                "# Presence comes through one observer's /sync: linear, and complete after an outage.",
                "receive_ephemeral: false",
                "# Clients may look up agents and rooms of the city by this name.",
                f"protocols: [{PROTOCOL}]",
                "namespaces:",
                "  users:",
                *_entries(self.users),
                "  aliases:",
                *_entries(self.aliases),
                "  rooms: []",
                "",
            ]
        )


def _entries(regexes: tuple[str, ...]) -> list[str]:
    # YAML does not unescape backslashes in single quotes, and the regexes contain no single quote.
    return [line for regex in regexes for line in ("    - exclusive: true", f"      regex: '{regex}'")]
