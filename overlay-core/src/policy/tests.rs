#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod always;
mod copies;
mod each;
mod looks;
mod overridden;
mod words;
mod world;

use super::Arguments;

/// How a policy is written in a test.
fn with_low(name: &str, arguments: Arguments, low: u64) -> String {
    match arguments {
        Arguments::None | Arguments::Seconds => name.to_owned(),
        Arguments::Low => format!("{name}:{low}"),
    }
}
