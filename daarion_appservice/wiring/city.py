"""The composition root: build every part of the service, give each what it needs, and run nothing yet."""

from __future__ import annotations

from ..agents.core import AgentsCore
from ..agents.image_inputs import ImageInputs
from ..agents.metrics import CoreMetrics
from ..agents.reply_worker import ReplyWorker
from ..agents.second_me import SecondMe
from ..agents.second_me_availability import SecondMeAvailability
from ..city.accounts import Accounts
from ..city.agent_mentions import AgentMentions
from ..city.agent_replies import AgentReplies
from ..city.agents import AgentDirectory
from ..city.identity import Identities
from ..city.media_links import MediaLinks
from ..city.member_log import MemberLog
from ..city.membership import Membership
from ..city.message_edits import MessageEdits
from ..city.message_formatting import MatrixMessageFormatter
from ..city.messages import Messages
from ..city.online_counts import OnlineCounts
from ..city.online_members import OnlineMembers
from ..city.permissions import MatrixRoomPermissions
from ..city.places import PlaceDirectory
from ..city.reactions import Reactions
from ..city.rooms import Rooms
from ..city.tokens import TokenDirectory
from ..city.types import Room, person_subject
from ..city.typing_and_receipts import TypingAndReceipts
from ..clock import new_id, now_ms, steady_ms
from ..config import Settings
from ..errors import ExitCode, StartError
from ..http.websocket.room import RoomFrames
from ..matrix.backfill.federated_history import FederatedHistoryChecks
from ..matrix.backfill.gap_backfill import GapBackfill
from ..matrix.backfill.invitations import Invitations
from ..matrix.backfill.late_events import LateEventWriter
from ..matrix.backfill.metrics import MissedEvents
from ..matrix.backfill.room_backfill import Backfill
from ..matrix.backfill.room_history import RoomHistories
from ..matrix.backfill.sweeper import Sweeper
from ..matrix.client.homeserver import Homeserver
from ..matrix.client.monitor import HomeserverMonitor
from ..matrix.client.openid import OpenId
from ..matrix.ghosts.ghosts import Ghosts
from ..matrix.ghosts.media import MediaRepository
from ..matrix.ghosts.role_field import RoleFieldWriter
from ..matrix.ghosts.status_text import StatusTextWriter
from ..matrix.inbound.confirmation import Confirmation
from ..matrix.inbound.direct_chats import DirectChatHandlers
from ..matrix.inbound.dispatch import EventHandlers
from ..matrix.inbound.members import MemberEvents
from ..matrix.inbound.messages import MessageEvents
from ..matrix.inbound.room_state import RoomStateEvents
from ..matrix.inbound.worker import InboundWorker
from ..matrix.outbound.receipts import ReceiptSender
from ..matrix.outbound.rendering import OutboxRenderer
from ..matrix.outbound.typing import TypingSender
from ..matrix.outbound.worker import OutboundWorker
from ..matrix.presence.observer import Observer
from ..matrix.presence.observer_coverage import ObserverCoverage
from ..matrix.presence.sender import PresenceSender
from ..matrix.presence.timeout_probe import PresenceTimeoutProbe
from ..matrix.presence.transport import PresenceTransportChooser
from ..matrix.presence.typing import RemoteTyping
from ..matrix.presence.user_presence import UserPresence
from ..matrix.reconcile.adoption import Adoption
from ..matrix.reconcile.direct_chats import DirectChats
from ..matrix.reconcile.ghost_removal import GhostRemoval
from ..matrix.reconcile.invitation_decline import InvitationDecliner
from ..matrix.reconcile.membership_cache import MembershipCache
from ..matrix.reconcile.reconciler import Reconciler
from ..matrix.reconcile.rooms import MatrixRooms
from ..matrix.reconcile.upgrades import RoomUpgrades
from ..ops.metrics import process_registry
from ..realtime.bus import Bus
from ..realtime.citizen_names import CitizenNames
from ..realtime.directory_cache import DirectoryCache
from ..realtime.feed_writer import AgentFeedWriter
from ..realtime.presence_memory import MemoryPresence
from ..realtime.presence_redis import RedisPresence
from ..realtime.presence_stream import PresenceStream
from ..realtime.redis_client import connect
from ..realtime.redis_sessions import RedisSessions
from ..realtime.room_streams import RoomStreams
from ..realtime.room_typing import RoomTypingState
from ..realtime.room_updates import RoomUpdates
from ..realtime.shared_bus import SharedBus
from ..realtime.supervisor import Supervisor
from ..storage.database import Database
from ..storage.leader_lock import LeaderLock


