"""Downloading one file: all of it or nothing, with a bar in a terminal.

This file must not know what is downloaded.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

TIMEOUT = 30.0
"""Seconds without a byte after which a server is given up."""

BLOCK = 2**18
"""Bytes read at a time."""


@contextmanager
def download(url: str, path: Path) -> Iterator[Path]:
    """Downloads `url` to a file beside `path`, which becomes `path` when the block inside ends without an error.

    Nobody ever sees half a file at `path`, whoever downloads it at the same time.

    Args:
        url: an http or https address.
        path: where it is to be; its folder is made.

    Raises:
        OSError: it cannot be reached, is not there, breaks off, or cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f"{path.name}.", suffix=".part", delete=False) as out:
        part = Path(out.name)
        try:
            _receive(url, path.name, out)
            out.close()
            yield part
            part.replace(path)
        finally:
            out.close()
            part.unlink(missing_ok=True)


def _receive(url: str, name: str, out: IO[bytes]) -> None:
    # Here, because few who import hansa.data ever download anything.
    import http.client
    import urllib.error
    import urllib.request

    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    if not url.startswith(("http://", "https://")):
        raise OSError(f"not an http address: {url}")
    request = urllib.request.Request(url, headers={"User-Agent": "hansa"})  # noqa: S310 - its scheme was checked
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    received = 0
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)  # noqa: S310 - its scheme was checked
    except urllib.error.HTTPError as refusal:
        refusal.close()  # it is an open connection too
        raise
    with (
        response,
        Progress(*columns, console=console, disable=not console.is_terminal) as progress,
    ):
        announced = response.headers.get("Content-Length")
        total = None if announced is None else int(announced)
        task = progress.add_task(name, total=total)
        try:
            while block := response.read(BLOCK):
                received += out.write(block)
                progress.update(task, completed=received)
        except http.client.HTTPException as error:
            raise ConnectionError(f"{url} broke off after {received} bytes: {error!r}") from error
    if total is not None and received != total:
        raise ConnectionError(f"{url} broke off after {received} of {total} bytes")
