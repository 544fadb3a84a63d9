"""Range requests of downloads (RFC 9110 §14)."""

from __future__ import annotations

import pytest

from tests.parts.media_harness import MediaHarness

LONG = bytes(range(256)) * 1200


@pytest.mark.parametrize("content", [b"0123456789" * 20, LONG], ids=["short", "long"])
@pytest.mark.parametrize(
    ("range_header", "begin", "end"),
    [
        ("0-", 0, None),
        ("0-9", 0, 10),
        ("100-149", 100, 150),
        ("150-", 150, None),
        ("-7", -7, None),
        ("5-99999999", 5, None),
    ],
)
async def test_range_is_answered_206(
    harness: MediaHarness, content: bytes, range_header: str, begin: int, end: int | None
) -> None:
    await harness.receive_file("film", content, "application/octet-stream")
    status, part, headers = await harness.get("film", Range=f"bytes={range_header}")
    assert (status, part) == (206, content[begin:end])
    first = begin % len(content)
    assert headers["Content-Range"] == f"bytes {first}-{first + len(part) - 1}/{len(content)}"
    assert headers["Content-Length"] == str(len(part))


async def test_range_after_the_end_is_answered_416(harness: MediaHarness) -> None:
    await harness.receive_file("film", LONG, "application/octet-stream")
    status, _, headers = await harness.get("film", Range=f"bytes={len(LONG)}-")
    assert (status, headers["Content-Range"]) == (416, f"bytes */{len(LONG)}")


@pytest.mark.parametrize("range_header", ["bytes=0-1,4-5", "bytes=x", "lines=1-2", "bytes=5-2", "bytes=-"])
async def test_multiple_ranges_return_whole_file(harness: MediaHarness, range_header: str) -> None:
    await harness.receive_file("film", LONG, "application/octet-stream")
    status, whole, headers = await harness.get("film", Range=range_header)
    assert (status, whole) == (200, LONG)
    assert headers["Accept-Ranges"] == "bytes"


async def test_if_range_mismatch_returns_whole_file(harness: MediaHarness) -> None:
    await harness.receive_file("film", LONG, "application/octet-stream")
    _, _, headers = await harness.get("film")
    wanted = {"Range": "bytes=1-2"}
    assert (await harness.get("film", **wanted, **{"If-Range": headers["ETag"]}))[0] == 206
    assert (await harness.get("film", **wanted, **{"If-Range": '"another"'}))[0] == 200
