//! The client's side of TLS towards one service.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tripline_mesh::{ClientTls, ListenerProtocol};
use tripline_model::ServiceName;

use super::certificates::{Content, Made};
use super::{TlsError, provider, service_of};
use crate::failure::Failure;

/// How calls to one service are encrypted.
#[derive(Debug)]
pub(crate) struct ClientSide {
    what: String,
    source: ClientTls,
    expected: Expected,
    alpn: &'static [&'static [u8]],
    made: Made<ClientConfig>,
}

/// HTTP/1.1 in a handshake.
const HTTP1: &[u8] = b"http/1.1";

/// What a handshake offers to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offer {
    /// All that the listener may speak.
    All,
    /// Only HTTP/1.1.
    Http1,
}

/// Whom the server's certificate must name.
#[derive(Debug, Clone)]
struct Expected {
    node: ServiceName,
    host: ServerName<'static>,
    /// One of these, when there are any.
    names: Arc<[String]>,
}

impl ClientSide {
    /// Reads the files of a policy.
    pub(crate) fn load(
        source: &ClientTls,
        node: &ServiceName,
        hostname: &str,
        protocol: ListenerProtocol,
    ) -> Result<Self, TlsError> {
        let what = format!("calls to {node}");
        let invalid = |_| TlsError::Unusable {
            what: what.clone(),
            source: rustls::Error::General(format!("\"{hostname}\" is no host name")),
        };
        let host = ServerName::try_from(hostname.to_owned()).map_err(invalid)?;
        let expected = Expected { node: node.clone(), host, names: source.names.clone().into() };
        let alpn: &'static [&'static [u8]] = match protocol {
            ListenerProtocol::Http => &[b"h2", HTTP1],
            ListenerProtocol::Http2 | ListenerProtocol::Grpc => &[b"h2"],
            ListenerProtocol::Tcp => &[],
        };
        let content = read(source)?;
        let config = make(source, &expected, (&what, alpn), &content)?;
        Ok(Self { what, source: source.clone(), expected, alpn, made: Made::new(config, content) })
    }

    /// Reads the files again if they have changed; whose they are if so.
    pub(super) fn refresh(&self) -> Result<Option<&str>, TlsError> {
        let make = |content: &Content| make(&self.source, &self.expected, (&self.what, self.alpn), content);
        let changed = self.made.refresh(read(&self.source), make)?;
        Ok(changed.then_some(self.what.as_str()))
    }

    /// Whether this end shows a certificate, too.
    pub(crate) const fn is_mutual(&self) -> bool {
        self.source.certificate.is_some()
    }

    /// Makes the handshake, for HTTP/1.1 alone or for whatever the server prefers of what its listener may speak.
    pub(crate) async fn connect(
        &self,
        stream: TcpStream,
        offer: Offer,
        limit: Duration,
    ) -> Result<TlsStream<TcpStream>, Failure> {
        let (connector, host) = (TlsConnector::from(self.made.get()), self.expected.host.clone());
        let connecting = match offer {
            Offer::All => connector.connect(host, stream),
            Offer::Http1 => connector.with_alpn(vec![HTTP1.to_vec()]).connect(host, stream),
        };
        match tokio::time::timeout(limit, connecting).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => {
                tracing::debug!(whose = self.what, %error, "TLS handshake failed");
                Err(Failure::TlsHandshake)
            }
            Err(_) => Err(Failure::ConnectTimeout),
        }
    }
}

fn read(source: &ClientTls) -> Result<Content, TlsError> {
    Content::read(source.certificate.as_ref(), source.trust.as_deref())
}

fn make(
    source: &ClientTls,
    expected: &Expected,
    (what, alpn): (&str, &[&[u8]]),
    content: &Content,
) -> Result<ClientConfig, TlsError> {
    let no_file = || TlsError::NoFile { what: what.to_owned(), field: "clientPolicy.tls.validation.trust" };
    let unusable = |source| TlsError::Unusable { what: what.to_owned(), source };
    let roots = content.roots(source.trust.as_ref().ok_or_else(no_file)?)?;
    let verifier = Verifier { roots, expected: expected.clone(), provider: provider() };
    let builder = ClientConfig::builder_with_provider(provider());
    let builder = builder.with_protocol_versions(rustls::DEFAULT_VERSIONS).map_err(unusable)?;
    // "Dangerous" is that the names are checked by us; the chain is checked by rustls.
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match &source.certificate {
        Some(files) => {
            let (chain, key) = content.certificate(files)?;
            builder.with_client_auth_cert(chain, key).map_err(unusable)?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(config)
}

/// Believes a server whose certificate leads to the trust file and names whom it is expected to name.
#[derive(Debug)]
struct Verifier {
    roots: RootCertStore,
    expected: Expected,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    fn names(&self, certificate: &CertificateDer<'_>, parsed: &ParsedCertificate<'_>) -> Result<(), rustls::Error> {
        let expected = &self.expected;
        if expected.names.is_empty() {
            let node = expected.node.to_string();
            if service_of(certificate, &expected.node).is_some_and(|named| *named == *node) {
                return Ok(());
            }
            return rustls::client::verify_server_name(parsed, &expected.host);
        }
        let end = webpki::EndEntityCert::try_from(certificate);
        let end = end.map_err(|_| rustls::Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let mut names = end.valid_dns_names().chain(end.valid_uri_names());
        if names.any(|name| expected.names.iter().any(|allowed| allowed == name)) {
            return Ok(());
        }
        Err(rustls::Error::InvalidCertificate(CertificateError::NotValidForName))
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        rustls::client::verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &self.roots,
            intermediates,
            now,
            algorithms,
        )?;
        self.names(end_entity, &parsed)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
