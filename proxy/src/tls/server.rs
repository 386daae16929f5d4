//! A listener's side of TLS.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::CertificateDer;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tripline_mesh::{ListenerProtocol, ListenerTls, TlsMode};
use tripline_model::ServiceName;

use super::certificates::{Content, Made};
use super::{TlsError, provider, service_of};
use crate::arrival::Security;

/// First byte of a TLS connection: a handshake record.
const HANDSHAKE: u8 = 0x16;

/// How a listener is protected.
#[derive(Debug)]
pub(crate) struct ServerSide {
    what: String,
    own: ServiceName,
    source: ListenerTls,
    alpn: &'static [&'static [u8]],
    made: Made<ServerConfig>,
}

/// Why a connection was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// The handshake did not succeed.
    #[error("TLS handshake failed")]
    Handshake(#[source] io::Error),
    /// The handshake did not end in time.
    #[error("TLS handshake took longer than {0:?}")]
    Slow(Duration),
    /// The client's certificate has none of the names that the listener asks for.
    #[error("the client's certificate has none of the names that the listener allows")]
    Name,
}

impl Refused {
    /// Whether it was refused for the time it took.
    pub(crate) const fn is_late(&self) -> bool {
        matches!(self, Self::Slow(_))
    }
}

impl ServerSide {
    /// Reads the files of a listener.
    pub(crate) fn load(
        source: &ListenerTls,
        port: u16,
        protocol: ListenerProtocol,
        own: &ServiceName,
    ) -> Result<Self, TlsError> {
        let what = format!("listener {port} of {own}");
        let alpn: &'static [&'static [u8]] = match protocol {
            ListenerProtocol::Http => &[b"h2", b"http/1.1"],
            ListenerProtocol::Http2 | ListenerProtocol::Grpc => &[b"h2"],
            ListenerProtocol::Tcp => &[],
        };
        let content = read(source)?;
        let config = make(source, alpn, &what, &content)?;
        Ok(Self { what, own: own.clone(), source: source.clone(), alpn, made: Made::new(config, content) })
    }

    /// Reads the files again if they have changed; whose they are if so.
    pub(super) fn refresh(&self) -> Result<Option<&str>, TlsError> {
        let changed =
            self.made.refresh(read(&self.source), |content| make(&self.source, self.alpn, &self.what, content))?;
        Ok(changed.then_some(self.what.as_str()))
    }

    /// Whether a connection is encrypted; those that are silent for `patience` are not.
    pub(crate) async fn is_spoken(&self, stream: &TcpStream, patience: Duration) -> bool {
        if self.source.mode == TlsMode::Strict {
            return true;
        }
        let mut first = [0];
        let seen = tokio::time::timeout(patience, stream.peek(&mut first)).await;
        matches!(seen, Ok(Ok(1)) if first == [HANDSHAKE])
    }

    /// Makes the handshake.
    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
        limit: Duration,
    ) -> Result<(TlsStream<TcpStream>, Security), Refused> {
        let accepting = TlsAcceptor::from(self.made.get()).accept(stream);
        let accepted = tokio::time::timeout(limit, accepting).await.map_err(|_| Refused::Slow(limit))?;
        let stream = accepted.map_err(Refused::Handshake)?;
        let security = self.security(stream.get_ref().1.peer_certificates())?;
        Ok((stream, security))
    }

    fn security(&self, certificates: Option<&[CertificateDer<'_>]>) -> Result<Security, Refused> {
        let Some(certificate) = certificates.and_then(<[_]>::first) else { return Ok(Security::Encrypted) };
        if !self.source.client_names.is_empty() {
            let parsed = webpki::EndEntityCert::try_from(certificate).map_err(|_| Refused::Name)?;
            let mut names = parsed.valid_dns_names().chain(parsed.valid_uri_names());
            if !names.any(|name| self.source.client_names.iter().any(|allowed| allowed == name)) {
                return Err(Refused::Name);
            }
        }
        Ok(Security::Mutual { peer: service_of(certificate, &self.own) })
    }
}

fn read(source: &ListenerTls) -> Result<Content, TlsError> {
    Content::read(source.certificate.as_ref(), source.client_trust.as_deref())
}

fn make(source: &ListenerTls, alpn: &[&[u8]], what: &str, content: &Content) -> Result<ServerConfig, TlsError> {
    let no_file = || TlsError::NoFile { what: what.to_owned(), field: "tls.certificate" };
    let (chain, key) = content.certificate(source.certificate.as_ref().ok_or_else(no_file)?)?;
    let unusable = |source| TlsError::Unusable { what: what.to_owned(), source };
    let builder = ServerConfig::builder_with_provider(provider());
    let builder = builder.with_protocol_versions(rustls::DEFAULT_VERSIONS).map_err(unusable)?;
    let builder = match &source.client_trust {
        Some(trust) => {
            let roots = Arc::new(content.roots(trust)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
            builder.with_client_cert_verifier(
                verifier.map_err(|source| TlsError::Trust { what: what.to_owned(), source })?,
            )
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(unusable)?;
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(config)
}
