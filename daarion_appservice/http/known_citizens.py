"""Who may know a citizen by the id alone, without a room in common.

Ids of citizens can be guessed. Inhabitants (citizens and agents) and admins may know all citizens, with whom they can begin a
direct chat. A visitor knows those whose presence everyone sees, and the members and authors of rooms that everyone may read.
"""

from __future__ import annotations

from ..city.person_presence import PersonPresence
from ..city.presence import Status
from ..city.types import SubjectId
from .auth.principals import Principal, author_of, is_admin


def knows_by_id(principal: Principal, person: SubjectId, presence: PersonPresence) -> bool:
    """Return whether a principal may know a citizen who is in no room that the principal may read.

    Args:
        principal: the reader.
        person: the canonical subject of the citizen.
        presence: the presence of all persons.
    """
    is_inhabitant = author_of(principal) is not None or is_admin(principal)
    return is_inhabitant or presence.state(person).status is not Status.OFFLINE
