//! What copies say of their originals.

use super::Kind;
use super::layers::Object;
use super::report::{Attempt, Go, Run};
use super::walk::{Dir, Entry, Tally};
use crate::attr::Attr;
use crate::dialect::origin::{self, Side, Stored};
use crate::error::{Errno, Result};
use crate::handle::FileHandle;

/// What a handle leads to.
pub(super) enum Led {
    To(Attr),
    /// It is gone.
    Nowhere,
    /// This process may not ask.
    Unknown,
}

pub(super) fn led(answer: Result<Option<Attr>>) -> Result<Led> {
    match answer {
        Ok(Some(attr)) => Ok(Led::To(attr)),
        Ok(None) => Ok(Led::Nowhere),
        Err(error) if error.is(Errno::PERM) => Ok(Led::Unknown),
        Err(error) => Err(error),
    }
}

const FORGET: &str = "removes the origin: the object is one of its own, as it shows already";

impl Run<'_> {
    /// Only the upper layer's count.
    pub(super) fn judge_origin(
        &mut self,
        dir: &Dir,
        entry: &Entry<'_>,
        tally: &mut Tally,
    ) -> Result<Go> {
        if !self.is_upper(dir.depth) {
            return Ok(Go::Continue(()));
        }
        tally.may_be_copies |= entry.attr.kind.is_dir();
        let Some(value) = &entry.marks.origin else {
            return Ok(Go::Continue(()));
        };
        let fault = match origin::parse(value) {
            Stored::Unknown => None,
            Stored::Invalid => Some((Kind::OriginInvalid, String::new())),
            Stored::Known(handle, _) => self.fault_of(dir, entry, &handle)?,
        };
        let (Some((kind, detail)), Some(dialect)) = (fault, self.dialect(dir.depth)) else {
            tally.may_be_copies = true;
            tally.copies |= matches!(origin::parse(value), Stored::Known(..));
            return Ok(Go::Continue(()));
        };
        let mut repair = || entry.object.unset(dialect.origin_mark());
        let attempt = match (kind, entry.attr.kind.is_dir()) {
            (Kind::IndexBroken, true) => Attempt::Cannot(
                "which of two directories the entry belongs to cannot be known: mount with nfs_export=off, or remove one of them",
            ),
            (_, true | false) => Attempt::Can(FORGET, &mut repair),
        };
        let path = dir.path_of(entry.name);
        let told = self.found(kind, dir.depth, path, detail, attempt);
        // What keeps its origin keeps the directory's mark.
        Ok(told.map_continue(|repaired| tally.may_be_copies |= !repaired))
    }

    /// What is wrong with a known origin.
    fn fault_of(
        &self,
        dir: &Dir,
        entry: &Entry<'_>,
        handle: &FileHandle,
    ) -> Result<Option<(Kind, String)>> {
        let layers = &self.check.layers;
        match led(layers.below_by_handle(dir.depth, handle))? {
            Led::Unknown => return Ok(None),
            Led::Nowhere => return Ok(Some((Kind::OriginStale, "it is gone".to_owned()))),
            Led::To(attr) if attr.kind != entry.attr.kind => {
                let detail = format!("it is a {:?} now", attr.kind).to_lowercase();
                return Ok(Some((Kind::OriginStale, detail)));
            }
            Led::To(_) => {}
        }
        let Some((indexed, attr)) = self.indexed(handle)? else {
            return Ok(None);
        };
        let same = match entry.attr.kind.is_dir() {
            true => self.points_to(&indexed, &entry.object)?,
            false => (attr.dev, attr.ino) == (entry.attr.dev, entry.attr.ino),
        };
        Ok((!same).then(|| (Kind::IndexBroken, String::new())))
    }

    /// The entry of the index for copies of an object.
    pub(super) fn indexed(&self, handle: &FileHandle) -> Result<Option<(Object, Attr)>> {
        match (&self.index, origin::index_name(handle)) {
            (Some(index), Some(name)) => index.lookup(&name),
            (Some(_) | None, _) => Ok(None),
        }
    }

    /// Whether a directory's entry in the index points to `object`.
    fn points_to(&self, indexed: &Object, object: &Object) -> Result<bool> {
        let Some(dialect) = self.dialect(0) else {
            return Ok(true);
        };
        let value = indexed.node.xattr(dialect.upper_mark())?;
        let (Some(value), Some(handle)) = (value, object.node.handle()?) else {
            return Ok(true);
        };
        Ok(origin::parse(&value) == Stored::Known(handle, Side::Upper))
    }
}
