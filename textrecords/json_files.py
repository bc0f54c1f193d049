"""JSON files and dataclasses."""

import dataclasses
import json
from typing import Any, TypeVar

from textrecords import atomic, storage

T = TypeVar("T")


def to_json(content: Any) -> str:
    """Returns the JSON of a dataclass or of plain data, as it is written to files."""
    if dataclasses.is_dataclass(content):
        content = dataclasses.asdict(content)
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def write(path: str, content: Any) -> None:
    """Writes JSON to a file atomically; raises `OSError`."""
    atomic.write_text(path, to_json(content))


def read(of: type[T], path: str) -> T:
    """Reads a dataclass from a JSON file; raises `OSError`, or `ValueError` with one line."""
    return parse(of, storage.read_text(path))


def parse(of: type[T], text: str) -> T:
    """Parses a dataclass from JSON; raises `ValueError` with one line."""
    import pydantic  # here, since the import is slow

    try:
        return pydantic.TypeAdapter(of).validate_json(text, strict=True)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ValueError(f"{where}: {first['msg']}") from None
