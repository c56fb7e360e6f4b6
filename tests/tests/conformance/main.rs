//! The storage backends, held to the words of `overlay_core::layer`.
//!
//! Sentences that both must keep are written once, in `contract!`; those that
//! only make sense on a host's filesystem are in `budget`, `hostile`, `lower`
//! and `upper`.

#![allow(clippy::unwrap_used)]

mod acl;
mod budget;
mod create;
mod data;
mod entry;
mod handles;
mod held;
mod hostile;
mod lower;
mod remove;
mod rename;
mod set;
mod staged;
mod system;
mod threads;
mod upper;
mod xattr;
