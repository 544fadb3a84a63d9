"""The profiles that the service's users have on Matrix: agents, citizens, the bot and the observer.

The display name of an agent is by default its name alone: it stands beside each message, in mentions and notifications,
where a title would be in the way. ``city.agent_display_name`` may add the title; the profile field ``space.daarion.role``
has it in any case.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ...city.avatars import DrawnAvatar, Emblem, EmblemAvatar, agent_avatar
from ...city.display_name_template import DisplayNameTemplate
from ...city.linked_accounts import LinkedAccounts
from ...city.types import Agent, Author, CitizenId

_MAX_CITY_NAME_CHARS = 200


@dataclass(frozen=True, slots=True)
class Profile:
    """The profile that a ghost should have.

    Attributes:
        avatar: an ``mxc://`` URI or a file path; empty for the drawn one; None leaves the avatar unchanged.
        drawn: the avatar that the service draws where there is no other; None for a ghost without avatar.
    """

    display_name: str
    avatar: str | None = None
    drawn: DrawnAvatar | None = None


@dataclass(frozen=True, slots=True)
class Profiles:
    """Derives the profiles from the registry and the configuration."""

    city_name: str
    template: DisplayNameTemplate = field(default_factory=DisplayNameTemplate)

    def agent(self, agent: Agent) -> Profile:
        return Profile(self.agent_name(agent), agent.avatar, agent_avatar(agent))

    def agent_name(self, agent: Agent) -> str:
        """Return the display name of an agent's ghost."""
        return self.template.render(agent.display_name, agent.title)

    @property
    def bot(self) -> Profile:
        return Profile(f"{self._short_city_name} bot", "", EmblemAvatar(Emblem.BOT))

    @property
    def observer(self) -> Profile:
        return Profile(f"{self._short_city_name} observer bot", "", EmblemAvatar(Emblem.OBSERVER))

    @property
    def _short_city_name(self) -> str:
        return self.city_name[:_MAX_CITY_NAME_CHARS]


def citizen_profile(accounts: LinkedAccounts, citizen: Author) -> Profile:
    """Return the profile of a citizen's ghost: that of the linked Matrix account, or the one that the citizen has chosen."""
    account = accounts.of_citizen(CitizenId(citizen.id))
    own_avatar = accounts.own_profile(CitizenId(citizen.id)).avatar_url
    avatar = own_avatar if account is None else account.avatar_url
    return Profile(accounts.shown(citizen).display_name, avatar or "")
