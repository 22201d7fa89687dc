"""From a notebook: an experiment's source, exported so that a person can read it before it runs anywhere else."""

from hansa.experiment.notebook.cells import Failure, cells_of
from hansa.experiment.notebook.exporting import Exported, export
from hansa.experiment.notebook.session import export_notebook
from hansa.experiment.notebook.writing import Part

__all__ = ["Exported", "Failure", "Part", "cells_of", "export", "export_notebook"]
