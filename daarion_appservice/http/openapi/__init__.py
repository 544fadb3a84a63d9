"""The documentation of the city listener: ``/openapi.json`` and ``/docs``, both generated from one document.

@endpoint, @described ──► document (description.md, problems, sockets) ──► page
"""

from .routes import Documentation

__all__ = ["Documentation"]
