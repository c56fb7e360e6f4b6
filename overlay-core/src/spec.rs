//! The semantics as pure functions over in-memory trees.
