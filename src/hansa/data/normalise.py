"""The batch transform of images: small whole numbers to floats of mean 0 and standard deviation 1.

This file must not know which data set has which mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hansa.data.dataset import Batch
from hansa.errors import ConfigError, DataError, UnknownName


@dataclass(frozen=True)
class Normalise:
    """Gives (field / scale − mean) / std as float32, by channel; a batch transform.

    Attributes:
        mean: of each channel, the batch's axis 1, after the division by `scale`; or one value for all.
        std: of each channel, above 0.
        scale: the largest stored value.
        field: what is normalised, shape (examples, channels, ...).
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float = 255.0
    field: str = "x"

    def __post_init__(self) -> None:
        if not self.mean or len(self.mean) != len(self.std):
            raise ConfigError(
                f"expected a mean and a std for each channel, found {len(self.mean)} and {len(self.std)}",
                hint="give one of both for all channels, or one of both for each",
            )
        if min(*self.std, self.scale) <= 0:
            raise ConfigError(f"std and scale must be above 0, found {self.std} and {self.scale}")

    def __call__(self, batch: Batch) -> Batch:
        """`batch` with the field normalised, the others as they are.

        Raises:
            UnknownName: the batch has no such field.
            DataError: the field has no channels, or another number of them.
        """
        if self.field not in batch:
            raise UnknownName.among("field", self.field, batch)
        values = batch[self.field]
        if values.ndim < 2 or (len(self.mean) > 1 and values.shape[1] != len(self.mean)):
            raise DataError(
                f"expected shape (examples, {len(self.mean)}, ...), found {values.shape}",
                where=f"field {self.field!r}",
                hint="put the channels first, and give a mean and a std for each",
            )
        # One multiplication and one subtraction: (v / scale - mean) / std = v * gain - offset.
        by_channel = (-1, *(1,) * (values.ndim - 2))
        std = np.array(self.std).reshape(by_channel)
        gain = (1 / (self.scale * std)).astype(np.float32)
        offset = (np.array(self.mean).reshape(by_channel) / std).astype(np.float32)
        normalised = np.multiply(values, gain, dtype=np.float32)
        normalised -= offset
        return {**batch, self.field: normalised}
