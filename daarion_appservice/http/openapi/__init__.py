"""The documentation of the city listener: ``/openapi.json`` and ``/docs``, both generated from one document.

@endpoint, @described ──► document (problems, sockets) ──► page
                               └──► routes: both in memory ◄──┘
"""

from .routes import Documentation

__all__ = ["Documentation"]
