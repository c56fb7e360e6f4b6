//! How a branch is read: by its dialect, its marks counting or not.

use super::{Dialect, DirectoryMarks, Meaning, Opacity, Redirect, Says};
use crate::attr::Attr;
use crate::error::Result;
use crate::layer::Node;
use crate::name::Name;

/// Whether what a branch says about the branches below it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Heed {
    /// It does.
    #[default]
    Marks,
    /// It does not: AuFS looks for no whiteouts on a branch that is `ro` without
    /// `wh`. They hide nothing, and are not seen either.
    Nothing,
}

/// A dialect, and whether its marks count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// How marks are encoded.
    pub dialect: Dialect,
    /// Whether they count.
    pub heed: Heed,
}

impl Reading {
    /// As [`Dialect::says`].
    pub fn says(
        self,
        directory: &dyn Node,
        name: &Name,
        found: Option<(&dyn Node, &Attr)>,
        file_whiteouts: bool,
    ) -> Result<Says> {
        let says = self.dialect.says(directory, name, found, file_whiteouts)?;
        Ok(self.heeded(says))
    }

    /// As [`Dialect::says_of`].
    pub fn says_of(self, directory: &dyn Node, name: &Name, file_whiteouts: bool) -> Result<Says> {
        let says = self.dialect.says_of(directory, name, file_whiteouts)?;
        Ok(self.heeded(says))
    }

    fn heeded(self, says: Says) -> Says {
        match (self.heed, says) {
            (Heed::Marks, says) => says,
            (Heed::Nothing, Says::Hides | Says::Nothing) => Says::Nothing,
            (Heed::Nothing, Says::Shows | Says::ShowsAlone) => Says::Shows,
        }
    }

    /// As [`Dialect::opacity`].
    pub fn opacity(self, node: &dyn Node) -> Result<Opacity> {
        let opacity = self.dialect.opacity(node)?;
        Ok(match (self.heed, opacity) {
            (Heed::Marks, opacity) => opacity,
            // To be told from what shows.
            (Heed::Nothing, Opacity::HoldsFileWhiteouts) => Opacity::HoldsFileWhiteouts,
            (Heed::Nothing, Opacity::Opaque | Opacity::Transparent) => Opacity::Transparent,
        })
    }

    /// As [`Dialect::root_opacity`].
    pub fn root_opacity(self, root: &dyn Node) -> Result<Opacity> {
        match self.heed {
            Heed::Marks => self.dialect.root_opacity(root),
            Heed::Nothing => self.opacity(root),
        }
    }

    /// As [`Dialect::directory_marks`].
    pub fn directory_marks(self, node: &dyn Node) -> Result<DirectoryMarks> {
        match self.heed {
            Heed::Marks => self.dialect.directory_marks(node),
            Heed::Nothing => self.opacity(node).map(DirectoryMarks::from),
        }
    }

    /// Whether entries of this name hide another: none does if nobody looks.
    pub fn meaning(self, name: &Name) -> Meaning<'_> {
        match (self.heed, self.dialect.meaning(name)) {
            (Heed::Nothing, Meaning::Hides(_)) => Meaning::Private,
            (Heed::Marks | Heed::Nothing, meaning) => meaning,
        }
    }

    /// As [`Dialect::redirect`].
    pub fn redirect(self, node: &dyn Node) -> Result<Option<Redirect>> {
        self.dialect.redirect(node)
    }
}
