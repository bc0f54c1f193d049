"""What a dataset is made of, and how."""

import dataclasses

from pipelines import sharding
from pipelines.places import Listed
from pipelines.preprocess import (
    audit,
    finished_shards,
    split_assignment,
    transform,
    word_lists,
    write_shards,
)
from pipelines.preprocess.find_input import Input
from pipelines.unfit_files import Limits
from textrecords import spec
from textrecords.manifest import DataFlags


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to make a dataset of, and how.

    Attributes:
      tree: the input.
      options: the flags that decide the ids of a text.
      assign: the flags that decide where a review goes.
      flags: all flags that shape the data, as they were given.
      limits: how many files may be bad, or in another encoding.
      output_dir: the folder to write in, empty.
      left: the folders with shards that runs which were stopped have finished.
    """

    tree: Input
    options: transform.TextOptions
    assign: audit.Assign
    flags: DataFlags
    limits: Limits
    output_dir: str
    left: tuple[str, ...] = ()

    @classmethod
    def make(
        cls,
        limits: Limits,
        given: DataFlags,
        tree: Input,
        output_dir: str,
        left: tuple[str, ...] = (),
    ) -> "Plan":
        """Returns the plan for an input; raises `BadInput` for lists of words.

        Args:
          limits: how many files may be bad.
          given: those that do, as they were typed.
          tree: the input.
          output_dir: the folder to write in, empty.
          left: the folders with shards that runs which were stopped have finished.
        """
        flags = word_lists.with_fingerprints(given)
        text_options = word_lists.text_options(given)
        assign = audit.Assign.from_flags(flags)
        tree = tree.stored_in(output_dir)
        return cls(tree, text_options, assign, flags, limits, output_dir, left)

    def num_shards(self, listed: Listed) -> dict[str, int]:
        """Returns the number of shards of each split."""
        return num_shards(self.flags, self.tree.sizes(listed))

    def finish_shard(self) -> finished_shards.FinishShard:
        """Returns what writes the shards, or takes them up."""
        write_shard = write_shards.WriteShard(
            source=self.tree.source,
            output_dir=self.output_dir,
            compression=self.flags.compression,
            options=self.options,
            min_tokens=self.flags.min_tokens,
        )
        return finished_shards.FinishShard(write_shard, self.left)


def num_shards(flags: DataFlags, found: dict[str, int]) -> dict[str, int]:
    """Returns the number of shards of each split, of whose folders so many reviews were found."""
    shares = split_assignment.Shares.from_flags(flags)
    sizes = found | shares.sizes(found[spec.TRAIN])
    return {
        split: flags.num_shards or sharding.default_num_shards(sizes[split])
        for split in spec.ALL_SPLITS
        if split in sizes
    }
