//! What a branch may be used for: `ro+wh`.

use std::collections::BTreeSet;
use std::fmt;

/// How a branch may be accessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// `rw`
    ReadWrite,
    /// `ro`
    ReadOnly,
    /// `rr`: its filesystem itself cannot be written, by nobody.
    RealReadOnly,
}

impl Access {
    const ALL: [Access; 3] = [Access::ReadWrite, Access::ReadOnly, Access::RealReadOnly];

    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Access::ReadWrite => "rw",
            Access::ReadOnly => "ro",
            Access::RealReadOnly => "rr",
        }
    }
}

/// What more is said of a branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Attribute {
    /// `wh`
    Whiteouts,
    /// `nolwh`
    UnlinkedWhiteouts,
    /// `unpin`
    Unpin,
    /// `aufs`
    OfAufs,
    /// `overlay`
    OfOverlay,
}

/// On which branches an attribute has a meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fits {
    /// On all.
    Any,
    /// On `rw`.
    Writable,
    /// On `ro` and `rr`.
    ReadOnly,
}

impl Fits {
    fn on(self, access: Access) -> bool {
        match (self, access) {
            (Fits::Any, _) => true,
            (Fits::Writable, access) => access == Access::ReadWrite,
            (Fits::ReadOnly, access) => access != Access::ReadWrite,
        }
    }

    /// As the documentation has it.
    pub fn words(self) -> &'static str {
        match self {
            Fits::Any => "all",
            Fits::Writable => "`rw`",
            Fits::ReadOnly => "`ro`, `rr`",
        }
    }
}

/// One attribute.
#[derive(Debug)]
pub struct AttributeRow {
    /// As it is written.
    pub word: &'static str,
    /// What it stands for; nothing if it is refused.
    pub attributes: &'static [Attribute],
    /// Where it fits.
    pub fits: Fits,
    /// What it does.
    pub what: &'static str,
    /// What becomes of it here.
    pub here: &'static str,
}

const WORKS: &str = "works";
const REFUSED: &str = "refused: ";
const WHEN_CHANGED: &str = "refused: a file is copied when it is changed: leave it out";
const COPIES_ALL: &str = "refused: a copy takes over what its branch can store, but never without \
                          what permissions depend on: leave it out";

const fn row(
    word: &'static str,
    attributes: &'static [Attribute],
    fits: Fits,
    what: &'static str,
    here: &'static str,
) -> AttributeRow {
    AttributeRow {
        word,
        attributes,
        fits,
        what,
        here,
    }
}

/// All attributes, in the order in which they are written.
pub const ATTRIBUTES: &[AttributeRow] = &[
    row(
        "wh",
        &[Attribute::Whiteouts],
        Fits::ReadOnly,
        "the branch may hold whiteouts, which count; without it nobody looks for them",
        WORKS,
    ),
    row(
        "nolwh",
        &[Attribute::UnlinkedWhiteouts],
        Fits::Writable,
        "each whiteout is a file of its own, not a hard link of one",
        WORKS,
    ),
    row(
        "coo_reg",
        &[],
        Fits::Any,
        "opening a regular file copies it to the nearest writable branch above",
        WHEN_CHANGED,
    ),
    row(
        "coo_all",
        &[],
        Fits::Any,
        "the same for regular files and directories",
        WHEN_CHANGED,
    ),
    row(
        "moo",
        &[],
        Fits::Writable,
        "as `coo_reg`, and the original is removed",
        WHEN_CHANGED,
    ),
    row(
        "fhsm",
        &[],
        Fits::Any,
        "the branch is one level of a hierarchy of storage, which a program of its own manages",
        "refused: there is no such program (`aufs_fhsm(5)`): leave it out",
    ),
    row(
        "unpin",
        &[Attribute::Unpin],
        Fits::Any,
        "the top directory of the branch may be renamed; no effect since Linux 3.18",
        "accepted: so it is in any case",
    ),
    row(
        "aufs",
        &[Attribute::OfAufs],
        Fits::ReadOnly,
        "not in aufs: the marks are those of aufs, and nothing else is a mark",
        WORKS,
    ),
    row(
        "overlay",
        &[Attribute::OfOverlay],
        Fits::ReadOnly,
        "not in aufs: the marks are those of overlayfs, and names that begin with `.wh.` are none",
        WORKS,
    ),
    row("icex", &[], Fits::Any, "all of the following", COPIES_ALL),
    row(
        "icexsec",
        &[],
        Fits::Any,
        "a copy may fail to take over attributes `security.*`",
        COPIES_ALL,
    ),
    row(
        "icexsys",
        &[],
        Fits::Any,
        "the same for `system.*` (ACLs)",
        COPIES_ALL,
    ),
    row(
        "icextr",
        &[],
        Fits::Any,
        "the same for `trusted.*`",
        COPIES_ALL,
    ),
    row(
        "icexusr",
        &[],
        Fits::Any,
        "the same for `user.*`",
        COPIES_ALL,
    ),
    row(
        "icexoth",
        &[],
        Fits::Any,
        "the same for all others",
        COPIES_ALL,
    ),
];

