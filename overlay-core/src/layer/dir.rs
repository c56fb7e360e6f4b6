//! A branch that is a directory of the host.
