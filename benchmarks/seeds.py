"""`python -m benchmarks.seeds`: the demo's accuracy for seeds 0 to 4, against the bars that it must reach."""

from __future__ import annotations

import argparse
import statistics
import sys

from hansa.demo.play import Measured
from hansa.demo.scenario import GROUPS, OWNERS, Scenario
from hansa.federation import Federation

BARS = {"digits": 0.95, "mnist": 0.955}
SEEDS = range(5)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.seeds", description=__doc__)
    parser.add_argument("datasets", nargs="*", help=f"of {', '.join(BARS)}; all unless given")
    reached = [measure(dataset) for dataset in parser.parse_args().datasets or BARS]
    sys.exit(0 if all(reached) else 1)


def measure(dataset: str) -> bool:
    """Print the accuracies of one data set in Markdown; whether their median reaches the bar."""
    print(f"### {dataset}\n")
    final = []
    for seed in SEEDS:
        scenario = Scenario(dataset, seed=seed)
        history = Federation.simulate(scenario.data).run(scenario.federated()).history
        if seed == SEEDS[0]:
            print(
                f"| seed | {' | '.join(f'round {r}' for r in scenario.reported)} | owners' own classes after round 1 |"
            )
            print(f"|---{'|---' * len(scenario.reported)}|---|")
        own = [
            Measured.of(next(history.evaluations(owner))).shares[group]
            for owner, group in zip(OWNERS, GROUPS, strict=True)
        ]
        curve = [accuracy for _, accuracy in history.series("accuracy")]
        print(
            f"| {seed} | {' | '.join(f'{a:.2%}' for a in curve)} | {' '.join(f'{share:.1%}' for share in own)} |",
            flush=True,
        )
        final.append(curve[-1])
    median = statistics.median(final)
    print(f"\nmedian {median:.2%}, bar {BARS[dataset]:.1%}: {'reached' if median >= BARS[dataset] else 'MISSED'}\n")
    return median >= BARS[dataset]


if __name__ == "__main__":
    main()
