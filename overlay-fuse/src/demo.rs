//! `ufs demo`: a union at work, layer by layer.
//!
//! Mounts sample layers in a temporary place, changes them through the mount
//! and prints after each step what each layer holds, and why. Leaves nothing.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use overlay_core::{Directories, Error, SetupError, Union};
use rustix::fs::Mode;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use tempfile::TempDir;

use crate::mount::{Mount, MountError, MountHandle, Unmounted, check_fuse};

mod act;
mod page;
mod tree;

use act::Act;
pub use page::{Colours, Page};
use tree::Line;

/// Why the demonstration ended early. Nothing of it is left behind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DemoError {
    /// No FUSE here.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// The temporary place cannot hold layers.
    #[error("{0} (the demonstration works below TMPDIR: set it to another place)")]
    Setup(#[from] SetupError),
    /// No temporary place.
    #[error(
        "no temporary directory can be made ({0}): set TMPDIR to a directory that you may write"
    )]
    NoPlace(#[source] io::Error),
    /// The layers do not make a union.
    #[error("the layers cannot be put together ({0}): set TMPDIR to another place")]
    Union(#[from] Error),
    /// A file could not be read or changed.
    #[error("{0}: {1}")]
    Io(String, #[source] io::Error),
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
}

/// The read-only layers, top first.
const LOWERS: [&str; 2] = ["patch", "base"];

/// One lesson.
struct Lesson {
    title: &'static str,
    acts: &'static [Act],
    why: &'static str,
}

const LESSONS: [Lesson; 6] = [
    Lesson {
        title: "Reading: the layers look like one tree",
        acts: &[
            Act::List("etc"),
            Act::Show("etc/motd"),
            Act::Show("etc/hosts"),
        ],
        why: "etc/ exists in base and in patch, so the two merge. etc/motd is in both:\n\
              the topmost one wins. Nothing has been copied: reading changes no layer.",
    },
    Lesson {
        title: "Changing a file: copy-up",
        acts: &[
            Act::Append("etc/hosts", "10.0.0.2 db"),
            Act::Show("etc/hosts"),
        ],
        why: "base is read-only. Before the first write the file was copied up, whole and in\n\
              one step, to changes (with its parent directory); the write went to the copy.",
    },
    Lesson {
        title: "Deleting a file: a whiteout",
        acts: &[Act::Remove("old.conf"), Act::List(".")],
        why: "base cannot forget the file. So changes holds a whiteout of that name (a\n\
              character device with number 0:0), which hides whatever lies below.",
    },
    Lesson {
        title: "Replacing a directory: an opaque one",
        acts: &[
            Act::RemoveAll("docs"),
            Act::MakeDir("docs"),
            Act::Create("docs/new.txt", "all new"),
            Act::List("docs"),
        ],
        why: "A plain new docs/ would merge with the one in base, and its old files would be\n\
              back. So the new one is marked opaque: the search ends there.",
    },
    Lesson {
        title: "Renaming a file: a copy and a whiteout",
        acts: &[Act::Rename("readme.txt", "intro.txt"), Act::List(".")],
        why: "The file was copied up, and its copy renamed; a whiteout keeps the old name hidden.\n\
              The new name and the whiteout became visible in one step.",
    },
    Lesson {
        title: "What changes does not hold, the layers below still do",
        acts: &[
            Act::Create("etc/motd", "Only mine now"),
            Act::Remove("etc/motd"),
            Act::List("etc"),
        ],
        why: "Deleting the changed file leaves a whiteout, not a hole: else the motd of patch\n\
              would come back. Throw changes/ away, and everything is as it was.",
    },
];

/// Shows everything on `page`.
pub fn run(page: &mut Page<'_>) -> Result<(), DemoError> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted))
            .map_err(|error| DemoError::Io("signals cannot be handled".into(), error))?;
    }
    check_fuse()?;
    // Modes as the sample layers have them, whatever the shell's mask is.
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let place = tempfile::Builder::new()
        .prefix("ufs-demo-")
        .tempdir()
        .map_err(DemoError::NoPlace)?;
    let result = in_place(page, place.path(), &interrupted);
    // An error of the lessons is worth more than one of tidying up.
    let tidied = tidy(place);
    result.and(tidied)
}

fn in_place(page: &mut Page<'_>, place: &Path, interrupted: &AtomicBool) -> Result<(), DemoError> {
    sample(place).map_err(|error| DemoError::Io(place.display().to_string(), error))?;
    let at = |name: &str| place.join(name);
    let directories = Directories {
        lowers: LOWERS.map(at).to_vec(),
        upper: Some(place.join("changes")),
        mount_point: Some(place.join("merged")),
        ..Directories::default()
    };
    let union = Union::new(directories.open()?)?;
    let mounted = Mount::builder(union).mount(place.join("merged"))?;
    lessons(page, place, interrupted)?;
    finish(page, mounted)
}

fn lessons(page: &mut Page<'_>, place: &Path, interrupted: &AtomicBool) -> Result<(), DemoError> {
    let below = introduce(page, place).map_err(on_page)?;
    for (number, lesson) in LESSONS.iter().enumerate() {
        if interrupted.load(Ordering::Relaxed) {
            return Err(DemoError::Interrupted);
        }
        page.title(number + 1, lesson.title).map_err(on_page)?;
        for act in lesson.acts {
            page.command(act).map_err(on_page)?;
            let said = act
                .perform(&place.join("merged"))
                .map_err(|error| DemoError::Io(act.to_string(), error))?;
            page.said(&said).map_err(on_page)?;
        }
        page.prose(lesson.why).map_err(on_page)?;
        show_changes(page, place, &below).map_err(on_page)?;
    }
    Ok(())
}

/// Shows all layers; returns what the read-only ones hold.
fn introduce(page: &mut Page<'_>, place: &Path) -> io::Result<Vec<Vec<Line>>> {
    page.prose(&format!(
        "Three directories in {}, stacked and mounted at merged/:\n\
         changes takes every change, patch and base are only read.",
        place.display()
    ))?;
    page.command(&"ufsmount patch:base changes merged")?;
    let note = "on top, takes all changes";
    page.layer("changes", note, &tree::lines(&place.join("changes"))?)?;
    let mut below = Vec::new();
    for layer in LOWERS {
        let lines = tree::lines(&place.join(layer))?;
        page.layer(layer, "only read", &lines)?;
        below.push(lines);
    }
    Ok(below)
}

/// Shows the writable layer, and that the others are what they were.
fn show_changes(page: &mut Page<'_>, place: &Path, below: &[Vec<Line>]) -> io::Result<()> {
    page.layer("changes", "", &tree::lines(&place.join("changes"))?)?;
    for (layer, before) in LOWERS.iter().zip(below) {
        if tree::lines(&place.join(layer))? != *before {
            return Err(io::Error::other(format!(
                "{layer} has changed, a fault of ours"
            )));
        }
        page.unchanged(layer)?;
    }
    Ok(())
}

fn finish(page: &mut Page<'_>, mounted: MountHandle) -> Result<(), DemoError> {
    page.command(&"umount merged").map_err(on_page)?;
    match mounted.unmount()? {
        Unmounted::Now | Unmounted::Already => {}
        Unmounted::Lazily => {
            let words = "merged/ was in use by another program, and goes when that is done.";
            page.prose(words).map_err(on_page)?;
        }
    }
    page.prose("The layers would be the same at the next mount. The demonstration removes them.")
        .map_err(on_page)
}

fn on_page(error: io::Error) -> DemoError {
    DemoError::Io("the demonstration cannot be shown".into(), error)
}

/// The sample layers.
fn sample(place: &Path) -> io::Result<()> {
    let file = |path: &str, text: &str| {
        let path = place.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let mut file = fs::File::create(path)?;
        writeln!(file, "{text}")
    };
    file("base/etc/motd", "Welcome to 1.0")?;
    file("base/etc/hosts", "10.0.0.1 web")?;
    file("base/docs/chapter1.txt", "Once upon a time")?;
    file("base/docs/chapter2.txt", "The end")?;
    file("base/old.conf", "verbose=1")?;
    file("base/readme.txt", "Read me")?;
    file("patch/etc/motd", "Welcome to 1.1")?;
    fs::create_dir(place.join("changes"))?;
    fs::create_dir(place.join("merged"))
}

fn tidy(place: TempDir) -> Result<(), DemoError> {
    let path = place.path().display().to_string();
    place
        .close()
        .map_err(|error| DemoError::Io(format!("{path} cannot be removed"), error))
}
