//! What the others may have seen: a queue of that capacity, and one call that took effect at some time or other.
//!
//! A frozen call has taken effect or it has not; which of the two, nobody can say, but it is *one* of them, and as long
//! as the thread is frozen it stays so. So the judge keeps one [`World`] for each possibility, plays what the others
//! did in each of them, and drops those in which an answer would have been another. At the end at least one must be left
//! in which the call gave the answer it gave, and in which the queue holds what was really found in it.
//!
//! ```text
//!   the victim ran here        |  frozen: the others alone  |  ran here            |  frozen  | ...
//!   effect in this gap?            exact answers only          or in this one?
//! ```
//!
//! That is linearizability with the effect at a moment when the thread *ran*. It asks for more than the promise (which
//! allows any moment of the call), and it is what the ring does: an operation has its effect by an instruction
//! of its own. A call that does several things (a batch) has one effect after the other, each in any gap.
//!
//! What one thread does alone is compared answer by answer: a false Full or Empty is an error. What two do at the same
//! time is compared by what comes out: each value once, and for each receiver the order in which it was sent.

use std::collections::VecDeque;

/// An effect on the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Send(u64),
    Recv,
    Peek,
    Len,
}

/// What an operation said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Sent,
    Full,
    Got(u64),
    Empty,
    Len(usize),
    /// Nobody left: never right in here.
    Disconnected,
    /// Never right.
    Panicked,
}

/// One thing that one of the others did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// From here on alone.
    Alone,
    /// From here on together with the others; refusals are not written down.
    Together,
    /// The victim's call is over.
    Finished,
    /// The victim makes the same call once more, and is left in peace.
    Again,
    Sent(u64, Answer),
    Received(Answer),
}

/// A number that says who made it: the sender in the high half, its count in the low one.
pub const fn value(sender: u64, count: u64) -> u64 {
    sender << 32 | count
}

const fn sender(value: u64) -> u64 {
    value >> 32
}

/// One of the ways it may have been.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct World {
    queue: VecDeque<u64>,
    capacity: usize,
    /// What the victim's call has said so far.
    said: Vec<Answer>,
    /// What it has yet to do.
    left: &'static [Step],
    /// What the whole call does.
    steps: &'static [Step],
}

impl World {
    /// Before the call, with these values in the queue.
    pub fn new(capacity: usize, values: impl Iterator<Item = u64>, steps: &'static [Step]) -> Self {
        Self { queue: values.collect(), capacity, said: Vec::new(), left: steps, steps }
    }

    fn apply(&mut self, step: Step) -> Answer {
        let full = self.queue.len() == self.capacity;
        match step {
            Step::Send(_) if full => Answer::Full,
            Step::Send(value) => {
                self.queue.push_back(value);
                Answer::Sent
            }
            Step::Recv => self.queue.pop_front().map_or(Answer::Empty, Answer::Got),
            Step::Peek => self.queue.front().copied().map_or(Answer::Empty, Answer::Got),
            Step::Len => Answer::Len(self.queue.len()),
        }
    }

    /// The worlds in which the victim has done its next thing too. A batch ends where it is refused.
    fn further(&self) -> Option<Self> {
        let (step, left) = self.left.split_first()?;
        let mut next = self.clone();
        let answer = next.apply(*step);
        next.said.push(answer);
        next.left = if matches!(answer, Answer::Full | Answer::Empty) { &[] } else { left };
        Some(next)
    }

    /// The call from its beginning.
    fn again(&mut self) {
        self.said.clear();
        self.left = self.steps;
    }

    /// One thread did this alone.
    fn alone(&mut self, events: &[Event]) -> bool {
        events.iter().all(|event| match *event {
            Event::Sent(value, answer) => self.apply(Step::Send(value)) == answer,
            Event::Received(answer) => self.apply(Step::Recv) == answer,
            _ => false,
        })
    }

    /// Threads did this at the same time, and one of them then took out what was left.
    fn together(&mut self, threads: &[&[Event]], drained: &[Event]) -> bool {
        let sent = threads.iter().flat_map(|events| events.iter()).filter_map(accepted);
        let mut put_in: Vec<u64> = self.queue.iter().copied().chain(sent).collect();
        let every = threads.iter().chain([&drained]);
        let mut taken: Vec<u64> = every.flat_map(|events| got(events)).collect();
        put_in.sort_unstable();
        taken.sort_unstable();
        let in_order = threads.iter().all(|events| {
            let values: Vec<u64> = got(events).chain(got(drained)).collect();
            self.first_in_first_out(&values)
        });
        let emptied = drained.last() == Some(&Event::Received(Answer::Empty));
        self.queue.clear();
        put_in == taken && in_order && emptied
    }

