//! What says that a conversion is under way.
//!
//! An attribute of the root says which one; it is set before anything else
//! is changed and removed after everything else was. While a directory is
//! changed, the same attribute keeps its times: they are put back at its end,
//! by whichever run comes to that.

use super::failure::Done;
use super::form::{Conversion, Form, Target};
use super::{Failure, memory};
use crate::attr::{Attr, SetAttr, SetTime};
use crate::dialect::Namespace;
use crate::dialect::conversion::CONVERSION;
use crate::error::{Error, Result};
use crate::layer::Node;
use crate::name::Name;

/// The value of the attribute while a copy is being made.
pub(super) const COPYING: &[u8] = b"copying";

/// What was begun on a branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begun {
    Nothing,
    This(Conversion),
    Copy,
}

/// The value of the attribute for the root: what an earlier conversion
/// remembered moves into it, so that it is there until all is done.
pub(super) fn root_value(conversion: Conversion, root: &dyn Node) -> Result<Vec<u8>> {
    let mut value = value(conversion, &root.attr()?);
    let memory = match conversion.to {
        Target::Aufs => root.xattr(conversion.namespace.conversion_memory())?,
        Target::Overlay => None,
    };
    if let Some(memory) = memory {
        value.push(b'\n');
        value.extend(memory);
    }
    Ok(value)
}

/// The same for any directory.
pub(super) fn value(conversion: Conversion, attr: &Attr) -> Vec<u8> {
    format!(
        "{} {} {} {}",
        conversion.from,
        conversion.to(),
        memory::time(attr.atime),
        memory::time(attr.mtime)
    )
    .into_bytes()
}

/// The times that it keeps.
pub(super) fn times(value: &[u8]) -> Result<SetAttr> {
    parse(value)
        .map(|(_, _, times)| times)
        .ok_or(Error::Damaged("an unreadable record of a conversion"))
}

/// What an earlier conversion remembered of the root.
pub(super) fn memory(value: &[u8]) -> Option<&[u8]> {
    let end = value.iter().position(|byte| *byte == b'\n')?;
    value.get(end + 1..)
}

fn parse(value: &[u8]) -> Option<(Form, Form, SetAttr)> {
    let line = value.split(|byte| *byte == b'\n').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    let (from, to) = (Form::named(words.next()?)?, Form::named(words.next()?)?);
    let mut time = || memory::parse_time(words.next()?).map(SetTime::To);
    let times = SetAttr {
        atime: Some(time()?),
        mtime: Some(time()?),
        ..SetAttr::default()
    };
    Some((from, to, times))
}

/// What is under way on the branch with this root, in any namespace.
pub(super) fn begun(root: &dyn Node) -> Done<Begun> {
    let at_root = |source| Failure::At {
        path: Vec::new(),
        source,
    };
    for namespace in [Namespace::Trusted, Namespace::User] {
        let value = root.xattr(namespace.conversion_record()).map_err(at_root)?;
        let Some(value) = value else {
            continue;
        };
        if value == COPYING {
            return Ok(Begun::Copy);
        }
        let (from, to, _) = parse(&value).ok_or(Failure::LostRecord)?;
        let conversion = Conversion::new(from, to, namespace);
        return Ok(Begun::This(conversion.map_err(|_| Failure::LostRecord)?));
    }
    let mark = Name::new(CONVERSION).and_then(|name| root.attr_of(name));
    match mark.map_err(at_root)? {
        Some(attr) if attr.kind.is_dir() => Err(Failure::LostRecord),
        Some(_) | None => Ok(Begun::Nothing),
    }
}
