//! Forecasts through the public interface: which subscriptions have one, and that it counts what happened. What they are
//! worth is tested on simulated queues, beside the code; nothing here depends on how long anything takes.

#![allow(clippy::unwrap_used)] // What cannot be unwrapped here has failed.

use millstream::{Config, Delivery, Engine, Subscription};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

/// A subscription whose handler fails each message once, and tells of every success.
fn fails_once(engine: &Engine, name: &str) -> Receiver<()> {
    let (done, told) = channel();
    let handler = move |delivery: &Delivery| match delivery.attempt() {
        1 if delivery.payload().first() == Some(&b'f') => Err("once".into()),
        _ => Ok(done.send(())?),
    };
    engine.subscribe(Subscription::new("t").name(name), handler).unwrap();
    told
}

fn kinds() -> (tempfile::TempDir, [Config; 2]) {
    let directory = tempfile::tempdir().unwrap();
    let persistent = Config::persistent(directory.path().join("queue"));
    let short = |config: Config| config.workers(2).retry_delay(Duration::ZERO);
    (directory, [short(Config::memory()), short(persistent)])
}

/// Waits until the handlers' last settlement is in the books: a message is recorded before it is settled.
fn settled(engine: &Engine) {
    while engine.stats().depth.total() > 0 {
        std::thread::yield_now();
    }
}

#[test]
fn an_idle_engine_forecasts_nothing() {
    let (_directory, kinds) = kinds();
    for config in kinds {
        let engine = Engine::open(config).unwrap();
        let _told = fails_once(&engine, "idle");
        assert!(engine.stats().forecasts.is_empty());
        engine.close(LONG).unwrap();
    }
}

#[test]
fn each_subscription_with_traffic_has_one_until_it_ends_and_retries_are_told_apart() {
    let (_directory, kinds) = kinds();
    for config in kinds {
        let engine = Engine::open(config).unwrap();
        let told = [fails_once(&engine, "one"), fails_once(&engine, "two")];
        for number in 0..30 {
            engine.publish("t", if number % 3 == 0 { "fails" } else { "works" }).unwrap();
        }
        for told in &told {
            (0..30).for_each(|_| told.recv_timeout(LONG).unwrap());
        }
        settled(&engine);
        let stats = engine.stats();
        let names: Vec<&str> = stats.forecasts.iter().map(|each| &*each.subscription).collect();
        assert_eq!(names, ["one", "two"]);
        for each in &stats.forecasts {
            assert_eq!((each.estimates.messages, each.estimates.others), (30, 10));
            assert_eq!(each.servers, 2);
            assert!(each.shares_pool, "two subscriptions, one pool");
            assert_eq!(each.predicted_waiting_s, None, "from so few messages nothing follows");
            assert_eq!(each.drift, None);
        }
        engine.unsubscribe("one").unwrap();
        let stats = engine.stats();
        assert!(stats.forecast("one").is_none());
        assert!(!stats.forecast("two").unwrap().shares_pool, "it has the pool for itself");
        engine.close(LONG).unwrap();
    }
}

#[test]
fn what_was_published_before_the_subscription_has_waited_for_nobody() {
    let engine = Engine::open(Config::memory()).unwrap();
    engine.publish("t", "held").unwrap();
    let told = fails_once(&engine, "late");
    told.recv_timeout(LONG).unwrap();
    settled(&engine);
    assert!(engine.stats().forecast("late").is_none());
    engine.publish("t", "new").unwrap();
    told.recv_timeout(LONG).unwrap();
    settled(&engine);
    let stats = engine.stats();
    let estimates = stats.forecast("late").unwrap().estimates;
    assert_eq!((estimates.messages, estimates.others), (1, 1));
    engine.close(LONG).unwrap();
}

#[test]
fn a_bound_on_workers_and_subscribers_that_pull_are_its_servers() {
    let engine = Engine::open(Config::memory().workers(4)).unwrap();
    let (done, told) = channel();
    let bounded = Subscription::new("t").name("bounded").concurrency(1);
    engine.subscribe(bounded, move |_: &Delivery| Ok(done.send(())?)).unwrap();
    let pulls = || engine.subscriber(Subscription::new("t").name("pulled")).unwrap();
    let pullers = [pulls(), pulls(), pulls()];
    engine.publish("t", "").unwrap();
    told.recv_timeout(LONG).unwrap();
    pullers[0].recv().unwrap().ack().unwrap();
    settled(&engine);
    let stats = engine.stats();
    let servers = |name| stats.forecast(name).unwrap().servers;
    assert_eq!((servers("bounded"), servers("pulled")), (1, 3));
    drop(pullers);
    engine.close(LONG).unwrap();
}