    /// Did one receiver see what was there before in its order, then what each sender sent in that one's order?
    fn first_in_first_out(&self, received: &[u64]) -> bool {
        let rank = |value: &u64| self.queue.iter().position(|old| old == value);
        let ranks: Vec<_> =
            received.iter().map(|value| rank(value).unwrap_or(usize::MAX)).collect();
        ranks.is_sorted() && each_senders_order(received)
    }
}

fn accepted(event: &Event) -> Option<u64> {
    match event {
        Event::Sent(value, Answer::Sent) => Some(*value),
        _ => None,
    }
}

fn got(events: &[Event]) -> impl Iterator<Item = u64> {
    events.iter().filter_map(|event| match event {
        Event::Received(Answer::Got(value)) => Some(*value),
        _ => None,
    })
}

/// Do the new values of each sender come in the order in which it made them?
fn each_senders_order(values: &[u64]) -> bool {
    let after = |at: usize| values[at + 1..].iter().all(|later| !earlier(*later, values[at]));
    (0..values.len()).all(after)
}

fn earlier(one: u64, other: u64) -> bool {
    sender(one) == sender(other) && one <= other
}

/// All worlds that can be reached while the victim runs.
fn gap(worlds: &mut Vec<World>) {
    let mut at = 0;
    while at < worlds.len() {
        if let Some(next) = worlds[at].further().filter(|next| !worlds.contains(next)) {
            worlds.push(next);
        }
        at += 1;
    }
}

/// A whole scene: what was seen of it.
pub struct Seen<'a> {
    /// Before the call.
    pub world: World,
    /// What each of the others did, first the one that is also alone.
    pub logs: [&'a [Event]; 2],
    /// What the victim's calls said.
    pub said: [&'a [Answer]; 2],
    /// What was in the queue at the end.
    pub rest: &'a [u64],
}

/// Is there a way it may have been?
///
/// # Errors
///
/// What was the first thing that no world explains.
pub fn judge(seen: &Seen) -> Result<(), &'static str> {
    let mut worlds = vec![seen.world.clone()];
    let mut seconds = turns(seen.logs[1]);
    // What two did together is judged with what the first found after it.
    let mut pending: Option<[&[Event]; 2]> = None;
    let mut said = seen.said.iter();
    for turn in turns(seen.logs[0]) {
        let (mark, events) = turn.split_first().ok_or("a log without a beginning")?;
        match mark {
            Event::Together => {
                let second = seconds.next().ok_or("two were together, and one does not know it")?;
                pending = Some([events, &second[1..]]);
            }
            Event::Finished => {
                gap(&mut worlds);
                let said = said.next().ok_or("more calls than answers")?;
                worlds.retain(|world| world.left.is_empty() && world.said == *said);
                some(&worlds, "a wrong answer to the one who was frozen")?;
            }
            Event::Again => worlds.iter_mut().for_each(World::again),
            _ => {
                let rest = match pending.take() {
                    Some(threads) => after_both(&mut worlds, &threads, events)?,
                    None => {
                        gap(&mut worlds);
                        events
                    }
                };
                worlds.retain_mut(|world| world.alone(rest));
                some(&worlds, "a wrong answer to one of the others alone")?;
            }
        }
    }
    worlds.retain(|world| world.left.is_empty() && world.queue.iter().eq(seen.rest));
    some(&worlds, "something else was left than should be")
}

/// Drops the worlds that do not explain what two did together; gives what the first did alone after its drain.
fn after_both<'a>(
    worlds: &mut Vec<World>,
    threads: &[&[Event]],
    events: &'a [Event],
) -> Result<&'a [Event], &'static str> {
    let empty = Event::Received(Answer::Empty);
    let end = events.iter().position(|event| *event == empty).map_or(events.len(), |at| at + 1);
    let (drained, rest) = events.split_at(end);
    worlds.retain_mut(|world| world.together(threads, drained));
    some(worlds, "a value lost, doubled or out of order between the others together")?;
    Ok(rest)
}

