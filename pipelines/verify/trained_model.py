"""Runs a trained model on texts and on ids."""

import numpy as np
import tensorflow as tf

from model import evaluate
from textrecords import spec
from textrecords.errors import BadInput
from textrecords.saved_model import Model


class TrainedModel:
    """The output of `model.train`: the SavedModel, and the network rebuilt from its weights."""

    def __init__(self, model: Model):
        self.threshold = model.config.threshold
        self.size = model.config.network.input_size
        self._network = evaluate.load_model(model.folder, model.config)
        self._signatures = model.signatures
        if "tokenize" not in self._signatures:
            raise BadInput(
                f"the model in {model.folder} can't return its ids: run `make train` again"
            )

    def network_scores(self, tokens: tf.Tensor) -> np.ndarray:
        """Returns <float32>[batch_size, 1 or num_classes] for rows of ids that tf.data feeds."""
        return self._network.predict_on_batch(tokens)

    def serve(self, files: list[bytes]) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """Returns ids <int32>[batch_size, max_len], scores as above, and class names."""
        texts = tf.constant(files)
        scored = self._signatures["serving_default"](text=texts)
        scores = scored["score"][:, tf.newaxis] if "score" in scored else scored["scores"]
        ids = self._signatures["tokenize"](text=texts)[spec.TOKENS]
        return ids.numpy(), scores.numpy(), [label.decode() for label in scored["label"].numpy()]
