"""The plan of a dataset: what it's made from, and how."""

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
    """What to make a dataset from, and how.

    Attributes:
      tree: the input.
      options: the flags that determine the ids of a text.
      assign: the flags that determine the split of a review.
      flags: all flags that shape the data, as given.
      limits: how many files may be bad, or in another encoding.
      output_dir: the folder to write to, empty.
      left: the folders with finished shards of interrupted runs.
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
        """Returns the plan for an input; raises `BadInput` for invalid word lists.

        Args:
          limits: how many files may be bad.
          given: the flags that shape the data, as typed.
          tree: the input.
          output_dir: the folder to write to, empty.
          left: the folders with finished shards of interrupted runs.
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
        """Returns the step that writes or reuses shards."""
        write_shard = write_shards.WriteShard(
            source=self.tree.source,
            output_dir=self.output_dir,
            compression=self.flags.compression,
            options=self.options,
            min_tokens=self.flags.min_tokens,
        )
        return finished_shards.FinishShard(write_shard, self.left)


def num_shards(flags: DataFlags, found: dict[str, int]) -> dict[str, int]:
    """Returns the number of shards of each split, given the number of reviews in its folder."""
    shares = split_assignment.Shares.from_flags(flags)
    sizes = found | shares.sizes(found[spec.TRAIN])
    return {
        split: flags.num_shards or sharding.default_num_shards(sizes[split])
        for split in spec.ALL_SPLITS
        if split in sizes
    }
