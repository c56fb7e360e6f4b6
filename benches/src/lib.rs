//! Stacks that the benches run on.