class City:
    """Every part of the service, put together but not running."""

    def __init__(self, settings: Settings) -> None:
        _check_tokens(settings)
        self.settings = settings
        self.name = new_id()
        """Of this process, among those of the same city."""
        links = MediaLinks(
            settings.appservice.as_token.get_secret_value(), now_ms, all_are_private=not settings.api.anonymous_read
        )
        self.namespace = Identities(settings.homeserver.domain, settings.appservice.bot, links)
        self.database = Database(settings.database.url, pool_size=settings.database.pool_size)
        self.homeserver = Homeserver(
            settings.homeserver.address,
            settings.appservice.as_token.get_secret_value(),
            verify_tls=settings.homeserver.verify_tls,
        )
        self.watch = HomeserverMonitor(self.homeserver, settings.appservice.id, settings.appservice.address)
        self.bus, self.supervisor, self.metrics = Bus(), Supervisor(), process_registry()

        # the city
        self.agents, self.places = AgentDirectory(), PlaceDirectory()
        self.tokens = TokenDirectory()
        self.occupancy = OnlineMembers()
        self.registry = DirectoryCache(self.database, self.bus.publish, self.agents, self.places, self.tokens)
        self.lease = LeaderLock(self.database, shares_presence=bool(settings.redis.url))
        self.redis = connect(settings.redis.url, cluster=settings.redis.cluster) if settings.redis.url else None
        self.presence = self._presence_store()
        self.shared_bus = SharedBus(self.redis, self.bus, self.name) if self.redis else None
        self.memberships = MembershipCache(self.database, self.bus, self.occupancy, self.namespace)
        self.census = OnlineCounts(self.occupancy)
        self.room_typing = RoomTypingState()
        room_frames = RoomFrames(self.presence, self.occupancy, self.namespace, steady_ms)
        self.room_streams, self.room_updates = (
            RoomStreams(self.database, self.occupancy, self.room_typing, room_frames),
            RoomUpdates(self.database, self.occupancy, room_frames),
        )
        self.stream = PresenceStream(self.presence.state, steady_ms, seq=self.presence.seq)
        self.agents_online = AgentFeedWriter(self.database, self.agents, now_ms, new_id)
        self.rooms = Rooms(self.database, self.bus.publish, now_ms, new_id)
        wording, doorkeeper = (
            MatrixMessageFormatter(self.agents, self.namespace),
            MatrixRoomPermissions(self.namespace, self.agents),
        )
        self.answers = AgentReplies(self.agents, AgentMentions(self.agents, self.namespace.agent), now_ms, new_id)
        self.room_members = MemberLog(self.namespace, now_ms, new_id)
        self.messages = Messages(
            self.database, self.bus.publish, wording, doorkeeper, self.room_members, self.answers, now_ms, new_id
        )
        self.changes = MessageEdits(self.database, self.bus.publish, wording, doorkeeper, self.answers, now_ms, new_id)
        self.reactions = Reactions(self.database, self.bus.publish, doorkeeper, now_ms, new_id)

        self.membership = Membership(
            self.database, self.bus.publish, self.room_members, doorkeeper, self.agents, new_id
        )
        self.attention = TypingAndReceipts(self.database, self.bus.publish, doorkeeper)

        # Matrix
        self.message_events = MessageEvents(self.namespace, self.messages, self.changes, self.reactions)
        self.handlers = EventHandlers(
            self.message_events,
            MemberEvents(self.namespace, self.room_members, now_ms),
            RoomStateEvents(self.namespace, self.rooms),
            self._chat_events(),
        )
        self._take_events_in()
        self.ghosts = Ghosts(
            self.homeserver, self.database, self.namespace, self.room_members, self.occupancy, self.bus.publish
        )
        upgrades = RoomUpgrades(
            self.homeserver,
            self.database,
            self.namespace,
            self.rooms,
            self.ghosts,
            self.inbound,
            self.bus.publish,
            now_ms,
        )
        self.matrix_rooms = MatrixRooms(
            self.homeserver,
            self.database,
            self.namespace,
            self.room_members,
            upgrades,
            self.bus.publish,
            city_name=settings.city.name,
            version=settings.city.room_version,
            federate=settings.city.federate,
        )
        self.adoption = Adoption(self.homeserver, self.database, self.namespace, self.rooms, self.matrix_rooms)
        self.mirror = PresenceSender(
            PresenceTransportChooser(self.homeserver, may_use_module=settings.presence.synapse_module == "auto"),
            self.watch,
            self.ghosts,
            self.namespace,
            StatusTextWriter(self.homeserver, self.ghosts, self.namespace),
            PresenceTimeoutProbe(self.homeserver, self.watch, self.database, self.namespace),
            steady_ms,
            refresh_s=settings.presence.refresh_s,
            requests_per_s=settings.presence.requests_per_s,
            in_flight=settings.presence.requests_in_flight,
        )
        self.outbound = OutboundWorker(
            self.database,
            self.homeserver,
            self.watch,
            self.ghosts,
            self.agents,
            OutboxRenderer(self.messages, self.room_members, self.namespace),
            self.namespace,
            self.bus.publish,
            steady_ms,
            on_new_ghost=self.mirror.ghost_ready,
            on_spoke=self.mirror.spoke,
        )
        self.typing_out = TypingSender(
            self.homeserver, self.watch, self.database, self.namespace, self.occupancy, on_spoke=self.mirror.spoke
        )
        self.receipts_out = ReceiptSender(
            self.homeserver,
            self.watch,
            self.database,
            self.namespace,
            self.ghosts,
            self.occupancy,
            on_spoke=self.mirror.spoke,
        )
        self._see_people()
        self.housekeeping = self._housekeeping()

        self._have_agents_answer()
        self._have_direct_chats()

    def _take_events_in(self) -> None:
        histories = RoomHistories(self.homeserver)
        self.late = LateEventWriter(self.database, self.namespace, MissedEvents(self.metrics), now_ms)
        self.catch_up = GapBackfill(
            histories,
            self.late,
            Invitations(self.database, self.namespace),
            self.database,
            self.watch,
            self.namespace,
            self.bus.publish,
            now_ms,
        )
        self.sweeper = Sweeper(
            self.catch_up, self.watch, self.agents, self.namespace, every_s=self.settings.homeserver.sweep_s
        )
        self.federated_histories = FederatedHistoryChecks(
            histories,
            self.catch_up,
            self.late,
            self.database,
            self.watch,
            self.namespace,
            self._refresh_state,
            steady_ms,
        )
        self.inbound = InboundWorker(
            self.database,
            self.handlers,
            self.watch,
            self.catch_up,
            Confirmation(self.homeserver, self.database, self.namespace, self.handlers.types, self.metrics, steady_ms),
            self.bus.publish,
            steady_ms,
            on_event=self.federated_histories.follow,
        )

    async def _refresh_state(self, room: Room) -> None:
        await self.inbound.refresh_state(room)

    def _housekeeping(self) -> Reconciler:
        roles = RoleFieldWriter(self.homeserver, self.ghosts, self.namespace)
        return Reconciler(
            self.database,
            self.homeserver,
            self.watch,
            self.matrix_rooms,
            self.ghosts,
            self.agents,
            self.namespace,
            self.mirror,
            self.outbound,
            self.observer,
            roles,
            GhostRemoval(
                self.homeserver, self.watch, self.database, self.ghosts, roles, self.agents, self.namespace, now_ms
            ),
            city_name=self.settings.city.name,
        )

    def _see_people(self) -> None:
        self.people = UserPresence(
            self.presence,
            self.namespace,
            steady_ms,
            is_member=lambda user: bool(self.occupancy.rooms_of(person_subject(user))),
        )
        self.sight = ObserverCoverage(self.occupancy)
        self.typing = RemoteTyping(self.namespace, self.bus.publish)
        self.observer = Observer(
            self.homeserver,
            self.watch,
            self.ghosts,
            self.namespace,
            self.people,
            self.sight,
            self.typing,
            say_again_s=self.settings.presence.heartbeat_s,
        )

    def _have_agents_answer(self) -> None:
        settings = self.settings
        self.core = AgentsCore(settings.agents_core, steady_ms, CoreMetrics(self.metrics))
        self.citizen_names = CitizenNames(self.database, now_ms)
        self.accounts = Accounts(self.database, OpenId(self.homeserver, self.namespace), now_ms)
        self.second_me = SecondMe(self.core, self.database, now_ms, new_id, agent_id=settings.city.second_me)
        self.second_me_here = SecondMeAvailability(
            self.second_me, self.presence, heartbeat_s=settings.presence.heartbeat_s
        )
        self.media = MediaRepository(self.homeserver, self.watch, self.ghosts)
        self.answerer = ReplyWorker(
            self.core,
            self.second_me,
            self.accounts,
            self.database,
            self.agents,
            self.presence,
            self.messages,
            self.changes,
            self.answers,
            ImageInputs(self.media.picture, max_bytes=settings.agents_core.max_image_bytes),
            self.bus.publish,
            now_ms,
            patience_ms=int(settings.presence.ttl_s * 1000),
        )

    def _chat_events(self) -> DirectChatHandlers:
        return DirectChatHandlers(self.namespace, self.agents, now_ms, new_id)

    def _have_direct_chats(self) -> None:
        self.decliner = InvitationDecliner(
            self.homeserver,
            self.watch,
            self.database,
            self.ghosts,
            self._chat_events(),
            self.namespace,
            self.bus.publish,
            now_ms,
        )
        self.direct_chats = DirectChats(
            self.database,
            self.homeserver,
            self.watch,
            self.ghosts,
            self.agents,
            self.messages,
            self.namespace,
            self.inbound,
            steady_ms,
        )

    def _presence_store(self) -> MemoryPresence | RedisPresence:
        ttl_ms = int(self.settings.presence.ttl_s * 1000)
        if self.redis is None:
            return MemoryPresence(self.bus.publish, steady_ms, ttl_ms=ttl_ms)
        sessions = RedisSessions(self.redis, name=self.name, ttl_ms=ttl_ms)
        return RedisPresence(sessions, self.bus.publish, steady_ms, ttl_ms=ttl_ms)

    @property
    def backfill(self) -> Backfill:
        """The backfill of rooms, for the command line."""
        return Backfill(self.homeserver, self.database, self.namespace, self.message_events, self.late, now_ms)

    async def close(self) -> None:
        self.stream.close()
        await self.room_streams.close()
        await self.room_updates.close()
        self.room_typing.close()
        await self.core.close()
        await self.homeserver.close()
        if self.redis is not None:
            await self.redis.aclose()
        await self.lease.release()
        await self.database.close()


def _check_tokens(settings: Settings) -> None:
    for name, token in (("as_token", settings.appservice.as_token), ("hs_token", settings.appservice.hs_token)):
        if not token.get_secret_value():
            raise StartError(
                f"appservice.{name} is not set, so Synapse and the city cannot trust each other.",
                "Run `daarion-appservice registration generate`: it makes both tokens and tells the next steps.",
                ExitCode.REGISTRATION,
            )
