# The names of this package, and the home of each. `__init__.py` loads them from here when they are first used.
from .experiment import Experiment as Experiment
from .files import ExperimentFile as ExperimentFile
from .files import load_experiment as load_experiment
from .results import load_model as load_model
from .results import load_results as load_results
from .results import prepare_folder as prepare_folder
from .results import save_results as save_results

__all__: list[str]  # noqa: PYI035 - it holds the names imported above, see __init__.py
