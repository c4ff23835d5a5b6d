"""Execution of a run file: trajectories, their average, the verdict, and files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stochq.captions import probability
from stochq.claims import Case, Finding, Reading
from stochq.driver import How, run_setting
from stochq.ensemble import Ensemble
from stochq.extras import Extras
from stochq.files import write_figure, write_json, write_table
from stochq.frames import error_frame
from stochq.plots import plot_findings
from stochq.references import Reference, master_equation
from stochq.runfile import RunFile
from stochq.running.stopping import Goal
from stochq.setting import setting_of, stored_scheme
from stochq.tables import verdict_record
from stochq.verdict import Verdict
from stochq.verification import verify

__all__ = ["RUN_FILE", "TRAJECTORIES", "execute_run", "sample_run"]

#: The copy of the run file beside the files of a run.
RUN_FILE = "run.toml"

#: The folder of the trajectories beside the files of a run, or of a verification.
TRAJECTORIES = "trajectories"


def sample_run(run: RunFile, goal: Goal, how: How) -> Ensemble:
    """Run the trajectories of a run file, those that are kept already excepted.

    Parameters
    ----------
    run : RunFile
        From `load_run`.
    goal : Goal
        When to stop: ``run.goal``, or another one.
    how : How
        Its folder is the checkpoint.
    """
    setting = setting_of(
        run.model,
        run.times,
        run.seed,
        run.unraveling,
        Extras(),
        stored_scheme(how.folder),
        goal,
    )
    return run_setting(setting, goal, how)


def execute_run(
    run: RunFile,
    out: Path,
    n_jobs: int | None = None,
    progress: bool | None = None,
    goal: Goal | None = None,
) -> Verdict:
    """Simulate, average, judge, and write everything into a folder.

    Parameters
    ----------
    run : RunFile
        From `load_run`.
    out : Path
        An existing folder. It gets ensemble.csv, reference.csv, error_vs_n.csv,
        verdict.json, provenance.json and figure.png, and keeps the trajectories in
        the checkpoint `trajectories`, with which the same call goes on.
    n_jobs : int, default 1
        Parallel threads.
    progress : bool, optional
        Show a bar; by default on a terminal only.
    goal : Goal, optional
        When to stop; by default as the run file says.

    Returns
    -------
    Verdict
    """
    reference = master_equation(run.model, run.times)
    how = How(n_jobs, progress=progress, folder=out / TRAJECTORIES)
    goal = goal or run.goal
    ensemble = sample_run(run, goal, how)
    verdict = verify(ensemble, reference, alpha=run.alpha, resolution=run.resolution)
    write_table(out / "ensemble.csv", ensemble.to_frame())
    write_table(out / "reference.csv", reference.to_frame())
    write_table(out / "error_vs_n.csv", error_frame(ensemble, reference))
    write_json(out / "verdict.json", verdict_record(verdict))
    asked = goal.record(list(run.model.observables))
    write_json(out / "provenance.json", _provenance(run, asked, ensemble, reference))
    reading = Reading("document", reference, reference.method, run.resolution)
    case = Case(run.model.name, run.model, run.times, {}, [reading], run.unraveling)
    finding = Finding(case, ensemble, (verdict,))
    found = f"{verdict.status.upper()}: p {probability(verdict.p_value)}."
    write_figure(out / "figure.png", plot_findings([finding], run.title, found))
    return verdict


def _provenance(
    run: RunFile, goal: Mapping[str, Any], ensemble: Ensemble, reference: Reference
) -> dict[str, Any]:
    """Return what is needed to repeat a run."""
    return {
        "title": run.title,
        "model": {"builder": run.builder, **run.parameters},
        "n_traj": ensemble.n_traj,
        "goal": goal,
        "seed": run.seed,
        **ensemble.provenance,
        "reference": {"method": reference.method, "error": reference.error},
    }
