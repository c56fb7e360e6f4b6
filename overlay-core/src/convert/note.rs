//! What a look at a branch tells: what is in the way, what gets lost, and what
//! will be rewritten.

use std::fmt;

/// What a note means for the conversion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The new form cannot express it: nothing is converted.
    Refuses,
    /// It has no place in the new form, and goes.
    Drops,
    /// It gets the new form's looks.
    Converts,
}

impl Effect {
    /// One word, as it is shown.
    pub fn name(self) -> &'static str {
        match self {
            Effect::Refuses => "refused",
            Effect::Drops => "dropped",
            Effect::Converts => "converted",
        }
    }
}

/// What was noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "`Kind::meaning` says it")]
pub enum Kind {
    PseudoLinks,
    RootOpaque,
    WhiteoutDirectory,
    DeviceWhiteout,
    OverlayAttribute,
    EscapedAttribute,
    Redirect,
    Metacopy,
    ReservedName,
    LongName,
    OtherFilesystem,
    Origin,
    Impure,
    LinkCount,
    Protection,
    Identity,
    OtherMark,
    WhiteoutBeside,
    WhiteoutInOpaque,
    WhiteoutContent,
    Temporary,
    Orphan,
    Whiteout,
    Opaque,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 24] = [
        Kind::PseudoLinks,
        Kind::RootOpaque,
        Kind::WhiteoutDirectory,
        Kind::DeviceWhiteout,
        Kind::OverlayAttribute,
        Kind::EscapedAttribute,
        Kind::Redirect,
        Kind::Metacopy,
        Kind::ReservedName,
        Kind::LongName,
        Kind::OtherFilesystem,
        Kind::Origin,
        Kind::Impure,
        Kind::LinkCount,
        Kind::Protection,
        Kind::Identity,
        Kind::OtherMark,
        Kind::WhiteoutBeside,
        Kind::WhiteoutInOpaque,
        Kind::WhiteoutContent,
        Kind::Temporary,
        Kind::Orphan,
        Kind::Whiteout,
        Kind::Opaque,
    ];

    fn row(self) -> (&'static str, Effect, &'static str, &'static str) {
        use Effect::{Converts, Drops, Refuses};
        match self {
            Kind::PseudoLinks => (
                "pseudo-links",
                Refuses,
                "files with names on several branches are linked by what lies here, and would be separate files",
                "flush them (ufs plink flush BRANCH LOWER..., or auplink for those that AuFS made), or empty the directory if they may be separate",
            ),
            Kind::RootOpaque => (
                "root-opaque",
                Refuses,
                "the root hides all branches below, which only the list of branches can say in the new form",
                "remove the mark, and leave the branches below out of the stack",
            ),
            Kind::WhiteoutDirectory => (
                "whiteout-directory",
                Refuses,
                "a directory is named as a whiteout, and would go with all in it",
                "move it away, and make an empty file of that name",
            ),
            Kind::DeviceWhiteout => (
                "device-whiteout",
                Refuses,
                "a character device 0:0, which OverlayFS takes for a whiteout",
                "remove it",
            ),
            Kind::OverlayAttribute => (
                "overlay-attribute",
                Refuses,
                "it has an attribute that OverlayFS or container tools take for a mark",
                "remove the attribute (setfattr -x)",
            ),
            Kind::EscapedAttribute => (
                "escaped-attribute",
                Refuses,
                "it has an attribute of a union stacked on this one, which has this name in no other form",
                "convert what is stacked on it first, or remove the attribute (setfattr -x)",
            ),
            Kind::Redirect => (
                "redirect",
                Refuses,
                "it was renamed, and its lower part lies elsewhere",
                "copy the directory through the union (cp -a), and remove the renamed one",
            ),
            Kind::Metacopy => (
                "metacopy",
                Refuses,
                "its data lies on a branch below",
                "mount the stack, and open the file for writing there: its data follows",
            ),
            Kind::ReservedName => (
                "reserved-name",
                Refuses,
                "AuFS takes names that begin with .wh. for its own",
                "rename it",
            ),
            Kind::LongName => (
                "long-name",
                Refuses,
                "AuFS takes no names of more than 242 bytes",
                "rename it",
            ),
            Kind::OtherFilesystem => (
                "other-filesystem",
                Refuses,
                "another filesystem or subvolume begins here",
                "unmount it, or move its files here",
            ),
            Kind::Origin => (
                "origin",
                Drops,
                "it says of what this is a copy: inode numbers may change",
                "",
            ),
            Kind::Impure => (
                "impure",
                Drops,
                "it says that there are copies in the directory",
                "",
            ),
            Kind::LinkCount => (
                "link-count",
                Drops,
                "it is in the index: its link count will be that of this branch alone",
                "",
            ),
            Kind::Protection => (
                "protection",
                Drops,
                "it is append-only or immutable in the union, and will not be",
                "",
            ),
            Kind::Identity => (
                "identity",
                Drops,
                "it gives the union's filesystem an identity",
                "",
            ),
            Kind::OtherMark => (
                "other-mark",
                Drops,
                "a mark that has no effect, or none that is known",
                "",
            ),
            Kind::WhiteoutBeside => (
                "whiteout-beside",
                Drops,
                "a whiteout of a name that has an object here, which hides the same",
                "",
            ),
            Kind::WhiteoutInOpaque => (
                "whiteout-in-opaque",
                Drops,
                "a whiteout in a directory that is opaque, where it hides nothing",
                "",
            ),
            Kind::WhiteoutContent => (
                "whiteout-content",
                Drops,
                "a whiteout that is no empty file: what it holds goes",
                "",
            ),
            Kind::Temporary => (
                "temporary",
                Drops,
                "something unfinished, which no union shows",
                "",
            ),
            Kind::Orphan => (
                "orphan",
                Drops,
                "it was removed while it was open, and no union shows it",
                "",
            ),
            Kind::Whiteout => ("whiteout", Converts, "a whiteout", ""),
            Kind::Opaque => ("opaque", Converts, "an opaque directory", ""),
        }
    }

    /// A short name that does not change.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// What it means for the conversion.
    pub fn effect(self) -> Effect {
        self.row().1
    }

    /// What it is, for a person.
    pub fn meaning(self) -> &'static str {
        self.row().2
    }

    /// What to do about it; empty where there is nothing to be done.
    pub fn advice(self) -> &'static str {
        self.row().3
    }
}

