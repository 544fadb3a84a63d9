"""Builds the two HTTP servers, the city listener and the matrix listener, from the parts of a city."""

from __future__ import annotations

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
from ..http.media_transfers import MediaTransfers
from ..http.registry_writer import RegistryWriter
from ..http.room_lists import RoomLists
from ..http.room_responses import CachedRoomResponses
from ..http.routes.agent_tokens import AgentTokenRoutes
from ..http.routes.agents import AgentRoutes
from ..http.routes.citizens import CitizenRoutes
from ..http.routes.direct import DirectChatRoutes
from ..http.routes.encryption import EncryptionRoutes
from ..http.routes.feed import FeedRoutes
from ..http.routes.health import HealthRoutes
from ..http.routes.internal import InternalPresenceRoutes
from ..http.routes.me import MeRoutes
from ..http.routes.media_download import MediaDownload
from ..http.routes.media_upload import MediaUpload
from ..http.routes.members import MemberRoutes
from ..http.routes.messages import MessageRoutes
from ..http.routes.metrics import MetricsRoute
from ..http.routes.people import PeopleRoutes
from ..http.routes.people_export import PeopleExport
from ..http.routes.places import PlaceRoutes
from ..http.routes.polls import PollRoutes
from ..http.routes.presence import PresenceEvents, PresenceRoutes
from ..http.routes.profile_cards import ProfileCardRoutes
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
from ..http.servers import Listener, Streaming, city_application, matrix_application
from ..http.static_pages import DIST, StaticPages
from ..http.websocket.presence import PresenceSocket
from ..http.websocket.room import RoomSocket, RoomSocketParts
from ..matrix.inbound.thirdparty import ThirdParty
from ..matrix.inbound.transactions import TransactionReceiver
from ..matrix.presence.user_presence import UserPresenceQuery
from ..matrix.reconcile.queries import CityQueries
from .city import City


def build_city_server(city: City) -> Listener:
    """Build the city listener, which serves browsers, agents and the city's pages."""
    settings = city.settings
    avatars = AgentAvatars(city.database)
    views = AgentViews(city.presence, city.places, city.identities, avatars, steady_ms)
    agents = AgentRoutes(
        city.agents,
        city.places,
        city.presence,
        views,
        heartbeat_ms=int(settings.presence.heartbeat_s * 1000),
        ttl_ms=int(settings.presence.ttl_s * 1000),
    )
    readers = ReaderMemberships(city.identities)
    authors = ActorDirectory(city.database, city.agents, city.identities)
    pages = CachedRoomResponses(city.database, city.identities, readers)
    lists = RoomLists(city.database, city.online_members, city.identities, readers, city.read_mark_writer)
    registry = RegistryWriter(RegistryEditor(city.database, now_ms), city.registry)
    rooms = RoomRoutes(
        pages,
        lists,
        city.rooms,
        city.person_presence,
        city.online_members,
        city.identities,
        steady_ms,
    )
    members = MemberRoutes(
        city.membership, city.typing_and_receipts, city.notification_modes, authors, city.online_members
    )
    messages = MessageRoutes(pages, city.messages, city.message_edits, city.reactions, authors, city.identities)
    polls = PollRoutes(city.polls, authors, city.identities)
    feed = FeedRoutes(
        city.database,
        city.online_counts,
        city.online_members,
        city.identities,
        readers,
        lambda: city.second_me.is_available,
    )
    presence = PresenceRoutes(
        city.presence, city.person_presence, city.online_counts, steady_ms, pages.unlisted, city.citizen_names
    )
    authenticator = CityAuthenticator(
        TokenPrincipals(settings, city.tokens, city.registry, city.identities.erased),
        RequestLimits(settings, city.redis),
    )
    may_read = settings.api.anonymous_read
    origins = Origins(settings.api.allowed_origins)
    socket = PresenceSocket(
        city.presence,
        city.stream,
        city.citizen_names,
        city.room_updates,
        city.unread_stream,
        authenticator,
        origins,
        anonymous_read=may_read,
    )
    events = PresenceEvents(city.stream, authenticator, anonymous_read=may_read)
    parts = RoomSocketParts(
        city.database,
        city.room_streams,
        city.messages,
        city.typing_and_receipts,
        authors,
        readers,
    )
    room_socket = RoomSocket(parts, authenticator, origins, anonymous_read=may_read)
    transfers = MediaTransfers(authenticator.limits, settings.media.transfers)
    upload = MediaUpload(
        city.database,
        city.media,
        transfers,
        authors,
        city.identities,
        authenticator,
        now_ms,
        settings.media,
    )
    download = MediaDownload(
        city.database,
        city.media,
        transfers,
        authors,
        city.identities,
        readers,
        authenticator,
        settings.media,
        anonymous_read=may_read,
    )
    connections = TcpConnections(
        "api", city_listener_limits(settings.limits, open_files()), authenticator.limits.addresses
    )
    second_me, invoke = SecondMeRoutes(city.second_me), SecondMeInvoke(city.second_me, authenticator)
    export = PeopleExport(city.database, city.identities, city.presence, authenticator, now_ms)
    previews = LinkPreviews(settings, pages, city.agents, city.places, avatars, city.identities)
    issue = JwtIssue(settings.api.jwt, lifetime_s=settings.sign_in.token_lifetime_s)
    app = city_application(
        [
            SiteRoutes(settings),
            SignInRoutes(settings.sign_in, city.accounts, city.nonces, issue, new_id),
            rooms,
            members,
            messages,
            ThreadRoutes(pages),
            SearchRoutes(city.database, readers, city.identities),
            polls,
            agents,
            PlaceRoutes(registry, city.places, city.presence, views),
            RegistryRoutes(registry, city.agents, views),
            AgentTokenRoutes(city.database, city.registry, now_ms, new_id),
            EncryptionRoutes(city.database, city.identities, settings.encryption),
            UndeliveredRoutes(city.database, now_ms),
            PeopleRoutes(city.database, city.identities, city.bus.publish, city.account_cache.load, now_ms, new_id),
            presence,
            feed,
            second_me,
            MeRoutes(city.accounts),
            CitizenRoutes(city.citizen_names),
            ProfileCardRoutes(
                city.database,
                city.agents,
                city.identities,
                city.online_members,
                city.person_presence,
                readers,
                steady_ms,
            ),
            DirectChatRoutes(
                city.database, city.citizen_chats, authors, city.identities, readers, city.read_mark_writer
            ),
            UnreadRoutes(city.database, readers),
            ReceiptRoutes(city.database, readers, city.online_members, city.identities),
        ],
        [upload, download, socket, events, room_socket, invoke, export],
        authenticator,
        settings.api,
        connections,
        StaticPages(settings.web, authenticator.limits, previews, DIST) if settings.web.enabled else None,
    )
    return Listener(
        "api", app, settings.api.host, settings.api.port, connections, logs_requests=settings.logging.access
    )


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
