//! The drawing of a figure: plotters' SVG backend, without fonts.
//!
//! ```text
//!  title
//!  ┌─────────────────────────┬──────────┐
//!  │ plot, grid, axes        │ legend   │   a panel; the legend has its own column, so that it never lies on data
//!  └─────────────────────────┴──────────┘
//!  what could not be drawn
//! ```
//!
//! Sizes are pixels. Without fonts nobody knows how wide a text is, so texts are cut or broken at a number of characters
//! that fits in a wide sans-serif.

use super::span::{Span, drawable};
use super::{Band, Datum, Figure, PANELS_MAX, Panel, PlotError, SERIES_MAX, Series, Shape};
use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::Shift;
use plotters::element::{Circle, PathElement, Polygon, Rectangle, Text};
use plotters::prelude::{Cartesian2d, Color, DrawingArea, IntoDrawingArea, RGBColor, SVGBackend};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{IntoFont, ShapeStyle, TextStyle};

const WIDTH: u32 = 960;
const TITLE_HEIGHT: u32 = 40;
const PANEL_HEIGHT: u32 = 380;
const LEGEND_WIDTH: u32 = 240;
const MARGIN: u32 = 12;
const AXIS_HEIGHT: u32 = 54;
const AXIS_WIDTH: u32 = 76;
/// The backend divides by 1.24: these are 16, 12 and 11 pixels.
const TITLE_SIZE: f64 = 16.0 * 1.24;
const LABEL_SIZE: f64 = 12.0 * 1.24;
const SMALL_SIZE: f64 = 11.0 * 1.24;
/// Characters of small text in a line of the legend, and in a line under a panel.
const LEGEND_CHARACTERS: usize = 28;
const NOTE_CHARACTERS: usize = 100;
/// Characters of a title.
const TITLE_CHARACTERS: usize = 90;
const LINE_HEIGHT: i32 = 15;
const _: () = assert!((SERIES_MAX + 1) as i32 * (LINE_HEIGHT + 6) < PANEL_HEIGHT as i32 - 40);
const MARKER: i32 = 4;

const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
const GREY: RGBColor = RGBColor(0x66, 0x66, 0x66);
const GRID: RGBColor = RGBColor(0xE4, 0xE4, 0xE4);
const SHADE: RGBColor = RGBColor(0xE0, 0xEE, 0xE0);
const WHITE: RGBColor = RGBColor(0xFF, 0xFF, 0xFF);
/// Okabe and Ito's palette without its yellow, which is too light for a line on white.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0x00, 0x72, 0xB2),
    RGBColor(0xD5, 0x5E, 0x00),
    RGBColor(0x00, 0x9E, 0x73),
    RGBColor(0xCC, 0x79, 0xA7),
    RGBColor(0x1A, 0x1A, 0x1A),
    RGBColor(0x56, 0xB4, 0xE9),
];
/// Pixels drawn and pixels left out; the first is a whole line.
const DASHES: [(f64, f64); 4] = [(1.0, 0.0), (8.0, 4.0), (3.0, 3.0), (14.0, 4.0)];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Plot<'a, 'b> = ChartContext<'b, SVGBackend<'a>, Cartesian2d<Span, Span>>;
type Pixel = (i32, i32);

/// The figure as an SVG document.
///
/// # Errors
///
/// [`PlotError`]: more panels or series than can be told apart.
pub fn svg(figure: &Figure) -> Result<String, PlotError> {
    let panels = figure.panels.len();
    if panels > PANELS_MAX {
        return Err(PlotError::TooManyPanels { panels });
    }
    for (panel, drawn) in figure.panels.iter().enumerate() {
        let series = drawn.series.len();
        if series > SERIES_MAX {
            return Err(PlotError::TooManySeries { panel, series });
        }
    }
    let mut text = String::new();
    let height = TITLE_HEIGHT + PANEL_HEIGHT * (panels.max(1) as u32);
    {
        let area = SVGBackend::with_string(&mut text, (WIDTH, height)).into_drawing_area();
        paint(&area, figure).map_err(|error| PlotError::Draw { cause: error.to_string() })?;
        area.present().map_err(|error| PlotError::Draw { cause: error.to_string() })?;
    }
    Ok(text)
}