fn some(worlds: &[World], wrong: &'static str) -> Result<(), &'static str> {
    if worlds.is_empty() { Err(wrong) } else { Ok(()) }
}

/// A log cut where a turn begins; each piece begins with its mark.
fn turns(log: &[Event]) -> impl Iterator<Item = &[Event]> {
    log.chunk_by(|_, next| matches!(next, Event::Sent(..) | Event::Received(_)))
}

/// Each value that was put in came out once, and each taker saw each sender's order. For scenes in which somebody else
/// comes in between whom no log tells of.
///
/// # Errors
///
/// Which of the two does not hold.
pub fn conserved(put_in: &[u64], takers: &[Vec<u64>]) -> Result<(), &'static str> {
    let mut put_in = put_in.to_vec();
    let mut taken = takers.concat();
    put_in.sort_unstable();
    taken.sort_unstable();
    if put_in != taken {
        return Err("a value was lost or doubled");
    }
    let in_order = takers.iter().all(|taker| each_senders_order(taker));
    if in_order { Ok(()) } else { Err("values of one sender out of order") }
}

/// What a log says was put in, and what was taken out.
pub fn balance(log: &[Event]) -> (Vec<u64>, Vec<u64>) {
    (log.iter().filter_map(accepted).collect(), got(log).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: u64 = value(1, 0);
    const MINE: u64 = value(2, 0);
    const THEIRS: u64 = value(4, 0);
    const ALONE: [Event; 1] = [Event::Alone];

    /// One scene: a send into a ring of two with one value in it; what the first saw while the victim was frozen.
    fn verdict(frozen: &[Event], said: Answer, after: &[Event]) -> Result<(), &'static str> {
        let log = [&ALONE, frozen, &[Event::Finished, Event::Alone], after].concat();
        let world = World::new(2, [OLD].into_iter(), &[Step::Send(MINE)]);
        judge(&Seen { world, logs: [&log, &[]], said: [&[said], &[]], rest: &[] })
    }

    fn got(value: u64) -> Event {
        Event::Received(Answer::Got(value))
    }

    const NONE: Event = Event::Received(Answer::Empty);

    #[test]
    fn a_frozen_call_may_have_had_its_effect_or_not_but_not_both() {
        let full = Event::Sent(THEIRS, Answer::Full);
        let sent = Event::Sent(THEIRS, Answer::Sent);
        let before = [full, got(OLD), got(MINE), NONE];
        let not_yet = [sent, got(OLD), got(THEIRS), NONE];
        assert_eq!(verdict(&before, Answer::Sent, &[NONE]), Ok(()));
        assert_eq!(verdict(&not_yet, Answer::Sent, &[got(MINE), NONE]), Ok(()));
        assert!(verdict(&not_yet, Answer::Sent, &[NONE]).is_err(), "lost");
        assert!(verdict(&before, Answer::Sent, &[got(MINE), NONE]).is_err(), "doubled");
        assert!(verdict(&before, Answer::Full, &[NONE]).is_err(), "taken in, and refused");
        assert!(verdict(&not_yet, Answer::Full, &[NONE]).is_err(), "refused, with room");
        let changed_its_mind = [full, got(OLD), NONE];
        assert!(verdict(&changed_its_mind, Answer::Sent, &[got(MINE), NONE]).is_err());
    }

    #[test]
    fn what_two_did_together_wants_each_value_once_and_in_order() {
        let world = || World::new(4, [OLD, OLD + 1].into_iter(), &[]);
        let sent = |value| Event::Sent(value, Answer::Sent);
        let first = [sent(THEIRS), sent(THEIRS + 1), got(OLD)];
        let fine = [&[got(OLD + 1), got(THEIRS)][..], &[got(THEIRS)], &[]];
        let left = [&[got(THEIRS + 1), NONE][..], &[got(OLD + 1), got(THEIRS + 1), NONE], &[NONE]];
        assert!(world().together(&[&first, fine[0]], left[0]));
        assert!(!world().together(&[&first, fine[1]], left[1]), "an old one after a new one");
        assert!(!world().together(&[&first, fine[0]], left[2]), "one is lost");
        assert!(!world().together(&[&first, fine[0]], &[got(THEIRS + 1)]), "not emptied");
    }
}
