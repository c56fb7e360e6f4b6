//! Files whose data lies below, and does not.

use super::Kind;
use super::below::Below;
use super::report::{Attempt, Go, Run};
use super::walk::{Dir, Entry};
use crate::attr::FileKind;
use crate::dialect::{Redirect, is_metacopy_value};
use crate::error::Result;

impl Run<'_> {
    /// A file, as far as its data is concerned.
    pub(super) fn judge_data(&mut self, dir: &Dir, entry: &Entry<'_>) -> Result<Go> {
        if entry.attr.kind.is_dir() {
            return Ok(Go::Continue(()));
        }
        let (true, Some(mark)) = (entry.attr.kind == FileKind::Regular, &entry.marks.metacopy)
        else {
            return Ok(self.redirect_of_file(dir, entry));
        };
        let redirect = match entry.marks.redirect.as_deref().map(Redirect::parse) {
            None => None,
            Some(Ok(redirect)) => Some(redirect),
            Some(Err(_)) => {
                let detail = value_of(entry);
                return Ok(self.hopeless(Kind::RedirectMalformed, dir, entry, detail, WHERE));
            }
        };
        let layers = &self.check.layers;
        let name = entry.name.to_owned();
        let way = layers.way(dir.depth, &dir.below, name, redirect)?;
        let below = layers.search_data(way, !self.is_upper(dir.depth))?;
        Ok(match below {
            Below { unclear: true, .. } => Go::Continue(()),
            Below { found: None, .. } => {
                let wanted = match &entry.marks.redirect {
                    Some(value) => format!("wanted: {}", value.escape_ascii()),
                    None => "wanted: a file of the same name".to_owned(),
                };
                self.hopeless(Kind::MetacopyWithoutData, dir, entry, wanted, MISSING)
            }
            Below {
                found: Some(data), ..
            } if data.size != entry.attr.size => {
                let detail = format!("{} bytes, the data has {}", entry.attr.size, data.size);
                self.hopeless(Kind::MetacopySize, dir, entry, detail, OTHER)
            }
            Below { .. } if !is_metacopy_value(mark) => self.reset(dir, entry, mark),
            Below { .. } => Go::Continue(()),
        })
    }

    /// The value means nothing, but the data is there.
    fn reset(&mut self, dir: &Dir, entry: &Entry<'_>, mark: &[u8]) -> Go {
        let Some(dialect) = self.dialect(dir.depth) else {
            return Go::Continue(());
        };
        let (name, value) = dialect.metacopy_mark();
        let mut repair = || entry.object.set(name, value);
        let attempt = Attempt::Can(
            "gives the mark its usual value, as the data is there and has the right size",
            &mut repair,
        );
        let (kind, path) = (Kind::MetacopyMalformed, dir.path_of(entry.name));
        let detail = mark.escape_ascii().to_string();
        self.found(kind, dir.depth, path, detail, attempt)?;
        Go::Continue(())
    }

    /// Only files whose data lies below need a redirect.
    fn redirect_of_file(&mut self, dir: &Dir, entry: &Entry<'_>) -> Go {
        let Some(dialect) = self.dialect(dir.depth) else {
            return Go::Continue(());
        };
        if entry.marks.redirect.is_none() {
            return Go::Continue(());
        }
        let mut repair = || entry.object.unset(dialect.redirect_mark());
        let attempt = Attempt::Can("removes the redirect", &mut repair);
        let (kind, path) = (Kind::RedirectUnused, dir.path_of(entry.name));
        self.found(kind, dir.depth, path, value_of(entry), attempt)?;
        Go::Continue(())
    }

    fn hopeless(
        &mut self,
        kind: Kind,
        dir: &Dir,
        entry: &Entry<'_>,
        detail: String,
        why: &'static str,
    ) -> Go {
        let path = dir.path_of(entry.name);
        let attempt = Attempt::Cannot(why);
        self.found(kind, dir.depth, path, detail, attempt)?;
        Go::Continue(())
    }
}

const MISSING: &str =
    "the data is not in the layers: put it back where it is wanted, or remove the file";
const OTHER: &str =
    "which of the two is right cannot be known: put the data back, or copy the file anew";
const WHERE: &str = "where its data lies cannot be known: copy the file anew, or remove it";

fn value_of(entry: &Entry<'_>) -> String {
    let value = entry.marks.redirect.as_deref().unwrap_or_default();
    value.escape_ascii().to_string()
}
