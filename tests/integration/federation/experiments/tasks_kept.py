"""The same tasks, whose optimisers stay with their clients as private state."""

from tasks import adam, model, train, validate  # type: ignore[import-not-found]  # beside it where it is run

import hansa
from hansa.training.tasks.work import Tasks

local = Tasks(model, validate, train, optimizer=adam, optimizer_state="keep", batch_size=8, settings={"lr": 0.02})
experiment = hansa.Experiment(model, hansa.FedAvg(local, rounds=2), seed=1, name="tasks_kept")
