//! A large file goes up block by block; the program stops in the middle, and another one goes on, with the same file only.

use simulators::faults::{Effect, Fault};
use simulators::tableau::TableauSim;
use tableau_rest::{Client, FileSource, FileType, PublishRequest, RetryPolicy, UploadState};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tableau = TableauSim::builder().switches(|switches| switches.check_extracts = false).start().await?;
    let content: Vec<u8> = (0..5_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let file = FileSource::bytes(FileType::Hyper, content.clone());
    let client = || {
        Client::builder(tableau.url())
            .site(tableau.site())
            .personal_access_token(tableau.pat_name(), tableau.pat_secret())
            .chunk_size(4 << 20)
            .retry(RetryPolicy::none())
            .build()
    };

    // The first program: two blocks arrive, the answer to the third is lost.
    let kept = {
        let client = client()?;
        let mut upload = client.uploads().begin(&file).await?;
        tableau.faults().push(Fault::on("/fileUploads/", Effect::DropAfter).nth(3));
        let error = loop {
            match upload.next_block().await {
                Ok(true) => println!("{} of {} bytes", upload.state().sent(), upload.state().size()),
                Ok(false) => return Err("the fault did not come".into()),
                Err(error) => break error,
            }
        };
        println!("stopped: {error}");
        serde_json::to_string(upload.state())?
    };
    println!("kept: {kept}");

    // The second program. It reads what was sent once more, to be sure that the file is the same.
    let client = client()?;
    let state: UploadState = serde_json::from_str(&kept)?;
    let changed = FileSource::bytes(FileType::Hyper, vec![0; content.len()]);
    let Err(refused) = client.uploads().resume(state.clone(), &changed).await else {
        return Err("another file was taken".into());
    };
    println!("another file: {refused}");
    let uploaded = client.uploads().resume(state, &file).await?.finish().await?;
    println!("{} bytes in {} blocks, SHA-256 {}", uploaded.size, uploaded.blocks, uploaded.sha256);

    let project = client.projects().ensure_path(&["Finance"]).await?;
    let request = PublishRequest::uploaded(project.id, "Large", FileType::Hyper, uploaded);
    client.datasources().publish(request).await?;
    let landed = std::fs::read(tableau.extract_path("Large").ok_or("nothing landed")?)?;
    client.sign_out().await?;
    if landed != content {
        return Err("what landed is not the file".into());
    }
    println!("ok: what landed is the file, although one block was sent twice");
    Ok(())
}
