//! A look at a whole branch before anything is changed: what the new form
//! cannot express, what it has no place for, what will be rewritten.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::failure::Done;
use super::form::{Conversion, Form, Target};
use super::walk::{Dir, list, walk};
use super::{Event, Failure, Kind, Note, Summary};
use crate::attr::{Attr, FileKind};
use crate::dialect::conversion::{
    AUFS_BASE, AUFS_NAME_MAX, AUFS_ORPHANS, AUFS_PSEUDO_LINKS, CONVERSION, opaque_entry,
};
use crate::dialect::{Meaning, Opacity};
use crate::layer::Node;
use crate::name::{Name, NameBuf};

/// Follows a prefix of marks in the name of what a union above stored.
const ESCAPE: &[u8] = b"overlay.";

pub(super) struct Survey<'a> {
    conversion: Conversion,
    each: &'a mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    summary: Summary,
    /// Whether whiteouts may be files, says the root.
    file_whiteouts: bool,
    /// The filesystem of the root.
    dev: u64,
}

type Place = Dir<Arc<dyn Node>>;

/// Looks the branch over; changes nothing.
pub(super) fn survey(
    conversion: Conversion,
    root: &Arc<dyn Node>,
    each: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
) -> Done<Summary> {
    let mut survey = Survey {
        conversion,
        each,
        summary: Summary::default(),
        file_whiteouts: false,
        dev: 0,
    };
    walk(Arc::clone(root), &mut |dir, below| {
        survey.directory(dir, below)
    })?;
    Ok(survey.summary)
}

