//! A branch in memory.
