//! Which branch takes new objects and copies.
//!
//! In an overlay stack there is no choice: the one writable branch, on top.
//! Elsewhere a [`Chooser`] decides by the policies of aufs and mergerfs. They stand in one table ([`CREATE`], [`COPY_UP`]),
//! which the parser and the documentation share. Nothing here looks at a disk:
//! a policy asks [`Candidate`]s, and only what it needs, since each question is
//! a system call to somebody. What overrides all of them is [`constrain`].
//!
//! Locks: the last look at the free space, a leaf; never held while a
//! candidate is asked.
//!
//! ```
//! use overlay_core::policy::CreatePolicy;
//! let policy: CreatePolicy = "mfsrr:10M:60".parse()?;
//! assert_eq!(policy.to_string(), "mfsrr:10485760:60");
//! let error = "mspmfs".parse::<CreatePolicy>().unwrap_err();
//! assert!(error.to_string().contains("write epmfs"));
//! # Ok::<(), overlay_core::policy::PolicyError>(())
//! ```

mod candidate;
mod choose;
mod constrain;
mod copy_up;
mod create;
mod look;
mod table;
mod words;

#[cfg(test)]
mod tests;

pub use candidate::{Candidate, Place, Space};
pub use choose::Chooser;
pub use constrain::constrain;
pub use table::{
    Arguments, COPY_UP, CREATE, CopyUpRow, CopyUpRule, CreateRow, CreateRule, REFUSED, Refused,
    WhenFull,
};
pub use words::{CopyUpPolicy, CreatePolicy, PolicyError, SECONDS, SECONDS_MAX};
