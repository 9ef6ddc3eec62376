"""Unit tests need neither a database nor AWS."""

from hypothesis import settings

settings.register_profile("shared-machine", deadline=None)  # a slow example is the neighbour's doing, not the code's
settings.load_profile("shared-machine")
