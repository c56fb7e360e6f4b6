//! The index: copies by the handles of their originals.
//!
//! What the kernel makes of it when it mounts: `ovl_indexdir_cleanup` in
//! `fs/overlayfs/readdir.c`, `ovl_verify_index` in `namei.c` and
//! `ovl_get_nlink` in `inode.c`.

use std::ops::ControlFlow;

use super::layers::{Layer, Object};
use super::origin::{Led, led};
use super::report::{Attempt, Go, Run};
use super::{Check, Kind};
use crate::attr::Attr;
use crate::dialect::origin::{self, LinkCount, Side, Stored};
use crate::dialect::{Dialect, Marks};
use crate::error::{Error, Result};
use crate::handle::FileHandle;
use crate::layer::Removal;
use crate::name::{Name, NameBuf};

/// `INDEXDIR`: the name in the work directory.
pub(super) const INDEX: &[u8] = b"index";

const REMOVE: &str = "removes the entry, as a mount with index=on does";
const LOOK: &str = "what it is cannot be known: look at it, and move it away";
const ELSEWHERE: &str = "use the upper layer that this work directory belongs to, or remove the directory index if that is gone";

/// A fault of an entry.
struct Fault {
    kind: Kind,
    detail: String,
    repair: Repair,
}

/// What is to be done to an entry.
enum Repair {
    Remove,
    /// Set this mark.
    Set(&'static str, Vec<u8>, Vec<u8>),
    Nothing(&'static str),
}

impl Run<'_> {
    /// All entries. The index is used further only if it is this stack's.
    pub(super) fn whole_index(&mut self, index: Object) -> Go {
        let Some(upper) = self.upper() else {
            return Go::Continue(());
        };
        match belongs_to(&index, upper) {
            Ok(true) => {}
            Ok(false) => {
                let attempt = Attempt::Cannot(ELSEWHERE);
                let path = INDEX.to_vec();
                self.found_in_work(Kind::IndexOfOther, path, String::new(), attempt)?;
                return Go::Continue(());
            }
            Err(error) => return self.unreadable_in_work(INDEX.to_vec(), &error),
        }
        self.index = Some(index.clone());
        let mut faults = Vec::new();
        let mut go = Go::Continue(());
        let listed = index.node.entries(&mut |raw| {
            go = self.seen();
            match self.faults_in_index(&index, raw.name, upper) {
                Ok(found) => {
                    faults.extend(found.into_iter().map(|fault| (raw.name.to_owned(), fault)));
                }
                Err(error) if go.is_continue() => {
                    go = self.unreadable_in_work(entry_path(raw.name), &error);
                }
                Err(_) => {}
            }
            match go {
                ControlFlow::Continue(()) => ControlFlow::Continue(()),
                ControlFlow::Break(_) => ControlFlow::Break(()),
            }
        });
        go?;
        // After the listing: entries are removed.
        for (name, fault) in faults {
            self.tell_index(&index, &name, fault)?;
        }
        match listed {
            Ok(()) => Go::Continue(()),
            Err(error) => self.unreadable_in_work(INDEX.to_vec(), &error),
        }
    }

    fn tell_index(&mut self, index: &Object, name: &NameBuf, fault: Fault) -> Go {
        let check = self.check;
        let mut remove = || remove_entry(check, index, name);
        let mut set;
        let attempt = match &fault.repair {
            Repair::Remove => Attempt::Can(REMOVE, &mut remove),
            Repair::Set(what, mark, value) => {
                set = || match index.lookup(name)? {
                    Some((entry, _)) => entry.set(mark, value),
                    None => Ok(()),
                };
                Attempt::Can(what, &mut set)
            }
            Repair::Nothing(why) => Attempt::Cannot(why),
        };
        self.found_in_work(fault.kind, entry_path(name), fault.detail, attempt)?;
        Go::Continue(())
    }

    /// What is wrong with one entry: each fault that is not repaired together
    /// with one before.
    fn faults_in_index(&self, index: &Object, name: &Name, upper: &Layer) -> Result<Vec<Fault>> {
        let simple = |kind, repair| {
            Ok(vec![Fault {
                kind,
                detail: String::new(),
                repair,
            }])
        };
        if name.as_bytes().starts_with(b"#") {
            return simple(Kind::IndexTemporary, Repair::Remove);
        }
        let handle = match origin::parse_index_name(name) {
            Stored::Known(handle, _) => handle,
            Stored::Unknown | Stored::Invalid => {
                return simple(Kind::IndexName, Repair::Nothing(LOOK));
            }
        };
        let Some((entry, attr)) = index.lookup(name)? else {
            return Ok(Vec::new());
        };
        // Says that a handle leads nowhere any more.
        if upper.dialect.hides(&*entry.node, &attr, false)? {
            return Ok(Vec::new());
        }
        let marks = upper.dialect.marks_of(&*entry.node)?;
        match attr.kind.is_dir() {
            true => Ok(directory_fault(upper, &marks)?.into_iter().collect()),
            false => self.copy_faults(upper.dialect, &marks, &attr, &handle),
        }
    }

    /// A copy that is no directory: a further link of it.
    fn copy_faults(
        &self,
        dialect: Dialect,
        marks: &Marks,
        attr: &Attr,
        handle: &FileHandle,
    ) -> Result<Vec<Fault>> {
        let fault = |kind, detail: &str, repair| Fault {
            kind,
            detail: detail.to_owned(),
            repair,
        };
        let original = match led(self.check.layers.below_by_handle(0, handle))? {
            Led::Nowhere => {
                let detail = "its original is gone";
                return Ok(vec![fault(Kind::IndexOrphan, detail, Repair::Remove)]);
            }
            Led::Unknown => None,
            Led::To(original) if original.kind != attr.kind => {
                let detail = "its original is of another kind";
                return Ok(vec![fault(Kind::IndexMismatch, detail, Repair::Remove)]);
            }
            Led::To(original) => Some(original),
        };
        let count = original.and_then(|original| link_count_fault(dialect, marks, attr, &original));
        match marks.origin.as_deref().map(origin::parse) {
            Some(Stored::Known(noted, _)) if noted == *handle => {
                return Ok(count.into_iter().collect());
            }
            Some(Stored::Known(..)) => {
                return Ok(vec![fault(Kind::IndexMismatch, "", Repair::Remove)]);
            }
            Some(Stored::Unknown | Stored::Invalid) | None => {}
        }
        Ok(match (count, origin::to_value(handle, Side::Lower)) {
            // What goes needs no name.
            (Some(orphan), _) if matches!(orphan.repair, Repair::Remove) => {
                vec![fault(Kind::IndexUnnamed, &orphan.detail, Repair::Remove)]
            }
            (count, None) => count.into_iter().collect(),
            (count, Some(value)) => {
                let what = "notes the original that the name of the entry says";
                let repair = Repair::Set(what, dialect.origin_mark().to_vec(), value);
                let unnamed = fault(Kind::IndexUnnamed, "", repair);
                [unnamed].into_iter().chain(count).collect()
            }
        })
    }
}

fn remove_entry(check: &Check, index: &Object, name: &NameBuf) -> Result<()> {
    let Some((_, attr)) = index.lookup(name)? else {
        return Ok(());
    };
    if !attr.kind.is_dir() {
        return index.change()?.remove(name, Removal::NonDirectory, None);
    }
    match index.change()?.remove(name, Removal::Directory, None) {
        Err(Error::NotEmpty) => check.throw_away(index, name),
        outcome => outcome,
    }
}

fn entry_path(name: &Name) -> Vec<u8> {
    [INDEX, b"/", name.as_bytes()].concat()
}

/// Whether the index says that it belongs to another upper layer.
fn belongs_to(index: &Object, upper: &Layer) -> Result<bool> {
    let Some(value) = index.node.xattr(upper.dialect.upper_mark())? else {
        return Ok(true);
    };
    match (origin::parse(&value), upper.root.node.handle()?) {
        (Stored::Known(noted, _), Some(handle)) => Ok(noted == handle),
        (Stored::Known(..) | Stored::Unknown | Stored::Invalid, _) => Ok(true),
    }
}

/// A directory in the index points to one on the upper layer.
fn directory_fault(upper: &Layer, marks: &Marks) -> Result<Option<Fault>> {
    let orphan = |detail: &str| {
        Some(Fault {
            kind: Kind::IndexOrphan,
            detail: detail.to_owned(),
            repair: Repair::Remove,
        })
    };
    let handle = match marks.upper.as_deref().map(origin::parse) {
        Some(Stored::Known(handle, _)) => handle,
        Some(Stored::Unknown | Stored::Invalid) | None => {
            return Ok(orphan("it points to no directory"));
        }
    };
    Ok(match led(upper.by_handle(&handle))? {
        Led::Nowhere => orphan("its directory is gone"),
        Led::To(attr) if !attr.kind.is_dir() => orphan("what it points to is no directory"),
        Led::To(_) | Led::Unknown => None,
    })
}

/// The names that the union shows of a copy are those on the upper layer (all
/// links but the index's own) and those of the original that are not hidden.
fn link_count_fault(
    dialect: Dialect,
    marks: &Marks,
    copy: &Attr,
    original: &Attr,
) -> Option<Fault> {
    let links = |attr: &Attr| i64::try_from(attr.nlink).unwrap_or(i64::MAX);
    let (own, below) = (links(copy) - 1, links(original));
    let orphan = Fault {
        kind: Kind::IndexOrphan,
        detail: "none of its names is left".to_owned(),
        repair: Repair::Remove,
    };
    // The kernel does not count where the original has one name.
    if below == 1 {
        return (own == 0).then_some(orphan);
    }
    let stored = marks.link_count.as_deref();
    let counted = stored
        .and_then(LinkCount::parse)
        .map(|count| match count.side {
            Side::Upper => links(copy).saturating_add(count.difference),
            Side::Lower => below.saturating_add(count.difference),
        });
    let detail = match counted {
        Some(0) if own == 0 => return Some(orphan),
        Some(count) if count >= own.max(1) && count <= own.saturating_add(below) => return None,
        Some(count) => format!("{count}"),
        None => stored.unwrap_or(b"missing").escape_ascii().to_string(),
    };
    // The most it can be but for names that were linked anew: an entry that
    // counts too few would be removed with what it holds.
    let count = LinkCount {
        side: Side::Upper,
        difference: own.max(below) - links(copy),
    };
    Some(Fault {
        kind: Kind::IndexLinkCount,
        detail,
        repair: Repair::Set(
            "counts the names of the original, or those on the upper layer if they are more",
            dialect.link_count_mark().to_vec(),
            count.to_value(),
        ),
    })
}
