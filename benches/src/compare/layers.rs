//! The lower layers: the same for everybody, and the same in each run.
//!
//! The small files lie in directories of two kinds, in turn: one whose files
//! are spread over all layers, which a union has to merge, and one that lies
//! in a single layer.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::interrupt::Interrupt;
use super::progress::Progress;
use super::say;
use super::scale::{MIB, Scale, Variant};

/// What lies in the lowers.
#[derive(Debug)]
pub(crate) struct Layers {
    /// Top first.
    pub(crate) lowers: Vec<PathBuf>,
    /// The directories of small files, relative to the root of the union.
    pub(crate) directories: Vec<PathBuf>,
    /// The small files, relative to it.
    pub(crate) files: Vec<PathBuf>,
    /// Whether there is a git repository.
    pub(crate) git: bool,
}

/// The big file.
pub(crate) const BIG: &str = "big";

/// The git repository.
pub(crate) const REPOSITORY: &str = "repository";

/// The C program.
pub(crate) const PROGRAM: &str = "program";

/// The large directory in one layer.
pub(crate) const LARGE: &str = "large";

/// The large directory that is spread over all layers.
pub(crate) const LARGE_MERGED: &str = "large-merged";

impl Layers {
    /// Writes them into the directory `home`.
    pub(crate) fn generate(
        home: &Path,
        variant: Variant,
        scale: &Scale,
        progress: &Progress,
        interrupt: &Interrupt,
    ) -> io::Result<Layers> {
        let lowers: Vec<PathBuf> = (0..variant.lowers())
            .map(|lower| home.join(format!("lower{lower}")))
            .collect();
        for lower in &lowers {
            fs::create_dir(lower)?;
        }
        let mut layers = Layers {
            lowers,
            directories: Vec::new(),
            files: Vec::new(),
            git: false,
        };
        progress.note("writing the small files");
        layers.small_files(scale, interrupt)?;
        let Some(bottom) = layers.lowers.last().cloned() else {
            return Err(io::Error::other("a union needs a layer"));
        };
        match variant {
            Variant::Eight | Variant::TwoHundred => {
                progress.note("writing the big file");
                write_noise(&bottom.join(BIG), scale.big, interrupt)?;
                program(&bottom.join(PROGRAM), scale.sources)?;
                progress.note("writing the git repository");
                layers.git = repository(&bottom.join(REPOSITORY), scale)?;
            }
            Variant::BigDir => {
                progress.note("writing the large directories");
                layers.large(scale.large, interrupt)?;
            }
        }
        rustix::fs::sync();
        Ok(layers)
    }

    fn small_files(&mut self, scale: &Scale, interrupt: &Interrupt) -> io::Result<()> {
        let mut noise = Noise::new(1);
        let mut content = vec![0; 16 * 1024];
        for d in 0..scale.files.div_ceil(scale.per_directory) {
            interrupt.check()?;
            let directory = PathBuf::from(format!("tree/d{d:03}"));
            let spread = d % 2 == 0;
            for f in 0..scale.per_directory {
                let lower = match spread {
                    true => f % self.lowers.len(),
                    false => d % self.lowers.len(),
                };
                // Less than the number of lowers, by the remainder.
                let Some(lower) = self.lowers.get(lower) else {
                    continue;
                };
                let inside = lower.join(&directory);
                fs::create_dir_all(&inside)?;
                // Sizes of a source tree: from 200 bytes to 8 KiB.
                let len = 200 + noise.below(8_000) as usize;
                let (content, _) = content.split_at_mut(len);
                noise.fill(content);
                let name = format!("f{f:03}.c");
                fs::write(inside.join(&name), content)?;
                self.files.push(directory.join(name));
            }
            self.directories.push(directory);
        }
        Ok(())
    }

