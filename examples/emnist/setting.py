"""What the three experiments have in common: whose digits, who takes part, how long, and what `python FILE` prints."""

from statistics import median

import hansa

ROUNDS, EVERY = 60, 10
COHORT, BATCH = 10, 20  # writers a round, digits a batch
WRITERS, UNSEEN = 539, 10_000  # at most so many writers to train on, and digits of others to test on


def data() -> hansa.FederatedData:
    """A client for each writer; the digits of people whom nobody trains on are one evaluator's."""
    mnist = hansa.load_dataset("mnist_by_writer")
    train, test = without_writer(mnist.train), without_writer(mnist.test)
    rows = hansa.ByField("writer").assign(mnist.train, hansa.key(0))
    writers = {f"writer-{writer}": train.select(rows[writer]) for writer in list(rows)[:WRITERS]}
    return hansa.FederatedData(writers, {"newcomers": test.take(UNSEEN)})


def without_writer(examples: hansa.ClientDataset) -> hansa.ClientDataset:
    """Pictures and labels alone, normalised here once and not in every batch again."""
    columns = examples.all()
    return hansa.ClientDataset({"x": columns["x"], "y": columns["y"]})


def simulate(experiment: hansa.Experiment) -> None:
    """Run it, and say how well it reads unseen writers' digits and how long that took."""
    history = hansa.Federation.simulate(data(), mode="fast").run(experiment).history
    seconds = [entry.seconds for entry in history.entries if entry.work == "train"]
    print(history.table())
    print(f"training took {sum(seconds):.1f} s, the first round {seconds[0]:.1f} s;", end=" ")
    print(f"{1 / median(seconds):.2f} rounds a second")
