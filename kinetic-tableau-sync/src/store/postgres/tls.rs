//! TLS to the server: rustls, always verified, with the system's roots and what else is trusted.

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls_platform_verifier::Verifier;
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;

use crate::store::{StateError, StateErrorKind};

/// Makes TLS connections; without a configuration there is no TLS.
#[derive(Clone)]
pub(super) struct Tls(Option<Arc<ClientConfig>>);

impl Tls {
    pub(super) fn none() -> Self {
        Self(None)
    }

    /// Trusts the system's roots, and those in a file of PEM certificates.
    pub(super) fn verified(extra: Option<&Path>) -> Result<Self, StateError> {
        let failed = |what: String| StateError::new(StateErrorKind::Storage, what);
        let mut roots = Vec::new();
        if let Some(path) = extra {
            let unread = |error: &dyn std::fmt::Display| {
                failed(format!(
                    "the file of certificates {} cannot be read: {error}; it must hold PEM certificates",
                    path.display()
                ))
            };
            for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unread(&error))? {
                roots.push(certificate.map_err(|error| unread(&error))?);
            }
            if roots.is_empty() {
                return Err(unread(&"it holds none"));
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = Verifier::new_with_extra_roots(roots, Arc::clone(&provider)).and_then(|verifier| {
            let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
            // Its own verifier is the system's, which is as strict as any.
            Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth())
        });
        let mut config = config.map_err(|error| failed(format!("TLS cannot be set up: {error}")))?;
        // What servers expect that are asked for TLS at once (`sslnegotiation=direct`); others ignore it.
        config.alpn_protocols = vec![b"postgresql".to_vec()];
        Ok(Self(Some(Arc::new(config))))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> MakeTlsConnect<S> for Tls {
    type Stream = Stream<S>;
    type TlsConnect = Connect;
    type Error = io::Error;

    fn make_tls_connect(&mut self, domain: &str) -> io::Result<Connect> {
        Ok(Connect { config: self.0.clone(), domain: domain.to_owned() })
    }
}

/// One connection to be made.
pub(super) struct Connect {
    config: Option<Arc<ClientConfig>>,
    domain: String,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> TlsConnect<S> for Connect {
    type Stream = Stream<S>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream<S>>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move {
            let config = self.config.ok_or_else(|| io::Error::other("there is no TLS for this connection"))?;
            let name = ServerName::try_from(self.domain).map_err(io::Error::other)?;
            Ok(Stream(TlsConnector::from(config).connect(name, stream).await?))
        })
    }
}

/// A connection inside TLS.
pub(super) struct Stream<S>(tokio_rustls::client::TlsStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Stream<S> {
    /// The hash of the server's certificate (RFC 5929), so that nobody between can pass a sign-in on.
    fn channel_binding(&self) -> ChannelBinding {
        let certificates = self.0.get_ref().1.peer_certificates();
        let hash = certificates.and_then(<[_]>::first).and_then(|certificate| end_point(certificate));
        hash.map_or_else(ChannelBinding::none, ChannelBinding::tls_server_end_point)
    }
}

/// Of which hash function: the one of the certificate's own signature, but SHA-256 for those that are broken.
fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    // The last byte of the names of signatures by RSA (1.2.840.113549.1.1.*) and by ECDSA (1.2.840.10045.4.3.*).
    const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
    const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03];
    let (&kind, family) = signature(certificate)?.split_last()?;
    match (family, kind) {
        (RSA, 4 | 5 | 11) | (ECDSA, 2) => Some(Sha256::digest(certificate).to_vec()),
        (RSA, 12) | (ECDSA, 3) => Some(Sha384::digest(certificate).to_vec()),
        (RSA, 13) | (ECDSA, 4) => Some(Sha512::digest(certificate).to_vec()),
        // Of others, such as Ed25519, no function is defined.
        _ => None,
    }
}

/// The name of the algorithm by which a certificate is signed: `SEQUENCE { tbs SEQUENCE, SEQUENCE { OID, … }, … }`.
fn signature(certificate: &[u8]) -> Option<&[u8]> {
    let (outer, _) = element(certificate, 0x30)?;
    let (_, rest) = element(outer, 0x30)?;
    let (algorithm, _) = element(rest, 0x30)?;
    element(algorithm, 0x06).map(|(name, _)| name)
}

/// The content of a DER element, and what stands behind it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, bytes) = bytes.split_first()?;
    let (&first, mut bytes) = bytes.split_first()?;
    let mut length = usize::from(first & 0x7f);
    if first & 0x80 != 0 {
        // At most four bytes of length: a certificate is not larger.
        let (digits, rest) = bytes.split_at_checked(length).filter(|(digits, _)| digits.len() <= 4)?;
        length = digits.iter().fold(0, |length, digit| (length << 8) | usize::from(*digit));
        bytes = rest;
    }
    if found == tag { bytes.split_at_checked(length) } else { None }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate as far as we read it.
    fn signed_by(oid: &[u8]) -> Vec<u8> {
        let wrap = |tag: u8, content: &[u8]| [&[tag, 0x82, 0, u8::try_from(content.len()).unwrap()], content].concat();
        let algorithm =
            wrap(0x30, &[0x06, u8::try_from(oid.len()).unwrap()].iter().chain(oid).copied().collect::<Vec<_>>());
        wrap(0x30, &[wrap(0x30, b"whatever is in it"), algorithm, wrap(0x03, b"\0")].concat())
    }

    #[test]
    fn the_hash_of_a_certificate_is_that_of_its_signature() {
        let rsa = |kind| [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, kind];
        for (kind, length) in [(5, Some(32)), (11, Some(32)), (12, Some(48)), (13, Some(64)), (10, None)] {
            assert_eq!(end_point(&signed_by(&rsa(kind))).map(|hash| hash.len()), length, "{kind}");
        }
        let ecdsa = signed_by(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03]);
        assert_eq!(end_point(&ecdsa), Some(Sha384::digest(&ecdsa).to_vec()));
        assert_eq!(end_point(&signed_by(&[0x2b, 0x65, 0x70])), None, "Ed25519");
        for cut in 0..ecdsa.len() - 5 {
            assert_eq!(end_point(&ecdsa[..cut]), None, "cut at {cut}");
        }
    }
}
