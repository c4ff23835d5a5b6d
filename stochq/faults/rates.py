"""Rates that are wrong: by a factor, or by a square root too much."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from stochq.channels import ComplexWhiteNoise, Dissipator, Noise, WhiteNoise
from stochq.faults.models import ModelFault
from stochq.model import Model

__all__ = ["FACTORS", "wrong_rates"]

#: What named rates are multiplied by.
FACTORS = (0.5, 2.0, 1.05)


def wrong_rates(model: Model) -> list[ModelFault]:
    """Return each named rate wrong by a factor, and square-rooted."""
    faults = []
    for name in model.rate_names:
        for factor in FACTORS:
            faults.append(
                ModelFault(
                    f"rate x {factor:g}",
                    repr(name),
                    "it does nothing in the averaged equation",
                    model.with_rate(name, factor),
                    factor,
                    name,
                )
            )
        faults.append(
            ModelFault(
                "rate square-rooted",
                repr(name),
                "the square root of a rate of 1 is 1",
                _with_roots(model, name),
            )
        )
    return faults


def _with_roots(model: Model, name: str) -> Model:
    """Return a model with the square roots of the rates of one name."""
    return replace(
        model,
        noise=[_rooted_noise(n) if n.name == name else n for n in model.noise],
        dissipators=[
            _rooted_dissipator(d) if d.name == name else d for d in model.dissipators
        ],
    )


def _rooted_dissipator(d: Dissipator) -> Dissipator:
    """Return a dissipator with the square root of its rate."""
    return Dissipator(d.operator, np.sqrt(d.rate), name=d.name, strength=d.strength)


def _rooted_noise(noise: Noise) -> Noise:
    """Return a noise with the square roots of its variances, correlated as before.

    C_jk becomes C_jk / (C_jj C_kk)^(1/4), whose diagonal is sqrt(C_jj).
    """
    if isinstance(noise, ComplexWhiteNoise):
        return ComplexWhiteNoise(
            noise.operator,
            rate=np.sqrt(noise.rate),
            strength=noise.strength,
            name=noise.name,
        )
    covariance = rate = None
    if noise.rates is not None:
        rate = np.sqrt(noise.rates)
    else:
        variances = np.diag(noise.covariance)
        scale = np.where(variances > 0, variances, 1.0) ** -0.25
        covariance = noise.covariance * np.outer(scale, scale)
    return WhiteNoise(
        noise.operators,
        rate=rate,
        covariance=covariance,
        strength=noise.strengths,
        name=noise.name,
    )
