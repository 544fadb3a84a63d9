"""How long tests wait for what must happen."""

from __future__ import annotations

from typing import Final

WAIT_S: Final = 60.0
"""The timeout of a wait for something that must happen, in seconds.

A wait ends as soon as the condition holds, so a long timeout costs nothing where a test passes. A process of a busy machine
may pause for several seconds: a shorter timeout would measure the machine. What a test claims about time it measures itself.
"""
WAIT_MS: Final = WAIT_S * 1000
"""The same in milliseconds, for Playwright."""
