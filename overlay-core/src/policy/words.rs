//! Policies as words: `mfsrr:10M:60` and back.

use std::fmt;
use std::str::FromStr;

use super::table::{
    Arguments, COPY_UP, CREATE, CopyUpRow, CopyUpRule, CreateRow, CreateRule, REFUSED,
};

/// How long a look at the free space is good if nothing is said, in seconds:
/// `AUFS_MFS_DEF_SEC` of aufs.
pub const SECONDS: u32 = 30;

/// The longest time that can be asked for, in seconds: `AUFS_MFS_MAX_SEC`.
pub const SECONDS_MAX: u32 = 3600;

/// A policy for new objects, with its arguments.
#[derive(Debug, Clone, Copy)]
pub struct CreatePolicy {
    row: &'static CreateRow,
    low: u64,
    seconds: u32,
}

/// A policy for copies.
#[derive(Debug, Clone, Copy)]
pub struct CopyUpPolicy {
    row: &'static CopyUpRow,
}

impl CreatePolicy {
    /// What it decides by.
    pub fn rule(self) -> CreateRule {
        self.row.rule
    }

    /// Its row of [`CREATE`].
    pub fn row(self) -> &'static CreateRow {
        self.row
    }

    /// The bytes that a branch must have available; 0 for a policy that does
    /// not ask.
    pub fn low(self) -> u64 {
        self.low
    }

    /// How long a look at the free space is good, in seconds. With 0 every
    /// request looks.
    pub fn seconds(self) -> u32 {
        self.seconds
    }
}

impl CopyUpPolicy {
    /// What it decides by.
    pub fn rule(self) -> CopyUpRule {
        self.row.rule
    }

    /// Its row of [`COPY_UP`].
    pub fn row(self) -> &'static CopyUpRow {
        self.row
    }
}

impl Default for CreatePolicy {
    fn default() -> CreatePolicy {
        CreatePolicy {
            row: &CREATE[0], // The table is a constant with rows.
            low: 0,
            seconds: SECONDS,
        }
    }
}

impl Default for CopyUpPolicy {
    fn default() -> CopyUpPolicy {
        CopyUpPolicy {
            row: &COPY_UP[0], // The table is a constant with rows.
        }
    }
}

impl PartialEq for CreatePolicy {
    fn eq(&self, other: &CreatePolicy) -> bool {
        let parts = |policy: &CreatePolicy| (policy.row.rule, policy.low, policy.seconds);
        parts(self) == parts(other)
    }
}

impl Eq for CreatePolicy {}

impl PartialEq for CopyUpPolicy {
    fn eq(&self, other: &CopyUpPolicy) -> bool {
        self.row.rule == other.row.rule
    }
}

impl Eq for CopyUpPolicy {}

impl fmt::Display for CreatePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row.name)?;
        match self.row.arguments {
            Arguments::None => return Ok(()),
            Arguments::Seconds => {}
            Arguments::Low => write!(f, ":{}", self.low)?,
        }
        match self.seconds {
            SECONDS => Ok(()),
            seconds => write!(f, ":{seconds}"),
        }
    }
}

impl fmt::Display for CopyUpPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row.name)
    }
}

/// Why a word is no policy, and what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// Nobody knows it.
    #[error("{name:?} is no policy: write {choices}")]
    Unknown {
        /// What was given.
        name: String,
        /// All names, as a list in words.
        choices: String,
    },
    /// mergerfs has it, and it has no meaning here.
    #[error("the policy {0} is not supported: {1}")]
    Refused(&'static str, &'static str),
    /// `mfsrr` alone.
    #[error(
        "{0} needs to know how many bytes a branch must have available: write {0}:BYTES, for example {0}:100M"
    )]
    NoLow(&'static str),
    /// `rr:10`, or `mfs:10:20`.
    #[error("{name} has nothing after {written:?}: leave {extra:?} out")]
    TooMany {
        /// The policy.
        name: &'static str,
        /// What it may have.
        written: String,
        /// What it was given beyond.
        extra: String,
    },
    /// Not a number of bytes.
    #[error(
        "{0:?} is no number of bytes: write digits, which K, M, G or T may follow, for example 100M"
    )]
    Bytes(String),
    /// Not a number of seconds that can be.
    #[error(
        "{0:?} is no number of seconds from 0 to {SECONDS_MAX}: write one, for example {SECONDS}"
    )]
    Seconds(String),
}

