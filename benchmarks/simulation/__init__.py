"""Simulation against hand-written floors and against other frameworks, in one run.

    python -m benchmarks mlp-100                # one workload; `--json`, `--turns 7`
    sh benchmarks/simulation/peers/install.sh FOLDER
    BENCH_PEERS=FOLDER python -m benchmarks     # everything, with the peers that are installed

Every contestant is a process (`contestant` says how it is spoken with) that runs one round when it is asked to. First each of
them runs alone, which gives its first round and its memory; then all of them take turns. A floor proves itself by its loss,
which the tables compare with ours round by round.
"""
