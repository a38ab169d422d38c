"""The import name that existing layers use; everything lives in `hub`."""

from hub import *  # noqa: F403
from hub import __all__ as __all__
