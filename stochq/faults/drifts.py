r"""The Ito drift forgotten, or with the wrong sign.

The Ito equation of noise that keeps the norm has the drift :math:`-\tfrac12 \sum_j
L_j^2`. Without it (raw Ito) the mean of :math:`\psi\psi^\dagger` gains norm; with the
wrong sign it gains twice as much.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from stochq.choice import rough_step
from stochq.errors import SchemeMismatchError
from stochq.faults.base import Planted
from stochq.lowering import Dynamics
from stochq.references import Reference
from stochq.running.stopping import Goal
from stochq.schemes import Platen, Scheme, Strang
from stochq.setting import Setting, setting_of
from stochq.unravelings import Averaged, Choice, UnitaryNoise

__all__ = ["DriftFault", "drift_faults"]


@dataclass(frozen=True)
class DriftFault:
    """Noise integrated as an Ito equation whose drift is not -1/2 sum L^2.

    Kets and orbitals are integrated by an Ito scheme. Beside dissipators that are not
    noise, which no such scheme takes, trajectories are density matrices conditioned on
    the noise, the dissipators averaged.

    Attributes
    ----------
    drift : float
        Its coefficient in units of 1/2 sum L^2: -1 is right, 0 is no drift, 1 is the
        wrong sign.
    """

    drift: float

    @property
    def name(self) -> str:
        """What kind of mistake it is."""
        return "no Ito drift" if self.drift == 0 else "Ito drift with the wrong sign"

    what = "noise, read as Ito's"
    excuse = ""

    def equivalent(self, right: Setting) -> bool:
        """Return False: the norm is not kept."""
        return False

    def curves(self, right: Setting) -> Reference | None:
        """Return nothing: they are not known beforehand."""
        return None

    def plant(self, right: Setting, seed: int, n_traj: int) -> Planted:
        """Return the run with the wrong drift."""
        dynamics = right.dynamics
        if dynamics.time_dependent or dynamics.mixing is not None:
            raise SchemeMismatchError(
                "a wrong drift is planted for noise of constant strength only"
            )
        averaged = bool(dynamics.jumps or dynamics.monitors or dynamics.mixed)
        base = _conditioned_on_noise(right, n_traj) if averaged else right
        scheme = base.scheme if averaged else _ito_scheme(base)
        faulty = replace(base, seed=seed, scheme=scheme, dynamics=self._of(base))
        return Planted(faulty, faulty.source(n_traj))

    def _of(self, base: Setting) -> Dynamics:
        """Return dynamics with the wrong drift: raw, and H + i drift/2 sum L^2."""
        raw = replace(base.dynamics, raw=True)
        return replace(raw, hamiltonian=raw.hamiltonian + 1j * self.drift * raw.gain)


@dataclass(frozen=True)
class NoDrift:
    """A drift that a scheme cannot forget, since it does not have one."""

    scheme: str
    unitary: bool

    name = "no Ito drift"

    @property
    def what(self) -> str:
        """What it is made in."""
        return f"noise, in {self.scheme}"

    @property
    def excuse(self) -> str:
        """Why it changes nothing."""
        how = "rotates by exp(-i L dW)" if self.unitary else "is Stratonovich's"
        return f"{self.scheme} {how}: it has no drift to forget"

    def equivalent(self, right: Setting) -> bool:
        """Return True: there is nothing to forget."""
        return True

    def curves(self, right: Setting) -> Reference | None:
        """Return nothing: they are not known beforehand."""
        return None

    def plant(self, right: Setting, seed: int, n_traj: int) -> Planted:
        """Return the right run: nothing is left out."""
        same = replace(right, seed=seed)
        return Planted(same, same.source(n_traj))


def drift_faults(right: Setting) -> list[DriftFault | NoDrift]:
    """Return the ways to get the drift of a run's noise wrong; none without noise."""
    if not right.dynamics.noise or right.dynamics.raw:
        return []
    faults: list[DriftFault | NoDrift] = [DriftFault(0.0), DriftFault(1.0)]
    if right.scheme.traits.calculus != "ito":
        scheme = type(right.scheme).__name__
        faults.append(NoDrift(scheme, right.scheme.traits.unitary))
    return faults


def _ito_scheme(right: Setting) -> Scheme:
    """Return the scheme if it is one of Ito's, else one of weak order 2."""
    if right.scheme.traits.calculus == "ito":
        return right.scheme
    return Platen(rough_step(right.dynamics, right.times, Platen))


def _conditioned_on_noise(right: Setting, n_traj: int) -> Setting:
    """Return the same run with all dissipators averaged but those that are noise."""
    choices: dict[object, Choice] = {
        key: choice if isinstance(choice, UnitaryNoise) else Averaged()
        for key, choice in right.unraveling.items()
    }
    chosen = {n for key in choices for n in ((key,) if isinstance(key, str) else key)}  # type: ignore[attr-defined]
    if not right.model.one_body:  # where noise is the default
        left = [d.name for d in right.model.dissipators if d.name not in chosen]
        choices |= dict.fromkeys(left, Averaged())
    setting = setting_of(
        right.model, right.times, right.seed, choices, right.extras, None, Goal(n_traj)
    )
    if not setting.scheme.dt < float("inf"):  # what commuted does so no longer
        step = rough_step(setting.dynamics, setting.times, Strang)
        return replace(setting, scheme=Strang(step))
    return setting
