//! The comparison of mounts: ours, the kernel's overlayfs, and the peers.
//!
//! ```sh
//! cargo run --release -p overlay-benches --bin compare -- --help
//! ```
//!
//! Each [workload](workload::Workload) runs on each [peer](peer::Peer) in turn,
//! round by round (A B C A B C), over the same generated [layers] and each time
//! on a fresh upper layer and a fresh mount. The results are medians, and
//! ratios of operations per second. A further, untimed round counts the
//! [requests] that the kernel sends to the servers.
//!
//! This owns the mounts and directories that it makes, and removes them
//! however it ends. It decides nothing about the unions themselves.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use args::Args;

mod args;
mod caches;
mod interrupt;
mod layers;
mod machine;
mod mounted;
mod peer;
mod progress;
mod report;
mod requests;
mod results;
mod rounds;
mod scale;
mod sys;
mod workload;
mod workloads;

/// The name under which this program is `ufsmount`.
const OURS: &str = "ufsmount";

/// What a command line is refused with.
const WRONG_WORDS: u8 = 2;

/// Runs `compare` with the arguments of this process; or `ufsmount`, if that
/// is its name: so what is measured is what was built with it.
pub fn main() -> ExitCode {
    let name = std::env::args_os().next();
    if name.as_deref().map(Path::new).and_then(Path::file_name) == Some(OsStr::new(OURS)) {
        return overlay_fuse::cli::ufsmount();
    }
    match Args::parse().plan() {
        Ok(Some(plan)) => match rounds::run(&plan) {
            Ok(outcome) => outcome.status(),
            Err(error) => {
                say(&error.to_string());
                ExitCode::FAILURE
            }
        },
        Ok(None) => ExitCode::SUCCESS,
        Err(sentence) => {
            say(&sentence);
            ExitCode::from(WRONG_WORDS)
        }
    }
}

/// Says `sentence` on the standard error.
fn say(sentence: &str) {
    match writeln!(io::stderr(), "compare: {sentence}") {
        // Without a standard error there is nobody to tell.
        Ok(()) | Err(_) => {}
    }
}
