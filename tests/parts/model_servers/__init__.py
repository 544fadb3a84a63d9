"""Recorded responses of servers with OpenAI's chat completions, streamed and complete.

Each shape was seen in a server's source or in a report about it (``source``); ids, times and long values are shortened.
"""

from tests.parts.model_servers.gateways import GATEWAYS
from tests.parts.model_servers.hosted import HOSTED
from tests.parts.model_servers.self_hosted import SELF_HOSTED
from tests.parts.model_servers.shapes import Shape

SHAPES: list[Shape] = [*HOSTED, *SELF_HOSTED, *GATEWAYS]

__all__ = ["SHAPES", "Shape"]
