#!/bin/sh
# Makes the peers' virtual environments: sh benchmarks/simulation/peers/install.sh FOLDER, then BENCH_PEERS=FOLDER.
# Each has its own, because their pins clash. PYTHON names the interpreter; 3.11 is what these pins were tried with.
set -e
folder=${1:?name a folder}
python=${PYTHON:-python3}
mkdir -p "$folder"

made() { # made NAME REQUIREMENT...
    name=$1
    shift
    [ -x "$folder/$name/bin/python" ] || "$python" -m venv "$folder/$name"
    "$folder/$name/bin/pip" install --quiet --disable-pip-version-check "$@"
}

made flower 'flwr[simulation]==1.42.0' torch==2.13.0 numpy==2.4.6
made pfl pfl==0.6.0 torch==2.13.0 numpy==2.4.6
# FedJAX's last release is of 2023: it needs the JAX, Haiku and NumPy of its time.
made fedjax fedjax==0.0.17 jax==0.4.23 jaxlib==0.4.23 dm-haiku==0.0.11 optax==0.1.9 chex==0.1.85 'numpy<2' 'scipy<1.12' pandas
