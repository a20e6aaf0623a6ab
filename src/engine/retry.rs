//! What follows a failed attempt: a pure function of the attempt's number and the allowance.
//!
//! Linear: the n-th retry comes n delays after the attempt that failed. `retries_max` retries mean at most
//! `retries_max + 1` attempts; a message may bring an allowance of its own. What has used it up goes to the dead
//! letters; a dead letter that fails again is tried on, for there is nowhere else for it to go.
//!
//! # Limits
//!
//! A delay saturates at the largest `Duration`.

use crate::queue::{Failure, Policy, Ruling};
use std::time::Duration;

/// How soon, at the earliest, a message is tried again that should have gone to the dead letters and could not.
const NOWHERE_TO_GO_DELAY: Duration = Duration::from_millis(100);

/// Linear retries.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RetryPolicy {
    pub(crate) delay: Duration,
    pub(crate) retries_max: u32,
}

impl Policy for RetryPolicy {
    fn rule(&self, failure: &Failure) -> Ruling {
        let retries_max = failure.retries_max.unwrap_or(self.retries_max);
        let retry_number = failure.attempt;
        match (retry_number <= retries_max, failure.dead_letter) {
            (true, _) => {
                let linear = self.delay.saturating_mul(retry_number);
                Ruling::Retry { after: failure.after.unwrap_or(linear) }
            }
            (false, true) => Ruling::Retry { after: self.delay_max() },
            (false, false) => Ruling::DeadLetter,
        }
    }

    fn delay_max(&self) -> Duration {
        self.delay.saturating_mul(self.retries_max.max(1)).max(NOWHERE_TO_GO_DELAY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy { delay: Duration::from_secs(1), retries_max: 3 };

    fn failed(attempt: u32) -> Failure {
        Failure { attempt, retries_max: None, after: None, dead_letter: false }
    }

    #[test]
    fn three_retries_are_four_attempts_at_growing_distances() {
        for attempt in 1..=3 {
            let after = Duration::from_secs(u64::from(attempt));
            assert_eq!(POLICY.rule(&failed(attempt)), Ruling::Retry { after });
        }
        assert_eq!(POLICY.rule(&failed(4)), Ruling::DeadLetter);
    }

    #[test]
    fn a_message_may_bring_its_own_allowance() {
        let none = Failure { retries_max: Some(0), ..failed(1) };
        assert_eq!(POLICY.rule(&none), Ruling::DeadLetter);
        let more = Failure { retries_max: Some(9), ..failed(9) };
        assert_eq!(POLICY.rule(&more), Ruling::Retry { after: Duration::from_secs(9) });
    }

    #[test]
    fn a_delay_asked_for_counts_while_a_retry_is_allowed() {
        let after = Duration::from_millis(7);
        let asked = Failure { after: Some(after), ..failed(3) };
        assert_eq!(POLICY.rule(&asked), Ruling::Retry { after });
        assert_eq!(POLICY.rule(&Failure { attempt: 4, ..asked }), Ruling::DeadLetter);
    }

    #[test]
    fn a_dead_letter_is_tried_on_and_never_without_a_pause() {
        let letter = Failure { dead_letter: true, ..failed(40) };
        assert_eq!(POLICY.rule(&letter), Ruling::Retry { after: Duration::from_secs(3) });
        let eager = RetryPolicy { delay: Duration::ZERO, retries_max: 0 };
        assert_eq!(eager.rule(&letter), Ruling::Retry { after: NOWHERE_TO_GO_DELAY });
    }

    #[test]
    fn the_largest_delay_saturates() {
        let slow = RetryPolicy { delay: Duration::MAX, retries_max: u32::MAX };
        assert_eq!(slow.rule(&failed(u32::MAX)), Ruling::Retry { after: Duration::MAX });
    }
}
