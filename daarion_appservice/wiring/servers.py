"""Builds the two HTTP servers, the city listener and the matrix listener, from the parts of a city."""

from __future__ import annotations

from dataclasses import dataclass

from ..city.events import InboxChanged
from ..city.reader_memberships import ReaderMemberships
from ..city.registry import RegistryEditor
from ..clock import new_id, now_ms, steady_ms
from ..http.agent_avatars import AgentAvatars
from ..http.agent_views import AgentViews
from ..http.auth.actors import ActorDirectory
from ..http.auth.authenticator import CityAuthenticator, InternalAuthenticator, TokenPrincipals
from ..http.auth.hosts import Hosts
from ..http.auth.jwt_issue import JwtIssue
from ..http.auth.origins import Origins
from ..http.limits.addresses import Addresses
from ..http.limits.file_descriptors import city_listener_limits, matrix_listener_limits, open_files
from ..http.limits.request_limits import RequestLimits
from ..http.limits.tcp_connections import TcpConnections
from ..http.link_previews import LinkPreviews
from ..http.media_sending import MediaSender
from ..http.media_transfers import MediaTransfers
from ..http.pinned_messages import PinnedMessages
from ..http.registry_writer import RegistryWriter
from ..http.reserved_rooms import ReservedRooms
from ..http.room_lists import RoomLists
from ..http.room_responses import CachedRoomResponses
from ..http.room_view_cache import RoomViewCache
from ..http.routes.agent_messages import AgentMessageRoutes
from ..http.routes.agent_tokens import AgentTokenRoutes
from ..http.routes.agents import AgentRoutes
from ..http.routes.citizens import CitizenRoutes
from ..http.routes.direct import DirectChatRoutes
from ..http.routes.encryption import EncryptionRoutes
from ..http.routes.feed import FeedRoutes
from ..http.routes.health import HealthRoutes
from ..http.routes.internal import InternalPresenceRoutes
from ..http.routes.markdown import MarkdownRoutes
from ..http.routes.me import MeRoutes
from ..http.routes.media_download import MediaDownload
from ..http.routes.media_upload import MediaUpload
from ..http.routes.members import MemberRoutes
from ..http.routes.messages import MessageRoutes
from ..http.routes.metrics import MetricsRoute
from ..http.routes.moderation import ModerationRoutes
from ..http.routes.people import PeopleRoutes
from ..http.routes.people_export import PeopleExport
from ..http.routes.places import PlaceRoutes
from ..http.routes.polls import PollRoutes
from ..http.routes.presence import PresenceEvents, PresenceRoutes
from ..http.routes.profile_cards import ProfileCardRoutes
from ..http.routes.push import PushRoutes
from ..http.routes.receipts import ReceiptRoutes
from ..http.routes.registry import RegistryRoutes
from ..http.routes.rooms import RoomRoutes
from ..http.routes.search import SearchRoutes
from ..http.routes.second_me import SecondMeInvoke, SecondMeRoutes
from ..http.routes.sign_in import SignInRoutes
from ..http.routes.site import SiteRoutes
from ..http.routes.threads import ThreadRoutes
from ..http.routes.undelivered import UndeliveredRoutes
from ..http.routes.unread import UnreadRoutes
from ..http.routes.url_previews import FoundPreviews, UrlPreviewImage, UrlPreviewRoutes
from ..http.servers import Listener, Streaming, city_application, matrix_application
from ..http.static_pages import DIST, StaticPages
from ..http.websocket.presence import PresenceSocket
from ..http.websocket.room import RoomSocket, RoomSocketParts
from ..matrix.client.url_previews import UrlPreviews
from ..matrix.inbound.thirdparty import ThirdParty
from ..matrix.inbound.transactions import TransactionReceiver
from ..matrix.moderation.acting_moderator import Moderators
from ..matrix.moderation.room_moderation import RoomModeration
from ..matrix.presence.user_presence import UserPresenceQuery
from ..matrix.reconcile.queries import CityQueries
from .city import City


