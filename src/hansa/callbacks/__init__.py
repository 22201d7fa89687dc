"""Callbacks: what watches a run, simulated or real, while it goes on, and may stop it. One a file, all by one port."""

from hansa.callbacks.checkpoint import Checkpoint
from hansa.callbacks.csv import CsvLogger, JsonLinesLogger
from hansa.callbacks.early import EarlyStopping
from hansa.callbacks.mlflow import MlflowLogger
from hansa.callbacks.port import Callback, Watched
from hansa.callbacks.progress import ProgressBar
from hansa.callbacks.tensorboard import TensorBoardLogger
from hansa.callbacks.told import CallbackFailed, Told

__all__ = [
    "Callback",
    "CallbackFailed",
    "Checkpoint",
    "CsvLogger",
    "EarlyStopping",
    "JsonLinesLogger",
    "MlflowLogger",
    "ProgressBar",
    "TensorBoardLogger",
    "Told",
    "Watched",
]
