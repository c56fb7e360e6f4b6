//! The shape of the machine, which every figure needs beside it.

use std::fs;
use std::io;
use std::path::Path;
use std::thread;

use serde::Serialize;

/// What figures depend on.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) cores: usize,
    pub(crate) memory_mib: u64,
    pub(crate) kernel: String,
    /// The filesystem that all layers lie on.
    pub(crate) filesystem: String,
}

impl Machine {
    /// This machine, with layers in `home`.
    pub(crate) fn of(home: &Path) -> io::Result<Machine> {
        let uname = rustix::system::uname();
        Ok(Machine {
            cores: thread::available_parallelism()?.get(),
            memory_mib: memory_mib()?,
            kernel: format!(
                "{} {}",
                uname.sysname().to_string_lossy(),
                major_minor(&uname.release().to_string_lossy())
            ),
            filesystem: filesystem(home)?,
        })
    }

    pub(crate) fn sentence(&self) -> String {
        format!(
            "{} cores, {} GiB of memory, {}, all layers on {}",
            self.cores,
            self.memory_mib.div_ceil(1024),
            self.kernel,
            self.filesystem
        )
    }
}

/// `6.18.4-some-build` as `6.18`: the rest says more about who built it.
fn major_minor(release: &str) -> String {
    let mut numbers = release.split(['.', '-']);
    let (major, minor) = (numbers.next(), numbers.next());
    [major, minor]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(".")
}

fn memory_mib() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let kib = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|kib| kib.parse::<u64>().ok());
    kib.map(|kib| kib / 1024)
        .ok_or_else(|| io::Error::other("/proc/meminfo has no MemTotal"))
}

/// Magic numbers of `statfs(2)`.
fn filesystem(home: &Path) -> io::Result<String> {
    Ok(match rustix::fs::statfs(home)?.f_type as u32 {
        0xEF53 => "ext4".to_owned(),
        0x5846_5342 => "xfs".to_owned(),
        0x9123_683E => "btrfs".to_owned(),
        0x0102_1994 => "tmpfs".to_owned(),
        other => format!("a filesystem of type {other:#x}"),
    })
}
