//! All marks of an object as they are stored, for those who look after a
//! branch: the questions of [`Dialect`] hide what is wrong with a value.

use super::{Dialect, Namespace};
use crate::error::Result;
use crate::layer::Node;

/// The marks of one object: the values as they are, `None` where unset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks {
    /// What a directory says about the branches below.
    pub opaque: Option<Vec<u8>>,
    /// Where the lower part or the data lies.
    pub redirect: Option<Vec<u8>>,
    /// That a file's data lies below.
    pub metacopy: Option<Vec<u8>>,
    /// What an object was copied from.
    pub origin: Option<Vec<u8>>,
    /// That a directory holds copies.
    pub impure: Option<Vec<u8>>,
    /// The link count of an indexed object.
    pub link_count: Option<Vec<u8>>,
    /// What the index, or a directory's entry in it, belongs to.
    pub upper: Option<Vec<u8>>,
    /// That an empty file is a whiteout.
    pub whiteout: Option<Vec<u8>>,
    /// Whether there are marks under the names that another choice of
    /// [`Namespace`] would have read.
    pub others: bool,
}

impl Marks {
    /// Whether there is any mark that counts.
    pub fn any(&self) -> bool {
        let all = [
            &self.opaque,
            &self.redirect,
            &self.metacopy,
            &self.origin,
            &self.impure,
            &self.link_count,
            &self.upper,
            &self.whiteout,
        ];
        all.iter().any(|mark| mark.is_some())
    }
}

impl Dialect {
    /// All marks of `node` that are attributes. One call where there are none.
    pub fn marks_of(self, node: &dyn Node) -> Result<Marks> {
        let mut marks = Marks::default();
        let Some(namespace) = self.namespace() else {
            return Ok(marks);
        };
        let others = match self {
            Dialect::Overlay(Namespace::Trusted) => Some(Namespace::User),
            Dialect::Overlay(Namespace::User) => Some(Namespace::Trusted),
            // All of them count in some way.
            Dialect::Containers(_) | Dialect::Aufs(_) => None,
        };
        for name in node.xattr_names()? {
            if let Some(mark) = place(namespace, &name, &mut marks) {
                *mark = node.xattr(&name)?;
            } else if let Some(others) = others {
                marks.others |= place(others, &name, &mut Marks::default()).is_some();
            }
        }
        Ok(marks)
    }
}

/// The place of the mark with this name.
fn place<'a>(
    namespace: Namespace,
    name: &[u8],
    marks: &'a mut Marks,
) -> Option<&'a mut Option<Vec<u8>>> {
    let prefixes = namespace.prefixes().iter();
    let name = prefixes
        .filter_map(|prefix| name.strip_prefix(*prefix))
        .next()?;
    match name {
        b"opaque" => Some(&mut marks.opaque),
        b"redirect" => Some(&mut marks.redirect),
        b"metacopy" => Some(&mut marks.metacopy),
        b"origin" => Some(&mut marks.origin),
        b"impure" => Some(&mut marks.impure),
        b"nlink" => Some(&mut marks.link_count),
        b"upper" => Some(&mut marks.upper),
        b"whiteout" => Some(&mut marks.whiteout),
        _ => None,
    }
}

/// Version, length, flags and the number of the digest's algorithm.
const METACOPY_HEADER: usize = 4;

/// Whether this is a value of the mark of files whose data lies below: empty,
/// or a header of version 0 that tells the value's length. Source:
/// `ovl_check_metacopy_xattr` in `fs/overlayfs/util.c`.
pub fn is_metacopy_value(value: &[u8]) -> bool {
    match value {
        [] => true,
        [version, len, ..] => {
            value.len() >= METACOPY_HEADER && *version == 0 && usize::from(*len) == value.len()
        }
        [_] => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::layer::mem::MemStorage;
    use crate::layer::{SetXattr, WritableStorage};

    #[test]
    fn marks_of_both_namespaces_are_told_apart_and_nested_ones_left_out() {
        let storage = MemStorage::new();
        let root = WritableStorage::root(&*storage);
        let set = |name: &[u8], value: &[u8]| root.set_xattr(name, value, SetXattr::Any).unwrap();
        set(b"trusted.overlay.opaque", b"z");
        set(b"trusted.overlay.overlay.redirect", b"x");
        set(b"trusted.overlay.unheard", b"x");
        let trusted = Dialect::Overlay(Namespace::Trusted);
        let marks = trusted.marks_of(&*root).unwrap();
        let expected = Marks {
            opaque: Some(b"z".to_vec()),
            ..Marks::default()
        };
        assert_eq!(marks, expected);
        assert!(marks.any());
        let user = Dialect::Overlay(Namespace::User);
        let marks = user.marks_of(&*root).unwrap();
        assert!(marks.others && !marks.any());
    }

    #[test]
    fn values_of_metacopy_are_empty_or_have_a_header() {
        assert!(is_metacopy_value(b""));
        assert!(is_metacopy_value(&[0, 4, 0, 0]));
        assert!(is_metacopy_value(&[0, 6, 0, 1, 9, 9]));
        for wrong in [&b"y"[..], &[0, 4, 0], &[1, 4, 0, 0], &[0, 5, 0, 0]] {
            assert!(!is_metacopy_value(wrong), "{wrong:?}");
        }
    }
}
