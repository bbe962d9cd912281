"""Prints what a Parquet file holds as JSON, as Apache Arrow reads it. Used by `e2e/parquet.rs`."""

import collections
import json
import sys

import pyarrow.parquet as parquet

file = parquet.ParquetFile(sys.argv[1])
table = file.read()
schema = [f"{field.name} {field.type}" + ("" if field.nullable else " required") for field in table.schema]
texts = table.column("Text").to_pylist()
times = collections.Counter(text.rsplit(" ", 1)[1] for text in texts if text is not None)
ids = table.column("ID").to_pylist()
assert len(set(ids)) == len(ids), "a key is there twice"
for column in table.column_names[1:]:
    assert [value is None for value in table.column(column).to_pylist()] == [key % 7 == 0 for key in ids], column
first = [str(table.column(name)[ids.index(1)].as_py()) for name in table.column_names]
print(
    json.dumps(
        {
            "rows": table.num_rows,
            "groups": file.num_row_groups,
            "schema": schema,
            "nulls": texts.count(None),
            "times": times,
            "first": first,
        }
    )
)
