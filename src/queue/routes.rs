//! Which subscriptions a topic's messages go to: filters, and the table of topics with their routes.
//!
//! A [`Filter`] is a topic in which `*` stands for one token and a last `>` for one or more. Whether it matches is a
//! pure function of two texts. Each topic keeps the list of the subscriptions that match it, worked out when a topic
//! or a subscription comes or goes, and never while a message passes: a publisher takes one immutable snapshot.
//!
//! ```text
//!  "user.events" ── Topics ──> TopicEntry { routes: snapshot of [audit, billing, ...] }
//!                    │ settled: a snapshot, read without a lock
//!                    └ recent: the last few topics made, behind a lock until they are folded in
//! ```
//!
//! The table is copied when the recent topics number an eighth of the settled ones, so that making `n` topics costs
//! O(n) in all and a topic that exists for a while is found without a lock.
//!
//! # Limits
//!
//! [`TOPICS_MAX`] topics a queue, and the dead letters'.

use crate::error::TopicError;
use crate::message::{Topic, check_tokens};
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, Ordering, thread};
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::fmt;

/// How many topics a queue may have.
pub const TOPICS_MAX: usize = 65_536;

/// Which topics a subscription takes: a topic, in which `*` stands for any one token, and `>` at the end for one or
/// more. A leading wildcard does not match the queue's own topics, those that begin with `$`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Filter(Arc<str>);

impl Filter {
    /// The filter `pattern`.
    ///
    /// # Errors
    ///
    /// What makes a topic invalid, a `>` that is not the last token, or a wildcard that is not a token of its own.
    pub fn new(pattern: &str) -> Result<Self, TopicError> {
        check_tokens(pattern)?;
        let mut at = 0;
        for token in pattern.split('.') {
            let ends = at + token.len() == pattern.len();
            let stands_alone = token == "*" || (token == ">" && ends);
            if let (Some(inside), false) = (token.find(['*', '>']), stands_alone) {
                return Err(TopicError::Wildcard { topic: pattern.to_owned(), at: at + inside });
            }
            at += token.len() + 1;
        }
        Ok(Self(pattern.into()))
    }

