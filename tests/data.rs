//! The examples' data is what its generator makes, and is the kind of data that it says it is.

#[path = "../examples/generate_orders.rs"]
#[allow(dead_code)] // The example's `main` is not called from here.
mod generate_orders;

use generate_orders::{ORDERS, SEED, orders};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const FILE: &str = include_str!("../examples/data/orders.jsonl");
const FILE_BYTES_MAX: usize = 1_500_000;

fn parsed() -> Vec<Value> {
    FILE.lines()
        .map(|line| serde_json::from_str(line).expect("a line is one JSON object"))
        .collect()
}

#[test]
fn the_generator_gives_the_file_byte_for_byte() {
    let made = orders(ORDERS, SEED);
    let differs = made.lines().zip(FILE.lines()).position(|(made, kept)| made != kept);
    assert_eq!(differs, None, "the first line that differs, counted from 0");
    assert_eq!(made.len(), FILE.len());
    assert!(FILE.len() <= FILE_BYTES_MAX);
}

#[test]
fn another_seed_gives_other_orders() {
    assert_ne!(orders(10, SEED), orders(10, SEED + 1));
}

#[test]
fn every_order_is_whole_and_its_total_is_the_sum_of_its_lines() {
    let all = parsed();
    assert_eq!(all.len(), ORDERS as usize);
    for (at, order) in all.iter().enumerate() {
        assert_eq!(order["id"], format!("o-{:06}", at + 1));
        let lines = order["lines"].as_array().expect("lines are a list");
        assert!(!lines.is_empty());
        let cents = |line: &Value| {
            let (count, price) = (line["qty"].as_u64(), line["price"].as_u64());
            count.expect("whole pieces") * price.expect("whole cents")
        };
        assert_eq!(order["total"].as_u64(), Some(lines.iter().map(cents).sum()), "{order}");
    }
}

#[test]
fn time_never_runs_back_and_ids_are_unique() {
    let all = parsed();
    let times: Vec<&str> = all.iter().filter_map(|order| order["created_at"].as_str()).collect();
    assert_eq!(times.len(), all.len());
    assert!(times.is_sorted());
    assert!(times[0].starts_with("2025-03-01T"), "{}", times[0]);
    let ids: BTreeSet<&str> = all.iter().filter_map(|order| order["id"].as_str()).collect();
    assert_eq!(ids.len(), all.len());
}

#[test]
fn the_load_is_uneven_and_the_text_is_not_ascii() {
    let all = parsed();
    let mut orders_of: BTreeMap<&str, usize> = BTreeMap::new();
    for order in &all {
        *orders_of.entry(order["customer"].as_str().expect("a name")).or_default() += 1;
    }
    let (busiest, mean) = (orders_of.values().max(), all.len() / orders_of.len());
    assert!(busiest.is_some_and(|busiest| *busiest >= 2 * mean), "{busiest:?} against {mean}");
    let notes: Vec<&str> = all.iter().filter_map(|order| order["note"].as_str()).collect();
    assert!(notes.len() > all.len() / 5 && notes.len() < all.len() / 2);
    for letter in ['ü', '宅', 'ą', 'ώ', '\u{1F6AA}', '\u{301}', '"', '\\', '\n', '\t'] {
        assert!(notes.iter().any(|note| note.contains(letter)), "{letter:?}");
    }
}
