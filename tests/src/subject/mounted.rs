//! Our own FUSE mount. To be filled in when `overlay_fuse` can mount: all but
//! mounting is [`super::posix::Posix`], as for [`super::kernel::Kernel`].
