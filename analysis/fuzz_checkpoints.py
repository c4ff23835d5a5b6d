"""Damage checkpoint folders at random: never a wrong number, never a traceback.

    python analysis/fuzz_checkpoints.py [--cases 600] [--seed 1] [--save PATH]

A finished run of four kinds in three files is copied, damaged one to three times, and
used: simulated again, resumed, looked at, or merged with another shard. What comes out
must be the bits of an undamaged run, or one line that refuses. Counts by kind of damage
and outcome go to analysis/results/fuzz_checkpoints.csv.
"""

import argparse
import json
import re
import shutil
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from bits import bits, different
from checkpoint_runs import block_paths, plain, run
from provenance import header

from stochq.checkpoints.reading import read_description
from stochq.errors import CheckpointError, DescriptionError
from stochq.folders import checkpoint_status, merge_checkpoints, resume

ROOT = Path(__file__).parents[1]
SAVE = ROOT / "analysis" / "results" / "fuzz_checkpoints.csv"

CASES, SEED = 600, 1

NAMES = ("all extras", "measured", "fermions", "explicit")
N_TRAJ, STEPS = 330, (128, 256, 330)

Random = np.random.Generator
RIGHT, REFUSED = "right bits", "refused in one line"


def make(folder: Path) -> None:
    """Make the folders that are damaged: whole ones, halves, and strangers."""
    for name in NAMES:
        for stop in STEPS:
            run(name, stop, checkpoint=folder / name / "whole")
            run(name, stop, seed=2, checkpoint=folder / name / "stranger")
        for k in (1, 2):
            run(name, N_TRAJ, checkpoint=folder / name / f"half{k}", shard=(k, 2))


# ------------------------------------------------------------------------- damages


def chosen(random: Random, folder: Path) -> Path:
    """Return one of the files of a folder."""
    files = sorted(p for p in folder.iterdir() if p.is_file() and p.name != ".lock")
    return files[random.integers(len(files))] if files else folder / "run.json"


def flip_bits(random: Random, folder: Path, stranger: Path) -> None:
    path = chosen(random, folder)
    content = bytearray(path.read_bytes() or b"0")
    for _ in range(random.integers(1, 9)):
        content[random.integers(len(content))] ^= 1 << random.integers(8)
    path.write_bytes(content)


def truncate(random: Random, folder: Path, stranger: Path) -> None:
    path = chosen(random, folder)
    content = path.read_bytes()
    path.write_bytes(content[: random.integers(len(content) + 1)])


def append(random: Random, folder: Path, stranger: Path) -> None:
    path = chosen(random, folder)
    path.write_bytes(path.read_bytes() + random.bytes(random.integers(1, 99)))


def overwrite(random: Random, folder: Path, stranger: Path) -> None:
    path = chosen(random, folder)
    content = bytearray(path.read_bytes() or b"0")
    start = random.integers(len(content))
    stop = min(len(content), start + random.integers(1, 999))
    content[start:stop] = random.bytes(int(stop - start))
    path.write_bytes(content)


def replace_all(random: Random, folder: Path, stranger: Path) -> None:
    chosen(random, folder).write_bytes(random.bytes(random.integers(0, 2000)))


def delete(random: Random, folder: Path, stranger: Path) -> None:
    chosen(random, folder).unlink(missing_ok=True)


def swap(random: Random, folder: Path, stranger: Path) -> None:
    one, other = chosen(random, folder), chosen(random, folder)
    contents = one.read_bytes(), other.read_bytes()
    one.write_bytes(contents[1])
    other.write_bytes(contents[0])


def duplicate(random: Random, folder: Path, stranger: Path) -> None:
    path = chosen(random, folder)
    shutil.copy(path, folder / f"trajectories-{random.integers(999)}.npz")


def rename(random: Random, folder: Path, stranger: Path) -> None:
    path = chosen(random, folder)
    places = [k for k, c in enumerate(path.name) if c in "0123456789abcdef"] or [0]
    name = list(path.name)
    name[places[random.integers(len(places))]] = "0123456789abcdef"[random.integers(16)]
    path.rename(folder / "".join(name))


def mix_in(random: Random, folder: Path, stranger: Path) -> None:
    shutil.copy(chosen(random, stranger), folder)


def edit_number(random: Random, folder: Path, stranger: Path) -> None:
    """Change one number, word or name in run.json or goal.json."""
    path = folder / ("run.json", "goal.json")[random.integers(2)]
    if not path.is_file():
        return
    text = path.read_bytes().decode(errors="replace")
    tokens = list(re.finditer(r'-?\d+(\.\d+)?|"[^"\n]*"|null|true|false', text))
    if not tokens:
        return
    token = tokens[random.integers(len(tokens))]
    values = ("0", "-1", "7", "1e999", "NaN", "null", '"x"', "[]", "{}", "[[[[]]]]")
    new = values[random.integers(len(values))]
    path.write_text(text[: token.start()] + new + text[token.end() :])


def replace_by_folder(random: Random, folder: Path, stranger: Path) -> None:
    path = chosen(random, folder)
    path.unlink(missing_ok=True)
    path.mkdir()


