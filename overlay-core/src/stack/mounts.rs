//! What is mounted where, as `/proc/self/mountinfo` tells it
//! (`proc_pid_mountinfo(5)`).
//!
//! Reads and answers; decides nothing. Takes no locks.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// All mounts of this process' mount namespace, in the order of mounting.
#[derive(Debug, Clone, Default)]
pub struct MountTable {
    entries: Vec<MountEntry>,
}

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountEntry {
    /// Names this mount while it exists.
    pub id: u64,
    /// The mount that it is mounted on.
    pub parent: u64,
    /// `major:minor` of the filesystem, as one number (`makedev(3)`).
    pub dev: u64,
    /// Which directory of the filesystem the mount shows.
    pub root: PathBuf,
    /// Where it is mounted.
    pub point: PathBuf,
    /// Whether what is mounted and unmounted on it is so in other places too:
    /// a new mount there is shared as well (`mount_namespaces(7)`).
    pub shared: bool,
    /// Type of the filesystem, e.g. `ext4` or `fuse.ufsmount`.
    pub kind: OsString,
    /// The filesystem's own options, still escaped: see [`MountEntry::option`].
    options: Vec<u8>,
}

impl MountTable {
    /// The mounts as they are now.
    ///
    /// Fails where `/proc` is not mounted.
    pub fn read() -> io::Result<MountTable> {
        Ok(MountTable::parse(&fs::read("/proc/self/mountinfo")?))
    }

    /// The mounts in `text`. Lines that are not in the kernel's form are
    /// left out: a newer kernel may have added something.
    pub fn parse(text: &[u8]) -> MountTable {
        MountTable {
            entries: text.split(|b| *b == b'\n').filter_map(entry).collect(),
        }
    }

    /// All mounts, oldest first.
    pub fn entries(&self) -> &[MountEntry] {
        &self.entries
    }

    /// Whether something is mounted on a directory of the filesystem `dev`.
    pub fn has_mounts_on(&self, dev: u64) -> bool {
        let ours = self.entries.iter().filter(|entry| entry.dev == dev);
        let ours: Vec<u64> = ours.map(|entry| entry.id).collect();
        self.entries
            .iter()
            .any(|entry| ours.contains(&entry.parent))
    }

    /// The mount that `path`, absolute and without symlinks, lies on.
    pub fn of(&self, path: &Path) -> Option<&MountEntry> {
        // Of several mounts on one point the last one is seen: max_by_key
        // takes the last of equals.
        self.entries
            .iter()
            .filter(|entry| path.starts_with(&entry.point))
            .max_by_key(|entry| entry.point.as_os_str().len())
    }

    /// The mount that is seen at exactly `point`, absolute and without
    /// symlinks.
    pub fn at(&self, point: &Path) -> Option<&MountEntry> {
        self.entries.iter().rev().find(|entry| entry.point == point)
    }
}

impl MountEntry {
    /// Where `path` lies within the filesystem itself, however it is mounted:
    /// two bind mounts of one directory give the same place.
    pub fn place_of(&self, path: &Path) -> Option<PathBuf> {
        path.strip_prefix(&self.point)
            .ok()
            .map(|rest| self.root.join(rest))
    }

    /// Whether this shows all of a union of ours, by the name that its mounts
    /// have unless they were given another.
    pub fn is_union(&self) -> bool {
        self.kind == "fuse.ufsmount" && self.root == Path::new("/")
    }

    /// The value of the filesystem's own option `name`, unescaped.
    pub fn option(&self, name: &str) -> Option<PathBuf> {
        self.options(name).next()
    }

    /// All values of an option that may be given several times.
    pub fn options(&self, name: &str) -> impl Iterator<Item = PathBuf> {
        self.options
            .split(|b| *b == b',')
            .filter_map(|option| option.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
            .map(|value| unescape(value).into())
    }
}

fn entry(line: &[u8]) -> Option<MountEntry> {
    // 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
    let mut fields = line.split(|b| *b == b' ');
    let id = number(fields.next()?)?;
    let parent = number(fields.next()?)?;
    let dev = fields.next()?;
    let colon = dev.iter().position(|b| *b == b':')?;
    let (major, minor) = dev.split_at(colon);
    let dev = libc::makedev(
        u32::try_from(number(major)?).ok()?,
        u32::try_from(number(minor.strip_prefix(b":")?)?).ok()?,
    );
    let root = unescape(fields.next()?).into();
    let point = unescape(fields.next()?).into();
    fields.next()?;
    let mut shared = false;
    loop {
        match fields.next()? {
            b"-" => break,
            tag => shared |= tag.starts_with(b"shared:"),
        }
    }
    let kind = unescape(fields.next()?);
    fields.next()?;
    let options = fields.next().unwrap_or_default().to_vec();
    Some(MountEntry {
        id,
        parent,
        dev,
        root,
        point,
        shared,
        kind,
        options,
    })
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Undoes the kernel's `seq_escape`: a backslash and three octal digits.
fn unescape(field: &[u8]) -> OsString {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        match tail {
            [
                a @ b'0'..=b'3',
                b @ b'0'..=b'7',
                c @ b'0'..=b'7',
                after @ ..,
            ] if first == b'\\' => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = after;
            }
            _ => {
                out.push(first);
                rest = tail;
            }
        }
    }
    OsString::from_vec(out)
}

/// Takes away the backslashes with which a path was given as a mount option
/// (`\,` `\:` `\\`).
pub fn unescape_option(value: &OsStr) -> OsString {
    let mut out = Vec::with_capacity(value.len());
    let mut bytes = value.as_bytes().iter();
    while let Some(&byte) = bytes.next() {
        if byte == b'\\' {
            out.extend(bytes.next());
        } else {
            out.push(byte);
        }
    }
    OsString::from_vec(out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"\
22 1 254:0 / / rw,relatime - ext4 /dev/root rw
30 22 254:0 /data/lower /mnt/bind rw shared:1 - ext4 /dev/root rw
31 22 0:40 / /mnt/with\\040space rw - overlay overlay rw,lowerdir=/l,upperdir=/u\\134\\054x,workdir=/w
32 22 0:41 / /mnt/bind rw - tmpfs none rw
not a line of the kernel
";

    #[test]
    fn the_last_of_several_mounts_on_one_point_is_the_one_that_is_seen() {
        let table = MountTable::parse(TEXT);
        assert_eq!(table.entries().len(), 4);
        assert_eq!(table.at(Path::new("/mnt/bind")).unwrap().kind, "tmpfs");
        assert_eq!(table.of(Path::new("/mnt/bind/x")).unwrap().id, 32);
        assert_eq!(table.of(Path::new("/mnt/bindings")).unwrap().id, 22);
        let shared: Vec<bool> = table.entries().iter().map(|entry| entry.shared).collect();
        assert_eq!(shared, [false, true, false, false]);
    }

    #[test]
    fn a_path_under_a_bind_mount_has_the_place_of_its_original() {
        let table = MountTable::parse(TEXT);
        let bind = &table.entries()[1];
        assert_eq!(
            bind.place_of(Path::new("/mnt/bind/sub")).unwrap(),
            Path::new("/data/lower/sub")
        );
    }

    #[test]
    fn escapes_of_the_kernel_and_of_mount_options_are_undone() {
        let table = MountTable::parse(TEXT);
        let overlay = table.at(Path::new("/mnt/with space")).unwrap();
        let upper = overlay.option("upperdir").unwrap();
        assert_eq!(upper, Path::new("/u\\,x"));
        assert_eq!(unescape_option(upper.as_os_str()), "/u,x");
        assert_eq!(overlay.option("redirect_dir"), None);
    }
}
