//! Certificates for tests: an authority that signs what it is asked for, everything as PEM files in one folder.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};

/// An authority, whose own certificate is `trust.pem`.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: PathBuf,
}

impl Authority {
    /// Begins one in a folder.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn new(folder: &Path) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Another name than those it signs have, or they would be taken to have signed themselves.
        params.distinguished_name.push(DnType::CommonName, "authority of a test");
        let key = KeyPair::generate()?;
        fs::write(folder.join("trust.pem"), params.self_signed(&key)?.pem())?;
        Ok(Self { issuer: Issuer::new(params, key), folder: folder.to_owned() })
    }

    /// Writes `NAME.pem` and `NAME.key` for 127.0.0.1 and a SPIFFE identity.
    ///
    /// # Errors
    /// When the identity is no URI, or the folder cannot be written to.
    pub fn issue(&self, name: &str, identity: &str) -> Result<()> {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()])?;
        params.subject_alt_names.push(SanType::URI(identity.try_into()?));
        let key = KeyPair::generate()?;
        fs::write(self.folder.join(format!("{name}.pem")), params.signed_by(&key, &self.issuer)?.pem())?;
        fs::write(self.folder.join(format!("{name}.key")), key.serialize_pem())?;
        Ok(())
    }
}
