//! Mounts a union of directories through FUSE.
//!
//! [`Mount`] mounts a [`Union`](overlay_core::Union) from within a program;
//! the commands `ufsmount` and `ufs` ([`cli`]) do it from a shell. The rest
//! of the crate translates the kernel's requests to verbs of the union and
//! decides nothing: what a union is stands in `overlay-core`.

mod adapter;
mod answer;
pub mod cli;
pub mod control;
mod convert;
pub mod demo;
mod epoch;
mod follow;
mod handles;
mod ids;
mod io;
mod listing;
mod mount;
mod presentation;
mod running;
mod strangers;
mod sys;
mod ways;

pub use ids::{IdMap, IdMapError};
pub use io::Io;
pub use mount::{
    Mount, MountError, MountFlag, MountHandle, MountOptions, Propagation, Unmounted, Unmounter,
    Users, check_fuse,
};
pub use presentation::{Presentation, Xattrs};

/// The examples of the README are compiled, and run where they can.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
#[derive(Debug)]
pub struct Readme;
