"""The Federation: where experiments run. This is where the parts are put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from hansa.callbacks import Callback
from hansa.data import ClientDataset, FederatedData
from hansa.data.schema import Schema
from hansa.errors import ConfigError
from hansa.experiment import Experiment
from hansa.experiment.reference import Mode
from hansa.federation.run import EnvoyInfo, Run
from hansa.federation.simulated import SimulatedFederation
from hansa.simulation.choice import ExecutorChoice
from hansa.simulation.clock import VirtualClock

if TYPE_CHECKING:
    from hansa.federation.connected import ConnectedFederation


class Federation(Protocol):
    """Runs experiments: `Federation.simulate(data)` in this process, `Federation.connect("host:port")` at their owners."""

    def envoys(self) -> Sequence[EnvoyInfo]:
        """The owners of data: who is online, what an example of theirs looks like, how many they have."""
        ...

    @property
    def schema(self) -> Schema:
        """What every owner's examples look like. Raises `DataError` where nobody has said."""
        ...

    def dummy_data(self, n: int = 32, *, seed: int = 0) -> FederatedData:
        """Made-up examples that look like the owners', for debugging here: the same clients, shapes, dtypes and classes."""
        ...

    def run(self, experiment: Experiment, *, wait: bool = True, callbacks: Sequence[Callback] | None = None) -> Run:
        """Run an experiment.

        Args:
            experiment: what to run.
            wait: until it is over; otherwise it goes on while you do something else.
            callbacks: are told what happens. Unless given, a bar is shown while one waits in a terminal; () shows nothing.

        Raises:
            RunFailed: it ended early; the error's History reports the round and holds the last good model.
        """
        ...

    def runs(self) -> Sequence[Run]:
        """All runs that you may see, the newest last."""
        ...

    def run_by_id(self, id: str) -> Run:  # noqa: A002 - what it is
        """One of them. Raises `UnknownName`."""
        ...

    @staticmethod
    def simulate(
        data: FederatedData | Mapping[str, ClientDataset],
        *,
        mode: Mode = "reference",
        device: str = "cpu",
        executor: ExecutorChoice | None = None,
        clock: VirtualClock | None = None,
    ) -> SimulatedFederation:
        """A federation whose clients are simulated, on this machine or on a cluster.

        Args:
            data: what the clients hold.
            mode: "reference" gives the same bits whenever it is repeated, and by whichever executor; "fast" gives them within
                rounding, as quickly as it can.
            device: what there is to compute on besides the processor, in the framework's words, such as "cuda".
            executor: how: `hansa.Sequential()`, `hansa.Fused()`, `hansa.Processes(workers=4)`, `hansa.Ray()`. Unless given,
                reference mode computes in this process, and fast mode moves to several once that is worth it.
            clock: how virtual time passes: `hansa.VirtualClock(...)`. Unless given, nobody is slow, late or away, and the
                History's seconds are this machine's.

        Raises:
            DataError: a client of the training split has no examples.
        """
        return SimulatedFederation(
            data if isinstance(data, FederatedData) else FederatedData(data),
            mode=mode,
            device=device,
            executor=executor,
            clock=clock,
        )

    @staticmethod
    def connect(
        address: str | Sequence[str] | None = None,
        *,
        identity: Path | str | None = None,
        journal: Path | str | None = None,
    ) -> ConnectedFederation:
        """A real federation, by its Director, or by its workers; close it, or use it in a `with` block.

        Args:
            address: the Director's, `host:port` or `wss://host:port`; unless given, the one that you enrolled with. Or a list
                of workers that listen (`hansa envoy start --listen`), `wss://host:port` each: then no Director is needed
                anywhere, there is one in this process as long as the federation is open.
            identity: the folder of your key and certificate; unless given, what HANSA_IDENTITY says, or the folder that
                `hansa pki enroll` uses. With workers, a Director's folder (`hansa director init`), whose authority and
                identity are used; the journal's unless given, and none for workers at `ws://127.0.0.1:port`.
            journal: with workers: the folder where this script keeps what it must not forget; settings in a `director.toml`
                there hold. A script that was killed and is started again with the same journal goes on where it was.

        Raises:
            CertificateError: there is no identity, or it is no longer good.
            NotConnected: nobody answers. Workers that do not are dialled on instead.
            ConfigError: what was said does not go together.
            StoreError: another process works with this journal.
        """
        from hansa.federation.connected import ConnectedFederation

        if isinstance(address, Sequence) and not isinstance(address, str):
            if journal is None:
                raise ConfigError(
                    "nobody says where this script keeps its journal",
                    hint='name a folder: connect([...], journal="DIR")',
                )
            return ConnectedFederation.embed(address, journal, identity)
        if journal is not None:
            raise ConfigError(
                "a Director has a journal of its own", hint="leave out journal, or connect to a list of workers"
            )
        return ConnectedFederation.dial(address, identity)
