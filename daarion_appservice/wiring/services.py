"""The first layer of the composition root: storage, event bus, presence and the services of the city."""

from __future__ import annotations

from ..city.agent_mentions import AgentMentions
from ..city.agent_replies import AgentReplies
from ..city.agents import AgentDirectory
from ..city.citizen_chats import CitizenChats
from ..city.identity import Identities
from ..city.media_links import MediaLinks
from ..city.member_log import MemberLog
from ..city.member_lookup import MemberLookup
from ..city.membership import Membership
from ..city.message_edits import MessageEdits
from ..city.message_formatting import MessageFormatter
from ..city.messages import Messages
from ..city.notification_modes import NotificationModes
from ..city.online_counts import OnlineCounts
from ..city.online_members import OnlineMembers
from ..city.own_profiles import OwnProfiles
from ..city.permissions import RoomPermissions
from ..city.person_presence import PersonPresence
from ..city.places import PlaceDirectory
from ..city.polls import Polls
from ..city.reactions import Reactions
from ..city.reader_memberships import ReaderMemberships
from ..city.rooms import Rooms
from ..city.tokens import TokenDirectory
from ..city.typing_and_receipts import TypingAndReceipts
from ..clock import new_id, now_ms, steady_ms
from ..config import Settings
from ..config.loading import check_tokens
from ..http.media_urls import MediaUrls
from ..http.websocket.room_frames import RoomFrames
from ..http.websocket.unread_frames import UnreadFrames
from ..matrix.client.homeserver import Homeserver
from ..matrix.client.monitor import HomeserverMonitor
from ..matrix.reconcile.membership_cache import MembershipCache
from ..ops.process_metrics import process_registry
from ..push.client import PushClient
from ..push.notices import PushNotices
from ..push.sender import PushSender
from ..push.vapid import VapidKey
from ..realtime.account_cache import AccountCache
from ..realtime.bus import Bus
from ..realtime.citizen_names import CitizenNames
from ..realtime.directory_cache import DirectoryCache
from ..realtime.feed_writer import AgentFeedWriter
from ..realtime.message_removals import MessageRemovals
from ..realtime.presence_memory import MemoryPresence
from ..realtime.presence_profiles import PresenceProfiles
from ..realtime.presence_redis import RedisPresence
from ..realtime.presence_stream import PresenceStream
from ..realtime.read_mark_writer import ReadMarkWriter
from ..realtime.receipt_writer import ReceiptWriter
from ..realtime.redis_client import connect
from ..realtime.redis_sessions import RedisSessions
from ..realtime.retention import Retention
from ..realtime.room_deletions import RoomDeletions
from ..realtime.room_streams import RoomStreams
from ..realtime.room_typing import RoomTypingState
from ..realtime.room_updates import RoomUpdates
from ..realtime.search_indexer import SearchIndexer
from ..realtime.shared_bus import SharedBus
from ..realtime.supervisor import Supervisor
from ..realtime.unread_stream import UnreadStream
from ..realtime.worker import Worker
from ..storage.database import Database
from ..storage.leader_lock import LeaderLock


