//! The `tripline` binary: reads the arguments, does what they say, ends with the exit code of the contract.

use std::process::ExitCode;

use clap::Parser;
use tripline_cli::args::Arguments;

fn main() -> ExitCode {
    tripline_cli::main(Arguments::parse())
}
