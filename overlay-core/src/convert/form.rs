//! From which form to which.

use std::fmt;

use super::Failure;
use crate::dialect::{Dialect, Namespace};

/// How the marks of a branch look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// AuFS: `.wh.` names alone.
    Aufs,
    /// OverlayFS: devices 0:0 and attributes alone.
    Overlay,
    /// Container tools and fuse-overlayfs: both beside each other.
    Containers,
}

impl Form {
    /// One word, as it is given and shown.
    pub fn name(self) -> &'static str {
        match self {
            Form::Aufs => "aufs",
            Form::Overlay => "overlay",
            Form::Containers => "containers",
        }
    }

    /// The form with this name.
    pub fn named(name: &str) -> Option<Form> {
        let all = [Form::Aufs, Form::Overlay, Form::Containers];
        all.into_iter().find(|form| form.name() == name)
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a branch is converted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Aufs,
    Overlay,
}

/// What is to be done with a branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conversion {
    pub(super) from: Form,
    pub(super) to: Target,
    pub(super) namespace: Namespace,
}

impl Conversion {
    /// From one form to another; `namespace` is where attributes are read and
    /// written.
    ///
    /// Errors: [`Failure::SameForm`], and [`Failure::IntoContainers`] for a
    /// form that is only read.
    pub fn new(from: Form, to: Form, namespace: Namespace) -> Result<Conversion, Failure> {
        let target = match to {
            Form::Containers => return Err(Failure::IntoContainers),
            _ if from == to => return Err(Failure::SameForm(to)),
            Form::Aufs => Target::Aufs,
            Form::Overlay => Target::Overlay,
        };
        Ok(Conversion {
            from,
            to: target,
            namespace,
        })
    }

    /// The form that the branch has.
    pub fn from(self) -> Form {
        self.from
    }

    /// The form that it gets.
    pub fn to(self) -> Form {
        match self.to {
            Target::Aufs => Form::Aufs,
            Target::Overlay => Form::Overlay,
        }
    }

    /// Where attributes are read and written.
    pub fn namespace(self) -> Namespace {
        self.namespace
    }

    /// How the branch is read while it is converted: both kinds of marks
    /// count, so each directory reads right with some, or all, of either.
    pub(super) fn reading(self) -> Dialect {
        Dialect::Containers(self.namespace)
    }

    /// How the branch is read before: `.wh.` names of an OverlayFS branch are
    /// none of its marks.
    pub(super) fn source(self) -> Dialect {
        match self.from {
            Form::Overlay => Dialect::Overlay(self.namespace),
            Form::Aufs | Form::Containers => self.reading(),
        }
    }
}

/// As the words of the command line.
impl fmt::Display for Conversion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--from {} --to {}", self.from, self.to())?;
        match self.namespace {
            Namespace::Trusted => Ok(()),
            Namespace::User => f.write_str(" --userxattr"),
        }
    }
}
