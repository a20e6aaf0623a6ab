//! Medians and spreads of a handful of repetitions.

use serde::Serialize;

/// Repetitions, summed up. Quartiles are interpolated linearly (Hyndman and Fan, 1996, type 7).
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The least.
    pub min: f64,
    /// A quarter is below.
    pub lower: f64,
    /// Half is below.
    pub median: f64,
    /// A quarter is above.
    pub upper: f64,
    /// The most.
    pub max: f64,
}

impl Spread {
    /// Of the figures that are numbers; none if there is none.
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = figures.into_iter().filter(|each| each.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        let at = |share: f64| {
            let place = share * last as f64;
            let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
            low + (high - low) * place.fract()
        };
        Some(Self { min: at(0.0), lower: at(0.25), median: at(0.5), upper: at(0.75), max: at(1.0) })
    }
}

/// Which way a figure is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// Rates.
    Higher,
    /// Times, shares, counts of instructions.
    Lower,
}

/// How many times better than the baseline: above 1 is better, whichever way the figure goes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Ratio {
    /// Of the medians.
    pub of_medians: f64,
    /// Of each repetition's own ratio.
    pub spread: Spread,
}

impl Ratio {
    /// Of repetitions, one of each by turns; none where a figure is missing or a median is 0.
    pub fn of(figures: &[f64], baseline: &[f64], better: Better) -> Option<Self> {
        let times = |figure: f64, base: f64| match better {
            Better::Higher => figure / base,
            Better::Lower => base / figure,
        };
        let medians = (Spread::of(figures.iter().copied())?, Spread::of(baseline.iter().copied())?);
        let of_medians = times(medians.0.median, medians.1.median);
        let each = figures.iter().zip(baseline).map(|(figure, base)| times(*figure, *base));
        let spread = Spread::of(each)?;
        of_medians.is_finite().then_some(Self { of_medians, spread })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_lie_between_their_neighbours() {
        let spread = Spread::of([4.0, 1.0, 3.0, 2.0, f64::NAN]).expect("four numbers");
        let expected = Spread { min: 1.0, lower: 1.75, median: 2.5, upper: 3.25, max: 4.0 };
        assert_eq!(spread, expected);
        assert_eq!(Spread::of([f64::NAN]), None);
    }

    #[test]
    fn a_ratio_above_one_is_better_whichever_way_the_figure_goes() {
        let (fast, slow) = ([20.0, 30.0, 40.0], [10.0, 10.0, 20.0]);
        let rate = Ratio::of(&fast, &slow, Better::Higher).expect("numbers");
        let time = Ratio::of(&slow, &fast, Better::Lower).expect("numbers");
        assert_eq!(rate, time);
        assert_eq!((rate.of_medians, rate.spread.min, rate.spread.max), (3.0, 2.0, 3.0));
        assert_eq!(Ratio::of(&[0.0], &[1.0], Better::Lower), None);
    }
}
