//! The results for people, and for programs.

use std::fs;
use std::io;

use super::args::Plan;
use super::results::Results;

mod markdown;
mod picture;

/// Prints the tables, and writes the files that were asked for.
pub(crate) fn write(plan: &Plan, results: &Results) -> io::Result<()> {
    let tables = markdown::tables(results);
    print!("{tables}");
    if let Some(path) = &plan.markdown {
        fs::write(path, &tables)?;
    }
    if let Some(path) = &plan.svg {
        fs::write(path, picture::svg(results).map_err(io::Error::other)?)?;
    }
    if let Some(path) = &plan.json {
        let mut json = serde_json::to_string_pretty(results)?;
        json.push('\n');
        fs::write(path, json)?;
    }
    Ok(())
}
