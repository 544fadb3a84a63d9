"""The command that makes Second Me delete its memory of a user, in a direct chat: ``!forget`` or ``забудь``.

Users without a linked account have no other way: ``DELETE /secondme/history`` requires a citizen's token.
"""

from __future__ import annotations

import re
from typing import Final

from ..city.types import Message

_COMMAND: Final = re.compile(
    r"[!/]?(?:forget|забудь(?:те)?)(?:\s+(?:me|all|everything|мене|все|усе|всё))?[\s.!…]*", re.IGNORECASE
)


def is_forget(message: Message) -> bool:
    """Return whether the whole message is the command; a sentence that begins with it is an ordinary request."""
    return message.msgtype == "m.text" and _COMMAND.fullmatch(message.body.strip()) is not None
