"""The scientist's loader: one function for all owners that makes of a shard what is trained and validated on.

It stands between the owner's ShardDescriptor, which reads data as they lie, and the works: augmentation, batching, a split for
validation belong here. This file must not know where shards come from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from hansa.core.tree import Tree
from hansa.core.work import ClientContext, Scalar, Settings, Update, Work
from hansa.errors import DataError

Loader = Callable[[Mapping[str, Any], Mapping[str, Scalar]], tuple[Any, Any]]
"""(shard, settings) -> (train, valid). The shard is the client's ClientDatasets by split. The settings are the experiment's,
overlaid by the ask's, and `settings["seed"]`, another for each visit. `train` and `valid` may be ClientDatasets, anything that
is iterable (for tasks), or None; works find them as the splits "train" and "valid"."""

VALID = "valid"
"""The split that a loader makes for validation."""

SIGNATURE = "def loader(shard, settings): ...; return train, valid"


@dataclass(frozen=True)
class Loaded:
    """A work that sees what the loader makes of its client's data.

    Attributes:
        work: the work.
        loader: see `Loader`.
        settings: what the loader is given besides the ask's settings.
    """

    work: Work
    loader: Loader
    settings: Settings = field(default_factory=dict)

    def __call__(self, broadcast: Tree, context: ClientContext) -> Update:
        """The work, on the loaded data. Raises what `context` raises."""
        return self.work(broadcast, self.context(context))

    def context(self, context: ClientContext) -> ClientContext:
        """What the work sees of a visit.

        Raises:
            DataError: the loader returned something else than two values.
        """
        seed = context.key.child("loader").integer(63)
        made: Any = self.loader(context.data, {**self.settings, **context.settings, "seed": seed})
        if not isinstance(made, tuple) or len(made) != 2:
            found = f"{len(made)} values" if isinstance(made, tuple) else type(made).__name__
            raise DataError(
                f"the loader returned {found}; expected: train, valid",
                where=f"client {context.id!r}",
                hint=f"write it as: {SIGNATURE}",
            )
        loaded = {name: split for name, split in zip(("train", VALID), made, strict=True) if split is not None}
        others = {name: split for name, split in context.data.items() if name not in ("train", VALID)}
        return replace(context, data={**others, **loaded})
