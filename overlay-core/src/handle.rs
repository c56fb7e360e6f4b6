//! File handles: names of objects that outlive renames and mounts.

/// What a filesystem calls one of its objects, whatever its name; see
/// `name_to_handle_at(2)`. Only the filesystem with this `uuid` knows what
/// `bytes` mean.
///
/// ```
/// use overlay_core::FileHandle;
/// let handle = FileHandle { uuid: [7; 16], kind: 1, bytes: vec![12, 0, 0, 0] };
/// assert_eq!(handle, handle.clone());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FileHandle {
    /// The filesystem (`FS_IOC_GETFSUUID`).
    pub uuid: [u8; 16],
    /// The filesystem's word for the form of `bytes` (`handle_type`).
    pub kind: u8,
    /// The object; at most 128 bytes.
    pub bytes: Vec<u8>,
}

/// What the UUID in [`FileHandle`]s of a branch says of its filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// It tells it from all that are mounted now, device numbers aside: each
    /// subvolume of btrfs has one of its own.
    Unique,
    /// It tells it from others if no other device has the same.
    OfDevice,
    /// Filesystems of this kind have none, so one that was made anew, with
    /// other files, looks the same (squashfs).
    Missing,
}
