//! What a run leaves: a row a message, as CSV, and the checks that no honest file fails.
//!
//! | column | is |
//! |---|---|
//! | `id` | 0, 1, 2 ... without a gap: the row's place |
//! | `intended_ns` | the schedule, drawn before the run and never moved by what happens |
//! | `arrival_ns` | clock read immediately before the publish |
//! | `start_ns` | first clock read after the message was taken, in the server |
//! | `end_ns` | the clock read that ended the service |
//! | `accepted` | 1; or 0 when it was refused: then start and end are empty |
//! | `drawn_ns` | the service that was asked for; optional |
//! | `class` | the priority class, 0 the highest; optional, after `drawn_ns` if that is there |
//!
//! One clock for all columns, whole nanoseconds since the start of the run, rows in order of arrival, nothing filtered.
//! A header with these names is the first line; row 1 is the line after it.
//!
//! # Limits
//!
//! [`MESSAGES_MAX`] rows, [`TIME_NS_MAX`], [`LINE_BYTES_MAX`] a line. What was read stays in memory: 64 bytes a row.

use super::experiment::MESSAGES_MAX;
use std::fmt;
use std::io::{self, BufRead, Read, Write};

/// The latest stamp: 31 years. Sums of as many rows as are allowed then fit an `i128` with room.
pub const TIME_NS_MAX: u64 = 1_000_000_000_000_000_000;
/// The longest line of an event file, in bytes: eight columns of 20 digits and their commas have room.
pub const LINE_BYTES_MAX: u64 = 256;

const _: () = assert!(LINE_BYTES_MAX > 8 * 21);

/// One message of a run. All times are nanoseconds of one clock since the run's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// When the schedule meant it to arrive.
    pub intended_ns: u64,
    /// Clock read before the publish.
    pub arrival_ns: u64,
    /// When it was served; none if it was refused.
    pub served: Option<Served>,
    /// The service that was asked for, if that is known.
    pub drawn_ns: Option<u64>,
    /// Its class, 0 the highest, in a run with priorities.
    pub class: Option<u8>,
}

/// The two stamps of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    /// First clock read in the server.
    pub start_ns: u64,
    /// The clock read that ended the service.
    pub end_ns: u64,
}

impl Served {
    /// end - start.
    pub fn service_ns(&self) -> u64 {
        self.end_ns.saturating_sub(self.start_ns)
    }
}

/// A column of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// The row's place.
    Id,
    /// The schedule.
    Intended,
    /// Before the publish.
    Arrival,
    /// Start of the service.
    Start,
    /// End of the service.
    End,
    /// Taken or refused.
    Accepted,
    /// Service asked for.
    Drawn,
    /// Priority.
    Class,
}

impl Column {
    /// All of them, in the order of the file.
    pub const ALL: [Self; 8] = [
        Self::Id,
        Self::Intended,
        Self::Arrival,
        Self::Start,
        Self::End,
        Self::Accepted,
        Self::Drawn,
        Self::Class,
    ];
    /// How many of them, from the first, each file must have.
    pub const NEEDED: usize = 6;

    /// Its name in the header.
    pub fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Intended => "intended_ns",
            Self::Arrival => "arrival_ns",
            Self::Start => "start_ns",
            Self::End => "end_ns",
            Self::Accepted => "accepted",
            Self::Drawn => "drawn_ns",
            Self::Class => "class",
        }
    }
}

