//! Subjects and helpers shared by the tests of the workspace.
//!
//! One history of operations, one oracle ([`overlay_core::spec`]), many
//! subjects: [`check`] runs a generated case against a [`Subject`] and says
//! how the two differ.

#![allow(clippy::unwrap_used, reason = "a broken test setup may panic")]

pub mod aufs;
pub mod branches;
pub mod check;
pub mod conformance;
pub mod containers;
pub mod faulty;
pub mod ground;
pub mod index;
pub mod load;
pub mod materialize;
pub mod owned;
pub mod pools;
pub mod race;
pub mod runner;
pub mod scenario;
pub mod scratch;
pub mod snapshot;
pub mod specimen;
pub mod subject;
pub mod sys;
pub mod trial;

pub use subject::Subject;
