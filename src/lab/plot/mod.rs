//! Figures as values, and their drawing as SVG.
//!
//! ```text
//!  Figure ── title ── Panel ── x, y: Axis (label, unit, linear or log)
//!                       │
//!                       ├── Series (name, line or marker, points with intervals)
//!                       └── band (what counts as holding), or none
//! ```
//!
//! A figure says what is drawn, never how: colours (Okabe and Ito 2008, told apart by the colour-blind), markers and dashes
//! follow from a series' place, so that no two of a figure look alike in print either. What cannot be drawn (not finite, or
//! not above zero on a logarithmic axis) is counted and said under its panel, never dropped in silence; so
//! is what lies beyond the limits of an axis and is drawn at its edge.
//!
//! # Limits
//!
//! [`SERIES_MAX`] series a panel and [`PANELS_MAX`] panels; more are a named error: nobody could read them.

mod draw;
mod span;

pub use draw::svg;

/// The most series of one panel.
pub const SERIES_MAX: usize = 12;
/// The most panels of one figure.
pub const PANELS_MAX: usize = 6;

/// Why there is no figure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlotError {
    /// More series than can be told apart.
    #[error("panel {panel} has {series} series; {SERIES_MAX} are the most that can be told apart")]
    TooManySeries {
        /// Which panel, from 0.
        panel: usize,
        /// How many series it has.
        series: usize,
    },
    /// More panels than fit.
    #[error("{panels} panels; {PANELS_MAX} are the most of one figure")]
    TooManyPanels {
        /// How many.
        panels: usize,
    },
    /// The drawing library refused.
    #[error("the figure could not be drawn: {cause}")]
    Draw {
        /// Its words.
        cause: String,
    },
}

/// A figure: panels one above the other.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Figure {
    /// What question it answers.
    pub title: String,
    /// From above.
    pub panels: Vec<Panel>,
}

/// One coordinate system.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    /// To the right.
    pub x: Axis,
    /// Upwards.
    pub y: Axis,
    /// What is drawn; a line under the markers that come after it.
    pub series: Vec<Series>,
    /// Shaded between these two values of y, and what that is called.
    pub band: Option<Band>,
}

/// A shaded range of y.
#[derive(Debug, Clone, PartialEq)]
pub struct Band {
    /// Its name in the legend.
    pub name: String,
    /// Lower edge.
    pub low: f64,
    /// Upper edge.
    pub high: f64,
}

/// What an axis shows.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// What is measured along it.
    pub label: String,
    /// Its unit; `1` for what has none.
    pub unit: String,
    /// Even steps are even differences, or even factors?
    pub scale: Scale,
    /// These values are inside, whatever the data are.
    pub include: Vec<f64>,
    /// What is below or above is drawn at the edge, and counted under the panel: one wild value would flatten all others.
    pub limits: Option<(f64, f64)>,
}

impl Axis {
    /// An axis of even differences.
    #[must_use]
    pub fn linear(label: &str, unit: &str) -> Self {
        let (label, unit) = (label.into(), unit.into());
        Self { label, unit, scale: Scale::Linear, include: Vec::new(), limits: None }
    }

    /// An axis of even factors.
    #[must_use]
    pub fn log(label: &str, unit: &str) -> Self {
        Self { scale: Scale::Log, ..Self::linear(label, unit) }
    }

    /// The same, with these values inside.
    #[must_use]
    pub fn including(mut self, values: &[f64]) -> Self {
        self.include.extend_from_slice(values);
        self
    }

    /// The same, never beyond these two.
    #[must_use]
    pub fn limited(mut self, low: f64, high: f64) -> Self {
        self.limits = Some((low, high));
        self
    }

    fn is_beyond(&self, value: f64) -> bool {
        self.limits.is_some_and(|(low, high)| value < low || high < value)
    }

    fn text(&self) -> String {
        match self.scale {
            Scale::Linear => format!("{} ({})", self.label, self.unit),
            Scale::Log => format!("{} ({}; log scale)", self.label, self.unit),
        }
    }
}

/// How values become places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// By difference.
    Linear,
    /// By factor.
    Log,
}

/// What belongs together in a legend.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// How it is drawn.
    pub shape: Shape,
    /// Its points, in the order in which a line joins them.
    pub points: Vec<Datum>,
}

impl Series {
    /// Something measured: markers, with intervals where there are any.
    #[must_use]
    pub fn measured(name: impl Into<String>, points: Vec<Datum>) -> Self {
        Self { name: name.into(), shape: Shape::Markers, points }
    }

    /// A law: a line without markers.
    #[must_use]
    pub fn law(name: impl Into<String>, points: Vec<Datum>) -> Self {
        Self { name: name.into(), shape: Shape::Line, points }
    }

    /// Something measured along a row of settings: markers, joined.
    #[must_use]
    pub fn joined(name: impl Into<String>, points: Vec<Datum>) -> Self {
        Self { name: name.into(), shape: Shape::Joined, points }
    }
}

/// How a series is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A line.
    Line,
    /// A marker a point.
    Markers,
    /// Both.
    Joined,
}

/// A point, with its interval if it has one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Datum {
    /// Where.
    pub x: f64,
    /// How much.
    pub y: f64,
    /// From where to where it may be.
    pub interval: Option<(f64, f64)>,
}

impl Datum {
    /// A point without an interval.
    #[must_use]
    pub const fn at(x: f64, y: f64) -> Self {
        Self { x, y, interval: None }
    }

    /// A point plus or minus `half`.
    #[must_use]
    pub fn within(x: f64, y: f64, half: f64) -> Self {
        Self { x, y, interval: Some((y - half, y + half)) }
    }
}
