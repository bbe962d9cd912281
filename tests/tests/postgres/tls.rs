//! TLS to the server: used when it is asked for, and never without a certificate that is trusted for the very name.
//!
//! What ends TLS here is a relay before the server, since not every build of Postgres knows TLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use kinetic_tableau_sync::StateStore as _;
use kinetic_tableau_sync::store::{PostgresOptions, PostgresStore};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::database;

/// A relay that ends TLS, with a certificate for `localhost` by an authority of its own.
struct Relay {
    address: SocketAddr,
    /// Connections that came through TLS.
    count: Arc<AtomicU32>,
    directory: TempDir,
}

impl Relay {
    async fn new(server: u16) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("my ca.pem"), authority.pem()).unwrap();
        std::fs::write(directory.path().join("empty.pem"), "no certificate").unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let relay = Self { address: listener.local_addr().unwrap(), count: Arc::default(), directory };
        let count = Arc::clone(&relay.count);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (acceptor, count) = (acceptor.clone(), Arc::clone(&count));
                tokio::spawn(async move {
                    // The request for TLS: its length and its number.
                    let mut request = [0; 8];
                    if client.read_exact(&mut request).await.is_err() || request != [0, 0, 0, 8, 4, 210, 22, 47] {
                        return;
                    }
                    client.write_all(b"S").await.unwrap();
                    let Ok(mut inside) = acceptor.accept(client).await else { return };
                    count.fetch_add(1, Ordering::Relaxed);
                    let mut server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut inside, &mut server).await;
                });
            }
        });
        relay
    }

    fn authority(&self) -> String {
        self.directory.path().join("my ca.pem").display().to_string()
    }

    fn count(&self) -> u32 {
        self.count.load(Ordering::Relaxed)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_must_be_trusted_and_for_the_name() {
    let database = database().await;
    let server = simulators::postgres::PostgresServer::shared().await.unwrap();
    let relay = Relay::new(server.port()).await;
    let url = |host: &str, mode: &str| format!("{}?sslmode={mode}", database.url_at(host, relay.address.port()));

    let options = PostgresOptions::new(url("localhost", "verify-full")).ca_file(relay.authority());
    let store = PostgresStore::connect(options).await.unwrap();
    assert!(store.list().await.unwrap().is_empty());
    assert!(relay.count() > 0, "through TLS");
    let encoded = relay.authority().replace('/', "%2F").replace(' ', "%20");
    let named = format!("{}&sslrootcert={encoded}", url("localhost", "require"));
    PostgresStore::connect(PostgresOptions::new(named)).await.unwrap();

    let trusted = relay.count();
    for (options, words) in [
        // Whatever the mode is called.
        (PostgresOptions::new(url("localhost", "require")), "certificate"),
        (PostgresOptions::new(url("localhost", "prefer")), "certificate"),
        (PostgresOptions::new(url("localhost", "verify-ca")), "certificate"),
        (PostgresOptions::new(url("127.0.0.1", "verify-full")).ca_file(relay.authority()), "certificate"),
        (PostgresOptions::new(url("127.0.0.1", "verify-ca")).ca_file(relay.authority()), "certificate"),
        (
            PostgresOptions::new(url("localhost", "require")).ca_file(relay.directory.path().join("empty.pem")),
            "holds none",
        ),
        (PostgresOptions::new(url("localhost", "require")).ca_file("/none/such.pem"), "cannot be read"),
    ] {
        let what = format!("{options:?}");
        let error = PostgresStore::connect(options).await.unwrap_err().to_string();
        assert!(error.contains(words) && !error.contains(database.password()), "{what}: {error}");
    }
    assert_eq!(relay.count(), trusted, "nobody has signed in");

    // A server without TLS, where it is required.
    let error = PostgresStore::connect(PostgresOptions::new(format!("{}?sslmode=require", database.url()))).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("does not support TLS") && error.contains("sslmode=disable"), "{error}");
}
