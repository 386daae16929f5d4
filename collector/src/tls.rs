//! TLS for the listeners: one certificate for all, and, if asked, only clients that show one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use crate::config::Tls;

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or holds no PEM of the kind expected.
    #[error("{field}: cannot read {} as PEM", .path.display())]
    File {
        /// Which setting.
        field: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// A file holds no certificate.
    #[error("{field}: no certificate in {}", .path.display())]
    Empty {
        /// Which setting.
        field: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// The client authorities cannot be used.
    #[error("tls.client_ca: cannot use it")]
    Authorities(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Certificate and key do not fit together, or cannot be used.
    #[error("tls: cannot use certificate and private key")]
    Pair(#[source] rustls::Error),
}

/// What a listener needs that speaks `protocols` (ALPN names, the preferred first).
///
/// # Errors
/// When a file cannot be read or used.
pub fn server(tls: &Tls, protocols: &[&[u8]]) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let chain = certificates("tls.certificate", &tls.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&tls.private_key).map_err(|source| TlsError::File {
        field: "tls.private_key",
        path: tls.private_key.clone(),
        source,
    })?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Pair)?;
    let builder = match &tls.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates("tls.client_ca", path)? {
                roots.add(certificate).map_err(|error| TlsError::Authorities(error.into()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| TlsError::Authorities(error.into()))?)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(TlsError::Pair)?;
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Ok(Arc::new(config))
}

fn certificates(field: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bad = |source| TlsError::File { field, path: path.to_owned(), source };
    let read: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(bad)?.collect();
    let certificates = read.map_err(bad)?;
    if certificates.is_empty() {
        return Err(TlsError::Empty { field, path: path.to_owned() });
    }
    Ok(certificates)
}
