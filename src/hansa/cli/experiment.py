"""`hansa experiment`: experiments in a real federation, from submitting one to fetching its model."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hansa.cli.follow import OVER, follow, show, so_far, state
from hansa.cli.options import DirectorAddress, IdentityFolder, Json, connected
from hansa.cli.screen import document, lasting, pairs, plain, screen, sized, table, when
from hansa.cli.submit import concluded, saved, submit

if TYPE_CHECKING:
    from rich.table import Table

    from hansa.protocol.messages import Request

app = typer.Typer(help="Experiments in a real federation: submit, follow, fetch.", no_args_is_help=True)
app.command()(submit)

Run = Annotated[str, typer.Argument(metavar="RUN", help="The run's id, as hansa experiment list shows it.")]

_PHASES = {"finished": "green", "failed": "red", "cancelled": "yellow", "running": "cyan"}


@app.command("list")
def list_(director: DirectorAddress = None, identity: IdentityFolder = None, as_json: Json = False) -> None:
    """List your runs and those that are shared with you; an administrator sees all."""
    with connected(director, identity) as user:
        runs = user.overview()["runs"]
    if as_json:
        document(runs)
    elif runs:
        screen().print(run_table(runs))
    else:
        screen().print("no runs yet; submit one with: hansa experiment submit FILE")


@app.command("show")
def show_(run: Run, director: DirectorAddress = None, identity: IdentityFolder = None, as_json: Json = False) -> None:
    """Show how a run stands: its phase and what it waits for, its Envoys, its model."""
    with connected(director, identity) as user:
        found = user.about(run)
    if as_json:
        document(found)
        return
    console, model = screen(), found["model"]
    console.print(
        pairs(
            {
                "run": found["run"],
                "experiment": found["name"],
                "state": plain(state(found), _PHASES.get(found["phase"], "")),
                "owner": found["owner"],
                "shared with": ", ".join(found["shared"]),
                "hash": found["hash"],
                "seed": found["seed"],
                "rounds": found["rounds"],
                "submitted": when(found["submitted"]),
                "ended": when(found["ended"]),
                "model": "" if model is None else f"sha256 {model['sha256']}, {sized(model['size'])}",
                "crashes": found["crashes"] or "",
            }
        )
    )
    if "\n" in found["why"]:
        console.print(plain(found["why"], "dim"), soft_wrap=True)
    members = [
        (name, member["state"], "yes" if member["online"] else plain("no", "yellow"), member["why"].split("\n", 1)[0])
        for name, member in found["envoys"].items()
    ]
    if members:
        console.print(table("Its Envoys", ("envoy", "state", "online", "why"), members))


@app.command()
def logs(
    run: Run,
    following: Annotated[bool, typer.Option("--follow", help="Go on until the run is over.")] = False,
    director: DirectorAddress = None,
    identity: IdentityFolder = None,
    as_json: Json = False,
) -> None:
    """Show what happened in a run: every step, and every client's failure with its traceback.

    How much of an error leaves an owner is the owner's say: by default its type, files and lines, and not its text.
    """
    with connected(director, identity) as user:
        if following and not as_json:
            follow(user, run, screen(), failures=True)
            return
        if following:
            for _ in user.follow(run):
                pass
        entries, found = so_far(user, run)
    if as_json:
        document({"run": found, "entries": entries})
        return
    console = screen()
    for entry in entries:
        show(entry, console, failures=True)
    console.print(plain(": ".join(filter(None, (found["phase"], found["why"])))), soft_wrap=True)


@app.command()
def printed(
    run: Run,
    client: Annotated[str, typer.Argument(metavar="CLIENT", help="Of this client only; else of all.")] = "",
    director: DirectorAddress = None,
    identity: IdentityFolder = None,
    as_json: Json = False,
) -> None:
    """Show what works printed at the owners who let that leave ([leaves] logs in their file), and the Aggregator."""
    from hansa.protocol.messages import Request

    with connected(director, identity) as user:
        found = user.about(run, Request.LOGS, client)
    if as_json:
        document(found)
    else:
        screen().print(plain(found["log"] or "nothing was printed, or its owners let nothing leave"), soft_wrap=True)


@app.command()
def resume(run: Run, director: DirectorAddress = None, identity: IdentityFolder = None, as_json: Json = False) -> None:
    """Go on with a run that failed or was cancelled, from its last completed step: as a new run, whose id is shown."""
    from hansa.protocol.messages import Request

    with connected(director, identity) as user:
        found = user.about(run, Request.RESUME)
    if as_json:
        document(found)
    else:
        screen().print(plain(f"goes on as {found['run']}"), soft_wrap=True)


@app.command()
def download(
    run: Run,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="For model.safetensors and history.json.")],
    director: DirectorAddress = None,
    identity: IdentityFolder = None,
    as_json: Json = False,
) -> None:
    """Fetch a run's model and History, as `hansa run --out` writes them. Of a run that goes on, as far as it has come."""
    from hansa.experiment import prepare_folder

    prepare_folder(folder)
    console = screen(as_json)
    with connected(director, identity) as user, console.status("fetching"):
        found, history = user.about(run), user.history(run)
    saved(history, folder, console)
    if found["phase"] not in OVER:
        console.print(plain(f"the run goes on: this is its model after {history.rounds} rounds", "yellow"))
    concluded(run, history, console, as_json)


