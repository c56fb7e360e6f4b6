//! What the table of options says of each; the rows are in `rows.rs`.

use super::super::UsageError;
use super::super::options::Given;
use super::rows::OPTIONS;
use super::{Setting, Word};

/// One option, or several that belong together.
#[derive(Debug)]
pub struct OptionRow {
    /// As they are written, without a value.
    pub names: &'static [&'static str],
    /// How a value is written; empty where there is none.
    pub value: &'static str,
    /// What it does in aufs.
    pub what: &'static str,
    /// What becomes of it here.
    pub here: Here,
    /// Where the rule stands: a section of `aufs(5)`, or a file of the source.
    pub source: &'static str,
    pub(super) meaning: Meaning,
}

/// What becomes of an option.
#[derive(Debug, Clone, Copy)]
pub enum Here {
    /// It does what it does in aufs.
    Works,
    /// It does, but for this.
    WorksBut(&'static str),
    /// It is read, and is how it is in any case: why.
    Accepted(&'static str),
    /// It is refused: why, and what to do.
    Refused(&'static str),
}

impl Here {
    /// As the documentation has it.
    pub fn words(self) -> String {
        match self {
            Here::Works => "works".into(),
            Here::WorksBut(what) => format!("works, but {what}"),
            Here::Accepted(why) => format!("accepted: {why}"),
            Here::Refused(why) => format!("refused: {why}"),
        }
    }

    /// The reason, where there is one.
    pub fn why(self) -> &'static str {
        match self {
            Here::Works => "",
            Here::WorksBut(why) | Here::Accepted(why) | Here::Refused(why) => why,
        }
    }
}

/// How an option is read.
#[derive(Debug)]
pub(super) enum Meaning {
    /// It takes no value.
    Word(fn() -> Setting),
    /// It takes no value, and has no effect.
    Anyway,
    /// It needs a value, after `=`.
    Value(fn(&Given<'_>) -> Result<Setting, UsageError>),
    /// The same, after `=` or `:`.
    Branches(fn(&Given<'_>) -> Result<Word, UsageError>),
    /// It is refused, with or without a value.
    Refused,
}

impl OptionRow {
    /// The name in messages.
    pub(super) fn name(&self) -> &'static str {
        // No row is without one.
        self.names.first().copied().unwrap_or_default()
    }

    /// All names, each with the value.
    pub fn forms(&self) -> Vec<String> {
        let joint = match (self.value, &self.meaning) {
            ("", _) => "",
            (_, Meaning::Branches(_)) => ":",
            _ => "=",
        };
        let names = self.names.iter();
        names
            .map(|name| format!("{name}{joint}{}", self.value))
            .collect()
    }

    /// The same, as the documentation has them.
    pub fn written(&self) -> String {
        let names = self.forms();
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        names.join(", ")
    }
}

/// Whether a word is an option of aufs: with a value, or without.
pub(super) fn knows(name: &[u8], has_value: bool) -> bool {
    let mut rows = OPTIONS.iter();
    rows.any(|row| {
        row.names.iter().any(|known| known.as_bytes() == name) && row.value.is_empty() != has_value
    })
}

/// Whether an option of this name is about branches.
pub(super) fn names_branches(name: &[u8]) -> bool {
    let mut rows = OPTIONS.iter();
    rows.any(|row| {
        matches!(row.meaning, Meaning::Branches(_))
            && row.names.iter().any(|known| known.as_bytes() == name)
    })
}

/// The row of `name`. Some names have one meaning with a value and another
/// without; else any row of the name will do, for the sake of what it says.
pub(super) fn find(name: &[u8], has_value: bool) -> Option<&'static OptionRow> {
    let named = || {
        let has = |row: &&OptionRow| row.names.iter().any(|known| known.as_bytes() == name);
        OPTIONS.iter().filter(has)
    };
    let fits = |row: &&OptionRow| row.value.is_empty() != has_value;
    named().find(fits).or_else(|| named().next())
}
