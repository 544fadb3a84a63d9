"""The second layer of the composition root: inbound events, reconciliation, outbound events and presence on Matrix."""

from __future__ import annotations

from functools import partial

from ..city.display_name_template import DisplayNameTemplate
from ..city.types import Room, UserId, person_subject
from ..clock import new_id, now_ms, steady_ms
from ..config import Settings
from ..matrix.avatars.drawn_avatars import DrawnAvatars
from ..matrix.backfill.federated_history import FederatedHistoryChecks
from ..matrix.backfill.gap_backfill import GapBackfill
from ..matrix.backfill.invitations import Invitations
from ..matrix.backfill.late_events import LateEventWriter
from ..matrix.backfill.metrics import MissedEvents
from ..matrix.backfill.room_history import RoomHistories
from ..matrix.backfill.sweeper import Sweeper
from ..matrix.encryption.metrics import EncryptionMetrics
from ..matrix.erasure.city_data import CityDataErasure
from ..matrix.erasure.homeserver_data import HomeserverDataErasure
from ..matrix.erasure.worker import ErasureWorker
from ..matrix.ghosts.ghosts import Ghosts
from ..matrix.ghosts.media import MediaRepository
from ..matrix.ghosts.profile_fields import RoleFieldWriter, StatusTextWriter
from ..matrix.ghosts.profiles import Profiles
from ..matrix.inbound.bot_chats import BotChatHandlers
from ..matrix.inbound.confirmation import Confirmation
from ..matrix.inbound.direct_chats import DirectChatHandlers
from ..matrix.inbound.dispatch import EventHandlers
from ..matrix.inbound.members import MemberEvents
from ..matrix.inbound.messages import MessageEvents
from ..matrix.inbound.polls import PollEvents
from ..matrix.inbound.room_state import RoomStateEvents
from ..matrix.inbound.undecrypted import UndecryptedWorker
from ..matrix.inbound.worker import InboundWorker
from ..matrix.outbound.delivery import OutboxDelivery
from ..matrix.outbound.receipts import ReceiptSender
from ..matrix.outbound.rendering import OutboxRenderer
from ..matrix.outbound.typing import TypingSender
from ..matrix.outbound.verification_declines import VerificationDeclines
from ..matrix.outbound.worker import OutboundWorker
from ..matrix.presence.event_times import EventTimes
from ..matrix.presence.observer import Observer
from ..matrix.presence.observer_coverage import ObserverCoverage
from ..matrix.presence.receipt_observer import ReceiptObserver
from ..matrix.presence.receipts import RemoteReceipts
from ..matrix.presence.sender import PresenceSender
from ..matrix.presence.timeout_probe import PresenceTimeoutProbe
from ..matrix.presence.transport import choose_transport
from ..matrix.presence.typing import RemoteTyping
from ..matrix.presence.user_presence import UserPresence
from ..matrix.reconcile.adoption import Adoption
from ..matrix.reconcile.agent_ghosts import AgentGhosts
from ..matrix.reconcile.citizen_chats import CitizenChatRooms
from ..matrix.reconcile.direct_chats import DirectChats
from ..matrix.reconcile.ghost_removal import GhostRemoval
from ..matrix.reconcile.invitation_decline import InvitationDecliner
from ..matrix.reconcile.power_notices import PowerNotices
from ..matrix.reconcile.read_only_rooms import ReadOnlyRooms
from ..matrix.reconcile.reconciler import Reconciler
from ..matrix.reconcile.room_admins import RoomAdmins
from ..matrix.reconcile.room_appearance import RoomAppearance
from ..matrix.reconcile.room_backfill import Backfill
from ..matrix.reconcile.room_creation import RoomCreator
from ..matrix.reconcile.room_links import RoomLinks
from ..matrix.reconcile.room_metadata import RoomMetadata
from ..matrix.reconcile.room_removal import RoomRemoval
from ..matrix.reconcile.room_store import RoomStore
from ..matrix.reconcile.rooms import MatrixRooms
from ..matrix.reconcile.space import CitySpace
from ..matrix.reconcile.upgrades import RoomUpgrades
from .encryption import EncryptionParts
from .services import CityServices


