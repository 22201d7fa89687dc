"""A client's works: local training in step form, and evaluation; with optimisers, schedules and gradient transforms."""

from hansa.training.evaluation import Evaluation, Measure, TopK, accuracy, confusion_matrix
from hansa.training.gradients import Chain, ClipNorm, GradientTransform, Proximal
from hansa.training.local import LocalState, LocalTraining
from hansa.training.optimizers import SGD, Adagrad, Adam, Optimizer, OptimizerState, Yogi
from hansa.training.schedules import Constant, CosineDecay, ExponentialDecay, Schedule, Warmup

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "Chain",
    "ClipNorm",
    "Constant",
    "CosineDecay",
    "Evaluation",
    "ExponentialDecay",
    "GradientTransform",
    "LocalState",
    "LocalTraining",
    "Measure",
    "Optimizer",
    "OptimizerState",
    "Proximal",
    "Schedule",
    "TopK",
    "Warmup",
    "Yogi",
    "accuracy",
    "confusion_matrix",
]
