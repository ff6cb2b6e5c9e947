//! Sums over measurements.

/// Least, middle and greatest of some numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// None of no numbers.
    pub(crate) fn of(numbers: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = numbers.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let (low, high) = (sorted.get((sorted.len() - 1) / 2)?, sorted.get(sorted.len() / 2)?);
        Some(Self { min, median: f64::midpoint(*low, *high), max })
    }
}

/// The share `q` of the numbers is at most this. Sorts them.
pub(crate) fn quantile(numbers: &mut [f64], q: f64) -> Option<f64> {
    numbers.sort_by(f64::total_cmp);
    let last = numbers.len().checked_sub(1)?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index"
    )]
    let at = (last as f64 * q).round() as usize;
    numbers.get(at).copied()
}

/// The geometric mean; none of no numbers.
pub(crate) fn geometric_mean(numbers: &[f64]) -> Option<f64> {
    let count = u32::try_from(numbers.len()).ok().filter(|count| *count > 0)?;
    Some((numbers.iter().map(|number| number.ln()).sum::<f64>() / f64::from(count)).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_an_even_number_lies_between_two() {
        assert_eq!(Spread::of([4.0, 1.0, 2.0]), Some(Spread { min: 1.0, median: 2.0, max: 4.0 }));
        assert_eq!(Spread::of([4.0, 1.0]), Some(Spread { min: 1.0, median: 2.5, max: 4.0 }));
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn a_quantile_is_one_of_the_numbers() {
        let mut numbers: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(quantile(&mut numbers, 0.99), Some(99.0));
        assert_eq!(quantile(&mut numbers, 0.0), Some(1.0));
    }

    #[test]
    fn doubling_and_halving_cancel_out() {
        let mean = geometric_mean(&[2.0, 0.5]).unwrap();
        assert!((mean - 1.0).abs() < 1e-12);
    }
}
