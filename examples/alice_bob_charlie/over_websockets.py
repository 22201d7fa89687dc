"""Alice, Bob, Charlie and the tester as four workers that listen, each on a port of its own; this script coordinates them.

There is no Director's process: one runs inside this script, and keeps its journal in the folder. Killed at any moment and
started again with the same folder, it goes on where it was.

    python over_websockets.py [--owners owners.toml] [--folder FOLDER]
"""

import argparse
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import hansa
from hansa.callbacks.port import Watched
from hansa.core.entry import Entry
from hansa.runtime.local import LocalFederation

HERE = Path(__file__).parent


class Shows:
    """A callback: what each model knows, and how often it takes a picture for each digit, whenever it is measured."""

    def started(self, run: Watched) -> None:
        print(f"{run.id}\n\nround  model      accuracy  of 100 pictures taken for a 0, 1, ... 9")

    def entry(self, _run: Watched, entry: Entry) -> None:
        if entry.model is not None:
            confusion = entry.metrics["confusion"]
            assert isinstance(confusion, hansa.ConfusionMatrix)
            shares = confusion.predicted_shares([(digit,) for digit in range(10)])
            histogram = " ".join(f"{100 * share:3.0f}" for share in shares)
            print(f"{entry.round:5}  {entry.model:<10} {entry.metrics['accuracy'].value:7.2%}  {histogram}", flush=True)

    def ended(self, _run: Watched) -> None:
        print()


def workers(folder: Path, owners: Path) -> LocalFederation:
    """The four, with certificates; those that are in the folder already, where they are."""
    if LocalFederation.exists(folder):
        return LocalFederation.open(folder)
    made = LocalFederation(folder, hansa.load_owners(owners), listening=True)
    made.create()
    return made


def main(owners: Path, folder: Path) -> None:
    with workers(folder, owners) as listening:
        listening.up()  # as `hansa envoy start --listen wss://... ` does, four times, wherever the data are
        for name, address in listening.workers.items():
            print(f"{name} listens at {address}")
        with hansa.Federation.connect(list(listening.workers.values()), journal=folder / "director") as federation:
            experiment = hansa.load_experiment(HERE / "experiment.py").experiment
            run = federation.run(experiment, source=HERE / "experiment.py", callbacks=[Shows()])
            model = run.download(folder / "results")
            print(f"{run.history.final('accuracy'):.2%} after {run.history.rounds} rounds; model and history: {model}")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument(
        "--owners", type=Path, default=HERE / "owners.toml", help="who holds what; mnist.toml is another"
    )
    arguments.add_argument("--folder", type=Path, help="keep everything there; without, it is gone when this ends")
    chosen = arguments.parse_args()
    with ExitStack() as stack:
        main(chosen.owners, chosen.folder or Path(stack.enter_context(TemporaryDirectory())) / "workers")
