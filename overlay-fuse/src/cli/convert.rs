//! `ufs convert`: words in, notes out, and a branch in its new form.

use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use overlay_core::Namespace;
use overlay_core::convert::{Conversion, Effect, Event, Failure, Form, Note, Summary};
use overlay_core::stack::directories::LoneBranch;

use super::ending::{self, Ending};
use super::progress::Progress;

mod json;
mod text;

/// What it is called in sentences.
const COMMAND: &str = "ufs convert";

/// The exit codes; as far as they have the same meaning, those of `ufs check`.
mod code {
    /// The new form cannot express all of it; nothing was changed.
    pub const REFUSED: u8 = 4;
    /// It could not be done, or not wholly.
    pub const FAILED: u8 = 8;
    /// The words mean nothing.
    pub const USAGE: u8 = 16;
    /// Whoever read the notes had enough of them.
    pub const CANCELLED: u8 = 32;
}

const HELP: &str = "\
BRANCH is one directory, which must not be part of a mounted union. Forms:
aufs (.wh. names), overlay (devices 0:0 and attributes), and, to be read only,
containers (both, as container tools and fuse-overlayfs leave them).

After an interruption, ufs convert BRANCH finishes what was begun; until then
the branch cannot be mounted.

Exit status: 0 done (or, with --dry-run, it can be), 4 the new form cannot
express what is listed, and nothing was changed, 8 failed (also if the branch
is in use), 16 usage, 32 the reader of the output went away.";

/// The words after `ufs convert`.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "ufs convert --from FORM --to FORM [OPTIONS] BRANCH\n       \
                      ufs convert [OPTIONS] BRANCH",
    after_help = HELP
)]
pub(super) struct Args {
    /// The directory to be converted
    #[arg(value_name = "BRANCH")]
    branch: PathBuf,
    /// The form that it has
    #[arg(long, value_name = "FORM")]
    from: Option<Word>,
    /// The form that it gets: aufs or overlay
    #[arg(long, value_name = "FORM")]
    to: Option<Word>,
    /// Marks are user.overlay.* attributes and files, as with ufsmount -o userxattr
    #[arg(long)]
    userxattr: bool,
    /// Only tell what would be done
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Leave BRANCH as it is, and convert a copy in this directory, which is
    /// empty or missing
    #[arg(long, value_name = "DIR", conflicts_with = "dry_run")]
    copy_to: Option<PathBuf>,
    /// List all that is rewritten, and what is dropped
    #[arg(short = 'v', long, conflicts_with = "quiet")]
    verbose: bool,
    /// Say nothing but why it failed
    #[arg(short = 'q', long)]
    quiet: bool,
    /// Write all notes as lines of JSON
    #[arg(long, conflicts_with = "quiet")]
    json: bool,
}

/// A form, as a word of the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Word {
    Aufs,
    Overlay,
    Containers,
}

impl Word {
    fn form(self) -> Form {
        match self {
            Word::Aufs => Form::Aufs,
            Word::Overlay => Form::Overlay,
            Word::Containers => Form::Containers,
        }
    }
}

/// Runs `ufs convert`.
pub(super) fn run(args: Args) -> ExitCode {
    match converted(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(ending) => ending.end(COMMAND),
    }
}

/// Words that clap does not understand.
pub(super) fn usage_error(error: &clap::Error) -> ExitCode {
    ending::usage_error(COMMAND, code::USAGE, error)
}

fn converted(args: &Args) -> Result<(), Ending> {
    let asked = asked(args)?;
    let branch = LoneBranch::open(&args.branch).map_err(|error| failed(args, error.into()))?;
    let begun = Conversion::begun(&*branch.root()).map_err(|error| failed(args, error))?;
    let conversion = match (asked, begun) {
        (Some(asked), _) => asked,
        (None, Some(begun)) => begun,
        (None, None) => {
            let sentence = "no conversion of this branch was begun: say --from and --to";
            return Err(Ending::Failed(code::USAGE, sentence.to_owned()));
        }
    };
    let mut teller = Teller::new(args);
    let outcome = match (&args.copy_to, args.dry_run) {
        (_, true) => conversion.survey(&branch.root(), &mut |event| teller.tell(event)),
        (Some(copy), false) => conversion.to_copy(&branch, copy, &mut |event| teller.tell(event)),
        (None, false) => conversion.in_place(branch, &mut |event| teller.tell(event)),
    };
    teller.progress.clear();
    match outcome {
        Ok(summary) => teller.end(&summary),
        Err(Failure::Refused(summary)) => {
            teller.end(&summary)?;
            Err(Ending::Told(code::REFUSED))
        }
        Err(Failure::Stopped) if teller.written.is_err() => teller.end(&Summary::default()),
        Err(failure) => Err(failed(args, failure)),
    }
}

