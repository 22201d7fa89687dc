"""A client's shard, not loaded before a work looks at it: many works of many clients never do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hansa.core.population import ClientId
from hansa.data import ClientDataset, FederatedData


class Shard(Mapping[str, ClientDataset]):
    """The splits of one client. Raises what `FederatedData.shard` raises, when somebody looks."""

    __slots__ = ("_client", "_data", "_splits")

    def __init__(self, data: FederatedData, client: ClientId) -> None:
        self._data, self._client = data, client
        self._splits: dict[str, ClientDataset] | None = None

    def _loaded(self) -> dict[str, ClientDataset]:
        if self._splits is None:
            self._splits = self._data.shard(self._client)
        return self._splits

    def __getitem__(self, split: str) -> ClientDataset:
        return self._loaded()[split]

    def __iter__(self) -> Iterator[str]:
        return iter(self._loaded())

    def __len__(self) -> int:
        return len(self._loaded())

    def __contains__(self, split: object) -> bool:
        return split in self._loaded()
