//! The command `ufs`.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use super::{fail, usage};
use crate::demo::{self, Colours, DemoError, Page};

/// Looks at unions of directories.
#[derive(Debug, Parser)]
#[command(name = "ufs", version)]
struct Args {
    #[command(subcommand)]
    command: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Show a union at work, layer by layer, in a temporary place
    Demo,
}

/// Runs `ufs` with the arguments of this process.
pub fn ufs() -> ExitCode {
    let result = match Args::try_parse() {
        Ok(Args {
            command: Task::Demo,
        }) => show_demo(),
        Err(error) => usage("ufs", &error),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => fail("ufs", &sentence),
    }
}

fn show_demo() -> Result<(), String> {
    let mut out = io::stdout().lock();
    let colours = match out.is_terminal() {
        true => Colours::On,
        false => Colours::Off,
    };
    let shown = demo::run(&mut Page::new(&mut out, colours));
    match shown {
        // Whoever was reading has seen enough: `ufs demo | head`.
        Err(DemoError::Io(_, error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(error.to_string()),
        Ok(()) => out.flush().map_err(|error| error.to_string()),
    }
}
