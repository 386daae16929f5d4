//! Certificates for tests: an authority that signs what it is asked for, everything as files in a folder of the test's own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

/// An authority.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: TempDir,
    pub(crate) trust: PathBuf,
}

/// A certificate and its key.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Another name than those it signs have, or they would be taken to have signed themselves.
        params.distinguished_name.push(DnType::CommonName, "authority of a test");
        let key = KeyPair::generate().unwrap();
        let trust = folder.path().join("trust.pem");
        std::fs::write(&trust, params.self_signed(&key).unwrap().pem()).unwrap();
        Self { issuer: Issuer::new(params, key), folder, trust }
    }

    /// A certificate with these names: host names and addresses, or SPIFFE identities.
    pub(crate) fn issue(&self, file: &str, names: &[&str]) -> Files {
        let (ids, hosts): (Vec<&str>, Vec<&str>) = names.iter().partition(|name| name.starts_with("spiffe:"));
        let hosts: Vec<String> = hosts.into_iter().map(ToOwned::to_owned).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        params.subject_alt_names.extend(ids.into_iter().map(|id| SanType::URI(id.try_into().unwrap())));
        let key = KeyPair::generate().unwrap();
        let signed = params.signed_by(&key, &self.issuer).unwrap();
        let files = Files { chain: self.path(&format!("{file}.pem")), key: self.path(&format!("{file}.key")) };
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        std::fs::write(&files.chain, signed.pem()).unwrap();
        files
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }
}

/// A server of the test's own that shows these files and speaks one protocol, by its name in ALPN.
pub(crate) fn acceptor(files: &Files, protocol: &str) -> TlsAcceptor {
    let chain = CertificateDer::pem_file_iter(&files.chain).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(&files.key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(rustls::DEFAULT_VERSIONS);
    let mut config = builder.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// A client of the test's own that believes this authority and shows nothing.
pub(crate) fn connector(trust: &Path) -> tokio_rustls::TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    CertificateDer::pem_file_iter(trust).unwrap().for_each(|found| roots.add(found.unwrap()).unwrap());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        rustls::ClientConfig::builder_with_provider(provider).with_protocol_versions(rustls::DEFAULT_VERSIONS);
    tokio_rustls::TlsConnector::from(Arc::new(builder.unwrap().with_root_certificates(roots).with_no_client_auth()))
}

/// `tls` of a listener; clients need a certificate of `trust` if there is one.
pub(crate) fn listener(mode: &str, files: &Files, trust: Option<&Path>) -> String {
    let validation = trust.map_or_else(String::new, |trust| {
        format!(", validation: {{ trust: {{ file: {{ certificateChain: {} }} }} }}", trust.display())
    });
    format!("    tls: {{ mode: {mode}, certificate: {{ file: {} }}{validation} }}\n", pair(files))
}

/// A `clientPolicy`; `names` goes into its validation.
pub(crate) fn policy(trust: &Path, files: Option<&Files>, names: &str) -> String {
    let certificate = files.map_or_else(String::new, |files| format!("certificate: {{ file: {} }}, ", pair(files)));
    let trust = format!("trust: {{ file: {{ certificateChain: {} }} }}", trust.display());
    format!("{{ tls: {{ {certificate}validation: {{ {trust}{names} }} }} }}")
}

fn pair(files: &Files) -> String {
    format!("{{ certificateChain: {}, privateKey: {} }}", files.chain.display(), files.key.display())
}
