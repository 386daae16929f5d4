//! Debian packages: installs them when it may (Debian, as root), else says which command does.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{command, progress};

/// Installs `packages`, needed for `purpose`; the error is the one sentence that says how to do it by hand.
pub(crate) fn install(packages: &[&str], purpose: &str) -> Result<()> {
    let by_hand = format!("apt-get install {}", packages.join(" "));
    if command::find("apt-get").is_none() {
        bail!("{purpose} needs the packages that Debian calls {}: install them", packages.join(", "));
    }
    if !root() {
        bail!("{purpose} needs Debian packages: run `sudo {by_hand}`");
    }
    progress::quiet(&format!("installing Debian packages for {purpose}: {}", packages.join(" ")), || {
        // A failed update may still leave lists that know the packages: the install decides.
        let updated = command::capture(apt_get().args(["update", "-qq"]));
        command::capture(apt_get().args(["install", "-y", "-qq", "--no-install-recommends"]).args(packages))
            .with_context(|| match updated {
                Ok(_) => format!("{purpose} needs Debian packages: run `{by_hand}`"),
                Err(update) => format!("{purpose} needs Debian packages: run `{by_hand}` ({update:#})"),
            })
            .map(drop)
    })
}

fn apt_get() -> Command {
    let mut apt_get = Command::new("apt-get");
    apt_get.env("DEBIAN_FRONTEND", "noninteractive");
    apt_get
}

fn root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}
