"""`hansa experiment submit`: an experiment file goes to a real federation, and its run is followed."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hansa.cli.follow import follow
from hansa.cli.options import DirectorAddress, IdentityFolder, Json, connected, split_pairs
from hansa.cli.screen import document, pairs, plain, screen, sized, table
from hansa.errors import NotConnected, RunFailed

if TYPE_CHECKING:
    from rich.console import Console

    from hansa.core.history import History
    from hansa.experiment.package import Package
    from hansa.runtime.user import User


def submit(
    file: Annotated[Path, typer.Argument(help="A Python file that defines `experiment`; owners bring their own data.")],
    director: DirectorAddress = None,
    identity: IdentityFolder = None,
    envoy: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="An Envoy to ask. Give it once for each; unless given, all are asked."),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="A label that Envoys must carry to be asked. Give it once for each."),
    ] = None,
    at_least: Annotated[
        int | None,
        typer.Option(min=1, help="How many Envoys must take part; else as many as are named with --envoy, or 1."),
    ] = None,
    include: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GLOB", help="Ship these files too, besides what the file imports: such as 'conf/*.json'."
        ),
    ] = None,
    require: Annotated[
        list[str] | None,
        typer.Option(metavar="REQ", help="A package that owners need, such as 'scikit-learn>=1.4'. Once for each."),
    ] = None,
    name: Annotated[str, typer.Option(help="What people read; else the experiment's own name.")] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Submit nothing; show what would be shipped, and who would take part.")
    ] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Do not wait until it is over.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(file_okay=False, metavar="DIR", help="Write model.safetensors and history.json there in the end."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Run an experiment file in a federation: the same file that `hansa run` runs in the simulator.

    Shipped are the file, the modules beside it that it imports, and the initial model; every owner can read them, and decides
    whether they may run. Ctrl-C only stops following: the run goes on.
    """
    from hansa.callbacks.progress import transferring
    from hansa.experiment import prepare_folder

    if out is not None:
        prepare_folder(out)
    console = screen(as_json)
    choices: dict[str, Any] = {"name": name, "include": include, "requirements": require, "envoys": envoy}
    choices |= {"labels": split_pairs(label or [], "the label"), "at_least": at_least or len(set(envoy or []))}
    with tempfile.TemporaryDirectory(prefix="hansa-submit-") as folder:
        with console.status(f"packing {file}"):
            package, initial = _packed(file, Path(folder), **choices)
        with connected(director, identity) as user:
            if dry_run:
                _preview(package, user.preview(package), console, as_json)
                return
            with transferring("sending the experiment", console) as sent:
                run = user.submit(package, initial, sent)
            console.print(f"submitted as {run}", soft_wrap=True)
            if detach:
                _detached(run, package, console, as_json)
                return
            last = follow(user, run, console, package.manifest.rounds)
            _ended(user, run, last, out, console, as_json)


def _packed(file: Path, folder: Path, **choices: Any) -> tuple[Package, Path]:
    """The package of an experiment file, and the file of its initial model; choices go before what the experiment says."""
    from hansa.experiment import load_experiment
    from hansa.federation.source import Source, packed

    loaded = load_experiment(file)
    with loaded.importing():
        return packed(Source(file), loaded.experiment, folder, **choices)


def _preview(package: Package, found: dict[str, Any], console: Console, as_json: bool) -> None:
    manifest = package.manifest
    if as_json:
        document({"hash": manifest.hash, "manifest": json.loads(manifest.encode()), **found})
        return
    console.print(
        pairs(
            {
                "experiment": manifest.name,
                "hash": manifest.hash,
                "needs": ", ".join(manifest.requirements) or "nothing besides Hansa",
                "initial model": sized(manifest.initial.size),
            }
        )
    )
    console.print(
        table("Would be shipped", ("path", "size"), [(f.path, sized(f.size)) for f in manifest.files], ("size",))
    )
    clients = [
        (client, held.get("train", ""), held.get("test", "")) for client, held in sorted(found["clients"].items())
    ]
    headings = ("client", "to train on", "to test on")
    console.print(table("Would take part", headings, clients, headings[1:]))
    if found["left_out"]:
        console.print(table("Would not", ("envoy", "why"), sorted(found["left_out"].items())))
    if not found["enough"]:
        lacking = f"{len(found['takes_part'])} of at least {found['at_least']} Envoys: the run would wait for more"
        console.print(plain(lacking, "bold yellow"))
    console.print("nothing was submitted")


def _detached(run: str, package: Package, console: Console, as_json: bool) -> None:
    if as_json:
        document({"run": run, "hash": package.manifest.hash})
    else:
        console.print(f"Follow it with:\n  hansa experiment logs {run} --follow", soft_wrap=True)


def _ended(user: User, run: str, last: dict[str, Any], out: Path | None, console: Console, as_json: bool) -> None:
    """Fetch what there is to fetch, and say how it ended.

    Raises:
        RunFailed: not well.
    """
    if not last:
        raise NotConnected(
            "the Director stopped telling how the run goes", where=f"run {run}", hint="ask it again later"
        )
    history = user.history(run)
    saved(history, out, console)
    if last["phase"] != "finished":
        hint = f"hansa experiment logs {run} shows what happened"
        raise RunFailed(last["why"] or f"the run was {last['phase']}", where=f"run {run}", hint=hint, history=history)
    concluded(run, history, console, as_json)


def saved(history: History, out: Path | None, console: Console) -> None:
    """Write a run's results, if somebody wants them."""
    from hansa.experiment import save_results

    if out is not None:
        save_results(history, out)
        console.print(f"wrote model.safetensors and history.json to {out}", soft_wrap=True)


def concluded(run: str, history: History, console: Console, as_json: bool) -> None:
    """The last line, or the document."""
    from hansa.cli import entries
    from hansa.protocol import codec

    if as_json:
        document({"run": run, **entries.document(history)})
    else:
        console.print(f"model sha256 {codec.digest(history.model)}", soft_wrap=True)
