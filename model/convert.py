"""Converts a model to ONNX or LiteRT, for programs without TensorFlow, with the files to feed it.

TensorFlow is imported lazily, so that `--help` is immediate.
"""

import contextlib
import dataclasses
import os
import re
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Literal

from textrecords import (
    app,
    atomic,
    checksums,
    command_line,
    imports,
    model_folder,
    spec,
    storage,
    terminal,
)
from textrecords.command_line import flag
from textrecords.field_types import Path
from textrecords.saved_model import load_model

if TYPE_CHECKING:
    import keras

OPSET = 18  # of ONNX: the newest that tf2onnx supports
# Copied next to the network: how texts become its ids, and what its scores mean.
BESIDE = (model_folder.TOKENIZER, model_folder.CONFIG)


@dataclasses.dataclass(frozen=True)
class Options:
    """The flags."""

    model_dir: Path = flag(command_line.MODEL_DIR, metavar="DIR")
    to: Literal["onnx", "tflite"] = flag("the format of the network")
    output: Path | None = flag(
        "the folder to write (default: next to the model folder, onnx, or <name>-onnx if that "
        "isn't named model)",
        None,
        metavar="DIR",
    )
    no_verify: bool = flag(command_line.NO_VERIFY, False)


def to_onnx(network: "keras.Model", path: str, max_len: int) -> None:
    """Writes a network that takes `tokens` <int32>[batch_size, max_len]."""
    import keras

    tokens = keras.InputSpec("int32", [None, max_len], name=spec.TOKENS)
    network.export(
        path, format="onnx", verbose=False, input_signature=[tokens], opset_version=OPSET
    )


def to_tflite(network: "keras.Model", path: str, max_len: int) -> None:
    """Writes a network that takes `tokens` <int32>[1, max_len], with only LiteRT's operations.

    With more rows at once, an LSTM's loop would need TensorFlow's operations.
    """
    import keras
    import tensorflow as tf

    tokens = keras.InputSpec("int32", [1, max_len], name=spec.TOKENS)
    built_in = {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}
    network.export(
        path, format="litert", verbose=False, input_signature=[tokens], target_spec=built_in
    )


WRITERS: dict[str, Callable[["keras.Model", str, int], None]] = {
    "onnx": to_onnx,
    "tflite": to_tflite,
}


def convert(options: Options) -> str:
    """Writes the network of a model, and copies `BESIDE`; returns the folder.

    Raises:
      BadInput: if there is no complete model, the converter isn't installed, or the folder
        contains something else.
    """
    if options.to == "onnx":
        imports.check_installed("--to onnx", "convert")
    model_dir = storage.real(options.model_dir)
    output = options.output or model_folder.sibling(model_dir, options.to)
    storage.check_path(storage.real(output))
    storage.check_apart(model_dir=model_dir, output=output)
    model = load_model(model_dir, verify=not options.no_verify)
    name = f"model.{options.to}"
    files = {file: os.path.join(model_dir, file) for file in BESIDE}
    found = {file: path for file, path in files.items() if storage.is_file(path)}
    holds = "|".join(map(re.escape, (name, *BESIDE, checksums.SUMS)))
    with atomic.write_folder(output, holds=holds, marker=model_folder.CONFIG) as new:
        with _quiet(), atomic.write_file(os.path.join(new, name)) as part:
            WRITERS[options.to](model.network, part, model.config.network.max_len)
        for file, path in found.items():
            storage.copy(path, os.path.join(new, file))
        checksums.write(new)
    for file in files.keys() - found.keys():
        terminal.say(
            f"{model_dir} has no {file}: turn texts into ids with its signature `tokenize`"
        )
    return output


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hides the converters' logs, and their warnings about each other's versions."""
    with imports.quiet_logs(), warnings.catch_warnings(action="ignore"):
        yield


def main(argv: list[str]) -> None:
    parser = command_line.ArgumentParser(
        prog="model.convert", description=__doc__.partition("\n")[0]
    )
    command_line.add_flags(parser, Options)
    output = convert(command_line.read_flags(parser.parse_args(argv), Options))
    terminal.say(f"wrote {output}")


if __name__ == "__main__":
    app.run(main)
