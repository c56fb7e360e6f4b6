//! The one error type, and the one place where it becomes an errno.

use std::fmt;

pub use rustix::io::Errno;

use crate::name::NameBuf;

/// The result of everything in this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an operation failed.
///
/// Variants without data are outcomes that the semantics itself decides (no
/// such entry, not empty, ...): they cost nothing to make. [`Error::System`]
/// is a system call that failed, with its subject.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// `ENOENT`: no such entry, or the directory has been removed.
    #[error("no such file or directory")]
    NotFound,
    /// `EEXIST`: the name is taken.
    #[error("file exists")]
    Exists,
    /// `ENOTDIR`: a directory was needed.
    #[error("not a directory")]
    NotDirectory,
    /// `EISDIR`: a directory was not wanted.
    #[error("is a directory")]
    IsDirectory,
    /// `ENOTEMPTY`: the directory shows entries.
    #[error("directory not empty")]
    NotEmpty,
    /// `EROFS`: the stack has no writable branch.
    #[error("read-only file system")]
    ReadOnly,
    /// `EXDEV`: a rename or link that this stack cannot express.
    #[error("cross-device link")]
    CrossDevice,
    /// `ENODATA`: no such extended attribute.
    #[error("no such attribute")]
    NoAttribute,
    /// `ENAMETOOLONG`: a name above 255 bytes.
    #[error("file name too long")]
    NameTooLong,
    /// `EINVAL`, and which rule was broken.
    #[error("invalid argument: {0}")]
    Invalid(&'static str),
    /// `EPERM`, and what is not permitted.
    #[error("operation not permitted: {0}")]
    NotPermitted(&'static str),
    /// `EOPNOTSUPP`, and what is not supported.
    #[error("not supported: {0}")]
    Unsupported(&'static str),
    /// `EBUSY`, and what is in use.
    #[error("busy: {0}")]
    Busy(&'static str),
    /// `EBUSY`, and what is in use, by name.
    #[error("in use: {0}")]
    InUse(Box<str>),
    /// `EINVAL`: the work area of a writable branch holds `incompat/` and this
    /// name in it: whoever does not know what that means must keep away.
    #[error("the work directory has work/incompat/{}", .0.as_bytes().escape_ascii())]
    Incompatible(NameBuf),
    /// `ESTALE`: the inode is not known, or what it stood for is gone.
    #[error("stale file handle")]
    Stale,
    /// A stack that cannot have an index.
    #[error("{0}")]
    Index(IndexFault),
    /// `EIO`: a branch holds something that cannot be, with an explanation.
    #[error("damaged branch: {0}")]
    Damaged(&'static str),
    /// Any other errno that the semantics decides.
    #[error("{0}")]
    Errno(Errno),
    /// A system call failed.
    #[error("{call}({subject}): {errno}")]
    System {
        /// The call's name, e.g. `renameat2`.
        call: &'static str,
        /// What it worked on, e.g. `dir 17/'a'`.
        subject: Box<str>,
        /// What it answered.
        errno: Errno,
    },
}

/// Why a stack cannot have an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IndexFault {
    /// `EOPNOTSUPP`: some filesystem has no file handles, or two have the same.
    #[error("the index needs layers whose filesystems tell file handles apart")]
    NoHandles,
    /// `EPERM`: objects may not be found by their handles.
    #[error("the index needs CAP_DAC_READ_SEARCH, to find objects by their handles")]
    NotPermitted,
    /// `ESTALE`: copies are of another lower branch.
    #[error("the upper layer was used with an index over another lower layer")]
    OtherLower,
    /// `ESTALE`: the index in the work directory is not of this branch.
    #[error("the index in the work directory belongs to another upper layer")]
    OtherUpper,
    /// `ENOTDIR`: something else has its name in the work directory.
    #[error("the index in the work directory is not a directory")]
    NotDirectory,
}

impl IndexFault {
    fn errno(self) -> Errno {
        match self {
            IndexFault::NoHandles => Errno::OPNOTSUPP,
            IndexFault::NotPermitted => Errno::PERM,
            IndexFault::OtherLower | IndexFault::OtherUpper => Errno::STALE,
            IndexFault::NotDirectory => Errno::NOTDIR,
        }
    }
}

impl Error {
    /// A failed system call; `ENOENT` stays free of allocation.
    pub fn system(call: &'static str, subject: impl fmt::Display, errno: Errno) -> Error {
        match errno {
            Errno::NOENT => Error::NotFound,
            errno => Error::System {
                call,
                subject: subject.to_string().into_boxed_str(),
                errno,
            },
        }
    }

    /// The errno that a caller of the filesystem sees; always above zero.
    pub fn errno(&self) -> Errno {
        match self {
            Error::NotFound => Errno::NOENT,
            Error::Exists => Errno::EXIST,
            Error::NotDirectory => Errno::NOTDIR,
            Error::IsDirectory => Errno::ISDIR,
            Error::NotEmpty => Errno::NOTEMPTY,
            Error::ReadOnly => Errno::ROFS,
            Error::CrossDevice => Errno::XDEV,
            Error::NoAttribute => Errno::NODATA,
            Error::NameTooLong => Errno::NAMETOOLONG,
            Error::Invalid(_) | Error::Incompatible(_) => Errno::INVAL,
            Error::NotPermitted(_) => Errno::PERM,
            Error::Unsupported(_) => Errno::OPNOTSUPP,
            Error::Busy(_) | Error::InUse(_) => Errno::BUSY,
            Error::Stale => Errno::STALE,
            Error::Index(fault) => fault.errno(),
            Error::Damaged(_) => Errno::IO,
            Error::Errno(errno) | Error::System { errno, .. } => *errno,
        }
    }

    /// Whether the caller would see `errno`.
    pub fn is(&self, errno: Errno) -> bool {
        self.errno() == errno
    }
}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        let kind = std::io::Error::from_raw_os_error(error.errno().raw_os_error()).kind();
        std::io::Error::new(kind, error)
    }
}
