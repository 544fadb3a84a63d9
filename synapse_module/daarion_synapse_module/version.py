"""The version of this package, in a module that the build reads without an import of Synapse."""

from __future__ import annotations

__version__ = "0.1.0"
