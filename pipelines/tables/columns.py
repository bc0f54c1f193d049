"""The roles of a table's columns."""

import dataclasses
import itertools
from collections.abc import Collection, Sequence

from textrecords import terminal
from textrecords.errors import BadInput

USUAL_TEXT = ("text", "review", "content", "sentence")
USUAL_LABEL = ("label", "class", "sentiment", "category")
NAMED, NAME = 10, 60  # the maximum number of names in a message, and of characters of each


@dataclasses.dataclass(frozen=True)
class Columns:
    """The names of columns.

    Attributes:
      text: of the texts, which are joined by a space.
      label: of the classes, if rows have any.
      split: of the splits, if files aren't named by split.
      key: of the keys, if they aren't `file#row`.
      kept: of columns that are written with the scores, with Arrow's names of their types.
    """

    text: tuple[str, ...] = ()
    label: str | None = None
    split: str | None = None
    key: str | None = None
    kept: tuple[tuple[str, str], ...] = ()

    @property
    def names(self) -> list[str]:
        """All names, each once."""
        others = filter(None, (self.label, self.split, self.key))
        return list(dict.fromkeys((*self.text, *others, *dict(self.kept))))

    def find(self, path: str, header: Sequence[str], *, labelled: bool) -> "Columns":
        """Returns these columns, with usual names for those that aren't given.

        Args:
          path: of the table.
          header: the names of all its columns.
          labelled: whether there has to be a column of classes.

        Raises:
          BadInput: if there are no such columns, or several.
        """
        text = self.text or (_usual(path, header, USUAL_TEXT, "text"),)
        found = dataclasses.replace(self, text=text)
        if labelled and not self.label:
            label = _usual(path, header, USUAL_LABEL, "label")
            found = dataclasses.replace(found, label=label)
        found.check(path, header)
        return found

    def check(self, path: str, header: Sequence[str]) -> None:
        """Raises `BadInput` unless a table with this header has each of the columns, once."""
        for name in self.names:
            if name not in header:
                raise BadInput(f"{path} has no column {named([name])}: {_listed(header)}")
            if header.count(name) > 1:
                raise BadInput(f"{path} has two columns {named([name])}: rename one")


def _usual(path: str, header: Sequence[str], usual: Sequence[str], what: str) -> str:
    found = dict.fromkeys(name for name in header if name.strip().lower() in usual)
    if len(found) > 1:
        raise BadInput(f"{path} has the columns {named(found)}: choose one with --{what}_column")
    if not found:
        raise BadInput(
            f"{path} has no column {', '.join(usual[:-1])} or {usual[-1]}: name one with "
            f"--{what}_column; {_listed(header)}"
        )
    return next(iter(found))


def _listed(header: Sequence[str]) -> str:
    return f"its columns are {named(header)}" if header else "it has none"


def named(names: Collection[str]) -> str:
    """Returns names for a message, escaped and limited in number and length."""
    first = map(terminal.one_line, itertools.islice(names, NAMED))
    shown = [name if len(name) <= NAME else f"{name[:NAME]}..." for name in first]
    return ", ".join(shown + ["..."] * (len(names) > NAMED))
