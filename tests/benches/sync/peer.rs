//! The script that a careful person would write instead: a session that is kept, a fast JSON reader, batches in columns, Tableau's own
//! libraries. It pages by `$skip`, as they all do.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Outcome, Took, figures};

const SCRIPT: &str = r#"
import json, os, pathlib, resource, sys, time
import orjson, pantab, pyarrow as pa, requests, tableauserverclient as TSC
odata, tableau, site, name, secret, work, mode = sys.argv[1:]
address = odata + "/api/v2/odata/EPIC06/Erp.BO.APInvoiceSvc/APInvoices"
work, PAGE = pathlib.Path(work), 5000
whole = ["VendorNum", "FiscalYear", "FiscalPeriod", "PONum", "SysRevID"]
floats = ["InvoiceAmt", "DocInvoiceAmt", "InvoiceBal", "ExchangeRate"]
flags = ["DebitMemo", "OpenPayable", "Posted"]
moments = ["InvoiceDate", "DueDate", "ApplyDate", "ChangedOn"]
COLUMNS = os.environ["COLUMNS_TO_READ"].split()
kind = lambda c: pa.int64() if c in whole else pa.float64() if c in floats else pa.bool_() if c in flags else pa.string()
raw = pa.schema([(c, kind(c)) for c in COLUMNS])
final = pa.schema([(c, pa.timestamp("us") if c in moments else kind(c)) for c in COLUMNS])
state = work / "script.json"
last = json.loads(state.read_text())["last"] if mode == "delta" else 0
newest, count, session = last, 0, requests.Session()
begun = time.monotonic()
def batches():
    global newest, count
    skip = 0
    while True:
        query = {"$select": ",".join(COLUMNS), "$top": PAGE, "$skip": skip, "$orderby": "SysRevID"}
        if last:
            query["$filter"] = f"SysRevID gt {last}"
        answer = session.get(address, params=query, timeout=60)
        answer.raise_for_status()
        rows = orjson.loads(answer.content)["value"]
        if rows:
            newest, count = max(newest, rows[-1]["SysRevID"]), count + len(rows)
            yield pa.RecordBatch.from_pylist(rows, schema=raw).cast(final)
        if len(rows) < PAGE:
            return
        skip += PAGE
path = work / f"script-{mode}.hyper"
path.unlink(missing_ok=True)
pantab.frame_to_hyper(pa.RecordBatchReader.from_batches(final, batches()), path, table="Extract")
server = TSC.Server(tableau)
server.use_server_version()
with server.auth.sign_in(TSC.PersonalAccessTokenAuth(name, secret, site_id=site)):
    project = next(p for p in TSC.Pager(server.projects) if p.name == "Default")
    if mode == "full":
        server.datasources.publish(TSC.DatasourceItem(project.id, name="Script"), str(path), TSC.Server.PublishMode.Overwrite)
    else:
        item = next(d for d in TSC.Pager(server.datasources) if d.name == "Script")
        same = [{"op": "eq", "target-col": c, "source-col": c} for c in ["Company", "VendorNum", "InvoiceNum"]]
        action = {"action": "upsert", "source-table": "Extract", "target-table": "Extract", "condition": {"op": "and", "args": same}}
        job = server.datasources.update_hyper_data(item, request_id=str(time.time()), actions=[action], payload=str(path))
        server.jobs.wait_for_job(job)
state.write_text(json.dumps({"last": newest}))
seconds = time.monotonic() - begun
used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
cpu = sum(u.ru_utime + u.ru_stime for u in used)
print(seconds, cpu, used[0].ru_maxrss // 1024, count)
"#;

/// Runs the script once.
pub(crate) async fn run(odata: &str, tableau: &str, sign_in: [&String; 3], work: &Path, full: bool) -> Outcome<Took> {
    let mut command = Command::new(python()?);
    command.args(["-c", SCRIPT, odata, tableau]).args(sign_in).arg(work).arg(if full { "full" } else { "delta" });
    command.env("COLUMNS_TO_READ", super::COLUMNS.join(" "));
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    let (took, counts) = figures(&output)?;
    println!("script, {}: {counts:?} rows", if full { "full" } else { "1 % changed" });
    Ok(took)
}

/// An interpreter with what the script needs, made beside the build.
fn python() -> Outcome<PathBuf> {
    let bench = std::env::current_exe()?;
    let target = bench.ancestors().nth(3).ok_or("the benchmark lies in no build directory")?;
    let home = target.join("python-for-benchmarks");
    let python = home.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    if !python.exists() {
        done(Command::new("python3").args(["-m", "venv"]).arg(&home))?;
    }
    let packages = ["pantab==5.3.0", "pyarrow==26.0.1", "orjson==3.13.0", "requests", "tableauserverclient==0.42"];
    done(
        Command::new(&python).args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(packages),
    )?;
    Ok(python)
}

fn done(command: &mut Command) -> Outcome<()> {
    if command.status()?.success() {
        return Ok(());
    }
    Err(format!("{command:?} failed; Python 3 with venv and pip is needed").into())
}