    /// The pattern.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Does it take messages of `topic`?
    pub fn matches(&self, topic: &Topic) -> bool {
        let (mut pattern, mut name) = (self.0.split('.'), topic.as_str().split('.'));
        let leads_with_wildcard = self.0.starts_with(['*', '>']);
        if topic.is_reserved() && leads_with_wildcard {
            return false;
        }
        loop {
            match (pattern.next(), name.next()) {
                (Some(">"), Some(_)) | (None, None) => return true,
                (Some("*"), Some(_)) => {}
                (Some(wanted), Some(token)) if wanted == token => {}
                _ => return false,
            }
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// One topic of a queue whose subscriptions are of type `S`.
pub(crate) struct TopicEntry<S> {
    pub(crate) topic: Topic,
    /// Its number in the queue, given in the order of making.
    pub(crate) number: u32,
    /// Where its record stands, on a kind that has records: no message of it stands before.
    pub(crate) made_at: u64,
    /// The subscriptions that match it now.
    pub(crate) routes: ArcSwap<Vec<Arc<S>>>,
    /// Has a subscription ever matched it? Changed under the queue's lock.
    claimed: AtomicBool,
    /// How many messages are retained of it: what stands before a subscription that starts with the earliest.
    published: AtomicU64,
    /// Its messages below are nobody's, on a kind that can purge.
    purged_before: AtomicU64,
}

impl<S> TopicEntry<S> {
    pub(crate) fn is_claimed(&self) -> bool {
        self.claimed.load(Ordering::Relaxed) // [relaxed] written and decided on under the queue's lock
    }

    /// Replaces the routes. What comes back may still be in use by publishers: see [`wait_for_readers`].
    pub(crate) fn reroute(&self, routes: Vec<Arc<S>>) -> Arc<Vec<Arc<S>>> {
        self.routes.swap(Arc::new(routes))
    }

    pub(crate) fn claim(&self) {
        self.claimed.store(true, Ordering::Relaxed); // [relaxed] written and decided on under the queue's lock
    }

    pub(crate) fn published(&self) -> u64 {
        self.published.load(Ordering::Relaxed) // [relaxed] a count; no data is read on its word
    }

    pub(crate) fn count_published(&self, messages: u64) {
        self.published.fetch_add(messages, Ordering::Relaxed); // [relaxed] a count
    }

    /// So many of its messages are not retained any more.
    pub(crate) fn give_up(&self, messages: u64) {
        let less = |count: u64| Some(count.saturating_sub(messages));
        // Always `Ok`: the change is always `Some`.
        let _ = self.published.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less); // [relaxed] a count
    }

    /// Its messages below this place are nobody's.
    pub(crate) fn purged_before(&self) -> u64 {
        self.purged_before.load(Ordering::Relaxed) // [relaxed] whoever comes too early settles by the log's order
    }

    /// Makes nobody's what stands below `place`. How many were retained of it comes back.
    pub(crate) fn purge(&self, place: u64) -> u64 {
        self.purged_before.store(place, Ordering::Relaxed); // [relaxed] changed under the queue's lock
        self.published.swap(0, Ordering::Relaxed) // [relaxed] a count
    }

    /// As it was replayed.
    pub(crate) fn restore(&self, published: u64, purged_before: u64) {
        self.published.store(published, Ordering::Relaxed); // [relaxed] nobody else has it yet
        self.purged_before.store(purged_before, Ordering::Relaxed); // [relaxed] as above
    }
}

/// Are routes that were replaced still in a publisher's hands? Nobody can take them up any more.
pub(crate) fn are_read<S>(routes: &mut Arc<Vec<Arc<S>>>) -> bool {
    // Not the count: only this look acquires what the last reader did.
    Arc::get_mut(routes).is_none()
}

/// Waits until nobody works with routes that were replaced.
pub(crate) fn wait_for_readers<S>(mut routes: Arc<Vec<Arc<S>>>) {
    while are_read(&mut routes) {
        thread::yield_now();
    }
}

type Table<S> = HashMap<Topic, Arc<TopicEntry<S>>>;

/// The topics of a queue, by name and by number.
pub(crate) struct Topics<S> {
    settled: ArcSwap<Table<S>>,
    recent: Mutex<Recent<S>>,
    by_number: ArcSwap<Vec<Arc<TopicEntry<S>>>>,
}

struct Recent<S> {
    table: Table<S>,
    all: Vec<Arc<TopicEntry<S>>>,
}

impl<S> Topics<S> {
    pub(crate) fn new() -> Self {
        Self {
            settled: ArcSwap::from_pointee(HashMap::new()),
            recent: Mutex::new(Recent { table: HashMap::new(), all: Vec::new() }),
            by_number: ArcSwap::from_pointee(Vec::new()),
        }
    }

    /// The topic `name`, if it exists. Without a lock for all but the most recent ones.
    pub(crate) fn get(&self, name: &str) -> Option<Arc<TopicEntry<S>>> {
        if let Some(entry) = self.settled.load().get(name) {
            return Some(Arc::clone(entry));
        }
        let recent = self.recent.lock();
        // It may have been folded in between the two looks.
        let found = recent.table.get(name).cloned();
        found.or_else(|| self.settled.load().get(name).cloned())
    }

    /// The topic with this number, if it exists.
    pub(crate) fn by_number(&self, number: u32) -> Option<Arc<TopicEntry<S>>> {
        if let Some(entry) = self.by_number.load().get(number as usize) {
            return Some(Arc::clone(entry));
        }
        self.recent.lock().all.get(number as usize).cloned()
    }

    /// Shows the topic with this number, if it exists. Unlike [`Topics::by_number`] it counts no reference: for each
    /// message that would be a line of memory that publishers and workers write in turns.
    pub(crate) fn with_number<R>(
        &self,
        number: u32,
        look: impl FnOnce(&TopicEntry<S>) -> R,
    ) -> Option<R> {
        if let Some(entry) = self.by_number.load().get(number as usize) {
            return Some(look(entry));
        }
        let recent = self.recent.lock().all.get(number as usize).cloned();
        recent.map(|entry| look(&entry))
    }

    /// All of them, in the order of their numbers.
    pub(crate) fn all(&self) -> Vec<Arc<TopicEntry<S>>> {
        self.recent.lock().all.clone()
    }

    pub(crate) fn len(&self) -> usize {
        self.recent.lock().all.len()
    }

    /// Adds the topic, with the subscriptions that match it. The caller holds the queue's lock, under which alone
    /// topics are made: so a number is given once, and no two entries of one name exist (H1).
    pub(crate) fn insert(
        &self,
        topic: Topic,
        routes: Vec<Arc<S>>,
        claimed: bool,
        made_at: u64,
    ) -> Arc<TopicEntry<S>> {
        let mut recent = self.recent.lock();
        let entry = Arc::new(TopicEntry {
            topic: topic.clone(),
            number: recent.all.len() as u32,
            made_at,
            routes: ArcSwap::from_pointee(routes),
            claimed: AtomicBool::new(claimed),
            published: AtomicU64::new(0),
            purged_before: AtomicU64::new(0),
        });
        recent.all.push(Arc::clone(&entry));
        recent.table.insert(topic, Arc::clone(&entry));
        self.fold(&mut recent);
        entry
    }

    /// Moves the recent topics into the snapshots once they are many enough to pay for the copy.
    fn fold(&self, recent: &mut Recent<S>) {
        let settled = self.settled.load();
        if recent.table.len() * 8 <= settled.len() {
            return;
        }
        let mut table = Table::clone(&settled);
        table.extend(recent.table.drain());
        self.settled.store(Arc::new(table));
        self.by_number.store(Arc::new(recent.all.clone()));
    }
}

impl std::borrow::Borrow<str> for Topic {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Filter::new(pattern).unwrap().matches(&Topic::new(name).unwrap())
    }

    #[test]
    fn a_star_takes_one_token_and_a_tail_one_or_more() {
        for (pattern, name, expected) in [
            ("user.events", "user.events", true),
            ("user.events", "user.event", false),
            ("user.*", "user.events", true),
            ("user.*", "user.events.new", false),
            ("user.*", "user", false),
            ("*.events", "user.events", true),
            ("*.*", "user.events", true),
            ("*", "user.events", false),
            ("user.>", "user.events.new", true),
            ("user.>", "user.events", true),
            ("user.>", "user", false),
            (">", "user", true),
            (">", "user.events.new", true),
            ("a.*.c", "a.b.c", true),
            ("a.*.c", "a.b.d", false),
            ("a.*.>", "a.b.c.d", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} against {name}");
        }
    }

    #[test]
    fn a_leading_wildcard_leaves_the_queues_own_topics_alone() {
        assert!(!matches(">", "$dead"));
        assert!(!matches("*", "$dead"));
        assert!(matches("$dead", "$dead"));
        assert!(matches("$dead.>", "$dead.a"));
    }

    #[test]
    fn a_wildcard_must_be_a_token_and_a_tail_the_last_one() {
        for (pattern, at) in [("a.>.b", 2), ("a*", 1), ("a.b*c", 3), (">.a", 0), ("a.>>", 2)] {
            let wildcard = TopicError::Wildcard { topic: pattern.into(), at };
            assert_eq!(Filter::new(pattern), Err(wildcard), "{pattern}");
        }
        assert!(Filter::new("a..b").is_err());
    }

    /// Promise: a topic once made is found by name and number, however many came after it.
    #[test]
    fn topics_are_found_by_name_and_by_number() {
        let topics = Topics::<()>::new();
        for number in 0..2_000 {
            let made = topics.insert(Topic::new(&format!("t.{number}")).unwrap(), vec![], false, 0);
            assert_eq!(made.number, number);
            let found = topics.get(&format!("t.{}", number / 2)).unwrap();
            assert_eq!(found.number, number / 2);
            assert_eq!(topics.by_number(number / 3).unwrap().number, number / 3);
        }
        assert!(topics.get("t.2000").is_none() && topics.by_number(2_000).is_none());
        assert_eq!((topics.len(), topics.all().len()), (2_000, 2_000));
    }
}
