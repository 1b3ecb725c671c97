//! Units that a catalogue's labels cannot be in, told by nearly all of their values.

use std::path::Path;

use crate::error::{Error, Result};

/// Fewer values than this tell nothing.
const FEWEST: usize = 10;
/// Share of the values that tells the unit of all.
const NEARLY_ALL: f64 = 0.9;
/// No star is as cool as this [K].
const COOLEST: f64 = 100.0;
/// log g [dex, cgs] from the largest giants to white dwarfs, with room.
const GRAVITIES: std::ops::RangeInclusive<f64> = -2.0..=10.0;

/// Values of one label that say something of its unit.
#[derive(Debug, Default, Clone)]
struct Seen {
    known: usize,
    zero: usize,
    /// From 0 on, and below the effective temperature of any star.
    cool: usize,
    /// Outside the surface gravities of stars.
    no_gravity: usize,
    largest: f64,
}

/// What was seen of each label, over all rows of a catalogue.
#[derive(Debug)]
pub(super) struct LabelUnits<'a> {
    labels: &'a [String],
    seen: Vec<Seen>,
}

impl<'a> LabelUnits<'a> {
    /// Nothing, as yet.
    pub fn new(labels: &'a [String]) -> Self {
        Self { labels, seen: vec![Seen::default(); labels.len()] }
    }

    /// Looks at the labels of a row; NaN where missing.
    pub fn add(&mut self, row: &[f64]) {
        for (seen, value) in self.seen.iter_mut().zip(row).filter(|(_, value)| value.is_finite()) {
            seen.known += 1;
            seen.zero += usize::from(*value == 0.0);
            seen.cool += usize::from((0.0..COOLEST).contains(value));
            seen.no_gravity += usize::from(!GRAVITIES.contains(value));
            seen.largest = seen.largest.max(*value);
        }
    }

    /// Refuses Teff that nearly always is 0 or far below any star's, and log g that nearly no star has.
    ///
    /// # Errors
    /// [`Error::Format`], with the remedy.
    pub fn expect_usual(&self, path: &Path) -> Result<()> {
        for (label, seen) in self.labels.iter().zip(&self.seen).filter(|(_, seen)| seen.known >= FEWEST) {
            let most = NEARLY_ALL * seen.known as f64;
            let doubt = match label.to_lowercase().as_str() {
                "teff" => seen.teff(label, most),
                "logg" if seen.no_gravity as f64 >= most => Some(format!(
                    "{label} of {} of {} stars is beyond {} to {}, and it is log10 of the surface gravity in cm/s^2; in [data.columns], {label} = \"log10({label})\" makes it of a gravity",
                    seen.no_gravity,
                    seen.known,
                    GRAVITIES.start(),
                    GRAVITIES.end()
                )),
                _ => None,
            };
            if let Some(doubt) = doubt {
                return Err(Error::format(path, doubt));
            }
        }
        Ok(())
    }
}

impl Seen {
    fn teff(&self, label: &str, most: f64) -> Option<String> {
        let Self { known, zero, cool, largest, .. } = self;
        if 2 * zero > *known {
            return Some(format!(
                "{label} of {zero} of {known} stars is 0 K; leave it empty where it is unknown, or name another column in [data.columns]"
            ));
        }
        if (*cool as f64) < most {
            return None;
        }
        let logarithm = match largest {
            largest if *largest < 6.0 => format!(", of its logarithm \"10 ** {label}\""),
            _ => String::new(),
        };
        Some(format!(
            "{label} of {cool} of {known} stars is below {COOLEST} K, and it is in K; in [data.columns], {label} = \"1000 * {label}\" makes it of kilokelvin{logarithm} (write the column's own name on the right)"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(label: &str, value: impl Fn(usize) -> f64) -> String {
        let labels = [label.to_string()];
        let mut units = LabelUnits::new(&labels);
        (0..20).for_each(|row| units.add(&[value(row)]));
        units.expect_usual(Path::new("own.csv")).map_or_else(|err| err.to_string(), |()| String::new())
    }

    #[test]
    fn temperatures_of_no_star_are_refused_with_the_remedy() {
        let in_kk = said("teff", |row| 4.0 + 0.1 * row as f64);
        assert!(in_kk.contains("own.csv") && in_kk.contains("teff = \"1000 * teff\""), "{in_kk}");
        assert!(in_kk.contains("\"10 ** teff\""), "{in_kk}");
        assert!(!said("teff", |row| 4.0 + row as f64).contains("10 **"));
        let zero = said("TEFF", |row| if row < 5 { 4500.0 } else { 0.0 });
        assert!(zero.contains("TEFF of 15 of 20 stars is 0 K"), "{zero}");
        // Kelvin with some that are odd, labels that somebody scaled, other labels, and few stars.
        assert_eq!(said("teff", |row| if row < 5 { 0.0 } else { 4500.0 }), "");
        assert_eq!(said("teff", |row| row as f64 - 10.0), "");
        assert_eq!(said("fe_h", |row| 0.1 * row as f64), "");
        assert_eq!(said("teff", |row| if row < 9 { 4.5 } else { f64::NAN }), "");
    }

    #[test]
    fn gravities_of_no_star_are_refused_with_the_remedy() {
        let linear = said("logg", |row| 10_f64.powf(1.5 + 0.1 * row as f64));
        assert!(linear.contains("logg = \"log10(logg)\""), "{linear}");
        assert_eq!(said("logg", |row| -0.5 + 0.45 * row as f64), "");
        assert_eq!(said("logg", |row| if row < 15 { 2.5 } else { 99.0 }), "");
    }
}