/// One thing on a branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// What it is.
    pub kind: Kind,
    /// Where, from the root of the branch; empty for that itself.
    pub path: Vec<u8>,
    /// What is particular about this one, e.g. an attribute; may be empty.
    pub detail: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}: {}", self.path.escape_ascii(), self.kind.meaning())?;
        match &*self.detail {
            "" => Ok(()),
            detail => write!(f, " ({detail})"),
        }
    }
}

/// What a running conversion tells.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// Something was noted, before anything is changed.
    Noted(&'a Note),
    /// It is under way, and has seen so many objects.
    Progress(u64),
}

/// What it comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Objects seen.
    pub objects: u64,
    /// Notes that refuse the conversion.
    pub refused: u64,
    /// Notes of what gets lost.
    pub dropped: u64,
    /// Whiteouts that get the new form.
    pub whiteouts: u64,
    /// Opaque directories that do.
    pub opaque: u64,
    /// Whether an earlier run was finished. Its notes are not told again.
    pub resumed: bool,
}

impl Summary {
    pub(super) fn count(&mut self, kind: Kind) {
        match kind.effect() {
            Effect::Refuses => self.refused += 1,
            Effect::Drops => self.dropped += 1,
            Effect::Converts if kind == Kind::Opaque => self.opaque += 1,
            Effect::Converts => self.whiteouts += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_refuses_says_what_to_do() {
        for kind in Kind::ALL {
            let refuses = kind.effect() == Effect::Refuses;
            assert_eq!(refuses, !kind.advice().is_empty(), "{}", kind.name());
        }
    }
}