@app.command()
def cancel(run: Run, director: DirectorAddress = None, identity: IdentityFolder = None, as_json: Json = False) -> None:
    """Stop a run. What it has come to so far can still be downloaded."""
    _ask(run, "CANCEL", "", f"cancelled {run}", director, identity, as_json)


@app.command()
def remove(run: Run, director: DirectorAddress = None, identity: IdentityFolder = None, as_json: Json = False) -> None:
    """Forget a run that is over: its model and its History are deleted."""
    _ask(run, "REMOVE", "", f"removed {run}", director, identity, as_json)


@app.command()
def share(
    run: Run,
    user: Annotated[str, typer.Argument(metavar="USER", help="The name of another user of the federation.")],
    director: DirectorAddress = None,
    identity: IdentityFolder = None,
    as_json: Json = False,
) -> None:
    """Let another user see a run, and fetch its model."""
    from hansa.protocol.peer import checked_name

    _ask(run, "SHARE", checked_name(user), f"{user} can see {run} now", director, identity, as_json)


@app.command()
def approve(run: Run, director: DirectorAddress = None, identity: IdentityFolder = None, as_json: Json = False) -> None:
    """Administrators: approve a run that waits for the Director. Every owner still decides for their own data."""
    _ask(run, "APPROVE", "", f"approved {run}", director, identity, as_json)


@app.command()
def refuse(
    run: Run,
    why: Annotated[str, typer.Argument(metavar="WHY", help="The reason, which its owner reads.")],
    director: DirectorAddress = None,
    identity: IdentityFolder = None,
    as_json: Json = False,
) -> None:
    """Administrators: refuse a run that waits for the Director."""
    _ask(run, "REFUSE", why, f"refused {run}", director, identity, as_json)


def _ask(
    run: str, request: str, detail: str, done: str, director: str | None, identity: Path | None, as_json: bool
) -> None:
    from hansa.protocol.messages import Request

    asked: Request = Request[request]
    with connected(director, identity) as user:
        answer = user.about(run, asked, detail)
    if as_json:
        document(answer)
    else:
        screen().print(plain(done), soft_wrap=True)


def run_table(runs: list[dict[str, Any]]) -> Table:
    """Runs, the latest first."""
    now = time.time()
    rows = [
        (
            each["run"],
            each["name"],
            each["owner"],
            plain(state(each), _PHASES.get(each["phase"], "")),
            each["rounds"],
            f"{lasting(now - each['submitted'])} ago",
        )
        for each in sorted(runs, key=lambda each: each["submitted"], reverse=True)
    ]
    return table("Runs", ("run", "experiment", "owner", "state", "rounds", "submitted"), rows, ("rounds",))
