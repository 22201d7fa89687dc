"""Experiments: what is run (`experiment`), the files that describe it (`files`), and what is left of it (`results`)."""

from hansa.experiment.experiment import Experiment
from hansa.experiment.files import ExperimentFile, load_experiment
from hansa.experiment.results import load_model, load_results, prepare_folder, save_results

__all__ = [
    "Experiment",
    "ExperimentFile",
    "load_experiment",
    "load_model",
    "load_results",
    "prepare_folder",
    "save_results",
]
