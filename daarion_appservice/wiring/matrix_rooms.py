"""The second layer of the composition root: ghosts, encryption, inbound events and Matrix rooms."""

from __future__ import annotations

from ..city.display_name_template import DisplayNameTemplate
from ..city.types import Room, UserId
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
from ..matrix.ghosts.ghosts import Ghosts
from ..matrix.ghosts.media import HomeserverMedia
from ..matrix.ghosts.profiles import Profiles
from ..matrix.inbound.bot_chats import BotChatHandlers
from ..matrix.inbound.confirmation import Confirmation
from ..matrix.inbound.direct_chats import DirectChatHandlers
from ..matrix.inbound.dispatch import EventHandlers
from ..matrix.inbound.members import MemberEvents
from ..matrix.inbound.messages import MessageEvents
from ..matrix.inbound.polls import PollEvents
from ..matrix.inbound.room_state import RoomStateEvents
from ..matrix.inbound.worker import InboundWorker
from ..matrix.reconcile.adoption import Adoption
from ..matrix.reconcile.citizen_chats import CitizenChatRooms
from ..matrix.reconcile.matrix_members import MatrixMembers
from ..matrix.reconcile.power_notices import PowerNotices
from ..matrix.reconcile.read_only_rooms import ReadOnlyRooms
from ..matrix.reconcile.reconciled_rooms import ReconciledRooms
from ..matrix.reconcile.room_admins import RoomAdmins
from ..matrix.reconcile.room_appearance import RoomAppearance
from ..matrix.reconcile.room_creation import RoomCreator
from ..matrix.reconcile.room_creators import RoomCreators
from ..matrix.reconcile.room_links import RoomLinks
from ..matrix.reconcile.room_metadata import RoomMetadata
from ..matrix.reconcile.rooms import MatrixRooms
from ..matrix.reconcile.space import CitySpace
from ..matrix.reconcile.upgrades import RoomUpgrades
from .encryption import EncryptionParts
from .services import CityServices


class MatrixRoomsAndEvents(CityServices):
    """Ghosts, encryption, inbound events and Matrix rooms, on top of the city's services."""

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
        self.media = HomeserverMedia(self.homeserver, self.monitor, self.ghosts)
        self._build_inbound()
        self._build_rooms()

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
            self.gap_backfill, self.monitor, self.agents, steady_ms, every_s=self.settings.homeserver.sweep_s
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
        store = ReconciledRooms(self.database, self.bus.publish)
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
            MatrixMembers(
                self.homeserver, self.database, self.identities, self.ghosts, self.room_members, self.bus.publish
            ),
            store,
            self.room_links,
            RoomMetadata(self.homeserver, self.identities, store),
            self.space,
            ReadOnlyRooms(self.homeserver, self.identities, store),
            PowerNotices(self.homeserver, self.identities.bot),
            admins,
            RoomCreators(self.database, self.identities),
            appearance,
        )
        self.adoption = Adoption(self.homeserver, self.database, self.identities, self.rooms, self.matrix_rooms)
