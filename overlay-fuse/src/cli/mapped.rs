//! Which files of a mount are mapped for writing: what is passed to the kernel
//! can be written by a mapping after its last close, and neither the server nor
//! the kernel's FUSE knows of that.
//!
//! `/proc/PID/maps` tells: there the file is that of the mount. To read it may
//! wait for whoever waits for an answer of ours, so nothing may be held.

use std::collections::BTreeSet;
use std::fs;
use std::io;

use rustix::fs::{major, minor};

/// The paths of files of the filesystem `device` that are mapped, shared and for
/// writing. Processes that this one does not see are not told.
pub(super) fn for_writing(device: u64) -> io::Result<BTreeSet<String>> {
    let device = format!("{:02x}:{:02x}", major(device), minor(device));
    let mut found = BTreeSet::new();
    for process in fs::read_dir("/proc")? {
        // Gone, or without memory of its own.
        let Ok(maps) = fs::read(process?.path().join("maps")) else {
            continue;
        };
        let maps = String::from_utf8_lossy(&maps);
        found.extend(maps.lines().filter_map(|line| mapped_in(line, &device)));
    }
    Ok(found)
}

/// The path in a line of `maps`, if it is of the device, shared, and can be
/// written: see `proc_pid_maps(5)`.
fn mapped_in(line: &str, device: &str) -> Option<String> {
    let mut words = line.splitn(6, ' ');
    let (_, rights) = (words.next()?, words.next()?);
    let (_, on, _) = (words.next()?, words.next()?, words.next()?);
    let is_written = rights.contains('w') && rights.ends_with('s');
    (is_written && on == device).then(|| words.next().unwrap_or_default().trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_mapping_for_writing_is_told_and_no_other() {
        let line = |rights, device| {
            let line = format!("7f0-7f1 {rights} 00000000 {device} 131     /mnt/a b");
            mapped_in(&line, "00:3b")
        };
        assert_eq!(line("rw-s", "00:3b").as_deref(), Some("/mnt/a b"));
        assert_eq!(line("rw-p", "00:3b"), None);
        assert_eq!(line("r--s", "00:3b"), None);
        assert_eq!(line("rw-s", "00:3c"), None);
        assert_eq!(mapped_in("7f0-7f1 rw-p 00000000 00:00 0", "00:3b"), None);
    }
}
