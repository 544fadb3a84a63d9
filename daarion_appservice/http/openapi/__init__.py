"""What the city listener says of itself: ``/openapi.json`` for programs, ``/docs`` for people, both made of one document.

@endpoint, @described ──► document (problems, sockets) ──► page
                               └──► routes: both kept ready ◄──┘
"""

from .routes import Documentation

__all__ = ["Documentation"]
