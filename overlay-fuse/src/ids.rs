//! Which id a stored one is shown as: `uidmapping`, `gidmapping` and the
//! `squash_to_...` options.
//!
//! Ids are mapped here, between kernel and union, and not in the layers: a
//! copy-up carries the stored owner, also one that the mapping does not show
//! (docs/decisions/0014-ids-at-the-edge.md).

use std::fmt;
use std::str::FromStr;

pub(crate) mod acl;

/// A run of ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    stored: u32,
    shown: u32,
    count: u32,
}

/// A mapping between stored and shown ids.
///
/// Its text is that of `user_namespaces(7)` on one line: `INSIDE:OUTSIDE:COUNT`,
/// repeated. Stored are the ids inside (the layers look the same to every
/// container), shown are those outside, so that a user namespace with this
/// mapping shows the stored ones again.
///
/// ```
/// use overlay_fuse::IdMap;
///
/// let map: IdMap = "0:1000:1:1:100000:65535".parse()?;
/// assert_eq!(map.shown(0), Some(1000));
/// assert_eq!(map.shown(33), Some(100_032));
/// assert_eq!(map.stored(1000), Some(0));
/// assert_eq!(map.stored(5), None);
/// # Ok::<(), overlay_fuse::IdMapError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdMap {
    ranges: Vec<Range>,
}

/// Why a mapping is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdMapError {
    /// Not three numbers each.
    #[error("write INSIDE:OUTSIDE:COUNT with numbers, as often as needed, separated by ':'")]
    Form,
    /// Beyond the largest id.
    #[error("ids go from 0 to 4294967294, and a count is 1 at least")]
    Range,
    /// One id means two.
    #[error("an id may be in one range only")]
    Overlap,
}

impl IdMap {
    /// What a stored id shows as; `None` if it is not mapped.
    pub fn shown(&self, stored: u32) -> Option<u32> {
        let find = |range: &Range| Some(range.shown + within(stored, range.stored, range.count)?);
        self.ranges.iter().find_map(find)
    }

    /// As what an id is stored; `None` if it is not mapped.
    pub fn stored(&self, shown: u32) -> Option<u32> {
        let find = |range: &Range| Some(range.stored + within(shown, range.shown, range.count)?);
        self.ranges.iter().find_map(find)
    }

    fn add(&mut self, range: Range) -> Result<(), IdMapError> {
        // The end, one past the last, may be the id that is none (`chown(2)`
        // takes it for "leave as it is"), which is the largest number.
        let fits = |start: u32| start.checked_add(range.count).is_some();
        if range.count == 0 || !fits(range.stored) || !fits(range.shown) {
            return Err(IdMapError::Range);
        }
        let meet = |a: u32, a_count: u32, b: u32| {
            within(b, a, a_count).is_some() || within(a, b, range.count).is_some()
        };
        let clash = self.ranges.iter().any(|known| {
            meet(known.stored, known.count, range.stored)
                || meet(known.shown, known.count, range.shown)
        });
        if clash {
            return Err(IdMapError::Overlap);
        }
        self.ranges.push(range);
        Ok(())
    }
}

/// How far `id` lies in a run of ids, if it does.
fn within(id: u32, start: u32, count: u32) -> Option<u32> {
    let offset = id.checked_sub(start)?;
    (offset < count).then_some(offset)
}

impl FromStr for IdMap {
    type Err = IdMapError;

    /// A ':' at the beginning is none: containers/storage writes it.
    fn from_str(text: &str) -> Result<IdMap, IdMapError> {
        let numbers = text.strip_prefix(':').unwrap_or(text).split(':');
        let numbers: Vec<u32> = numbers
            .map(|number| match number.parse() {
                Ok(number) => Ok(number),
                Err(_) if is_number(number) => Err(IdMapError::Range),
                Err(_) => Err(IdMapError::Form),
            })
            .collect::<Result<_, _>>()?;
        let mut map = IdMap { ranges: Vec::new() };
        for three in numbers.chunks(3) {
            let &[stored, shown, count] = three else {
                return Err(IdMapError::Form);
            };
            map.add(Range {
                stored,
                shown,
                count,
            })?;
        }
        Ok(map)
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

impl fmt::Display for IdMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.ranges.iter().enumerate() {
            let separator = if index == 0 { "" } else { ":" };
            let Range {
                stored,
                shown,
                count,
            } = range;
            write!(f, "{separator}{stored}:{shown}:{count}")?;
        }
        Ok(())
    }
}

/// How one kind of ids, users or groups, is shown and stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Ids {
    pub(crate) map: Option<IdMap>,
    /// Shown for all.
    pub(crate) squash: Option<u32>,
}

impl Ids {
    /// What a stored id shows as, where `overflow` stands for those that are
    /// not mapped.
    pub(crate) fn shown(&self, stored: u32, overflow: u32) -> u32 {
        match (self.squash, &self.map) {
            (Some(one), _) => one,
            (None, Some(map)) => map.shown(stored).unwrap_or(overflow),
            (None, None) => stored,
        }
    }

    /// As what an id is stored; `None` if it is not mapped.
    pub(crate) fn stored(&self, shown: u32) -> Option<u32> {
        match &self.map {
            Some(map) => map.stored(shown),
            None => Some(shown),
        }
    }

    /// Whether nothing is other than it is stored.
    pub(crate) fn is_plain(&self) -> bool {
        self.squash.is_none() && self.map.is_none()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn map(text: &str) -> IdMap {
        text.parse().unwrap()
    }

    #[test]
    fn ids_are_mapped_both_ways_and_to_the_edges_of_each_range() {
        let map = map(":0:1000:1:1:100000:65535");
        for (stored, shown) in [(0, 1000), (1, 100_000), (65535, 165_534)] {
            assert_eq!(map.shown(stored), Some(shown));
            assert_eq!(map.stored(shown), Some(stored));
        }
        assert_eq!(map.shown(65536), None);
        for outside in [0, 999, 1001, 99_999, 165_535] {
            assert_eq!(map.stored(outside), None, "{outside}");
        }
        assert_eq!(map.to_string(), "0:1000:1:1:100000:65535");
    }

    #[test]
    fn the_largest_range_leaves_out_the_id_that_is_none() {
        let all = map("0:0:4294967295");
        assert_eq!(all.shown(u32::MAX - 1), Some(u32::MAX - 1));
        assert_eq!(all.shown(u32::MAX), None);
    }

    #[test]
    fn what_is_no_mapping_is_refused() {
        use IdMapError::*;
        let cases = [
            ("", Form),
            ("0:1000", Form),
            ("0:1000:1:5", Form),
            ("a:b:c", Form),
            ("::0:1:2", Form),
            ("0:-1:1", Form),
            ("0:1000:0", Range),
            ("0:4294967295:1", Range),
            ("4294967290:0:10", Range),
            ("0:99999999999:1", Range),
            ("0:1000:10:5:2000:1", Overlap),
            ("0:1000:10:20:1009:1", Overlap),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<IdMap>(), Err(error), "{text:?}");
        }
    }
}
