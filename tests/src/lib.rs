//! Subjects and helpers shared by the tests of the workspace.

pub mod conformance;
