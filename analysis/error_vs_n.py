"""Draw the error of a run's averages against the number of trajectories.

    python analysis/error_vs_n.py OUT_DIR [--save PATH]

reads OUT_DIR/error_vs_n.csv, which `stochq run` wrote, and draws it with the line
sd / sqrt(n) that independent trajectories must follow into OUT_DIR/error_vs_n.png.
"""

import argparse
import sys
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from stochq.files import write_figure
from stochq.plots import plot_error_convergence


def draw(table: Path, save: Path) -> None:
    figure = Figure(figsize=(7, 5), layout="constrained")
    plot_error_convergence(pd.read_csv(table), figure.subplots())
    write_figure(save, figure)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out_dir", type=Path, help="folder that `stochq run` filled")
    parser.add_argument("--save", type=Path, help="default: OUT_DIR/error_vs_n.png")
    args = parser.parse_args()
    save = args.save or args.out_dir / "error_vs_n.png"
    try:
        draw(args.out_dir / "error_vs_n.csv", save)
    except OSError as error:
        print(f"error_vs_n: error: {error.strerror}: {error.filename}", file=sys.stderr)
        return 2
    print(save)
    return 0


if __name__ == "__main__":
    sys.exit(main())
