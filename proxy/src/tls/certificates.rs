//! Certificates and keys as files, read again when their content has changed.

use std::io::Read as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tripline_mesh::CertificateFiles;

use super::TlsError;

/// Largest file read, in bytes; a bundle of all public authorities has a quarter of that.
const MAX_BYTES: u64 = 1024 * 1024;

/// Something made from files, and the content it was made from.
#[derive(Debug)]
pub(super) struct Made<T> {
    current: RwLock<Arc<T>>,
    /// What was read last, usable or not, so that a broken file is told once.
    content: Mutex<Content>,
}

/// What the files held.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) chain: Vec<u8>,
    pub(super) key: Vec<u8>,
    pub(super) trust: Vec<u8>,
}

impl Content {
    /// Reads the files that are named.
    pub(super) fn read(certificate: Option<&CertificateFiles>, trust: Option<&Path>) -> Result<Self, TlsError> {
        let mut content = Self::default();
        if let Some(files) = certificate {
            content.chain = read(&files.chain)?;
            content.key = read(&files.key)?;
        }
        if let Some(trust) = trust {
            content.trust = read(trust)?;
        }
        Ok(content)
    }

    /// The certificate chain and its key.
    pub(super) fn certificate(
        &self,
        files: &CertificateFiles,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
        let chain = certificates(&self.chain, &files.chain)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|_| TlsError::Empty { path: files.key.clone(), what: "private key" })?;
        Ok((chain, key))
    }

    /// The authorities that are believed.
    pub(super) fn roots(&self, path: &Path) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(certificates(&self.trust, path)?);
        if added == 0 {
            return Err(TlsError::Empty { path: path.to_owned(), what: "usable certificate" });
        }
        Ok(roots)
    }
}

impl<T> Made<T> {
    /// Made from what the files hold now.
    pub(super) fn new(made: T, content: Content) -> Self {
        Self { current: RwLock::new(Arc::new(made)), content: Mutex::new(content) }
    }

    /// The latest.
    pub(super) fn get(&self) -> Arc<T> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes it anew if the files have changed; tells whether it did.
    pub(super) fn refresh(
        &self,
        read: Result<Content, TlsError>,
        make: impl FnOnce(&Content) -> Result<T, TlsError>,
    ) -> Result<bool, TlsError> {
        let mut last = self.content.lock().unwrap_or_else(PoisonError::into_inner);
        let content = match read {
            Ok(content) if content == *last => return Ok(false),
            Ok(content) => content,
            // Unreadable files, too, are told once.
            Err(_) if *last == Content::default() => return Ok(false),
            Err(error) => {
                *last = Content::default();
                return Err(error);
            }
        };
        let made = make(&content);
        *last = content;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(made?);
        Ok(true)
    }
}

fn certificates(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let empty = || TlsError::Empty { path: path.to_owned(), what: "certificate" };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|_| empty())?;
    if found.is_empty() { Err(empty()) } else { Ok(found) }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let unreadable = |source| TlsError::Read { path: path.to_owned(), source };
    let mut content = Vec::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(MAX_BYTES + 1).read_to_end(&mut content).map_err(unreadable)?;
    if content.len() as u64 > MAX_BYTES {
        return Err(TlsError::TooLarge { path: path.to_owned(), limit: MAX_BYTES });
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(text: &str) -> Content {
        Content { chain: text.into(), ..Content::default() }
    }

    #[test]
    fn a_change_is_taken_over_once_and_a_broken_one_leaves_the_old() {
        let made = Made::new(1, content("a"));
        assert!(!made.refresh(Ok(content("a")), |_| Ok(2)).unwrap());
        assert!(made.refresh(Ok(content("b")), |_| Ok(3)).unwrap());
        let broken = || TlsError::Empty { path: "x".into(), what: "certificate" };
        assert!(made.refresh(Ok(content("c")), |_| Err(broken())).is_err());
        assert!(!made.refresh(Ok(content("c")), |_| Err(broken())).unwrap(), "told once");
        assert_eq!(*made.get(), 3);
        assert!(made.refresh(Err(broken()), |_| Ok(9)).is_err());
        assert!(!made.refresh(Err(broken()), |_| Ok(9)).unwrap(), "told once");
        assert!(made.refresh(Ok(content("a")), |_| Ok(4)).unwrap());
        assert_eq!(*made.get(), 4);
    }

    #[test]
    fn a_missing_or_endless_file_is_told_with_its_path() {
        let missing = read(Path::new("/nowhere/x.pem")).unwrap_err().to_string();
        assert_eq!(missing, "cannot read /nowhere/x.pem");
        assert!(matches!(read(Path::new("/dev/zero")), Err(TlsError::TooLarge { .. })));
    }
}
