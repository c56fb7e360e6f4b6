//! The work directory, but for what is in the index.

use std::ops::ControlFlow;

use super::index::INDEX;
use super::layers::Object;
use super::report::{Attempt, Go, Run};
use super::{Consent, Kind};
use crate::error::Result;
use crate::name::{Name, NameBuf};

/// `OVL_WORKDIR_NAME`: where changes are prepared.
pub(super) const WORK: &[u8] = b"work";

/// Where features are noted with which others must not mount.
const INCOMPATIBLE: &[u8] = b"incompat";

const CLEAR: &str = "removes it, as the next mount does";
const END_VOLATILE: &str = "removes the note, so that the stack can be mounted again";
const NOT_ENDED: &str = "check the data first, and then remove the directory";
const OTHER_FEATURE: &str = "mount it with what made it";
const FIRST_VOLATILE: &str = "the note of a volatile mount must go first";

impl Run<'_> {
    /// All that lies there.
    pub(super) fn work_directory(&mut self) -> Go {
        let Some(workdir) = self.check.workdir() else {
            return Go::Continue(());
        };
        for name in self.names_in(workdir, b"")? {
            self.seen()?;
            let found = match workdir.lookup(&name) {
                Ok(Some((object, attr))) if attr.kind.is_dir() => Some(object),
                Ok(Some(_) | None) => None,
                Err(error) => {
                    self.unreadable_in_work(name.as_bytes().to_vec(), &error)?;
                    continue;
                }
            };
            match (name.as_bytes(), found) {
                (WORK, Some(work)) => self.work_area(&work)?,
                (INDEX, Some(index)) => self.whole_index(index)?,
                (path, _) => {
                    let attempt = Attempt::Cannot("look at it, and move it away");
                    let kind = match path {
                        WORK | INDEX => Kind::WorkNotDirectory,
                        _ => Kind::WorkForeign,
                    };
                    self.found_in_work(kind, path.to_vec(), String::new(), attempt)?;
                }
            }
        }
        Go::Continue(())
    }

    /// Where changes are prepared.
    fn work_area(&mut self, work: &Object) -> Go {
        let names = self.names_in(work, WORK)?;
        let features = match self.features(work) {
            Ok(features) => features,
            Err(error) => return self.unreadable_in_work(incompatible(), &error),
        };
        let noted = !features.is_empty();
        let ended = match noted {
            true => self.incompatible(work, &features)?,
            false => true,
        };
        for name in names {
            self.seen()?;
            if noted && name.as_bytes() == INCOMPATIBLE {
                continue;
            }
            let storage = self.storage;
            let mut clear = || storage.map_or(Ok(()), |storage| storage.clear_work());
            let attempt = match ended {
                true => Attempt::Can(CLEAR, &mut clear),
                false => Attempt::Cannot(FIRST_VOLATILE),
            };
            let path = [WORK, b"/", name.as_bytes()].concat();
            self.found_in_work(Kind::WorkLeftover, path, String::new(), attempt)?;
        }
        Go::Continue(())
    }

    /// A note that the data may be damaged; says whether it is gone, or would
    /// be by a repair.
    fn incompatible(&mut self, work: &Object, features: &[NameBuf]) -> Go<bool> {
        let path = incompatible();
        let volatile = features.iter().all(|name| name.as_bytes() == b"volatile");
        let check = self.check;
        let mut end = || check.throw_away(work, Name::new(INCOMPATIBLE)?);
        let may_end = volatile && check.settings.accept_volatile;
        let attempt = match (volatile, may_end) {
            (_, true) => Attempt::Can(END_VOLATILE, &mut end),
            (true, false) => Attempt::May(Consent::Volatile, NOT_ENDED),
            (false, false) => Attempt::Cannot(OTHER_FEATURE),
        };
        let names = features.iter().map(|name| name.to_string());
        let detail = names.collect::<Vec<_>>().join(", ");
        let ended = self.found_in_work(Kind::WorkVolatile, path, detail, attempt)?;
        Go::Continue(ended || may_end && self.storage.is_none())
    }

    fn features(&self, work: &Object) -> Result<Vec<NameBuf>> {
        match work.lookup(Name::new(INCOMPATIBLE)?)? {
            Some((incompatible, attr)) if attr.kind.is_dir() => list(&incompatible),
            // A file of that name is litter as any other.
            Some(_) | None => Ok(Vec::new()),
        }
    }

    fn names_in(&mut self, dir: &Object, path: &[u8]) -> Go<Vec<NameBuf>> {
        match list(dir) {
            Ok(names) => Go::Continue(names),
            Err(error) => {
                self.unreadable_in_work(path.to_vec(), &error)?;
                Go::Continue(Vec::new())
            }
        }
    }
}

fn incompatible() -> Vec<u8> {
    [WORK, b"/", INCOMPATIBLE].concat()
}

fn list(dir: &Object) -> Result<Vec<NameBuf>> {
    let mut names = Vec::new();
    dir.node.entries(&mut |entry| {
        names.push(entry.name.to_owned());
        ControlFlow::Continue(())
    })?;
    // In an order that does not depend on the filesystem.
    names.sort();
    Ok(names)
}
