"""Works that misbehave as they are told, in a module that other processes import."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

ACTS = """
import os, signal, sys, threading, time
import numpy as np
from hansa.core.metrics import Mean, Metrics, Sum
from hansa.core.work import Update

def act(given, context):
    told = context.settings.get("act", "")
    if told == "exit":
        os._exit(3)
    if told in ("SIGKILL", "SIGSEGV"):
        os.kill(os.getpid(), getattr(signal, told))
    if told == "hang":
        time.sleep(1000)
    if told == "leave":
        sys.exit(4)
    if told == "once" and not os.path.exists(path := context.settings["path"]):
        open(path, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    if told == "print":
        print("said by", context.id)
    train = context.data["train"]
    drawn = context.key.generator().normal(size=given["w"].shape) * 10.0 ** context.settings.get("size", 0)
    visits = context.state.get("visits", np.zeros(()))
    kind = Sum.of(1) if told == "sum" else Mean.of(float(drawn.mean()), len(train))
    return Update({"w": (drawn + train.all()["x"].sum() + visits).astype(np.float32)}, float(len(train)),
                  Metrics({"loss": kind}), state={"visits": np.array(visits + 1)})

def careless(given, context):
    try:
        context.data["train"]
    except BaseException:
        return Update({"w": given["w"]}, 1.0)
    return Update({"w": given["w"] + 1}, 1.0)

def plain(given, context):
    return Update({"w": given["w"] + 1}, 1.0)

def where(given, context):
    return Update({"w": given["w"] + os.getpid()}, 1.0)

WORKS = {"act": act, "plain": plain, "where": where, "sometimes": plain}
"""


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("works")
    (folder / "acts.py").write_text(ACTS)
    return folder


@pytest.fixture(scope="session")
def works(folder: Path) -> Mapping[str, Any]:
    spec = importlib.util.spec_from_file_location("acts", folder / "acts.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Mapping[str, Any] = module.WORKS
    return found
