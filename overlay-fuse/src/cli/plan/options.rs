//! The options of `-o`, as one table: what a word means, or why it is refused,
//! and what `--help` says of it. An option is added to the group it belongs
//! to, in `options/`, and nowhere else.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use overlay_core::stack::mounts::unescape_option as unescape;

use super::UsageError;
use super::draft::Draft;

mod durability;
mod elsewhere;
mod help;
mod layers;
mod marks;
mod mount;
mod owners;
mod peers;

pub(super) use help::help;
pub(super) use owners::Owners;

/// Options that belong together.
#[derive(Debug)]
pub(super) struct Group {
    /// The heading in `--help`.
    pub(super) title: &'static str,
    pub(super) options: &'static [MountOption],
}

/// All options.
pub(super) const GROUPS: [&Group; 7] = [
    &layers::LAYERS,
    &durability::DURABILITY,
    &marks::MARKS,
    &owners::OWNERS,
    &mount::MOUNT,
    &peers::PEERS,
    &elsewhere::ELSEWHERE,
];

/// One option.
#[derive(Debug)]
pub(super) struct MountOption {
    /// As it is written, without a value. `x-*` stands for all such names.
    pub(super) name: &'static str,
    /// How its value is written in `--help`; empty where there is none.
    pub(super) value: &'static str,
    /// What it does. Neighbours of the same text share a paragraph.
    pub(super) help: &'static str,
    pub(super) meaning: Meaning,
}

/// What an option does.
#[derive(Debug, Clone, Copy)]
pub(super) enum Meaning {
    /// Takes no value.
    Word(fn(&mut Draft) -> Result<(), UsageError>),
    /// On without a value; else `0` or `1`.
    Switch(fn(&mut Draft, Switch) -> Result<(), UsageError>),
    /// Needs a value that is not empty.
    Value(fn(&mut Draft, &Given<'_>) -> Result<(), UsageError>),
    /// Accepted, with or without a value: another program reads it.
    Elsewhere,
    /// Refused: why, and what to do.
    Refused(&'static str),
}

/// What a [`Meaning::Switch`] was set to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Switch {
    On,
    Off,
}

const SWITCH: [(&str, Switch); 2] = [("0", Switch::Off), ("1", Switch::On)];

/// An option with its value.
#[derive(Debug)]
pub(super) struct Given<'a> {
    name: &'static str,
    word: &'a OsStr,
    value: &'a OsStr,
}

impl<'a> Given<'a> {
    pub(super) fn new(name: &'static str, word: &'a OsStr, value: &'a OsStr) -> Given<'a> {
        Given { name, word, value }
    }

    /// The value as it was written, backslashes included: for lists.
    pub(super) fn list(&self) -> &OsStr {
        self.value
    }

    /// The value without its backslashes.
    fn text(&self) -> OsString {
        unescape(self.value)
    }

    pub(super) fn path(&self) -> PathBuf {
        self.text().into()
    }

    /// The value as one of a few words.
    pub(super) fn choose<T: Copy>(&self, choices: &[(&str, T)]) -> Result<T, UsageError> {
        let found = choices.iter().find(|(word, _)| *word == self.value);
        found.map(|(_, meaning)| *meaning).ok_or_else(|| {
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            UsageError::Choice {
                name: self.name,
                value: self.value.to_owned(),
                choices: in_words(&words),
            }
        })
    }

    /// The value of a [`Meaning::Switch`].
    pub(super) fn switch(&self) -> Result<Switch, UsageError> {
        self.choose(&SWITCH)
    }

    /// The value cannot be; `why` says what can.
    pub(super) fn wrong(&self, why: impl Into<String>) -> UsageError {
        UsageError::Wrong {
            name: self.name,
            value: self.value.to_owned(),
            why: why.into(),
        }
    }

    /// For an option that has other values, all of which we refuse.
    fn only(&self, value: &str, why_not: &'static str) -> Result<(), UsageError> {
        match self.value == value {
            true => Ok(()),
            false => Err(UsageError::Unsupported(self.word.to_owned(), why_not)),
        }
    }
}

/// Whether an option is about the layers of an overlay, and so has no meaning
/// where branches are named as aufs names them.
pub(super) fn is_of_overlays(option: &MountOption) -> bool {
    let groups = [&layers::LAYERS, &marks::MARKS];
    let mut options = groups.iter().flat_map(|group| group.options);
    options.any(|of_overlays| of_overlays.name == option.name)
}

/// The option of this name.
pub(super) fn find(name: &[u8]) -> Option<&'static MountOption> {
    let mut all = GROUPS.iter().flat_map(|group| group.options);
    all.find(|option| match option.name.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning.as_bytes()),
        None => name == option.name.as_bytes(),
    })
}

impl MountOption {
    const fn new(
        name: &'static str,
        value: &'static str,
        help: &'static str,
        meaning: Meaning,
    ) -> MountOption {
        MountOption {
            name,
            value,
            help,
            meaning,
        }
    }
}

const fn word(
    name: &'static str,
    help: &'static str,
    set: fn(&mut Draft) -> Result<(), UsageError>,
) -> MountOption {
    MountOption::new(name, "", help, Meaning::Word(set))
}

const fn switch(
    name: &'static str,
    help: &'static str,
    set: fn(&mut Draft, Switch) -> Result<(), UsageError>,
) -> MountOption {
    MountOption::new(name, "", help, Meaning::Switch(set))
}

const fn value(
    name: &'static str,
    value: &'static str,
    help: &'static str,
    set: fn(&mut Draft, &Given<'_>) -> Result<(), UsageError>,
) -> MountOption {
    MountOption::new(name, value, help, Meaning::Value(set))
}

/// Without a value and without an effect: so it is in any case.
const fn accepted(name: &'static str, help: &'static str) -> MountOption {
    word(name, help, |_| Ok(()))
}

const fn elsewhere(name: &'static str, help: &'static str) -> MountOption {
    MountOption::new(name, "", help, Meaning::Elsewhere)
}

/// `why` goes on from "option "x" is not supported: ".
const fn refused(name: &'static str, why: &'static str) -> MountOption {
    MountOption::new(name, "", "", Meaning::Refused(why))
}

/// `a, b or c`
fn in_words(words: &[&str]) -> String {
    match words.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}
