//! A wire to the server that can be cut at any message, before the server has it, or behind its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// Where it is cut.
#[derive(Debug, Default)]
pub(super) struct Cut {
    /// Messages until the cut; negative: none is left.
    left: AtomicI64,
    /// Whether the server gets the message, and only its answer is lost.
    after: AtomicBool,
    has_struck: AtomicBool,
    struck: Notify,
}

impl Cut {
    pub(super) fn at(&self, nth: i64, after: bool) {
        self.after.store(after, Ordering::SeqCst);
        self.has_struck.store(false, Ordering::SeqCst);
        self.left.store(nth, Ordering::SeqCst);
    }

    pub(super) fn never(&self) {
        self.left.store(-1, Ordering::SeqCst);
    }

    pub(super) fn has_struck(&self) -> bool {
        self.has_struck.load(Ordering::SeqCst)
    }

    /// Waits until it is cut.
    pub(super) async fn struck(&self) {
        self.struck.notified().await;
    }

    fn strikes(&self) -> bool {
        self.left.load(Ordering::SeqCst) > 0 && self.left.fetch_sub(1, Ordering::SeqCst) == 1
    }
}

/// Listens, and answers on which port.
pub(super) async fn start(server: u16, cut: Arc<Cut>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let cut = Arc::clone(&cut);
            tokio::spawn(async move {
                let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                // Its end is that of the connection.
                let _ = carry(client, server, &cut).await;
            });
        }
    });
    port
}

async fn carry(mut client: TcpStream, mut server: TcpStream, cut: &Cut) -> std::io::Result<()> {
    let (mut up, mut down) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let read = read?;
                if read == 0 {
                    return Ok(());
                }
                if cut.strikes() {
                    if cut.after.load(Ordering::SeqCst) {
                        server.write_all(&up[..read]).await?;
                        // The answer shows that it was done; to some messages there is none.
                        let _ = tokio::time::timeout(Duration::from_millis(300), server.read(&mut down)).await;
                    }
                    cut.has_struck.store(true, Ordering::SeqCst);
                    cut.struck.notify_one();
                    return Ok(());
                }
                server.write_all(&up[..read]).await?;
            }
            read = server.read(&mut down) => {
                let read = read?;
                if read == 0 {
                    return Ok(());
                }
                client.write_all(&down[..read]).await?;
            }
        }
    }
}
