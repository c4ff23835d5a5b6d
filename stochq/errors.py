"""The errors a caller may want to catch; each message names the argument and the cure.

All but the last two are `ValueError`: "`x` must ..., but is ...".
"""

from __future__ import annotations

__all__ = [
    "CheckpointError",
    "CheckpointWarning",
    "DescriptionError",
    "FailureWarning",
    "ModelError",
    "ResourceError",
    "SchemeMismatchError",
    "TrajectoryError",
    "WorkerError",
]


class ModelError(ValueError):
    """The physics that was written down is not a valid model."""


class SchemeMismatchError(ValueError):
    """The scheme or unraveling cannot integrate this model."""


class DescriptionError(ValueError):
    """What was written down about a run is damaged, or cannot be run from it alone."""


class ResourceError(ValueError):
    """A run takes more memory or disk than there is."""


class TrajectoryError(RuntimeError):
    """Some trajectories of a run cannot be integrated.

    Attributes
    ----------
    first, last : int
        They are among these.
    """

    def __init__(self, message: str, first: int, last: int) -> None:
        """Keep what workers in other processes hand over."""
        super().__init__(message, first, last)
        self.first, self.last = first, last

    @classmethod
    def of(cls, first: int, last: int, error: Exception) -> TrajectoryError:
        """Return the error for what came up in trajectories first ... last."""
        what = f"{type(error).__name__}: {error}"
        return cls(f"trajectories {first} ... {last} failed: {what}", first, last)

    def __str__(self) -> str:
        """Return the message alone."""
        return str(self.args[0])


class WorkerError(RuntimeError):
    """The workers of a run were lost; what had been done is kept as it is."""


class CheckpointError(ValueError):
    """A folder that cannot be used as the checkpoint of this run."""


class CheckpointWarning(UserWarning):
    """Something of a checkpoint was lost or could not be written; the run goes on."""


class FailureWarning(UserWarning):
    """Some trajectories have values that are not finite."""