def replace_by_link(random: Random, folder: Path, stranger: Path) -> None:
    path = chosen(random, folder)
    path.unlink(missing_ok=True)
    targets = ("nowhere", "/dev/zero", "..", path.name, str(chosen(random, stranger)))
    path.symlink_to(targets[random.integers(len(targets))])


Damage = Callable[[Random, Path, Path], None]
DAMAGES: tuple[Damage, ...] = (
    flip_bits, truncate, append, overwrite, replace_all, delete, swap, duplicate,
    rename, mix_in, edit_number, replace_by_folder, replace_by_link,
)  # fmt: skip


# ---------------------------------------------------------------------------- uses


def judged(found: Any, name: str) -> str:
    """Return whether an ensemble has the right bits."""
    return "WRONG BITS" if different(bits(found), plain(name, N_TRAJ)) else RIGHT


def simulated(folder: Path, name: str, sound: Path) -> str:
    return judged(run(name, N_TRAJ, checkpoint=folder), name)


def resumed(folder: Path, name: str, sound: Path) -> str:
    """Resume; where that is refused, simulate."""
    try:
        return judged(resume(folder), name)
    except (CheckpointError, DescriptionError) as error:
        if "\n" in str(error):
            return "SEVERAL LINES"
    return simulated(folder, name, sound)


def looked_at(folder: Path, name: str, sound: Path) -> str:
    """Compare the status with the files that are as they were."""
    status = checkpoint_status(folder)
    status.explain()
    good: set[int] = set()
    for path in block_paths(sound):
        same = folder / path.name
        if same.is_file() and same.read_bytes() == path.read_bytes():
            good |= set(range(*(int(n) for n in path.name.split("-")[1:3])))
    told = {k for first, stop in status.ranges for k in range(first, stop)}
    described = read_description(folder).digest == read_description(sound).digest
    return RIGHT if told == good or not described else "WRONG STATUS"


def merged(folder: Path, name: str, sound: Path) -> str:
    """Merge the damaged half with the other one; where refused, mend it before."""
    other, out = sound.with_name("half2"), folder.with_name("out")
    try:
        merge_checkpoints([folder, other], out)
    except (CheckpointError, DescriptionError) as error:
        if "\n" in str(error):
            return "SEVERAL LINES"
        run(name, N_TRAJ, checkpoint=folder, shard=(1, 2))
        merge_checkpoints([folder, other], out)
    return judged(resume(out), name)


USES = ((simulated, "whole"), (resumed, "whole"), (looked_at, "whole"),
        (merged, "half1"))  # fmt: skip


@dataclass(frozen=True)
class Case:
    """What was done to a folder, and what came of it."""

    number: int
    damage: str
    times: int
    use: str
    outcome: str


def outcome_of(use: Any, folder: Path, name: str, sound: Path) -> str:
    """Use a folder; nothing but the right bits and refusals has a good name."""
    try:
        return str(use(folder, name, sound))
    except (CheckpointError, DescriptionError) as error:
        return "SEVERAL LINES" if "\n" in str(error) else REFUSED
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:200]


def cases(count: int, seed: int) -> Iterator[Case]:
    """Damage and use folders."""
    with tempfile.TemporaryDirectory() as home, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = Path(home) / "made"
        make(made)
        for number in range(count):
            random = np.random.default_rng([seed, number])
            damage = DAMAGES[number % len(DAMAGES)]
            name = NAMES[random.integers(len(NAMES))]
            use, kind = USES[random.integers(len(USES))]
            times = int(random.choice([1, 1, 2, 3]))
            folder = Path(home) / f"{number}" / "run"
            shutil.copytree(made / name / kind, folder)
            for _ in range(times):
                damage(random, folder, made / name / "stranger")
            outcome = outcome_of(use, folder, name, made / name / kind)
            yield Case(number, damage.__name__, times, use.__name__, outcome)
            shutil.rmtree(folder.parent)


def good(case: Case) -> bool:
    """Tell whether the outcome is one of those that are allowed."""
    return case.outcome in (RIGHT, REFUSED)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=CASES)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--save", type=Path, default=SAVE)
    args = parser.parse_args()
    found = list(cases(args.cases, args.seed))
    for case in found:
        if not good(case):
            print(json.dumps(case.__dict__))
    counts = Counter((c.damage.replace("_", " "), c.use, c.outcome) for c in found)
    rows = [(*key, count) for key, count in sorted(counts.items())]
    table = pd.DataFrame(rows, columns=["damage", "use", "outcome", "cases"])
    bad = sum(not good(case) for case in found)
    lines = header(
        f"python analysis/fuzz_checkpoints.py --cases {args.cases} --seed {args.seed}",
        f"seed: {args.seed}, folders: {len(found)}, with any other outcome: {bad}",
    )
    args.save.parent.mkdir(parents=True, exist_ok=True)
    args.save.write_text("\n".join([*lines, table.to_csv(index=False)]))
    print(args.save, f"{bad} of {len(found)} bad")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
