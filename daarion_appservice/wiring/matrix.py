"""The third layer of the composition root: presence, outbound events, reconciliation and direct chats on Matrix."""

from __future__ import annotations

from functools import partial

from ..city.types import user_subject
from ..clock import new_id, now_ms, steady_ms
from ..config import Settings
from ..erasure.city_data import CityDataErasure
from ..erasure.homeserver_data import HomeserverDataErasure
from ..erasure.worker import ErasureWorker
from ..matrix.ghosts.profile_fields import RoleFieldWriter, StatusTextWriter
from ..matrix.inbound.undecrypted import UndecryptedWorker
from ..matrix.outbound.delivery import OutboxDelivery
from ..matrix.outbound.former_rooms import FormerRooms
from ..matrix.outbound.receipts import ReceiptSender
from ..matrix.outbound.rendering import OutboxRenderer
from ..matrix.outbound.typing import TypingSender
from ..matrix.outbound.verification_declines import VerificationDeclines
from ..matrix.outbound.worker import OutboundWorker
from ..matrix.presence.chat_receipts import ChatReceipts
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
from ..matrix.reconcile.agent_ghosts import AgentGhosts
from ..matrix.reconcile.citizen_ghosts import CitizenGhosts
from ..matrix.reconcile.direct_chats import DirectChats
from ..matrix.reconcile.ghost_removal import GhostRemoval
from ..matrix.reconcile.invitation_decline import InvitationDecliner
from ..matrix.reconcile.reconciler import Reconciler
from ..matrix.reconcile.room_backfill import Backfill
from ..matrix.reconcile.room_removal import RoomRemoval
from ..matrix.reconcile.writing_agents import WritingAgents
from .matrix_rooms import MatrixRoomsAndEvents


class MatrixParts(MatrixRoomsAndEvents):
    """The parts that talk with the homeserver, on top of the city's services."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._build_presence_sender()
        self._build_outbound()
        self._build_observer()
        self._build_reconciler()
        self._build_direct_chats()
        self._build_erasures()

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
        self.former_rooms = FormerRooms(self.database, self.homeserver, self.identities)
        delivery = OutboxDelivery(
            self.database,
            self.homeserver,
            self.monitor,
            self.ghosts,
            self.agents,
            OutboxRenderer(self.messages, self.room_members, self.identities),
            self.identities,
            self.encryption.encryptor,
            self.former_rooms,
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
            is_member=lambda user: bool(self.online_members.rooms_of(user_subject(user))),
        )
        self.observer_coverage = ObserverCoverage(self.online_members)
        self.typing = RemoteTyping(self.identities, self.bus.publish)
        self.remote_receipts = RemoteReceipts(
            self.database,
            self.identities,
            self.member_lookup,
            EventTimes(self.homeserver, self.monitor, self.database),
            self.receipt_writer.add,
            now_ms,
        )
        self.receipt_observer = ReceiptObserver(
            self.homeserver, self.monitor, self.identities.observer, self.remote_receipts
        )
        self.chat_receipts = ChatReceipts(
            self.homeserver, self.monitor, self.database, self.identities, self.remote_receipts, now_ms
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
        self.citizen_ghosts = CitizenGhosts(self.database, self.monitor, self.ghosts, self.identities)
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
            writing_agents=WritingAgents(self.homeserver, self.identities, self.agents, self.database),
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
            self.bus.publish,
            steady_ms,
            new_id,
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
