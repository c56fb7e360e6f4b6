//! Mounts a union of directories through FUSE.
