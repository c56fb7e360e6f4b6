//! What one directory of a branch says about a name: all its marks together.

use super::names::Meaning;
use super::{Dialect, names};
use crate::attr::Attr;
use crate::error::Result;
use crate::layer::Node;
use crate::name::{Name, NameBuf};

/// What one directory of a branch says about a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Says {
    /// Nothing: the branches below are to be asked.
    Nothing,
    /// That there is nothing by this name, whatever the branches below have.
    Hides,
    /// What it stores there.
    Shows,
    /// What it stores there, and that it hides what the branches below have.
    ShowsAlone,
}

impl Dialect {
    /// What a stored name means.
    pub fn meaning(self, name: &Name) -> Meaning<'_> {
        match self {
            Dialect::Overlay(_) => Meaning::Entry,
            Dialect::Containers(_) | Dialect::Aufs(_) => names::meaning(name),
        }
    }

    /// Whether entries of this name are the dialect's own: they are shown to
    /// nobody, and making one would make a mark.
    pub fn reserves(self, name: &Name) -> bool {
        match self.meaning(name) {
            Meaning::Entry => false,
            Meaning::Hides(_) | Meaning::Private => true,
        }
    }

    /// The name of the entry that, beside `name`, hides what the branches
    /// below have by that name; `None` where no entry does such a thing.
    pub fn hider_of(self, name: &Name) -> Option<NameBuf> {
        match self {
            Dialect::Overlay(_) => None,
            Dialect::Containers(_) | Dialect::Aufs(_) => names::hider_of(name),
        }
    }

    /// Whether a directory may hold entries that are nobody's: then one that
    /// shows nothing is not therefore empty but for whiteouts.
    pub fn has_private_entries(self) -> bool {
        match self {
            Dialect::Overlay(_) => false,
            Dialect::Containers(_) | Dialect::Aufs(_) => true,
        }
    }

    /// What `directory` says about `name`, where `found` is what lies there.
    /// `file_whiteouts` says whether the directory may hold whiteouts that are
    /// regular files.
    ///
    /// A name that the dialect [`reserves`](Dialect::reserves) is not to be
    /// asked about: the directory says nothing.
    pub fn says(
        self,
        directory: &dyn Node,
        name: &Name,
        found: Option<(&dyn Node, &Attr)>,
        file_whiteouts: bool,
    ) -> Result<Says> {
        if let Some((node, attr)) = found {
            if self.hides(node, attr, file_whiteouts)? {
                return Ok(Says::Hides);
            }
            // What lies below anything else is hidden in any case.
            if !attr.kind.is_dir() {
                return Ok(Says::Shows);
            }
        }
        let hidden = self.is_hidden_below(directory, name)?;
        Ok(match (found, hidden) {
            (None, false) => Says::Nothing,
            (None, true) => Says::Hides,
            (Some(_), false) => Says::Shows,
            (Some(_), true) => Says::ShowsAlone,
        })
    }

    /// As [`Dialect::says`] for a name that was not looked up: that is done
    /// only if its attributes leave the question open.
    pub fn says_of(self, directory: &dyn Node, name: &Name, file_whiteouts: bool) -> Result<Says> {
        if self.reserves(name) {
            return Ok(Says::Nothing);
        }
        match directory.attr_of(name)? {
            Some(attr) => match self.entry_hides(directory, name, &attr, file_whiteouts)? {
                true => Ok(Says::Hides),
                false => Ok(Says::Shows),
            },
            None => match self.is_hidden_below(directory, name)? {
                true => Ok(Says::Hides),
                false => Ok(Says::Nothing),
            },
        }
    }

    /// Whether another entry hides what the branches below have by this name.
    fn is_hidden_below(self, directory: &dyn Node, name: &Name) -> Result<bool> {
        match self.hider_of(name) {
            Some(hider) => Ok(directory.attr_of(&hider)?.is_some()),
            None => Ok(false),
        }
    }
}
