//! What one subscription's traffic looks like over the last seconds: the parameters of a queueing model, estimated.

/// A subscription's traffic over a window that ends now. Times in seconds.
///
/// *Messages* are first attempts whose message came after counting began: a retry waits because it was told to, and
/// what lay in a log over night waited for no server. Both count in `busy_mean` alone.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct Estimates {
    /// First attempts that ended in the window.
    pub messages: u64,
    /// Attempts that ended in the window and are no `messages`: retries, and what was published before counting began.
    pub others: u64,
    /// How long the window is.
    pub window_s: f64,
    /// Arrivals per second: lambda.
    pub arrival_per_s: f64,
    /// Mean time in the handler: 1 / mu.
    pub service_mean_s: f64,
    /// Squared coefficient of variation of the gaps between arrivals, as the index of dispersion of their counts; `None`
    /// where the window cannot tell.
    pub ca2: Option<f64>,
    /// Squared coefficient of variation of the service times.
    pub cs2: f64,
    /// Mean time from arrival to the start of the handler.
    pub waiting_mean_s: f64,
    /// Variance of that time, in square seconds.
    pub waiting_variance_s2: f64,
    /// Standard error of `waiting_mean_s` by the parts of the window; `None` for fewer than eight parts with messages.
    pub waiting_error_s: Option<f64>,
    /// How many workers were inside a handler of this subscription, on average; retries included.
    pub busy_mean: f64,
}
