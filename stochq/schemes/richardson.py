"""Richardson extrapolation: steps h and h/2 on one path, combined trajectory-wise."""

from __future__ import annotations

from dataclasses import dataclass, replace

from stochq.errors import SchemeMismatchError
from stochq.lowering import Dynamics
from stochq.schemes.alternating import Alternating
from stochq.schemes.strang import Strang
from stochq.schemes.traits import Integrator, Scheme, StepGrid, Traits

__all__ = ["Richardson"]

#: Schemes whose averaged step, or pair of steps, is its own inverse at -h: the error of
#: their means is even in h. (The mean of two orders, RandomOrder's, is not.)
SYMMETRIC = (Strang, Alternating)


@dataclass(frozen=True)
class Richardson:
    r"""Means of a scheme extrapolated to zero step.

    .. math:: \frac{2^p\, O_{h/2} - O_h}{2^p - 1}, \qquad p = \text{weak order}

    Both values of a trajectory come from one Brownian path, so the sampling error is
    hardly larger than without, and it is that of the combination. What a single
    trajectory gives is no longer the expectation value of a state.

    Orders: weak p + 1, or p + 2 = 4 for `Strang` and `Alternating`, whose averaged
    steps are symmetric in time.
    Handles: what its base does.

    Parameters
    ----------
    base : Scheme
        A scheme with a step that can follow a Brownian path, such as ``Heun(dt=0.1)``.

    Raises
    ------
    SchemeMismatchError
        If `base` is not such a scheme.
    """

    base: Scheme

    def __post_init__(self) -> None:
        """Check the base."""
        base = self.base
        if isinstance(base, type) or not hasattr(base, "prepare"):
            raise SchemeMismatchError(
                f"`base` must be a scheme such as Heun(dt=0.1), but is {base!r}"
            )
        if isinstance(base, Richardson) or not (base.traits.paths and base.dt < 1e300):
            raise SchemeMismatchError(
                "`base` must be a scheme with a step and Gaussian noise, "
                f"but is {base!r}"
            )

    @property
    def traits(self) -> Traits:
        """Those of the base, with a higher weak order, and no paths or monitors.

        The factor of a monitor is not symmetric in time, so less would be gained.
        """
        traits = self.base.traits
        gained = 2.0 if isinstance(self.base, SYMMETRIC) else 1.0
        return replace(
            traits,
            weak=traits.weak + gained,
            strong=0.0,
            strong_commuting=0.0,
            paths=False,
            monitors=False,
        )

    @property
    def dt(self) -> float:
        """The larger step, h [time]."""
        return self.base.dt

    @property
    def multiple(self) -> int:
        """The steps of an interval come in multiples of this."""
        return int(getattr(self.base, "multiple", 1))

    @property
    def weights(self) -> tuple[float, float]:
        """Weights of the values at h/2 and at h."""
        power = 2.0**self.base.traits.weak
        return power / (power - 1.0), -1.0 / (power - 1.0)

    def prepare(self, dynamics: Dynamics, grid: StepGrid, seed: int) -> Integrator:
        """Refuse: two integrations have to be combined."""
        raise SchemeMismatchError(
            "Richardson() must be used for means, but is asked for single states; use "
            f"{self.base!r}"
        )
