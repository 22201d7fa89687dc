"""`hansa run`: run an experiment file, in the simulator or in a real federation."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from hansa.cli.options import IdentityFolder
from hansa.cli.submit import submit
from hansa.errors import ConfigError, RunFailed

if TYPE_CHECKING:
    from rich.status import Status

    from hansa.callbacks import Watched
    from hansa.core.history import Entry
    from hansa.experiment.reference import Mode
    from hansa.simulation.choice import ExecutorChoice


def run(
    file: Annotated[Path, typer.Argument(help="A Python file that defines `experiment`, and `data` to simulate on.")],
    out: Annotated[
        Path | None, typer.Option(file_okay=False, help="Write model.safetensors and history.json there.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
    fast: Annotated[
        bool, typer.Option("--fast", help="As quickly as it can; last bits may differ from run to run.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Simulate in so many worker processes.", show_default=False)
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Compute local training by this engine only; unless given, trials choose."),
    ] = None,
    federation: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT", help="Run it in this real federation, on its owners' data, not in the simulator."
        ),
    ] = None,
    owners: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False, metavar="TOML", help="A file that names owners of data; instead of the file's `data`."
        ),
    ] = None,
    local: Annotated[
        bool, typer.Option("--local", help="Start the owners as a real federation of processes on this machine.")
    ] = False,
    identity: IdentityFolder = None,
) -> None:
    """Run an experiment file: in the simulator, or with --federation or --local at the owners of the data."""
    if (fast or workers is not None or engine is not None) and (local or federation):
        raise ConfigError(
            "--fast, --workers and --engine are for the simulator; a real federation computes in reference mode"
        )
    if federation is not None:
        if local or owners is not None:
            raise ConfigError("a real federation has owners of its own", hint="leave out --owners and --local")
        submit(file, director=federation, identity=identity, out=out, as_json=as_json)
    elif local:
        _locally(file, owners, out, as_json=as_json)
    else:
        _simulate(file, owners, out, _executor(workers, engine), as_json=as_json, fast=fast)


def _executor(workers: int | None, engine: str | None) -> ExecutorChoice | None:
    """How to simulate; None to let the simulator choose."""
    from hansa.simulation.choice import Fused, Processes

    if workers is not None:
        return Processes(workers, engine)
    return None if engine is None else Fused(engine)


def _locally(file: Path, owners: Path | None, out: Path | None, *, as_json: bool) -> None:
    """Start a federation for this run only."""
    import tempfile

    from hansa.data.owners import load_owners
    from hansa.runtime.local import LocalFederation

    if owners is None:
        raise ConfigError("nobody says who the owners are", hint="name a file: --owners owners.toml")
    console = Console(stderr=as_json, highlight=False)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hansa-local-")))
        federation = stack.enter_context(LocalFederation(folder / "federation", load_owners(owners)))
        with console.status("starting a Director and the Envoys"):
            federation.create()
            federation.up()
        console.print(f"a Director and {len(federation.owners)} Envoys are up")
        submit(
            file,
            director=federation.address,
            identity=federation.folder / "user",
            envoy=list(federation.owners),
            out=out,
            as_json=as_json,
        )


def _simulate(
    file: Path, owners: Path | None, out: Path | None, executor: ExecutorChoice | None, *, as_json: bool, fast: bool
) -> None:
    from hansa.cli.entries import document
    from hansa.data.owners import load_owners, shards_of
    from hansa.experiment import load_experiment, prepare_folder, save_results
    from hansa.federation import Federation
    from hansa.federation.source import Source
    from hansa.protocol import codec

    if out is not None:
        prepare_folder(out)
    console = Console(stderr=as_json, highlight=False)
    with console.status(f"loading {file}") as status:
        loaded = load_experiment(file)
        data = loaded.data() if owners is None else shards_of(load_owners(owners))
        mode: Mode = "fast" if fast else "reference"
        simulated = Federation.simulate(data, mode=mode, executor=executor)
        try:
            with loaded.importing():
                source = Source(file, names=loaded.names)
                done = simulated.run(loaded.experiment, callbacks=[_Lines(console, status)], source=source)
        except RunFailed as failure:
            if out is not None and failure.history is not None:
                save_results(failure.history, out)
            raise
    if out is not None:
        done.download(out)
        console.print(f"wrote model.safetensors and history.json to {out}", soft_wrap=True)
    seconds = sum(entry.seconds for entry in done.history.entries)
    console.print(f"{done.history.rounds} rounds in {seconds:.1f} s")
    if as_json:
        typer.echo(json.dumps(document(done.history), indent=1, allow_nan=False))
    else:
        console.print(f"model sha256 {codec.digest(done.history.model)}", soft_wrap=True)


@dataclass(frozen=True)
class _Lines:
    """A callback: a line for every ask, and in a terminal how far the run is."""

    console: Console
    status: Status

    def started(self, run: Watched) -> None:
        self.status.update(run.name)

    def entry(self, run: Watched, entry: Entry) -> None:
        from hansa.cli.entries import line

        of = "" if run.rounds is None else f" of {run.rounds}"
        self.status.update(f"{run.name}: {run.history.rounds}{of} rounds completed")
        self.console.print(line(entry), soft_wrap=True)

    def ended(self, run: Watched) -> None:
        """What is said in the end, the command says."""
