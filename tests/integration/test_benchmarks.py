"""The benchmarks run with small plans, and every server under test does what is measured; the figures are not checked."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from benchmarks import (
    curves_rooms,
    curves_sockets,
    curves_subjects,
    fanout,
    heartbeats,
    other_servers,
    pages_keys,
    pages_loading,
    pages_presence,
    pages_typing,
    report,
    restarts,
    rooms_delivery,
    rooms_encryption,
    rooms_reads,
    rooms_transactions,
    store,
)
from tests.parts.ports import HOST


async def test_fanout_benchmark_delivers_every_change(tmp_path: Path) -> None:
    plan = fanout.Plan(sockets=(10,), single_changes=2, churn_s=0.2, rounds=1, catch_up_s=60.0)
    rows = await fanout.measure(plan, tmp_path)
    others = {server.key for server in (other_servers.Nchan, other_servers.NodeWs) if server.missing() is None}
    assert {row["who"] for row in rows} == {"city", "city_batch", "seeds", "socketio", "floor"} | others
    assert [row["who"] for row in rows if row["undelivered"] or row["fell_behind"]] == []
    assert report.render("fanout", rows).count("\n") == len(rows) + 1


async def test_server_that_is_not_installed_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(other_servers, "_MODULE", tmp_path / "no module")
    monkeypatch.setattr(other_servers, "_NODE_PACKAGES", tmp_path)
    assert other_servers.installed(tmp_path) == []
    assert capsys.readouterr().out.count("is not installed") == 2


@pytest.mark.soak
async def test_every_way_in_takes_heartbeats(tmp_path: Path) -> None:
    plan = heartbeats.Plan(subjects=(100,), sockets=10, window_s=0.1, rounds=1)
    rows = await heartbeats.measure(plan, tmp_path)
    assert {row["way"] for row in rows if row["who"] == "city"} == {"bulk", "singles", "frames"}
    assert all(row["per_s"] > 0 for row in rows)
    assert report.render("heartbeats", rows).count("\n") == len(rows) + 1


async def test_store_benchmark_measures_each_store(tmp_path: Path) -> None:
    rows = await store.measure(store.Plan(subjects=(100,), beats=100), tmp_path)
    assert [row["store"] for row in rows] == ["machine", "memory", "redis"]
    assert report.render("store", rows).count("\n") == len(rows) + 1


@pytest.mark.soak
async def test_transactions_are_taken_by_all(tmp_path: Path) -> None:
    plan = rooms_transactions.Plan(sizes=((1, 2), (100, 1)), rounds=1)
    rows = await rooms_transactions.measure(plan, tmp_path)
    assert [row["who"] for row in rows] == ["city", "city_postgres", "mautrix"] * 2
    assert report.render("transactions", rows).count("\n") == len(rows) + 1


@pytest.mark.soak
async def test_delivery_benchmark_times_each_message(tmp_path: Path) -> None:
    rows = await rooms_delivery.measure(rooms_delivery.Plan(messages=2, on_postgres=False), tmp_path)
    assert [row["way"] for row in rows] == ["in", "out"]
    assert all(0 < row["ours_p50_ms"] < row["whole_p95_ms"] for row in rows)
    assert report.render("delivery", rows).count("\n") == len(rows) + 1


@pytest.mark.soak
async def test_rooms_are_read_from_all(tmp_path: Path) -> None:
    plan = rooms_reads.Plan(rooms=3, messages=60, window_s=0.2, rounds=1)
    rows = await rooms_reads.measure(plan, tmp_path)
    assert len(rows) == 18
    assert all(row["per_s"] > 0 for row in rows)
    assert report.render("reads", rows).count("\n") == len(rows) + 1


@pytest.mark.soak
async def test_encryption_benchmark_asks_in_both_chats(tmp_path: Path) -> None:
    rows = await rooms_encryption.measure(rooms_encryption.Plan(people=1, following=1), tmp_path)
    assert [(row["turn"], row["chat"]) for row in rows] == [
        ("first", "clear"),
        ("first", "encrypted"),
        ("following", "clear"),
        ("following", "encrypted"),
    ]
    assert all(row["p50_ms"] > 0 for row in rows)
    assert report.render("encryption", rows).count("\n") == len(rows) + 1


@pytest.mark.soak
async def test_loading_benchmark_sees_each_page_painted(tmp_path: Path) -> None:
    plan = pages_loading.Plan(conditions=pages_loading.Plan().conditions[:1], rounds=1)
    rows = await pages_loading.measure(plan, tmp_path)
    assert [row["page"] for row in rows] == ["home", "rooms", "room", "agent"]
    assert all(row["lcp_ms"] > 0 and row["js_bytes"] > 0 for row in rows)
    assert report.render("page_loading", rows).count("\n") == len(rows) + 1


@pytest.mark.soak
async def test_keys_benchmark_times_each_stroke(tmp_path: Path) -> None:
    rows = await pages_keys.measure(pages_keys.Plan(cpu_factors=(1,), rounds=1), tmp_path)
    assert [row["strokes"] for row in rows] == [pages_keys.STROKES] * 4
    assert report.render("page_keys", rows).count("\n") == len(rows) + 1


@pytest.mark.soak
async def test_presence_benchmark_works_the_page(tmp_path: Path) -> None:
    rows = await pages_presence.measure(pages_presence.Plan(window_s=1.0, rounds=1), tmp_path)
    assert all(row["share"] > 0 for row in rows)
    assert report.render("page_presence", rows).count("\n") == len(rows) + 1


@pytest.mark.soak
async def test_typing_benchmark_loads_all_messages(tmp_path: Path) -> None:
    rows = await pages_typing.measure(pages_typing.Plan(messages=500, changes=4, rounds=1), tmp_path)
    assert [row["messages"] for row in rows] == [500]
    assert report.render("page_typing", rows).count("\n") == len(rows) + 1


async def test_curves_of_sockets_have_each_size(tmp_path: Path) -> None:
    rows = await curves_sockets.measure(curves_sockets.Plan(sockets=(5, 10), changes=1, rounds=1), tmp_path)
    assert {row["size"] for row in rows if row["who"] == "city"} == {5, 10}
    assert report.render("curve_sockets", rows).count("\n") == len(rows) + 1


@pytest.mark.soak
async def test_curves_have_each_operation_and_size(tmp_path: Path) -> None:
    subjects = await curves_subjects.measure(curves_subjects.Plan(subjects=(100, 200), requests=2, rounds=1), tmp_path)
    assert [row["size"] for row in subjects] == [100, 200] * 4
    assert report.render("curve_subjects", subjects).count("\n") == len(subjects) + 1
    plan = curves_rooms.Plan(((3, 60), (6, 60)), reads=2, writes=1, rounds=1)
    rooms = await curves_rooms.measure(plan, tmp_path)
    assert {row["who"] for row in rooms} == {"city", "city_postgres"}
    assert report.render("curve_rooms", rooms).count("\n") == len(rooms) + 1


async def test_reads_benchmark_peer_responds_like_city(tmp_path: Path) -> None:
    plan = rooms_reads.Plan(rooms=3, messages=60)
    async with AsyncExitStack() as stack:
        ours, peer, _ = await rooms_reads.start(plan, tmp_path, stack)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        for route in rooms_reads.ROUTES:
            for path in rooms_reads.paths(route, plan):
                theirs, expected = [await _answer(session, contender.port, path) for contender in (peer, ours)]
                assert theirs == expected, path


async def _answer(session: aiohttp.ClientSession, port: int, path: str) -> Any:
    async with session.get(f"http://{HOST}:{port}{path}") as answer:
        assert answer.status == 200
        return await answer.json()


def test_the_page_has_a_place_for_every_table() -> None:
    page = report.PAGE.read_text()
    for section in report.SECTIONS:
        once = report.replaced(page, section, "a table")
        assert "\na table\n" in once
        assert report.replaced(once, section, "a table") == once
    with pytest.raises(ValueError, match="no place"):
        report.replaced(page, "something else", "a table")


@pytest.mark.soak
async def test_restarts_benchmark_waits_until_ready(tmp_path: Path) -> None:
    rows = await restarts.measure(restarts.Plan(sizes=((1, 1), (3, 2)), starts=1, on_postgres=False), tmp_path)
    assert [(row["agents"], row["rooms"]) for row in rows] == [(1, 1), (3, 2)]
    assert all(row["ready_s"] > 0 and row["requests"] > 0 for row in rows)
    assert report.render("restarts", rows).count("\n") == len(rows) + 1
