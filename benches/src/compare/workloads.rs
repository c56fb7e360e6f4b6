//! All workloads, in the order of the table. Each is a file of its name.

use super::workload::Workload;

mod append;
mod append_large;
mod build;
mod chmod;
mod create;
mod git_status;
mod missing;
mod open;
mod random_read;
mod random_write;
mod read_small;
mod readdir_large;
mod remove_tree;
mod rename;
mod sequential_read;
mod sequential_write;
mod stat;
mod tree;
mod unlink;
mod untar;
mod walk;
mod writers;

use readdir_large::ReaddirLarge;
use remove_tree::RemoveTree;
use walk::Walk;

/// The workloads.
pub(crate) static ALL: &[&dyn Workload] = &[
    &Walk::Cold,
    &Walk::First,
    &Walk::Warm,
    &stat::Stat { threads: 1 },
    &stat::Stat { threads: 4 },
    &missing::Missing,
    &open::Open { threads: 1 },
    &open::Open { threads: 4 },
    &read_small::ReadSmall::Cold,
    &read_small::ReadSmall::First,
    &read_small::ReadSmall::Again,
    &sequential_read::SequentialRead::Cold,
    &sequential_read::SequentialRead::Warm,
    &random_read::RandomRead,
    &create::Create { threads: 1 },
    &create::Create { threads: 4 },
    &unlink::Unlink,
    &chmod::Chmod,
    &append::Append,
    &rename::Rename,
    &sequential_write::SequentialWrite,
    &random_write::RandomWrite,
    &untar::Untar,
    &RemoveTree::New,
    &RemoveTree::Lower,
    &append_large::AppendLarge,
    &writers::Writers,
    &git_status::GitStatus,
    &build::Build,
    &ReaddirLarge::OneLayer,
    &ReaddirLarge::Merged,
];