type Drawn<'a> = Result<
    (),
    plotters::drawing::DrawingAreaErrorKind<
        <SVGBackend<'a> as plotters::prelude::DrawingBackend>::ErrorType,
    >,
>;

fn paint<'a>(area: &Area<'a>, figure: &Figure) -> Drawn<'a> {
    area.fill(&WHITE)?;
    let title = shorten(&figure.title, TITLE_CHARACTERS);
    write(area, &title, (MARGIN as i32, 22), TITLE_SIZE, INK, HPos::Left)?;
    for (index, panel) in figure.panels.iter().enumerate() {
        paint_panel(area, panel, TITLE_HEIGHT + PANEL_HEIGHT * index as u32)?;
    }
    match figure.panels.is_empty() {
        true => {
            let middle = (WIDTH as i32 / 2, (TITLE_HEIGHT + PANEL_HEIGHT / 2) as i32);
            write(area, "no data", middle, LABEL_SIZE, GREY, HPos::Center)
        }
        false => Ok(()),
    }
}

fn paint_panel<'a>(root: &Area<'a>, panel: &Panel, top: u32) -> Drawn<'a> {
    let places = panel.series.iter().flat_map(|series| &series.points);
    let whole =
        |datum: &&Datum| drawable(panel.x.scale, datum.x) && drawable(panel.y.scale, datum.y);
    let drawn: Vec<Datum> = places.clone().filter(whole).copied().collect();
    let left_out = places.count() - drawn.len();
    let ends = |datum: &Datum| datum.interval.map_or([datum.y; 3], |(a, b)| [datum.y, a, b]);
    // Where an interval reaches below zero a logarithmic axis ends at the least value, or a tenth of it.
    let floor = drawn.iter().map(|datum| datum.y).fold(f64::INFINITY, f64::min) / 10.0;
    let log = panel.y.scale == super::Scale::Log;
    let heights = drawn.iter().flat_map(ends).filter(|value| !log || *value >= floor);
    let band = panel.band.iter().flat_map(|band| [band.low, band.high]);
    let x = Span::over(&panel.x, drawn.iter().map(|datum| datum.x));
    let y = Span::over(&panel.y, heights.chain(band));

    let chart_area = root.clone().shrink((0, top), (WIDTH - LEGEND_WIDTH, PANEL_HEIGHT - 20));
    let mut plot: Plot<'a, '_> = ChartBuilder::on(&chart_area)
        .margin(MARGIN)
        .x_label_area_size(AXIS_HEIGHT)
        .y_label_area_size(AXIS_WIDTH)
        .build_cartesian_2d(x.clone(), y.clone())?;
    if let Some(band) = &panel.band {
        let corners =
            [(x.low(), band.high), (x.high(), band.low)].map(|at| plot.backend_coord(&at));
        root.draw(&Rectangle::new(corners, SHADE.filled()))?;
    }
    plot.configure_mesh()
        .max_light_lines(0)
        .bold_line_style(GRID)
        .axis_style(GREY)
        .label_style(style(SMALL_SIZE, INK))
        .axis_desc_style(style(LABEL_SIZE, INK))
        .x_desc(panel.x.text())
        .y_desc(panel.y.text())
        .draw()?;
    for (index, series) in panel.series.iter().enumerate() {
        paint_series(root, &plot, panel, series, index)?;
    }
    paint_legend(root, panel, top)?;
    if drawn.is_empty() {
        let middle = ((x.low(), y.low()), (x.high(), y.high()));
        let (a, b) = (plot.backend_coord(&middle.0), plot.backend_coord(&middle.1));
        let at = ((a.0 + b.0) / 2, (a.1 + b.1) / 2);
        write(root, "no data", at, LABEL_SIZE, GREY, HPos::Center)?;
    }
    let mut notes = Vec::new();
    if left_out > 0 {
        let reason = if log { "not finite, or not above zero" } else { "not finite" };
        notes.push(format!("{left_out} points are not drawn: {reason}"));
    }
    let beyond = drawn.iter().filter(|datum| panel.y.is_beyond(datum.y)).count();
    if beyond > 0 {
        notes.push(format!("{beyond} points lie beyond the axis and are drawn at its edge"));
    }
    if notes.is_empty() {
        return Ok(());
    }
    let at = ((MARGIN + AXIS_WIDTH) as i32, (top + PANEL_HEIGHT) as i32 - 14);
    write(root, &shorten(&notes.join("; "), NOTE_CHARACTERS), at, SMALL_SIZE, GREY, HPos::Left)
}

