"""Parts of a model that are missing, or operators that are not what was meant."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from stochq.arrays import Floats, Operator
from stochq.channels import ComplexWhiteNoise, Dissipator, Noise, WhiteNoise
from stochq.faults.models import ModelFault
from stochq.model import Model

__all__ = [
    "missing_parts",
    "wrong_correlations",
    "wrong_hamiltonians",
    "wrong_operators",
]

#: What an operator becomes.
Change = Callable[[Operator], Operator]

NOTHING_DONE = "it does nothing in the averaged equation"
OWN_CONJUGATE = "the operator is its own conjugate, but for a phase"
JUMP_PHASE = "a phase of c drops out of c rho c^dag and c^dag c"
NOISE_PHASE = "xi and exp(i phi) xi are equally likely: a phase of A turns xi only"
NOISE_SIGN = "eta and -eta are equally likely: independent noise has no sign"


def missing_parts(model: Model) -> list[ModelFault]:
    """Return each dissipator and each channel of noise dropped."""
    faults = [
        ModelFault(
            "dissipator dropped", label, NOTHING_DONE, faulty, 0.0, _alone(label)
        )
        for label, faulty in _each_dissipator(model, lambda d: d.scaled(0.0))
    ]
    for n, noise in enumerate(model.noise):
        for k in range(len(noise.operators)):
            faulty = _with_noise(model, n, _silenced(noise, k))
            label = _label(noise.name, k, len(noise.operators))
            name = _alone(label)
            faults.append(
                ModelFault("noise dropped", label, NOTHING_DONE, faulty, 0.0, name)
            )
    return faults


def wrong_hamiltonians(model: Model) -> list[ModelFault]:
    """Return the Hamiltonian, with its drives, dropped, reversed and transposed."""
    if not model.hamiltonian.nnz and not model.drives:
        return []
    changes: dict[str, tuple[Change, str]] = {
        "dropped": (lambda H: 0.0 * H, NOTHING_DONE),
        "with the wrong sign": (lambda H: -H, NOTHING_DONE),
        "transposed": (lambda H: H.conj(), "it is real, H^T = H"),
    }
    faults = []
    for name, (change, excuse) in changes.items():
        faulty = replace(
            model,
            hamiltonian=change(model.hamiltonian),
            drives=[(change(H), f) for H, f in model.drives],
        )
        faults.append(ModelFault(f"Hamiltonian {name}", "H", excuse, faulty))
    return faults


def wrong_correlations(model: Model) -> list[ModelFault]:
    """Return every correlated noise with its channels taken for independent."""
    faults = []
    for n, noise in enumerate(model.noise):
        if isinstance(noise, WhiteNoise) and noise.correlations is not None:
            alone = np.diag(np.diag(noise.correlations))
            faulty = _with_noise(model, n, _rebuilt(noise, covariance=alone))
            faults.append(
                ModelFault(
                    "correlations dropped",
                    repr(noise.name),
                    "the channels are independent as they are",
                    faulty,
                )
            )
    return faults


def wrong_operators(model: Model) -> list[ModelFault]:
    """Return each operator conjugated, and each multiplied by a phase or a sign."""
    faults = []
    for label, faulty in _each_dissipator(model, _conjugated):
        faults.append(ModelFault("operator conjugated", label, OWN_CONJUGATE, faulty))
    for label, faulty in _each_dissipator(model, _turned):
        faults.append(ModelFault("operator times i", label, JUMP_PHASE, faulty))
    for n, noise in enumerate(model.noise):
        real = isinstance(noise, WhiteNoise)
        phase = -1.0 if real else 1j
        name = "operator times -1" if real else "operator times i"
        excuse = NOISE_SIGN if real else NOISE_PHASE
        for k in range(len(noise.operators)):
            label = _label(noise.name, k, len(noise.operators))
            faulty = _with_noise(model, n, _changed(noise, k, lambda L: L.conj()))
            faults.append(
                ModelFault("operator conjugated", label, OWN_CONJUGATE, faulty)
            )
            faulty = _with_noise(model, n, _changed(noise, k, _times(phase)))
            faults.append(ModelFault(name, label, excuse, faulty))
    return faults


def _label(name: str, k: int, count: int) -> str:
    """Name an operator of a noise or a group."""
    return repr(name) if count == 1 else f"{name!r} {k + 1} of {count}"


def _alone(label: str) -> str:
    """Return the name of an operator that has it for itself, else nothing."""
    return label[1:-1] if label.endswith("'") else ""


def _each_dissipator(
    model: Model, change: Callable[[Dissipator], Dissipator]
) -> Iterator[tuple[str, Model]]:
    """Yield the label of each dissipator, and the model with that one changed."""
    names = [d.name for d in model.dissipators]
    for i, d in enumerate(model.dissipators):
        label = _label(d.name, names[:i].count(d.name), names.count(d.name))
        members = list(model.dissipators)
        members[i] = change(d)
        yield label, replace(model, dissipators=members)


def _conjugated(d: Dissipator) -> Dissipator:
    """Return a dissipator with the complex conjugate of its operator."""
    return Dissipator(d.operator.conj(), d.rate, name=d.name, strength=d.strength)


def _turned(d: Dissipator) -> Dissipator:
    """Return a dissipator with i times its operator."""
    return Dissipator(1j * d.operator, d.rate, name=d.name, strength=d.strength)


def _times(phase: complex) -> Change:
    """Return the multiplication by a number."""
    return lambda operator: phase * operator


def _with_noise(model: Model, n: int, noise: Noise) -> Model:
    """Return a model with another noise in one place."""
    members = list(model.noise)
    members[n] = noise
    return replace(model, noise=members)


def _silenced(noise: Noise, k: int) -> Noise:
    """Return a noise with the variance of one channel set to zero."""
    if isinstance(noise, ComplexWhiteNoise):
        return noise.scaled(0.0)
    covariance = np.array(noise.covariance)
    covariance[k, :] = covariance[:, k] = 0.0
    return _rebuilt(noise, covariance=covariance)


def _changed(noise: Noise, k: int, change: Change) -> Noise:
    """Return a noise with one operator changed."""
    if isinstance(noise, ComplexWhiteNoise):
        return ComplexWhiteNoise(
            change(noise.operator),
            rate=noise.rate,
            strength=noise.strength,
            name=noise.name,
        )
    operators = list(noise.operators)
    operators[k] = change(operators[k])
    return _rebuilt(noise, operators=operators)


def _rebuilt(
    noise: WhiteNoise, *, operators: Any = None, covariance: Floats | None = None
) -> WhiteNoise:
    """Return a noise with other operators or another covariance.

    What was given as rates stays rates.
    """
    if covariance is None:
        covariance = noise.covariance
    independent = noise.rates is not None
    return WhiteNoise(
        noise.operators if operators is None else operators,
        rate=np.diag(covariance) if independent else None,
        covariance=None if independent else covariance,
        strength=noise.strengths,
        name=noise.name,
    )
