"""The network as a file that Keras loads without this project, with any backend."""

import json
import re
import zipfile
from typing import Any

import keras

from textrecords import layers


def built_in(model: keras.Model, max_len: int) -> keras.Model:
    """Returns a network of `lstm.build` that consists only of Keras' own layers and operations.

    It has a copy of the weights and no optimizer. N-gram weights are the mean of all folds, in
    training as well.

    Args:
      model: the network.
      max_len: tokens per row; a network without custom layers takes any number.
    """
    network = type(model).from_config(model.get_config())
    network.set_weights(model.get_weights())
    if isinstance(network, keras.Sequential):  # it has no custom layers
        return network
    tokens = keras.Input([max_len], dtype="int32", name="tokens")
    # With a fixed length, since the operations can't compute with an unknown one.
    return keras.models.clone_model(
        network, tokens, clone_function=lambda layer: layer, call_function=_call
    )


def _call(
    layer: keras.layers.Layer, *inputs: keras.KerasTensor, **options: Any
) -> keras.KerasTensor:
    """Calls a layer; a custom layer is replaced by its operations."""
    if isinstance(layer, layers.NGramWeights):
        size = layer.ngram_weights.shape
        table = keras.layers.Embedding(
            *size, weights=[layer.ngram_weights], trainable=False, name=layer.name
        )
        return layer.score(*inputs, table)
    if type(layer).__module__ == layers.__name__:
        return layer.call(*inputs)
    return layer(*inputs, **options)


def save(network: keras.Model, path: str) -> None:
    """Writes a `.keras` file; the same network always gives the same bytes."""
    network.save(path)
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    metadata = json.loads(files["metadata.json"])
    del metadata["date_saved"]
    files["metadata.json"] = json.dumps(metadata).encode()
    files["config.json"] = _renumbered(files["config.json"])
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)  # with zip's earliest date


def _renumbered(config: bytes) -> bytes:
    """Numbers shared objects; Keras names them by their memory addresses."""
    numbers: dict[bytes, int] = {}

    def count(found: re.Match[bytes]) -> bytes:
        return b'"shared_object_id": %d' % numbers.setdefault(found[1], len(numbers))

    return re.sub(rb'"shared_object_id": (\d+)', count, config)
