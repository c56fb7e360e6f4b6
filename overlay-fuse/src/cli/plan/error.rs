//! What is wrong with the words.

use std::ffi::OsString;

/// What is wrong with the words: one sentence each.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UsageError {
    /// No mount point, or no layer.
    #[error("layers and a mount point are needed: ufsmount LOWER[:LOWER...] [UPPER] MOUNTPOINT")]
    TooFew,
    /// No layer.
    #[error("layers are needed: name LOWER[:LOWER...], or -o lowerdir=DIR[:DIR...]")]
    NoLayers,
    /// More words than meanings.
    #[error("{0:?} is one path too many: see ufsmount --help")]
    TooMany(OsString),
    /// `/dev/fd/3` for a mount point, as libfuse takes a device.
    #[error(
        "{0:?} is a FUSE device that another program has mounted, as mount.fuse3(8) does with drop_privileges, and such are not served: unmount what it has mounted, and leave drop_privileges out, or use setuid=USER"
    )]
    Device(OsString),
    /// `a:`, `:a` or `a:::b`
    #[error(
        "the list of lower layers {0:?} has an empty entry: separate layers by ':', and data-only layers by '::'"
    )]
    EmptyLayer(OsString),
    /// `a::b:c`
    #[error(
        "the list of lower layers {0:?} has a layer below data-only ones: put it before them, or separate it by '::'"
    )]
    AfterDataOnly(OsString),
    /// `upperdir`, or `upperdir=`
    #[error("the option {0} has no value: write {0}={1}, or leave it out")]
    NoValue(&'static str, &'static str),
    /// `nodev=1`
    #[error("the option {0:?} takes no value: write it without '='")]
    Value(OsString),
    /// A value that is no number.
    #[error("{name}={} is no number above 0: write one, for example {name}=131072", .value.display())]
    Number {
        /// The option.
        name: &'static str,
        /// What it was set to.
        value: OsString,
    },
    /// A value that an option does not have.
    #[error("{name}={} is unknown: write {choices}", .value.display())]
    Choice {
        /// The option.
        name: &'static str,
        /// What it was set to.
        value: OsString,
        /// What it can be set to, as a list in words.
        choices: String,
    },
    /// A value that an option cannot have, and what it could be.
    #[error("{name}={} cannot be: {why}", .value.display())]
    Wrong {
        /// The option.
        name: &'static str,
        /// What it was set to.
        value: OsString,
        /// What is right.
        why: String,
    },
    /// An option or path given twice.
    #[error("{0} is given twice: give it once")]
    Twice(&'static str),
    /// `workdir=` alone.
    #[error("workdir is given without an upper layer: add upperdir=DIR, or leave workdir out")]
    WorkAlone,
    /// Two options of which one excludes the other.
    #[error("{0} and {1} exclude each other: leave one of them out")]
    Conflict(&'static str, &'static str),
    /// An option that others give a meaning we do not: why, and what to do.
    #[error("option {0:?} is not supported: {1}")]
    Unsupported(OsString, &'static str),
    /// An option that nobody knows.
    #[error("option {0:?} is not known: leave it out (ufsmount --help lists the options)")]
    Unknown(OsString),
}
