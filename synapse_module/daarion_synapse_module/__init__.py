"""A Synapse module: sets the presence of many ghosts in one request.

modules:
  - module: daarion_synapse_module.DaarionPresence
    config: {timeout_s: 60}

POST ──► resource ──presence updates──► lease_worker ──► presence_writer ──► Synapse's presence
                                          │  ▲
                                          ▼  │ every few seconds: refresh users, or set them offline
                                        leases
"""

from .module import DaarionPresence
from .version import __version__

__all__ = ["DaarionPresence", "__version__"]
