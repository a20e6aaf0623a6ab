//! The orders that the examples and benches work on: 5,000 JSON lines, the same bytes on every machine.
//!
//! Real traffic is uneven, so these are: few customers order often, few articles sell most, sizes differ by a factor
//! of twenty, and notes are written in the languages of their countries. Money is in whole cents, or yen (JSON has no
//! exact fraction); each order's total is the sum of its lines. Time is drawn as well: there is no clock in here, and the
//! generator is the only source of chance (SplitMix64, fixed seed), so a changed byte is a changed program.
//!
//! Run: `cargo run --example generate_orders > examples/data/orders.jsonl`. `tests/data.rs` compares.
//!
//! | field | is |
//! |---|---|
//! | `id` | `o-` and the number, in order of creation, without a gap |
//! | `customer` | `c-` and a number; the ordering key of the examples |
//! | `country`, `currency` | ISO 3166-1 alpha-2, ISO 4217 |
//! | `lines` | `sku`, `qty` (1 to 12), `price` of one piece in the smallest unit of the currency |
//! | `total` | sum of `qty` x `price` |
//! | `status` | `new`, `paid`, `shipped`, `cancelled` or `returned` |
//! | `created_at` | RFC 3339, UTC, milliseconds; never earlier than the order before |
//! | `note` | free text, or absent |
//!
//! Source: SplitMix64 by Guy Steele, Doug Lea and Christine Flood (2014), with its published constants.

use std::fmt::Write as _;
use std::io::{self, Write as _};

/// Orders in the data set.
pub const ORDERS: u32 = 5_000;
/// The seed of the data set in the tree.
pub const SEED: u64 = 20_250_301;
/// 2025-03-01T00:00:00Z, in milliseconds since the Unix epoch.
const STARTED_MS: u64 = 1_740_787_200_000;
const CUSTOMERS: u64 = 900;
const ARTICLES: u64 = 240;
const LINES_MAX: u64 = 9;

/// Country, currency, share of orders in percent.
const MARKETS: [(&str, &str, u64); 10] = [
    ("DE", "EUR", 24),
    ("US", "USD", 20),
    ("GB", "GBP", 12),
    ("FR", "EUR", 11),
    ("JP", "JPY", 8),
    ("PL", "PLN", 7),
    ("SE", "SEK", 6),
    ("BR", "BRL", 5),
    ("IN", "INR", 4),
    ("GR", "EUR", 3),
];
const _: () = assert!(share_total() == 100);

/// Status, share of orders in percent.
const STATUSES: [(&str, u64); 5] =
    [("new", 22), ("paid", 31), ("shipped", 38), ("cancelled", 6), ("returned", 3)];

/// Notes as people write them: accents, other scripts, quotes, tabs, an emoji, and a combining mark.
const NOTES: [(&str, &str); 16] = [
    ("DE", "Bitte beim Nachbarn abgeben (Müller, 2. OG)."),
    ("DE", "Rechnung an die Straße 5, nicht an die Größe achten"),
    ("US", "Gift wrap, please: it says \"Happy Birthday, José\"."),
    ("US", "Leave at the door \u{1F6AA}"),
    ("GB", "Ring twice;\tthe bell is slow. Paid £3.50 extra."),
    ("GB", "C:\\orders\\2025 is our reference"),
    ("FR", "Merci de livrer après 18 h, à l'étage."),
    ("FR", "Ne pas plier : œuvres fragiles"),
    ("JP", "不在の場合は宅配ボックスへお願いします。"),
    ("JP", "領収書が必要です"),
    ("PL", "Proszę dzwonić przed dostawą, żółty dom."),
    ("SE", "Lämna hos grannen på Ångströmsvägen 7"),
    ("BR", "Não entregar antes das 9h, por favor.\nObrigado!"),
    ("IN", "कृपया शाम को डिलीवर करें"),
    ("GR", "Παρακαλώ αφήστε το στην είσοδο."),
    ("GR", "cafe\u{301}, 2ος όροφος"),
];

fn main() -> io::Result<()> {
    io::stdout().lock().write_all(orders(ORDERS, SEED).as_bytes())
}

/// `count` orders as JSON lines, from `seed` alone.
pub fn orders(count: u32, seed: u64) -> String {
    let mut chance = Chance(seed);
    let mut text = String::with_capacity(count as usize * 256);
    let mut created_ms = STARTED_MS;
    for number in 1..=count {
        created_ms += gap_ms(&mut chance, created_ms);
        order(&mut text, &mut chance, number, created_ms)
            .expect("a String takes all that is written");
    }
    text
}

