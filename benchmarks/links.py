"""A federation over bad links: 200 ms, 5 % loss, 1 Mbit/s each way, the cables out every 10 s, an Envoy killed.

    python -m benchmarks.links [--websocket] [--transform quantised] [--kill] [--delay 0.2] [--loss 0.05] [--rate "1 Mbit/s"]

Three Envoys in network namespaces of their own, each behind a wire that delays and loses packets, and a Director in the open.
Needs Linux and root. It ends with what it took, and with a status other than 0 if the run did not finish with the bits of the
simulator.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import hansa
from benchmarks.federation.ground import GIVEN, Submission
from benchmarks.federation.scattered import Ground, Scattered
from benchmarks.federation.wires import Line
from hansa.data.owners import Owner
from hansa.protocol import codec
from hansa.runtime.user import User

NAMES = ("alice", "bob", "carol")
EVERY, OUT = 10.0, 2.0
"""Seconds from one cut to the next, and for which the cable stays out."""

PATIENCE = 1200.0
"""Seconds after which the run is taken to hang."""

EXPERIMENT = """
import hansa
from hansa.algorithms.compressed import Compressed
from hansa.transforms import Half, Quantised, Sparsified

model = hansa.NumpyMLP((5, {hidden}, 3))
local = hansa.LocalTraining(model, hansa.SGD(0.1), batch_size=8, steps=5)
algorithm = hansa.FedAvg(local, rounds={rounds})
TRANSFORMS = {{"half": Half(), "quantised": Quantised(8), "sparsified": [Sparsified(0.05), Quantised(8)]}}
if {transform!r}:
    algorithm = Compressed(algorithm, TRANSFORMS[{transform!r}], feedback=True)
experiment = hansa.Experiment(model, algorithm, seed=1, name="links")
"""


@dataclass
class Disturber:
    """Takes the cables out, and breaks all connections off before they are in again."""

    ground: Ground
    cuts: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Until it is over."""
        while not self.over.wait(EVERY - OUT):
            self.ground.plug(into=False)
            self.over.wait(OUT)
            for name in NAMES:
                self.ground.reset(name)
            self.ground.plug(into=True)
            self.cuts += 1


def simulated(entry: Path) -> str:
    """The bits that the simulator gives."""
    loaded = hansa.load_experiment(entry)
    with loaded.importing():
        owners = [Owner(name, "shard:Few", {"number": n}, GIVEN) for n, name in enumerate(NAMES)]
        data = hansa.shards_of(owners)
        return codec.digest(hansa.Federation.simulate(data).run(loaded.experiment).history.model)


def followed(user: User, run: str, made: Scattered, *, kill: bool) -> str:
    """Wait until a run is over, and perhaps kill an Envoy in its middle; how it ended."""
    until, pause = time.monotonic() + PATIENCE, threading.Event()
    while time.monotonic() < until:
        shown = user.about(run)
        if shown["phase"] in ("finished", "failed", "cancelled"):
            return f"{shown['phase']}: {shown['why']}" if shown["why"] else shown["phase"]
        if kill and shown["rounds"] == 1:
            made.kill(NAMES[0])
            made.start(NAMES[0])
            kill = False
        made.check()
        pause.wait(0.5)
    return "hangs"


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.links", description=__doc__)
    parser.add_argument("--websocket", action="store_true", help="over WebSocket, not gRPC")
    parser.add_argument("--transform", default="", choices=("", "half", "quantised", "sparsified"))
    parser.add_argument("--kill", action="store_true", help="kill an Envoy in the second round")
    parser.add_argument("--calm", action="store_true", help="no cuts")
    parser.add_argument("--bandwidth", default="unlimited", help="of each Envoy, as its file says it")
    parser.add_argument("--hidden", type=int, default=5000, help="units of the model's layer; it has 36 bytes for each")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--delay", type=float, default=0.2, help="seconds each way")
    parser.add_argument("--loss", type=float, default=0.05, help="share of packets, each way")
    parser.add_argument("--rate", default="1 Mbit/s", help="each way")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hansa-links-") as place, ExitStack() as stack:
        folder = Path(place)
        entry = folder / "links.py"
        entry.write_text(EXPERIMENT.format(hidden=asked.hidden, rounds=asked.rounds, transform=asked.transform))
        bits = simulated(entry)
        try:
            ground = stack.enter_context(Ground(NAMES, Line(asked.delay, asked.loss, asked.rate)))
        except (OSError, subprocess.CalledProcessError) as problem:
            print(f"this needs Linux, root, network namespaces and TUN devices: {problem}", file=sys.stderr)
            return 2
        owners = [Owner(name, "shard:Few", {"number": n}, GIVEN) for n, name in enumerate(NAMES)]
        made = Scattered(folder / "f", owners, ground, websocket=asked.websocket, bandwidth=asked.bandwidth)
        stack.enter_context(made)
        made.create()
        made.up(120.0)
        submission = Submission.of(entry, folder, NAMES)
        disturber = Disturber(ground)
        cutting = threading.Thread(target=disturber.run)
        before = {name: tuple(ground.wires[name].carried) for name in NAMES}
        began = time.monotonic()
        user = stack.enter_context(made.user())
        run = user.submit(submission.package, submission.initial)
        if not asked.calm:
            cutting.start()
        try:
            ended = followed(user, run, made, kill=asked.kill)
        finally:
            disturber.over.set()
            if cutting.ident is not None:
                cutting.join()
        took = time.monotonic() - began
        history = user.history(run)
        same = codec.digest(history.model) == bits
        up, down = (sum(entry.up for entry in history.entries), sum(entry.down for entry in history.entries))
        print(f"{ended}, {'the bits of the simulator' if same else 'OTHER BITS'}: {took:.0f} s, {disturber.cuts} cuts")
        print(f"arrays: {up} bytes up, {down} down")
        for name in NAMES:
            sent, got = (now - then for now, then in zip(ground.wires[name].carried, before[name], strict=True))
            print(f"{name}: {sent} bytes sent, {got} received, packets and repetitions included")
    return 0 if ended == "finished" and same else 1


if __name__ == "__main__":
    sys.exit(main())