impl FromStr for CreatePolicy {
    type Err = PolicyError;

    fn from_str(word: &str) -> Result<CreatePolicy, PolicyError> {
        let mut parts = word.split(':');
        // There is always a first part.
        let name = parts.next().unwrap_or_default();
        let mut rows = CREATE.iter();
        let row = rows
            .find(|row| row.name == name || is_long(row.long, name))
            .ok_or_else(|| not_a_policy(name, CREATE.iter().map(|row| row.name)))?;
        let low = match row.arguments {
            Arguments::None | Arguments::Seconds => 0,
            Arguments::Low => bytes(parts.next().ok_or(PolicyError::NoLow(row.name))?)?,
        };
        let seconds = match row.arguments {
            Arguments::None => SECONDS,
            Arguments::Seconds | Arguments::Low => parts.next().map_or(Ok(SECONDS), seconds)?,
        };
        match parts.next() {
            None => Ok(CreatePolicy { row, low, seconds }),
            Some(extra) => Err(PolicyError::TooMany {
                name: row.name,
                written: format!("{}{}", row.name, row.arguments.written()),
                extra: format!(":{extra}"),
            }),
        }
    }
}

impl FromStr for CopyUpPolicy {
    type Err = PolicyError;

    fn from_str(word: &str) -> Result<CopyUpPolicy, PolicyError> {
        let mut rows = COPY_UP.iter();
        let row = rows
            .find(|row| row.name == word || is_long(row.long, word))
            .ok_or_else(|| not_a_policy(word, COPY_UP.iter().map(|row| row.name)))?;
        Ok(CopyUpPolicy { row })
    }
}

/// Most rows have no long name.
fn is_long(long: &str, name: &str) -> bool {
    !long.is_empty() && long == name
}

fn not_a_policy(name: &str, choices: impl Iterator<Item = &'static str>) -> PolicyError {
    if let Some(refused) = REFUSED.iter().find(|refused| refused.name == name) {
        return PolicyError::Refused(refused.name, refused.why);
    }
    let choices: Vec<&str> = choices.collect();
    let choices = match choices.split_last() {
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    };
    PolicyError::Unknown {
        name: name.to_owned(),
        choices,
    }
}

/// What may follow a number of bytes, and the power of 2 that it stands for.
const UNITS: [([char; 2], u32); 4] = [
    (['K', 'k'], 10),
    (['M', 'm'], 20),
    (['G', 'g'], 30),
    (['T', 't'], 40),
];

/// Digits and a power of 1024. aufs reads digits alone, but those that begin
/// with 0 as octal ones, so they are refused rather than read differently.
fn bytes(text: &str) -> Result<u64, PolicyError> {
    let wrong = || PolicyError::Bytes(text.to_owned());
    let unit = |(letters, shift): &([char; 2], u32)| Some((text.strip_suffix(letters)?, *shift));
    let (digits, shift) = UNITS.iter().find_map(unit).unwrap_or((text, 0));
    let number: u64 = decimal(digits).ok_or_else(wrong)?;
    number.checked_mul(1 << shift).ok_or_else(wrong)
}

fn seconds(text: &str) -> Result<u32, PolicyError> {
    decimal(text)
        .filter(|seconds| *seconds <= SECONDS_MAX)
        .ok_or_else(|| PolicyError::Seconds(text.to_owned()))
}

fn decimal<T: FromStr>(digits: &str) -> Option<T> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    let octal = digits.len() > 1 && digits.starts_with('0');
    (plain && !octal).then(|| digits.parse().ok()).flatten()
}
