"""A small folder of text files."""

import os


def write(folder, files):
    """Writes `{path: text or bytes}` below a folder."""
    for path, text in files.items():
        full = os.path.join(folder, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "wb") as file:
            file.write(text.encode() if isinstance(text, str) else text)
