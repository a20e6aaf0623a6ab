//! `latency`, `wake`, `idle` and `stalled`: how long a message takes, and what waiting for it costs.

use super::{for_each, for_each_blocking, for_each_mpmc};
use crate::ends::{Get, Named, Peer, Put};
use crate::peers::{
    Array, Disruptor, MillstreamPark, MillstreamSolePark, MillstreamSoleSpin, MillstreamSpin, Rtrb,
};
use crate::quantiles::measures;
use crate::stalled::{self, Pace};
use crate::statistics::Better;
use crate::table::{Effort, Measure, Table};
use crate::{idle as waiting, latency as trips};
use std::time::Duration;

/// How long does a message take there and back?
pub fn latency() -> Table {
    let question = "How long does a value take there and back? (two channels of capacity 1024)";
    let mut table = Table::of("latency", question, measures());
    let name = "round trip, spinning";
    for_each_blocking!(P {
        table.add(name, P::NAME, trips::spinning::<P>);
    });
    for_each!(P in [Array, Rtrb, Disruptor] {
        table.add(name, P::NAME, trips::spinning::<P>);
    });
    for_each!(P in [MillstreamSpin, MillstreamSoleSpin] {
        table.add(name, P::NAME, trips::blocking::<P>).noting("its own calls, which spin");
    });
    let name = "round trip, blocking";
    for_each_blocking!(P {
        table.add(name, P::NAME, trips::blocking::<P>);
    });
    for_each!(P in [MillstreamPark, MillstreamSolePark] {
        table.add(name, P::NAME, trips::blocking::<P>);
    });
    table
}

/// How long until a sleeping receiver has it?
pub fn wake() -> Table {
    let question = "How long from send to receipt, if the receiver is asleep in the kernel?";
    let asleep = Measure { name: "asleep", unit: "%", better: Better::Higher, compared: false };
    let mut table = Table::of("wake", question, measures());
    table.measures.push(asleep);
    // A message takes a fifth of a millisecond and more: a longer span, or the tail has no samples.
    table.spans = 4.0;
    let name = "wake-up of a parked receiver";
    for_each_blocking!(P {
        table.add(name, P::NAME, trips::wake_up::<P>);
    });
    for_each!(P in [MillstreamPark, MillstreamSolePark] {
        table.add(name, P::NAME, trips::wake_up::<P>);
    });
    table
}

/// What does waiting cost?
pub fn idle(effort: &Effort) -> Table {
    let share = Measure { name: "of a core", unit: "%", better: Better::Lower, compared: false };
    let question = "What share of a core does a waiting thread use?";
    let mut table = Table::of("idle", question, vec![share]);
    table.repetitions_max = 3;
    let span = if effort.quick { effort.span * 4 } else { Duration::from_secs(2) };
    for_each_blocking!(P { idling::<P>(&mut table, span) });
    for_each!(P in [MillstreamPark, MillstreamSolePark, MillstreamSpin] {
        idling::<P>(&mut table, span)
    });
    table
}

fn idling<P: Peer<u64>>(table: &mut Table, span: Duration)
where
    P::Sender: Put<u64>,
    P::Receiver: Get<u64>,
{
    table.add_fixed("receiver, nothing comes", P::NAME, move || {
        waiting::receiver_at_rest::<P>(span)
    });
    table.add_fixed("sender, no room", P::NAME, move || waiting::sender_at_rest::<P>(span));
    table.add_fixed("receiver, a value every 200 us", P::NAME, move || {
        waiting::receiver_now_and_then::<P>(span)
    });
}

/// What does a sender that the scheduler stopped do to the others?
pub fn stalled() -> Table {
    let question = "How long does a hand-off take with 2 senders and 2 receivers on 2 cores, beside 2 busy threads?";
    let mut table = Table::of("stalled", question, measures());
    // Several time slices of each thread.
    table.spans = 5.0;
    let paces = [("paced", Pace::Paced), ("flat out, capacity 64", Pace::FlatOut)];
    for (name, pace) in paces {
        let attempts = format!("{name}, attempts");
        for_each_mpmc!(P {
            table.add(&attempts, P::NAME, move |count| stalled::spinning::<P>(pace, count));
        });
        for_each!(P in [Array] {
            table.add(&attempts, P::NAME, move |count| stalled::spinning::<P>(pace, count));
        });
        let calls = format!("{name}, blocking");
        for_each_mpmc!(P {
            table.add(&calls, P::NAME, move |count| stalled::blocking::<P>(pace, count));
        });
    }
    table
}
