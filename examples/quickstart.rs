//! The specification's usage example: a bounded queue in memory, four workers, retries, ten JSON messages.
//!
//! Run: `cargo run --release --example quickstart`. It checks itself: the exit code says whether all ten were
//! handled.

use millstream::{Config, Delivery, Engine, HandlerError, Message};
use std::error::Error;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const MESSAGES: u64 = 10;

fn main() -> Result<(), Box<dyn Error>> {
    // With `Config::persistent("data")` and without `max_size` the messages would outlive the process.
    let engine = Engine::open(
        Config::memory()
            .max_size(1_000) // unsettled messages in the whole queue
            .buffer(100) // and in one subscription
            .workers(4)
            .retry_delay(Duration::from_secs(1)) // then 2 s, then 3 s
            .retries_max(3),
    )?;

    let handled = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&handled);
    engine.subscribe("user.events", move |delivery: &Delivery| {
        print(delivery)?;
        // An error here would be a failed attempt: retried, and at last a dead letter.
        counter.fetch_add(1, Ordering::Relaxed); // [relaxed] a count
        Ok(())
    })?;

    for number in 0..MESSAGES {
        let payload = format!(r#"{{"user_id":{number},"action":"login"}}"#);
        let message = Message::new(payload)
            .header("source", "web")
            .header("content-type", "application/json");
        let receipt = engine.publish("user.events", message)?;
        if receipt.matched != Some(1) {
            return Err(
                format!("message {number} reached {:?} subscriptions", receipt.matched).into()
            );
        }
    }

    // Refuses what comes later, waits until everything is settled, and says what is left.
    let report = engine.close(Duration::from_secs(10))?;
    let stats = engine.stats();
    let (counters, sojourn) = (stats.snapshot.counters, stats.snapshot.sojourn);
    let mut out = io::stdout().lock();
    writeln!(out, "queue size  {}", stats.queue_size())?;
    writeln!(out, "published   {}", counters.published)?;
    writeln!(out, "handled     {}", counters.settled)?;
    writeln!(out, "failed      {}", counters.failed)?;
    writeln!(out, "throughput  {:.0} messages/s", stats.rates().throughput_per_s)?;
    writeln!(out, "sojourn     p50 {} ns, p99 {} ns", sojourn.p50_ns, sojourn.p99_ns)?;

    let count = handled.load(Ordering::Relaxed); // [relaxed] `close` has joined the workers
    match (report.is_drained(), count == MESSAGES, counters.settled == MESSAGES) {
        (true, true, true) => Ok(()),
        _ => {
            Err(format!("{count} of {MESSAGES} were handled, {} are left", report.left_over())
                .into())
        }
    }
}

/// One line for a message, written whole.
fn print(delivery: &Delivery) -> Result<(), HandlerError> {
    let source = delivery.header("source").unwrap_or("nowhere");
    let line = format!("{} {} from {source}\n", delivery.id(), delivery.text()?);
    io::stdout().lock().write_all(line.as_bytes())?;
    Ok(())
}
