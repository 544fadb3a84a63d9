"""The log says when a process becomes ready, when it ceases to be, and what it started with."""

from __future__ import annotations

from structlog.testing import capture_logs

from daarion_appservice import __version__
from daarion_appservice.app import log_start
from daarion_appservice.config import Settings
from daarion_appservice.ops.readiness_log import ReadinessLog
from daarion_appservice.storage.database import Database
from tests.parts.in_process_city import InProcessCity


async def test_ready_and_not_ready_are_logged_once_each(sqlite_city: InProcessCity) -> None:
    city = sqlite_city.city
    watch = ReadinessLog(city.readiness)
    with capture_logs() as logs:
        await watch.examine(after_s=1.0)  # the homeserver has not been found yet
        city.monitor.mark_up()
        city.monitor.record_ping()
        city.leader_lock.is_held = city.reconciler.is_done = True
        for after_s in (2.0, 3.0):
            await watch.examine(after_s=after_s)
        city.monitor.unreached = "has another hs_token"
        for after_s in (4.0, 5.0, 6.0):
            await watch.examine(after_s=after_s)
        city.monitor.unreached = None
        await watch.examine(after_s=7.0)
    lines = [(line["event"], line.get("after_s"), line.get("parts")) for line in logs]
    assert lines == [
        ("ready", 2.0, None),
        ("not_ready", None, {"callback": "has another hs_token"}),
        ("ready", 7.0, None),
    ]
    assert logs[0]["role"] == "leader"


async def test_short_interruption_is_not_logged(sqlite_city: InProcessCity) -> None:
    city = sqlite_city.city
    city.monitor.mark_up()
    city.leader_lock.is_held = city.reconciler.is_done = True
    watch = ReadinessLog(city.readiness)
    with capture_logs() as logs:
        await watch.examine(after_s=1.0)
        city.monitor.unreached = "refused"
        await watch.examine(after_s=2.0)
        city.monitor.unreached = None
        await watch.examine(after_s=3.0)
    assert [line["event"] for line in logs] == ["ready"]


async def test_start_line_has_no_password() -> None:
    settings = Settings.model_validate(
        {"database": {"url": "postgresql://city:very-secret@db.example/city?password=other"}}
    )
    database = Database(settings.database.url)
    with capture_logs() as logs:
        log_start(settings, database.described)
    await database.close()
    (line,) = logs
    assert (line["event"], line["version"], line["matrix"]) == ("starting", __version__, "127.0.0.1:7025")
    assert line["database"] == "postgresql://city:***@db.example/city"
    assert "secret" not in str(line)
