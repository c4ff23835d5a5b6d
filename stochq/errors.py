"""The errors a caller may want to catch; each message names the argument and the cure.

All are `ValueError` with a message of the form "`x` must ..., but is ...".
"""

__all__ = ["DescriptionError", "ModelError", "SchemeMismatchError"]


class ModelError(ValueError):
    """The physics that was written down is not a valid model."""


class SchemeMismatchError(ValueError):
    """The scheme or unraveling cannot integrate this model."""


class DescriptionError(ValueError):
    """What was written down about a run is damaged, or cannot be run from it alone."""
