"""The script that our client does as well: what both leave on the server must be the same.

Arguments: address, site, token name, token secret, and the directory with `large.hyper` and `small.hyper`.
"""

import faulthandler
import os
import sys
from datetime import time
from pathlib import Path

os.environ["TSC_FILESIZE_LIMIT_MB"] = "0"
os.environ["TSC_CHUNK_SIZE_MB"] = "1"

import tableauserverclient as TSC  # noqa: E402

faulthandler.dump_traceback_later(60, exit=True)

address, site, token_name, token_secret, directory = sys.argv[1:]
directory = Path(directory)
server = TSC.Server(address)
server.use_server_version()
with server.auth.sign_in(TSC.PersonalAccessTokenAuth(token_name, token_secret, site_id=site)):
    default = next(project for project in TSC.Pager(server.projects) if project.name == "Default")
    project = server.projects.create(TSC.ProjectItem("Same", parent_id=default.id))
    archive = server.projects.create(TSC.ProjectItem("Archive", parent_id=project.id))

    new = TSC.DatasourceItem(project.id, name="Ledger")
    new.description = "of 2026 & <more>"
    ledger = server.datasources.publish(new, directory / "large.hyper", TSC.Server.PublishMode.CreateNew)
    again = TSC.DatasourceItem(project.id, name="Ledger")
    job = server.datasources.publish(again, directory / "small.hyper", TSC.Server.PublishMode.Overwrite, as_job=True)
    server.jobs.wait_for_job(job)

    server.datasources.publish(again, directory / "small.hyper", TSC.Server.PublishMode.Append)

    ledger = server.datasources.get_by_id(ledger.id)
    ledger.name = "Ledger 2026"
    ledger.certified = True
    ledger.certification_note = "checked by hand"
    ledger.project_id = archive.id
    ledger = server.datasources.update(ledger)
    server.datasources.add_tags(ledger, ["finance", "year end", "old"])
    server.datasources.delete_tags(ledger, ["old"])

    group = next(iter(TSC.Pager(server.groups)))
    ann = next(user for user in TSC.Pager(server.users) if user.name == "ann")
    Permission = TSC.Permission
    rules = [
        TSC.PermissionsRule(
            group,
            {Permission.Capability.Read: Permission.Mode.Allow, Permission.Capability.Connect: Permission.Mode.Allow},
        ),
        TSC.PermissionsRule(ann, {Permission.Capability.Delete: Permission.Mode.Deny}),
    ]
    server.datasources.update_permissions(ledger, rules)
    server.datasources.delete_permission(
        ledger, [TSC.PermissionsRule(group, {Permission.Capability.Connect: Permission.Mode.Allow})]
    )

    delete = {
        "action": "delete",
        "target-schema": "Extract",
        "target-table": "Extract",
        "condition": {"op": "eq", "target-col": "Id", "const": {"type": "integer", "v": 1}},
    }
    job = server.datasources.update_hyper_data(ledger, request_id="same-1", actions=[delete])
    server.jobs.wait_for_job(job)

    upstream = next(item for item in TSC.Pager(server.datasources) if item.name == "Upstream")
    server.datasources.populate_connections(upstream)
    connection = upstream.connections[0]
    connection.server_address = "db2.example.com"
    connection.server_port = "5433"
    connection.username = "reader"
    connection.password = "a password"
    connection.embed_password = True
    server.datasources.update_connection(upstream, connection)
    server.jobs.wait_for_job(server.datasources.refresh(upstream))

    interval = TSC.DailyInterval(time(2, 0))
    schedule = TSC.ScheduleItem(
        "Nightly", 40, TSC.ScheduleItem.Type.Extract, TSC.ScheduleItem.ExecutionOrder.Parallel, interval
    )
    schedule = server.schedules.create(schedule)
    server.schedules.add_to_schedule(schedule.id, datasource=upstream)

    hook = TSC.WebhookItem()
    hook.name = "ours"
    hook.url = "https://hooks.example.com/secret"
    hook.event = "datasource-updated"
    hook = server.webhooks.create(hook)
    server.webhooks.test(hook.id)

    extra = server.datasources.publish(
        TSC.DatasourceItem(project.id, name="Extra"), directory / "small.hyper", TSC.Server.PublishMode.CreateNew
    )
    server.datasources.delete(extra.id)
print("ok")
