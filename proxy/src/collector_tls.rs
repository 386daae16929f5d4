//! TLS to the collector, for `https://` addresses.
//!
//! The collector is believed if its certificate leads to the authorities of the given file, or else to those of the system, and
//! names the host of the address. The files are read at the start.

use std::fmt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::codegen::Service;

/// Opens encrypted connections to one collector.
#[derive(Clone)]
pub(crate) struct CollectorTls {
    connector: TlsConnector,
    name: ServerName<'static>,
    /// Host and port to connect to.
    host: Arc<str>,
    port: u16,
}

impl fmt::Debug for CollectorTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CollectorTls").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

/// Why a collector cannot be called over TLS.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CollectorTlsError {
    /// The address has no usable host.
    #[error("it has no host name")]
    Host,
    /// The file of authorities cannot be used.
    #[error("{} holds no certificate that can be read", .0.display())]
    Authorities(PathBuf),
    /// The system has none.
    #[error("the system has no certificate authorities; name a file with --collector-ca")]
    NoSystem,
    /// The configuration was refused.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

impl CollectorTls {
    /// For the collector at an address.
    pub(crate) fn load(uri: &Uri, authorities: Option<&Path>) -> Result<Self, CollectorTlsError> {
        let host = uri.host().ok_or(CollectorTlsError::Host)?.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned()).map_err(|_| CollectorTlsError::Host)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(rustls::DEFAULT_VERSIONS)?;
        let mut config = builder.with_root_certificates(roots(authorities)?).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let port = uri.port_u16().unwrap_or(443);
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), name, host: host.into(), port })
    }
}

fn roots(authorities: Option<&Path>) -> Result<RootCertStore, CollectorTlsError> {
    let mut roots = RootCertStore::empty();
    let Some(path) = authorities else {
        let (added, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return if added == 0 { Err(CollectorTlsError::NoSystem) } else { Ok(roots) };
    };
    let unreadable = || CollectorTlsError::Authorities(path.to_owned());
    let certificates = CertificateDer::pem_file_iter(path).map_err(|_| unreadable())?;
    let (added, _) = roots.add_parsable_certificates(certificates.filter_map(Result::ok));
    if added == 0 { Err(unreadable()) } else { Ok(roots) }
}

impl Service<Uri> for CollectorTls {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let stream = TcpStream::connect((&*this.host, this.port)).await?;
            stream.set_nodelay(true)?;
            Ok(TokioIo::new(this.connector.connect(this.name, stream).await?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said() {
        let load = |uri: &'static str, path: Option<&str>| {
            let loaded = CollectorTls::load(&Uri::from_static(uri), path.map(Path::new));
            loaded.err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert_eq!(load("https://a:4317", Some("/nowhere.pem")), "/nowhere.pem holds no certificate that can be read");
        assert_eq!(load("/path", None), "it has no host name");
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("empty.pem");
        std::fs::write(&empty, "").unwrap();
        assert!(load("https://a", empty.to_str()).contains("holds no certificate"));
    }
}
