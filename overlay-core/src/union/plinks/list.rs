//! The pseudo-links of a branch that nobody uses, and the names that each copy
//! has on it.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Beside, Group, groups_in};
use crate::attr::{Attr, FileKind};
use crate::dialect::aufs::PLINKS;
use crate::dialect::plinks::Plink;
use crate::error::{Error, Result};
use crate::layer::Node;
use crate::name::Name;

/// One pseudo-link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// What it is called.
    pub plink: Plink,
    /// Whose it is.
    pub standing: Standing,
    /// The attributes of the copy; `None` where the entry itself is missing.
    pub attr: Option<Attr>,
    /// How many names only the branches below have.
    pub below: u64,
    /// The names on the branch, as paths from its root.
    pub names: Vec<Vec<u8>>,
}

/// Whether a pseudo-link counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It does.
    Whole,
    /// A crash left it half made, or half removed; the next mount with pseudo-
    /// links takes it away.
    Unfinished,
    /// AuFS itself made it: which original it belongs to is not on the branch.
    OfAufs,
    /// The branch was copied: its names are those of other objects.
    Damaged,
}

/// What is in `.wh..wh.plnk` of the branch with this root; none where there is
/// no such directory. Looks at the whole branch.
pub fn list(root: &Arc<dyn Node>) -> Result<Vec<Listed>> {
    let Some(dir) = root.lookup(Name::new(PLINKS)?)? else {
        return Ok(Vec::new());
    };
    if !dir.attr.kind.is_dir() {
        return Err(Error::NotDirectory);
    }
    let (groups, _) = groups_in(&*dir.node)?;
    let mut names: HashMap<u64, Vec<Vec<u8>>> = HashMap::new();
    for group in groups.values() {
        if let Some(attr) = &group.entry {
            names.insert(attr.ino, Vec::new());
        }
    }
    if !names.is_empty() {
        find_names(root, &mut names)?;
    }
    let mut listed: Vec<_> = groups
        .into_iter()
        .map(|(plink, group)| Listed {
            plink,
            standing: standing(&group),
            attr: group.entry,
            below: below(&group.besides),
            names: group
                .entry
                .and_then(|attr| names.get(&attr.ino).cloned())
                .unwrap_or_default(),
        })
        .collect();
    listed.sort_by_key(|listed| listed.plink);
    Ok(listed)
}

fn below(besides: &[Beside]) -> u64 {
    besides.iter().filter(|beside| beside.place != 0).count() as u64
}

fn standing(group: &Group) -> Standing {
    let proved = group.besides.iter().any(|beside| beside.place == 0);
    match group.entry {
        _ if group.damaged => Standing::Damaged,
        None => Standing::Unfinished,
        Some(_) if !proved => Standing::OfAufs,
        Some(_) => Standing::Whole,
    }
}

/// Finds the paths of objects by their inode numbers.
fn find_names(root: &Arc<dyn Node>, names: &mut HashMap<u64, Vec<Vec<u8>>>) -> Result<()> {
    let own = Name::new(PLINKS)?;
    let mut left = vec![(Vec::new(), Arc::clone(root))];
    while let Some((path, dir)) = left.pop() {
        let mut entries = Vec::new();
        dir.entries(&mut |entry| {
            entries.push((entry.name.to_owned(), entry.kind, entry.ino));
            std::ops::ControlFlow::Continue(())
        })?;
        for (name, kind, ino) in entries {
            if path.is_empty() && *name == *own {
                continue;
            }
            let full = match path.is_empty() {
                true => name.as_bytes().to_vec(),
                false => [&path[..], b"/", name.as_bytes()].concat(),
            };
            if kind != Some(FileKind::Directory)
                && let Some(names) = names.get_mut(&ino)
            {
                names.push(full);
                continue;
            }
            let is_dir = match kind {
                Some(kind) => kind.is_dir(),
                None => dir.attr_of(&name)?.is_some_and(|attr| attr.kind.is_dir()),
            };
            if is_dir && let Some(found) = dir.lookup(&name)? {
                left.push((full, found.node));
            }
        }
    }
    names.values_mut().for_each(|names| names.sort());
    Ok(())
}
