//! The `tripline-proxy` binary; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    tripline_proxy::cli::run()
}
