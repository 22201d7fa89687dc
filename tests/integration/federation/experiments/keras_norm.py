"""FedAvg of a Keras model with BatchNorm and dropout."""

import keras

import hansa


def network() -> keras.Model:
    """A layer, its statistics, and another."""
    return keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Dense(16),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(3),
        ]
    )


model = hansa.KerasModel(network, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
local = hansa.LocalTraining(model, hansa.Adam(0.01), batch_size=8, steps=5)
algorithm = hansa.Evaluated(hansa.FedAvg(local, rounds=2), hansa.Evaluation(model))
experiment = hansa.Experiment(model, algorithm, seed=1, name="keras", requirements=("keras",))
