"""The fourth layer of the composition root: accounts, Second Me and the agents' replies; with it the city is complete."""

from __future__ import annotations

from ..agents.core import AgentsCore
from ..agents.image_inputs import ImageInputs
from ..agents.metrics import CoreMetrics
from ..agents.reply_kinds import CoreReplies
from ..agents.reply_posting import ReplyPoster
from ..agents.reply_worker import ReplyWorker
from ..agents.request_watcher import RequestWatcher
from ..agents.second_me import SecondMe
from ..agents.second_me_availability import SecondMeAvailability
from ..agents.second_me_replies import SecondMeReplies
from ..city.accounts import Accounts
from ..city.chat_departures import ChatDepartures
from ..city.sign_in_nonces import SignInNonces
from ..city.types import UserId
from ..clock import new_id, now_ms, steady_ms
from ..config import Settings
from ..http.readiness import ReadinessProbe
from ..matrix.client.openid import OpenId
from ..matrix.reconcile.bot_admin_answers import BotAdminAnswers
from ..matrix.reconcile.bot_answers import BotAnswers
from ..matrix.reconcile.bot_chats import BotChats
from ..ops.city_metrics import CityMetrics, describe_build
from ..ops.readiness_log import ReadinessLog
from ..ops.stored_metrics import StoredMetrics
from ..realtime.presence_redis import RedisPresence
from .matrix import MatrixParts


class City(MatrixParts):
    """Every part of the service, connected but not running. Each layer uses the parts of the layers below it only.

    Raises:
        StartError: ``appservice.as_token`` or ``appservice.hs_token`` is empty.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.core = AgentsCore(settings.agents_core, steady_ms, CoreMetrics(self.metrics))
        as_token = settings.appservice.as_token.get_secret_value()
        self.nonces = SignInNonces(as_token, now_ms, is_required=settings.sign_in.require_nonce)
        check = OpenId(self.homeserver, self.identities)
        departures = ChatDepartures(self.identities, new_id)
        self.accounts = Accounts(
            self.database, check, self.nonces, departures, now_ms, self.bus.publish, self.account_cache.load
        )
        self.second_me = SecondMe(self.core, self.database, now_ms, new_id, agent_id=settings.city.second_me)
        self.second_me_availability = SecondMeAvailability(
            self.second_me, self.presence, heartbeat_s=settings.presence.heartbeat_s
        )
        images = ImageInputs(
            self.media.picture, self.media.decrypted_picture, max_bytes=settings.agents_core.max_image_bytes
        )
        self.request_watcher = RequestWatcher(self.database, self.agent_replies)
        self.reply_worker = ReplyWorker(
            self.database,
            self.agents,
            self.presence,
            CoreReplies(self.core, images),
            SecondMeReplies(self.second_me, self.accounts, images, self.database),
            ReplyPoster(self.database, self.messages, self.message_edits, self.agent_replies, self.bus.publish, now_ms),
            self.request_watcher,
            self.bus.publish,
            now_ms,
            patience_ms=int(settings.presence.ttl_s * 1000),
        )

        self.readiness = ReadinessProbe(
            self.database,
            self.monitor,
            self.reconciler,
            self.leader_lock,
            self.supervisor,
            lambda: self.sweeper.deliveries if self.leader_lock.is_held else "ok",
            self.presence.health if isinstance(self.presence, RedisPresence) else None,
            self.encryption.support,
            now_ms,
        )
        self._build_metrics()
        self._build_bot_chats()

    def _build_metrics(self) -> None:
        self.readiness_log = ReadinessLog(self.readiness)
        self.stored_metrics = StoredMetrics(self.database)
        self.metrics.register(self.stored_metrics)
        self.metrics.register(
            CityMetrics(
                self.database,
                self.settings.database.pool_size,
                self.leader_lock,
                self.supervisor,
                self.monitor,
                self.inbound,
                self.presence_sender,
                self.online_counts,
                self.readiness_log,
                self.readiness.redis_health,
            )
        )
        describe_build(self.metrics, self.database)

    def _build_bot_chats(self) -> None:
        admins = frozenset(UserId(admin) for admin in self.settings.city.admins)
        self.bot_chats = BotChats(
            self.database,
            self.homeserver,
            self.monitor,
            self.ghosts,
            BotAnswers(
                self.database,
                self.agents,
                self.presence,
                self.online_members,
                self.identities,
                BotAdminAnswers(self.database, self.agents, self.presence, admins, self._part_texts, now_ms),
            ),
            self.identities,
            now_ms,
        )

    async def _part_texts(self) -> dict[str, str]:
        return {name: part.text for name, part in (await self.readiness.parts()).items()}

    async def close(self) -> None:
        """Close the agents core, then streams, connections and the database."""
        await self.core.close()
        await self.stored_metrics.close()
        await super().close()
