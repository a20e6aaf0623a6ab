//! A plot of a table, as SVG.
//!
//! A table of several workloads is drawn as bars, a panel for each workload, best first: the bar is the median, the
//! line across its end the quartiles, the thin line the least and the most. A sweep is drawn as lines, a panel for each
//! workload, quartiles as bars on each point. Times and rates span orders of magnitude, so both axes of figures are
//! logarithmic where that holds. Millstream is drawn in reds, by
//! its ends, the baseline in black, the others in pale colours.

use crate::peers::BASELINE;
use crate::report::{Entry, Report, Workload, short};
use crate::statistics::Spread;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::path::Path;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

const WIDTH: u32 = 960;
const TITLE: i32 = 40;
const PANEL_HEAD: i32 = 30;
const BAR: i32 = 20;
const LEFT: i32 = 190;
const RIGHT: i32 = 220;
const SWEEP_PANEL: u32 = 440;

const OURS: RGBColor = RGBColor(196, 62, 28);
const OURS_SOLE: RGBColor = RGBColor(234, 120, 40);
const OURS_MPSC: RGBColor = RGBColor(240, 170, 110);
const BASE: RGBColor = RGBColor(40, 40, 40);
const OTHERS: [RGBColor; 17] = [
    RGBColor(116, 160, 205),
    RGBColor(127, 178, 133),
    RGBColor(150, 90, 180),
    RGBColor(190, 140, 210),
    RGBColor(218, 190, 232),
    RGBColor(214, 178, 94),
    RGBColor(120, 190, 190),
    RGBColor(170, 170, 170),
    RGBColor(205, 150, 150),
    RGBColor(150, 140, 200),
    RGBColor(150, 170, 100),
    RGBColor(116, 160, 205),
    RGBColor(127, 178, 133),
    RGBColor(190, 140, 210),
    RGBColor(214, 178, 94),
    RGBColor(120, 190, 190),
    RGBColor(205, 150, 150),
];

/// Draws the first measure of each workload, and the third as well if there are so many: p50 and p99.9.
///
/// # Errors
///
/// If the file cannot be written.
pub fn draw(report: &Report<'_>, path: &Path) -> Drawn {
    let sweep = report.workloads.iter().any(|workload| workload.point.is_some());
    if sweep { sweeps(report, path) } else { bars(report, path) }
}

/// A workload and the measure that is drawn of it.
type Panel<'a> = (&'a Workload, usize);

fn bars(report: &Report<'_>, path: &Path) -> Drawn {
    let places = |workload: &Workload| match workload.entries[0].figures.len() {
        0..=2 => vec![0],
        _ => vec![0, 2],
    };
    let panels: Vec<Panel<'_>> = report
        .workloads
        .iter()
        .flat_map(|workload| places(workload).into_iter().map(move |place| (workload, place)))
        .collect();
    let height = |(workload, _): &Panel<'_>| PANEL_HEAD + BAR * workload.entries.len() as i32 + 12;
    let total = TITLE + panels.iter().map(height).sum::<i32>();
    let area = SVGBackend::new(path, (WIDTH, total as u32)).into_drawing_area();
    area.fill(&WHITE)?;
    write_at(&area, report.question, (10, 12), 17, HPos::Left, &BLACK)?;
    let mut top = TITLE;
    for panel in &panels {
        let (_, rest) = area.split_vertically(top);
        bar_panel(&rest, panel)?;
        top += height(panel);
    }
    area.present()?;
    Ok(())
}

fn bar_panel(area: &Area<'_>, (workload, place): &Panel<'_>) -> Drawn {
    let figure = &workload.entries[0].figures[*place];
    let head = match workload.entries[0].figures.len() {
        1 => format!("{} ({})", workload.name, figure.unit),
        _ => format!("{}: {} ({})", workload.name, figure.measure, figure.unit),
    };
    write_at(area, &head, (10, PANEL_HEAD / 2), 14, HPos::Left, &BLACK)?;
    let spreads = workload.entries.iter().filter_map(|entry| entry.figures[*place].spread);
    let scale = Scale::of(spreads);
    for (line, entry) in workload.entries.iter().enumerate() {
        bar(area, entry, *place, PANEL_HEAD + BAR * line as i32, &scale)?;
    }
    Ok(())
}

