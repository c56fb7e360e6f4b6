//! The command `ufs`.

use std::env;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use super::{branch, check, convert, plink, say, usage};
use crate::demo::{self, Colours, DemoError, Page};

/// Looks at unions of directories.
#[derive(Debug, Parser)]
#[command(name = "ufs", version)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Show the branches of a mounted stack, and change them
    Branch(branch::Args),
    /// Look a stack over that is not mounted, and repair it
    Check(check::Args),
    /// Rewrite a branch that is not mounted in the form of AuFS or OverlayFS
    Convert(convert::Args),
    /// Show the pseudo-links of a branch of AuFS, and make them hard links
    Plink(plink::Args),
    /// Show a union at work, layer by layer, in a temporary place
    Demo,
}

/// Runs `ufs` with the arguments of this process.
pub fn ufs() -> ExitCode {
    let result = match Args::try_parse() {
        Ok(Args { command }) => match command {
            Task::Branch(args) => return branch::run(args),
            Task::Check(args) => return check::run(args),
            Task::Convert(args) => return convert::run(args),
            Task::Plink(args) => return plink::run(args),
            Task::Demo => show_demo(),
        },
        Err(error) => match env::args_os().nth(1) {
            Some(word) if word == "branch" => return branch::usage_error(&error),
            Some(word) if word == "check" => return check::usage_error(&error),
            Some(word) if word == "convert" => return convert::usage_error(&error),
            Some(word) if word == "plink" => return plink::usage_error(&error),
            Some(_) | None => usage("ufs", &error),
        },
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            say("ufs", &sentence);
            ExitCode::FAILURE
        }
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