fn asked(args: &Args) -> Result<Option<Conversion>, Ending> {
    let (from, to) = match (args.from, args.to) {
        (Some(from), Some(to)) => (from, to),
        (None, None) => return Ok(None),
        (Some(_), None) | (None, Some(_)) => {
            let sentence = "one form is missing: say both --from and --to".to_owned();
            return Err(Ending::Failed(code::USAGE, sentence));
        }
    };
    let namespace = match args.userxattr {
        true => Namespace::User,
        false => Namespace::Trusted,
    };
    let conversion = Conversion::new(from.form(), to.form(), namespace);
    let usage = |error: Failure| Ending::Failed(code::USAGE, error.to_string());
    conversion.map(Some).map_err(usage)
}

/// One sentence that names the branch.
fn failed(args: &Args, failure: Failure) -> Ending {
    let sentence = match &failure {
        Failure::At { path, source } => {
            let path = text::path(&args.branch, path);
            let again = match (&args.copy_to, args.dry_run) {
                (None, false) => {
                    "; see to that, and run the command again: it goes on where it was"
                }
                (Some(_), _) | (None, true) => "",
            };
            format!("{path}: {source}{again}")
        }
        Failure::Setup(_) => failure.to_string(),
        Failure::SameForm(_)
        | Failure::IntoContainers
        | Failure::Refused(_)
        | Failure::Begun(_)
        | Failure::UnfinishedCopy
        | Failure::LostRecord
        | Failure::Stopped => format!("{}: {failure}", text::path(&args.branch, b"")),
    };
    Ending::Failed(code::FAILED, sentence)
}

/// Writes what a conversion tells.
struct Teller<'a> {
    args: &'a Args,
    out: io::BufWriter<io::StdoutLock<'static>>,
    written: io::Result<()>,
    progress: Progress,
}

impl<'a> Teller<'a> {
    fn new(args: &'a Args) -> Teller<'a> {
        let seen = io::stderr().is_terminal() && !args.quiet;
        Teller {
            args,
            out: io::BufWriter::new(io::stdout().lock()),
            written: Ok(()),
            progress: Progress::new("seen", seen),
        }
    }

    fn tell(&mut self, event: Event<'_>) -> ControlFlow<()> {
        match event {
            Event::Progress(objects) => self.progress.at(objects),
            Event::Noted(note) => {
                self.progress.clear();
                if self.is_told(note) {
                    let line = match self.args.json {
                        true => json::note(note),
                        false => text::note(&self.args.branch, note),
                    };
                    self.write(&line);
                }
            }
        }
        // Nothing but notes is written, and they come before any change.
        match self.written {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }

    fn is_told(&self, note: &Note) -> bool {
        let all = self.args.verbose || self.args.json;
        match note.kind.effect() {
            Effect::Refuses => !self.args.quiet,
            Effect::Drops => all || self.args.dry_run && !self.args.quiet,
            Effect::Converts => all,
        }
    }

    fn write(&mut self, line: &str) {
        if self.written.is_ok() {
            self.written = writeln!(self.out, "{line}");
        }
    }

    fn end(&mut self, summary: &Summary) -> Result<(), Ending> {
        if !self.args.quiet {
            let line = match self.args.json {
                true => json::summary(summary),
                false => text::summary(summary, self.args.dry_run),
            };
            self.write(&line);
        } else if summary.refused > 0 {
            let failure = Failure::Refused(*summary);
            let branch = text::path(&self.args.branch, b"");
            super::say(COMMAND, &format!("{branch}: {failure}"));
        }
        let written = std::mem::replace(&mut self.written, Ok(()));
        match written.and_then(|()| self.out.flush()) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                return Err(Ending::Told(code::CANCELLED));
            }
            Err(error) => {
                let sentence = format!("the notes cannot be written ({error}): see where they go");
                return Err(Ending::Failed(code::FAILED, sentence));
            }
        }
        match (self.args.dry_run, summary.refused) {
            (true, 1..) => Err(Ending::Told(code::REFUSED)),
            (true | false, _) => Ok(()),
        }
    }
}
