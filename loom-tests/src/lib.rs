//! Models of the protocols of millstream, run by `cargo loom`.
