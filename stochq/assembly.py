"""From the statistics of a run to the ensemble that a user gets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from stochq.descriptions import environment
from stochq.ensemble import Ensemble
from stochq.recording.frames import Frame
from stochq.recording.histograms import Histogram
from stochq.recording.mean_state import MeanState
from stochq.records import JumpRecords
from stochq.running.shards import Span
from stochq.schemes.lanes import ATOM
from stochq.setting import Setting
from stochq.statistics.summary import Statistics

__all__ = ["ensemble_of"]


def ensemble_of(
    setting: Setting,
    statistics: Statistics,
    span: Span,
    stopped_by: str,
    provenance: Mapping[str, Any],
) -> Ensemble:
    """Return the ensemble of a run.

    Parameters
    ----------
    setting : Setting
        What was run.
    statistics : Statistics
        Of all its trajectories.
    span : Span
        Which they are.
    stopped_by : str
        What ended it.
    provenance : dict
        What else is known of the run.
    """
    moments, n = statistics.moments, statistics.moments.count
    with np.errstate(invalid="ignore"):
        seen = moments.high.max(axis=1) - moments.low.min(axis=1)
    ranges = setting.ranges
    bins = zip(setting.wanted.bins, statistics.counts, strict=True)
    scheme, dynamics = setting.scheme, setting.dynamics
    return Ensemble(
        names=setting.names,
        times=setting.times,
        statistics=statistics,
        seed=setting.seed,
        ranges=np.where(np.isfinite(ranges), ranges, seen),
        bounded=np.isfinite(ranges),
        deterministic=setting.fixed,
        dynamics=dynamics,
        scheme=scheme,
        jump_records=_records(setting, statistics, span),
        signals=statistics.signals if setting.wanted.signals else None,
        histograms=tuple(
            Histogram.of(binning, setting.times, counts, n) for binning, counts in bins
        ),
        mean_state=_mean_state(setting, statistics),
        stopped_by=stopped_by,
        first=span.first * ATOM,
        provenance={
            "versions": environment(),
            "scheme": repr(scheme),
            "dt": scheme.dt,
            "unraveling": dict(dynamics.unraveling),
            "stratified": setting.extras.stratified,
            "calculus": setting.model.calculus,
            "norm_defect": statistics.norm_defect,
            "jump_time_residual": statistics.residual,
            "stopped_by": stopped_by,
            "failed": statistics.failed,
            **provenance,
        },
    )


def _mean_state(setting: Setting, statistics: Statistics) -> MeanState | None:
    """Return the mean of the states, if it was asked for."""
    if statistics.states is None:
        return None
    frame, times = Frame.of(setting.dynamics), setting.times
    return MeanState.of(frame, times[list(setting.wanted.states)], *statistics.states)


def _records(
    setting: Setting, statistics: Statistics, span: Span
) -> JumpRecords | None:
    """Return the kept jumps, numbered among all operators, with their names."""
    kept, dynamics = statistics.kept, setting.dynamics
    if kept is None:
        return None
    numbers, names = dynamics.jump_numbers, dynamics.jump_channels
    counts = np.zeros((len(names), kept.counts.shape[1]), dtype=np.int64)
    counts[numbers] = kept.counts
    return JumpRecords(
        trajectory=kept.trajectory - span.first * ATOM,
        time=kept.time,
        channel=numbers.astype(np.int32)[kept.channel],
        counts=counts,
        names=names,
        start=float(setting.times[0]),
        stop=float(setting.times[-1]),
        limit=setting.wanted.jumps,
    )