fn paint_series<'a>(
    root: &Area<'a>,
    plot: &Plot<'a, '_>,
    panel: &Panel,
    series: &Series,
    index: usize,
) -> Drawn<'a> {
    let colour = COLOURS[index % COLOURS.len()];
    let whole =
        |datum: &&Datum| drawable(panel.x.scale, datum.x) && drawable(panel.y.scale, datum.y);
    let points: Vec<&Datum> = series.points.iter().filter(whole).collect();
    if series.shape != Shape::Markers {
        let way = points.iter().map(|datum| plot.backend_coord(&(datum.x, datum.y))).collect();
        paint_line(root, way, colour, index)?;
    }
    if series.shape == Shape::Line {
        return Ok(());
    }
    for datum in points {
        let middle = plot.backend_coord(&(datum.x, datum.y));
        if let Some((low, high)) = datum.interval {
            let ends = [low, high].map(|value| plot.backend_coord(&(datum.x, value)));
            root.draw(&PathElement::new(ends.to_vec(), colour.stroke_width(1)))?;
            for (x, y) in ends {
                let cap = vec![(x - 3, y), (x + 3, y)];
                root.draw(&PathElement::new(cap, colour.stroke_width(1)))?;
            }
        }
        paint_marker(root, middle, index, colour)?;
    }
    Ok(())
}

/// A line through pixels, dashed as the `index`-th series is.
fn paint_line<'a>(root: &Area<'a>, way: Vec<Pixel>, colour: RGBColor, index: usize) -> Drawn<'a> {
    let style = colour.stroke_width(2);
    let (on, off) = DASHES[index % DASHES.len()];
    if off == 0.0 {
        return root.draw(&PathElement::new(way, style));
    }
    for dash in dashes(&way, on, off) {
        root.draw(&PathElement::new(dash, style))?;
    }
    Ok(())
}

/// Cuts a way into pieces of `on` pixels with `off` between them.
fn dashes(way: &[Pixel], on: f64, off: f64) -> Vec<Vec<Pixel>> {
    let mut pieces = Vec::new();
    let mut piece: Vec<Pixel> = way.first().copied().into_iter().collect();
    let (mut drawing, mut left) = (true, on);
    for pair in way.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        let (wide, high) = (f64::from(to.0 - from.0), f64::from(to.1 - from.1));
        let length = wide.hypot(high);
        let mut gone = 0.0;
        while length - gone >= left {
            gone += left;
            let share = gone / length;
            let x = f64::from(from.0) + wide * share;
            let at = (x.round() as i32, (f64::from(from.1) + high * share).round() as i32);
            if drawing {
                piece.push(at);
                pieces.push(std::mem::take(&mut piece));
            } else {
                piece = vec![at];
            }
            drawing = !drawing;
            left = if drawing { on } else { off };
        }
        left -= length - gone;
        if drawing {
            piece.push(to);
        }
    }
    if drawing && piece.len() > 1 {
        pieces.push(piece);
    }
    pieces
}

