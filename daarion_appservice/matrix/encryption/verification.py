"""The event types and the refusal of a verification, which an agent cannot do: it compares no emoji."""

from __future__ import annotations

from typing import Final

REQUEST: Final = "m.key.verification.request"
"""The type of a to-device event, and the ``msgtype`` of a message, that request a verification."""
CANCEL: Final = "m.key.verification.cancel"
REFUSAL: Final = {"code": "m.user", "reason": "Agents do not verify users"}
"""The fields of a `CANCEL` event that say why."""
