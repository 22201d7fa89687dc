"""How a hospital's table is read: UCI's processed files, where much is missing, and not the same everywhere."""

from functools import cached_property
from pathlib import Path

import numpy as np

import hansa

PRESSURE, CHOLESTEROL = 3, 4
SCHEMA = {
    "x": hansa.Field((13,), "float32", missing=True),  # NaN is what nobody measured
    "y": hansa.Field((), "int64", classes=2),
}


class Hospital(hansa.ShardDescriptor):
    """Patients with 13 findings each, and whether their heart is diseased. A third of them is held out."""

    schema = SCHEMA

    def __init__(self, file: str, seed: int = 0):
        self.file, self.seed = Path(file), seed

    def train(self) -> hansa.ClientDataset:
        return self._splits[0]

    def test(self) -> hansa.ClientDataset:
        return self._splits[1]

    @cached_property
    def _splits(self) -> tuple[hansa.ClientDataset, hansa.ClientDataset]:
        lines = self.file.read_text(encoding="utf-8").split()
        table = np.array([[np.nan if cell == "?" else float(cell) for cell in line.split(",")] for line in lines])
        x, y = table[:, :-1], table[:, -1] > 0
        for column in (PRESSURE, CHOLESTEROL):  # nobody alive has none: a zero is one more way to say "not measured"
            x[x[:, column] == 0, column] = np.nan
        patients = hansa.ClientDataset({"x": x.astype(np.float32), "y": y.astype(np.int64)})
        return patients.train_test_split(1 / 3, seed=self.seed, stratify="y")