/// The mark of the `index`-th series.
fn paint_marker<'a>(root: &Area<'a>, at: Pixel, index: usize, colour: RGBColor) -> Drawn<'a> {
    let (x, y) = at;
    let r = MARKER;
    // The second half of the marks is hollow, so that twelve series are twelve marks.
    let fill: ShapeStyle = match index / 6 {
        0 => colour.filled(),
        _ => colour.stroke_width(2),
    };
    let outline = |corners: Vec<Pixel>| {
        if index / 6 == 0 {
            return root.draw(&Polygon::new(corners, colour.filled()));
        }
        let closed = corners.iter().chain(corners.first()).copied().collect::<Vec<_>>();
        root.draw(&PathElement::new(closed, colour.stroke_width(2)))
    };
    match index % 6 {
        0 => root.draw(&Circle::new(at, r, fill)),
        1 => outline(vec![(x - r, y - r), (x + r, y - r), (x + r, y + r), (x - r, y + r)]),
        2 => outline(vec![(x, y - r - 1), (x + r + 1, y + r), (x - r - 1, y + r)]),
        3 => outline(vec![(x, y - r - 1), (x + r + 1, y), (x, y + r + 1), (x - r - 1, y)]),
        4 => outline(vec![(x, y + r + 1), (x + r + 1, y - r), (x - r - 1, y - r)]),
        _ => {
            let strokes = [[(x - r, y - r), (x + r, y + r)], [(x - r, y + r), (x + r, y - r)]];
            for stroke in strokes {
                root.draw(&PathElement::new(stroke.to_vec(), colour.stroke_width(2)))?;
            }
            Ok(())
        }
    }
}

fn paint_legend<'a>(root: &Area<'a>, panel: &Panel, top: u32) -> Drawn<'a> {
    let left = (WIDTH - LEGEND_WIDTH) as i32 + 4;
    let all = panel.series.iter().map(|series| series.name.as_str());
    let all = all.chain(panel.band.iter().map(|band| band.name.as_str()));
    let heights = all.map(|name| wrap(name, LEGEND_CHARACTERS).len() as i32 * LINE_HEIGHT + 6);
    // Where they do not fit, each name has one line.
    let fits = heights.sum::<i32>() <= (PANEL_HEIGHT - 40) as i32;
    let mut y = top as i32 + 22;
    let names = panel.series.iter().map(|series| (series.name.as_str(), Some(series.shape)));
    let band = panel.band.iter().map(|Band { name, .. }| (name.as_str(), None));
    // A series without points keeps its place, so that the others keep their colours; it has nothing to name.
    let is_empty =
        |index: usize| panel.series.get(index).is_some_and(|series| series.points.is_empty());
    let named = names.chain(band).enumerate().filter(|(index, _)| !is_empty(*index));
    for (index, (name, shape)) in named {
        let colour = COLOURS[index % COLOURS.len()];
        match shape {
            None => {
                let corners = [(left, y - 5), (left + 22, y + 5)];
                root.draw(&Rectangle::new(corners, SHADE.filled()))?;
                root.draw(&Rectangle::new(corners, GRID.stroke_width(1)))?;
            }
            Some(shape) => {
                if shape != Shape::Markers {
                    paint_line(root, vec![(left, y), (left + 22, y)], colour, index)?;
                }
                if shape != Shape::Line {
                    paint_marker(root, (left + 11, y), index, colour)?;
                }
            }
        }
        let lines = match fits {
            true => wrap(name, LEGEND_CHARACTERS),
            false => vec![shorten(name, LEGEND_CHARACTERS)],
        };
        for line in lines {
            write(root, &line, (left + 30, y), SMALL_SIZE, INK, HPos::Left)?;
            y += LINE_HEIGHT;
        }
        y += 6;
    }
    Ok(())
}

fn style(size: f64, colour: RGBColor) -> TextStyle<'static> {
    let mut style = TextStyle::from(("sans-serif", size).into_font());
    style.color = colour.to_backend_color();
    style
}

fn write<'a>(
    root: &Area<'a>,
    text: &str,
    at: Pixel,
    size: f64,
    colour: RGBColor,
    horizontal: HPos,
) -> Drawn<'a> {
    let style = style(size, colour).pos(Pos::new(horizontal, VPos::Center));
    root.draw(&Text::new(text.to_string(), at, style))
}

/// The text, cut if it is longer than `most` characters.
fn shorten(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.into();
    }
    text.chars().take(most - 3).chain("...".chars()).collect()
}

