//! Which files of a mount are mapped for writing: what is passed to the kernel
//! can be written by a mapping after its last close, and neither the server nor
//! the kernel's FUSE knows of that.
//!
//! `/proc/PID/maps` tells: there the file is that of the mount. To read it may
//! wait for whoever waits for an answer of ours, so nothing of the union may be
//! held.

use std::collections::BTreeSet;
use std::fs;
use std::io;

use rustix::fs::{major, minor};

/// The paths of files of the filesystem `device` that are mapped, shared, and can
/// be written so, if not now then after `mprotect(2)`. Processes that this one does
/// not see are not told.
pub(super) fn for_writing(device: u64) -> io::Result<BTreeSet<String>> {
    let device = format!("{:02x}:{:02x}", major(device), minor(device));
    let mut found = BTreeSet::new();
    for process in fs::read_dir("/proc")? {
        let process = process?.path();
        // Gone, or without memory of its own.
        let Ok(maps) = fs::read(process.join("maps")) else {
            continue;
        };
        let maps = String::from_utf8_lossy(&maps);
        let shared: Vec<Mapped> = maps
            .lines()
            .filter_map(|line| shared_in(line, &device))
            .collect();
        if shared.is_empty() {
            continue;
        }
        // What may be written later, `maps` does not tell.
        let details = fs::read(process.join("smaps")).unwrap_or_default();
        let details = String::from_utf8_lossy(&details);
        for Mapped {
            range,
            is_written,
            path,
        } in shared
        {
            if is_written || may_be_written(&details, range).unwrap_or(true) {
                found.insert(path.to_owned());
            }
        }
    }
    Ok(found)
}

/// A shared mapping.
#[derive(Debug, PartialEq, Eq)]
struct Mapped<'a> {
    range: &'a str,
    is_written: bool,
    path: &'a str,
}

/// The mapping in a line of `maps`, if it is shared, and of the device: see
/// `proc_pid_maps(5)`.
fn shared_in<'a>(line: &'a str, device: &str) -> Option<Mapped<'a>> {
    let mut words = line.splitn(6, ' ');
    let (range, rights) = (words.next()?, words.next()?);
    let (_, on, _) = (words.next()?, words.next()?, words.next()?);
    let path = words.next().unwrap_or_default().trim();
    (rights.ends_with('s') && on == device).then_some(Mapped {
        range,
        is_written: rights.contains('w'),
        path,
    })
}

/// Whether a mapping may be made one for writing, as its flags in `smaps` say
/// (`mw`, `proc_pid_smaps(5)`); `None` if it is not told of.
fn may_be_written(details: &str, range: &str) -> Option<bool> {
    let mut lines = details.lines();
    lines.find(|line| line.split(' ').next() == Some(range))?;
    let flags = lines.find_map(|line| line.strip_prefix("VmFlags:"))?;
    Some(flags.split_whitespace().any(|flag| flag == "mw"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_mapping_is_told_and_no_other() {
        let found = |rights, device| {
            let line = format!("7f0-7f1 {rights} 00000000 {device} 131     /mnt/a b");
            let found = shared_in(&line, "00:3b");
            found.map(|found| {
                (
                    found.is_written,
                    found.range == "7f0-7f1",
                    found.path == "/mnt/a b",
                )
            })
        };
        assert_eq!(found("rw-s", "00:3b"), Some((true, true, true)));
        assert_eq!(found("r--s", "00:3b"), Some((false, true, true)));
        assert_eq!(found("rw-p", "00:3b"), None);
        assert_eq!(found("rw-s", "00:3c"), None);
        assert_eq!(shared_in("7f0-7f1 rw-p 00000000 00:00 0", "00:3b"), None);
    }

    #[test]
    fn what_may_be_written_later_is_told_by_its_flags() {
        let details = "7f0-7f1 r--s 00000000 00:3b 131 /a\nSize: 4 kB\nVmFlags: rd sh mr mw \n\
                       7f1-7f2 r--s 00000000 00:3b 132 /b\nSize: 4 kB\nVmFlags: rd sh mr \n";
        assert_eq!(may_be_written(details, "7f0-7f1"), Some(true));
        assert_eq!(may_be_written(details, "7f1-7f2"), Some(false));
        assert_eq!(may_be_written(details, "7f3-7f4"), None);
    }
}
