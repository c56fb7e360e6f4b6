//! Limits of this process.

use rustix::process::{Resource, getrlimit};

/// How many descriptors this process may have; `None` without a limit. See
/// `getrlimit(2)`, `RLIMIT_NOFILE`, the soft one.
pub fn descriptors() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}
