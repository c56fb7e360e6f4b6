//! What the demonstration does through the mount: shown as a shell's command,
//! done by system calls.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// One command; the paths lie below `merged`.
#[derive(Debug, Clone, Copy)]
pub(super) enum Act {
    /// `ls`
    List(&'static str),
    /// `cat`
    Show(&'static str),
    /// `echo >`
    Create(&'static str, &'static str),
    /// `echo >>`
    Append(&'static str, &'static str),
    /// `rm`
    Remove(&'static str),
    /// `rm -r`
    RemoveAll(&'static str),
    /// `mkdir`
    MakeDir(&'static str),
    /// `mv`
    Rename(&'static str, &'static str),
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Act::List(".") => write!(f, "ls merged"),
            Act::List(path) => write!(f, "ls merged/{path}"),
            Act::Show(path) => write!(f, "cat merged/{path}"),
            Act::Create(path, text) => write!(f, "echo '{text}' > merged/{path}"),
            Act::Append(path, text) => write!(f, "echo '{text}' >> merged/{path}"),
            Act::Remove(path) => write!(f, "rm merged/{path}"),
            Act::RemoveAll(path) => write!(f, "rm -r merged/{path}"),
            Act::MakeDir(path) => write!(f, "mkdir merged/{path}"),
            Act::Rename(from, to) => write!(f, "mv merged/{from} merged/{to}"),
        }
    }
}

impl Act {
    /// Does it; returns what a shell's command would print.
    pub(super) fn perform(self, merged: &Path) -> io::Result<String> {
        let nothing = |()| String::new();
        match self {
            Act::List(path) => list(&merged.join(path)),
            Act::Show(path) => fs::read_to_string(merged.join(path)),
            Act::Create(path, text) => {
                fs::write(merged.join(path), format!("{text}\n")).map(nothing)
            }
            Act::Append(path, text) => {
                let mut file = File::options().append(true).open(merged.join(path))?;
                writeln!(file, "{text}").map(nothing)
            }
            Act::Remove(path) => fs::remove_file(merged.join(path)).map(nothing),
            Act::RemoveAll(path) => fs::remove_dir_all(merged.join(path)).map(nothing),
            Act::MakeDir(path) => fs::create_dir(merged.join(path)).map(nothing),
            Act::Rename(from, to) => fs::rename(merged.join(from), merged.join(to)).map(nothing),
        }
    }
}

fn list(directory: &Path) -> io::Result<String> {
    let mut names = fs::read_dir(directory)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<Vec<String>>>()?;
    names.sort();
    Ok(names.join("  "))
}
