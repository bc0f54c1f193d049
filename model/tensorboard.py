"""Shows the logs of a model in TensorBoard."""

import dataclasses
import os

from textrecords import app, checksums, command_line, imports, storage
from textrecords.command_line import flag
from textrecords.errors import BadInput
from textrecords.field_types import Path


@dataclasses.dataclass(frozen=True)
class Options:
    """The flags that aren't TensorBoard's."""

    model_dir: Path = flag(command_line.MODEL_DIR, metavar="DIR")


def main(argv: list[str]) -> None:
    parser = command_line.ArgumentParser(
        prog="model.tensorboard",
        description="Shows the logs of a model. Flags that aren't listed here go to TensorBoard.",
    )
    command_line.add_flags(parser, Options)
    args, tensorboard_flags = parser.parse_known_args(argv)
    storage.check_store(args.model_dir)
    logs = os.path.join(args.model_dir, checksums.LOGS)
    if not storage.is_folder(logs):
        raise BadInput(f"no logs in {args.model_dir}: run `make train` first")
    with imports.quiet():
        import tensorflow  # noqa: F401, otherwise TensorBoard imports it later, with its messages
        from tensorboard import default, program
    board = program.TensorBoard(default.get_plugins())
    board.configure(argv=["tensorboard", "--logdir", logs, *tensorboard_flags])
    board.main()


if __name__ == "__main__":
    app.run(main)
