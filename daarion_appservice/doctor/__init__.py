"""The doctor: checks of an installation and of everything around it, each with one line on what to do.

    catalogue ─► runner (concurrently, each with a timeout) ─► report (text or JSON)
                    └─► checks of one group, each a function of `Installation` that returns a `Finding`

A check needs no running service. What only the running service knows, the checks of `service` ask at its matrix listener.
"""
