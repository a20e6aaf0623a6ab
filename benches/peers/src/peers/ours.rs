//! Millstream's ring.

use super::{ends, peer};
use millstream::ring;

peer!(
    /// Shared handles, waiting as it does by itself.
    Millstream,
    "millstream",
    ring::Sender<T>,
    ring::Receiver<T>,
    ring::bounded
);
ends!(ring::Sender<T>, ring::Receiver<T>, send, recv);