class MatrixParts(CityServices):
    """The parts that talk with the homeserver, on top of the city's services."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.drawn_avatars = DrawnAvatars(self.homeserver, self.database, self.identities.bot)
        self.encryption_metrics = EncryptionMetrics(self.metrics)
        self.encryption = EncryptionParts(
            settings.encryption,
            self.homeserver,
            self.database,
            self.identities,
            self.monitor,
            self.encryption_metrics,
            self.bus.publish,
            download=self._download,
            known_ghosts=self._known_ghosts,
        )
        self.ghosts = Ghosts(
            self.homeserver,
            self.database,
            self.identities,
            self.room_members,
            self.online_members,
            self.bus.publish,
            self.drawn_avatars,
            Profiles(settings.city.name, DisplayNameTemplate(settings.city.agent_display_name)),
            on_registered=self.encryption.on_registered,
        )
        self.media = MediaRepository(self.homeserver, self.monitor, self.ghosts)
        self._build_inbound()
        self._build_rooms()
        self._build_presence_sender()
        self._build_outbound()
        self._build_observer()
        self._build_reconciler()
        self._build_direct_chats()
        self._build_erasures()

    def _build_inbound(self) -> None:
        self.direct_chat_handlers = DirectChatHandlers(self.identities, self.agents, now_ms, new_id)
        self.message_events = MessageEvents(
            self.identities,
            self.messages,
            self.message_edits,
            self.reactions,
            PollEvents(self.identities, self.polls),
            retention_days=self.settings.retention.messages_days,
        )
        self.handlers = EventHandlers(
            self.message_events,
            MemberEvents(self.identities, self.room_members, now_ms),
            RoomStateEvents(self.identities, self.rooms),
            self.direct_chat_handlers,
            BotChatHandlers(self.identities, now_ms),
            self.encryption.decryptor,
        )
        self.late_events = LateEventWriter(self.database, self.identities, MissedEvents(self.metrics), now_ms)
        histories = RoomHistories(self.homeserver)
        self.gap_backfill = GapBackfill(
            histories,
            self.late_events,
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
            self.late_events,
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
            on_event=self.federated_histories.on_event,
            keep_days=self.settings.retention.transactions_days,
        )

    async def _refresh_state(self, room: Room) -> None:
        # The inbound worker and the checks call each other, so one of them gets the other after it is built.
        await self.inbound.refresh_state(room)

    async def _download(self, mxc: str, max_bytes: int) -> bytes | None:
        # The media repository needs the ghosts, which need encryption.
        return await self.media.content(mxc, max_bytes)

    def _known_ghosts(self) -> list[UserId]:
        """Return the registered ghosts, without those of removed agents, which are to have no encryption device."""
        slugs = ((user, self.identities.agent_slug(user)) for user in self.ghosts.known())
        return [user for user, slug in slugs if slug is None or self.agents.get(slug) is not None]

    def _build_rooms(self) -> None:
        settings = self.settings.city
        store = RoomStore(self.database, self.bus.publish)
        creator = RoomCreator(
            self.homeserver,
            self.identities,
            city_name=settings.name,
            version=settings.room_version,
            federate=settings.federate,
        )
        self.citizen_chat_rooms = CitizenChatRooms(
            self.database, self.homeserver, self.monitor, self.identities, creator, self.bus.publish
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
        admins = RoomAdmins(self.homeserver, self.identities, tuple(UserId(admin) for admin in settings.admins))
        appearance = RoomAppearance(self.homeserver, self.identities, self.drawn_avatars)
        self.space = CitySpace(self.homeserver, self.identities, creator, store, admins, appearance)
        self.room_links = RoomLinks(self.homeserver, self.identities, self.room_members, creator, upgrades, store)
        self.matrix_rooms = MatrixRooms(
            self.homeserver,
            self.identities,
            self.room_members,
            store,
            self.room_links,
            RoomMetadata(self.homeserver, self.identities, store),
            self.space,
            ReadOnlyRooms(self.homeserver, self.identities, store),
            PowerNotices(self.homeserver, self.identities.bot),
            admins,
            appearance,
        )
        self.adoption = Adoption(self.homeserver, self.database, self.identities, self.rooms, self.matrix_rooms)

    def _build_presence_sender(self) -> None:
        settings = self.settings.presence
        self.presence_sender = PresenceSender(
            partial(choose_transport, self.homeserver, may_use_module=settings.synapse_module == "auto"),
            self.monitor,
            self.ghosts,
            self.identities,
            StatusTextWriter(self.homeserver, self.ghosts, self.identities),
            PresenceTimeoutProbe(self.homeserver, self.monitor, self.database, self.identities),
            steady_ms,
            refresh_s=settings.refresh_s,
            requests_per_s=settings.requests_per_s,
            max_in_flight=settings.requests_in_flight,
        )

    def _build_outbound(self) -> None:
        delivery = OutboxDelivery(
            self.database,
            self.homeserver,
            self.monitor,
            self.ghosts,
            self.agents,
            OutboxRenderer(self.messages, self.room_members, self.identities),
            self.identities,
            self.encryption.encryptor,
            self.bus.publish,
            steady_ms,
            on_new_ghost=self.presence_sender.on_ghost_ready,
            on_activity=self.presence_sender.on_message_sent,
        )
        self.outbound = OutboundWorker(self.database, self.monitor, delivery, steady_ms)
        self.typing_sender = TypingSender(
            self.homeserver,
            self.monitor,
            self.database,
            self.identities,
            self.ghosts,
            self.online_members,
            on_activity=self.presence_sender.on_message_sent,
        )
        self.receipt_sender = ReceiptSender(
            self.homeserver,
            self.monitor,
            self.database,
            self.identities,
            self.ghosts,
            self.online_members,
            on_activity=self.presence_sender.on_message_sent,
        )

    def _build_observer(self) -> None:
        self.user_presence = UserPresence(
            self.presence,
            self.identities,
            steady_ms,
            is_member=lambda user: bool(self.online_members.rooms_of(person_subject(user))),
        )
        self.observer_coverage = ObserverCoverage(self.online_members)
        self.typing = RemoteTyping(self.identities, self.bus.publish)
        self.remote_receipts = RemoteReceipts(
            self.database,
            self.identities,
            self.online_members,
            EventTimes(self.homeserver, self.monitor, self.database, self.identities.observer),
            self.receipt_writer.add,
            now_ms,
        )
        self.receipt_observer = ReceiptObserver(
            self.homeserver, self.monitor, self.identities.observer, self.remote_receipts
        )
        self.observer = Observer(
            self.homeserver,
            self.monitor,
            self.ghosts,
            self.identities,
            self.user_presence,
            self.observer_coverage,
            self.typing,
            self.receipt_observer.observe,
            republish_s=self.settings.presence.heartbeat_s,
        )

    def _build_reconciler(self) -> None:
        roles = RoleFieldWriter(self.homeserver, self.ghosts, self.identities)
        agent_ghosts = AgentGhosts(
            self.homeserver,
            self.monitor,
            self.database,
            self.ghosts,
            self.agents,
            self.identities,
            self.space,
            roles,
            self.presence_sender,
        )
        ghost_removal = GhostRemoval(
            self.homeserver,
            self.monitor,
            self.database,
            self.ghosts,
            roles,
            self.agents,
            self.identities,
            self.encryption.devices.delete,
            now_ms,
        )
        self.reconciler = Reconciler(
            self.database,
            self.monitor,
            self.space,
            self.room_links,
            self.matrix_rooms,
            agent_ghosts,
            ghost_removal,
            self.identities,
            self.outbound,
            self.observer,
            room_removal=RoomRemoval(
                self.homeserver, self.monitor, self.database, self.identities, self.space, self.bus.publish
            ),
            ghosts=self.ghosts,
            roles=roles,
            drawn_avatars=self.drawn_avatars,
        )

    def _build_erasures(self) -> None:
        self.erasures = ErasureWorker(
            self.database,
            self.monitor,
            CityDataErasure(self.database, self.message_edits, self.identities, self.bus.publish, now_ms),
            HomeserverDataErasure(self.homeserver, self.database, self.identities),
            self.ghosts,
            self.presence,
            self.bus.publish,
            self.account_cache.load,
            now_ms,
        )

    def _build_direct_chats(self) -> None:
        self.invitation_decliner = InvitationDecliner(
            self.homeserver,
            self.monitor,
            self.database,
            self.ghosts,
            self.direct_chat_handlers,
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
            self.encryption.chats,
            steady_ms,
        )
        self.undecrypted = UndecryptedWorker(
            self.database,
            self.monitor,
            self.handlers,
            self.encryption.decryptor,
            self.encryption.chats,
            self.agents,
            self.messages,
            self.encryption_metrics,
            self.bus.publish,
            now_ms,
        )
        self.verification_declines = VerificationDeclines(
            self.database,
            self.homeserver,
            self.monitor,
            self.ghosts,
            self.identities,
            self.encryption.encryptor,
        )

    @property
    def backfill(self) -> Backfill:
        """A backfill of whole rooms, for the command line."""
        return Backfill(self.homeserver, self.database, self.identities, self.message_events, self.late_events, now_ms)