impl fmt::Display for Column {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// Why a file is no run's. Rows count from 1, the first after the header; columns by name.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// It could not be read or written.
    #[error("the event file: {0}")]
    Io(#[from] io::Error),
    /// Not even a header.
    #[error("the event file is empty")]
    Empty,
    /// A header and nothing else.
    #[error("the event file has a header and no rows")]
    NoRows,
    /// A column that each file must have is not in the header.
    #[error("the header has no column `{column}`")]
    MissingColumn {
        /// Which one.
        column: Column,
    },
    /// The columns are known, and stand in another order than they must.
    #[error("the header's column {place} is `{found}`: out of its order")]
    ColumnOrder {
        /// From 1.
        place: usize,
        /// Which one stands there.
        found: Column,
    },
    /// A name that no column has.
    #[error("the header's column {place} has no known name")]
    UnknownColumn {
        /// From 1.
        place: usize,
    },
    /// More rows than a run may have.
    #[error("row {row}: more than {MESSAGES_MAX} rows")]
    TooManyRows {
        /// The first that is too many.
        row: u64,
    },
    /// The line is longer than any row can be.
    #[error("row {row}: longer than {LINE_BYTES_MAX} bytes")]
    LineTooLong {
        /// Where; 0 is the header.
        row: u64,
    },
    /// Too few or too many fields.
    #[error("row {row}: {found} fields, {expected} columns")]
    Fields {
        /// Where.
        row: u64,
        /// How many it has.
        found: usize,
        /// How many columns the header names.
        expected: usize,
    },
    /// Not a whole number where there must be one.
    #[error("row {row}: {column} is not a whole number")]
    NotANumber {
        /// Where.
        row: u64,
        /// In which column.
        column: Column,
    },
    /// A number below 0.
    #[error("row {row}: {column} is negative")]
    Negative {
        /// Where.
        row: u64,
        /// In which column.
        column: Column,
    },
    /// A number above what the column can mean.
    #[error("row {row}: {column} is beyond {most}")]
    TooLarge {
        /// Where.
        row: u64,
        /// In which column.
        column: Column,
        /// The most it may be.
        most: u64,
    },
    /// The id is not the one before plus 1: a row is missing, or is there twice.
    #[error("row {row}: id {found} where {expected} must stand: a row is missing or doubled")]
    Id {
        /// Where.
        row: u64,
        /// What stands there.
        found: u64,
        /// What must.
        expected: u64,
    },
    /// Earlier than the row before.
    #[error("row {row}: {column} is earlier than in the row before")]
    OutOfOrder {
        /// Where.
        row: u64,
        /// Intended or arrival.
        column: Column,
    },
    /// A stamp lies before the one that must precede it: `start_ns` before `arrival_ns`, say.
    #[error("row {row}: {column} is before {before}")]
    Causality {
        /// Where.
        row: u64,
        /// The stamp that is too early.
        column: Column,
        /// The one that must not be after it.
        before: Column,
    },
    /// `accepted` is neither 0 nor 1.
    #[error("row {row}: accepted is neither 0 nor 1")]
    Accepted {
        /// Where.
        row: u64,
    },
    /// A refused message with a stamp of a service.
    #[error("row {row}: refused, and yet {column} is stamped")]
    StampOnRefused {
        /// Where.
        row: u64,
        /// Which stamp.
        column: Column,
    },
    /// A column that other rows fill is empty here.
    #[error("row {row}: {column} is empty")]
    MissingValue {
        /// Where.
        row: u64,
        /// Which one.
        column: Column,
    },
}

/// Holds rows against each other, one after another: what a reader and a judge both refuse.
#[derive(Debug, Default)]
struct Order {
    row: u64,
    first: Option<Event>,
    last: Option<Event>,
}

impl Order {
    fn check(&mut self, event: Event) -> Result<(), EventError> {
        self.row += 1;
        let row = self.row;
        let before = |column, before| Err(EventError::Causality { row, column, before });
        if event.arrival_ns < event.intended_ns {
            return before(Column::Arrival, Column::Intended);
        }
        if let Some(Served { start_ns, end_ns }) = event.served {
            if start_ns < event.arrival_ns {
                return before(Column::Start, Column::Arrival);
            }
            if end_ns < start_ns {
                return before(Column::End, Column::Start);
            }
        }
        let latest_ns = event.served.map_or(event.arrival_ns, |served| served.end_ns);
        if latest_ns > TIME_NS_MAX {
            return Err(EventError::TooLarge { row, column: Column::End, most: TIME_NS_MAX });
        }
        let first = *self.first.get_or_insert(event);
        for (column, had, has) in [
            (Column::Drawn, first.drawn_ns.is_some(), event.drawn_ns.is_some()),
            (Column::Class, first.class.is_some(), event.class.is_some()),
        ] {
            if had != has {
                return Err(EventError::MissingValue { row, column });
            }
        }
        let last = self.last.replace(event).unwrap_or(first);
        if event.intended_ns < last.intended_ns {
            return Err(EventError::OutOfOrder { row, column: Column::Intended });
        }
        if event.arrival_ns < last.arrival_ns {
            return Err(EventError::OutOfOrder { row, column: Column::Arrival });
        }
        Ok(())
    }
}

/// Could these be the rows of a run?
///
/// # Errors
///
/// [`EventError`] with the first row at fault; [`EventError::NoRows`] if there are none.
pub fn check_events(events: &[Event]) -> Result<(), EventError> {
    if events.is_empty() {
        return Err(EventError::NoRows);
    }
    if events.len() as u64 > MESSAGES_MAX {
        return Err(EventError::TooManyRows { row: MESSAGES_MAX + 1 });
    }
    let mut order = Order::default();
    events.iter().try_for_each(|event| order.check(*event))
}

/// Reads an event file to its end, checking each row.
///
/// # Errors
///
/// [`EventError`], with the first row at fault and its column.
pub fn read_events(mut from: impl BufRead) -> Result<Vec<Event>, EventError> {
    let mut line = Vec::with_capacity(LINE_BYTES_MAX as usize);
    if !next_line(&mut from, &mut line, 0)? {
        return Err(EventError::Empty);
    }
    let columns = header(&line)?;
    let (mut events, mut order) = (Vec::new(), Order::default());
    while next_line(&mut from, &mut line, order.row + 1)? {
        let row = order.row + 1;
        if row > MESSAGES_MAX {
            return Err(EventError::TooManyRows { row });
        }
        let event = parse(&line, &columns, row)?;
        order.check(event)?;
        events.push(event);
    }
    if events.is_empty() { Err(EventError::NoRows) } else { Ok(events) }
}

/// Writes an event file: a header and a row for each.
///
/// # Errors
///
/// [`EventError::Io`]; and whatever [`check_events`] finds, so that no file is written that could not be read.
pub fn write_events(mut to: impl Write, events: &[Event]) -> Result<(), EventError> {
    check_events(events)?;
    let (drawn, class) = (events[0].drawn_ns.is_some(), events[0].class.is_some());
    write!(to, "id,intended_ns,arrival_ns,start_ns,end_ns,accepted")?;
    write!(to, "{}", if drawn { ",drawn_ns" } else { "" })?;
    writeln!(to, "{}", if class { ",class" } else { "" })?;
    for (id, event) in events.iter().enumerate() {
        write!(to, "{id},{},{}", event.intended_ns, event.arrival_ns)?;
        match event.served {
            Some(Served { start_ns, end_ns }) => write!(to, ",{start_ns},{end_ns},1")?,
            None => write!(to, ",,,0")?,
        }
        if let Some(drawn_ns) = event.drawn_ns {
            write!(to, ",{drawn_ns}")?;
        }
        if let Some(class) = event.class {
            write!(to, ",{class}")?;
        }
        to.write_all(b"\n")?;
    }
    Ok(to.flush()?)
}

/// The next line without its end; `false` at the end of the file.
fn next_line(from: &mut impl BufRead, line: &mut Vec<u8>, row: u64) -> Result<bool, EventError> {
    line.clear();
    from.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', line)?;
    let more = !line.is_empty();
    match line.last() {
        Some(b'\n') => {
            line.pop();
        }
        Some(_) if line.len() as u64 == LINE_BYTES_MAX => {
            return Err(EventError::LineTooLong { row });
        }
        _ => {}
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(more)
}

/// Which columns there are, in order: the needed ones, then those of the optional ones that are there.
fn header(line: &[u8]) -> Result<Vec<Column>, EventError> {
    let named = |text: &[u8]| Column::ALL.into_iter().find(|one| one.name().as_bytes() == text);
    let names = line.split(|byte| *byte == b',').enumerate();
    let found: Vec<Column> = names
        .map(|(at, text)| named(text).ok_or(EventError::UnknownColumn { place: at + 1 }))
        .collect::<Result<_, _>>()?;
    let missing = Column::ALL[..Column::NEEDED].iter().find(|needed| !found.contains(needed));
    if let Some(column) = missing {
        return Err(EventError::MissingColumn { column: *column });
    }
    let sorted = Column::ALL.into_iter().filter(|column| found.contains(column));
    let misplaced = found
        .iter()
        .copied()
        .zip(sorted.map(Some).chain(std::iter::repeat(None)))
        .position(|(is, must)| Some(is) != must);
    match misplaced {
        Some(at) => Err(EventError::ColumnOrder { place: at + 1, found: found[at] }),
        None => Ok(found),
    }
}

/// One row, looked at by itself.
fn parse(line: &[u8], columns: &[Column], row: u64) -> Result<Event, EventError> {
    let (mut values, mut found) = ([None; Column::ALL.len()], 0);
    for field in line.split(|byte| *byte == b',') {
        if let Some(column) = columns.get(found) {
            values[*column as usize] = number(field, *column, row)?;
        }
        found += 1;
    }
    if found != columns.len() {
        return Err(EventError::Fields { row, found, expected: columns.len() });
    }
    let value = |column: Column| values[column as usize];
    let needed = |column| value(column).ok_or(EventError::MissingValue { row, column });
    let (id, expected) = (needed(Column::Id)?, row - 1);
    if id != expected {
        return Err(EventError::Id { row, found: id, expected });
    }
    let served = match needed(Column::Accepted)? {
        1 => Some(Served { start_ns: needed(Column::Start)?, end_ns: needed(Column::End)? }),
        0 => {
            let stamped =
                [Column::Start, Column::End].into_iter().find(|one| value(*one).is_some());
            match stamped {
                Some(column) => return Err(EventError::StampOnRefused { row, column }),
                None => None,
            }
        }
        _ => return Err(EventError::Accepted { row }),
    };
    for column in &columns[Column::NEEDED..] {
        needed(*column)?;
    }
    Ok(Event {
        intended_ns: needed(Column::Intended)?,
        arrival_ns: needed(Column::Arrival)?,
        served,
        drawn_ns: value(Column::Drawn),
        class: value(Column::Class).map(|class| class as u8),
    })
}

/// The number of a field; `None` if that is empty.
fn number(field: &[u8], column: Column, row: u64) -> Result<Option<u64>, EventError> {
    if field.is_empty() {
        return Ok(None);
    }
    if let [b'-', rest @ ..] = field {
        let digits =
            !rest.is_empty() && rest.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
        return Err(match digits {
            true => EventError::Negative { row, column },
            false => EventError::NotANumber { row, column },
        });
    }
    let most = if column == Column::Class { u64::from(u8::MAX) } else { TIME_NS_MAX };
    let mut value = 0_u64;
    for byte in field {
        if !byte.is_ascii_digit() {
            return Err(EventError::NotANumber { row, column });
        }
        // `most` is below a tenth of what a u64 holds, so that this cannot overflow.
        value = value * 10 + u64::from(byte - b'0');
        if value > most {
            return Err(EventError::TooLarge { row, column, most });
        }
    }
    Ok(Some(value))
}

const _: () = assert!(TIME_NS_MAX < u64::MAX / 10 - 1);

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "id,intended_ns,arrival_ns,start_ns,end_ns,accepted";

    fn read(text: &str) -> Result<Vec<Event>, EventError> {
        read_events(text.as_bytes())
    }

    /// What is wrong with these rows after the plain header.
    fn refused(rows: &str) -> EventError {
        read(&format!("{HEADER}\n{rows}")).expect_err("refused")
    }

    #[test]
    fn what_was_written_is_read_again() {
        let served = Some(Served { start_ns: 7, end_ns: 9 });
        let plain = Event { intended_ns: 4, arrival_ns: 5, served, drawn_ns: None, class: None };
        for (drawn_ns, class) in
            [(None, None), (Some(2), None), (None, Some(1)), (Some(2), Some(0))]
        {
            let first = Event { drawn_ns, class, ..plain };
            let events = [first, Event { served: None, arrival_ns: 6, ..first }, first];
            let events = &events[..2];
            let mut file = Vec::new();
            write_events(&mut file, events).expect("a vector takes all");
            assert_eq!(read_events(&file[..]).expect("what we write we read"), events);
        }
    }

    #[test]
    fn lines_may_end_in_two_characters_and_the_last_in_none() {
        let events = read(&format!("{HEADER}\r\n0,1,2,3,4,1\r\n1,1,2,,,0")).expect("two rows");
        assert_eq!(events.len(), 2);
        assert_eq!(events[0].served, Some(Served { start_ns: 3, end_ns: 4 }));
        assert_eq!(events[1].served, None);
    }

    #[test]
    fn a_file_without_rows_is_refused_by_name() {
        assert!(matches!(read(""), Err(EventError::Empty)));
        assert!(matches!(read(HEADER), Err(EventError::NoRows)));
        assert!(matches!(check_events(&[]), Err(EventError::NoRows)));
    }

    #[test]
    fn a_wrong_header_is_refused_with_its_column() {
        let header = |text: &str| read(text).expect_err("refused").to_string();
        assert_eq!(
            header("id,intended_ns,start_ns,end_ns,accepted"),
            "the header has no column `arrival_ns`"
        );
        assert_eq!(
            header("id,arrival_ns,intended_ns,start_ns,end_ns,accepted"),
            "the header's column 2 is `arrival_ns`: out of its order"
        );
        assert_eq!(header(&format!("{HEADER},colour")), "the header's column 7 has no known name");
        assert_eq!(header("0,1,2,3,4,1"), "the header's column 1 has no known name");
        assert_eq!(
            header(&format!("{HEADER},class,drawn_ns")),
            "the header's column 7 is `class`: out of its order"
        );
        assert_eq!(
            header(&format!("{HEADER},class,class")),
            "the header's column 8 is `class`: out of its order"
        );
    }

    #[test]
    fn each_fault_of_a_row_is_named_with_the_row_and_the_column() {
        let good = "0,1,2,3,4,1\n";
        for (second, message) in [
            ("1,1,2,3,4", "row 2: 5 fields, 6 columns"),
            ("1,1,2,3,4,1,9", "row 2: 7 fields, 6 columns"),
            ("", "row 2: 1 fields, 6 columns"),
            (",1,2,3,4,1", "row 2: id is empty"),
            ("1,x,2,3,4,1", "row 2: intended_ns is not a whole number"),
            ("1,1,2,3.5,4,1", "row 2: start_ns is not a whole number"),
            ("1,1,2,NaN,4,1", "row 2: start_ns is not a whole number"),
            ("1,1,2, 3,4,1", "row 2: start_ns is not a whole number"),
            ("1,-1,2,3,4,1", "row 2: intended_ns is negative"),
            ("1,-,2,3,4,1", "row 2: intended_ns is not a whole number"),
            ("1,1,2,3,1000000000000000001,1", "row 2: end_ns is beyond 1000000000000000000"),
            ("1,1,2,3,99999999999999999999999,1", "row 2: end_ns is beyond 1000000000000000000"),
            ("2,1,2,3,4,1", "row 2: id 2 where 1 must stand: a row is missing or doubled"),
            ("0,1,2,3,4,1", "row 2: id 0 where 1 must stand: a row is missing or doubled"),
            ("1,1,1,3,4,1", "row 2: arrival_ns is earlier than in the row before"),
            ("1,0,2,3,4,1", "row 2: intended_ns is earlier than in the row before"),
            ("1,3,2,3,4,1", "row 2: arrival_ns is before intended_ns"),
            ("1,1,4,3,5,1", "row 2: start_ns is before arrival_ns"),
            ("1,1,2,5,4,1", "row 2: end_ns is before start_ns"),
            ("1,1,2,3,4,2", "row 2: accepted is neither 0 nor 1"),
            ("1,1,2,3,,0", "row 2: refused, and yet start_ns is stamped"),
            ("1,1,2,,4,0", "row 2: refused, and yet end_ns is stamped"),
            ("1,1,2,3,,1", "row 2: end_ns is empty"),
            ("1,1,2,3,4,", "row 2: accepted is empty"),
        ] {
            let found = refused(&format!("{good}{second}\n")).to_string();
            assert_eq!(found, message, "{second}");
        }
    }

    #[test]
    fn a_class_or_a_draw_is_there_in_each_row_or_in_none() {
        let header = format!("{HEADER},drawn_ns,class\n");
        let empty = read(&format!("{header}0,1,2,3,4,1,,0\n")).expect_err("refused");
        assert_eq!(empty.to_string(), "row 1: drawn_ns is empty");
        let large = read(&format!("{header}0,1,2,3,4,1,5,256\n")).expect_err("refused");
        assert_eq!(large.to_string(), "row 1: class is beyond 255");
        let event =
            Event { intended_ns: 1, arrival_ns: 1, served: None, drawn_ns: None, class: None };
        let mixed = [event, Event { class: Some(1), ..event }];
        let error = check_events(&mixed).expect_err("refused");
        assert_eq!(error.to_string(), "row 2: class is empty");
    }

    #[test]
    fn a_line_without_end_is_refused_before_it_fills_the_memory() {
        let long = "1".repeat(10_000);
        assert!(matches!(refused(&long), EventError::LineTooLong { row: 1 }));
        assert!(matches!(read(&long), Err(EventError::LineTooLong { row: 0 })));
    }
}