/// An access with its attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    access: Access,
    attributes: BTreeSet<Attribute>,
}

impl From<Access> for Permission {
    fn from(access: Access) -> Permission {
        Permission {
            access,
            attributes: BTreeSet::new(),
        }
    }
}

impl Permission {
    /// How the branch may be accessed.
    pub fn access(&self) -> Access {
        self.access
    }

    /// Whether the attribute is set.
    pub fn has(&self, attribute: Attribute) -> bool {
        self.attributes.contains(&attribute)
    }

    /// The same with whose marks the branch has as `before` said it, unless it
    /// is said anew, or is not to be said of such an access.
    pub fn with_marks_of(mut self, before: &Permission) -> Permission {
        let marks = [Attribute::OfAufs, Attribute::OfOverlay];
        if self.access != Access::ReadWrite && !marks.iter().any(|mark| self.has(*mark)) {
            let said = marks.into_iter().filter(|mark| before.has(*mark));
            self.attributes.extend(said);
        }
        self
    }

    /// What it is where nothing can be written: whiteouts of a branch that
    /// could be count.
    pub fn read_only(self) -> Permission {
        match self.access {
            Access::ReadOnly | Access::RealReadOnly => self,
            Access::ReadWrite => Permission {
                access: Access::ReadOnly,
                attributes: BTreeSet::from([Attribute::Whiteouts]),
            },
        }
    }

    /// `rw`, `ro+wh`, `rr+wh+icex`; else why not, and what to write.
    pub(super) fn read(text: &str) -> Result<Permission, String> {
        let mut words = text.split('+');
        // There is always a first part.
        let word = words.next().unwrap_or_default();
        let access = Access::ALL.into_iter().find(|access| access.word() == word);
        let access = access.ok_or_else(|| {
            format!(
                r"{word:?} is no permission: write rw, ro or rr ('\=' is an equals sign of a directory)"
            )
        })?;
        let mut permission = Permission::from(access);
        for word in words {
            permission.add(word)?;
        }
        Ok(permission)
    }

    fn add(&mut self, word: &str) -> Result<(), String> {
        let row = ATTRIBUTES.iter().find(|row| row.word == word);
        let row = row.ok_or_else(|| {
            let words: Vec<&str> = ATTRIBUTES.iter().map(|row| row.word).collect();
            let words = words.join(", ");
            format!("{word:?} is no attribute of a branch: there are {words}")
        })?;
        if !row.fits.on(self.access) {
            let access = self.access.word();
            let where_to = match row.fits {
                Fits::Any | Fits::Writable => "rw",
                Fits::ReadOnly => "ro and rr",
            };
            return Err(format!(
                "{word} has no meaning on a branch that is {access}, only on {where_to}: leave it out"
            ));
        }
        if let Some(why) = row.here.strip_prefix(REFUSED) {
            return Err(format!("{word} is not supported: {why}"));
        }
        for attribute in row.attributes {
            self.attributes.insert(*attribute);
        }
        match self.has(Attribute::OfAufs) && self.has(Attribute::OfOverlay) {
            true => Err(
                "aufs and overlay exclude each other: leave both out, and the marks of both count"
                    .to_owned(),
            ),
            false => Ok(()),
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.access.word())?;
        let mut left = self.attributes.clone();
        for row in ATTRIBUTES {
            if !row.attributes.is_empty()
                && row
                    .attributes
                    .iter()
                    .all(|attribute| left.contains(attribute))
            {
                left.retain(|attribute| !row.attributes.contains(attribute));
                write!(f, "+{}", row.word)?;
            }
        }
        Ok(())
    }
}
