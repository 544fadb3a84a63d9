"""The composition root: builds every part of the service with its dependencies and starts none of them."""

from __future__ import annotations

from functools import partial

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
from ..matrix.presence.transport import choose_transport
from ..matrix.presence.typing import RemoteTyping
from ..matrix.presence.user_presence import UserPresence
from ..matrix.reconcile.adoption import Adoption
from ..matrix.reconcile.direct_chats import DirectChats
from ..matrix.reconcile.ghost_removal import GhostRemoval
from ..matrix.reconcile.invitation_decline import InvitationDecliner
from ..matrix.reconcile.membership_cache import MembershipCache
from ..matrix.reconcile.reconciler import Reconciler
from ..matrix.reconcile.room_backfill import Backfill
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
    """Every part of the service, connected but not running."""

    def __init__(self, settings: Settings) -> None:
        _check_tokens(settings)
        self.settings = settings
        self.name = new_id()
        """The name of this process among the processes of the same city."""
        links = MediaLinks(
            settings.appservice.as_token.get_secret_value(), now_ms, all_are_private=not settings.api.anonymous_read
        )
        self.identities = Identities(settings.homeserver.domain, settings.appservice.bot, links)
        self.database = Database(settings.database.url, pool_size=settings.database.pool_size)
        self.homeserver = Homeserver(
            settings.homeserver.address,
            settings.appservice.as_token.get_secret_value(),
            verify_tls=settings.homeserver.verify_tls,
        )
        self.monitor = HomeserverMonitor(self.homeserver, settings.appservice.id, settings.appservice.address)
        self.bus, self.supervisor, self.metrics = Bus(), Supervisor(), process_registry()

        # the city
        self.agents, self.places = AgentDirectory(), PlaceDirectory()
        self.tokens = TokenDirectory()
        self.online_members = OnlineMembers()
        self.registry = DirectoryCache(self.database, self.bus.publish, self.agents, self.places, self.tokens)
        self.lease = LeaderLock(self.database, shares_presence=bool(settings.redis.url))
        self.redis = connect(settings.redis.url, cluster=settings.redis.cluster) if settings.redis.url else None
        self.presence = self._presence_store()
        self.shared_bus = SharedBus(self.redis, self.bus, self.name) if self.redis else None
        self.memberships = MembershipCache(self.database, self.bus.hear, self.online_members, self.identities)
        self.online_counts = OnlineCounts(self.online_members)
        self.room_typing = RoomTypingState()
        room_frames = RoomFrames(self.presence, self.online_members, self.identities, steady_ms)
        self.room_streams, self.room_updates = (
            RoomStreams(self.database, self.online_members, self.room_typing, room_frames),
            RoomUpdates(self.database, self.online_members, room_frames),
        )
        self.stream = PresenceStream(self.presence.state, steady_ms, seq=self.presence.seq)
        self.feed_writer = AgentFeedWriter(self.database, self.agents, now_ms, new_id)
        self.rooms = Rooms(self.database, self.bus.publish, now_ms, new_id)
        formatter, permissions = (
            MatrixMessageFormatter(self.agents, self.identities),
            MatrixRoomPermissions(self.identities, self.agents),
        )
        self.answers = AgentReplies(self.agents, AgentMentions(self.agents, self.identities.agent), now_ms, new_id)
        self.room_members = MemberLog(self.identities, now_ms, new_id)
        self.messages = Messages(
            self.database, self.bus.publish, formatter, permissions, self.room_members, self.answers, now_ms, new_id
        )
        self.changes = MessageEdits(
            self.database, self.bus.publish, formatter, permissions, self.answers, now_ms, new_id
        )
        self.reactions = Reactions(self.database, self.bus.publish, permissions, now_ms, new_id)

        self.membership = Membership(
            self.database, self.bus.publish, self.room_members, permissions, self.agents, new_id
        )
        self.typing_and_receipts = TypingAndReceipts(self.database, self.bus.publish, permissions)

        # Matrix
        self.message_events = MessageEvents(self.identities, self.messages, self.changes, self.reactions)
        self.handlers = EventHandlers(
            self.message_events,
            MemberEvents(self.identities, self.room_members, now_ms),
            RoomStateEvents(self.identities, self.rooms),
            self._chat_events(),
        )
        self._take_events_in()
        self.ghosts = Ghosts(
            self.homeserver, self.database, self.identities, self.room_members, self.online_members, self.bus.publish
        )
        upgrades = RoomUpgrades(
            self.homeserver,
            self.database,
            self.identities,
            self.rooms,
            self.ghosts,
            self.inbound,
            self.bus.publish,
            now_ms,
        )
        self.matrix_rooms = MatrixRooms(
            self.homeserver,
            self.database,
            self.identities,
            self.room_members,
            upgrades,
            self.bus.publish,
            city_name=settings.city.name,
            version=settings.city.room_version,
            federate=settings.city.federate,
        )
        self.adoption = Adoption(self.homeserver, self.database, self.identities, self.rooms, self.matrix_rooms)
        self.presence_sender = PresenceSender(
            partial(choose_transport, self.homeserver, may_use_module=settings.presence.synapse_module == "auto"),
            self.monitor,
            self.ghosts,
            self.identities,
            StatusTextWriter(self.homeserver, self.ghosts, self.identities),
            PresenceTimeoutProbe(self.homeserver, self.monitor, self.database, self.identities),
            steady_ms,
            refresh_s=settings.presence.refresh_s,
            requests_per_s=settings.presence.requests_per_s,
            max_in_flight=settings.presence.requests_in_flight,
        )
        self.outbound = OutboundWorker(
            self.database,
            self.homeserver,
            self.monitor,
            self.ghosts,
            self.agents,
            OutboxRenderer(self.messages, self.room_members, self.identities),
            self.identities,
            self.bus.publish,
            steady_ms,
            on_new_ghost=self.presence_sender.ghost_ready,
            on_spoke=self.presence_sender.message_sent,
        )
        self.typing_sender = TypingSender(
            self.homeserver,
            self.monitor,
            self.database,
            self.identities,
            self.online_members,
            on_spoke=self.presence_sender.message_sent,
        )
        self.receipt_sender = ReceiptSender(
            self.homeserver,
            self.monitor,
            self.database,
            self.identities,
            self.ghosts,
            self.online_members,
            on_spoke=self.presence_sender.message_sent,
        )
        self._see_people()
        self.reconciler = self._reconciler()

        self._have_agents_answer()
        self._have_direct_chats()

    def _take_events_in(self) -> None:
        histories = RoomHistories(self.homeserver)
        self.late = LateEventWriter(self.database, self.identities, MissedEvents(self.metrics), now_ms)
        self.gap_backfill = GapBackfill(
            histories,
            self.late,
            Invitations(self.database, self.identities),
            self.database,
            self.monitor,
            self.identities,
            self.bus.publish,
            now_ms,
        )
        self.sweeper = Sweeper(
            self.gap_backfill, self.monitor, self.agents, self.identities, every_s=self.settings.homeserver.sweep_s
        )
        self.federated_histories = FederatedHistoryChecks(
            histories,
            self.gap_backfill,
            self.late,
            self.database,
            self.monitor,
            self.identities,
            self._refresh_state,
            steady_ms,
        )
        self.inbound = InboundWorker(
            self.database,
            self.handlers,
            self.monitor,
            self.gap_backfill,
            Confirmation(self.homeserver, self.database, self.identities, self.handlers.types, self.metrics, steady_ms),
            self.bus.publish,
            steady_ms,
            on_event=self.federated_histories.follow,
        )

    async def _refresh_state(self, room: Room) -> None:
        await self.inbound.refresh_state(room)

    def _reconciler(self) -> Reconciler:
        roles = RoleFieldWriter(self.homeserver, self.ghosts, self.identities)
        return Reconciler(
            self.database,
            self.homeserver,
            self.monitor,
            self.matrix_rooms,
            self.ghosts,
            self.agents,
            self.identities,
            self.presence_sender,
            self.outbound,
            self.observer,
            roles,
            GhostRemoval(
                self.homeserver, self.monitor, self.database, self.ghosts, roles, self.agents, self.identities, now_ms
            ),
            city_name=self.settings.city.name,
        )

    def _see_people(self) -> None:
        self.people = UserPresence(
            self.presence,
            self.identities,
            steady_ms,
            is_member=lambda user: bool(self.online_members.rooms_of(person_subject(user))),
        )
        self.observer_coverage = ObserverCoverage(self.online_members)
        self.typing = RemoteTyping(self.identities, self.bus.publish)
        self.observer = Observer(
            self.homeserver,
            self.monitor,
            self.ghosts,
            self.identities,
            self.people,
            self.observer_coverage,
            self.typing,
            say_again_s=self.settings.presence.heartbeat_s,
        )

    def _have_agents_answer(self) -> None:
        settings = self.settings
        self.core = AgentsCore(settings.agents_core, steady_ms, CoreMetrics(self.metrics))
        self.citizen_names = CitizenNames(self.database, now_ms)
        self.accounts = Accounts(self.database, OpenId(self.homeserver, self.identities), now_ms)
        self.second_me = SecondMe(self.core, self.database, now_ms, new_id, agent_id=settings.city.second_me)
        self.second_me_availability = SecondMeAvailability(
            self.second_me, self.presence, heartbeat_s=settings.presence.heartbeat_s
        )
        self.media = MediaRepository(self.homeserver, self.monitor, self.ghosts)
        self.reply_worker = ReplyWorker(
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
        return DirectChatHandlers(self.identities, self.agents, now_ms, new_id)

    def _have_direct_chats(self) -> None:
        self.invitation_decliner = InvitationDecliner(
            self.homeserver,
            self.monitor,
            self.database,
            self.ghosts,
            self._chat_events(),
            self.identities,
            self.bus.publish,
            now_ms,
        )
        self.direct_chats = DirectChats(
            self.database,
            self.homeserver,
            self.monitor,
            self.ghosts,
            self.agents,
            self.messages,
            self.identities,
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
        """A backfill of whole rooms, for the command line."""
        return Backfill(self.homeserver, self.database, self.identities, self.message_events, self.late, now_ms)

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
