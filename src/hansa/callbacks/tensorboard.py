"""TensorBoardLogger: a run's numbers as TensorBoard's scalars, with neither TensorFlow nor PyTorch.

TensorBoard's own file writer would load TensorFlow where it is installed, and keep a thread for every file. This one writes the
same records itself and flushes them after every ask, so that a run that is killed keeps all its numbers.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from hansa.callbacks.numbers import Number, numbers
from hansa.callbacks.port import Watched
from hansa.core.history import Entry
from hansa.errors import MissingExtra


@dataclass
class TensorBoardLogger:
    """Scalars by round: "accuracy/federated", "loss/train", and with `clients` "clients/accuracy/federated/alice".

    Attributes:
        folder: what `tensorboard --logdir` is given; the run gets a folder of its own there, named by its id.
        clients: write what each client measured, too.
    """

    folder: Path | str
    clients: bool = False
    _writer: Any = field(default=None, init=False, repr=False, compare=False)

    def started(self, run: Watched) -> None:
        """Open a file in the run's folder.

        Raises:
            MissingExtra: tensorboard is not installed.
        """
        with _installed():
            from tensorboard.compat.proto.event_pb2 import Event
            from tensorboard.summary.writer.record_writer import RecordWriter

        folder = Path(self.folder) / (quote(run.id, safe=" ").lstrip(".") or "run")
        folder.mkdir(parents=True, exist_ok=True)
        self._writer = RecordWriter(_fresh(folder).open("xb"))
        self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))

    def entry(self, _run: Watched, entry: Entry) -> None:
        """Write its numbers, the round as step."""
        for each in numbers(entry, clients=self.clients):
            self._write(_event(each))

    def ended(self, _run: Watched) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _write(self, event: Any) -> None:
        if self._writer is not None:
            self._writer.write(event.SerializeToString())
            self._writer.flush()


def _fresh(folder: Path) -> Path:
    """A file that is not there yet, named as TensorBoard looks for; one that goes on after a stop gets a file more."""
    count = 0
    while (path := folder / f"events.out.tfevents.{count:010d}.hansa").exists():
        count += 1
    return path


def _event(number: Number) -> Any:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import DATA_CLASS_SCALAR, SummaryMetadata
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.types_pb2 import DT_FLOAT
    from tensorboard.plugins.scalar.metadata import PLUGIN_NAME

    event = Event(wall_time=time.time(), step=number.round)
    plugin = SummaryMetadata.PluginData(plugin_name=PLUGIN_NAME)
    event.summary.value.add(
        tag=number.label,
        tensor=TensorProto(dtype=DT_FLOAT, float_val=[number.value]),
        metadata=SummaryMetadata(plugin_data=plugin, data_class=DATA_CLASS_SCALAR),
    )
    return event


@contextmanager
def _installed() -> Iterator[None]:
    try:
        yield
    except ImportError as missing:
        raise MissingExtra.of("tensorboard", "tensorboard", "a TensorBoardLogger") from missing