/// Lines of at most `most` characters, broken between words; a longer word is cut.
fn wrap(text: &str, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace().map(|word| shorten(word, most)) {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= most => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::{Axis, Scale};
    use super::*;

    /// A text of a document: where it hangs, its size, how it is turned, its words.
    struct Label {
        x: f64,
        y: f64,
        size: f64,
        anchor: String,
        turned: bool,
        text: String,
    }

    fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
        let from = tag.find(&format!(" {name}=\""))? + name.len() + 3;
        tag[from..].split('"').next()
    }

    /// Walks a document: every tag is closed in order, every `&` begins an entity. Returns its texts.
    fn labels(document: &str) -> Vec<Label> {
        let mut open: Vec<String> = Vec::new();
        let mut labels = Vec::new();
        let mut rest = document.trim();
        while !rest.is_empty() {
            let from = rest.strip_prefix('<').expect("a tag");
            let end = from.find('>').expect("a tag ends");
            let tag = &from[..end];
            assert!(!tag.contains('<'), "a bare < in {tag}");
            let text_end = from[end..].find('<').map_or(from.len(), |at| at + end);
            let text = from[end + 1..text_end.max(end + 1)].trim();
            assert!(!text.contains('>'), "a bare > in {text}");
            for after in text.split('&').skip(1) {
                let entities = ["lt;", "gt;", "amp;", "quot;", "apos;", "#"];
                assert!(entities.iter().any(|known| after.starts_with(known)), "&{after}");
            }
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop().as_deref(), Some(name), "closed in order");
            } else if !tag.ends_with('/') {
                open.push(tag.split_whitespace().next().expect("a name").into());
            }
            if tag.starts_with("text ") {
                let number = |name| attribute(tag, name).expect("is there").parse::<f64>();
                labels.push(Label {
                    x: number("x").expect("a number"),
                    y: number("y").expect("a number"),
                    size: number("font-size").expect("a number"),
                    anchor: attribute(tag, "text-anchor").expect("is there").into(),
                    turned: attribute(tag, "transform").is_some_and(|how| how.contains("rotate")),
                    // An entity is one character.
                    text: text
                        .replace("&lt;", "<")
                        .replace("&gt;", ">")
                        .replace("&quot;", "\"")
                        .replace("&amp;", "&"),
                });
            }
            rest = &from[text_end.max(end + 1)..];
        }
        assert_eq!(open, Vec::<String>::new(), "all tags are closed");
        labels
    }

    fn assert_inside(document: &str) -> Vec<Label> {
        let size = |name| attribute(document, name).expect("is there").parse::<f64>();
        let (width, height) = (size("width").expect("wide"), size("height").expect("high"));
        let labels = labels(document);
        for label in &labels {
            let long = label.text.chars().count() as f64 * label.size * 0.6;
            let before = match label.anchor.as_str() {
                "start" => 0.0,
                "middle" => long / 2.0,
                _ => long,
            };
            let (low, high, most) = if label.turned {
                (label.y - long / 2.0, label.y + long / 2.0, height)
            } else {
                (label.x - before, label.x - before + long, width)
            };
            assert!(0.0 <= low && high <= most, "{} {low} {high} {most}", label.text);
            let across = if label.turned { (label.x, width) } else { (label.y, height) };
            let half = label.size / 2.0;
            assert!(half <= across.0 && across.0 <= across.1 - half, "{} {across:?}", label.text);
        }
        labels
    }

    fn panel(series: Vec<Series>) -> Panel {
        let x = Axis::linear("load, rho", "1").including(&[0.0, 1.0]);
        let y = Axis::log("mean time in the system", "services");
        let band = Band { name: "1 % of the law".into(), low: 1.5, high: 2.5 };
        Panel { x, y, series, band: Some(band) }
    }

    fn numbered(count: usize) -> Vec<Series> {
        let point = |index: usize| Datum::within(0.1 * index as f64, 1.0 + index as f64, 0.4);
        let one = |index: usize| Series {
            name: format!("series {index} <with> \"signs\" & a rather long name"),
            shape: [Shape::Markers, Shape::Line, Shape::Joined][index % 3],
            points: (0..5).map(|at| point(at + index)).collect(),
        };
        (0..count).map(one).collect()
    }

    /// Promise: a document is well-formed, every text is inside the canvas, axes carry their unit, and text is escaped.
    #[test]
    fn a_document_is_well_formed_and_every_label_is_inside() {
        let title = "How long <does> a message & its \"friends\" stay? ".repeat(4);
        let figure = Figure { title, panels: vec![panel(numbered(7)), panel(numbered(12))] };
        let document = svg(&figure).expect("a figure");
        let labels = assert_inside(&document);
        let has = |text: &str| labels.iter().filter(|label| label.text.contains(text)).count();
        assert_eq!(has("load, rho (1)"), 2);
        assert_eq!(has("mean time in the system (services; log scale)"), 2);
        assert_eq!(has("series 6 <with"), 2);
        assert_eq!(has("1 % of"), 2);
        assert!(document.contains("fill=\"#FFFFFF\""), "a light background");
    }

    /// Promise: nothing that can be handed in panics, and what was not drawn is said.
    #[test]
    fn nothing_one_thing_and_no_number_are_drawn_and_said() {
        let odd = [f64::NAN, f64::INFINITY, -1.0, 0.0, 1e-320, 1e308, 3.0];
        for scale in [Scale::Linear, Scale::Log] {
            for count in 0..=odd.len() {
                let points = odd[..count].iter().map(|y| Datum::within(0.5, *y, f64::NAN));
                let series = vec![Series::joined("odd", points.collect())];
                let mut panel = panel(series);
                panel.y.scale = scale;
                panel.x.scale = scale;
                panel.band = None;
                let figure = Figure { title: "odd".into(), panels: vec![panel] };
                let document = svg(&figure).expect("a figure");
                let labels = assert_inside(&document);
                let said = |text: &str| labels.iter().any(|label| label.text.contains(text));
                assert_eq!(said("no data"), count <= 2 || count <= 6 && scale == Scale::Log);
                assert_eq!(said("are not drawn"), count > 0, "{count} {scale:?}");
                assert!(!document.contains("NaN"));
            }
        }
        let empty = svg(&Figure::default()).expect("a figure");
        assert!(assert_inside(&empty).iter().any(|label| label.text == "no data"));
    }

    #[test]
    fn one_wild_value_does_not_flatten_the_others_and_is_said() {
        let points = [1.01, 0.99, 800.0].map(|y| Datum::within(y / 1000.0, y, 700.0));
        let y = Axis::linear("W measured / law", "ratio").limited(0.7, 1.5);
        let x = Axis::linear("load", "1");
        let series = vec![Series::measured("memory", points.to_vec())];
        let panels = vec![Panel { x, y, series, band: None }];
        let document = svg(&Figure { title: "wild".into(), panels }).expect("a figure");
        let labels = assert_inside(&document);
        let said = |text: &str| labels.iter().any(|label| label.text == text);
        assert!(said("1 points lie beyond the axis and are drawn at its edge"));
        assert!(said("0.8") && said("1.4") && !said("500"));
    }

    #[test]
    fn more_than_can_be_told_apart_is_a_named_error() {
        let figure = Figure { title: String::new(), panels: vec![panel(numbered(13))] };
        assert_eq!(svg(&figure), Err(PlotError::TooManySeries { panel: 0, series: 13 }));
        let figure = Figure { title: String::new(), panels: vec![panel(Vec::new()); 7] };
        assert_eq!(svg(&figure), Err(PlotError::TooManyPanels { panels: 7 }));
    }

    #[test]
    fn dashes_cover_a_way_in_order() {
        let pieces = dashes(&[(0, 0), (20, 0), (20, 10)], 8.0, 4.0);
        let ends = [vec![(0, 0), (8, 0)], vec![(12, 0), (20, 0)], vec![(20, 4), (20, 10)]];
        assert_eq!(pieces, ends);
    }

    #[test]
    fn text_is_broken_between_words_and_cut_only_where_a_word_is_too_long() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("incomprehensible", 8), ["incom..."]);
        assert_eq!(wrap("", 8), Vec::<String>::new());
    }
}
