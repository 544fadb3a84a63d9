"""The response models: dictionaries whose keys, types, descriptions and examples ``/openapi.json`` contains.

They are TypedDicts: ``views.py`` and the routes build them as plain dictionaries, and mypy compares each with its model.
Fields may be added, but not renamed or removed. Each field has a description with its unit, and an example.
"""

from .agents import Agent, AgentPresence, AgentToken, HeartbeatError, HeartbeatResult, HeartbeatResults, NewAgentToken
from .authors import Author, CitizenName, CitizenNames, CurrentCitizen
from .direct import BlockedCitizens, DirectChat, ReadOnlyReason
from .encryption import AgentEncryption, EncryptionStatus
from .errors import FieldError, Problem
from .feed import CityHome, FeedEntry, FeedRoom, SecondMeStatus
from .internal import GhostHeartbeatResult, Liveness, MatrixPresence, MatrixPresences, Readiness, ReadinessPart
from .message_kinds import Location, Poll, PollOption, PollVote
from .messages import Media, Message, ReactionCount, RenderedMarkdown, ThreadSummary
from .people import Erasure, Remainder
from .presence import OnlineCounts, PresenceEvent, PresenceList, PresenceSummary, SubjectPresence
from .profile_cards import ProfileCard, ProfileRoom
from .push import PushKey
from .registry import (
    District,
    ImportCounts,
    ImportResult,
    MicroDao,
    MicroDaoDetails,
    Node,
    NodeDetails,
    Place,
    PlaceCounts,
)
from .rooms import (
    Ban,
    LastMessage,
    Membership,
    NotificationSetting,
    OnlineMember,
    Receipt,
    Room,
    RoomDetails,
    RoomRemoval,
    RoomRights,
    RoomUnread,
    TypingResult,
    UnreadCount,
)
from .search import AgentMessage, SearchResult, SearchResults, SearchRoom
from .second_me import Interaction
from .site import MatrixServer, SignInMethods, SignInNonce, SignInResult, SiteSettings
from .types import PresenceFields
from .undelivered import DeadLetter, RetryResult, UndeliveredChange
from .url_previews import UrlPreview

__all__ = [
    "Agent",
    "AgentEncryption",
    "AgentMessage",
    "AgentPresence",
    "AgentToken",
    "Author",
    "Ban",
    "BlockedCitizens",
    "CitizenName",
    "CitizenNames",
    "CityHome",
    "CurrentCitizen",
    "DeadLetter",
    "DirectChat",
    "District",
    "EncryptionStatus",
    "Erasure",
    "FeedEntry",
    "FeedRoom",
    "FieldError",
    "GhostHeartbeatResult",
    "HeartbeatError",
    "HeartbeatResult",
    "HeartbeatResults",
    "ImportCounts",
    "ImportResult",
    "Interaction",
    "LastMessage",
    "Liveness",
    "Location",
    "MatrixPresence",
    "MatrixPresences",
    "MatrixServer",
    "Media",
    "Membership",
    "Message",
    "MicroDao",
    "MicroDaoDetails",
    "NewAgentToken",
    "Node",
    "NodeDetails",
    "NotificationSetting",
    "OnlineCounts",
    "OnlineMember",
    "Place",
    "PlaceCounts",
    "Poll",
    "PollOption",
    "PollVote",
    "PresenceEvent",
    "PresenceFields",
    "PresenceList",
    "PresenceSummary",
    "Problem",
    "ProfileCard",
    "ProfileRoom",
    "PushKey",
    "ReactionCount",
    "ReadOnlyReason",
    "Readiness",
    "ReadinessPart",
    "Receipt",
    "Remainder",
    "RenderedMarkdown",
    "RetryResult",
    "Room",
    "RoomDetails",
    "RoomRemoval",
    "RoomRights",
    "RoomUnread",
    "SearchResult",
    "SearchResults",
    "SearchRoom",
    "SecondMeStatus",
    "SignInMethods",
    "SignInNonce",
    "SignInResult",
    "SiteSettings",
    "SubjectPresence",
    "ThreadSummary",
    "TypingResult",
    "UndeliveredChange",
    "UnreadCount",
    "UrlPreview",
]
