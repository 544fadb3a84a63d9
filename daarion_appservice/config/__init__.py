"""The configuration.

settings                      the typed keys with their defaults and descriptions, the single source of the others
values, validation            validation of single values, and of several together
pickle_key                    the text form of encryption.pickle_key
loading                       config.yaml and the environment ─► Settings, or all errors at once
editing                       creates config.yaml, adds new keys, sets single values
environment, yaml_document, keys, errors, render      parts of these
"""

from .settings import *  # noqa: F403
from .settings import __all__ as __all__
