//! What is asked for when subscribing: a filter, a name, a start, a bound on workers. Checked, and nothing more.

use super::NAME_BYTES_MAX;
use super::routes::Filter;
use crate::error::QueueError;
use crate::message::MessageId;

/// Where a new subscription begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Start {
    /// With what is published from now on, and with what is held for the first subscription of its topic.
    #[default]
    Latest,
    /// With the earliest message that the queue retains, whoever else has settled it.
    Earliest,
    /// With this message and what was published after it, on a kind that retains; if it is retained no longer, with the
    /// earliest that is. What is held for the first subscription of its topic comes as well.
    At(MessageId),
}

/// What is asked for when subscribing: a filter, and optionally a name, a start and a bound on workers.
///
/// A text becomes the unnamed subscription of that filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    filter: String,
    name: Option<String>,
    start: Start,
    concurrency: Option<usize>,
}

impl Subscription {
    /// The subscription of `filter`, unnamed, from now on.
    pub fn new(filter: impl Into<String>) -> Self {
        Self { filter: filter.into(), name: None, start: Start::Latest, concurrency: None }
    }

    /// Names it. Whoever subscribes under the same name is another member, and they share the messages.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Where it begins. Counts only when the subscription is made, not when one more member joins it.
    pub fn start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// How many workers its handlers may hold at a time; without it, all of them.
    pub fn concurrency(mut self, workers: usize) -> Self {
        self.concurrency = Some(workers);
        self
    }

    pub(crate) fn concurrency_max(&self) -> Option<usize> {
        self.concurrency
    }

    /// The checked parts: filter, name if one was given, and start.
    pub(crate) fn parts(&self) -> Result<(Filter, Option<&str>, Start), QueueError> {
        let filter = Filter::new(&self.filter)?;
        let name = self.name.as_deref();
        let reason = match name {
            Some("") => Some("it must not be empty"),
            Some(name) if name.len() > NAME_BYTES_MAX => Some("at most 255 bytes are allowed"),
            Some(name) if name.chars().any(char::is_control) => Some("it has a control character"),
            _ if self.concurrency == Some(0) => Some("concurrency 0 would never handle a message"),
            _ => None,
        };
        let name_text = || name.unwrap_or(&self.filter).to_owned();
        reason.map_or(Ok((filter, name, self.start)), |reason| {
            Err(QueueError::Name { name: name_text(), reason })
        })
    }
}

impl From<&str> for Subscription {
    fn from(filter: &str) -> Self {
        Self::new(filter)
    }
}

impl From<String> for Subscription {
    fn from(filter: String) -> Self {
        Self::new(filter)
    }
}
