"""Prints the rows of an extract as JSON, as Tableau's own Python library reads them. Used by `e2e/vendor.rs`."""

import json
import sys

from tableauhyperapi import Connection, Date, HyperProcess, Telemetry, Timestamp


def text(value):
    if value is None:
        return None
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, Timestamp):
        clock = f" {value.hour:02}:{value.minute:02}:{value.second:02}"
        return f"{value.year:04}-{value.month:02}-{value.day:02}{clock}" + (f".{value.microsecond:06}" if value.microsecond else "")
    if isinstance(value, Date):
        return f"{value.year:04}-{value.month:02}-{value.day:02}"
    # Decimals keep all their digits.
    return str(value)


def main(path):
    parameters = {"log_config": ""}
    with HyperProcess(Telemetry.DO_NOT_SEND_USAGE_DATA_TO_TABLEAU, parameters=parameters) as hyper:
        with Connection(hyper.endpoint, path) as connection:
            (schema,) = [name for name in connection.catalog.get_schema_names() if str(name.name) != '"public"']
            (table,) = connection.catalog.get_table_names(schema)
            columns = [column.name.unescaped for column in connection.catalog.get_table_definition(table).columns]
            with connection.execute_query(f"SELECT * FROM {table}") as rows:
                found = [dict(zip(columns, map(text, row))) for row in rows]
    json.dump(found, sys.stdout)


main(sys.argv[1])
