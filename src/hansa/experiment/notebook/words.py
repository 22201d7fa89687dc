"""What calls do, as far as their names tell: which only show something, which change something, which read from outside.

Tables and pure functions of full names. This file must not know where a call stands.
"""

from __future__ import annotations

import re


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


INTERACTIVE = _words("_ __ ___ Out In get_ipython display _i _ii _iii _dh _oh _ih")
"""The names that only a notebook has."""

_DRAWING_MODULES = _words("matplotlib seaborn plotly bokeh altair IPython ipywidgets")
_SHOWING_MODULES = _DRAWING_MODULES | _words(
    "pprint rich tqdm logging wandb mlflow tensorboard torchinfo torchsummary hansa warnings gc time unittest pytest"
)
"""Modules whose functions, called for their effect, change nothing that an experiment is made of."""

_SHOWING = _words(
    """
    print len repr str type help id isinstance issubclass min max sum sorted list dict tuple set int float bool dir vars hash
    all any abs round callable breakpoint head tail describe summary info show plot hist table items keys values get copy shape
    size dim numel mean std unique count index item numpy tolist state_dict parameters named_parameters children modules
    is_available device_count set_printoptions join format startswith endswith split value_counts sample allclose equal save
    """
)
"""The last parts of calls that are made to look at something."""

_CHANGING = _words(
    """
    append extend insert remove pop popitem clear update setdefault add discard sort reverse appendleft popleft fill resize put
    itemset difference_update intersection_update symmetric_difference_update load_state_dict register register_buffer
    register_module register_parameter set_weights set_params __setitem__ __delitem__ __setattr__
    """
)
"""Methods that change their object, wherever they are called."""

_CHANGING_ARGUMENTS = _words(
    """
    setattr delattr next shuffle heappush heappop heapify heapreplace insort insort_left insort_right setitem delitem copyto
    fill_diagonal put_along_axis place putmask
    """
)
"""Functions that change what they are given, wherever they are called."""

_SETTING = re.compile(r"(\w+_)?seed|set(_|$)|seed_|enable|disable|use_|register|reset|configure|initiali[sz]e")
"""The beginnings of functions that set something for a whole module."""

FEDERATION = "it is the federation itself"
NOTEBOOK = "only a notebook can run it"
_FILE, _DATA, _NET = "it reads a file", "it reads a data set", "it uses the network"

_OUTSIDE = (
    (_FILE, r"((builtins|io|os|codecs|gzip|bz2|lzma|tarfile)\.)?open|zipfile\.ZipFile|sqlite3\.connect|glob\.\w+"),
    (
        _FILE,
        r".*\.(read_text|read_bytes|iterdir|rglob)|os\.(listdir|scandir|walk|stat)|os\.path\.(exists|isfile|isdir|getsize)",
    ),
    (_FILE, r"(pandas|polars|dask|cudf|geopandas|modin)\.(.*\.)?read_\w+|pandas\.(HDFStore|ExcelFile)"),
    (_FILE, r"(numpy|jax\.numpy|cupy)\.(load|loadtxt|genfromtxt|fromfile|memmap|lib\.format\.open_memmap)"),
    (
        _FILE,
        r"(torch|joblib|scipy\.io|soundfile|librosa|torchaudio|nibabel)\.(load\w*|read)|h5py\.File|pydicom\.dcmread",
    ),
    (_FILE, r"safetensors\..*\.?load_file|PIL\.Image\.open|cv2\.imread|skimage\.io\.imread|torchvision\.io\.read_\w+"),
    (_FILE, r"hansa\.(.*\.)?load_(dataset|model|results|experiment)"),
    (
        _DATA,
        r"(torchvision|torchaudio|torchtext|(tensorflow\.)?keras)\.datasets\..+|datasets\.load_\w+|tensorflow_datasets\.\w+",
    ),
    (
        _NET,
        r"sklearn\.datasets\.fetch_\w+|seaborn\.load_dataset|(kagglehub|gdown|wget|huggingface_hub|requests|httpx)\..+",
    ),
    (
        _NET,
        r"(aiohttp|urllib\.request|urllib3|http\.client|ftplib|socket|smtplib|boto3|s3fs|fsspec|paramiko|psycopg2?)\..+",
    ),
    ("it asks the person at the keyboard", r"(builtins\.)?input|getpass\.\w+"),
    ("it runs a program", r"subprocess\.\w+|os\.(system|popen|exec\w+|spawn\w+)"),
    (FEDERATION, r"hansa\.(federation\.)?Federation\b.*"),
    (NOTEBOOK, r"(IPython\..*)?get_ipython\b.*"),
)
_OUTSIDE_PATTERNS = tuple((what, re.compile(pattern)) for what, pattern in _OUTSIDE)


def changes_its_object(method: str) -> bool:
    """Whether a method of this name changes its object: a known one, or one that ends in "_" as PyTorch's do."""
    return method in _CHANGING or (method.endswith("_") and not method.startswith("_"))


def changes_arguments(function: str) -> bool:
    """Whether a function of this name changes what it is given."""
    return function in _CHANGING_ARGUMENTS or (function.endswith("_") and not function.startswith("_"))


def sets(name: str) -> bool:
    """Whether a function of this name sets something for its whole module, such as a seed."""
    return _SETTING.match(name.rpartition(".")[2]) is not None


def only_shows(name: str) -> bool:
    """Whether a call of this full name, made for its effect, leaves everything as it was."""
    return shows(name) or name.rpartition(".")[2] in _SHOWING


def shows(name: str) -> bool:
    """Whether a full name belongs to a module that draws, prints or logs."""
    return name.partition(".")[0] in _SHOWING_MODULES


def draws(name: str) -> bool:
    """Whether a full name belongs to a module that draws in a notebook."""
    return name.partition(".")[0] in _DRAWING_MODULES


def outside(name: str) -> str:
    """What a call of this full name takes from outside the file; empty where that is nothing."""
    return next((what for what, pattern in _OUTSIDE_PATTERNS if pattern.fullmatch(name)), "")
