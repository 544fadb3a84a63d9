"""The command by which a person makes Second Me forget, in a direct chat: ``!forget`` or ``забудь``.

People without a linked account have no other way: ``DELETE /secondme/history`` takes a citizen's token.
"""

from __future__ import annotations

import re
from typing import Final

from ..city.types import Message

_COMMAND: Final = re.compile(
    r"[!/]?(?:forget|забудь(?:те)?)(?:\s+(?:me|all|everything|мене|все|усе|всё))?[\s.!…]*", re.IGNORECASE
)


def is_forget(message: Message) -> bool:
    """Whether the whole message is the command; a sentence that begins with it is a question like any other."""
    return message.msgtype == "m.text" and _COMMAND.fullmatch(message.body.strip()) is not None