fn order(text: &mut String, chance: &mut Chance, number: u32, created_ms: u64) -> std::fmt::Result {
    let customer = 1 + chance.skewed(CUSTOMERS);
    // A customer lives in one place, and keeps its currency.
    let (country, currency, _) = MARKETS[market(Chance(customer).below(100))];
    write!(text, r#"{{"id":"o-{number:06}","customer":"c-{customer:04}","country":"{country}""#)?;
    write!(text, r#","currency":"{currency}","lines":["#)?;
    let mut total = 0;
    for line in 0..1 + chance.skewed(LINES_MAX) {
        let article = chance.skewed(ARTICLES);
        let quantity = 1 + chance.skewed(12);
        let price = price(article);
        total += quantity * price;
        let comma = if line == 0 { "" } else { "," };
        write!(text, r#"{comma}{{"sku":"A{article:04}","qty":{quantity},"price":{price}}}"#)?;
    }
    let (status, created) = (status(chance.below(100)), Timestamp(created_ms));
    write!(text, r#"],"total":{total},"status":"{status}","created_at":"{created}""#)?;
    if chance.below(100) < 30 {
        text.push_str(r#","note":"#);
        quoted(text, note(chance, country));
    }
    text.push_str("}\n");
    Ok(())
}

/// The market that holds percent `at` of the orders.
fn market(at: u64) -> usize {
    let mut below = 0;
    let found = MARKETS.iter().position(|(.., share)| {
        below += share;
        at < below
    });
    found.expect("the shares add up to 100")
}

fn status(at: u64) -> &'static str {
    let mut below = 0;
    let found = STATUSES.iter().find(|(_, share)| {
        below += share;
        at < below
    });
    found.expect("the shares add up to 100").0
}

fn note(chance: &mut Chance, country: &str) -> &'static str {
    let written = || NOTES.iter().filter(|(place, _)| *place == country);
    let at = chance.below(written().count() as u64);
    written().nth(at as usize).expect("each country has a note").1
}

/// An article always costs the same: 0.99 to about 1,000, most of them little.
fn price(article: u64) -> u64 {
    let mut chance = Chance(article ^ 0xA11CE);
    99 + chance.below(400) * (1 + chance.skewed(250))
}

/// Nights are quiet: between 0 and 6 in the morning the gaps are eight times as long.
fn gap_ms(chance: &mut Chance, now_ms: u64) -> u64 {
    let hour = now_ms / 3_600_000 % 24;
    let longest_ms = if hour < 6 { 480_000 } else { 60_000 };
    chance.below(longest_ms)
}

/// JSON's escapes; all else stays as it is, in UTF-8.
fn quoted(text: &mut String, plain: &str) {
    text.push('"');
    for letter in plain.chars() {
        match letter {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            letter => text.push(letter),
        }
    }
    text.push('"');
}

/// SplitMix64.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// 0 to `limit - 1`, evenly (Lemire's multiplication; the bias of 2^-64 times the limit does not show).
    fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(limit)) >> 64) as u64
    }

    /// 0 to `limit - 1`, the small ones more often: the least of three draws.
    fn skewed(&mut self, limit: u64) -> u64 {
        [self.below(limit), self.below(limit), self.below(limit)].into_iter().min().unwrap_or(0)
    }
}

/// A moment in milliseconds since the Unix epoch, as RFC 3339 writes it.
struct Timestamp(u64);

impl std::fmt::Display for Timestamp {
    /// The date by Howard Hinnant's `civil_from_days`, for days after the epoch.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (days, of_day) = (self.0 / 86_400_000, self.0 % 86_400_000);
        let shifted = days + 719_468;
        let (era, of_era) = (shifted / 146_097, shifted % 146_097);
        let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let march_month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * march_month + 2) / 5 + 1;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        let year = era * 400 + year + u64::from(month <= 2);
        let (hour, minute) = (of_day / 3_600_000, of_day / 60_000 % 60);
        let (second, ms) = (of_day / 1_000 % 60, of_day % 1_000);
        write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
    }
}

const fn share_total() -> u64 {
    let (mut total, mut at) = (0, 0);
    while at < MARKETS.len() {
        total += MARKETS[at].2;
        at += 1;
    }
    total
}