@dataclass(frozen=True)
class _HttpParts:
    """The parts of the city listener that several of its routes use."""

    authenticator: CityAuthenticator
    origins: Origins
    avatars: AgentAvatars
    views: AgentViews
    readers: ReaderMemberships
    authors: ActorDirectory
    pages: CachedRoomResponses
    transfers: MediaTransfers
    sender: MediaSender
    url_previews: FoundPreviews

    @classmethod
    def of(cls, city: City) -> _HttpParts:
        settings = city.settings
        limits = RequestLimits(settings, city.redis)
        principals = TokenPrincipals(settings, city.tokens, city.registry, city.identities.erased)
        avatars = AgentAvatars(city.database)
        readers = ReaderMemberships(city.identities)
        return cls(
            CityAuthenticator(principals, limits),
            Origins(settings.api.allowed_origins),
            avatars,
            AgentViews(city.presence, city.places, city.identities, avatars, steady_ms),
            readers,
            ActorDirectory(city.database, city.agents, city.identities),
            CachedRoomResponses(city.database, city.identities, readers),
            MediaTransfers(limits, settings.media.transfers),
            MediaSender(settings.media),
            FoundPreviews(UrlPreviews(city.homeserver, city.monitor, steady_ms), settings.media),
        )


def build_city_server(city: City) -> Listener:
    """Build the city listener, which serves browsers, agents and the city's pages."""
    settings = city.settings
    parts = _HttpParts.of(city)
    limits = parts.authenticator.limits
    connections = TcpConnections("api", city_listener_limits(settings.limits, open_files()), limits.addresses)
    previews = LinkPreviews(settings, parts.pages, city.agents, city.places, parts.avatars, city.identities)
    app = city_application(
        [
            *_sign_in_routes(city),
            *_room_routes(city, parts),
            *_agent_routes(city, parts),
            *_people_routes(city, parts),
            *_admin_routes(city),
        ],
        _streaming_routes(city, parts),
        parts.authenticator,
        settings.api,
        connections,
        StaticPages(settings.web, limits, previews, DIST, settings.city.name) if settings.web.enabled else None,
        [ReservedRooms(parts.pages, limits).redirect] if settings.web.enabled else [],
    )
    return Listener(
        "api", app, settings.api.host, settings.api.port, connections, logs_requests=settings.logging.access
    )


def _sign_in_routes(city: City) -> list[object]:
    """Return the routes of the city itself: its settings for the pages, sign-in and linked accounts."""
    settings = city.settings
    issue = JwtIssue(settings.api.jwt, lifetime_s=settings.sign_in.token_lifetime_s)
    return [
        SiteRoutes(settings),
        SignInRoutes(settings.sign_in, city.accounts, city.nonces, issue, new_id),
        MeRoutes(city.accounts, city.own_profiles, city.identities),
    ]


def _room_routes(city: City, parts: _HttpParts) -> list[object]:
    """Return the routes of rooms and their messages, and of direct chats."""
    lists = RoomLists(
        city.database,
        city.online_members,
        city.identities,
        parts.readers,
        city.read_mark_writer,
        RoomViewCache(city.identities),
    )
    moderators = Moderators(city.database, city.homeserver, city.identities, city.permissions)
    moderation = RoomModeration(
        city.database,
        city.homeserver,
        city.identities,
        city.agents,
        moderators,
        city.former_rooms,
        city.bus.publish,
    )
    pinned = PinnedMessages(city.database, parts.pages, city.identities)
    return [
        RoomRoutes(
            parts.pages,
            lists,
            city.rooms,
            city.person_presence,
            city.online_members,
            city.identities,
            moderation,
            steady_ms,
        ),
        ModerationRoutes(city.database, moderation, pinned, parts.authors, city.agents, city.identities),
        MemberRoutes(
            city.membership,
            city.typing_and_receipts,
            city.notification_modes,
            parts.authors,
            city.online_members,
            parts.pages,
        ),
        MessageRoutes(parts.pages, city.messages, city.message_edits, city.reactions, parts.authors, city.identities),
        MarkdownRoutes(city.formatter),
        UrlPreviewRoutes(parts.url_previews),
        ThreadRoutes(parts.pages),
        SearchRoutes(city.database, parts.readers, city.identities),
        PollRoutes(city.polls, parts.authors, city.identities),
        UnreadRoutes(city.database, parts.readers),
        ReceiptRoutes(city.database, parts.readers, city.member_lookup, city.identities),
        DirectChatRoutes(
            city.database,
            city.citizen_chats,
            city.agents,
            parts.authors,
            city.identities,
            parts.readers,
            city.read_mark_writer,
            city.permissions,
        ),
    ]


def _agent_routes(city: City, parts: _HttpParts) -> list[object]:
    """Return the routes of agents, their places and tokens, and of Second Me."""
    presence = city.settings.presence
    registry = RegistryWriter(RegistryEditor(city.database, now_ms), city.registry)
    return [
        AgentRoutes(
            city.agents,
            city.places,
            city.presence,
            parts.views,
            heartbeat_ms=int(presence.heartbeat_s * 1000),
            ttl_ms=int(presence.ttl_s * 1000),
        ),
        AgentMessageRoutes(city.database, city.agents, parts.readers, city.identities),
        PlaceRoutes(registry, city.places, city.presence, parts.views),
        RegistryRoutes(registry, city.agents, parts.views),
        AgentTokenRoutes(city.database, city.registry, now_ms, new_id),
        SecondMeRoutes(city.second_me),
    ]


