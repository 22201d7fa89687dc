"""`python -m benchmarks.asynchrony [virtual] [paced]`: virtual and real time to accuracy, FedBuff against FedAvg that waits.

Both need MNIST: HANSA_DATA names the folder of data sets. `virtual` takes half an hour for nine seeds; `paced`, which runs a
federation of ten real Envoys and mostly waits, ten minutes.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault(
    "OPENBLAS_NUM_THREADS", "1"
)  # before NumPy is loaded: several runs beside each other gain nothing

from benchmarks.__main__ import table
from benchmarks.asynchrony import paced, virtual


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.asynchrony", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="virtual, paced; both unless given")
    parser.add_argument("--seeds", type=int, nargs="+", default=range(9), help="of `virtual`; 0 to 8 unless given")
    parser.add_argument("--tune", action="store_true", help="of `virtual`: only try the server's rates")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="of `virtual`: draw the curves there")
    arguments = parser.parse_args()
    names = arguments.names or ["virtual", "paced"]
    if unknown := set(names) - {"virtual", "paced"}:
        parser.error(f"there is no {', '.join(sorted(unknown))}; choose of: virtual, paced")
    if "virtual" in names:
        if arguments.tune:
            rows = [row for spread in ("skewed", "equal") for row in virtual.tuned(spread)]
        else:
            rows = virtual.run(arguments.seeds, arguments.pictures)
        print(table(rows), flush=True)
    if "paced" in names:
        print("\n" + table(paced.run()), flush=True)


if __name__ == "__main__":
    main()
