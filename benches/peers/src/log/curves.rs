//! The latencies of the table `latency` as curves: how long an append took at most, for each share of the appends.
//!
//! A panel for each rate and state of the machine; both axes are logarithmic, the share by its distance from all of them,
//! so that p99.99 lies one step to the right of p99.9. All rounds are in a curve.

use crate::latency::Curves;
use crate::regime::Regime;
use hdrhistogram::Histogram;
use plotters::prelude::*;
use std::error::Error;
use std::path::Path;

const WIDTH: u32 = 960;
const PANEL: u32 = 380;
/// Decades of shares that are drawn: to p99.999.
const NINES_MAX: f64 = 5.0;
const STEPS_A_NINE: u32 = 20;

/// Draws them.
///
/// # Errors
///
/// If the file cannot be written.
pub fn draw(curves: &Curves, path: &Path) -> Result<(), Box<dyn Error>> {
    let curves = curves.borrow();
    let mut panels: Vec<(&str, Regime)> = Vec::new();
    for (workload, regime, _) in curves.keys() {
        if !panels.contains(&(workload, *regime)) {
            panels.push((workload, *regime));
        }
    }
    if panels.is_empty() {
        return Ok(());
    }
    let area = SVGBackend::new(path, (WIDTH, PANEL * panels.len() as u32)).into_drawing_area();
    area.fill(&WHITE)?;
    for (area, (workload, regime)) in area.split_evenly((panels.len(), 1)).iter().zip(panels) {
        let title = format!("append of 100 B at {workload}, {} (us)", regime.name());
        let mut chart = ChartBuilder::on(area)
            .caption(title, ("sans-serif", 15))
            .margin(10)
            .set_label_area_size(LabelAreaPosition::Left, 60)
            .set_label_area_size(LabelAreaPosition::Bottom, 30)
            .build_cartesian_2d(0.0..NINES_MAX, (0.02..100_000.0_f64).log_scale())?;
        chart
            .configure_mesh()
            .light_line_style(RGBColor(238, 238, 238))
            .x_labels(6)
            .x_label_formatter(&|nines| percentile(*nines))
            .y_label_formatter(&|us| format!("{us}"))
            .draw()?;
        let here = curves.iter().filter(|((of, state, _), _)| of == workload && *state == regime);
        for (line, ((_, _, peer), histogram)) in here.enumerate() {
            let colour = Palette99::pick(line).to_rgba();
            let series = LineSeries::new(points(histogram), colour.stroke_width(2));
            chart.draw_series(series)?.label(*peer).legend(move |(x, y)| {
                PathElement::new(vec![(x, y), (x + 18, y)], colour.stroke_width(2))
            });
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .border_style(BLACK)
            .background_style(WHITE)
            .draw()?;
    }
    area.present()?;
    Ok(())
}

/// As far to the right as there are latencies to speak of.
fn points(histogram: &Histogram<u64>) -> Vec<(f64, f64)> {
    let last = (histogram.len().max(1) as f64).log10().min(NINES_MAX);
    let steps = (last * f64::from(STEPS_A_NINE)) as u32;
    let point = |step: u32| {
        let nines = f64::from(step) / f64::from(STEPS_A_NINE);
        let share = 1.0 - 10_f64.powf(-nines);
        (nines, (histogram.value_at_quantile(share) as f64 / 1e3).max(0.02))
    };
    (0..=steps).map(point).collect()
}

/// 0, 90, 99, 99.9 ...
fn percentile(nines: f64) -> String {
    let whole = nines.round();
    if (nines - whole).abs() > 1e-6 {
        return String::new();
    }
    let digits = (whole as usize).saturating_sub(2);
    format!("p{:.digits$}", 100.0 * (1.0 - 10_f64.powf(-whole)))
}
