//! Files on their way up: in blocks, cut off at every one of them, resumed by another process, read from wherever.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use simulators::faults::{Effect, Fault};
use simulators::tableau::TableauSim;
use tableau_rest::{
    Client, Delivery, ErrorKind, FileContent, FileSource, FileType, Progress, PublishRequest, Published, UploadState,
};

use super::{builder, extracts, project};

const BLOCK: usize = 256 * 1024;

fn in_blocks(sim: &TableauSim) -> Client {
    let builder = builder(sim).personal_access_token(sim.pat_name(), sim.pat_secret());
    builder.chunk_size(BLOCK).build().unwrap()
}

async fn large() -> Vec<u8> {
    std::fs::read(extracts().await.large()).unwrap()
}

fn sha256(content: &[u8]) -> String {
    Sha256::digest(content).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn landed(sim: &TableauSim, name: &str) -> Vec<u8> {
    std::fs::read(sim.landed_file("Finance/Payables", name).unwrap()).unwrap()
}

#[tokio::test]
async fn progress_is_told_block_by_block_and_ends_with_size_and_checksum() {
    let sim = TableauSim::builder().start().await.unwrap();
    let client = in_blocks(&sim);
    let content = large().await;
    for name in ["large", "small"] {
        let file = FileSource::path(extracts().await.directory.path().join(format!("{name}.hyper")));
        let content = if name == "large" { content.clone() } else { std::fs::read(extracts().await.small()).unwrap() };
        let told: Arc<Mutex<Vec<Progress>>> = Arc::default();
        let listener = Arc::clone(&told);
        let request = PublishRequest::new(project(&client).await.id, name, file)
            .overwrite()
            .on_progress(move |progress| listener.lock().unwrap().push(progress));
        client.datasources().publish(request).await.unwrap();
        let told = told.lock().unwrap();
        assert_eq!(told.len(), content.len().div_ceil(BLOCK) + 1);
        assert!(told.windows(2).all(|two| two[0].sent < two[1].sent));
        assert!(told.iter().all(|progress| progress.total == content.len() as u64));
        assert!(told[..told.len() - 1].iter().all(|progress| progress.sha256.is_none()));
        assert_eq!(told.last().unwrap().sha256.as_deref(), Some(sha256(&content).as_str()));
        assert_eq!(landed(&sim, name), content);
    }
}

/// Whatever happens to whatever block: what lands is the file, or nothing lands.
#[tokio::test]
async fn a_cut_in_any_block_does_no_harm_whether_blocks_have_numbers_or_not() {
    let content = large().await;
    let blocks = content.len().div_ceil(BLOCK);
    assert!(blocks > 3, "{blocks} blocks");
    for version in ["3.29", "3.21"] {
        for effect in [Effect::DropBefore, Effect::DropAfter, Effect::Html(504), Effect::CutBody(3)] {
            let sim =
                TableauSim::builder().switches(|switches| switches.version = version.to_owned()).start().await.unwrap();
            let client = in_blocks(&sim);
            let project = project(&client).await;
            for nth in 1..=blocks {
                let name = format!("cut at {nth}");
                sim.faults().clear();
                sim.faults().push(Fault::on("/fileUploads/", effect.clone()).nth(nth.try_into().unwrap()));
                let file = FileSource::path(extracts().await.large());
                let request = PublishRequest::new(project.id.clone(), name.as_str(), file);
                let at = format!("{effect:?} at block {nth} with {version}");
                client.datasources().publish(request).await.unwrap_or_else(|error| panic!("{at}: {error}"));
                assert!(landed(&sim, &name) == content, "{at}");
            }
        }
    }
}

#[tokio::test]
async fn an_upload_goes_on_where_another_process_left_it() {
    let sim = TableauSim::builder().start().await.unwrap();
    let content = large().await;
    let file = FileSource::path(extracts().await.large());
    let mut kept = {
        let client = in_blocks(&sim);
        let mut upload = client.uploads().begin(&file).await.unwrap();
        assert!(upload.next_block().await.unwrap());
        serde_json::to_string(upload.state()).unwrap()
    };
    let mut rounds = 0;
    let uploaded = loop {
        let client = in_blocks(&sim);
        let state: UploadState = serde_json::from_str(&kept).unwrap();
        assert_eq!(state.size(), content.len() as u64);
        let mut upload = client.uploads().resume(state, &file).await.unwrap();
        // Each process dies at a block whose answer is lost; the next one sends it again under its number.
        sim.faults().clear();
        for _ in 0..10 {
            sim.faults().push(Fault::on("/fileUploads/", Effect::DropAfter).nth(2));
        }
        upload.next_block().await.unwrap();
        match upload.next_block().await {
            Ok(false) => break upload.finish().await.unwrap(),
            Ok(true) => {}
            Err(error) => assert_eq!(error.delivery(), Delivery::Unknown),
        }
        kept = serde_json::to_string(upload.state()).unwrap();
        rounds += 1;
        assert!(rounds < 50);
    };
    assert!(rounds > 1);
    assert_eq!((uploaded.size, uploaded.sha256.as_str()), (content.len() as u64, sha256(&content).as_str()));
    sim.faults().clear();
    let client = in_blocks(&sim);
    let request = PublishRequest::uploaded(project(&client).await.id, "Resumed", FileType::Hyper, uploaded.clone());
    let published = client.datasources().publish(request.clone()).await.unwrap();
    assert!(matches!(published, Published::Datasource(_)));
    assert!(landed(&sim, "Resumed") == content);
    // It is used up by that.
    let again = client.datasources().publish(request.overwrite()).await.unwrap_err();
    assert_eq!(again.code(), Some("404015"));
}

#[tokio::test]
async fn an_upload_goes_on_with_the_same_file_only() {
    let sim = TableauSim::builder().start().await.unwrap();
    let client = in_blocks(&sim);
    let content = large().await;
    let file = |content: Vec<u8>| FileSource::bytes(FileType::Hyper, content);
    let mut upload = client.uploads().begin(&file(content.clone())).await.unwrap();
    upload.next_block().await.unwrap();
    let state = upload.state().clone();
    let mut changed = content.clone();
    changed[BLOCK - 1] ^= 1;
    for other in [changed, content[..content.len() - 1].to_vec()] {
        let error = client.uploads().resume(state.clone(), &file(other)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::File);
        assert!(error.to_string().contains("not the one"), "{error}");
    }
    let mut resumed = client.uploads().resume(state, &file(content)).await.unwrap();
    resumed.finish().await.unwrap();
    assert!(client.uploads().begin(&file(Vec::new())).await.is_err());
}

#[tokio::test]
async fn without_numbers_a_block_in_doubt_ends_the_upload() {
    let sim = TableauSim::builder().switches(|switches| switches.version = "3.21".to_owned()).start().await.unwrap();
    let client = in_blocks(&sim);
    let file = FileSource::path(extracts().await.large());
    let mut upload = client.uploads().begin(&file).await.unwrap();
    upload.next_block().await.unwrap();
    sim.faults().push(Fault::on("/fileUploads/", Effect::DropAfter));
    assert_eq!(upload.next_block().await.unwrap_err().delivery(), Delivery::Unknown);
    assert_eq!(upload.next_block().await.unwrap_err().kind(), ErrorKind::Config);
    let error = client.uploads().resume(upload.state().clone(), &file).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
}

/// An object store that fails now and then.
#[derive(Debug)]
struct Store {
    content: Vec<u8>,
    reads: Mutex<u32>,
    broken: bool,
}

#[async_trait]
impl FileContent for Store {
    async fn size(&self) -> std::io::Result<u64> {
        Ok(self.content.len() as u64)
    }

    async fn read(&self, offset: u64, length: usize) -> std::io::Result<Bytes> {
        *self.reads.lock().unwrap() += 1;
        let begin = usize::try_from(offset).unwrap();
        if self.broken && begin > 0 {
            return Err(std::io::Error::other("the bucket is gone"));
        }
        Ok(Bytes::copy_from_slice(&self.content[begin..begin + length]))
    }
}

#[tokio::test]
async fn content_comes_from_wherever_it_lies() {
    let sim = TableauSim::builder().start().await.unwrap();
    let client = in_blocks(&sim);
    let project = project(&client).await;
    let store = Arc::new(Store { content: large().await, reads: Mutex::new(0), broken: false });
    let file = FileSource::content(FileType::Hyper, store.clone());
    client.datasources().publish(PublishRequest::new(project.id.clone(), "Stored", file)).await.unwrap();
    assert!(landed(&sim, "Stored") == store.content);
    let broken = Arc::new(Store { content: large().await, reads: Mutex::new(0), broken: true });
    let file = FileSource::content(FileType::Hyper, broken);
    let error = client.datasources().publish(PublishRequest::new(project.id, "Broken", file)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::File);
    assert!(sim.landed_file("Finance/Payables", "Broken").is_none());
}