class CityServices:
    """The parts of the service below the Matrix packages.

    Raises:
        StartError: ``appservice.as_token`` or ``appservice.hs_token`` is empty.
    """

    def __init__(self, settings: Settings) -> None:
        check_tokens(settings)
        self.settings = settings
        self.name = new_id()
        """The name of this process among the processes of the same city."""
        self._build_infrastructure()
        self._build_presence()
        self._build_messages()
        self._build_streams()
        self._build_push()

    def _build_infrastructure(self) -> None:
        settings = self.settings
        as_token = settings.appservice.as_token.get_secret_value()
        media_links = MediaLinks(as_token, now_ms, all_are_private=not settings.api.anonymous_read)
        self.identities = Identities(settings.homeserver.domain, settings.appservice.bot, media_links)
        self.database = Database(settings.database.url, pool_size=settings.database.pool_size)
        self.homeserver = Homeserver(settings.homeserver.address, as_token, verify_tls=settings.homeserver.verify_tls)
        self.monitor = HomeserverMonitor(self.homeserver, settings.appservice.id, settings.appservice.address)
        self.bus, self.supervisor, self.metrics = Bus(), Supervisor(), process_registry()
        self.redis = connect(settings.redis.url, cluster=settings.redis.cluster) if settings.redis.url else None
        self.shared_bus = SharedBus(self.redis, self.bus, self.name) if self.redis else None
        self.leader_lock = LeaderLock(self.database, shares_presence=bool(settings.redis.url))
        self.agents, self.places, self.tokens = AgentDirectory(), PlaceDirectory(), TokenDirectory()
        self.registry = DirectoryCache(self.database, self.bus.publish, self.agents, self.places, self.tokens)
        self.account_cache = AccountCache(
            self.database, self.identities, self.bus.publish_remote, on_erased=self._forget_erased
        )

    def _forget_erased(self) -> None:
        # The history of the presence stream has names: clients that continue in it get a snapshot instead.
        self.stream.on_canonical_subject_changed([])

    def _build_presence(self) -> None:
        self.presence = self._presence_store()
        self.person_presence = PersonPresence(self.identities.accounts, self.presence.state)
        self.online_members = OnlineMembers()
        self.member_lookup = MemberLookup(self.online_members, self.identities)
        self.online_counts = OnlineCounts(self.online_members)
        self.memberships = MembershipCache(self.database, self.bus.publish_remote, self.online_members, self.identities)
        self.citizen_names = CitizenNames(self.database, self.identities, self.bus.publish, now_ms)

    def _presence_store(self) -> MemoryPresence | RedisPresence:
        ttl_ms = int(self.settings.presence.ttl_s * 1000)
        if self.redis is None:
            return MemoryPresence(self.bus.publish, steady_ms, ttl_ms=ttl_ms)
        sessions = RedisSessions(self.redis, name=self.name, ttl_ms=ttl_ms)
        return RedisPresence(sessions, self.bus.publish, steady_ms, ttl_ms=ttl_ms)

    def _build_messages(self) -> None:
        database, publish = self.database, self.bus.publish
        self.formatter = formatter = MessageFormatter(
            self.agents, self.identities, lambda user: bool(self.online_members.rooms_of(user))
        )
        self.permissions = permissions = RoomPermissions(self.identities, self.agents)
        self.rooms = Rooms(database, publish, now_ms, new_id)
        self.room_members = MemberLog(self.identities, now_ms, new_id)
        self.membership = Membership(database, publish, self.room_members, permissions, self.agents, new_id)
        self.agent_replies = AgentReplies(
            self.agents, AgentMentions(self.agents, self.identities), permissions, now_ms, new_id
        )
        self.messages = Messages(
            database, publish, formatter, permissions, self.room_members, self.agent_replies, now_ms, new_id
        )
        self.message_edits = MessageEdits(database, publish, formatter, permissions, self.agent_replies, now_ms, new_id)
        self.reactions = Reactions(database, publish, permissions, now_ms, new_id)
        self.polls = Polls(database, publish, permissions, now_ms, new_id)
        self.typing_and_receipts = TypingAndReceipts(database, publish, permissions)
        self.citizen_chats = CitizenChats(
            database, publish, self.room_members, self.agents, self.identities, now_ms, new_id
        )
        self.own_profiles = OwnProfiles(database, publish, self.presence, self.account_cache.load, now_ms)
        self.notification_modes = NotificationModes(database, publish, permissions)

    def _build_streams(self) -> None:
        frames = RoomFrames(self.person_presence, self.online_members, self.identities, steady_ms)
        self.room_typing = RoomTypingState()
        self.receipt_writer = ReceiptWriter(
            self.database, self.identities, self.member_lookup, self.bus.publish, now_ms
        )
        self.room_streams = RoomStreams(self.database, self.online_members, self.room_typing, frames)
        self.room_updates = RoomUpdates(self.database, self.online_members, frames)
        self.read_mark_writer = ReadMarkWriter(self.database)
        self.unread_stream = UnreadStream(
            self.database, self.identities, ReaderMemberships(self.identities), UnreadFrames(self.identities)
        )
        self.profiles = PresenceProfiles(
            self.database, self.agents, self.identities, MediaUrls(self.identities.media_links).url
        )
        self.stream = PresenceStream(
            self.person_presence.state, steady_ms, profiles=self.profiles, seq=self.presence.seq
        )
        self.agent_profiles = Worker("agent_profiles", idle_s=None)
        self.search_indexer = SearchIndexer(self.database)
        self.room_deletions = RoomDeletions(self.database, self.rooms)
        self.message_removals = MessageRemovals(
            self.database,
            self.identities,
            self.room_members,
            self.message_edits,
            self.reactions,
            self.polls,
            self.bus.publish,
        )
        self.retention = Retention(self.database, self.settings.retention, self.identities, self.bus.publish, now_ms)
        self.feed_writer = AgentFeedWriter(self.database, self.agents, now_ms, new_id)

    def _build_push(self) -> None:
        settings = self.settings
        self.vapid_key = VapidKey(settings.appservice.as_token.get_secret_value(), settings.push_contact)
        self.push_client = PushClient(self.vapid_key, now_ms, settings.push.private_hosts)
        notices = PushNotices(self.database, self.identities, ReaderMemberships(self.identities))
        self.push_sender = PushSender(self.database, notices, self.push_client, now_ms)

    async def run_agent_profiles(self) -> None:
        """Send the names of agents that change in the registry, until cancelled."""
        await self.agent_profiles.run(self.stream.check_profiles_of_agents, waits_first=True)

    async def close(self) -> None:
        """Close streams, connections and the database, in this order."""
        self.stream.close()
        await self.profiles.close()
        await self.room_streams.close()
        await self.room_updates.close()
        await self.unread_stream.close()
        self.room_typing.close()
        await self.push_client.close()
        await self.homeserver.close()
        if self.redis is not None:
            await self.redis.aclose()
        await self.leader_lock.release()
        await self.database.close()
