//! What AuFS keeps in the root of a branch that is written, as far as it can be
//! wrong: told with the branch, while nothing has changed.

use std::path::Path;

use super::error::{Role, SetupError};
use super::place::Place;
use crate::attr::FileKind;
use crate::dialect::aufs::WhiteoutFiles;
use crate::dialect::aufs::{BASE, ORPHANS, PLINKS};
use crate::dialect::{Aufs, Dialect};
use crate::error::Result;
use crate::layer::Node;
use crate::name::Name;

/// Refuses something else by one of those names.
pub(super) fn require_names(
    root: &dyn Node,
    dialect: Dialect,
    place: &Place,
) -> std::result::Result<(), SetupError> {
    let strange = find_strange(root, dialect).map_err(|error| place.refused(error))?;
    refuse(strange, place.role, &place.path)
}

/// A name, and what should have it.
type Strange = (&'static [u8], &'static str);

pub(super) fn refuse(
    strange: Option<Strange>,
    role: Role,
    path: &Path,
) -> std::result::Result<(), SetupError> {
    match strange {
        None => Ok(()),
        Some((name, expected)) => Err(SetupError::StrangeName {
            role,
            path: path.to_owned(),
            name: name.escape_ascii().to_string(),
            expected,
        }),
    }
}

/// The first name that something else has.
pub(super) fn find_strange(root: &dyn Node, dialect: Dialect) -> Result<Option<Strange>> {
    let Dialect::Aufs(Aufs { whiteouts, .. }) = dialect else {
        return Ok(None);
    };
    for (name, expected) in [
        (BASE, "regular file"),
        (PLINKS, "directory"),
        (ORPHANS, "directory"),
    ] {
        let Some(attr) = root.attr_of(Name::new(name)?)? else {
            continue;
        };
        let fits = match (attr.kind.is_dir(), attr.kind) {
            (true, _) => name != BASE,
            // With `nolwh` it is removed, whatever it is.
            (false, kind) => {
                let goes = whiteouts == WhiteoutFiles::Separate;
                name == BASE && (goes || kind == FileKind::Regular)
            }
        };
        if !fits {
            return Ok(Some((name, expected)));
        }
    }
    Ok(None)
}
