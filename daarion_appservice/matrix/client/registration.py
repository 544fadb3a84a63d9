"""The registration: what Synapse is told about us, in a file that both sides hold.

Source: Matrix spec, Application Service API, "Registration". Made here from the settings, and compared with them here.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

from ...city.identity import AGENT_PREFIX, CITIZEN_PREFIX, OBSERVER, PROTOCOL
from ...config import Settings


@dataclass(frozen=True, slots=True)
class Registration:
    """``users`` and ``aliases`` are the regexes of what is ours, and only ours (exclusive)."""

    id: str
    url: str
    as_token: str = field(repr=False)
    hs_token: str = field(repr=False)
    sender_localpart: str
    users: tuple[str, ...]
    aliases: tuple[str, ...]

    @classmethod
    def of(cls, settings: Settings) -> Registration:
        appservice = settings.appservice
        # A dot that is not escaped would claim users of other servers; so would a regex without its end.
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
                # Synapse keeps the sender for us even without this; other homeservers read only the namespaces.
                f"^@{re.escape(appservice.bot)}:{domain}$",
            ),
            aliases=(f"^#city(_[^:]+)?:{domain}$",),
        )

    def render(self) -> str:
        """The file's text, the same for the same settings."""
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
    # In single quotes a backslash is a backslash; the regexes themselves hold no single quote.
    return [line for regex in regexes for line in ("    - exclusive: true", f"      regex: '{regex}'")]
