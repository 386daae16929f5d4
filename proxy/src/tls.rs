//! TLS between sidecars: rustls with aws-lc-rs, certificates from files, who is at the other end.
//!
//! **Server's side** (a listener's `tls`): STRICT refuses what is not encrypted, PERMISSIVE takes both. With a trust file
//! under `validation` a client must show a certificate that leads to it; that is mutual TLS. **Client's side** (the backend's
//! `clientPolicy.tls`): the server's certificate must lead to the trust file, and must carry one of the names under
//! `subjectAlternativeNames` or, when there are none, the host name of the server's node or its SPIFFE identity.
//!
//! Files are looked at every few seconds and read again when they have changed; what cannot be used is told and the old ones
//! stay. Open connections keep what they were made with. TLS 1.2 and 1.3, ALPN `h2` and `http/1.1`, no early data.

mod certificates;
mod client;
mod identity;
mod server;

use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use tripline_model::ServiceName;

pub(crate) use client::{ClientSide, Offer};
pub(crate) use server::ServerSide;

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file holds nothing that can be used.
    #[error("{} holds no {what} in PEM form", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// What was expected.
        what: &'static str,
    },
    /// A file is longer than any certificate file needs to be.
    #[error("{} is larger than {limit} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
    /// The document names no file.
    #[error("{what} has no {field}.file; certificates of ACM and SDS cannot be read, write them to files")]
    NoFile {
        /// Whose TLS it is.
        what: String,
        /// The field of the document.
        field: &'static str,
    },
    /// What the files hold does not go together.
    #[error("the certificates of {what} cannot be used")]
    Unusable {
        /// Whose they are.
        what: String,
        /// Why.
        source: rustls::Error,
    },
    /// The trust file cannot be used.
    #[error("the trust file of {what} cannot be used")]
    Trust {
        /// Whose it is.
        what: String,
        /// Why.
        source: rustls::server::VerifierBuilderError,
    },
}

/// Everything that is read from files, to be looked at again.
#[derive(Debug, Default)]
pub(crate) struct TlsFiles {
    /// The listeners' sides.
    pub(crate) servers: Vec<Arc<ServerSide>>,
    /// The backends' sides.
    pub(crate) clients: Vec<Arc<ClientSide>>,
    /// Files taken over after a change, and changes that could not be used.
    pub(crate) reloads: (std::sync::atomic::AtomicU64, std::sync::atomic::AtomicU64),
}

impl TlsFiles {
    /// Reads files that have changed. What cannot be used is told, and what was used before stays.
    pub(crate) fn refresh(&self) {
        for result in self.servers.iter().map(|side| side.refresh()).chain(self.clients.iter().map(|c| c.refresh())) {
            match result {
                Ok(None) => {}
                Ok(Some(whose)) => {
                    self.reloads.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    tracing::info!(whose, "new certificates are in use");
                }
                Err(error) => {
                    self.reloads.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let because = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                    tracing::error!(%error, because, "changed certificates cannot be used; keeping the old ones");
                }
            }
        }
    }
}

/// The cryptography that all sides use.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// The service that a certificate names, if it carries a SPIFFE identity.
fn service_of(certificate: &rustls_pki_types::CertificateDer<'_>, own: &ServiceName) -> Option<Arc<str>> {
    let certificate = webpki::EndEntityCert::try_from(certificate).ok()?;
    certificate.valid_uri_names().find_map(|uri| identity::service(uri, own.namespace())).map(Into::into)
}