def _people_routes(city: City, parts: _HttpParts) -> list[object]:
    """Return the routes of presence, the feed and the profile cards of people and agents."""
    return [
        PresenceRoutes(
            city.presence,
            city.person_presence,
            city.online_counts,
            steady_ms,
            parts.pages.unlisted,
            city.citizen_names,
        ),
        FeedRoutes(
            city.database,
            city.online_counts,
            city.online_members,
            city.identities,
            parts.readers,
            lambda: city.second_me.is_available,
        ),
        CitizenRoutes(city.citizen_names, city.database, city.identities, city.online_members, city.person_presence),
        PushRoutes(city.database, city.settings.push, city.vapid_key.public_key, now_ms),
        ProfileCardRoutes(
            city.database,
            city.agents,
            city.identities,
            city.online_members,
            city.person_presence,
            parts.readers,
            steady_ms,
        ),
    ]


def _admin_routes(city: City) -> list[object]:
    """Return the routes of admins: the personal data of people, encryption, and undelivered messages."""
    return [
        PeopleRoutes(city.database, city.identities, city.bus.publish, city.account_cache.load, now_ms, new_id),
        EncryptionRoutes(city.database, city.identities, city.settings.encryption),
        UndeliveredRoutes(city.database, now_ms),
    ]


def _streaming_routes(city: City, parts: _HttpParts) -> list[Streaming]:
    """Return the routes that stream their body or their response: files, WebSockets, SSE and exports."""
    settings = city.settings
    may_read = settings.api.anonymous_read
    room = RoomSocketParts(
        city.database,
        city.room_streams,
        city.messages,
        city.typing_and_receipts,
        parts.authors,
        parts.readers,
    )
    return [
        MediaUpload(
            city.database,
            city.media,
            parts.transfers,
            parts.authors,
            city.identities,
            parts.authenticator,
            now_ms,
            settings.media,
        ),
        MediaDownload(
            city.database,
            city.media,
            parts.transfers,
            parts.authors,
            city.identities,
            parts.readers,
            parts.authenticator,
            parts.sender,
            anonymous_read=may_read,
        ),
        UrlPreviewImage(parts.url_previews, city.media, parts.transfers, parts.authenticator, parts.sender),
        PresenceSocket(
            city.presence,
            city.stream,
            city.citizen_names,
            city.room_updates,
            city.unread_stream,
            parts.authenticator,
            parts.origins,
            anonymous_read=may_read,
        ),
        PresenceEvents(city.stream, parts.authenticator, anonymous_read=may_read),
        RoomSocket(room, parts.authenticator, parts.origins, anonymous_read=may_read),
        SecondMeInvoke(city.second_me, parts.authenticator),
        PeopleExport(city.database, city.identities, city.presence, parts.authenticator, now_ms),
    ]


def build_matrix_server(city: City) -> Listener:
    """Build the matrix listener, which serves the homeserver and trusted services."""
    settings = city.settings
    receiver = TransactionReceiver(
        city.database,
        CityQueries(city.agents, city.ghosts, city.matrix_rooms, city.identities),
        hs_token=settings.appservice.hs_token.get_secret_value(),
        now_ms=now_ms,
        on_stored=lambda: city.bus.publish(InboxChanged()),
        on_ephemeral=city.user_presence.apply_events,
    )
    user_presence_query = UserPresenceQuery(
        city.homeserver, city.monitor, city.identities, city.user_presence, city.observer_coverage, steady_ms
    )
    internal = InternalPresenceRoutes(city.agents, city.presence, user_presence_query, city.identities, steady_ms)
    health = HealthRoutes(city.readiness)
    third_party = ThirdParty(
        city.database, city.agents, city.identities, hs_token=settings.appservice.hs_token.get_secret_value()
    )
    hosts = Hosts([settings.appservice.address, *settings.api.allowed_hosts], "appservice.address")
    others: list[Streaming] = [third_party, MetricsRoute(city.metrics, city.stored_metrics.refresh)]
    connections = TcpConnections("matrix", matrix_listener_limits(settings.limits, open_files()), Addresses(()))
    app = matrix_application(
        [internal, health], receiver, InternalAuthenticator(settings), hosts, connections, others=others
    )
    return Listener(
        "matrix", app, settings.matrix.host, settings.matrix.port, connections, logs_requests=settings.logging.access
    )
