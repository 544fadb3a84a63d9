"""A Synapse module: the presence of many ghosts in one request.

modules:
  - module: daarion_synapse_module.DaarionPresence
    config: {timeout_s: 60}

POST ──► resource ──wishes──► keeper ──► presence_writer ──► Synapse's presence
                                │  ▲
                                ▼  │ every few seconds: keep up, or let go
                              leases
"""

from .module import DaarionPresence
from .version import __version__

__all__ = ["DaarionPresence", "__version__"]
