//! Entry point of the sidecar's binary.

use std::process::ExitCode;

use chaperone_sidecar::{
    args::{Arguments, Command},
    exit, logging, runtime,
};
use clap::Parser;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return exit::arguments(&error),
    };
    if let Err(error) = logging::start(&arguments.log_level) {
        return exit::failed(&error);
    }
    let done = match arguments.command {
        Command::Fence(fence) => runtime::fence(fence),
        Command::Run(run) => runtime::run(*run),
        Command::Check(check) => runtime::check(&check),
    };
    done.map_or_else(|failure| exit::failed(&failure), |()| ExitCode::SUCCESS)
}
