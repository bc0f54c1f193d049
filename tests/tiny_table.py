"""Small tables in all formats."""

import csv
import gzip
import io
import json

import pyarrow as pa
import pyarrow.parquet

NAMES = ("a.csv", "a.csv.gz", "a.tsv", "a.jsonl", "a.ndjson.gz", "a.json", "a.parquet")


def write(path, rows, **of_csv):
    """Writes rows, dicts with the same keys, in the format given by the file name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pa.Table.from_pylist(rows), path)
        return
    name = path.name.removesuffix(".gz")
    text = _csv(name, rows, **of_csv) if name.endswith("sv") else _json(rows)
    content = text.encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def _json(rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _csv(name, rows, **of_csv):
    file = io.StringIO(newline="")
    delimiter = "\t" if name.endswith(".tsv") else ","
    options = {"delimiter": delimiter, "lineterminator": "\n"} | of_csv
    writer = csv.DictWriter(file, list(rows[0]), **options)
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()
