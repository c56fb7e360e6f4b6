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
