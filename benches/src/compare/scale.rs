//! How much there is of everything.

use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

/// Bytes in a MiB.
pub(crate) const MIB: u64 = 1024 * 1024;

/// How large the layers and the workloads are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Size {
    /// 20,000 small files and one of 512 MiB: what figures are made with
    Full,
    /// A tenth of it: for a first look
    Quick,
    /// A handful of files: to see that everything works
    Tiny,
}

/// The layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Variant {
    /// Eight lower layers
    #[value(name = "8")]
    #[serde(rename = "8")]
    Eight,
    /// Two hundred lower layers
    #[value(name = "200")]
    #[serde(rename = "200")]
    TwoHundred,
    /// Eight lower layers, with directories of 200,000 entries
    BigDir,
}

impl Variant {
    pub(crate) fn lowers(self) -> usize {
        match self {
            Variant::Eight | Variant::BigDir => 8,
            Variant::TwoHundred => 200,
        }
    }

    pub(crate) fn words(self) -> &'static str {
        match self {
            Variant::Eight => "8 lower layers",
            Variant::TwoHundred => "200 lower layers",
            Variant::BigDir => "8 lower layers, directories of 200,000 entries",
        }
    }
}

/// The amounts of a [`Size`].
#[derive(Debug, Clone)]
pub(crate) struct Scale {
    /// Small files in all lowers together.
    pub(crate) files: usize,
    /// Of these, in each directory.
    pub(crate) per_directory: usize,
    /// Bytes of the one big file.
    pub(crate) big: u64,
    /// Lower files that a workload copies up; each is synced by those who do.
    pub(crate) copy_ups: usize,
    /// Files that a workload makes.
    pub(crate) creates: usize,
    /// Bytes that a workload writes in a row.
    pub(crate) written: u64,
    /// Reads or writes at random places, by each thread.
    pub(crate) random: usize,
    /// Files in the git repository.
    pub(crate) tracked: usize,
    /// C sources.
    pub(crate) sources: usize,
    /// Entries of the large directory.
    pub(crate) large: usize,
    /// What takes less is repeated until this has passed.
    pub(crate) at_least: Duration,
}

impl Size {
    pub(crate) fn scale(self) -> Scale {
        match self {
            Size::Full => Scale {
                files: 20_000,
                per_directory: 100,
                big: 512 * MIB,
                copy_ups: 400,
                creates: 4_000,
                written: 256 * MIB,
                random: 16_384,
                tracked: 2_000,
                sources: 40,
                large: 200_000,
                at_least: Duration::from_millis(300),
            },
            Size::Quick => Scale {
                files: 2_000,
                per_directory: 50,
                big: 64 * MIB,
                copy_ups: 100,
                creates: 800,
                written: 64 * MIB,
                random: 4_096,
                tracked: 300,
                sources: 8,
                large: 20_000,
                at_least: Duration::from_millis(50),
            },
            Size::Tiny => Scale {
                files: 96,
                per_directory: 8,
                big: MIB,
                copy_ups: 8,
                creates: 16,
                written: MIB,
                random: 64,
                tracked: 10,
                sources: 2,
                large: 200,
                at_least: Duration::from_millis(1),
            },
        }
    }
}
