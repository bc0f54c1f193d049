"""Runs a model's files for programs without TensorFlow."""

import importlib.util
import os

import numpy as np

from textrecords import imports, model_folder, storage, terminal, tokenizer_json
from textrecords.errors import BadInput


class Converted:
    """A `tokenizer.json` and, optionally, its ONNX network.

    Args:
      tokenizer: the path of the tokenizer.
      network: the path of the network.

    Raises:
      BadInput: if one can't be read.
    """

    def __init__(self, tokenizer: str, network: str | None = None):
        import tokenizers

        try:
            self._tokenizer = tokenizers.Tokenizer.from_str(storage.read_text(tokenizer))
        except Exception as error:  # it has no specific type
            raise BadInput(f"{tokenizer} can't be read ({error}): write it again") from None
        self._session = None
        if network is not None:
            import onnxruntime

            try:
                self._session = onnxruntime.InferenceSession(storage.read_bytes(network))
            except Exception as error:  # of a dozen types
                raise BadInput(f"{network} can't be read ({error}): convert it again") from None

    @property
    def has_network(self) -> bool:
        return self._session is not None

    def ids(self, texts: list[bytes]) -> np.ndarray:
        """Returns the ids of texts, valid UTF-8: <int32>[batch_size, max_len]."""
        given = [text.decode() or tokenizer_json.NO_TOKENS for text in texts]
        return np.array([row.ids for row in self._tokenizer.encode_batch(given)], np.int32)

    def scores(self, ids: np.ndarray) -> np.ndarray:
        """Returns the network's outputs for `ids`, <float32>[batch_size, 1 or num_classes]."""
        (scores,) = self._session.run(None, {self._session.get_inputs()[0].name: ids})
        return scores


def load(model_dir: str, network: str | None) -> Converted | None:
    """Opens the files of a model, or reports why there is nothing to compare.

    Args:
      model_dir: the model.
      network: in ONNX, next to its `tokenizer.json`; None to use only that of the model.

    Raises:
      BadInput: if a file can't be read, or a network is given and ONNX Runtime isn't installed.
    """
    if network is not None:
        imports.check_installed("--onnx", "convert")
        tokenizer = os.path.join(os.path.dirname(network), model_folder.TOKENIZER)
        if not storage.is_file(tokenizer):
            raise BadInput(
                f"there is no {tokenizer}, which --onnx needs for its ids: use a model with one"
            )
        return Converted(tokenizer, network)
    path = os.path.join(model_dir, model_folder.TOKENIZER)
    if not storage.is_file(path):
        terminal.say(f"there is no {path} to compare")
    elif not importlib.util.find_spec("tokenizers"):
        terminal.say(f"{path} isn't compared: this {imports.needs('convert', 'tokenizers')}")
    else:
        return Converted(path)
    return None
