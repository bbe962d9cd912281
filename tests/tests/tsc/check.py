"""Tableau's own Python client against the simulator: what it believes of the server must hold here, too.

Arguments: address, site, token name, token secret, id of a datasource with an upstream, and a directory to work in.
Prints one line per step and ends with `ok`.
"""

import faulthandler
import os
import sys
from pathlib import Path
from random import Random

# Files from a byte on go in blocks, so that a small extract takes the way of a large one.
os.environ["TSC_FILESIZE_LIMIT_MB"] = "0"
os.environ["TSC_CHUNK_SIZE_MB"] = "1"

import tableauserverclient as TSC  # noqa: E402
from tableauhyperapi import (  # noqa: E402
    Connection,
    CreateMode,
    HyperProcess,
    Inserter,
    SqlType,
    TableDefinition,
    TableName,
    Telemetry,
    NOT_NULLABLE,
)

TABLE = TableName("Extract", "Extract")


def write(hyper, path, rows):
    definition = TableDefinition(
        TABLE,
        [
            TableDefinition.Column("Id", SqlType.int(), NOT_NULLABLE),
            TableDefinition.Column("Name", SqlType.text()),
        ],
    )
    with Connection(hyper.endpoint, str(path), CreateMode.CREATE_AND_REPLACE) as connection:
        connection.catalog.create_schema("Extract")
        connection.catalog.create_table(definition)
        with Inserter(connection, definition) as inserter:
            inserter.add_rows(rows)
            inserter.execute()
    return path


def read(hyper, path):
    with Connection(hyper.endpoint, str(path)) as connection:
        return connection.execute_list_query(f'SELECT "Id", "Name" FROM {TABLE} ORDER BY "Id"')


# A job that never ends must not keep the tests waiting for ever.
faulthandler.dump_traceback_later(60, exit=True)


def main(address, site, token_name, token_secret, upstream, directory):
    directory = Path(directory)
    server = TSC.Server(address)
    server.use_server_version()
    assert server.version == "3.29", server.version
    auth = TSC.PersonalAccessTokenAuth(token_name, token_secret, site_id=site)
    with HyperProcess(
        Telemetry.DO_NOT_SEND_USAGE_DATA_TO_TABLEAU, parameters={"log_config": ""}
    ) as hyper, server.auth.sign_in(auth):
        print("signed in, version", server.version)
        projects, _ = server.projects.get()
        default = next(project for project in projects if project.name == "Default")
        project = server.projects.create(TSC.ProjectItem("From Python", parent_id=default.id))
        print("made project", project.name)

        # More than one block.
        random = Random(1)
        rows = [(number, random.randbytes(50).hex()) for number in range(60_000)]
        extract = write(hyper, directory / "large.hyper", rows)
        blocks = extract.stat().st_size / (1 << 20)
        assert blocks > 1, f"only {blocks} MB"
        item = TSC.DatasourceItem(project.id, name="Large")
        item = server.datasources.publish(item, extract, TSC.Server.PublishMode.CreateNew)
        print("published in blocks:", round(blocks, 1), "MB")
        job = server.datasources.publish(
            TSC.DatasourceItem(project.id, name="Large"), extract, TSC.Server.PublishMode.Overwrite, as_job=True
        )
        job = server.jobs.wait_for_job(job)
        assert job.finish_code == TSC.JobItem.FinishCode.Success, job
        print("overwritten as a job")

        found = [item for item in TSC.Pager(server.datasources) if item.name == "Large"]
        assert [item.id for item in found] == [item.id for item in found[:1]] and len(found) == 1, found
        server.datasources.populate_connections(found[0])
        assert [connection.connection_type for connection in found[0].connections] == ["hyper"]
        print("listed with its connection")

        changes = write(hyper, directory / "changes.hyper", [(7, "seven"), (60_000, "new")])
        by_id = {"op": "eq", "target-col": "Id", "source-col": "Id"}
        upsert = {
            "action": "upsert",
            "source-schema": "Extract",
            "source-table": "Extract",
            "target-schema": "Extract",
            "target-table": "Extract",
            "condition": by_id,
        }
        for _ in range(2):  # The same request id runs once.
            job = server.datasources.update_hyper_data(
                found[0], request_id="from-python-1", actions=[upsert], payload=changes
            )
            job = server.jobs.wait_for_job(job)
            assert job.finish_code == TSC.JobItem.FinishCode.Success, job
        delete = {
            "action": "delete",
            "target-schema": "Extract",
            "target-table": "Extract",
            "condition": {"op": "lt", "target-col": "Id", "const": {"type": "integer", "v": 7}},
        }
        job = server.datasources.update_hyper_data(found[0], request_id="from-python-2", actions=[delete])
        server.jobs.wait_for_job(job)
        print("updated: upsert and delete")

        downloaded = server.datasources.download(found[0].id, filepath=str(directory / "back"))
        back = read(hyper, downloaded)
        assert len(back) == 60_000 - 7 + 1, len(back)
        assert back[0] == [7, "seven"] and back[-1] == [60_000, "new"], (back[0], back[-1])
        print("downloaded and read back:", len(back), "rows")

        job = server.jobs.wait_for_job(server.datasources.refresh(server.datasources.get_by_id(upstream)))
        assert job.finish_code == TSC.JobItem.FinishCode.Success, job
        print("refreshed what has an upstream")
        try:
            server.datasources.refresh(found[0])
            raise AssertionError("a bare extract has no upstream")
        except TSC.ServerResponseError as refusal:
            assert refusal.code == "403104", refusal.code
        try:
            broken = directory / "broken.hyper"
            broken.write_bytes(b"no extract" * 100)
            server.datasources.publish(
                TSC.DatasourceItem(project.id, name="Broken"), broken, TSC.Server.PublishMode.CreateNew
            )
            raise AssertionError("a broken file was published")
        except TSC.ServerResponseError as refusal:
            assert refusal.code == "400011", refusal.code
        print("refusals have Tableau's codes")
        server.datasources.delete(found[0].id)
        assert all(item.name != "Large" for item in TSC.Pager(server.datasources))
        print("deleted")
    print("ok")


main(*sys.argv[1:])