impl Survey<'_> {
    fn directory(&mut self, dir: &Place, below: &mut Vec<NameBuf>) -> Done<()> {
        let source = self.conversion.source();
        let opacity = dir.at(source.opacity(&*dir.node))?;
        let attr = dir.at(dir.node.attr())?;
        if dir.is_root() {
            self.dev = attr.dev;
            self.file_whiteouts = opacity == Opacity::HoldsFileWhiteouts;
        }
        match (opacity, dir.is_root()) {
            (Opacity::Opaque, true) => self.note(Kind::RootOpaque, dir.path(), "")?,
            (Opacity::Opaque, false) => self.note(Kind::Opaque, dir.path(), "")?,
            (Opacity::Transparent | Opacity::HoldsFileWhiteouts, _) => {}
        }
        self.attributes(dir.path(), &*dir.node, opacity)?;
        let marked = self.file_whiteouts && opacity == Opacity::HoldsFileWhiteouts;
        for (name, _) in dir.at(list(&*dir.node))? {
            self.seen()?;
            match source.meaning(&name) {
                Meaning::Private => self.private(dir, &name)?,
                Meaning::Hides(victim) => self.whiteout_by_name(dir, &name, victim, opacity)?,
                Meaning::Entry => self.entry(dir, &name, opacity, marked, below)?,
            }
        }
        Ok(())
    }

    /// One of AuFS' own names, or a temporary.
    fn private(&mut self, dir: &Place, name: &Name) -> Done<()> {
        let opaque = opaque_entry();
        if name == opaque || self.conversion.to == Target::Aufs {
            return Ok(());
        }
        let path = dir.path_of(name);
        let kind = match (dir.is_root(), name.as_bytes()) {
            (true, AUFS_BASE | CONVERSION) => return Ok(()),
            (true, AUFS_PSEUDO_LINKS) => Kind::PseudoLinks,
            (true, AUFS_ORPHANS) => Kind::Orphan,
            (true | false, _) => return self.note(Kind::Temporary, path, ""),
        };
        let found = dir.at_entry(name, dir.node.lookup(name))?;
        let Some(found) = found.filter(|found| found.attr.kind.is_dir()) else {
            return Ok(());
        };
        match dir.at_entry(name, list(&*found.node))?.len() {
            0 => Ok(()),
            count => self.note(kind, path, &format!("entries: {count}")),
        }
    }

    fn whiteout_by_name(
        &mut self,
        dir: &Place,
        name: &Name,
        victim: &Name,
        opacity: Opacity,
    ) -> Done<()> {
        let path = dir.path_of(name);
        let Some(attr) = dir.at_entry(name, dir.node.attr_of(name))? else {
            return Ok(());
        };
        if attr.kind.is_dir() {
            return self.note(Kind::WhiteoutDirectory, path, "");
        }
        if self.conversion.to == Target::Aufs && victim.as_bytes().len() > AUFS_NAME_MAX {
            return self.note(Kind::LongName, path, "");
        }
        if self.conversion.to == Target::Overlay && !is_plain(&attr) {
            self.note(Kind::WhiteoutContent, path.clone(), "")?;
        }
        let source = self.conversion.source();
        match dir.at_entry(victim, dir.node.attr_of(victim))? {
            Some(attr) if attr.kind.is_dir() => self.note(Kind::Opaque, dir.path_of(victim), ""),
            // A device there is noted by itself.
            Some(attr) if dir.at(source.hides(&*dir.node, &attr, false))? => Ok(()),
            Some(_) => self.note(Kind::WhiteoutBeside, path, ""),
            None if opacity == Opacity::Opaque && self.conversion.to == Target::Overlay => {
                self.note(Kind::WhiteoutInOpaque, path, "")
            }
            None if self.conversion.to == Target::Aufs => Ok(()),
            None => self.note(Kind::Whiteout, path, ""),
        }
    }

    fn entry(
        &mut self,
        dir: &Place,
        name: &Name,
        opacity: Opacity,
        marked: bool,
        below: &mut Vec<NameBuf>,
    ) -> Done<()> {
        let path = dir.path_of(name);
        let Some(found) = dir.at_entry(name, dir.node.lookup(name))? else {
            return Ok(());
        };
        let (node, attr) = (&*found.node, found.attr);
        if attr.dev != self.dev {
            return self.note(Kind::OtherFilesystem, path, "");
        }
        if self.conversion.to == Target::Aufs {
            if dir.is_root() && name.as_bytes() == CONVERSION {
                return Ok(());
            }
            // Only where such names are none of the form's marks.
            if name.as_bytes().starts_with(b".wh.") {
                return self.note(Kind::ReservedName, path, "");
            }
            if name.as_bytes().len() > AUFS_NAME_MAX {
                return self.note(Kind::LongName, path, "");
            }
        }
        let hides = dir.at_entry(name, self.conversion.source().hides(node, &attr, marked))?;
        if hides {
            return match (self.conversion.from, self.conversion.to, opacity) {
                (Form::Aufs, _, _) => self.note(Kind::DeviceWhiteout, path, ""),
                (_, Target::Overlay, Opacity::Opaque) => {
                    self.note(Kind::WhiteoutInOpaque, path, "")
                }
                // It has that form already.
                (_, Target::Overlay, _) => Ok(()),
                (_, Target::Aufs, _) => self.note(Kind::Whiteout, path, ""),
            };
        }
        match attr.kind.is_dir() {
            // Its attributes are looked at when its turn comes.
            true => below.push(name.to_owned()),
            false => self.attributes(path, node, Opacity::Transparent)?,
        }
        Ok(())
    }

    /// The attributes of an object that is none of the marks.
    fn attributes(&mut self, path: Vec<u8>, node: &dyn Node, opacity: Opacity) -> Done<()> {
        let namespace = self.conversion.namespace;
        let names = node.xattr_names().map_err(|source| Failure::At {
            path: path.clone(),
            source,
        })?;
        for name in names {
            let kind = if let Some(mark) = name.strip_prefix(namespace.prefix()) {
                if name == namespace.conversion_memory() {
                    (self.conversion.from == Form::Aufs).then_some(Kind::OverlayAttribute)
                } else {
                    self.mark(mark, opacity)
                }
            } else {
                let mut others = namespace.other_prefixes();
                let mark = others.find_map(|prefix| name.strip_prefix(prefix));
                mark.and_then(|mark| self.other_mark(mark))
            };
            if let Some(kind) = kind {
                let detail = name.escape_ascii().to_string();
                self.note(kind, path.clone(), &detail)?;
            }
        }
        Ok(())
    }

    /// What becomes of an attribute that would be a mark in another namespace.
    fn other_mark(&self, mark: &[u8]) -> Option<Kind> {
        match (self.conversion.from, mark) {
            (Form::Containers, b"opaque") => None,
            (Form::Containers, mark) if mark.starts_with(ESCAPE) => Some(Kind::EscapedAttribute),
            (Form::Containers, _) => Some(Kind::OtherMark),
            // Anybody's, but it would count while the branch is half-way.
            (Form::Aufs | Form::Overlay, b"opaque") => Some(Kind::OverlayAttribute),
            (Form::Aufs | Form::Overlay, _) => None,
        }
    }

    /// What becomes of a mark in the namespace that counts.
    fn mark(&self, mark: &[u8], opacity: Opacity) -> Option<Kind> {
        match (self.conversion.from, self.conversion.to) {
            (Form::Aufs, _) => return Some(Kind::OverlayAttribute),
            (Form::Containers, Target::Overlay) => return None,
            (Form::Overlay | Form::Containers, Target::Aufs | Target::Overlay) => {}
        }
        match mark {
            b"opaque" => (opacity == Opacity::Transparent).then_some(Kind::OtherMark),
            // Nothing of it lies elsewhere then.
            b"redirect" if opacity == Opacity::Opaque => Some(Kind::OtherMark),
            b"redirect" => Some(Kind::Redirect),
            b"metacopy" => Some(Kind::Metacopy),
            b"origin" => Some(Kind::Origin),
            b"impure" => Some(Kind::Impure),
            b"nlink" => Some(Kind::LinkCount),
            b"protattr" => Some(Kind::Protection),
            b"uuid" | b"upper" => Some(Kind::Identity),
            mark if mark.starts_with(ESCAPE) => Some(Kind::EscapedAttribute),
            _ => Some(Kind::OtherMark),
        }
    }

    fn note(&mut self, kind: Kind, path: Vec<u8>, detail: &str) -> Done<()> {
        self.summary.count(kind);
        let note = Note {
            kind,
            path,
            detail: detail.to_owned(),
        };
        self.tell(Event::Noted(&note))
    }

    fn seen(&mut self) -> Done<()> {
        self.summary.objects += 1;
        self.tell(Event::Progress(self.summary.objects))
    }

    fn tell(&mut self, event: Event<'_>) -> Done<()> {
        match (self.each)(event) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Failure::Stopped),
        }
    }
}

/// Whether there is no more to a whiteout than its name.
pub(super) fn is_plain(attr: &Attr) -> bool {
    attr.kind == FileKind::Regular && attr.size == 0
}
