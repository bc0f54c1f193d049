"""JSON files, and dataclasses as JSON."""

import dataclasses
import json
from typing import Any, TypeVar

from textrecords import atomic, storage

T = TypeVar("T")


def to_json(content: Any) -> str:
    """Returns JSON of a dataclass, or of what `json` knows, as it is written to files."""
    if dataclasses.is_dataclass(content):
        content = dataclasses.asdict(content)
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def write(path: str, content: Any) -> None:
    """Writes a file of `to_json` that is whole or not there; raises `OSError`."""
    atomic.write_text(path, to_json(content))


def read(of: type[T], path: str) -> T:
    """Rebuilds a dataclass from a JSON file; raises `OSError`, or `ValueError` in one line."""
    return parse(of, storage.read_text(path))


def parse(of: type[T], text: str) -> T:
    """Rebuilds a dataclass from JSON; raises `ValueError` in one line."""
    import pydantic  # here, since it takes a while

    try:
        return pydantic.TypeAdapter(of).validate_json(text, strict=True)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "all of it"
        raise ValueError(f"{where}: {first['msg']}") from None
