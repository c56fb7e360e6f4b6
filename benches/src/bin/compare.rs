//! Mounts a union of ours and its peers in turn over the same layers, and
//! prints what each is worth.

use std::process::ExitCode;

fn main() -> ExitCode {
    overlay_benches::compare::main()
}