fn bar(area: &Area<'_>, entry: &Entry, place: usize, top: i32, scale: &Scale) -> Drawn {
    let figure = &entry.figures[place];
    let (middle, colour) = (top + BAR / 2, colour(entry.peer));
    write_at(area, entry.peer, (LEFT - 8, middle), 12, HPos::Right, &BLACK)?;
    let Some(spread) = figure.spread else {
        return write_at(area, "none", (LEFT + 4, middle), 12, HPos::Left, &BASE);
    };
    let x = |value| scale.place(value);
    let box_of_bar = [(LEFT, top + 3), (x(spread.median), top + BAR - 3)];
    area.draw(&Rectangle::new(box_of_bar, colour.filled()))?;
    let quartiles = [(x(spread.lower), middle), (x(spread.upper), middle)];
    let range = [(x(spread.min), middle), (x(spread.max), middle)];
    area.draw(&PathElement::new(range.to_vec(), BLACK.stroke_width(1)))?;
    area.draw(&PathElement::new(quartiles.to_vec(), BLACK.stroke_width(3)))?;
    let ratio = figure.ratio.map(|ratio| format!("   x{}", short(ratio.of_medians)));
    let label = format!("{}{}", short(spread.median), ratio.unwrap_or_default());
    let right = x(spread.max.max(spread.median)) + 8;
    write_at(area, &label, (right, middle), 12, HPos::Left, &BASE)
}

/// Where a figure lies, from [`LEFT`] on. Logarithmic if the figures span more than a decade and none is 0.
struct Scale {
    logarithmic: bool,
    from: f64,
    to: f64,
}

impl Scale {
    fn of(spreads: impl Iterator<Item = Spread>) -> Self {
        let (mut least, mut most) = (f64::INFINITY, 0.0_f64);
        for spread in spreads {
            least = least.min(spread.min);
            most = most.max(spread.max);
        }
        let logarithmic = least > 0.0 && most / least > 10.0;
        let from = if logarithmic { least / 2.0 } else { 0.0 };
        Self { logarithmic, from, to: most.max(f64::MIN_POSITIVE) }
    }

    fn place(&self, value: f64) -> i32 {
        let share = match self.logarithmic {
            true => (value / self.from).ln() / (self.to / self.from).ln(),
            false => value / self.to,
        };
        LEFT + (share * f64::from(WIDTH as i32 - LEFT - RIGHT)).round() as i32
    }
}

fn sweeps(report: &Report<'_>, path: &Path) -> Drawn {
    let mut names: Vec<&str> = Vec::new();
    for workload in &report.workloads {
        if !names.contains(&workload.name.as_str()) {
            names.push(&workload.name);
        }
    }
    let height = TITLE as u32 + SWEEP_PANEL * names.len() as u32;
    let area = SVGBackend::new(path, (WIDTH, height)).into_drawing_area();
    area.fill(&WHITE)?;
    write_at(&area, report.question, (10, 12), 17, HPos::Left, &BLACK)?;
    let (_, below) = area.split_vertically(TITLE);
    for (name, panel) in names.iter().zip(below.split_evenly((names.len(), 1))) {
        let points: Vec<&Workload> =
            report.workloads.iter().filter(|workload| workload.name == *name).collect();
        sweep_panel(&panel, name, &points)?;
    }
    area.present()?;
    Ok(())
}

