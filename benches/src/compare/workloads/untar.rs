//! An archive of a source tree unpacked.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Gid, Mode, OFlags, Timespec, Timestamps, Uid, chownat, fchmod, fchown, futimens,
    openat,
};
use tar::{Archive, Builder, Header};

use super::super::layers::Noise;
use super::super::workload::{Stage, Target, Timed, Workload, once};

/// Files in a directory of the archive.
const PER_DIRECTORY: usize = 40;

/// What GNU tar does as root for each file: create anew, write, set the times,
/// the owner, the mode, close.
#[derive(Debug)]
pub(super) struct Untar;

impl Workload for Untar {
    fn name(&self) -> &'static str {
        "untar"
    }

    fn about(&self) -> &'static str {
        "unpack an archive of small files, with times, owners and modes"
    }

    fn target(&self, _: &str) -> Target {
        Target::to(3.0, 0.6)
    }

    fn prepare<'a>(&self, stage: &'a Stage<'a>) -> io::Result<Timed<'a>> {
        let path = stage.aside.join("archive.tar");
        if !path.exists() {
            pack(&path, stage.scale.creates / 2)?;
        }
        let archive = fs::read(path)?;
        let to = stage.path("unpacked");
        fs::create_dir(&to)?;
        Ok(Box::new(move || once(|| unpack(&archive, &to))))
    }
}

fn pack(path: &Path, files: usize) -> io::Result<()> {
    let mut archive = Builder::new(File::create(path)?);
    let mut noise = Noise::new(6);
    let mut content = vec![0; 8_192];
    for number in 0..files {
        let directory = format!("src/d{:03}", number / PER_DIRECTORY);
        if number == 0 {
            add(&mut archive, "src/", tar::EntryType::Directory, &[])?;
        }
        if number % PER_DIRECTORY == 0 {
            let name = format!("{directory}/");
            add(&mut archive, &name, tar::EntryType::Directory, &[])?;
        }
        let (part, _) = content.split_at_mut(200 + noise.below(7_900) as usize);
        noise.fill(part);
        let name = format!("{directory}/f{number:05}.c");
        add(&mut archive, &name, tar::EntryType::Regular, part)?;
    }
    archive.finish()
}

fn add(
    archive: &mut Builder<File>,
    name: &str,
    kind: tar::EntryType,
    content: &[u8],
) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(content.len() as u64);
    header.set_mode(if kind.is_dir() { 0o755 } else { 0o644 });
    header.set_mtime(1_700_000_000);
    archive.append_data(&mut header, name, content)
}

/// The number of entries.
fn unpack(archive: &[u8], to: &Path) -> io::Result<u64> {
    let mut count = 0;
    let mut content = Vec::new();
    for entry in Archive::new(archive).entries()? {
        let mut entry = entry?;
        count += 1;
        let path = to.join(entry.path()?);
        let mode = Mode::from_raw_mode(entry.header().mode()?);
        if entry.header().entry_type().is_dir() {
            fs::create_dir(&path)?;
            let (uid, gid) = (Some(Uid::ROOT), Some(Gid::ROOT));
            chownat(CWD, &path, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
            continue;
        }
        content.clear();
        entry.read_to_end(&mut content)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = openat(CWD, &path, flags, Mode::RUSR | Mode::WUSR)?;
        rustix::io::write(&file, &content)?;
        let time = Timespec {
            tv_sec: entry.header().mtime()?.cast_signed(),
            tv_nsec: 0,
        };
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        futimens(&file, &times)?;
        fchown(&file, Some(Uid::ROOT), Some(Gid::ROOT))?;
        fchmod(&file, mode)?;
    }
    Ok(count)
}
