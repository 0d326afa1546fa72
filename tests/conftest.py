"""One setting for all tests: hypothesis draws the same examples in every run, however slow the machine."""

from hypothesis import settings

settings.register_profile("edgepart", deadline=None, derandomize=True, database=None)
settings.load_profile("edgepart")
