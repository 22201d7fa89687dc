"""A client's shard, not loaded before a work looks at it: many works of many clients never do."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

from hansa.core.population import ClientId
from hansa.data import ClientDataset, FederatedData


class Shard(Mapping[str, ClientDataset]):
    """The splits of one client. Raises what `FederatedData.shard` raises, when somebody looks.

    Attributes:
        seconds: how long loading it took; 0 before somebody looked.
    """

    __slots__ = ("_client", "_data", "_problem", "_splits", "seconds")

    def __init__(self, data: FederatedData, client: ClientId) -> None:
        self._data, self._client, self.seconds = data, client, 0.0
        self._splits: dict[str, ClientDataset] | None = None
        self._problem: Exception | None = None

    def read(self) -> None:
        """Load it now; a problem is kept for whoever looks."""
        try:
            self._splits = self._data.shard(self._client)
        except Exception as problem:  # noqa: BLE001 - it is raised where somebody looks
            self._problem = problem

    def _loaded(self) -> dict[str, ClientDataset]:
        if self._splits is None:
            if self._problem is not None:
                raise self._problem
            began = time.perf_counter()
            self._splits = self._data.shard(self._client)
            self.seconds = time.perf_counter() - began
        return self._splits

    def __getitem__(self, split: str) -> ClientDataset:
        return self._loaded()[split]

    def __iter__(self) -> Iterator[str]:
        return iter(self._loaded())

    def __len__(self) -> int:
        return len(self._loaded())

    def __contains__(self, split: object) -> bool:
        return split in self._loaded()
