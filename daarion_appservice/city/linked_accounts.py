"""The canonical subject of each subject, and the profiles with which persons are shown.

A citizen who is linked with a Matrix account is that Matrix user in the city.

Messages, reactions, votes, members and presence are stored with the subject that made them: the citizen, who acts on
Matrix by a ghost, or the Matrix user. Both subjects of a linked person have one canonical subject, the Matrix user,
which is the one that clients receive. So a link merges what both wrote before, and the end of the link separates it again.

    stored     u_1 (ghost @citizen_u_1)   @alice:example.org
                             └──────┬──────────┘
    shown                  @alice:example.org

A citizen without a link is shown with the name and picture that the citizen has chosen, where there are any.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from .types import Author, AuthorKind, CitizenId, SubjectId, UserId, citizen_subject, user_subject


@dataclass(frozen=True, slots=True)
class LinkedAccount:
    """A Matrix account that is linked with a citizen, and its profile on Matrix."""

    citizen: CitizenId
    user: UserId
    display_name: str | None = None
    """The display name; None if it is unknown."""
    avatar_url: str | None = None
    """The ``mxc://`` URI of the avatar."""


@dataclass(frozen=True, slots=True)
class OwnProfile:
    """What a citizen has chosen for the own profile; None where nothing was chosen."""

    citizen: CitizenId
    display_name: str | None = None
    avatar_url: str | None = None
    """The ``mxc://`` URI of the picture."""
    status_text: str | None = None
    token_name: str | None = field(default=None, compare=False)
    """The name in the citizen's last token."""


class LinkedAccounts:
    """All links and chosen profiles, in memory. ``realtime.account_cache`` loads them."""

    def __init__(self, accounts: Iterable[LinkedAccount] = ()) -> None:
        self._by_citizen: dict[SubjectId, LinkedAccount] = {}
        self._by_user: dict[SubjectId, LinkedAccount] = {}
        self._profiles: dict[SubjectId, OwnProfile] = {}
        self.version = 0
        """A number that changes with each change of a link or a profile; a part of the keys of cached responses."""
        self.replace(accounts)

    def replace(self, accounts: Iterable[LinkedAccount]) -> list[SubjectId]:
        """Replace all links.

        Returns:
            The citizens whose canonical subject has changed.
        """
        before = self._by_citizen
        self._by_citizen = {citizen_subject(account.citizen): account for account in accounts}
        self._by_user = {user_subject(account.user): account for account in self._by_citizen.values()}
        if before == self._by_citizen:
            return []
        self.version += 1
        return [
            citizen
            for citizen in before.keys() | self._by_citizen.keys()
            if _user(before.get(citizen)) != _user(self._by_citizen.get(citizen))
        ]

    def set_profiles(self, changed: Iterable[OwnProfile], *, are_all: bool = False) -> list[SubjectId]:
        """Store profiles that citizens have chosen.

        Args:
            changed: The changed profiles.
            are_all: Whether no other citizen has a profile.

        Returns:
            The citizens whose name or picture has changed.
        """
        new = {citizen_subject(profile.citizen): profile for profile in changed}
        if are_all:
            new |= {each: OwnProfile(CitizenId(each)) for each in self._profiles.keys() - new.keys()}
        different = [each for each, profile in new.items() if _looks(profile) != _looks(self._profiles.get(each))]
        self._profiles |= new
        self.version += bool(different)
        return different

    def citizens_with_profile(self) -> list[CitizenId]:
        """Return the citizens who have chosen a name or a picture, or had one."""
        return [profile.citizen for profile in self._profiles.values()]

    def own_profile(self, citizen: CitizenId) -> OwnProfile:
        """Return the profile that a citizen has chosen."""
        return self._profiles.get(citizen_subject(citizen)) or OwnProfile(citizen)

    def of_citizen(self, citizen: CitizenId) -> LinkedAccount | None:
        """Return the account that a citizen is linked with."""
        return self._by_citizen.get(citizen_subject(citizen))

    def of_user(self, user: UserId) -> LinkedAccount | None:
        """Return the link of a Matrix user."""
        return self._by_user.get(user_subject(user))

    def canonical_subject(self, subject: SubjectId) -> SubjectId:
        """Return the Matrix user of a linked citizen, and any other subject unchanged."""
        account = self._by_citizen.get(subject)
        return subject if account is None else user_subject(account.user)

    def subjects_of(self, subject: SubjectId) -> tuple[SubjectId, ...]:
        """Return all subjects of the same person, the canonical one first."""
        account = self._by_citizen.get(subject) or self._by_user.get(subject)
        return (subject,) if account is None else (user_subject(account.user), citizen_subject(account.citizen))

    def is_same_person(self, subject: SubjectId, other: SubjectId) -> bool:
        """Return whether two subjects have the same canonical subject."""
        return self.canonical_subject(subject) == self.canonical_subject(other)

    def canonical_subjects(self, subjects: Iterable[SubjectId]) -> tuple[SubjectId, ...]:
        """Return the canonical subjects of ``subjects``, each once, in the order of their first subject."""
        return tuple(dict.fromkeys(map(self.canonical_subject, subjects)))

    def shown(self, author: Author) -> Author:
        """Return an author as clients see it: a linked citizen as the Matrix user, with the profile on Matrix, another one
        with the chosen name and picture.
        """
        if author.kind is not AuthorKind.CITIZEN:
            return author
        account = self._by_citizen.get(author.subject)
        if account is None:
            return self._with_own_profile(author)
        name = account.display_name or author.display_name
        return Author(AuthorKind.MATRIX, account.user, name, account.avatar_url or author.avatar_url)

    def _with_own_profile(self, author: Author) -> Author:
        own = self._profiles.get(author.subject)
        if own is None:
            return author
        name, avatar = own.display_name or author.display_name, own.avatar_url or author.avatar_url
        return replace(author, display_name=name, avatar_url=avatar)

    def with_profile(self, author: Author) -> Author:
        """Return a linked Matrix user with the profile on Matrix, a citizen with the chosen one, any other author unchanged."""
        account = self._by_user.get(author.subject)
        return (
            self.shown(author)
            if account is None
            else self.shown(replace(author, kind=AuthorKind.CITIZEN, id=account.citizen))
        )

    def authors_of(self, author: Author) -> tuple[Author, ...]:
        """Return the authors with the same canonical subject, ``author`` first: its messages and votes are theirs, too."""
        match author.kind:
            case AuthorKind.CITIZEN if account := self._by_citizen.get(author.subject):
                return author, Author(AuthorKind.MATRIX, account.user, author.display_name)
            case AuthorKind.MATRIX if account := self._by_user.get(author.subject):
                return author, Author(AuthorKind.CITIZEN, account.citizen, author.display_name)
        return (author,)


def _user(account: LinkedAccount | None) -> UserId | None:
    return None if account is None else account.user


def _looks(profile: OwnProfile | None) -> tuple[str | None, str | None]:
    return (None, None) if profile is None else (profile.display_name, profile.avatar_url)
