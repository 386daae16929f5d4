//! How the binary is linked.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Half a mebibyte of relocations, which the loader reads into memory at every start, becomes some kilobytes. glibc knows the form
    // since 2.36, that of Debian 12.
    if std::env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|libc| libc == "gnu") {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