fn sweep_panel(area: &Area<'_>, name: &str, points: &[&Workload]) -> Drawn {
    let spreads = || {
        let entries = points.iter().flat_map(|point| &point.entries);
        entries.filter_map(|entry| entry.figures[0].spread)
    };
    let least = spreads().map(|spread| spread.min).fold(f64::INFINITY, f64::min);
    let most = spreads().map(|spread| spread.max).fold(f64::MIN_POSITIVE, f64::max);
    let labels: Vec<&str> =
        points.iter().map(|point| point.point.as_deref().unwrap_or("")).collect();
    let head = format!("{name} ({})", points[0].entries[0].figures[0].unit);
    let (plot, legend) = area.split_horizontally(WIDTH as i32 - RIGHT + 40);
    let figures = (least * 0.8..most * 1.25).log_scale();
    let mut chart = ChartBuilder::on(&plot)
        .caption(head, ("sans-serif", 15))
        .margin(10)
        .set_label_area_size(LabelAreaPosition::Left, 60)
        .set_label_area_size(LabelAreaPosition::Bottom, 30)
        .build_cartesian_2d(-0.3..labels.len() as f64 - 0.7, figures)?;
    let label = |place: &f64| {
        let near = (place - place.round()).abs() < 1e-6 && *place > -0.1;
        labels.get(place.round() as usize).filter(|_| near).map_or(String::new(), |x| x.to_string())
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(RGBColor(238, 238, 238))
        .x_labels(2 * labels.len())
        .x_label_formatter(&label)
        .y_label_formatter(&|figure| short(*figure))
        .draw()?;
    for (line, peer) in peers(points).into_iter().enumerate() {
        let curve: Vec<(f64, Spread)> = curve(points, peer);
        let style = colour(peer).stroke_width(if peer == BASELINE || ours(peer) { 3 } else { 2 });
        let medians = curve.iter().map(|(x, spread)| (*x, spread.median));
        chart.draw_series(LineSeries::new(medians, style))?;
        let quartiles = curve.iter().map(|(x, spread)| {
            PathElement::new(vec![(*x, spread.lower), (*x, spread.upper)], style)
        });
        chart.draw_series(quartiles)?;
        let dots =
            curve.iter().map(|(x, spread)| Circle::new((*x, spread.median), 3, style.filled()));
        chart.draw_series(dots)?;
        let y = 50 + 20 * line as i32;
        legend.draw(&Rectangle::new([(5, y - 5), (25, y + 5)], colour(peer).filled()))?;
        write_at(&legend, peer, (32, y), 12, HPos::Left, &BLACK)?;
    }
    Ok(())
}

/// All that have a point in the panel, in the order of the first.
fn peers(points: &[&Workload]) -> Vec<&'static str> {
    let mut peers = Vec::new();
    for entry in points.iter().flat_map(|point| &point.entries) {
        if !peers.contains(&entry.peer) {
            peers.push(entry.peer);
        }
    }
    peers
}

fn curve(points: &[&Workload], peer: &str) -> Vec<(f64, Spread)> {
    let at = |(x, point): (usize, &&Workload)| {
        let entry = point.entries.iter().find(|entry| entry.peer == peer)?;
        entry.figures[0].spread.map(|spread| (x as f64, spread))
    };
    points.iter().enumerate().filter_map(at).collect()
}

fn ours(peer: &str) -> bool {
    peer.starts_with("millstream")
}

/// The same for a peer in every plot.
fn colour(peer: &str) -> RGBColor {
    const KNOWN: [&str; OTHERS.len()] = [
        "flume",
        "kanal",
        "crossfire mpmc",
        "crossfire mpsc",
        "crossfire spsc",
        "async-channel",
        "tokio",
        "std",
        "thingbuf",
        "rtrb",
        "disruptor",
        "raft-engine",
        "okaywal",
        "open-wal",
        "sqlite",
        "pwrite",
        "commitlog",
    ];
    match peer {
        BASELINE => BASE,
        "millstream mpsc" => OURS_MPSC,
        _ if peer.starts_with("millstream sole") => OURS_SOLE,
        _ if ours(peer) => OURS,
        _ => {
            let place = KNOWN.iter().position(|name| peer.starts_with(name));
            place.map_or(RGBColor(90, 90, 90), |place| OTHERS[place])
        }
    }
}

fn write_at(
    area: &Area<'_>,
    text: &str,
    at: (i32, i32),
    size: i32,
    side: HPos,
    colour: &RGBColor,
) -> Drawn {
    let style = ("sans-serif", size).into_font().color(colour);
    area.draw(&Text::new(text.to_owned(), at, style.pos(Pos::new(side, VPos::Center))))?;
    Ok(())
}
