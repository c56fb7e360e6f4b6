//! Mounts a union of directories through FUSE.

mod adapter;
mod answer;
mod convert;
mod handles;
mod listing;
