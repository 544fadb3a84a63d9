"""What can be configured.

settings         the typed keys, their defaults and descriptions: the one source
values           what a single value must look like
contradictions   which values do not go together
file             config.yaml and the environment ─► Settings, or every mistake at once
edit             config.yaml made, brought up to date, given a value; all else in it stays as it is
document, environment, keys, mistakes, render     what these four are made of
"""

from .settings import *  # noqa: F403
from .settings import __all__ as __all__