    fn large(&self, entries: usize, interrupt: &Interrupt) -> io::Result<()> {
        for lower in &self.lowers {
            fs::create_dir(lower.join(LARGE_MERGED))?;
        }
        let one = self.lowers.first().map(|top| top.join(LARGE));
        let one = one.ok_or_else(|| io::Error::other("a union needs a layer"))?;
        fs::create_dir(&one)?;
        for (entry, lower) in (0..entries).zip(self.lowers.iter().cycle()) {
            interrupt.check()?;
            let name = format!("entry-{entry:07}");
            File::create(one.join(&name))?;
            File::create(lower.join(LARGE_MERGED).join(&name))?;
        }
        Ok(())
    }
}

/// Numbers that look random and are the same in each run (xorshift64*).
#[derive(Debug)]
pub(crate) struct Noise(u64);

impl Noise {
    pub(crate) fn new(seed: u64) -> Noise {
        Noise(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = self.next().to_le_bytes();
            chunk.copy_from_slice(word.split_at(chunk.len()).0);
        }
    }
}

/// Real data, so that no hole makes a copy cheaper than it is.
fn write_noise(path: &Path, len: u64, interrupt: &Interrupt) -> io::Result<()> {
    let mut block = vec![0; MIB as usize];
    Noise::new(2).fill(&mut block);
    let mut file = File::create(path)?;
    let mut left = len;
    while left > 0 {
        interrupt.check()?;
        let (part, _) = block.split_at(left.min(MIB) as usize);
        file.write_all(part)?;
        left -= part.len() as u64;
    }
    Ok(())
}

/// A program of many small sources that share a header.
fn program(home: &Path, sources: usize) -> io::Result<()> {
    fs::create_dir(home)?;
    let mut header = String::from("#include <stdio.h>\n#include <string.h>\n");
    let mut calls = String::new();
    for source in 0..sources {
        header.push_str(&format!("int part{source}(int x);\n"));
        calls.push_str(&format!("    x = part{source}(x);\n"));
        let body: String = (0..40)
            .map(|i| format!("static int f{i}(int x) {{ return x * {i} + {source}; }}\n"))
            .chain([format!("int part{source}(int x) {{\n")])
            .chain((0..40).map(|i| format!("    x += f{i}(x);\n")))
            .collect();
        let text = format!("#include \"all.h\"\n{body}    return x;\n}}\n");
        fs::write(home.join(format!("part{source}.c")), text)?;
    }
    fs::write(home.join("all.h"), header)?;
    let main = format!(
        "#include \"all.h\"\nint main(void) {{\n    int x = 1;\n{calls}    return x == 0;\n}}\n"
    );
    fs::write(home.join("main.c"), main)
}

/// A repository with one commit. `false` without git.
fn repository(home: &Path, scale: &Scale) -> io::Result<bool> {
    fs::create_dir(home)?;
    let mut noise = Noise::new(3);
    let mut content = vec![0; 4_096];
    for file in 0..scale.tracked {
        let directory = home.join(format!("src/m{:02}", file % 50));
        fs::create_dir_all(&directory)?;
        noise.fill(&mut content);
        fs::write(directory.join(format!("s{file:04}.rs")), &content)?;
    }
    for words in [
        &["init", "-q", "-b", "main"][..],
        &["add", "."],
        &["commit", "-q", "-m", "All"],
    ] {
        match git(home).args(words).status() {
            Ok(status) if status.success() => {}
            Ok(status) => {
                return Err(io::Error::other(format!(
                    "git {}: {status}",
                    words.join(" ")
                )));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                say("git is not installed: git-status is left out");
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// git, in `home`, with no settings of the user's.
pub(crate) fn git(home: &Path) -> Command {
    let mut git = Command::new("git");
    git.arg("-C").arg(home);
    for setting in [
        "user.name=compare",
        "user.email=compare@localhost",
        "gc.auto=0",
        "safe.directory=*",
    ] {
        git.arg("-c").arg(setting);
    }
    git.env("GIT_CONFIG_GLOBAL", "/dev/null");
    git.env("GIT_CONFIG_SYSTEM", "/dev/null");
    git
}
